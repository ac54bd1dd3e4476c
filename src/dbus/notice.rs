//! What is worth a signal: the pool's announcements with the names that people know a worker by.

use std::time::Duration;

use super::members::APP_NAME;
use super::members::APP_PATH;
use super::properties::Dict;
use super::words::outcome_word;
use crate::pool::{Announcement, Cause, Exit, GenerationId, Slot, Verdict, View, WorkerId};
use zbus::{Message, Variant};

/// How a worker is named in a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLabel {
    /// Its name.
    pub worker: WorkerId,
    /// Its place.
    pub slot: Slot,
    /// Whose plan it has.
    pub generation: GenerationId,
    /// Its main process, if it ever had one.
    pub pid: Option<u32>,
}

impl WorkerLabel {
    /// Looks the worker up. For one that is gone, pass the view of the moment before.
    #[must_use]
    pub fn find(view: &View, worker: WorkerId) -> Option<Self> {
        let known = view.workers.iter().find(|known| known.worker == worker)?;
        Some(Self { worker, slot: known.slot, generation: known.generation, pid: known.pid })
    }
}

/// Something that listeners are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Enough workers are ready for the first time.
    PoolReady,
    /// A worker's process runs.
    WorkerStarted(WorkerLabel),
    /// A worker is ready, so long after its start.
    WorkerReady(WorkerLabel, Duration),
    /// A worker is asked to leave, and why.
    WorkerDraining(WorkerLabel, Cause),
    /// A worker did not leave in time and is killed.
    WorkerKilled(WorkerLabel, Cause),
    /// A worker was killed, why, and does not end.
    WorkerStuck(WorkerLabel, Cause),
    /// A worker is gone, why, whether it was told to, and how it ended if not as it was told to.
    WorkerExited(WorkerLabel, Cause, bool, Option<Cause>),
    /// A slot waits so long before its next start.
    SlotWaiting(Slot, Duration),
    /// A slot reached its start limit.
    SlotFailed(Slot, Cause),
    /// A rollout began.
    ReloadStarted(GenerationId),
    /// A reload was not begun, because its configuration is not valid.
    ReloadRefused(String),
    /// A rollout failed and is being taken back.
    ReloadAborting(GenerationId, String),
    /// A rollout ended.
    ReloadFinished(GenerationId, Verdict),
    /// The pool is ending.
    Stopping,
    /// A worker's app said this (one JSON value on one line). Not everyone may hear it: it goes into
    /// [`Hub::messages`](super::Hub::messages), never among the others.
    Message(WorkerLabel, String),
}

impl Notice {
    /// The notice that `announcement` makes; `label` names the worker that it is about. None is made of an
    /// announcement about a worker that has no label.
    #[must_use]
    pub fn new(
        announcement: &Announcement,
        label: impl FnOnce(WorkerId) -> Option<WorkerLabel>,
    ) -> Option<Self> {
        Some(match announcement {
            Announcement::PoolReady => Self::PoolReady,
            Announcement::WorkerStarted { worker } => Self::WorkerStarted(label(*worker)?),
            Announcement::WorkerReady { worker, took } => Self::WorkerReady(label(*worker)?, *took),
            Announcement::WorkerDraining { worker, cause } => {
                Self::WorkerDraining(label(*worker)?, cause.clone())
            }
            Announcement::WorkerKilled { worker, cause } => {
                Self::WorkerKilled(label(*worker)?, cause.clone())
            }
            Announcement::WorkerStuck { worker, cause } => Self::WorkerStuck(label(*worker)?, cause.clone()),
            Announcement::WorkerExited { worker, cause, expected, ended, .. } => {
                Self::WorkerExited(label(*worker)?, cause.clone(), *expected, ended.clone())
            }
            Announcement::SlotWaiting { slot, delay } => Self::SlotWaiting(*slot, *delay),
            Announcement::SlotFailed { slot, cause } => Self::SlotFailed(*slot, cause.clone()),
            Announcement::ReloadRefused { reason, .. } => Self::ReloadRefused(reason.clone()),
            Announcement::ReloadStarted { generation, .. } => Self::ReloadStarted(*generation),
            Announcement::ReloadAborting { generation, reason } => {
                Self::ReloadAborting(*generation, reason.clone())
            }
            Announcement::ReloadFinished { generation, verdict, .. } => {
                Self::ReloadFinished(*generation, verdict.clone())
            }
            Announcement::Jammed { .. } | Announcement::Unjammed => return None,
            Announcement::Stopping => Self::Stopping,
        })
    }

    /// The notice as a D-Bus signal.
    pub(super) fn message(&self) -> zbus::Result<Message> {
        let signal = |name| Message::signal(APP_PATH, APP_NAME, name);
        let micros = |span: &Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let about =
            |label: &WorkerLabel| (label.slot.0, label.generation.0, label.pid.unwrap_or(0), label.worker.0);
        let because = |name, label, cause: &Cause| {
            let (slot, generation, pid, worker) = about(label);
            signal(name).build(&(slot, generation, pid, worker, cause.word(), cause.to_string()))
        };
        match self {
            Self::PoolReady => signal("PoolReady").build(&()),
            Self::WorkerStarted(label) => signal("WorkerStarted").build(&about(label)),
            Self::WorkerReady(label, took) => {
                let (slot, generation, pid, worker) = about(label);
                signal("WorkerReady").build(&(slot, generation, pid, worker, micros(took)))
            }
            Self::WorkerDraining(label, cause) => because("WorkerDraining", label, cause),
            Self::WorkerKilled(label, cause) => because("WorkerKilled", label, cause),
            Self::WorkerStuck(label, cause) => because("WorkerStuck", label, cause),
            Self::WorkerExited(label, cause, expected, ended) => {
                let (slot, generation, pid, worker) = about(label);
                let (word, text) = (cause.word(), cause.to_string());
                let ended = ended.as_ref().map(ended_dict).unwrap_or_default();
                signal("WorkerExited").build(&(slot, generation, pid, worker, word, text, *expected, ended))
            }
            Self::SlotWaiting(slot, delay) => signal("SlotWaiting").build(&(slot.0, micros(delay))),
            Self::SlotFailed(slot, cause) => {
                signal("SlotFailed").build(&(slot.0, cause.word(), cause.to_string()))
            }
            Self::ReloadStarted(generation) => signal("ReloadStarted").build(&generation.0),
            Self::ReloadRefused(reason) => signal("ReloadRefused").build(&reason.as_str()),
            Self::ReloadAborting(generation, reason) => {
                signal("ReloadAborting").build(&(generation.0, reason.as_str()))
            }
            Self::ReloadFinished(generation, verdict) => {
                let outcome = outcome_word(verdict.outcome);
                signal("ReloadFinished").build(&(generation.0, outcome, verdict.message.as_str()))
            }
            Self::Stopping => signal("Stopping").build(&()),
            Self::Message(label, json) => {
                let (slot, generation, pid, worker) = about(label);
                signal("Message").build(&(slot, generation, pid, worker, json.as_str()))
            }
        }
    }
}

/// How a worker ended.
fn ended_dict(ended: &Cause) -> Dict {
    let mut dict = Dict::from([
        ("cause", Variant::from(ended.word().to_owned())),
        ("text", Variant::from(ended.to_string())),
    ]);
    if let Cause::Exit(exit) = ended {
        match exit {
            Exit::Code(status) => drop(dict.insert("status", Variant::from(*status))),
            Exit::Signal(signal) => drop(dict.insert("signal", Variant::from(*signal))),
            Exit::Unknown => {}
        }
    }
    dict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbus::diff::samples;
    use crate::dbus::members::APP;
    use crate::pool::Outcome;

    #[test]
    fn every_signal_of_the_table_is_sent_with_the_arguments_that_it_promises() {
        let label = WorkerLabel::find(&samples::view(), WorkerId(3)).unwrap();
        let (generation, span) = (GenerationId(2), Duration::from_secs(1));
        let notices = [
            Notice::PoolReady,
            Notice::WorkerStarted(label),
            Notice::WorkerReady(label, span),
            Notice::WorkerDraining(label, Cause::Replaced),
            Notice::WorkerKilled(label, Cause::Oom),
            Notice::WorkerStuck(label, Cause::Replaced),
            Notice::WorkerExited(label, Cause::Replaced, true, Some(Cause::Exit(Exit::Signal(6)))),
            Notice::SlotWaiting(Slot(1), span),
            Notice::SlotFailed(Slot(1), Cause::Watchdog),
            Notice::ReloadStarted(generation),
            Notice::ReloadRefused("no".into()),
            Notice::ReloadAborting(generation, "no".into()),
            Notice::ReloadFinished(generation, samples::verdict(Outcome::Done)),
            Notice::Stopping,
            Notice::Message(label, "{}".into()),
        ];
        let mut sent: Vec<_> = notices
            .iter()
            .map(|notice| {
                let message = notice.message().unwrap();
                let name = message.header().member().unwrap().to_string();
                (name, message.body().signature().to_string_no_parens())
            })
            .collect();
        sent.push(("SignalsMissed".into(), "t".into()));
        let promised: Vec<_> = APP
            .signals
            .iter()
            .map(|signal| {
                (signal.name.to_owned(), signal.carries.iter().map(|(_, kind)| *kind).collect::<String>())
            })
            .collect();
        assert_eq!(sent, promised);
    }
}
