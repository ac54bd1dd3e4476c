//! Wishes: which are done at once, which wait for their turn, and who is told what came of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::machine::{Effects, Ending, Pool};
use super::rollout::workers_in_words;
use super::slot::{Holder, Place, Replacement};
use super::worker::Worker;
use super::{
    Announcement, Cause, Command, Effect, Outcome, RequestId, ScaleTo, Slot, Verdict, WorkerFailure, WorkerId,
};
use crate::plan::{MAX_WORKERS, Plan};
use crate::time::Monotonic;

/// So many wishes may wait for their turn.
pub(super) const MAX_QUEUED: usize = 64;
/// So many callers may wait for one thing.
pub(super) const MAX_CALLERS: usize = 256;

/// A wish that waits until no rollout is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Queued {
    /// `None`: the plan of that time once more.
    Rollout {
        plan: Option<Arc<Plan>>,
        requests: Vec<RequestId>,
    },
    Scale {
        to: ScaleTo,
        request: RequestId,
    },
}

/// Callers who wait until places are served and workers are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) requests: Vec<RequestId>,
    pub(super) served: BTreeSet<Slot>,
    pub(super) gone: BTreeSet<WorkerId>,
    /// They asked for this place to be stopped.
    pub(super) stops: Option<Slot>,
    /// They set the number of workers: that stands whatever becomes of one slot.
    pub(super) scales: bool,
    pub(super) message: String,
}

impl Pool {
    /// One answer for each command.
    pub(super) fn asked(&mut self, now: Monotonic, request: RequestId, command: Command, out: &mut Effects) {
        match command {
            Command::Stop => {
                self.begin_ending(now, Some(request), None, out);
            }
            _ if self.ending.is_some() => {
                self.reply(request, Outcome::Refused, "the pool is stopping".into(), None, out);
            }
            Command::Restart { slot: None } => self.queue_rollout(None, request, out),
            Command::Restart { slot: Some(slot) } => self.restart_slot(now, slot, request, out),
            Command::Scale { to } => self.queue_scale(to, request, out),
            Command::Signal { slot, signal } => self.signal(slot, signal, request, out),
            Command::Reset { slot } => self.reset(slot, request, out),
            Command::StopSlot { slot } => self.stop_slot(now, slot, request, out),
            Command::StartSlot { slot } => self.start_slot(slot, request, out),
        }
    }

    /// A rollout waits for its turn, merged with one that waits at the end of the queue.
    pub(super) fn queue_rollout(&mut self, plan: Option<Arc<Plan>>, request: RequestId, out: &mut Effects) {
        if self.ending.is_some() {
            self.reply(request, Outcome::Refused, "the pool is stopping".into(), None, out);
            return;
        }
        if let Some(Queued::Rollout { plan: queued, requests }) = self.queue.back_mut() {
            if requests.len() < MAX_CALLERS {
                // A restart adds nothing to a waiting reload; a reload turns a waiting restart into itself.
                if plan.is_some() {
                    *queued = plan;
                }
                requests.push(request);
                return;
            }
        } else if self.queue.len() < MAX_QUEUED {
            self.queue.push_back(Queued::Rollout { plan, requests: vec![request] });
            return;
        }
        self.refuse_for_want_of_room(request, out);
    }

    fn queue_scale(&mut self, to: ScaleTo, request: RequestId, out: &mut Effects) {
        if self.queue.len() >= MAX_QUEUED || self.waiters.len() >= MAX_CALLERS {
            self.refuse_for_want_of_room(request, out);
            return;
        }
        self.queue.push_back(Queued::Scale { to, request });
    }

    /// Begins the next waiting wish, if its turn has come. `true`: something was begun.
    pub(super) fn begin_next(&mut self, now: Monotonic, out: &mut Effects) -> bool {
        if self.rollout.is_some() || self.ending.is_some() {
            return false;
        }
        match self.queue.pop_front() {
            Some(Queued::Rollout { plan, requests }) => self.start_rollout(now, plan, requests, out),
            Some(Queued::Scale { to, request }) => self.scale(now, to, request, out),
            None => return false,
        }
        true
    }

    fn scale(&mut self, now: Monotonic, to: ScaleTo, request: RequestId, out: &mut Effects) {
        let target = match to {
            ScaleTo::Exactly(count) => count,
            ScaleTo::Up(more) => self.wanted.saturating_add(more),
            // A pool is emptied by an explicit 0 only, not by a subtraction that was too large.
            ScaleTo::Down(fewer) => self.wanted.saturating_sub(fewer).max(self.wanted.min(1)),
        };
        if target > MAX_WORKERS {
            let message = format!("{target} workers are more than the {MAX_WORKERS} that ganger allows");
            self.reply(request, Outcome::Refused, message, None, out);
            return;
        }
        let (before, generation) = (self.wanted, self.generation);
        self.wanted = target;
        let added: BTreeSet<Slot> = (before..target).map(Slot).collect();
        for slot in &added {
            self.places.insert(*slot, Place::new(generation, Holder::Vacant));
        }
        let leaving = self.drop_places_from(now, target, Cause::ScaledDown, out);
        let message = if target == before {
            let are = if target == 1 { "is" } else { "are" };
            format!("there {are} {} already", workers_in_words(target))
        } else {
            format!("scaled from {before} to {}", workers_in_words(target))
        };
        let message = format!("{message}{}", self.stopped_in_words());
        self.supersede_waiters(target, out);
        self.waiters.push(Waiter {
            requests: vec![request],
            served: added,
            gone: leaving.into_iter().collect(),
            stops: None,
            scales: true,
            message,
        });
    }

    /// Whoever waits for a place that is no more is told so.
    pub(super) fn supersede_waiters(&mut self, wanted: u32, out: &mut Effects) {
        for request in self.take_waiters_beyond(wanted) {
            let message = format!("a later request set the pool to {}", workers_in_words(wanted));
            self.reply(request, Outcome::Superseded, message, None, out);
        }
    }

    /// Those of whom this is true; they wait no longer.
    pub(super) fn take_waiters(&mut self, concerned: impl Fn(&Self, &Waiter) -> bool) -> Vec<Waiter> {
        let waiters = std::mem::take(&mut self.waiters).into_iter();
        let (taken, kept) = waiters.partition(|waiter| concerned(self, waiter));
        self.waiters = kept;
        taken
    }

    /// Those who wait for something of a place beyond the first `places`; they wait no longer.
    pub(super) fn take_waiters_beyond(&mut self, places: u32) -> Vec<RequestId> {
        let is_beyond = |slot: &Slot| slot.0 >= places;
        let dropped = self.take_waiters(|_, waiter| waiter.served.iter().chain(&waiter.stops).any(is_beyond));
        dropped.into_iter().flat_map(|waiter| waiter.requests).collect()
    }

    fn restart_slot(&mut self, now: Monotonic, slot: Slot, request: RequestId, out: &mut Effects) {
        let Some(place) = self.places.get_mut(&slot) else {
            self.reply_no_slot(slot, request, out);
            return;
        };
        let asked = place.replacement.as_ref().map_or(0, |wish| wish.requests.len());
        if asked.max(self.waiters.len()) >= MAX_CALLERS {
            self.refuse_for_want_of_room(request, out);
            return;
        }
        if place.holder().is_some() {
            self.wish_replacement(now, slot, Cause::Restarted, Some(request));
            return;
        }
        // Nobody is there to be replaced: starting one is what was meant.
        self.fill_by_request(slot, out);
        self.wait_until_served(slot, request, format!("slot {slot} was started"));
    }

    fn signal(&mut self, slot: Option<Slot>, signal: i32, request: RequestId, out: &mut Effects) {
        if let Some(slot) = slot.filter(|slot| !self.places.contains_key(slot)) {
            self.reply_no_slot(slot, request, out);
            return;
        }
        let targets: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.is_staying() && worker.pid.is_some())
            .filter(|worker| slot.is_none_or(|slot| worker.slot == slot))
            .map(|worker| worker.id)
            .collect();
        let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        for worker in targets {
            out.push(Effect::Signal { worker, signal });
        }
        let message = format!("signal {signal} was sent to {}", workers_in_words(count));
        let outcome = if count == 0 { Outcome::Failed } else { Outcome::Done };
        self.reply(request, outcome, message, None, out);
    }

    fn reset(&mut self, slot: Option<Slot>, request: RequestId, out: &mut Effects) {
        if let Some(slot) = slot.filter(|slot| !self.places.contains_key(slot)) {
            self.reply_no_slot(slot, request, out);
            return;
        }
        if let Some(slot) = slot {
            self.fill_by_request(slot, out);
        } else {
            self.places.values_mut().for_each(Place::reset);
            self.restarts = 0;
        }
        self.reply(request, Outcome::Done, "failures are forgotten".into(), None, out);
    }

    /// The pool ends: everybody who waits is told, every worker is drained.
    pub(super) fn begin_ending(
        &mut self,
        now: Monotonic,
        request: Option<RequestId>,
        failure: Option<String>,
        out: &mut Effects,
    ) {
        if let Some(ending) = &mut self.ending {
            if ending.requests.len() < MAX_CALLERS {
                ending.requests.extend(request);
            } else if let Some(request) = request {
                self.refuse_for_want_of_room(request, out);
            }
            return;
        }
        self.ending = Some(Ending { requests: request.into_iter().collect(), failure, left: false });
        out.push(Effect::Announce(Announcement::Stopping));
        if let Some(rollout) = &self.rollout {
            let message = format!("the pool was stopped on the way to generation {}", rollout.target);
            self.finish_rollout(now, Outcome::Stopped, message, None, out);
        }
        let mut disappointed: Vec<RequestId> = Vec::new();
        for queued in std::mem::take(&mut self.queue) {
            match queued {
                Queued::Rollout { requests, .. } => disappointed.extend(requests),
                Queued::Scale { request, .. } => disappointed.push(request),
            }
        }
        disappointed.extend(std::mem::take(&mut self.waiters).into_iter().flat_map(|waiter| waiter.requests));
        for place in self.places.values_mut() {
            disappointed.extend(place.replacement.take().into_iter().flat_map(|wish| wish.requests));
        }
        self.drop_places_from(now, 0, Cause::Stopped, out);
        for request in disappointed {
            self.reply(
                request,
                Outcome::Stopped,
                "the pool was stopped before it was done".into(),
                None,
                out,
            );
        }
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.drain(now, id, Cause::Stopped, out);
        }
    }

    /// The pool ends at once: every worker is killed.
    pub(super) fn interrupted(&mut self, now: Monotonic, out: &mut Effects) {
        self.begin_ending(now, None, None, out);
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.kill(now, id, Cause::Stopped, out);
        }
    }

    // ---- telling -------------------------------------------------------------------------------------

    pub(super) fn reply(
        &self,
        request: RequestId,
        outcome: Outcome,
        message: String,
        failure: Option<WorkerFailure>,
        out: &mut Effects,
    ) {
        let verdict = Verdict { outcome, message, generation: self.generation, failure };
        out.push(Effect::Reply { request, verdict });
    }

    pub(super) fn reply_failed(
        &self,
        requests: Vec<RequestId>,
        message: &str,
        failure: Option<&WorkerFailure>,
        out: &mut Effects,
    ) {
        for request in requests {
            self.reply(request, Outcome::Failed, message.to_owned(), failure.cloned(), out);
        }
    }

    pub(super) fn refuse_for_want_of_room(&self, request: RequestId, out: &mut Effects) {
        self.reply(request, Outcome::Refused, "too many requests are waiting".into(), None, out);
    }

    pub(super) fn reply_no_slot(&self, slot: Slot, request: RequestId, out: &mut Effects) {
        let message = match self.wanted {
            0 => format!("there is no slot {slot}: the pool is scaled to 0"),
            wanted => format!("there is no slot {slot}: the slots are 0 to {}", wanted - 1),
        };
        self.reply(request, Outcome::NotFound, message, None, out);
    }

    /// A replacement was done; whoever asked for it waits until the old worker is gone.
    pub(super) fn grant_replacement(
        &mut self,
        replacement: Option<Replacement>,
        slot: Slot,
        old: Option<WorkerId>,
    ) {
        if let Some(replacement) = replacement.filter(|replacement| !replacement.requests.is_empty()) {
            self.waiters.push(Waiter {
                requests: replacement.requests,
                served: BTreeSet::from([slot]),
                gone: old.into_iter().collect(),
                stops: None,
                scales: false,
                message: format!("slot {slot} was restarted"),
            });
        }
    }

    /// A replacement will never be done.
    pub(super) fn drop_replacement(&self, replacement: Option<Replacement>, out: &mut Effects) {
        let requests = replacement.map(|replacement| replacement.requests).unwrap_or_default();
        self.reply_failed(requests, "the slot was removed meanwhile", None, out);
    }

    /// Whoever waited for this place hears that its worker failed.
    pub(super) fn waiters_lost(&mut self, slot: Slot, failure: &WorkerFailure, out: &mut Effects) {
        let lost = self.take_waiters(|pool, waiter| waiter.served.contains(&slot) && !pool.is_served(slot));
        let prospect = match self.places.get(&slot).map(|place| &place.holder) {
            Some(Holder::Failed { .. }) => "it is given up for now",
            Some(Holder::Finished) => "by restart.policy it is not started again",
            Some(
                Holder::Vacant
                | Holder::Reserved
                | Holder::Worker(_)
                | Holder::Waiting { .. }
                | Holder::Stopped,
            )
            | None => "it will be tried again",
        };
        for request in lost.into_iter().flat_map(|waiter| waiter.requests) {
            let message = format!("the worker in slot {slot} {}; {prospect}", failure.cause);
            self.reply(request, Outcome::Partly, message, Some(failure.clone()), out);
        }
    }

    /// Tells those whose wait is over. `true`: somebody was told.
    pub(super) fn satisfy_waiters(&mut self, out: &mut Effects) -> bool {
        let done = self.take_waiters(|pool, waiter| {
            waiter.served.iter().all(|slot| pool.is_served(*slot))
                && waiter.gone.iter().all(|worker| pool.workers.get(worker).is_none_or(Worker::is_stuck))
        });
        let told = !done.is_empty();
        for waiter in done {
            let stuck = self.stuck_in_words(|worker| waiter.gone.contains(&worker.id));
            // Whose worker cannot be ended has not got all that was asked for.
            let held = waiter.stops.is_some() && !stuck.is_empty();
            let outcome = if held { Outcome::Partly } else { Outcome::Done };
            let idle = waiter.stops.map_or("", |_| self.nobody_in_words());
            for request in waiter.requests {
                self.reply(request, outcome, format!("{}{stuck}{idle}", waiter.message), None, out);
            }
        }
        told
    }
}
