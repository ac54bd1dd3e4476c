//! What follows when a worker that was meant to stay is lost, or ought to go.

use std::time::Duration;

use super::machine::{Effects, Pool, Role};
use super::slot::{AfterLoss, Holder, Replacement};
use super::worker::Worker;
use super::{Announcement, Cause, Effect, RequestId, Slot, WorkerFailure, WorkerId};
use crate::time::Monotonic;

impl Pool {
    /// A worker that was meant to stay is lost to its place.
    pub(super) fn lost(&mut self, now: Monotonic, id: WorkerId, cause: Cause, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let failure = WorkerFailure {
            worker: id,
            slot: worker.slot,
            pid: worker.pid,
            cause: cause.clone(),
            started: worker.started,
            ended: now,
        };
        let on_trial = self.rollout.as_ref().is_some_and(|rollout| rollout.tries(worker.generation));
        match self.role(&worker) {
            Role::Holder => {
                let vacant = if on_trial { Some(Holder::Vacant) } else { None };
                if let (Some(place), Some(holder)) = (self.places.get_mut(&worker.slot), vacant) {
                    place.holder = holder;
                    place.last_failure = Some(cause);
                } else {
                    self.holder_lost(now, &worker, cause, out);
                }
            }
            Role::Successor => {
                if let Some(place) = self.places.get_mut(&worker.slot) {
                    place.successor = None;
                }
                if !on_trial {
                    self.successor_lost(now, &worker, &failure, out);
                }
            }
            Role::Retiring => return,
        }
        if on_trial {
            let reason = format!("a new worker in slot {} {}", worker.slot, failure.cause);
            self.abort_rollout(now, reason, Some(failure), out);
        } else {
            self.waiters_lost(worker.slot, &failure, out);
        }
    }

    pub(super) fn holder_lost(&mut self, now: Monotonic, worker: &Worker, cause: Cause, out: &mut Effects) {
        let plan = self.plan(worker.generation);
        let uptime = worker.ready_since().map_or(Duration::ZERO, |since| now.since(since));
        self.restarts = self.restarts.saturating_add(1);
        let (ending, jammed) = (self.ending.is_some(), self.is_jammed());
        let goes_back = self.rollout.as_ref().and_then(|rollout| rollout.gives_up(worker.generation));
        let Some(place) = self.places.get_mut(&worker.slot).filter(|_| !ending) else {
            return;
        };
        if let Some(generation) = goes_back {
            // Its failure says nothing about the old generation, which has the place back sooner than planned.
            place.generation = generation;
            place.last_failure = Some(cause);
            place.holder = place.successor.take().map_or(Holder::Vacant, Holder::Worker);
            let replacement = place.replacement.take();
            self.grant_replacement(replacement, worker.slot, None);
            return;
        }
        let after = place.lost(cause.clone(), uptime, &plan.restart, &mut self.random, now);
        if jammed && place.holder == Holder::Vacant {
            // Not left empty by request: it waits with the others.
            place.holder = Holder::Waiting { until: now };
        }
        let slot = worker.slot;
        let replacement = place.replacement.take();
        if let Some(successor) = place.successor.filter(|_| self.rollout.is_none()) {
            // The fresh worker that was to take over is already there: nothing else need be started.
            place.successor = None;
            place.holder = Holder::Worker(successor);
            self.grant_replacement(replacement, slot, None);
            return;
        }
        self.grant_replacement(replacement, slot, None);
        match after {
            AfterLoss::AtOnce | AfterLoss::Finish => {}
            AfterLoss::Wait(delay) => {
                out.push(Effect::Announce(Announcement::SlotWaiting { slot, delay }));
            }
            AfterLoss::Fail => out.push(Effect::Announce(Announcement::SlotFailed { slot, cause })),
        }
    }

    pub(super) fn successor_lost(
        &mut self,
        now: Monotonic,
        worker: &Worker,
        failure: &WorkerFailure,
        out: &mut Effects,
    ) {
        if self.rollout.is_some() {
            self.return_failed();
            return;
        }
        let plan = self.plan(worker.generation);
        let mut failed = Vec::new();
        if let Some(place) = self.places.get_mut(&worker.slot)
            && let Some(replacement) = &mut place.replacement
        {
            failed.append(&mut replacement.requests);
            if replacement.cause == Cause::Restarted {
                place.replacement = None;
            } else {
                replacement.attempts = replacement.attempts.saturating_add(1);
                let delay = plan
                    .restart
                    .backoff
                    .max
                    .min(plan.restart.backoff.initial.saturating_mul(1 << replacement.attempts.min(16)));
                replacement.not_before =
                    now + self.random.lengthen(delay, plan.restart.backoff.jitter_percent);
            }
        }
        let stays = if self.is_served(worker.slot) { "goes on serving" } else { "stays, and is not ready" };
        let message =
            format!("the new worker for slot {} {}; the old one {stays}", worker.slot, failure.cause);
        self.reply_failed(failed, &message, Some(failure), out);
    }

    /// A worker that still runs ought to be replaced.
    pub(super) fn ought_to_go(&mut self, now: Monotonic, id: WorkerId, cause: Cause, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let sick = matches!(cause, Cause::Unhealthy(_) | Cause::Watchdog);
        if sick && self.rollout.as_ref().is_some_and(|rollout| rollout.tries(worker.generation)) {
            let reason = format!("a new worker in slot {} {cause}", worker.slot);
            let failure = WorkerFailure {
                worker: id,
                slot: worker.slot,
                pid: worker.pid,
                cause,
                started: worker.started,
                ended: now,
            };
            self.abort_rollout(now, reason, Some(failure), out);
            return;
        }
        if self.role(&worker) == Role::Holder {
            let delay = if sick { self.fell_sick(now, &worker, &cause, out) } else { Duration::ZERO };
            self.wish_replacement(now + delay, worker.slot, cause, None);
        }
    }

    /// A holder hangs or answers badly: that counts as a crash does. How long its replacement has to wait, because the
    /// place had too many already.
    fn fell_sick(&mut self, now: Monotonic, worker: &Worker, cause: &Cause, out: &mut Effects) -> Duration {
        let plan = self.plan(worker.generation);
        let slot = worker.slot;
        let Some(place) = self.places.get_mut(&slot).filter(|place| !place.is_to_be_cured()) else {
            return Duration::ZERO;
        };
        self.restarts = self.restarts.saturating_add(1);
        let delay = place.fell_sick(cause.clone(), &plan.restart, now);
        if !delay.is_zero() {
            out.push(Effect::Announce(Announcement::SlotWaiting { slot, delay }));
        }
        delay
    }

    /// Notes that a place's holder is to be replaced by a fresh worker.
    pub(super) fn wish_replacement(
        &mut self,
        now: Monotonic,
        slot: Slot,
        cause: Cause,
        request: Option<RequestId>,
    ) {
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        let wish = place.replacement.get_or_insert_with(|| Replacement {
            cause: cause.clone(),
            not_before: now,
            attempts: 0,
            requests: Vec::new(),
        });
        wish.aggravate(cause);
        if let Some(request) = request {
            wish.requests.push(request);
            wish.not_before = now;
        }
    }
}
