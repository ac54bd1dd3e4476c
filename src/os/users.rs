//! Names → ids: the user and the groups that a worker becomes. Whether it may is the kernel's answer.

use std::ffi::CString;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use super::error::{Attempted, Result, SysError};

/// Who a worker is: ids and what a login would set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Name of the user, where it has one.
    pub name: Option<String>,
    /// Home directory of the user, where it has one.
    pub home: Option<PathBuf>,
    /// Login shell of the user, where it has one.
    pub shell: Option<PathBuf>,
}

impl Identity {
    /// Whether it is what this process is already, as far as an unprivileged process can tell.
    #[must_use]
    pub fn is_own(&self) -> bool {
        !geteuid().is_root() && self.uid == geteuid().as_raw() && self.gid == getegid().as_raw()
    }
}

/// Resolves a user (name or number) and a group (name or number; default: the user's primary group). Without
/// a user only the group changes. `None` when nothing was asked for.
///
/// # Errors
/// `ENOENT` when there is no such user or group, or what the user database answered.
pub fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>> {
    let gid = group.map(group_id).transpose()?;
    let Some(user) = user else {
        return Ok(gid.map(|gid| Identity {
            uid: geteuid().as_raw(),
            gid,
            groups: Vec::new(),
            name: None,
            home: None,
            shell: None,
        }));
    };
    let found = find_user(user)?;
    let Some(found) = found else {
        // A number without an entry is a user all the same, as systemd has it; it has no group of its own.
        let uid =
            user.parse().map_err(|_| missing(format!("find user {user:?}"), "there is no such user"))?;
        let gid = gid.ok_or_else(|| {
            missing(format!("find the group of user {user}"), "there is no such user, and no group is named")
        })?;
        return Ok(Some(Identity { uid, gid, groups: Vec::new(), name: None, home: None, shell: None }));
    };
    let gid = gid.unwrap_or(found.gid.as_raw());
    let name = CString::new(found.name.as_str()).unwrap_or_default();
    let groups =
        getgrouplist(&name, Gid::from_raw(gid)).attempted(|| format!("list the groups of {user}"))?;
    Ok(Some(Identity {
        uid: found.uid.as_raw(),
        gid,
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        name: Some(found.name),
        home: Some(found.dir),
        shell: Some(found.shell),
    }))
}

fn find_user(text: &str) -> Result<Option<User>> {
    let by_name = User::from_name(text).attempted(|| format!("find user {text:?}"))?;
    match (by_name, text.parse::<u32>()) {
        (Some(user), _) => Ok(Some(user)),
        (None, Ok(uid)) => User::from_uid(Uid::from_raw(uid)).attempted(|| format!("find user {uid}")),
        (None, Err(_)) => Ok(None),
    }
}

fn group_id(text: &str) -> Result<u32> {
    let group = Group::from_name(text).attempted(|| format!("find group {text:?}"))?;
    match group {
        Some(group) => Ok(group.gid.as_raw()),
        None => text.parse().map_err(|_| missing(format!("find group {text:?}"), "there is no such group")),
    }
}

fn missing(attempt: String, reason: &'static str) -> SysError {
    SysError::new(attempt, Errno::ENOENT).because(reason)
}

/// The name of a user id, for display; the number when it has none.
#[must_use]
pub fn user_name(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// The effective user of this process.
#[must_use]
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_the_same_identity() {
        let by_name = resolve(Some("daemon"), None).unwrap().unwrap();
        let by_number = resolve(Some(&by_name.uid.to_string()), None).unwrap().unwrap();
        assert_eq!(by_name, by_number);
        assert_eq!(by_name.name.as_deref(), Some("daemon"));
        assert!(by_name.groups.contains(&by_name.gid));
        assert_eq!(user_name(by_name.uid), "daemon");
    }

    #[test]
    fn a_group_alone_keeps_the_user() {
        let identity = resolve(None, Some("daemon")).unwrap().unwrap();
        assert_eq!(identity.uid, own_uid());
        assert_eq!(resolve(None, None).unwrap(), None);
    }

    #[test]
    fn a_missing_user_or_group_is_named() {
        let error = resolve(Some("no-such-user-here"), None).unwrap_err();
        assert_eq!(error.errno(), nix::libc::ENOENT);
        assert_eq!(error.to_string(), "find user \"no-such-user-here\": there is no such user");
        let error = resolve(Some("daemon"), Some("no-such-group-here")).unwrap_err();
        assert_eq!(error.to_string(), "find group \"no-such-group-here\": there is no such group");
        assert!(resolve(Some("4000000001"), None).is_err(), "a bare number has no group");
        assert_eq!(resolve(Some("4000000001"), Some("7")).unwrap().unwrap().gid, 7);
    }
}
