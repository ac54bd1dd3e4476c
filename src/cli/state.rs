//! An app as the command line sees it, and its shape in `--json`.
//!
//! The shape is a promise (`ganger(1)`, JSON): members are added, never renamed or removed. Instants are
//! microseconds of `CLOCK_MONOTONIC` (`…_usec`), as systemd's own properties are; spans are microseconds, too.

use serde::Serialize;

use crate::time::Monotonic;

/// An instant in JSON.
fn instant<S: serde::Serializer>(instant: &Monotonic, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(instant.as_micros())
}

/// An instant in JSON that may not be.
#[expect(clippy::ref_option, reason = "the shape that serde calls")]
fn maybe_instant<S: serde::Serializer>(value: &Option<Monotonic>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => instant(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// One app that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct AppState {
    /// Its name.
    pub(crate) app: String,
    /// The supervisor's version.
    pub(crate) version: String,
    /// `starting`, `serving`, `degraded`, `down`, `reloading` or `stopping`.
    pub(crate) state: String,
    /// Slots with a ready worker.
    pub(crate) ready: u32,
    /// Workers wanted.
    pub(crate) wanted: u32,
    /// The generation that serves.
    pub(crate) generation: u64,
    /// Workers started again after an unexpected end.
    pub(crate) restarts: u64,
    /// When the supervisor began.
    #[serde(rename = "since_usec", serialize_with = "instant")]
    pub(crate) since: Monotonic,
    /// The supervisor's process id.
    pub(crate) pid: Option<u32>,
    /// Addresses listened on.
    pub(crate) listen: Vec<String>,
    /// The accept queues of these addresses, where they are known.
    pub(crate) queues: Vec<QueueState>,
    /// Every slot, by number.
    pub(crate) slots: Vec<SlotState>,
    /// Every worker, by slot.
    pub(crate) workers: Vec<WorkerState>,
    /// The reload under way.
    pub(crate) reload: Option<ReloadState>,
    /// How the last reload ended.
    pub(crate) last_reload: Option<LastReloadState>,
}

/// The accept queue of a listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct QueueState {
    /// The address, as in `listen`.
    pub(crate) listen: String,
    /// Connections that no worker has accepted yet.
    pub(crate) waiting: u32,
    /// How many may wait.
    pub(crate) backlog: u32,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct SlotState {
    /// Its number.
    pub(crate) slot: u32,
    /// `starting`, `ready`, `waiting`, `failed`, `finished`, `leaving` or `stopped`.
    pub(crate) state: String,
    /// Unexpected ends of its workers.
    pub(crate) restarts: u64,
    /// When it will try again.
    #[serde(rename = "until_usec", serialize_with = "maybe_instant")]
    pub(crate) until: Option<Monotonic>,
    /// Why its last worker left unexpectedly.
    pub(crate) last_failure: Option<String>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct WorkerState {
    /// Its number, never used twice.
    pub(crate) worker: u64,
    /// Its slot.
    pub(crate) slot: u32,
    /// Its generation.
    pub(crate) generation: u64,
    /// `starting`, `ready`, `draining`, `stopping` or `stuck`.
    pub(crate) state: String,
    /// Its main process.
    pub(crate) pid: Option<u32>,
    /// When it was started.
    #[serde(rename = "started_usec", serialize_with = "instant")]
    pub(crate) started: Monotonic,
    /// When it became ready.
    #[serde(rename = "ready_usec", serialize_with = "maybe_instant")]
    pub(crate) ready_at: Option<Monotonic>,
    /// When it will be killed.
    #[serde(rename = "deadline_usec", serialize_with = "maybe_instant")]
    pub(crate) deadline: Option<Monotonic>,
    /// The last `STATUS=` it sent.
    pub(crate) status: Option<String>,
    /// Memory in bytes.
    pub(crate) memory: Option<u64>,
    /// Connections that it holds, where that is known.
    pub(crate) connections: Option<u32>,
    /// CPU time used, in microseconds.
    pub(crate) cpu_usec: Option<u64>,
    /// CPU time used over its life, in thousandths of one CPU.
    pub(crate) cpu_permille: Option<u64>,
    /// When its CPU time was seen.
    #[serde(rename = "measured_usec", serialize_with = "maybe_instant")]
    pub(crate) measured: Option<Monotonic>,
}

/// A reload under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct ReloadState {
    /// To which generation.
    pub(crate) generation: u64,
    /// Slots done.
    pub(crate) done: u32,
    /// Slots in all.
    pub(crate) total: u32,
    /// It failed and is being taken back.
    pub(crate) aborting: bool,
    /// When it began.
    #[serde(rename = "started_usec", serialize_with = "instant")]
    pub(crate) started: Monotonic,
}

/// How the last reload ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct LastReloadState {
    /// `done`, `failed`, `partly`, `not-found`, `superseded`, `refused` or `stopped`.
    pub(crate) outcome: String,
    /// In a sentence.
    pub(crate) message: String,
    /// The generation that served after it.
    pub(crate) generation: u64,
    /// How long it took.
    pub(crate) took_usec: u64,
    /// When it ended.
    #[serde(rename = "ended_usec", serialize_with = "instant")]
    pub(crate) ended: Monotonic,
    /// The worker that was the reason.
    pub(crate) failure: Option<FailedWorker>,
}

/// One thing that happened to an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Happening {
    /// A signal of `org.ganger1.App` in kebab case: `worker-ready`, `reload-finished` …
    pub(crate) event: String,
    /// Which worker.
    pub(crate) worker: Option<u64>,
    /// Which slot.
    pub(crate) slot: Option<u32>,
    /// Which generation.
    pub(crate) generation: Option<u64>,
    /// Its main process.
    pub(crate) pid: Option<u32>,
    /// How long it took, in microseconds.
    pub(crate) took_usec: Option<u64>,
    /// It was told to.
    pub(crate) expected: Option<bool>,
    /// How it ended, if it was told to leave and ended in another way than it was told to.
    pub(crate) ended: Option<String>,
    /// The signal that ended it, in that case.
    pub(crate) ended_signal: Option<i32>,
    /// The status that it exited with, in that case.
    pub(crate) ended_status: Option<i32>,
    /// `done`, `failed` …, of a reload that finished.
    pub(crate) outcome: Option<String>,
    /// Why, in a word.
    pub(crate) cause: Option<String>,
    /// Why, in words.
    pub(crate) reason: Option<String>,
    /// What an app said (`message`).
    pub(crate) message: Option<serde_json::Value>,
    /// How many events were missed (`signals-missed`).
    pub(crate) missed: Option<u64>,
}

/// What came of a wish, in `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Answer {
    /// `done`, `failed`, `partly`, `not-found`, `superseded`, `refused` or `stopped`.
    pub(crate) outcome: String,
    /// In a sentence.
    pub(crate) message: String,
    /// The generation that serves now.
    pub(crate) generation: Option<u64>,
    /// The worker that was the reason.
    pub(crate) failure: Option<FailedWorker>,
}

/// The worker that made a wish fail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct FailedWorker {
    /// Its slot.
    pub(crate) slot: u32,
    /// Its process id, if it had one.
    pub(crate) pid: Option<u32>,
    /// Why, in a word.
    pub(crate) cause: String,
    /// Why, in words.
    pub(crate) reason: String,
    /// When it was started.
    #[serde(rename = "started_usec", serialize_with = "instant")]
    pub(crate) started: Monotonic,
    /// When it failed.
    #[serde(rename = "ended_usec", serialize_with = "instant")]
    pub(crate) ended: Monotonic,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: impl Serialize) -> Vec<String> {
        let value = serde_json::to_value(value).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_member_stands_in_the_manual() {
        let manual = include_str!("../../man/ganger.1.scd");
        let section = manual.split("\n# JSON\n").nth(1).unwrap().split("\n# ").next().unwrap();
        let section = section.replace('\\', "");
        let shapes = [
            members(AppState::default()),
            members(QueueState::default()),
            members(SlotState::default()),
            members(WorkerState::default()),
            members(ReloadState::default()),
            members(LastReloadState::default()),
            members(FailedWorker::default()),
            members(Answer::default()),
            members(Happening::default()),
        ];
        let known: Vec<String> = shapes.concat();
        let missing: Vec<&String> =
            known.iter().filter(|name| !section.contains(&format!("_{name}_"))).collect();
        assert!(missing.is_empty(), "ganger(1), JSON, lacks {missing:?}");
    }
}
