//! What apps say by `process.send`: to other workers, or to whoever listens outside (`ganger events`). It decides
//! who gets a message; what is in it is never looked into.
//!
//! Nothing is kept for anybody who is not there: a message to a slot without a worker is dropped, and so is one
//! that nobody outside listens for. A worker that floods others, or listeners, makes only itself unheard. What is
//! dropped is told in the log, but for what nobody outside listens for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::dbus::{MAX_MESSAGE_BYTES, Notice, WorkerLabel};
use crate::node::{BEHIND_BYTES, BEHIND_LINES};
use crate::os::clock;
use crate::pool::{Slot, WorkerId};
use crate::proto::node::{Route, RouteError, To};
use crate::time::Monotonic;

use super::world::World;

/// What is dropped of one worker, for one reason, is told again no sooner than this.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Why a worker's message did not reach somebody.
#[derive(Debug)]
enum Dropped {
    /// It cannot be passed on as it is.
    Unfit(RouteError),
    /// No worker is in the slot that it is for.
    Nobody(Slot),
    /// The worker that it is for does not read.
    Behind(Slot),
    /// The worker that it is for hears no more.
    Deaf(Slot, String),
    /// So many bytes are too many for those who listen outside.
    ForListeners(usize),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(error) => error.fmt(f),
            Self::Nobody(slot) => write!(f, "to worker {slot}: there is none"),
            Self::Behind(slot) => write!(
                f,
                "to worker {slot}, which does not read what it is sent: more than {BEHIND_BYTES} bytes or \
                 {BEHIND_LINES} messages wait for it already"
            ),
            Self::Deaf(slot, reason) => write!(f, "to worker {slot}: {reason}"),
            Self::ForListeners(len) => write!(
                f,
                "to those who listen (ganger events): it has {len} bytes, and for them {MAX_MESSAGE_BYTES} are \
                 the most"
            ),
        }
    }
}

/// What was dropped, by sender and kind of reason.
#[derive(Debug, Default)]
pub(super) struct Drops(BTreeMap<(Slot, u8), Told>);

#[derive(Debug)]
struct Told {
    when: Monotonic,
    untold: u64,
}

impl Drops {
    /// Whether to tell of one more, and how many were not told since the last one.
    fn one_more(&mut self, now: Monotonic, from: Slot, dropped: &Dropped) -> Option<u64> {
        let kind = match dropped {
            Dropped::Unfit(RouteError::TooLong { .. } | RouteError::Unreadable { .. }) => 0,
            Dropped::Unfit(RouteError::Senseless(_)) => 5,
            Dropped::Nobody(_) => 1,
            Dropped::Behind(_) => 2,
            Dropped::Deaf(..) => 3,
            Dropped::ForListeners(_) => 4,
        };
        match self.0.get_mut(&(from, kind)) {
            Some(told) if now < told.when + TELL_AGAIN => {
                told.untold = told.untold.saturating_add(1);
                None
            }
            Some(told) => {
                told.when = now;
                Some(std::mem::take(&mut told.untold))
            }
            None => {
                self.0.insert((from, kind), Told { when: now, untold: 0 });
                Some(0)
            }
        }
    }
}

impl World {
    /// One message of an app, not one of Node's own.
    pub(super) fn app_said(&mut self, worker: WorkerId, json: String) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        let (slot, generation, pid) = (process.slot, process.generation, Some(process.pid));
        match Route::read(&json, slot.0) {
            Ok(Some(route)) => return self.pass_on(worker, slot, &route),
            Err(error) => return self.dropped(slot, &Dropped::Unfit(error)),
            Ok(None) => {}
        }
        let Some(messages) = self.messages.as_ref().filter(|messages| messages.receiver_count() > 0) else {
            return;
        };
        if json.len() > MAX_MESSAGE_BYTES {
            return self.dropped(slot, &Dropped::ForListeners(json.len()));
        }
        // The last listener may have gone just now.
        let message = Notice::Message(WorkerLabel { worker, slot, generation, pid }, json);
        let _ = messages.send(Arc::new(message));
    }

    /// From one worker to others. Those that are leaving get no more.
    fn pass_on(&mut self, from: WorkerId, slot: Slot, route: &Route) {
        let targets: Vec<(WorkerId, Slot)> = self
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
            .map(|(worker, process)| (*worker, process.slot))
            .collect();
        if let (true, To::Slot(nobodys)) = (targets.is_empty(), route.to) {
            self.dropped(slot, &Dropped::Nobody(Slot(nobodys)));
        }
        for (target, its_slot) in targets {
            if self.is_behind(target) {
                self.dropped(slot, &Dropped::Behind(its_slot));
            } else if let Err(reason) = self.send_message(target, &route.text) {
                self.dropped(slot, &Dropped::Deaf(its_slot, reason));
            }
        }
    }

    fn dropped(&mut self, from: Slot, dropped: &Dropped) {
        let Some(drops) = self.drops() else {
            return;
        };
        if let Some(untold) = drops.one_more(clock::now(), from, dropped) {
            let before = match untold {
                0 => String::new(),
                1 => "; so was one more since that was said last".to_owned(),
                more => format!("; so were {more} more since that was said last"),
            };
            warn!(ganger_worker = from.0, "dropped a message from worker {from} {dropped}{before}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_told_once_a_minute_for_each_sender_and_reason_with_the_number_of_the_others() {
        let mut drops = Drops::default();
        let at = |secs| Monotonic::ZERO + Duration::from_secs(secs);
        let (zero, one) = (Slot(0), Slot(1));
        let mut more = |secs, from, dropped: &Dropped| drops.one_more(at(secs), from, dropped);
        assert_eq!(more(0, zero, &Dropped::Behind(one)), Some(0));
        assert_eq!(more(0, zero, &Dropped::Nobody(one)), Some(0));
        assert_eq!(more(0, one, &Dropped::Behind(zero)), Some(0));
        (0..60).for_each(|secs| assert_eq!(more(secs, zero, &Dropped::Behind(one)), None));
        assert_eq!(more(60, zero, &Dropped::Behind(one)), Some(60));
        assert_eq!(more(61, zero, &Dropped::Behind(one)), None);
    }
}
