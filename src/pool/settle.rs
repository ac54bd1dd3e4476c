//! After every event: what the facts now allow or demand, until nothing more follows.

use super::machine::{Effects, Pool};
use super::slot::{Holder, Place, Replacement};
use super::{
    Announcement, Cause, Effect, Exit, GenerationId, Outcome, PoolPhase, Purpose, Slot, SlotView, View,
    WorkerId,
};
use crate::plan::AllFailed;
use crate::time::Monotonic;

/// Settling ends by itself; this bounds it should a mistake make it go in circles.
const MAX_ROUNDS: usize = 16_384;
/// A first start in which every place had so many workers that were not ready in time has failed. They are too far
/// apart to reach the start limit.
const FIRST_TIMEOUTS: u32 = 3;

impl Pool {
    /// Brings the pool as near to what is wanted as facts allow.
    pub(super) fn settle(&mut self, now: Monotonic, out: &mut Effects) {
        self.settled_at = now;
        for _ in 0..MAX_ROUNDS {
            let changed = self.promote(now, out)
                | self.advance_rollout(now, out)
                | self.begin_next(now, out)
                | self.fill(now, out)
                | self.start_successors(now, out)
                | self.satisfy_waiters(out);
            if !changed {
                break;
            }
        }
        self.announce_ready(out);
        self.end_if_hopeless(now, out);
        self.retire_generations(out);
    }

    /// Ready successors take over.
    fn promote(&mut self, now: Monotonic, out: &mut Effects) -> bool {
        let ripe: Vec<(Slot, WorkerId)> = self
            .places
            .iter()
            .filter_map(|(slot, place)| place.successor.map(|successor| (*slot, successor)))
            .filter(|(_, successor)| self.baked_at(*successor).is_some_and(|at| at <= now))
            .collect();
        for (slot, successor) in &ripe {
            self.take_over(now, *slot, *successor, out);
        }
        !ripe.is_empty()
    }

    fn take_over(&mut self, now: Monotonic, slot: Slot, successor: WorkerId, out: &mut Effects) {
        let Some(generation) = self.workers.get(&successor).map(|worker| worker.generation) else {
            return;
        };
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        let old = place.holder();
        place.holder = Holder::Worker(successor);
        place.successor = None;
        place.generation = generation;
        let replacement = place.replacement.take();
        let cause = match (&self.rollout, &replacement) {
            (Some(rollout), _) if rollout.goal() == rollout.target => match rollout.purpose {
                Purpose::Reload => Cause::Replaced,
                Purpose::Restart => Cause::Restarted,
            },
            (Some(_), _) => Cause::Aborted,
            (None, Some(replacement)) => replacement.cause.clone(),
            (None, None) => Cause::Replaced,
        };
        if let Some(old) = old {
            // A hung worker would not hear the request to leave.
            if cause == Cause::Watchdog {
                self.kill(now, old, cause, out);
            } else {
                self.drain(now, old, cause, out);
            }
        }
        self.grant_replacement(replacement, slot, old);
    }

    /// Says that empty places are left alone, or no longer.
    pub(super) fn announce_jam(&self, was_jammed: bool, out: &mut Effects) {
        if self.ending.is_some() || self.is_jammed() == was_jammed {
            return;
        }
        let stuck = u32::try_from(self.stuck()).unwrap_or(u32::MAX);
        let news = if was_jammed { Announcement::Unjammed } else { Announcement::Jammed { stuck } };
        out.push(Effect::Announce(news));
    }

    /// Empty places get a worker. While too many are stuck, only those that were emptied by request do.
    fn fill(&mut self, now: Monotonic, out: &mut Effects) -> bool {
        if self.ending.is_some() {
            return false;
        }
        let jammed = self.is_jammed();
        let empty: Vec<(Slot, GenerationId)> = self
            .places
            .iter()
            .filter(|(_, place)| {
                place.holder == Holder::Vacant || (!jammed && place.until().is_some_and(|until| until <= now))
            })
            .map(|(slot, place)| (*slot, place.generation))
            .collect();
        for (slot, generation) in &empty {
            let worker = self.spawn(now, *slot, *generation, out);
            if let Some(place) = self.places.get_mut(slot) {
                place.holder = Holder::Worker(worker);
            }
        }
        !empty.is_empty()
    }

    /// Starts workers that are to take over, as far as `max-surge` allows.
    fn start_successors(&mut self, now: Monotonic, out: &mut Effects) -> bool {
        if self.ending.is_some() {
            return false;
        }
        let mut started = false;
        if let Some(rollout) = &self.rollout {
            let goal = rollout.goal();
            for slot in self.outstanding() {
                let Some(place) = self.places.get(&slot).filter(|place| place.successor.is_none()) else {
                    continue;
                };
                // A place that the rollout adds costs nothing beyond what will be wanted.
                if place.holder != Holder::Reserved && !self.has_room(goal) {
                    continue;
                }
                self.start_successor(now, slot, goal, out);
                started = true;
            }
            return started;
        }
        let in_flight = self.places.values().any(|place| place.successor.is_some());
        if in_flight || !self.has_room(self.generation) {
            return false;
        }
        let clogged = self.is_clogged();
        let due = |place: &Place| {
            let is_ready = place.holder().is_some_and(|holder| self.is_ready(holder));
            place
                .replacement
                .as_ref()
                .filter(|wish| is_ready && wish.is_due(now, clogged))
                .map(Replacement::order)
        };
        let due = self.places.iter().filter_map(|(slot, place)| Some((due(place)?, *slot, place.generation)));
        let next = due.min_by_key(|(order, slot, _)| (*order, *slot));
        if let Some((_, slot, generation)) = next {
            self.start_successor(now, slot, generation, out);
            started = true;
        }
        started
    }

    fn start_successor(&mut self, now: Monotonic, slot: Slot, generation: GenerationId, out: &mut Effects) {
        let worker = self.spawn(now, slot, generation, out);
        if let Some(place) = self.places.get_mut(&slot) {
            place.successor = Some(worker);
        }
    }

    fn has_room(&self, generation: GenerationId) -> bool {
        self.extras() < self.plan(generation).reload.max_surge.max(1)
    }

    /// Enough is ready when no place is in its first start any more and at least one is served, or none is meant to be.
    fn announce_ready(&mut self, out: &mut Effects) {
        if self.announced_ready || self.ending.is_some() {
            return;
        }
        let undecided = self.places.iter().any(|(slot, place)| {
            !place.is_stopped() && !self.is_served(*slot) && !self.has_been_tried(*slot)
        });
        let none_is_meant = self.places.values().all(Place::is_stopped);
        if !undecided && (self.ready() > 0 || none_is_meant) {
            self.announced_ready = true;
            out.push(Effect::Announce(Announcement::PoolReady));
        }
    }

    fn has_been_tried(&self, slot: Slot) -> bool {
        self.places.get(&slot).is_some_and(|place| place.last_failure.is_some())
    }

    /// Ends a pool that has nothing left to do: stopped and empty, or failed for good.
    fn end_if_hopeless(&mut self, now: Monotonic, out: &mut Effects) {
        // A rollout may be what helps; it ends, and then it is seen what it led to. So may whoever stopped a slot: once
        // the pool was ready, it goes on for as long as one can be started.
        if self.ending.is_none() && self.rollout.is_none() && !self.places.is_empty() {
            let finished = self.places.values().all(|place| place.holder == Holder::Finished);
            let failed = self.places.values().all(|place| matches!(place.holder, Holder::Failed { .. }))
                && self.plan(self.generation).restart.all_failed == AllFailed::Exit;
            if finished || failed || self.cannot_start() || self.never_started() {
                let clean = |cause: &Cause| *cause == Cause::Exit(Exit::Code(0));
                let well =
                    finished && self.places.values().filter_map(|it| it.last_failure.as_ref()).all(clean);
                let failure = (!well).then(|| self.why_hopeless());
                self.begin_ending(now, None, failure, out);
            }
        }
        let empty = self.is_empty();
        let Some(ending) = self.ending.as_mut().filter(|ending| empty && !ending.left) else {
            return;
        };
        ending.left = true;
        let (requests, failure) = (std::mem::take(&mut ending.requests), ending.failure.take());
        let message = format!("stopped{}", self.stuck_in_words(|_| true));
        let outcome = if self.workers.is_empty() { Outcome::Done } else { Outcome::Partly };
        for request in requests {
            self.reply(request, outcome, message.clone(), None, out);
        }
        out.push(Effect::Leave { failure });
    }

    /// The last cause of the first slot that has one.
    fn why_hopeless(&self) -> String {
        let cause = self.places.iter().find_map(|(slot, place)| Some((slot, place.last_failure.as_ref()?)));
        cause.map_or_else(
            || "every slot has failed".to_owned(),
            |(slot, cause)| format!("every slot has failed; the worker in slot {slot} {cause}"),
        )
    }

    /// Nothing ever ran, and the program itself is the reason: trying again would only hide it.
    fn cannot_start(&self) -> bool {
        !self.announced_ready
            && self.workers.is_empty()
            && self.all_meant_to_run(|place| matches!(place.last_failure, Some(Cause::Spawn(_))))
    }

    /// Whether it is true of every place but the stopped ones, of which there are others.
    fn all_meant_to_run(&self, test: impl Fn(&Place) -> bool) -> bool {
        let mut meant = self.places.values().filter(|place| !place.is_stopped()).peekable();
        meant.peek().is_some() && meant.all(test)
    }

    /// Nothing was ever ready, and every place was tried in earnest: whoever waits for the start hears that it failed.
    /// Trying again is then for whoever started us (`Restart=`).
    fn never_started(&self) -> bool {
        let in_earnest = |place: &Place| {
            let too_slow = matches!(place.last_failure, Some(Cause::ReadyTimeout(_)));
            matches!(place.holder, Holder::Failed { .. })
                || too_slow && place.early_failures >= FIRST_TIMEOUTS
        };
        !self.announced_ready && self.all_meant_to_run(in_earnest)
    }

    fn retire_generations(&mut self, out: &mut Effects) {
        if self.generations.len() < 2 {
            return;
        }
        let used = |generation: GenerationId| {
            generation == self.generation
                || self
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| rollout.target == generation || rollout.from == generation)
                || self.places.values().any(|place| place.generation == generation)
                || self.workers.values().any(|worker| worker.generation == generation)
        };
        let unused: Vec<GenerationId> =
            self.generations.keys().copied().filter(|generation| !used(*generation)).collect();
        for generation in unused {
            self.generations.remove(&generation);
            out.push(Effect::Retire { generation });
        }
    }

    /// The pool as it is, for everyone who only looks.
    #[must_use]
    pub fn view(&self) -> View {
        let ready = self.ready();
        let phase = match () {
            () if self.ending.is_some() => PoolPhase::Stopping,
            () if self.rollout.is_some() => PoolPhase::Reloading,
            () if !self.announced_ready => PoolPhase::Starting,
            () if ready >= self.wanted => PoolPhase::Serving,
            () if ready > 0 => PoolPhase::Degraded,
            () => PoolPhase::Down,
        };
        let slots = self
            .places
            .iter()
            .map(|(slot, place)| SlotView {
                slot: *slot,
                phase: self.phase_of(*slot, place),
                restarts: place.restarts,
                until: place.until().filter(|until| !self.is_held_back(*until)),
                last_failure: place.last_failure.clone(),
            })
            .collect();
        let mut workers: Vec<_> = self.workers.values().collect();
        workers.sort_by_key(|worker| (worker.slot, !self.holds(worker.id), worker.id));
        View {
            app: self.app.clone(),
            phase,
            generation: self.generation,
            wanted: self.wanted,
            ready,
            restarts: self.restarts,
            since: self.since,
            slots,
            workers: workers.into_iter().map(super::worker::Worker::view).collect(),
            reload: self.reload_view(),
            last_reload: self.last_reload.clone(),
        }
    }
}
