//! Which process ended: workers are reaped by their pidfd, orphans (as PID 1 or subreaper) without a word. And what
//! becomes of the control groups of those who are gone.

use tracing::{debug, warn};

use crate::os::pidfd::{self, ExitStatus};
use crate::os::procfs;
use crate::pool::{Event, Exit, WorkerId};

use super::world::{Group, ProcessState, World};

/// So many times the list of ended children is asked for in one go.
const MAX_ROUNDS: usize = 8192;
/// The most control groups that are kept in mind because they could not be removed.
const MAX_LEFTOVERS: usize = 256;

impl World {
    /// Reaps every child that has ended.
    pub(super) fn reap(&mut self) {
        // Who ended may have left us others.
        let mut left_some = false;
        for _ in 0..MAX_ROUNDS {
            let (by_pid, checks) = (&self.by_pid, &self.checks);
            let reaped = match pidfd::reap_orphans(|pid| by_pid.contains_key(&pid) || checks.has(pid)) {
                Ok(reaped) => reaped,
                Err(error) => {
                    warn!("failed to {error}");
                    return;
                }
            };
            left_some |= !reaped.orphans.is_empty();
            for (pid, _) in &reaped.orphans {
                debug!("reaped process {pid}, which is no worker");
            }
            if let Some(pid) = reaped.tracked.filter(|pid| self.checks.has(*pid)) {
                self.check_ended(pid);
                left_some = true;
                continue;
            }
            match reaped.tracked.and_then(|pid| self.by_pid.get(&pid).copied()) {
                Some(worker) => self.reap_worker(worker),
                None if reaped.more => {}
                None => break,
            }
        }
        self.remove_leftovers();
        if left_some {
            self.sweep_orphans();
        }
    }

    fn reap_worker(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        // While the ended process is not reaped its number, and so its process group's, is nobody else's.
        if process.group.is_none() {
            let _ = procfs::signal_group(process.pid, nix::libc::SIGKILL);
        }
        let exit = match process.child().map(crate::os::pidfd::Child::try_wait) {
            Some(Ok(Some(ExitStatus::Code(code)))) => Exit::Code(code),
            Some(Ok(Some(ExitStatus::Signal(signal)))) => Exit::Signal(signal),
            Some(Ok(None)) => return,
            Some(Err(_)) | None => Exit::Unknown,
        };
        self.by_pid.remove(&process.pid);
        // A child that never came to its program says so itself; its exit is only the consequence.
        self.start_decided(worker);
        if !self.processes.contains_key(&worker) {
            return;
        }
        self.node_ended(worker, exit);
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        if let ProcessState::Starting(spawning, token) = &process.state {
            self.subjects.forget(spawning, *token);
            let pid = process.pid;
            self.happened(Event::Spawned { worker, pid });
        }
        if let Some(process) = self.processes.get_mut(&worker) {
            process.state = ProcessState::Reaped;
            process.lookout = None;
            let oom = process
                .group
                .as_ref()
                .is_some_and(|group| group.handle.oom_kills().is_some_and(|kills| kills > 0))
                && exit == Exit::Signal(nix::libc::SIGKILL);
            self.happened(Event::Exited { worker, exit, oom });
        }
    }

    /// Removes the control group of a worker that is gone. When somebody is still in it, or the kernel has no room to
    /// look, it is tried again with the next birth or death.
    pub(super) fn remove_group(&mut self, group: Group) {
        match group.handle.remove() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => self.warn_once(format!("a control group stays behind: failed to {error}")),
        }
        if self.leftovers.len() < MAX_LEFTOVERS {
            self.leftovers.push(group);
        }
    }

    /// Groups that could not be removed: whoever is left in them belongs to nobody any more.
    pub(super) fn remove_leftovers(&mut self) {
        self.leftovers.retain(|group| {
            // Not killed or not removed: what counts is whether it is there the next time.
            let _ = group.handle.kill();
            !group.handle.remove().unwrap_or(false)
        });
    }
}
