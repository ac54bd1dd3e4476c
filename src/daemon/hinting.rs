//! What Node workers do that people should know of: said in the log, and in a worker's status. It decides nothing
//! about a worker.

use tracing::{debug, info, warn};

use crate::pool::{Event, Notification, WorkerId};

use super::world::World;

/// What `ganger status` shows of a worker that nobody reaches.
const SILENT: &str = "serves nobody: it has closed the last of its servers";

impl World {
    /// A ready worker has closed the last of its servers, and lives on. It is not replaced: an app may do so for a
    /// while, and what it does meanwhile is its own business. The log has it once for each worker.
    pub(super) fn fell_silent(&mut self, worker: WorkerId, is_first: bool, is_last: bool) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        let (slot, pid, generation) = (process.slot, process.pid, process.generation);
        if is_first {
            let others = if is_last { ", and no other worker does: who connects waits" } else { "" };
            warn!(
                ganger_worker = slot.0,
                ganger_generation = generation.0,
                "worker {slot} (pid {pid}) has closed the last of its servers and serves nobody{others}; it stays in its \
                 place until it ends or calls cluster.worker.disconnect()"
            );
        } else {
            debug!("worker {slot} (pid {pid}) serves nobody once more");
        }
        self.has_status(worker, SILENT);
    }

    /// It listens again.
    pub(super) fn serves_again(&mut self, worker: WorkerId, is_first: bool) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        if is_first {
            info!(
                ganger_worker = process.slot.0,
                ganger_generation = process.generation.0,
                "worker {} (pid {}) serves again",
                process.slot,
                process.pid
            );
        }
        self.has_status(worker, "");
    }

    /// The channel cannot go on, and without it the worker is no cluster worker any more.
    pub(super) fn lost_its_channel(&mut self, worker: WorkerId, reason: &str) {
        if let Some(process) = self.processes.get(&worker) {
            warn!(
                ganger_worker = process.slot.0,
                ganger_generation = process.generation.0,
                "worker {} (pid {}) is killed, since its channel is of no use any more: {reason}",
                process.slot,
                process.pid
            );
        }
        self.kill(worker);
    }

    fn has_status(&mut self, worker: WorkerId, text: &str) {
        let notification = Notification::Status(text.to_owned());
        self.happened(Event::Notified { worker, notification });
    }
}
