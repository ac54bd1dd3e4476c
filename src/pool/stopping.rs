//! One slot, stopped and started by request: what becomes of its worker and of those who wait for it, and who is told
//! what. A stopped slot stays one: it is numbered, shown and kept empty by everything but a request that names it.

use std::collections::BTreeSet;

use super::machine::{Effects, Pool};
use super::queue::{MAX_CALLERS, Waiter};
use super::slot::{Holder, Place};
use super::worker::Worker;
use super::{Cause, Outcome, RequestId, Slot, SlotPhase, WorkerId};
use crate::time::Monotonic;

/// So many stopped slots are named in one verdict.
const MAX_NAMED: usize = 8;

impl Pool {
    /// Empties a slot and keeps it empty, also in the middle of a rollout. The answer comes when no worker is left in it.
    pub(super) fn stop_slot(&mut self, now: Monotonic, slot: Slot, request: RequestId, out: &mut Effects) {
        let generation = self.generation;
        let Some(place) = self.place_to_wait_for(slot, request, out) else {
            return;
        };
        let already = place.is_stopped();
        let leaving: Vec<WorkerId> = place.holder().into_iter().chain(place.successor.take()).collect();
        place.holder = Holder::Stopped;
        place.generation = generation;
        let disappointed = place.replacement.take().map(|wish| wish.requests).unwrap_or_default();
        let about_it = |waiter: &Waiter| waiter.served.contains(&slot) && !waiter.scales;
        self.supersede(slot, disappointed, about_it, "stopped slot", out);
        for waiter in &mut self.waiters {
            if waiter.served.remove(&slot) {
                waiter.message.push_str(&format!("; slot {slot} was stopped meanwhile"));
            }
        }
        for worker in leaving {
            self.drain(now, worker, Cause::SlotStopped, out);
        }
        let there = self.workers.values().filter(|worker| worker.slot == slot).map(|worker| worker.id);
        let gone: BTreeSet<WorkerId> = there.collect();
        let word = if already && gone.is_empty() { " already" } else { "" };
        self.waiters.push(Waiter {
            requests: vec![request],
            served: BTreeSet::new(),
            gone,
            stops: Some(slot),
            scales: false,
            message: format!("slot {slot} is stopped{word}"),
        });
    }

    /// Has a worker in a slot. The answer comes when it is ready.
    pub(super) fn start_slot(&mut self, slot: Slot, request: RequestId, out: &mut Effects) {
        let Some(place) = self.place_to_wait_for(slot, request, out) else {
            return;
        };
        let is_empty = place.holder().is_none();
        let message = if self.is_served(slot) {
            format!("slot {slot} runs already")
        } else {
            format!("slot {slot} was started")
        };
        if is_empty {
            self.fill_by_request(slot, out);
        }
        self.wait_until_served(slot, request, message);
    }

    /// The place of a slot, if there is one and room for one more who waits; else the asker is told so.
    fn place_to_wait_for(&mut self, slot: Slot, request: RequestId, out: &mut Effects) -> Option<&mut Place> {
        if !self.places.contains_key(&slot) {
            self.reply_no_slot(slot, request, out);
            return None;
        }
        if self.waiters.len() >= MAX_CALLERS {
            self.refuse_for_want_of_room(request, out);
            return None;
        }
        self.places.get_mut(&slot)
    }

    /// Somebody wants a worker in this slot: whatever it is empty for counts no longer.
    pub(super) fn fill_by_request(&mut self, slot: Slot, out: &mut Effects) {
        let generation = self.generation;
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        place.reset();
        if place.is_stopped() {
            // A rollout under way takes it along like a place whose old worker was just replaced.
            place.generation = generation;
            place.holder = Holder::Vacant;
            let stops = |waiter: &Waiter| waiter.stops == Some(slot);
            self.supersede(slot, Vec::new(), stops, "started slot", out);
        }
    }

    pub(super) fn wait_until_served(&mut self, slot: Slot, request: RequestId, message: String) {
        let (requests, served) = (vec![request], BTreeSet::from([slot]));
        self.waiters.push(Waiter {
            requests,
            served,
            gone: BTreeSet::new(),
            stops: None,
            scales: false,
            message,
        });
    }

    /// Those who wait for what is no longer to be hear which later wish came in between.
    fn supersede(
        &mut self,
        slot: Slot,
        mut requests: Vec<RequestId>,
        concerned: impl Fn(&Waiter) -> bool,
        deed: &str,
        out: &mut Effects,
    ) {
        let dropped = self.take_waiters(|_, waiter| concerned(waiter));
        requests.extend(dropped.into_iter().flat_map(|waiter| waiter.requests));
        for request in requests {
            let message = format!("a later request {deed} {slot}");
            self.reply(request, Outcome::Superseded, message, None, out);
        }
    }

    /// The stopped slots go with the generation that serves: they keep no plan of another one.
    pub(super) fn take_stopped_along(&mut self) {
        let generation = self.generation;
        for place in self.places.values_mut().filter(|place| place.is_stopped()) {
            place.generation = generation;
        }
    }

    /// So many slots are stopped.
    pub(super) fn stopped(&self) -> u32 {
        let stopped = self.places.values().filter(|place| place.is_stopped()).count();
        u32::try_from(stopped).unwrap_or(u32::MAX)
    }

    /// The state of a slot in a word: a stopped one still leaves while anybody but stuck workers is left in it.
    pub(super) fn phase_of(&self, slot: Slot, place: &Place) -> SlotPhase {
        let vacated = || self.workers.values().filter(|worker| worker.slot == slot).all(Worker::is_stuck);
        if place.is_stopped() && !vacated() { SlotPhase::Leaving } else { place.phase(self.is_served(slot)) }
    }

    // ---- telling -------------------------------------------------------------------------------------

    /// Whoever waits for a slot to be stopped is told as well how its worker came to its end.
    pub(super) fn remark_on_end(&mut self, worker: WorkerId, remark: &str) {
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.stops.is_some()) {
            if waiter.gone.contains(&worker) {
                waiter.message.push_str("; its worker ");
                waiter.message.push_str(remark);
            }
        }
    }

    /// What a verdict says of slots that were left as they are: the empty text, or what follows its sentence.
    pub(super) fn stopped_in_words(&self) -> String {
        let stopped: Vec<String> = self
            .places
            .iter()
            .filter(|(_, place)| place.is_stopped())
            .map(|(slot, _)| slot.to_string())
            .collect();
        match stopped.as_slice() {
            [] => String::new(),
            [slot] => format!("; slot {slot} stays stopped"),
            [first @ .., last] if stopped.len() <= MAX_NAMED => {
                format!("; slots {} and {last} stay stopped", first.join(", "))
            }
            [..] => format!("; {} slots stay stopped", stopped.len()),
        }
    }

    /// What a verdict says when its deed has left nobody who serves.
    pub(super) fn nobody_in_words(&self) -> &'static str {
        if self.ready() == 0 { "; no worker is ready now" } else { "" }
    }
}

#[cfg(test)]
mod tests;
