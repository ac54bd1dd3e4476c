//! Control groups of workers below a delegated one (cgroup v2). What is limited to what is decided elsewhere.
//!
//! A [`Delegated`] group is one that systemd gave us (`Delegate=yes`), or that is ours alone (PID 1 of a
//! container, a directory of our own user). In it: `supervisor/` with ganger itself, `wN/` for each worker, and
//! `cN/` for each health check by command.
//! What the kernel or the delegation does not offer is absent, not an error: no controllers under a hybrid
//! layout, no `cgroup.kill` before 5.14, nothing at all on cgroup v1.

mod group;
mod locate;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::libc;

pub use group::{Enforced, Limits, WorkerGroup};
pub use locate::{of_process, own};

use super::error::{Attempted, Result, SysError};

/// The group that ganger itself lives in.
pub const SUPERVISOR: &str = "supervisor";
/// The controllers that per-worker limits need.
const WANTED: [&str; 3] = ["memory", "pids", "cpu"];
/// The most bytes of one control file that are read.
const MAX_FILE: u64 = 1 << 20;
/// The most groups that are listed.
const MAX_GROUPS: usize = 65_536;
/// How often processes are moved out of the way: each round sees what was forked in the one before.
const MOVE_ROUNDS: usize = 8;

/// A group in which we may make groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegated {
    path: PathBuf,
}

/// What a delegated group was found to offer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Controllers that workers' groups have now.
    pub enabled: BTreeSet<String>,
    /// Wanted controllers that are not there, with the reason.
    pub missing: Vec<String>,
}

impl Delegated {
    /// The group that was delegated to us, found from where we are; `None` when there is none.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn find() -> Result<Option<Self>> {
        let Some(own) = own()? else { return Ok(None) };
        // With DelegateSubgroup= (or after our own move) we are one below.
        let parent = own.parent().filter(|_| own.file_name().is_some_and(|name| name == SUPERVISOR));
        let candidates = parent.into_iter().chain([own.as_path()]);
        Ok(candidates.into_iter().find(|path| locate::is_delegated(path)).map(Self::at))
    }

    /// Takes the group at `path` for delegated.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is in the file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves this process into `supervisor/` if it is in the group itself, and enables what controllers there
    /// are. Can be repeated.
    ///
    /// # Errors
    /// When the group does not let us in; workers then do without groups.
    pub fn prepare(&self) -> Result<Prepared> {
        let inner = self.path.join(SUPERVISOR);
        make_directory(&inner)?;
        if own()?.as_deref() != Some(inner.as_path()) {
            write(&inner, "cgroup.procs", &std::process::id().to_string())?;
        }
        let offered = read(&self.path, "cgroup.controllers")?.unwrap_or_default();
        let offered: BTreeSet<&str> = offered.split_whitespace().collect();
        let mut prepared = Prepared::default();
        for name in WANTED {
            if !offered.contains(name) {
                prepared.missing.push(format!("{name}: not delegated"));
                continue;
            }
            match self.enable(name, &inner) {
                Ok(()) => {
                    prepared.enabled.insert(name.to_owned());
                }
                Err(error) => prepared.missing.push(format!("{name}: {error}")),
            }
        }
        Ok(prepared)
    }

    fn enable(&self, controller: &str, inner: &Path) -> Result<()> {
        let change = format!("+{controller}");
        for _ in 0..MOVE_ROUNDS {
            match write(&self.path, "cgroup.subtree_control", &change) {
                // Processes beside us (an ExecStartPre= that stayed, a `docker exec`) are in the way.
                Err(error) if error.errno() == libc::EBUSY => {}
                answer => return answer,
            }
            for pid in pids(&self.path)? {
                // It may have gone by itself.
                let _ = write(inner, "cgroup.procs", &pid.to_string());
            }
        }
        write(&self.path, "cgroup.subtree_control", &change)
    }

    /// Makes the group of worker `number`.
    ///
    /// # Errors
    /// When it cannot be made (`EAGAIN`: `cgroup.max.descendants`).
    pub fn worker(&self, number: u64) -> Result<WorkerGroup> {
        self.make('w', number)
    }

    /// Makes the group of health check `number`.
    ///
    /// # Errors
    /// As for [`Delegated::worker`].
    pub fn check(&self, number: u64) -> Result<WorkerGroup> {
        self.make('c', number)
    }

    fn make(&self, kind: char, number: u64) -> Result<WorkerGroup> {
        let path = self.path.join(format!("{kind}{number}"));
        make_directory(&path)?;
        WorkerGroup::open(number, path.clone()).inspect_err(|_| {
            // Nobody would know of it: the kernel refuses while somebody is in it.
            let _ = fs::remove_dir(&path);
        })
    }

    /// The workers' groups that exist, in the order of their numbers: what a former supervisor left.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerGroup> {
        self.groups('w')
    }

    /// The groups of health checks that exist, in the same way.
    #[must_use]
    pub fn checks(&self) -> Vec<WorkerGroup> {
        self.groups('c')
    }

    fn groups(&self, kind: char) -> Vec<WorkerGroup> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut groups: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.strip_prefix(kind)?.parse().ok()?;
                WorkerGroup::open(number, entry.path()).ok()
            })
            .take(MAX_GROUPS)
            .collect();
        groups.sort_by_key(WorkerGroup::number);
        groups
    }

    /// The number of the worker whose group a process is in (also in a group that the worker made in its own).
    #[must_use]
    pub fn worker_of(&self, pid: u32) -> Option<u64> {
        let path = of_process(pid)?;
        let inside = path.strip_prefix(&self.path).ok()?.components().next()?;
        inside.as_os_str().to_str()?.strip_prefix('w')?.parse().ok()
    }
}

fn make_directory(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        answer => answer.attempted(|| format!("make the control group {}", path.display())),
    }
}

/// Reads a control file; `None` when there is none.
fn read(group: &Path, file: &str) -> Result<Option<String>> {
    let path = group.join(file);
    let mut text = String::new();
    match fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        // ENODEV: the group was removed while its file was open.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
        Err(error) => Err(SysError::from_io(format!("read {}", path.display()), &error)),
    }
}

/// Writes a control file: one write, no truncation, the file is never made.
fn write(group: &Path, file: &str, text: &str) -> Result<()> {
    let path = group.join(file);
    let written = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| io::Write::write(&mut file, text.as_bytes()));
    written.attempted(|| format!("write {text} to {}", path.display())).map(|_| ())
}

/// The processes of a group (not of those below it). 0 stands for a process of another pid namespace, which
/// cannot be named here, and must never reach kill(2).
fn pids(group: &Path) -> Result<Vec<u32>> {
    let text = read(group, "cgroup.procs")?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect())
}
