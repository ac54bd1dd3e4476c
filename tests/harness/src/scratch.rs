//! Folders and names of this process's own, and the sweeping of what a killed test process left.
//!
//! Everything that outlives a process's memory carries its pid and start time in its name:
//! `ganger-test-PID-START-N`. A name whose process is gone is free to remove.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "ganger-test-";

/// A new name, unlike any other's on this machine.
pub(crate) fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SWEPT: Once = Once::new();
    SWEPT.call_once(sweep);
    let pid = std::process::id();
    let start = start_time(pid).unwrap_or_default();
    format!("{PREFIX}{pid}-{start}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A folder that goes with its value.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap_or_else(|err| panic!("failed to make {}: {err}", path.display()));
        Scratch(path)
    }

    /// A new file to write and read back, without a name.
    pub(crate) fn file(&self) -> File {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = self.0.join(format!("file-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().read(true).append(true).create_new(true).open(&path);
        let _ = fs::remove_file(&path);
        file.unwrap_or_else(|err| panic!("failed to make {}: {err}", path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what test processes that are gone could not.
fn sweep() {
    for dir in entries(&std::env::temp_dir()) {
        if abandoned(&dir) {
            let _ = fs::remove_dir_all(&dir);
        }
    }
    for hierarchy in crate::cgroup::hierarchies() {
        for dir in entries(&hierarchy) {
            if abandoned(&dir) {
                crate::cgroup::remove(&dir);
            }
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn abandoned(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let mut parts = rest.split('-');
    let pid = parts.next().and_then(|pid| pid.parse().ok());
    let start: Option<u64> = parts.next().and_then(|start| start.parse().ok());
    match (pid, start) {
        (Some(pid), Some(start)) => start_time(pid) != Some(start),
        (Some(_) | None, None) | (None, Some(_)) => false,
    }
}

/// Field 22 of /proc/PID/stat, in clock ticks since boot: with it a pid names one process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and brackets; what follows the last bracket is plain.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
