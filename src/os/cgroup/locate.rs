//! Where our control group is in the file system, and whether it is ours to divide.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::unistd::{AccessFlags, access, geteuid, getpid};

use crate::os::error::{Attempted, Result};

/// The most bytes of mountinfo that are read.
const MAX_MOUNTS: u64 = 4 << 20;

/// The control group (v2) of this process; `None` where there is no cgroup v2, or it is not mounted.
///
/// # Errors
/// When /proc cannot be read.
pub fn own() -> Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/self/cgroup").attempted(|| "read /proc/self/cgroup")?;
    Ok(unified(&text).and_then(|path| locate(&mounts(), Path::new(path))))
}

/// The control group (v2) of a process; `None` when it is gone or out of sight.
#[must_use]
pub fn of_process(pid: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    locate(&mounts(), Path::new(unified(&text)?))
}

fn mounts() -> String {
    let mut bytes = Vec::new();
    let file = File::open("/proc/self/mountinfo");
    let read = file.and_then(|file| file.take(MAX_MOUNTS).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// The path of the unified hierarchy: the line `0::/…` (cgroups(7)).
fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The directory of a group below one of the cgroup2 mounts: a mount shows what is below its root.
fn locate(mountinfo: &str, group: &Path) -> Option<PathBuf> {
    // A group outside our namespace: its path leads upwards.
    if group.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let inside = group.strip_prefix(&root).ok()?;
        // `join` with nothing would add a slash.
        let path = Path::new(&point);
        Some(if inside.as_os_str().is_empty() { path.to_owned() } else { path.join(inside) })
    })
}

/// mountinfo writes blanks as `\040` and so on (proc(5)).
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Whether a group is ours to divide. Being able to write is not enough: root can write to groups that systemd
/// manages, and a user to all groups of the user manager.
pub(super) fn is_delegated(path: &Path) -> bool {
    let writable = access(path, AccessFlags::W_OK).is_ok()
        && access(&path.join("cgroup.procs"), AccessFlags::W_OK).is_ok();
    if !writable {
        return false;
    }
    let given = fs::metadata(path).is_ok_and(|about| about.uid() == geteuid().as_raw())
        && !geteuid().is_root()
        && !is_of_user_manager(path);
    let marked = ["user.delegate", "trusted.delegate"].iter().any(|name| attribute_is_set(path, name));
    marked || given || is_containers_own(path)
}

fn is_of_user_manager(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().as_bytes().starts_with(b"user@"))
}

/// For process 1 of a container there is no service manager that could manage the group. But with a pid namespace
/// alone it may be the host's, or that of whoever started the container: the root of all groups has no
/// `cgroup.type`, and processes outside our namespace are listed as 0 (cgroups(7), pid_namespaces(7)).
fn is_containers_own(path: &Path) -> bool {
    let members = || fs::read_to_string(path.join("cgroup.procs"));
    getpid().as_raw() == 1
        && path.join("cgroup.type").exists()
        && members().is_ok_and(|pids| pids.lines().all(|pid| pid != "0"))
}

/// systemd marks delegated groups with an extended attribute of the value `1`.
fn attribute_is_set(path: &Path, name: &str) -> bool {
    let (Ok(path), Ok(name)) = (CString::new(path.as_os_str().as_bytes()), CString::new(name)) else {
        return false;
    };
    let mut value = [0u8; 8];
    // SAFETY: both names end with NUL; at most `value.len()` bytes are written.
    let length =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    usize::try_from(length).ok().and_then(|length| value.get(..length)) == Some(b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
35 24 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
36 35 0:31 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw
37 35 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn a_group_is_found_under_hybrid_and_bind_mounted_layouts() {
        assert_eq!(unified("9:memory:/x\n0::/system.slice/a.service\n"), Some("/system.slice/a.service"));
        assert_eq!(unified("9:memory:/x\n"), None);
        let place = |mounts: &str, group: &str| locate(mounts, Path::new(group));
        assert_eq!(place(HYBRID, "/a.service"), Some("/sys/fs/cgroup/unified/a.service".into()));
        assert_eq!(place(HYBRID, "/"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(place(HYBRID, "/../other"), None);
        let bound = "1 2 0:3 /docker/7 /sys/fs/my\\040group rw - cgroup2 none rw\n";
        assert_eq!(place(bound, "/docker/7/inner"), Some("/sys/fs/my group/inner".into()));
        assert_eq!(place(bound, "/elsewhere"), None);
        assert_eq!(place("", "/"), None);
    }

    #[test]
    fn a_plain_directory_is_not_delegated() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_delegated(directory.path()));
        assert!(!is_delegated(Path::new("/no/such/group")));
        assert!(is_of_user_manager(Path::new(
            "/sys/fs/cgroup/user.slice/user@1000.service/app.slice/a.scope"
        )));
        assert!(!is_of_user_manager(Path::new("/sys/fs/cgroup/system.slice/app.service")));
    }
}
