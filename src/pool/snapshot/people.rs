//! Wishes and verdicts, to the document and back.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::queue::{Queued, Waiter};
use super::super::{
    Cause, Exit, GenerationId, LastReload, Outcome, RequestId, ScaleTo, Slot, Verdict, WorkerFailure,
    WorkerId,
};
use super::{RestoreError, impossible, instant_of, plans, span_of};
use crate::proto::state::{self, Span};

pub(super) fn numbers(requests: &[RequestId]) -> Vec<u64> {
    requests.iter().map(|request| request.0).collect()
}

pub(super) fn requests(numbers: Vec<u64>) -> Vec<RequestId> {
    numbers.into_iter().map(RequestId).collect()
}

pub(super) fn save_queued(queued: &Queued) -> state::Queued {
    match queued {
        Queued::Rollout { plan, requests } => state::Queued::Rollout {
            plan: plan.as_ref().map(|plan| Box::new(plans::save(plan))),
            requests: numbers(requests),
        },
        Queued::Scale { to, request } => state::Queued::Scale {
            to: match to {
                ScaleTo::Exactly(count) => state::ScaleTo::Exactly(*count),
                ScaleTo::Up(count) => state::ScaleTo::Up(*count),
                ScaleTo::Down(count) => state::ScaleTo::Down(*count),
            },
            request: request.0,
        },
    }
}

pub(super) fn restore_queue(queue: Vec<state::Queued>) -> Result<VecDeque<Queued>, RestoreError> {
    queue.into_iter().map(restore_queued).collect()
}

fn restore_queued(queued: state::Queued) -> Result<Queued, RestoreError> {
    Ok(match queued {
        state::Queued::Rollout { plan, requests: waiting } => {
            let plan = plan.map(|plan| plans::restore(*plan)).transpose();
            let plan = plan.map_err(|what| impossible(format!("the plan of a waiting reload: {what}")))?;
            Queued::Rollout { plan: plan.map(Arc::new), requests: requests(waiting) }
        }
        state::Queued::Scale { to, request } => Queued::Scale {
            to: match to {
                state::ScaleTo::Exactly(count) => ScaleTo::Exactly(count),
                state::ScaleTo::Up(count) => ScaleTo::Up(count),
                state::ScaleTo::Down(count) => ScaleTo::Down(count),
            },
            request: RequestId(request),
        },
    })
}

pub(super) fn save_waiter(waiter: &Waiter) -> state::Waiter {
    let Waiter { requests, served, gone, stops, scales, message } = waiter;
    state::Waiter {
        requests: numbers(requests),
        served: served.iter().map(|slot| slot.0).collect(),
        gone: gone.iter().map(|worker| worker.0).collect(),
        stops: stops.map(|slot| slot.0),
        scales: *scales,
        message: message.clone(),
    }
}

pub(super) fn restore_waiter(waiter: state::Waiter) -> Waiter {
    Waiter {
        requests: requests(waiter.requests),
        served: waiter.served.into_iter().map(Slot).collect(),
        gone: waiter.gone.into_iter().map(WorkerId).collect(),
        stops: waiter.stops.map(Slot),
        scales: waiter.scales,
        message: waiter.message,
    }
}

pub(super) fn save_last_reload(last: &LastReload) -> state::LastReload {
    let LastReload { verdict, took, ended } = last;
    let Verdict { outcome, message, generation, failure } = verdict;
    let outcome = match outcome {
        Outcome::Done => state::Outcome::Done,
        Outcome::Failed => state::Outcome::Failed,
        Outcome::Partly => state::Outcome::Partly,
        Outcome::NotFound => state::Outcome::NotFound,
        Outcome::Superseded => state::Outcome::Superseded,
        Outcome::Refused => state::Outcome::Refused,
        Outcome::Stopped => state::Outcome::Stopped,
    };
    let verdict = state::Verdict {
        outcome,
        message: message.clone(),
        generation: generation.0,
        failure: failure.as_ref().map(save_failure),
    };
    state::LastReload { verdict, took: Span(*took), ended: span_of(*ended) }
}

pub(super) fn restore_last_reload(last: state::LastReload) -> LastReload {
    let state::Verdict { outcome, message, generation, failure } = last.verdict;
    let outcome = match outcome {
        state::Outcome::Done => Outcome::Done,
        state::Outcome::Failed => Outcome::Failed,
        state::Outcome::Partly => Outcome::Partly,
        state::Outcome::NotFound => Outcome::NotFound,
        state::Outcome::Superseded => Outcome::Superseded,
        state::Outcome::Refused => Outcome::Refused,
        state::Outcome::Stopped => Outcome::Stopped,
    };
    let failure = failure.map(restore_failure);
    let verdict = Verdict { outcome, message, generation: GenerationId(generation), failure };
    LastReload { verdict, took: last.took.0, ended: instant_of(last.ended) }
}

pub(super) fn save_failure(failure: &WorkerFailure) -> state::WorkerFailure {
    let WorkerFailure { worker, slot, pid, cause, started, ended } = failure;
    state::WorkerFailure {
        worker: worker.0,
        slot: slot.0,
        pid: *pid,
        cause: save_cause(cause),
        started: span_of(*started),
        ended: span_of(*ended),
    }
}

pub(super) fn restore_failure(failure: state::WorkerFailure) -> WorkerFailure {
    WorkerFailure {
        worker: WorkerId(failure.worker),
        slot: Slot(failure.slot),
        pid: failure.pid,
        cause: restore_cause(failure.cause),
        started: instant_of(failure.started),
        ended: instant_of(failure.ended),
    }
}

pub(super) fn save_cause(cause: &Cause) -> state::Cause {
    match cause {
        Cause::Exit(Exit::Code(code)) => state::Cause::Exit(state::Exit::Code(*code)),
        Cause::Exit(Exit::Signal(signal)) => state::Cause::Exit(state::Exit::Signal(*signal)),
        Cause::Exit(Exit::Unknown) => state::Cause::Exit(state::Exit::Unknown),
        Cause::Oom => state::Cause::Oom,
        Cause::Spawn(reason) => state::Cause::Spawn(reason.clone()),
        Cause::NoRoom(reason) => state::Cause::NoRoom(reason.clone()),
        Cause::ReadyTimeout(span) => state::Cause::ReadyTimeout(Span(*span)),
        Cause::LeftByItself => state::Cause::LeftByItself,
        Cause::Watchdog => state::Cause::Watchdog,
        Cause::Unhealthy(reason) => state::Cause::Unhealthy(reason.clone()),
        Cause::Memory(bytes) => state::Cause::Memory(*bytes),
        Cause::Age => state::Cause::Age,
        Cause::Calendar => state::Cause::Calendar,
        Cause::Replaced => state::Cause::Replaced,
        Cause::Aborted => state::Cause::Aborted,
        Cause::ScaledDown => state::Cause::ScaledDown,
        Cause::Restarted => state::Cause::Restarted,
        // Who does not know the difference takes it for the word that fits as well; see `save_leaving`.
        Cause::SlotStopped | Cause::Stopped => state::Cause::Stopped,
    }
}

pub(super) fn restore_cause(cause: state::Cause) -> Cause {
    match cause {
        state::Cause::Exit(state::Exit::Code(code)) => Cause::Exit(Exit::Code(code)),
        state::Cause::Exit(state::Exit::Signal(signal)) => Cause::Exit(Exit::Signal(signal)),
        state::Cause::Exit(state::Exit::Unknown) => Cause::Exit(Exit::Unknown),
        state::Cause::Oom => Cause::Oom,
        state::Cause::Spawn(reason) => Cause::Spawn(reason),
        state::Cause::NoRoom(reason) => Cause::NoRoom(reason),
        state::Cause::ReadyTimeout(span) => Cause::ReadyTimeout(span.0),
        state::Cause::LeftByItself => Cause::LeftByItself,
        state::Cause::Watchdog => Cause::Watchdog,
        state::Cause::Unhealthy(reason) => Cause::Unhealthy(reason),
        state::Cause::Memory(bytes) => Cause::Memory(bytes),
        state::Cause::Age => Cause::Age,
        state::Cause::Calendar => Cause::Calendar,
        state::Cause::Replaced => Cause::Replaced,
        state::Cause::Aborted => Cause::Aborted,
        state::Cause::ScaledDown => Cause::ScaledDown,
        state::Cause::Restarted => Cause::Restarted,
        state::Cause::Stopped => Cause::Stopped,
    }
}
