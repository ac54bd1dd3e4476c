//! How announcements and warnings read in the log: one line each, with fields that a machine can match.

use tracing::{error, info, warn};

use crate::config::Diagnostics;
use crate::dbus::WorkerLabel;
use crate::pool::{Announcement, Outcome, Purpose, Verdict, Warning, WorkerId, farewell};
use crate::systemd::logging::message_id;
use crate::time::format_span;

/// The worker that an announcement is about.
pub(super) fn subject(announcement: &Announcement) -> Option<WorkerId> {
    match announcement {
        Announcement::WorkerStarted { worker }
        | Announcement::WorkerReady { worker, .. }
        | Announcement::WorkerDraining { worker, .. }
        | Announcement::WorkerKilled { worker, .. }
        | Announcement::WorkerStuck { worker, .. }
        | Announcement::WorkerExited { worker, .. } => Some(*worker),
        Announcement::PoolReady
        | Announcement::SlotWaiting { .. }
        | Announcement::SlotFailed { .. }
        | Announcement::ReloadStarted { .. }
        | Announcement::ReloadRefused { .. }
        | Announcement::ReloadAborting { .. }
        | Announcement::ReloadFinished { .. }
        | Announcement::Jammed { .. }
        | Announcement::Unjammed
        | Announcement::Stopping => None,
    }
}

/// Logs one announcement. `label` names the worker that it is about, when it is about one.
pub(super) fn announce(announcement: &Announcement, label: Option<WorkerLabel>) {
    match announcement {
        Announcement::WorkerStarted { .. }
        | Announcement::WorkerReady { .. }
        | Announcement::WorkerDraining { .. }
        | Announcement::WorkerKilled { .. }
        | Announcement::WorkerStuck { .. }
        | Announcement::WorkerExited { .. } => about_worker(announcement, label),
        Announcement::PoolReady => info!(message_id = message_id::POOL_READY, "ready"),
        Announcement::SlotWaiting { slot, delay } => warn!(
            message_id = message_id::SLOT_WAITING,
            ganger_worker = slot.0,
            "slot {slot} starts its next worker in {}",
            format_span(*delay)
        ),
        Announcement::SlotFailed { slot, cause } => error!(
            message_id = message_id::SLOT_FAILED,
            ganger_worker = slot.0,
            "slot {slot} has failed: its worker {cause}, too often in too short a time; \"ganger reset\" tries \
             again at once"
        ),
        Announcement::ReloadStarted { generation, purpose } => {
            let what = match purpose {
                Purpose::Reload => "reloading to",
                Purpose::Restart => "restarting all workers, as",
            };
            info!(
                message_id = message_id::RELOAD_STARTED,
                ganger_generation = generation.0,
                "{what} generation {generation}"
            );
        }
        Announcement::ReloadRefused { details, .. } => {
            error!(message_id = message_id::RELOAD_FAILED, "reload refused: {details}");
        }
        Announcement::ReloadAborting { generation, reason } => {
            error!(ganger_generation = generation.0, "generation {generation} is taken back: {reason}");
        }
        Announcement::ReloadFinished { generation, purpose, verdict } => {
            reload_finished(generation.0, *purpose, verdict);
        }
        Announcement::Jammed { stuck } => error!(
            message_id = message_id::JAMMED,
            "{stuck} killed workers are held by the kernel: lost workers are not replaced until some of them end; \
             \"ganger reset\", a restart or a reload starts workers all the same"
        ),
        Announcement::Unjammed => {
            info!(
                message_id = message_id::UNJAMMED,
                "fewer workers are held by the kernel: lost workers are replaced again"
            );
        }
        Announcement::Stopping => info!(message_id = message_id::STOPPING, "stopping"),
    }
}

/// Logs what happened to one worker.
fn about_worker(announcement: &Announcement, label: Option<WorkerLabel>) {
    // A worker that never ran has no process to find its slot by.
    let own = if let Announcement::WorkerExited { slot, .. } = announcement { Some(slot.0) } else { None };
    let slot = own.or(label.map(|label| label.slot.0));
    let generation = label.map(|label| label.generation.0);
    let pid = label.and_then(|label| label.pid).map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let place = slot.map_or_else(|| "a worker that never ran".to_owned(), |slot| format!("worker {slot}"));
    let (is_warning, id, text) = match announcement {
        Announcement::WorkerStarted { .. } => {
            (false, message_id::WORKER_STARTED, format!("{place} started{pid}"))
        }
        Announcement::WorkerReady { took, .. } => {
            let text = format!("{place} is ready after {}{pid}", format_span(*took));
            (false, message_id::WORKER_READY, text)
        }
        Announcement::WorkerDraining { cause, .. } => {
            (false, message_id::WORKER_DRAINING, format!("{place} is asked to leave: it {cause}{pid}"))
        }
        Announcement::WorkerKilled { cause, .. } => {
            let text = format!("{place} did not leave in time and is killed: it {cause}{pid}");
            (true, message_id::WORKER_KILLED, text)
        }
        Announcement::WorkerExited { cause, expected: true, ended, .. } => {
            let why = farewell(cause, ended.as_ref());
            (ended.is_some(), message_id::WORKER_EXITED, format!("{place} is gone: it {why}{pid}"))
        }
        Announcement::WorkerExited { cause, expected: false, .. } => {
            (true, message_id::WORKER_EXITED, format!("{place} {cause}{pid}"))
        }
        Announcement::PoolReady
        | Announcement::WorkerStuck { .. }
        | Announcement::SlotWaiting { .. }
        | Announcement::SlotFailed { .. }
        | Announcement::ReloadStarted { .. }
        | Announcement::ReloadRefused { .. }
        | Announcement::ReloadAborting { .. }
        | Announcement::ReloadFinished { .. }
        | Announcement::Jammed { .. }
        | Announcement::Unjammed
        | Announcement::Stopping => return,
    };
    if is_warning {
        warn!(message_id = id, ganger_worker = slot, ganger_generation = generation, "{text}");
    } else {
        info!(message_id = id, ganger_worker = slot, ganger_generation = generation, "{text}");
    }
}

/// Logs that a killed worker does not end. `held`: what the kernel says of it.
pub(super) fn stuck(label: Option<WorkerLabel>, held: &str) {
    let slot = label.map(|label| label.slot.0);
    let pid = label.and_then(|label| label.pid).map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let place = slot.map_or_else(|| "a worker".to_owned(), |slot| format!("worker {slot}"));
    error!(
        message_id = message_id::WORKER_STUCK,
        ganger_worker = slot,
        ganger_generation = label.map(|label| label.generation.0),
        "{place} was killed and is still there{pid}: {held}; it is waited for no longer"
    );
}

fn reload_finished(generation: u64, purpose: Purpose, verdict: &Verdict) {
    let message = &verdict.message;
    let (verb, done) = match purpose {
        Purpose::Reload => ("reload", format!("reloaded: {message}")),
        Purpose::Restart => ("restart", message.clone()),
    };
    match verdict.outcome {
        Outcome::Done => {
            info!(message_id = message_id::RELOAD_FINISHED, ganger_generation = generation, "{done}");
        }
        Outcome::Stopped => warn!(
            message_id = message_id::RELOAD_FAILED,
            ganger_generation = generation,
            "{verb} given up: {message}"
        ),
        Outcome::Failed | Outcome::Partly | Outcome::NotFound | Outcome::Superseded | Outcome::Refused => {
            error!(
                message_id = message_id::RELOAD_FAILED,
                ganger_generation = generation,
                "{verb} failed: {message}"
            );
        }
    }
}

/// Logs what is doubtful about a configuration, a record each.
pub(super) fn doubts(warnings: &Diagnostics) {
    for doubt in warnings.iter() {
        warn!("{}: {}", doubt.place, doubt.message);
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
