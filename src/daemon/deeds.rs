//! The pool's orders, carried out: signals, kills, sweeps. What fails is told as a fact or logged; nothing here
//! waits.

use std::time::Duration;

use nix::libc;
use tracing::warn;

use crate::os::clock;
use crate::os::kin::{self, Mark};
use crate::os::pidfd::{self, Child};
use crate::os::poller::Interest;
use crate::os::procfs::{self, Census, Kin};
use crate::plan::Protocol;
use crate::pool::{Event, WorkerId};
use crate::time::Monotonic;

use super::checking::CheckId;
use super::subjects::Subject;
use super::world::{Process, ProcessState, World};

/// Generations of orphans that are killed one after the other at the end.
const MAX_DESCENT: usize = 32;
/// How long a killed process may take to end; longer only when the kernel cannot interrupt it.
const LAST_BREATH: Duration = Duration::from_millis(200);
/// How long all of them may take.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// The pause before a process is looked at again that was on its way into a program.
const SETTLING: Duration = Duration::from_millis(2);
/// For so long it is looked at again; who has no environment then never will.
const SETTLED: Duration = Duration::from_secs(1);
/// The pause before a process is looked at again that could not be looked at for want of descriptors or memory.
const WANT_OF_ROOM: Duration = Duration::from_millis(250);

impl World {
    /// Asks a worker to leave, in the way that its plan names. `is_last`: the whole pool ends.
    pub(super) fn drain(&mut self, worker: WorkerId, is_last: bool) {
        let Some(plan) = self.plan_of(worker) else {
            return;
        };
        if let Some(process) = self.processes.get_mut(&worker) {
            process.draining = true;
        }
        if plan.protocol == Protocol::Node && self.drain_node(worker, &plan, is_last) {
            return;
        }
        if let Some(signal) = plan.stop.signal {
            self.signal(worker, signal);
            // One that was stopped could not hear it (systemd does the same, systemd.kill(5)).
            self.signal(worker, libc::SIGCONT);
        }
    }

    /// Sends a signal to a worker's main process.
    pub(super) fn signal(&mut self, worker: WorkerId, signal: i32) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        let Some(child) = process.child() else {
            return;
        };
        if let Err(error) = child.send_signal(signal) {
            warn!(ganger_worker = process.slot.0, "failed to {error}");
        }
    }

    /// SIGKILL to everything of a worker.
    pub(super) fn kill(&mut self, worker: WorkerId) {
        self.signal(worker, libc::SIGKILL);
        self.kill_rest(worker);
    }

    /// Kills whatever a worker's main process left, and tells when nothing is left.
    pub(super) fn sweep(&mut self, worker: WorkerId) {
        self.kill_rest(worker);
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let Some(group) = &mut process.group else {
            process.state = ProcessState::Swept;
            self.sweep_orphans();
            return;
        };
        if group.handle.is_populated().unwrap_or(false) {
            group.watch = group.handle.events().ok().and_then(|events| {
                let token = self.subjects.watch(&events, Subject::Group(worker), Interest::Priority).ok()?;
                Some((events, token))
            });
            // It may have become empty before it was watched.
            if group.watch.is_some() && group.handle.is_populated().unwrap_or(false) {
                return;
            }
        }
        self.vacated(worker);
    }

    /// A watched control group changed.
    pub(super) fn group_changed(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let populated =
            process.group.as_ref().is_some_and(|group| group.handle.is_populated().unwrap_or(false));
        if !populated {
            self.vacated(worker);
        }
    }

    /// Nothing of the worker is left: what ganger held of it goes.
    fn vacated(&mut self, worker: WorkerId) {
        if let Some(mut process) = self.processes.remove(&worker) {
            // It was reaped: its number may be that of a worker born since, which keeps it.
            self.forget_descriptors(&mut process);
            if let Some(group) = process.group {
                self.remove_group(group);
            }
        }
        self.happened(Event::Vacated { worker });
    }

    /// Stops watching a worker's descriptors.
    pub(super) fn forget_descriptors(&mut self, process: &mut Process) {
        if let Some((fd, token)) = process.ready_fd.take() {
            self.subjects.forget(fd, token);
        }
        if let ProcessState::Starting(spawning, token) = &process.state {
            self.subjects.forget(spawning, *token);
        }
        if let Some(group) = &mut process.group
            && let Some((events, token)) = group.watch.take()
        {
            self.subjects.forget(events, token);
        }
    }

    /// Without control groups: orphans with the mark of a worker or health check that is gone are killed; a worker
    /// without any left is vacated, once it is sure that none is. Called again whenever orphans were reaped, because
    /// those they leave come to us in turn.
    pub(super) fn sweep_orphans(&mut self) {
        let workers =
            self.processes.iter().filter(|(_, process)| matches!(process.state, ProcessState::Swept));
        let workers = workers.map(|(worker, _)| Gone::Worker(*worker));
        let swept: Vec<Gone> = workers.chain(self.checks.over().map(Gone::Check)).collect();
        if swept.is_empty() {
            return;
        }
        let now = clock::now();
        let children = kin::children();
        let mut any_unseen = children.is_none();
        let orphans: Vec<u32> = children.unwrap_or_default();
        let orphans: Vec<u32> = orphans.into_iter().filter(|pid| !self.by_pid.contains_key(pid)).collect();
        let mut any_unsettled = false;
        let patient = self.unsettled.is_none_or(|since| now.since(since) < SETTLED);
        for gone in swept {
            let mark = gone.mark();
            let (mut left, mut unsettled, mut unseen) = (false, false, any_unseen);
            for pid in &orphans {
                match kin::mark(*pid, &mark) {
                    Mark::Present => {
                        left = true;
                        kin::kill_child(*pid);
                    }
                    Mark::Unsettled => unsettled = true,
                    Mark::Unseen => unseen = true,
                    // What one that has just ended leaves is looked at when it is reaped.
                    Mark::Absent => left |= pidfd::child_has_ended(*pid),
                }
            }
            // It may be this one's: that is seen when it has come to its program.
            any_unsettled |= unsettled;
            any_unseen |= unseen;
            let may_be_left = left || unseen || (unsettled && patient);
            match gone {
                Gone::Worker(_) | Gone::Check(_) if may_be_left => {}
                Gone::Worker(worker) => self.vacated(worker),
                Gone::Check(check) => self.checks.nothing_left(check),
            }
        }
        self.unsettled = any_unsettled.then(|| self.unsettled.unwrap_or(now));
        self.sweep_again = if any_unsettled && patient {
            Some(now + SETTLING)
        } else {
            any_unseen.then(|| now + WANT_OF_ROOM)
        };
    }

    /// When orphans are to be looked at once more.
    pub(super) fn next_sweep(&self) -> Option<Monotonic> {
        self.sweep_again
    }

    /// Looks at orphans once more, if it is time to.
    pub(super) fn sweep_unsettled(&mut self, now: Monotonic) {
        if self.sweep_again.is_some_and(|at| at <= now) {
            self.sweep_orphans();
        }
    }

    /// At the very end, without control groups: whoever is still a child of ours goes as well, and so do those
    /// that it leaves to us in turn. They are gone when this returns, unless the kernel holds on to one.
    pub(super) fn kill_all_orphans(&self) {
        if self.groups.is_some() {
            return;
        }
        let end = clock::now() + LAST_WAIT;
        for _ in 0..MAX_DESCENT {
            // Workers whose end was waited for in vain are left to the kernel.
            let left: Vec<u32> = kin::children()
                .unwrap_or_default()
                .into_iter()
                .filter(|pid| !self.by_pid.contains_key(pid))
                .collect();
            if left.is_empty() || clock::now() >= end {
                return;
            }
            left.iter().for_each(|pid| kin::kill_child(*pid));
            left.iter().for_each(|pid| kin::await_end(*pid, LAST_BREATH.min(end.since(clock::now()))));
            // What cannot be reaped is found again in the next round.
            let _ = pidfd::reap_orphans(|_| false);
        }
    }

    /// Everything but the main process: by control group where there is one, else the session and the process
    /// group that the main process leads; their numbers are ours until it is reaped.
    fn kill_rest(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        if let Some(group) = &process.group {
            if let Err(error) = group.handle.kill() {
                warn!(ganger_worker = process.slot.0, "failed to {error}");
            }
            return;
        }
        if process.child().is_none() {
            return;
        }
        let _ = procfs::signal_group(process.pid, libc::SIGKILL);
        let mark = mark(worker);
        for pid in Census::take().living(Kin::Session(process.pid)) {
            if pid != process.pid && kin::is_marked(pid, &mark) {
                kill_stranger(pid, process.pid);
            }
        }
    }
}

/// Who is gone, and may have left orphans.
#[derive(Debug, Clone, Copy)]
enum Gone {
    Worker(WorkerId),
    Check(CheckId),
}

impl Gone {
    fn mark(self) -> String {
        match self {
            Self::Worker(worker) => mark(worker),
            Self::Check(check) => check.mark(),
        }
    }
}

/// What marks every process of a worker, wherever it wandered.
pub(super) fn mark(worker: WorkerId) -> String {
    format!("GANGER_WORKER_ID={worker}")
}

/// SIGKILL to a process that is no child of ours, if it is (still) of this session.
fn kill_stranger(pid: u32, session: u32) {
    let Ok(held) = Child::open(pid) else {
        return;
    };
    // Asked after it is held: the answer is about this very process.
    if procfs::stat(pid).is_some_and(|stat| stat.session == session) {
        let _ = held.send_signal(libc::SIGKILL);
    }
}
