//! What need not be said again: that a slot still has no room for its worker. The pool tries again and again, as it
//! should; the log tells the first time and the end of it.

use std::collections::BTreeMap;

use tracing::info;

use crate::pool::{Announcement, Cause, Slot};

/// Slots without room, each with how often that was not told.
#[derive(Debug, Default)]
pub(super) struct Repeated(BTreeMap<Slot, u64>);

impl Repeated {
    /// Whether the log has it already. `slot` is the one of the worker that it is about.
    pub(super) fn is_known(&mut self, announcement: &Announcement, slot: Option<Slot>) -> bool {
        match announcement {
            Announcement::WorkerExited { slot, cause: Cause::NoRoom(_), .. } => match self.0.get_mut(slot) {
                Some(untold) => {
                    *untold = untold.saturating_add(1);
                    true
                }
                None => {
                    self.0.insert(*slot, 0);
                    false
                }
            },
            Announcement::SlotWaiting { slot, .. } => self.0.get(slot).is_some_and(|untold| *untold > 0),
            Announcement::WorkerStarted { .. } => {
                if let Some((slot, untold)) = slot.and_then(|slot| self.0.remove_entry(&slot))
                    && untold > 0
                {
                    info!(ganger_worker = slot.0, "slot {slot} has room again, after {untold} more attempts");
                }
                false
            }
            // Its failure may have been that of the new generation, in slots that want for nothing.
            Announcement::ReloadFinished { .. } => {
                self.0.clear();
                false
            }
            Announcement::PoolReady
            | Announcement::WorkerReady { .. }
            | Announcement::WorkerDraining { .. }
            | Announcement::WorkerKilled { .. }
            | Announcement::WorkerStuck { .. }
            | Announcement::WorkerExited { .. }
            | Announcement::SlotFailed { .. }
            | Announcement::ReloadStarted { .. }
            | Announcement::ReloadAborting { .. }
            | Announcement::ReloadRefused { .. }
            | Announcement::Jammed { .. }
            | Announcement::Unjammed
            | Announcement::Stopping => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{GenerationId, Outcome, Purpose, Verdict, WorkerId};
    use std::time::Duration;

    const SLOT: Slot = Slot(1);

    fn refused() -> Announcement {
        let (worker, cause) = (WorkerId(7), Cause::NoRoom("failed to start a process".into()));
        Announcement::WorkerExited { worker, slot: SLOT, cause, expected: false, ended: None }
    }

    fn waits() -> Announcement {
        Announcement::SlotWaiting { slot: SLOT, delay: Duration::from_secs(1) }
    }

    #[test]
    fn f20_want_of_room_is_told_once_until_there_is_room() {
        let mut repeated = Repeated::default();
        for _ in 0..2 {
            assert!(!repeated.is_known(&refused(), None) && !repeated.is_known(&waits(), None));
            assert!(repeated.is_known(&refused(), None) && repeated.is_known(&waits(), None));
            let started = Announcement::WorkerStarted { worker: WorkerId(8) };
            assert!(!repeated.is_known(&started, Some(SLOT)));
        }
    }

    #[test]
    fn f20_what_a_reload_lacked_is_told_again_when_a_slot_lacks_it() {
        let mut repeated = Repeated::default();
        assert!(!repeated.is_known(&refused(), None));
        let verdict = Verdict {
            outcome: Outcome::Failed,
            message: "no room".into(),
            generation: GenerationId(1),
            failure: None,
        };
        let (generation, purpose) = (GenerationId(2), Purpose::Reload);
        repeated.is_known(&Announcement::ReloadFinished { generation, purpose, verdict }, None);
        assert!(!repeated.is_known(&refused(), None) && !repeated.is_known(&waits(), None));
    }

    #[test]
    fn other_slots_and_other_ends_are_told() {
        let mut repeated = Repeated::default();
        repeated.is_known(&refused(), None);
        let other = Announcement::SlotWaiting { slot: Slot(2), delay: Duration::from_secs(1) };
        assert!(!repeated.is_known(&other, None));
        let crashed = Announcement::WorkerExited {
            worker: WorkerId(7),
            slot: SLOT,
            cause: Cause::Watchdog,
            expected: false,
            ended: None,
        };
        assert!(!repeated.is_known(&crashed, None));
    }
}
