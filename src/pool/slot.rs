//! A numbered place: who holds it, who is to take over, and what follows a failure.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use super::random::Random;
use super::{Cause, Exit, GenerationId, RequestId, SlotPhase, WorkerId};
use crate::plan::{Restart, RestartPolicy};
use crate::time::Monotonic;

/// One place in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The generation that a worker started for this place belongs to.
    pub(super) generation: GenerationId,
    pub(super) holder: Holder,
    /// The worker that is to take over.
    pub(super) successor: Option<WorkerId>,
    /// Why the holder is to be replaced by a fresh worker of the same generation.
    pub(super) replacement: Option<Replacement>,
    /// Early failures in a row.
    pub(super) early_failures: u32,
    /// Recent restarts, oldest first; never more than `StartLimit::burst`.
    pub(super) restarted_at: VecDeque<Monotonic>,
    pub(super) restarts: u64,
    pub(super) last_failure: Option<Cause>,
}

/// Who holds a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody: a worker is to be started at once.
    Vacant,
    /// Nobody yet: a place that a rollout adds; its first worker comes as a successor.
    Reserved,
    /// This worker.
    Worker(WorkerId),
    /// Nobody until then (backoff).
    Waiting { until: Monotonic },
    /// Nobody: the start limit was reached.
    Failed { until: Option<Monotonic> },
    /// Nobody, and nobody is to come (`restart.policy`).
    Finished,
    /// Nobody, and nobody is to come before somebody asks (`Command::StopSlot`).
    Stopped,
}

/// A wish to replace the holder by a fresh worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replacement {
    pub(super) cause: Cause,
    /// Not tried before, after an attempt failed.
    pub(super) not_before: Monotonic,
    pub(super) attempts: u32,
    /// Who asked for it.
    pub(super) requests: Vec<RequestId>,
}

impl Replacement {
    /// Whether it may be begun; while starts fail for want of room, only for those who wait for it.
    pub(super) fn is_due(&self, now: Monotonic, clogged: bool) -> bool {
        self.not_before <= now && !(clogged && self.requests.is_empty())
    }

    /// The least comes first. Among equals who waits longest, or a place could wait for ever while its neighbours
    /// come due again and again.
    pub(super) fn order(&self) -> (Reverse<Urgency>, Monotonic) {
        let asked = if self.requests.is_empty() { Urgency::Upkeep } else { Urgency::Wanted };
        (Reverse(urgency(&self.cause).max(asked)), self.not_before)
    }

    /// A graver cause is the one that counts.
    pub(super) fn aggravate(&mut self, cause: Cause) {
        if urgency(&cause) > urgency(&self.cause) {
            self.cause = cause;
        }
    }
}

/// How much harm a worker does while it waits for its replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// None.
    Upkeep,
    /// Somebody waits for it, or memory runs out.
    Wanted,
    /// It answers badly.
    Sick,
    /// It does not answer.
    Hung,
}

fn urgency(cause: &Cause) -> Urgency {
    match cause {
        Cause::Watchdog => Urgency::Hung,
        Cause::Unhealthy(_) => Urgency::Sick,
        Cause::Memory(_) | Cause::Restarted => Urgency::Wanted,
        Cause::Exit(_)
        | Cause::Oom
        | Cause::Spawn(_)
        | Cause::NoRoom(_)
        | Cause::ReadyTimeout(_)
        | Cause::LeftByItself
        | Cause::Age
        | Cause::Calendar
        | Cause::Replaced
        | Cause::Aborted
        | Cause::ScaledDown
        | Cause::SlotStopped
        | Cause::Stopped => Urgency::Upkeep,
    }
}

/// What follows the loss of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterLoss {
    AtOnce,
    Wait(Duration),
    Fail,
    Finish,
}

impl Place {
    /// An empty place.
    pub(super) fn new(generation: GenerationId, holder: Holder) -> Self {
        Self {
            generation,
            holder,
            successor: None,
            replacement: None,
            early_failures: 0,
            restarted_at: VecDeque::new(),
            restarts: 0,
            last_failure: None,
        }
    }

    /// The worker that holds the place.
    pub(super) fn holder(&self) -> Option<WorkerId> {
        match self.holder {
            Holder::Worker(worker) => Some(worker),
            Holder::Vacant
            | Holder::Reserved
            | Holder::Waiting { .. }
            | Holder::Failed { .. }
            | Holder::Finished
            | Holder::Stopped => None,
        }
    }

    /// A worker that the place is meant to have exists: its holder, or the first one of a reserved place.
    pub(super) fn has_its_one(&self) -> bool {
        match self.holder {
            Holder::Worker(_) => true,
            Holder::Reserved => self.successor.is_some(),
            Holder::Vacant
            | Holder::Waiting { .. }
            | Holder::Failed { .. }
            | Holder::Finished
            | Holder::Stopped => false,
        }
    }

    /// The holder was lost. `uptime`: since it was ready (zero if it never was).
    pub(super) fn lost(
        &mut self,
        cause: Cause,
        uptime: Duration,
        policy: &Restart,
        random: &mut Random,
        now: Monotonic,
    ) -> AfterLoss {
        let clean = cause == Cause::Exit(Exit::Code(0));
        let want_of_room = matches!(cause, Cause::NoRoom(_));
        self.restarts = self.restarts.saturating_add(1);
        self.last_failure = Some(cause);
        let finished = match policy.policy {
            RestartPolicy::Always => false,
            RestartPolicy::OnFailure => clean,
            RestartPolicy::Never => true,
        };
        let after = if finished {
            AfterLoss::Finish
        } else if !want_of_room && self.over_limit(policy, now) {
            AfterLoss::Fail
        } else if uptime >= policy.min_uptime && !uptime.is_zero() {
            self.early_failures = 0;
            AfterLoss::AtOnce
        } else {
            self.early_failures = self.early_failures.saturating_add(1);
            AfterLoss::Wait(backoff(policy, self.early_failures, random))
        };
        self.holder = match after {
            AfterLoss::AtOnce => Holder::Vacant,
            AfterLoss::Wait(delay) => Holder::Waiting { until: now + delay },
            AfterLoss::Fail => Holder::Failed { until: policy.retry.map(|span| now + span) },
            AfterLoss::Finish => Holder::Finished,
        };
        after
    }

    /// Its holder is to be replaced because it hangs or answers badly.
    pub(super) fn is_to_be_cured(&self) -> bool {
        self.replacement.as_ref().is_some_and(|wish| urgency(&wish.cause) >= Urgency::Sick)
    }

    /// The holder hangs or answers badly; how long to wait before it is replaced: it may still serve, and a program that
    /// is always found sick is not cured by one start after the other.
    pub(super) fn fell_sick(&mut self, cause: Cause, policy: &Restart, now: Monotonic) -> Duration {
        self.restarts = self.restarts.saturating_add(1);
        self.last_failure = Some(cause);
        if self.over_limit(policy, now) {
            policy.retry.unwrap_or(policy.limit.interval)
        } else {
            Duration::ZERO
        }
    }

    /// Counts one more restart; more than the limit allows?
    fn over_limit(&mut self, policy: &Restart, now: Monotonic) -> bool {
        let limit = &policy.limit;
        if limit.interval.is_zero() {
            return false;
        }
        while self.restarted_at.front().is_some_and(|at| now.since(*at) > limit.interval) {
            self.restarted_at.pop_front();
        }
        if self.restarted_at.len() >= usize::try_from(limit.burst).unwrap_or(usize::MAX) {
            return true;
        }
        self.restarted_at.push_back(now);
        false
    }

    /// Forgets failures; a waiting or failed place is to be filled at once. One that was stopped stays so.
    pub(super) fn reset(&mut self) {
        self.early_failures = 0;
        self.restarted_at.clear();
        self.restarts = 0;
        self.last_failure = None;
        if matches!(self.holder, Holder::Waiting { .. } | Holder::Failed { .. } | Holder::Finished) {
            self.holder = Holder::Vacant;
        }
    }

    /// It was stopped by request: nothing but a request fills it.
    pub(super) fn is_stopped(&self) -> bool {
        self.holder == Holder::Stopped
    }

    /// When the place will be filled without anybody asking.
    pub(super) fn until(&self) -> Option<Monotonic> {
        match self.holder {
            Holder::Waiting { until } => Some(until),
            Holder::Failed { until } => until,
            Holder::Vacant | Holder::Reserved | Holder::Worker(_) | Holder::Finished | Holder::Stopped => {
                None
            }
        }
    }

    /// The place's state in a word; `holder_ready`: its holder is ready.
    pub(super) fn phase(&self, holder_ready: bool) -> SlotPhase {
        match self.holder {
            Holder::Worker(_) if holder_ready => SlotPhase::Ready,
            Holder::Worker(_) | Holder::Vacant | Holder::Reserved => SlotPhase::Starting,
            Holder::Waiting { .. } => SlotPhase::Waiting,
            Holder::Failed { .. } => SlotPhase::Failed,
            Holder::Finished => SlotPhase::Finished,
            Holder::Stopped => SlotPhase::Stopped,
        }
    }
}

/// The wait after the `failures`-th early failure in a row (1 is the first).
fn backoff(policy: &Restart, failures: u32, random: &mut Random) -> Duration {
    let backoff = &policy.backoff;
    let mut delay = backoff.initial.min(backoff.max);
    for _ in 1..failures.min(64) {
        delay = (delay.saturating_mul(backoff.factor_percent.max(100)) / 100).min(backoff.max);
    }
    random.lengthen(delay, backoff.jitter_percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Backoff, StartLimit};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(ms(millis))
    }

    fn policy() -> Restart {
        Restart {
            policy: RestartPolicy::Always,
            min_uptime: ms(1000),
            backoff: Backoff { initial: ms(100), factor_percent: 200, max: ms(1500), jitter_percent: 0 },
            limit: StartLimit { burst: 3, interval: ms(60_000) },
            retry: Some(ms(5000)),
            all_failed: crate::plan::AllFailed::Retry,
        }
    }

    fn place() -> Place {
        Place::new(GenerationId(1), Holder::Vacant)
    }

    fn lose(place: &mut Place, cause: Cause, uptime: u64, policy: &Restart, now: u64) -> AfterLoss {
        place.lost(cause, ms(uptime), policy, &mut Random(7), at(now))
    }

    fn crash(place: &mut Place, uptime: u64, policy: &Restart, now: u64) -> AfterLoss {
        lose(place, Cause::Exit(Exit::Code(1)), uptime, policy, now)
    }

    #[test]
    fn each_early_failure_waits_longer_up_to_the_most_and_a_long_life_ends_that() {
        let mut policy = policy();
        policy.limit.interval = Duration::ZERO;
        let mut place = place();
        for wait in [100, 200, 400, 800, 1500, 1500] {
            assert_eq!(crash(&mut place, 999, &policy, 0), AfterLoss::Wait(ms(wait)));
            assert_eq!(place.until(), Some(at(wait)));
        }
        assert_eq!(crash(&mut place, 1000, &policy, 0), AfterLoss::AtOnce);
        assert_eq!(place.holder, Holder::Vacant);
        assert_eq!(crash(&mut place, 0, &policy, 0), AfterLoss::Wait(ms(100)));
        assert_eq!(place.restarts, 8);
    }

    #[test]
    fn the_first_wait_is_no_longer_than_the_longest_and_no_wait_ever_shrinks() {
        let mut policy = policy();
        policy.backoff = Backoff { initial: ms(9000), factor_percent: 10, max: ms(50), jitter_percent: 0 };
        let mut place = place();
        assert_eq!(crash(&mut place, 0, &policy, 0), AfterLoss::Wait(ms(50)));
        assert_eq!(crash(&mut place, 0, &policy, 0), AfterLoss::Wait(ms(50)));
    }

    #[test]
    fn who_was_never_ready_has_failed_early_even_where_any_uptime_will_do() {
        let mut policy = policy();
        policy.min_uptime = Duration::ZERO;
        assert_eq!(crash(&mut place(), 0, &policy, 0), AfterLoss::Wait(ms(100)));
        assert_eq!(crash(&mut place(), 1, &policy, 0), AfterLoss::AtOnce);
    }

    #[test]
    fn a_place_fails_when_the_limit_is_passed_within_its_interval_and_not_a_moment_later() {
        let policy = policy();
        let (mut within, mut beyond) = (place(), place());
        for restart in [0, 10, 20] {
            assert_eq!(crash(&mut within, 2000, &policy, restart), AfterLoss::AtOnce);
            assert_eq!(crash(&mut beyond, 2000, &policy, restart), AfterLoss::AtOnce);
        }
        assert_eq!(crash(&mut within, 2000, &policy, 60_000), AfterLoss::Fail);
        assert_eq!(within.holder, Holder::Failed { until: Some(at(65_000)) });
        assert_eq!(crash(&mut beyond, 2000, &policy, 60_001), AfterLoss::AtOnce);
        assert_eq!(beyond.restarted_at.len(), 3);
    }

    #[test]
    fn a_failed_place_without_a_retry_stays_so_until_it_is_reset() {
        let mut policy = policy();
        (policy.limit.burst, policy.retry) = (0, None);
        let mut place = place();
        assert_eq!(crash(&mut place, 2000, &policy, 0), AfterLoss::Fail);
        assert_eq!((place.until(), place.phase(false)), (None, SlotPhase::Failed));
        place.reset();
        assert_eq!(place, Place::new(GenerationId(1), Holder::Vacant));
    }

    #[test]
    fn want_of_room_never_fails_a_place() {
        let mut policy = policy();
        policy.limit.burst = 0;
        let cause = Cause::NoRoom("EAGAIN".into());
        assert_eq!(lose(&mut place(), cause, 0, &policy, 0), AfterLoss::Wait(ms(100)));
    }

    #[test]
    fn what_follows_an_end_is_the_policys() {
        use AfterLoss::{AtOnce, Finish};
        let (clean, crashed) = (Cause::Exit(Exit::Code(0)), Cause::Exit(Exit::Signal(11)));
        for (word, after_clean, after_crash) in [
            (RestartPolicy::Always, AtOnce, AtOnce),
            (RestartPolicy::OnFailure, Finish, AtOnce),
            (RestartPolicy::Never, Finish, Finish),
        ] {
            let policy = Restart { policy: word, ..policy() };
            assert_eq!(lose(&mut place(), clean.clone(), 2000, &policy, 0), after_clean, "{word:?}");
            let mut place = place();
            assert_eq!(lose(&mut place, crashed.clone(), 2000, &policy, 0), after_crash, "{word:?}");
            assert_eq!(place.last_failure.as_ref(), Some(&crashed));
        }
    }

    #[test]
    fn a_reset_leaves_a_worker_where_it_is() {
        let mut place = place();
        place.holder = Holder::Worker(WorkerId(4));
        place.restarts = 9;
        place.reset();
        assert_eq!((place.holder(), place.restarts), (Some(WorkerId(4)), 0));
    }
}
