//! A host cgroup for each container. Two containers that share one share a tree, and then two PID 1
//! manage the same unit's cgroup; and a cgroup of our own is what kills everything inside at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The mounted hierarchies that systemd uses on this machine: v2 alone, or v2 beside v1.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return vec![top.to_owned()];
    }
    ["unified", "systemd"].iter().map(|name| top.join(name)).filter(|dir| dir.is_dir()).collect()
}

/// One container's cgroup in every hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    pub(crate) fn new(name: &str) -> Result<Cgroup, String> {
        let mut made = Cgroup(Vec::new());
        for hierarchy in hierarchies() {
            let dir = hierarchy.join(name);
            fs::create_dir(&dir).map_err(|err| format!("failed to make cgroup {}: {err}", dir.display()))?;
            made.0.push(dir);
        }
        Ok(made)
    }

    /// Shell lines that move the shell itself inside.
    pub(crate) fn enter(&self) -> String {
        self.0.iter().map(|dir| format!("echo $$ >{}/cgroup.procs\n", dir.display())).collect()
    }

    /// SIGKILL to every process inside.
    pub(crate) fn kill(&self) {
        for dir in &self.0 {
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        for dir in &self.0 {
            remove(dir);
        }
    }
}

/// Kills what is inside and removes the folder with its children. The kernel frees a cgroup a moment
/// after its last process, so an EBUSY is asked again for a while.
pub(crate) fn remove(dir: &Path) {
    let _ = fs::write(dir.join("cgroup.kill"), "1");
    let deadline = Instant::now() + Duration::from_secs(5);
    while dir.exists() && Instant::now() < deadline {
        remove_children_first(dir);
        if dir.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn remove_children_first(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_children_first(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}
