//! The pool's orders, carried out: signals, kills, sweeps. What fails is told as a fact or logged; nothing here
//! waits.

use nix::libc;
use tracing::{debug, warn};

use crate::os::poller::Interest;
use crate::os::procfs;
use crate::pool::{Event, WorkerId};

use super::subjects::Subject;
use super::world::{Process, ProcessState, World};

impl World {
    /// Asks a worker to leave, in the way that its plan names.
    pub(super) fn drain(&mut self, worker: WorkerId) {
        let Some(plan) = self.plan_of(worker) else {
            return;
        };
        if let Some(signal) = plan.stop.signal {
            self.signal(worker, signal);
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
        if let Some(group) = &mut process.group
            && group.handle.is_populated()
        {
            let events = group.handle.events().ok();
            let watch = events.and_then(|events| {
                self.subjects.watch(events, Subject::Group(worker), Interest::Priority).ok()
            });
            group.watch = watch;
            // It may have become empty before it was watched.
            if watch.is_some() && group.handle.is_populated() {
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
        let populated = process.group.as_mut().is_some_and(|group| group.handle.is_populated());
        if !populated {
            self.vacated(worker);
        }
    }

    /// Nothing of the worker is left: what ganger held of it goes.
    fn vacated(&mut self, worker: WorkerId) {
        if let Some(mut process) = self.processes.remove(&worker) {
            self.by_pid.remove(&process.pid);
            self.forget_descriptors(&mut process);
            if let Some(group) = process.group {
                group.handle.remove();
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
            && let Some(token) = group.watch.take()
            && let Ok(events) = group.handle.events()
        {
            self.subjects.forget(events, token);
        }
    }

    /// Everything but the main process: by control group where there is one, else by session, process group
    /// and the mark in the environment.
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
        let mark = format!("GANGER_WORKER_ID={worker}");
        let killed = procfs::kill_kin(process.pid, &mark);
        if killed > 0 {
            debug!(ganger_worker = process.slot.0, "killed {killed} processes that worker left");
        }
    }
}
