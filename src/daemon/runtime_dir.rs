//! Where an app's runtime directory is: the private socket, the notify socket and what must outlive a
//! supervisor's life stand in it. The supervisor and its clients ask the same function, so that they meet.
//!
//! In this order (`ganger(1)`, FILES):
//! 1. an entry of `$RUNTIME_DIRECTORY` that ends in `ganger/NAME` (set by `RuntimeDirectory=`, systemd.exec(5));
//! 2. `/run/ganger/NAME`: for root, or when it is there already;
//! 3. `$XDG_RUNTIME_DIR/ganger/NAME`: for everybody else, and alone for `--user`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::os::sockets;
use crate::plan::AppName;

/// The directory that holds the runtime directories of system apps.
pub const SYSTEM_BASE: &str = "/run/ganger";
/// The name of the private D-Bus socket in an app's runtime directory.
pub const PRIVATE_SOCKET: &str = "private";

/// What the answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// `$RUNTIME_DIRECTORY`: directories, separated by colons.
    pub runtime_directory: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The effective user is root.
    pub is_root: bool,
    /// `--user`: only the user's own directories count.
    pub user_mode: bool,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process(user_mode: bool) -> Self {
        let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self {
            runtime_directory: std::env::var_os("RUNTIME_DIRECTORY"),
            xdg_runtime_dir: xdg.filter(|path| path.is_absolute()),
            is_root: nix::unistd::geteuid().is_root(),
            user_mode,
        }
    }

    /// The directories whose entries are runtime directories, the first one first.
    #[must_use]
    pub fn bases(&self) -> Vec<PathBuf> {
        let own = self.xdg_runtime_dir.as_ref().map(|path| path.join("ganger"));
        let system = (!self.user_mode).then(|| PathBuf::from(SYSTEM_BASE));
        system.into_iter().chain(own).collect()
    }

    /// The runtime directory of `app`. `exists` tells whether a directory is there.
    /// `None`: there is no place for one (not root, and `$XDG_RUNTIME_DIR` is not set).
    pub fn runtime_dir(&self, app: &AppName, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        if let Some(given) = self.given(app) {
            return Some(given);
        }
        let bases = self.bases();
        let mut candidates = bases.iter().map(|base| base.join(app.as_str()));
        if self.is_root && !self.user_mode {
            return candidates.next();
        }
        let system = Path::new(SYSTEM_BASE);
        candidates.find(|path| !path.starts_with(system) || exists(path))
    }

    /// What systemd made for this very app.
    fn given(&self, app: &AppName) -> Option<PathBuf> {
        let ending = Path::new("ganger").join(app.as_str());
        let list = self.runtime_directory.as_ref()?;
        list.as_bytes()
            .split(|byte| *byte == b':')
            .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
            .find(|path| path.is_absolute() && path.ends_with(&ending))
    }
}

/// The runtime directory of `app` for this process; see [`Surroundings::runtime_dir`].
#[must_use]
pub fn runtime_dir(app: &AppName, user_mode: bool) -> Option<PathBuf> {
    Surroundings::of_this_process(user_mode).runtime_dir(app, Path::is_dir)
}

/// The supervisor that answers on the private socket at `path`, by its pid: 0 when that cannot be seen from here;
/// `None`: nobody does.
#[must_use]
pub fn who_serves(path: &Path) -> Option<u32> {
    let connection = UnixStream::connect(path).ok()?;
    Some(sockets::peer_credentials(&connection).map_or(0, |peer| peer.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> AppName {
        AppName::new("api").unwrap()
    }

    fn somebody() -> Surroundings {
        Surroundings { xdg_runtime_dir: Some("/run/user/1000".into()), ..Surroundings::default() }
    }

    #[test]
    fn what_systemd_made_for_the_app_comes_first() {
        let given = Some(OsString::from("/run/other:/run/ganger/api:/run/ganger/web"));
        let surroundings = Surroundings { runtime_directory: given, ..somebody() };
        assert_eq!(surroundings.runtime_dir(&api(), |_| false), Some("/run/ganger/api".into()));
        let other = AppName::new("other").unwrap();
        assert_eq!(surroundings.runtime_dir(&other, |_| false), Some("/run/user/1000/ganger/other".into()));
    }

    #[test]
    fn root_means_the_system_unless_told_otherwise() {
        let root = Surroundings { is_root: true, ..somebody() };
        assert_eq!(root.runtime_dir(&api(), |_| false), Some("/run/ganger/api".into()));
        let user = Surroundings { user_mode: true, ..root };
        assert_eq!(user.runtime_dir(&api(), |_| true), Some("/run/user/1000/ganger/api".into()));
    }

    #[test]
    fn somebody_meets_the_system_app_when_it_is_there_and_his_own_otherwise() {
        assert_eq!(somebody().runtime_dir(&api(), |_| true), Some("/run/ganger/api".into()));
        assert_eq!(somebody().runtime_dir(&api(), |_| false), Some("/run/user/1000/ganger/api".into()));
    }

    #[test]
    fn there_may_be_no_place_at_all() {
        assert_eq!(Surroundings::default().runtime_dir(&api(), |_| false), None);
        assert_eq!(Surroundings::default().bases(), [PathBuf::from("/run/ganger")]);
    }
}
