//! What apps say by `process.send`: to other workers, or to whoever listens outside (`ganger events`). It decides
//! who gets a message; what is in it is never looked into.
//!
//! Nothing is kept for anybody who is not there: a message to a slot without a worker is dropped, and so is one
//! that nobody outside listens for. A worker that floods others, or listeners, makes only itself unheard.

use std::sync::Arc;

use tracing::debug;

use crate::dbus::{MAX_MESSAGE_BYTES, Notice, WorkerLabel};
use crate::pool::WorkerId;
use crate::proto::node::{Route, To};

use super::world::World;

impl World {
    /// One message of an app, not one of Node's own.
    pub(super) fn app_said(&mut self, worker: WorkerId, json: String) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        let (slot, generation, pid) = (process.slot, process.generation, Some(process.pid));
        if let Some(route) = Route::read(&json, slot.0) {
            self.pass_on(worker, &route);
            return;
        }
        let Some(messages) = self.messages.as_ref().filter(|messages| messages.receiver_count() > 0) else {
            return;
        };
        if json.len() > MAX_MESSAGE_BYTES {
            self.warn_once(format!(
                "worker {slot} sent a message of more than {MAX_MESSAGE_BYTES} bytes; nobody is told such a long one"
            ));
            return;
        }
        // The last listener may have gone just now.
        let message = Notice::Message(WorkerLabel { worker, slot, generation, pid }, json);
        let _ = messages.send(Arc::new(message));
    }

    /// From one worker to others. Those that are leaving get no more.
    fn pass_on(&mut self, from: WorkerId, route: &Route) {
        let targets: Vec<WorkerId> = self
            .processes
            .iter()
            .filter(|(worker, process)| {
                let meant = match route.to {
                    To::Slot(slot) => process.slot.0 == slot,
                    To::Others => **worker != from,
                    To::All => true,
                };
                meant && !process.draining && process.child().is_some()
            })
            .map(|(worker, _)| *worker)
            .collect();
        for target in targets {
            if self.is_behind(target) {
                self.warn_once(
                    "messages between workers are dropped: one of them does not read what it is sent"
                        .to_owned(),
                );
            } else if let Err(reason) = self.send_message(target, &route.text) {
                debug!("worker id {target} does not get a message of worker id {from}: {reason}");
            }
        }
    }
}
