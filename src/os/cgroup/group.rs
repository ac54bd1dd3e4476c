//! One worker's (or health check's) control group: its limits, its end, what it used.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;

use super::{MAX_GROUPS, pids, read, write};
use crate::os::error::{Attempted, Result};
use crate::os::pidfd::Child;

/// How often one [`WorkerGroup::kill`] goes through a group that has no `cgroup.kill`.
const KILL_ROUNDS: usize = 8;
/// The deepest nesting of groups that a worker can have made.
const MAX_DEPTH: usize = 16;
/// The period of cpu.max, microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// What a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// `memory.max`, bytes.
    pub memory: Option<u64>,
    /// `memory.high`, bytes.
    pub memory_high: Option<u64>,
    /// `cpu.max`, percent of one CPU.
    pub cpu_percent: Option<u32>,
    /// `pids.max`.
    pub tasks: Option<u64>,
}

/// What became of the wish for limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enforced {
    /// Limits that are not in force, with the reason: no controller here, or the kernel refused.
    pub missing: Vec<String>,
}

/// A worker's group, or a health check's. Dropping it removes nothing.
#[derive(Debug)]
pub struct WorkerGroup {
    number: u64,
    path: PathBuf,
    directory: OwnedFd,
}

impl WorkerGroup {
    pub(super) fn open(number: u64, path: PathBuf) -> Result<Self> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let directory = directory.attempted(|| format!("open the control group {}", path.display()))?;
        Ok(Self { number, path, directory: directory.into() })
    }

    /// The number of its worker, or check.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where it is in the file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts limits in force; `None` lifts nothing. With a limit of memory the whole group goes when one of its
    /// processes is killed for it (`memory.oom.group`).
    #[must_use]
    pub fn limit(&self, limits: &Limits) -> Enforced {
        let quota = |percent: u32| {
            let quota = u64::from(percent).saturating_mul(CPU_PERIOD_US) / 100;
            format!("{} {CPU_PERIOD_US}", quota.max(1000))
        };
        let has_memory = limits.memory.or(limits.memory_high).is_some();
        let wishes = [
            ("memory.max", limits.memory.map(|bytes| bytes.to_string())),
            ("memory.high", limits.memory_high.map(|bytes| bytes.to_string())),
            ("memory.oom.group", has_memory.then(|| "1".to_owned())),
            ("cpu.max", limits.cpu_percent.map(quota)),
            ("pids.max", limits.tasks.map(|tasks| tasks.to_string())),
        ];
        let mut enforced = Enforced::default();
        for (file, value) in wishes {
            match value.map(|value| write(&self.path, file, &value)) {
                None | Some(Ok(())) => {}
                Some(Err(error)) if error.errno() == libc::ENOENT => {
                    enforced.missing.push(format!("{file}: no such controller here"));
                }
                Some(Err(error)) => enforced.missing.push(error.to_string()),
            }
        }
        enforced
    }

    /// SIGKILL to everything in the group and below: `cgroup.kill`, or one process after the other on kernels
    /// before 5.14. The group is empty when [`WorkerGroup::is_populated`] says so, not when this returns.
    ///
    /// # Errors
    /// What the kernel answered; a group that is gone is none.
    pub fn kill(&self) -> Result<()> {
        match write(&self.path, "cgroup.kill", "1") {
            Err(error) if error.errno() == libc::ENOENT => self.kill_each(),
            Err(error) if error.errno() == libc::ENODEV => Ok(()),
            answer => answer,
        }
    }

    /// One by one, by pidfd; a process that left the group before its pidfd was open is let live.
    pub(super) fn kill_each(&self) -> Result<()> {
        for _ in 0..KILL_ROUNDS {
            let mut found = false;
            for group in self.with_those_below() {
                for pid in pids(&group)? {
                    let Ok(process) = Child::open(pid) else { continue };
                    if super::of_process(pid).is_some_and(|path| path.starts_with(&self.path)) {
                        found |= process.send_signal(libc::SIGKILL)?;
                    }
                }
            }
            if !found {
                break;
            }
        }
        Ok(())
    }

    /// All processes in the group and below.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.with_those_below().iter().filter_map(|group| pids(group).ok()).flatten().collect()
    }

    /// Whether a process is left (`cgroup.events`); a group that is gone has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_populated(&self) -> Result<bool> {
        let text = read(&self.path, "cgroup.events")?.unwrap_or_default();
        Ok(keyed(&text, "populated").is_some_and(|populated| populated != 0))
    }

    /// `cgroup.events`, to be polled for `POLLPRI`: it fires when the group becomes empty or populated. Ask
    /// [`WorkerGroup::is_populated`] after opening and after each firing.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn events(&self) -> Result<OwnedFd> {
        let path = self.path.join("cgroup.events");
        let file = File::open(&path).attempted(|| format!("open {}", path.display()))?;
        // The kernel tells a change only to who has read the state before.
        let mut state = [0u8; 64];
        nix::unistd::read(&file, &mut state).attempted(|| format!("read {}", path.display()))?;
        Ok(file.into())
    }

    /// Bytes in use; `None` without the controller.
    #[must_use]
    pub fn memory_current(&self) -> Option<u64> {
        read(&self.path, "memory.current").ok()??.trim().parse().ok()
    }

    /// CPU time used so far; `None` where it is not counted.
    #[must_use]
    pub fn cpu_usage(&self) -> Option<Duration> {
        let text = read(&self.path, "cpu.stat").ok()??;
        keyed(&text, "usage_usec").map(Duration::from_micros)
    }

    /// How many processes the kernel killed for want of memory; `None` without the controller.
    #[must_use]
    pub fn oom_kills(&self) -> Option<u64> {
        let text = read(&self.path, "memory.events").ok()??;
        keyed(&text, "oom_kill")
    }

    /// Removes the group and those below. `false`: a process is left in it; try again when it is empty.
    ///
    /// # Errors
    /// What the kernel answered; a group that is gone is none.
    pub fn remove(&self) -> Result<bool> {
        // Deepest first.
        for group in self.with_those_below().iter().rev() {
            match fs::remove_dir(group) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Ok(false),
                Err(error) => {
                    return Err(error).attempted(|| format!("remove the control group {}", group.display()));
                }
            }
        }
        Ok(true)
    }

    /// The group, then the groups that the worker made in it; each before those inside it.
    fn with_those_below(&self) -> Vec<PathBuf> {
        let mut groups = vec![self.path.clone()];
        let mut level = groups.clone();
        for _ in 0..MAX_DEPTH {
            let below = level.iter().filter_map(|group| fs::read_dir(group).ok()).flatten().flatten();
            let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            level = below.map(|entry| entry.path()).take(MAX_GROUPS).collect();
            if level.is_empty() {
                break;
            }
            groups.extend(level.iter().cloned());
        }
        groups
    }
}

impl AsFd for WorkerGroup {
    /// For [`crate::os::process::Launch::cgroup`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The value of `key` in a flat keyed file.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
