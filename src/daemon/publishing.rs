//! Telling everyone who looks how the pool stands: the bus and the command line by a view, the service manager by
//! sd_notify(3).

use std::sync::Arc;

use tracing::warn;

use crate::os::clock;
use crate::os::poller::Interest;
use crate::pool::{Outcome, PoolPhase, SlotPhase, View};
use crate::proto::notify::Assignment;
use crate::systemd::notify::{Kind, Message, NotifyError, Sent};
use crate::systemd::upward::{Asked, Reloading, Standing};
use crate::time::Monotonic;

use super::subjects::Subject;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Tells everyone who looks how the pool stands now.
    pub(super) fn publish(&mut self) {
        let now = clock::now();
        let view = Arc::new(self.pool.view());
        self.tell_manager(now, &view);
        self.view.send_if_modified(|known| {
            let changed = **known != *view;
            if changed {
                *known = view;
            }
            changed
        });
    }

    fn tell_manager(&mut self, now: Monotonic, view: &View) {
        let asked = if self.callers.reload_by_manager { Asked::ByServiceManager } else { Asked::ByOthers };
        let so_many = |phase| {
            let count = view.slots.iter().filter(|slot| slot.phase == phase).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let stopping = view.phase == PoolPhase::Stopping;
        let remark = view.last_reload.as_ref().filter(|last| last.verdict.outcome != Outcome::Done);
        // Of a configuration with faults, the first one.
        let remark = remark.map(|last| last.verdict.message.lines().take(2).collect::<Vec<_>>().join(": "));
        let standing = Standing {
            ready: view.ready,
            wanted: view.wanted,
            generation: view.generation.0,
            serving: !matches!(view.phase, PoolPhase::Starting),
            reloading: view.reload.as_ref().map(|reload| Reloading {
                asked,
                generation: reload.generation.0,
                done: reload.done,
                total: reload.total,
                aborting: reload.aborting,
            }),
            stopping: stopping.then(|| u32::try_from(view.workers.len()).unwrap_or(u32::MAX)),
            cuts_reload: !self.callers.cut_short.is_empty(),
            failed_slots: so_many(SlotPhase::Failed),
            stopped_slots: so_many(SlotPhase::Stopped),
            patience: self.pool.busy_until().map(|until| until.since(now)),
            remark: remark.as_deref(),
        };
        for message in self.upward.observe(now, &standing) {
            self.send_upward(message);
        }
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.is_due(now)
        {
            self.send_upward(Message::new(Kind::Watchdog, &[Assignment::Watchdog]));
        }
    }

    pub(super) fn send_upward(&mut self, message: Message) {
        let sent = self.notifier.send(message);
        self.after_sending(sent);
    }

    pub(super) fn flush_upward(&mut self) {
        let sent = self.notifier.flush();
        self.after_sending(sent);
    }

    /// A full socket is waited for; an empty queue is not.
    fn after_sending(&mut self, sent: Result<Sent, NotifyError>) {
        match sent {
            Ok(Sent::Now | Sent::Inert) => {
                if let (Some(token), Some(socket)) = (self.upward_token.take(), self.notifier.socket()) {
                    self.world.subjects.forget(socket, token);
                }
            }
            Ok(Sent::Later) if self.upward_token.is_none() => {
                if let Some(socket) = self.notifier.socket() {
                    let watch = self.world.subjects.watch(socket, Subject::Upward, Interest::ReadWrite);
                    self.upward_token = watch.ok();
                }
            }
            Ok(Sent::Later) => {}
            Err(error) => warn!("failed to {error}"),
        }
    }
}
