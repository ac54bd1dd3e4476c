//! Places, workers and the rollout, to the document and back.

use std::collections::BTreeMap;

use super::super::machine::Ending;
use super::super::rollout::{Course, Rollout};
use super::super::slot::{Holder, Place, Replacement};
use super::super::standing::{Checks, Standing, Watch};
use super::super::worker::{Leaving, Life, Remains, Worker};
use super::super::{Cause, GenerationId, Purpose, Slot, WorkerId};
use super::people::{numbers, requests, restore_cause, restore_failure, save_cause, save_failure};
use super::{RestoreError, impossible, instant_of, span_of};
use crate::proto::state::{self, Span};

pub(super) fn save_place(slot: Slot, place: &Place) -> state::Place {
    let Place {
        generation,
        holder,
        successor,
        replacement,
        early_failures,
        restarted_at,
        restarts,
        last_failure,
    } = place;
    state::Place {
        slot: slot.0,
        generation: generation.0,
        holder: match holder {
            Holder::Vacant => state::Holder::Vacant,
            Holder::Reserved => state::Holder::Reserved,
            Holder::Worker(worker) => state::Holder::Worker(worker.0),
            Holder::Waiting { until } => state::Holder::Waiting { until: span_of(*until) },
            Holder::Failed { until } => state::Holder::Failed { until: until.map(span_of) },
            // Who does not know of stopped places leaves this one empty as well.
            Holder::Finished | Holder::Stopped => state::Holder::Finished,
        },
        stopped: place.is_stopped(),
        successor: successor.map(|worker| worker.0),
        replacement: replacement.as_ref().map(save_replacement),
        early_failures: *early_failures,
        restarted_at: restarted_at.iter().map(|at| span_of(*at)).collect(),
        restarts: *restarts,
        last_failure: last_failure.as_ref().map(save_cause),
    }
}

fn save_replacement(replacement: &Replacement) -> state::Replacement {
    let Replacement { cause, not_before, attempts, requests } = replacement;
    state::Replacement {
        cause: save_cause(cause),
        not_before: span_of(*not_before),
        attempts: *attempts,
        requests: numbers(requests),
    }
}

pub(super) fn restore_places(places: Vec<state::Place>) -> Result<BTreeMap<Slot, Place>, RestoreError> {
    let mut restored = BTreeMap::new();
    for place in places {
        let slot = place.slot;
        if restored.insert(Slot(slot), restore_place(place)).is_some() {
            return Err(impossible(format!("slot {slot} is there twice")));
        }
    }
    Ok(restored)
}

fn restore_place(place: state::Place) -> Place {
    Place {
        generation: GenerationId(place.generation),
        holder: match place.holder {
            state::Holder::Vacant => Holder::Vacant,
            state::Holder::Reserved => Holder::Reserved,
            state::Holder::Worker(worker) => Holder::Worker(WorkerId(worker)),
            state::Holder::Waiting { until } => Holder::Waiting { until: instant_of(until) },
            state::Holder::Failed { until } => Holder::Failed { until: until.map(instant_of) },
            state::Holder::Finished if place.stopped => Holder::Stopped,
            state::Holder::Finished => Holder::Finished,
        },
        successor: place.successor.map(WorkerId),
        replacement: place.replacement.map(|replacement| Replacement {
            cause: restore_cause(replacement.cause),
            not_before: instant_of(replacement.not_before),
            attempts: replacement.attempts,
            requests: requests(replacement.requests),
        }),
        early_failures: place.early_failures,
        restarted_at: place.restarted_at.into_iter().map(instant_of).collect(),
        restarts: place.restarts,
        last_failure: place.last_failure.map(restore_cause),
    }
}

pub(super) fn save_worker(worker: &Worker) -> state::Worker {
    let Worker { id, slot, generation, pid, started, life, status, memory, own_watchdog } = worker;
    state::Worker {
        worker: id.0,
        slot: slot.0,
        generation: generation.0,
        pid: *pid,
        started: span_of(*started),
        life: match life {
            Life::Starting { deadline, probe_at } => {
                state::Life::Starting { deadline: span_of(*deadline), probe_at: probe_at.map(span_of) }
            }
            Life::Ready(standing) => state::Life::Ready(save_standing(standing)),
            Life::Draining(leaving) => state::Life::Draining(save_leaving(leaving, false)),
            Life::Killed(leaving) => state::Life::Killed(save_leaving(leaving, false)),
            Life::Leftover(leaving) => state::Life::Leftover(save_leaving(leaving, false)),
            // Who does not know the word takes it for one that was just killed, which is right as well.
            Life::Stuck(leaving, Remains::Main) => state::Life::Killed(save_leaving(leaving, true)),
            Life::Stuck(leaving, Remains::Leftovers) => state::Life::Leftover(save_leaving(leaving, true)),
        },
        status: status.clone(),
        memory: *memory,
        own_watchdog: own_watchdog.map(Span),
    }
}

fn save_standing(standing: &Standing) -> state::Standing {
    let Standing { since, watchdog, checks, retire_at, measure_at } = standing;
    state::Standing {
        since: span_of(*since),
        watchdog: watchdog.map(|Watch { interval, deadline }| state::Watch {
            interval: Span(interval),
            deadline: span_of(deadline),
        }),
        checks: checks.map(|Checks { next, failures }| state::Checks { next: next.map(span_of), failures }),
        retire_at: retire_at.map(span_of),
        measure_at: measure_at.map(span_of),
    }
}

fn save_leaving(leaving: &Leaving, stuck: bool) -> state::Leaving {
    let Leaving { cause, deadline, ready_at } = leaving;
    let (deadline, ready_at) = (span_of(*deadline), ready_at.map(span_of));
    let slot_stopped = *cause == Cause::SlotStopped;
    state::Leaving { cause: save_cause(cause), deadline, ready_at, stuck, slot_stopped }
}

pub(super) fn restore_workers(
    workers: Vec<state::Worker>,
) -> Result<BTreeMap<WorkerId, Worker>, RestoreError> {
    let mut restored = BTreeMap::new();
    for worker in workers {
        let worker = restore_worker(worker);
        let id = worker.id;
        if restored.insert(id, worker).is_some() {
            return Err(impossible(format!("worker {id} is there twice")));
        }
    }
    Ok(restored)
}

fn restore_worker(worker: state::Worker) -> Worker {
    Worker {
        id: WorkerId(worker.worker),
        slot: Slot(worker.slot),
        generation: GenerationId(worker.generation),
        pid: worker.pid,
        started: instant_of(worker.started),
        life: match worker.life {
            state::Life::Starting { deadline, probe_at } => {
                Life::Starting { deadline: instant_of(deadline), probe_at: probe_at.map(instant_of) }
            }
            state::Life::Ready(standing) => Life::Ready(restore_standing(standing)),
            state::Life::Draining(leaving) => Life::Draining(restore_leaving(leaving)),
            state::Life::Killed(leaving) if leaving.stuck => {
                Life::Stuck(restore_leaving(leaving), Remains::Main)
            }
            state::Life::Killed(leaving) => Life::Killed(restore_leaving(leaving)),
            state::Life::Leftover(leaving) if leaving.stuck => {
                Life::Stuck(restore_leaving(leaving), Remains::Leftovers)
            }
            state::Life::Leftover(leaving) => Life::Leftover(restore_leaving(leaving)),
        },
        status: worker.status,
        memory: worker.memory,
        own_watchdog: worker.own_watchdog.map(|span| span.0),
    }
}

fn restore_standing(standing: state::Standing) -> Standing {
    Standing {
        since: instant_of(standing.since),
        watchdog: standing
            .watchdog
            .map(|watch| Watch { interval: watch.interval.0, deadline: instant_of(watch.deadline) }),
        checks: standing
            .checks
            .map(|checks| Checks { next: checks.next.map(instant_of), failures: checks.failures }),
        retire_at: standing.retire_at.map(instant_of),
        measure_at: standing.measure_at.map(instant_of),
    }
}

fn restore_leaving(leaving: state::Leaving) -> Leaving {
    Leaving {
        cause: if leaving.slot_stopped { Cause::SlotStopped } else { restore_cause(leaving.cause) },
        deadline: instant_of(leaving.deadline),
        ready_at: leaving.ready_at.map(instant_of),
    }
}

pub(super) fn save_rollout(rollout: &Rollout) -> state::Rollout {
    let Rollout { target, from, purpose, before, after, started, requests, course } = rollout;
    state::Rollout {
        target: target.0,
        from: from.0,
        restart: *purpose == Purpose::Restart,
        before: *before,
        after: *after,
        started: span_of(*started),
        requests: numbers(requests),
        course: match course {
            Course::Forward => state::Course::Forward,
            Course::Committed => state::Course::Committed,
            Course::Backward { reason, failure, failed_returns } => state::Course::Backward {
                reason: reason.clone(),
                failure: failure.as_ref().map(save_failure),
                failed_returns: *failed_returns,
            },
        },
    }
}

pub(super) fn restore_rollout(rollout: state::Rollout) -> Rollout {
    Rollout {
        target: GenerationId(rollout.target),
        from: GenerationId(rollout.from),
        purpose: if rollout.restart { Purpose::Restart } else { Purpose::Reload },
        before: rollout.before,
        after: rollout.after,
        started: instant_of(rollout.started),
        requests: requests(rollout.requests),
        course: match rollout.course {
            state::Course::Forward => Course::Forward,
            state::Course::Committed => Course::Committed,
            state::Course::Backward { reason, failure, failed_returns } => {
                Course::Backward { reason, failure: failure.map(restore_failure), failed_returns }
            }
        },
    }
}

pub(super) fn save_ending(ending: &Ending) -> state::Ending {
    let Ending { requests, failure, left } = ending;
    state::Ending { requests: numbers(requests), failure: failure.clone(), left: *left }
}

pub(super) fn restore_ending(ending: state::Ending) -> Ending {
    Ending { requests: requests(ending.requests), failure: ending.failure, left: ending.left }
}
