//! How announcements and warnings read in the log: one line each, with fields that a machine can match.

use tracing::{error, info, warn};

use crate::dbus::WorkerLabel;
use crate::pool::{Announcement, Outcome, Verdict, Warning, WorkerId};
use crate::systemd::logging::message_id;
use crate::time::format_span;

/// The worker that an announcement is about.
pub(super) fn subject(announcement: &Announcement) -> Option<WorkerId> {
    match announcement {
        Announcement::WorkerStarted { worker }
        | Announcement::WorkerReady { worker, .. }
        | Announcement::WorkerDraining { worker, .. }
        | Announcement::WorkerKilled { worker, .. }
        | Announcement::WorkerExited { worker, .. } => Some(*worker),
        Announcement::PoolReady
        | Announcement::SlotWaiting { .. }
        | Announcement::SlotFailed { .. }
        | Announcement::ReloadStarted { .. }
        | Announcement::ReloadAborting { .. }
        | Announcement::ReloadFinished { .. }
        | Announcement::Stopping => None,
    }
}

/// Logs one announcement. `label` names the worker that it is about, when it is about one.
pub(super) fn announce(announcement: &Announcement, label: Option<WorkerLabel>) {
    let slot = match announcement {
        // A worker that never ran has no process to find its slot by.
        Announcement::WorkerExited { slot, .. } => Some(slot.0),
        Announcement::PoolReady
        | Announcement::WorkerStarted { .. }
        | Announcement::WorkerReady { .. }
        | Announcement::WorkerDraining { .. }
        | Announcement::WorkerKilled { .. }
        | Announcement::SlotWaiting { .. }
        | Announcement::SlotFailed { .. }
        | Announcement::ReloadStarted { .. }
        | Announcement::ReloadAborting { .. }
        | Announcement::ReloadFinished { .. }
        | Announcement::Stopping => label.map(|label| label.slot.0),
    };
    let generation = label.map(|label| label.generation.0);
    let pid = label.and_then(|label| label.pid).map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let place = slot.map_or_else(String::new, |slot| format!("worker {slot}"));
    match announcement {
        Announcement::PoolReady => info!(message_id = message_id::POOL_READY, "ready"),
        Announcement::WorkerStarted { .. } => {
            info!(
                message_id = message_id::WORKER_STARTED,
                ganger_worker = slot,
                ganger_generation = generation,
                "{place} started{pid}"
            );
        }
        Announcement::WorkerReady { took, .. } => {
            info!(
                message_id = message_id::WORKER_READY,
                ganger_worker = slot,
                ganger_generation = generation,
                "{place} is ready after {}{pid}",
                format_span(*took)
            );
        }
        Announcement::WorkerDraining { cause, .. } => {
            info!(
                ganger_worker = slot,
                ganger_generation = generation,
                "{place} is asked to leave: it {cause}{pid}"
            );
        }
        Announcement::WorkerKilled { cause, .. } => {
            warn!(
                message_id = message_id::WORKER_KILLED,
                ganger_worker = slot,
                ganger_generation = generation,
                "{place} did not leave in time and is killed: it {cause}{pid}"
            );
        }
        Announcement::WorkerExited { cause, expected: true, .. } => {
            info!(
                message_id = message_id::WORKER_EXITED,
                ganger_worker = slot,
                ganger_generation = generation,
                "{place} is gone: it {cause}{pid}"
            );
        }
        Announcement::WorkerExited { cause, expected: false, .. } => {
            warn!(
                message_id = message_id::WORKER_EXITED,
                ganger_worker = slot,
                ganger_generation = generation,
                "{place} {cause}{pid}"
            );
        }
        Announcement::SlotWaiting { slot, delay } => {
            warn!(ganger_worker = slot.0, "slot {slot} starts its next worker in {}", format_span(*delay));
        }
        Announcement::SlotFailed { slot, cause } => {
            error!(
                message_id = message_id::SLOT_FAILED,
                ganger_worker = slot.0,
                "slot {slot} has failed: its worker {cause}, too often in too short a time; \
                 \"ganger reset\" tries again at once"
            );
        }
        Announcement::ReloadStarted { generation } => {
            info!(
                message_id = message_id::RELOAD_STARTED,
                ganger_generation = generation.0,
                "reloading to generation {generation}"
            );
        }
        Announcement::ReloadAborting { generation, reason } => {
            error!(ganger_generation = generation.0, "generation {generation} is taken back: {reason}");
        }
        Announcement::ReloadFinished { generation, verdict } => reload_finished(generation.0, verdict),
        Announcement::Stopping => info!(message_id = message_id::STOPPING, "stopping"),
    }
}

fn reload_finished(generation: u64, verdict: &Verdict) {
    match verdict.outcome {
        Outcome::Done => info!(
            message_id = message_id::RELOAD_FINISHED,
            ganger_generation = generation,
            "reloaded: {}",
            verdict.message
        ),
        Outcome::Failed | Outcome::Partly | Outcome::NotFound | Outcome::Superseded | Outcome::Refused => {
            error!(
                message_id = message_id::RELOAD_FAILED,
                ganger_generation = generation,
                "reload failed: {}",
                verdict.message
            );
        }
    }
}

/// Logs one warning of the pool.
pub(super) fn warning(warning: &Warning) {
    match warning {
        Warning::UnknownWorker { worker, fact } => {
            warn!("ignored \"{fact}\" of worker id {worker}, which is not known (any more)");
        }
        Warning::OutOfPlace { worker, fact } => {
            warn!("ignored \"{fact}\" of worker id {worker}, which makes no sense in its present phase");
        }
    }
}
