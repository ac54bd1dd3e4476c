//! Replacing one generation by another: forward slot by slot, or back again when the new one fails.

use super::machine::{Effects, Pool};
use super::slot::{Holder, Place};
use super::worker::{Life, Worker};
use super::{
    Announcement, Cause, Effect, GenerationId, LastReload, Outcome, ReloadView, RequestId, Slot, Verdict,
    WorkerFailure, WorkerId,
};
use crate::plan::Plan;
use crate::time::{Monotonic, format_span};
use std::sync::Arc;
use std::time::Duration;

/// So many workers of the old generation may fail to come back before taking a rollout back is given up.
const MAX_FAILED_RETURNS: u32 = 3;

/// What a rollout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To bring the pool to the configuration that was read for it.
    Reload,
    /// To have fresh workers of the same configuration.
    Restart,
}

/// One rollout under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rollout {
    pub(super) target: GenerationId,
    pub(super) from: GenerationId,
    pub(super) purpose: Purpose,
    /// Places before the rollout.
    pub(super) before: u32,
    /// Places after it.
    pub(super) after: u32,
    pub(super) started: Monotonic,
    pub(super) requests: Vec<RequestId>,
    pub(super) course: Course,
}

/// Where a rollout is heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Course {
    /// Places are being moved to the new generation.
    Forward,
    /// All places are moved; the last old workers are leaving.
    Committed,
    /// The new generation failed; places are being moved back.
    Backward { reason: String, failure: Option<WorkerFailure>, failed_returns: u32 },
}

impl Rollout {
    /// The generation that places are to reach.
    pub(super) fn goal(&self) -> GenerationId {
        match self.course {
            Course::Forward | Course::Committed => self.target,
            Course::Backward { .. } => self.from,
        }
    }

    /// This generation is on trial: any failure of its workers takes the rollout back.
    pub(super) fn tries(&self, generation: GenerationId) -> bool {
        self.course == Course::Forward && self.target == generation
    }

    /// Where a place goes back to whose worker of `generation` is lost, if that generation is given up.
    pub(super) fn gives_up(&self, generation: GenerationId) -> Option<GenerationId> {
        (self.is_backward() && self.target == generation).then_some(self.from)
    }

    fn is_backward(&self) -> bool {
        matches!(self.course, Course::Backward { .. })
    }
}

impl Pool {
    /// Begins a rollout to `plan` (`None`: the present plan once more).
    pub(super) fn start_rollout(
        &mut self,
        now: Monotonic,
        plan: Option<Arc<Plan>>,
        requests: Vec<RequestId>,
        out: &mut Effects,
    ) {
        let present = self.plan(self.generation);
        let purpose = if plan.is_some() { Purpose::Reload } else { Purpose::Restart };
        let plan = plan.unwrap_or_else(|| Arc::clone(&present));
        let before = self.wanted;
        let after = if plan.workers == present.workers { before } else { plan.workers };
        let target = self.new_generation(plan);
        for number in before..after {
            self.places.insert(Slot(number), Place::new(self.generation, Holder::Reserved));
        }
        self.rollout = Some(Rollout {
            target,
            from: self.generation,
            purpose,
            before,
            after,
            started: now,
            requests,
            course: Course::Forward,
        });
        out.push(Effect::Announce(Announcement::ReloadStarted { generation: target, purpose }));
    }

    /// The places that the rollout still has to move, in order.
    pub(super) fn outstanding(&self) -> Vec<Slot> {
        let Some(rollout) = &self.rollout else {
            return Vec::new();
        };
        let goal = rollout.goal();
        let end = if rollout.is_backward() { rollout.before } else { rollout.after };
        self.places
            .iter()
            .filter(|(slot, place)| slot.0 < end && place.generation != goal && !place.is_stopped())
            .map(|(slot, _)| *slot)
            .collect()
    }

    /// The new generation failed: what it has of places and workers goes back.
    pub(super) fn abort_rollout(
        &mut self,
        now: Monotonic,
        reason: String,
        failure: Option<WorkerFailure>,
        out: &mut Effects,
    ) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let (target, from, before) = (rollout.target, rollout.from, rollout.before);
        rollout.course = Course::Backward { reason: reason.clone(), failure, failed_returns: 0 };
        out.push(Effect::Announce(Announcement::ReloadAborting { generation: target, reason }));
        let mut leaving: Vec<WorkerId> = Vec::new();
        for place in self.places.values_mut() {
            leaving.extend(place.successor.take());
        }
        for slot in self.slots_from(before) {
            if let Some(place) = self.places.remove(&slot) {
                leaving.extend(place.holder());
                self.drop_replacement(place.replacement, out);
            }
        }
        let disappointed = self.take_waiters_beyond(before);
        self.reply_failed(disappointed, "the slot was removed meanwhile", None, out);
        for place in self.places.values_mut() {
            if place.generation == target && place.holder().is_none() {
                place.generation = from;
                place.holder = Holder::Vacant;
            }
        }
        for worker in leaving {
            self.drain(now, worker, Cause::Aborted, out);
        }
    }

    /// A worker of the old generation did not come back while a rollout is taken back.
    pub(super) fn return_failed(&mut self) {
        if let Some(Rollout { course: Course::Backward { failed_returns, .. }, .. }) = &mut self.rollout {
            *failed_returns = failed_returns.saturating_add(1);
        }
    }

    /// Takes the rollout as far as facts allow. `true`: something changed.
    pub(super) fn advance_rollout(&mut self, now: Monotonic, out: &mut Effects) -> bool {
        let Some(rollout) = &self.rollout else {
            return false;
        };
        let (target, from) = (rollout.target, rollout.from);
        match &rollout.course {
            Course::Forward => {
                if !self.outstanding().is_empty() {
                    return false;
                }
                self.commit(now, out);
                true
            }
            Course::Committed => {
                let leaves = |worker: &Worker| worker.generation != target;
                if self.workers.values().any(|worker| leaves(worker) && !worker.is_stuck()) {
                    return false;
                }
                let what = match rollout.purpose {
                    Purpose::Reload => "",
                    Purpose::Restart => "all workers were restarted: ",
                };
                let message = format!(
                    "{what}generation {target} serves with {} after {}{}{}",
                    workers_in_words(self.wanted.saturating_sub(self.stopped())),
                    format_span(now.since(rollout.started)),
                    self.stuck_in_words(leaves),
                    self.stopped_in_words()
                );
                self.finish_rollout(now, Outcome::Done, message, None, out);
                true
            }
            Course::Backward { failed_returns, reason, failure } => {
                let given_up = *failed_returns >= MAX_FAILED_RETURNS;
                let (reason, failure) = (reason.clone(), failure.clone());
                if given_up {
                    let message = format!(
                        "{reason}; generation {from} did not come back everywhere, part of generation {target} stays"
                    );
                    self.finish_rollout(now, Outcome::Partly, message, failure, out);
                    return true;
                }
                if !self.outstanding().is_empty() || self.is_returning(target) {
                    return false;
                }
                let stuck = self.stuck_in_words(|worker| worker.generation == target);
                let serves = |worker: &Worker| worker.generation == from && worker.ready_since().is_some();
                let stays = if self.workers.values().any(serves) {
                    "goes on serving"
                } else {
                    "stays, without a ready worker"
                };
                let message = format!("{reason}; generation {from} {stays}{stuck}");
                self.finish_rollout(now, Outcome::Failed, message, failure, out);
                true
            }
        }
    }

    /// Workers of `target` are still leaving, or old ones are still starting in their stead.
    fn is_returning(&self, target: GenerationId) -> bool {
        self.workers.values().any(|worker| {
            (worker.generation == target && !worker.is_stuck())
                || (matches!(worker.life, Life::Starting { .. })
                    && self.holds(worker.id)
                    && !self.has_failed_before(worker.slot))
        })
    }

    /// All places are on the new generation: surplus places go, the old generation is let go.
    fn commit(&mut self, now: Monotonic, out: &mut Effects) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.course = Course::Committed;
        self.generation = rollout.target;
        self.wanted = rollout.after;
        self.present = self.plan(self.generation);
        self.supersede_waiters(self.wanted, out);
        self.drop_places_from(now, self.wanted, Cause::ScaledDown, out);
        self.take_stopped_along();
    }

    pub(super) fn finish_rollout(
        &mut self,
        now: Monotonic,
        outcome: Outcome,
        message: String,
        failure: Option<WorkerFailure>,
        out: &mut Effects,
    ) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        for place in self.places.values_mut() {
            if matches!(place.holder, Holder::Reserved) {
                place.holder = Holder::Vacant;
            }
        }
        let verdict = Verdict { outcome, message, generation: self.generation, failure };
        for request in rollout.requests {
            out.push(Effect::Reply { request, verdict: verdict.clone() });
        }
        out.push(Effect::Announce(Announcement::ReloadFinished {
            generation: rollout.target,
            purpose: rollout.purpose,
            verdict: verdict.clone(),
        }));
        self.last_reload = Some(LastReload { verdict, took: now.since(rollout.started), ended: now });
    }

    /// A reload is not begun: its configuration is not valid.
    pub(super) fn plan_refused(
        &mut self,
        now: Monotonic,
        request: RequestId,
        reason: String,
        details: String,
        out: &mut Effects,
    ) {
        let news = Announcement::ReloadRefused { reason: reason.clone(), details: details.clone() };
        out.push(Effect::Announce(news));
        self.reply(request, Outcome::Refused, details, None, out);
        let verdict = Verdict {
            outcome: Outcome::Refused,
            message: reason,
            generation: self.generation,
            failure: None,
        };
        self.last_reload = Some(LastReload { verdict, took: Duration::ZERO, ended: now });
    }

    /// The rollout as others see it.
    pub(super) fn reload_view(&self) -> Option<ReloadView> {
        let rollout = self.rollout.as_ref()?;
        let goal = rollout.goal();
        // A stopped place is not moved: nobody is there to be replaced.
        let moves = |place: &&Place| !place.is_stopped();
        let done = self.places.values().filter(moves).filter(|place| place.generation == goal).count();
        let stopped =
            self.places.range(..Slot(rollout.after)).filter(|(_, place)| place.is_stopped()).count();
        Some(ReloadView {
            generation: rollout.target,
            done: u32::try_from(done).unwrap_or(u32::MAX),
            total: rollout.after.saturating_sub(u32::try_from(stopped).unwrap_or(u32::MAX)),
            aborting: rollout.is_backward(),
            started: rollout.started,
        })
    }
}

/// `1 worker`, `4 workers`.
#[must_use]
pub fn workers_in_words(count: u32) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}
