//! The document's shapes of generations, places, workers and the rollout.

use serde::{Deserialize, Serialize};

use super::{Cause, Plan, Span, WorkerFailure};

/// A generation and its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// What its workers are born of.
    pub plan: Plan,
}

/// A numbered place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// Its number.
    pub slot: u32,
    /// The generation of a worker that is started for it.
    pub generation: u64,
    /// Who holds it.
    pub holder: Holder,
    /// Nobody holds it because somebody asked for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The worker that is to take over.
    pub successor: Option<u64>,
    /// Why the holder is to be replaced.
    pub replacement: Option<Replacement>,
    /// Early failures in a row.
    pub early_failures: u32,
    /// Recent restarts, oldest first.
    pub restarted_at: Vec<Span>,
    /// Restarts in all.
    pub restarts: u64,
    /// Why the last worker was lost.
    pub last_failure: Option<Cause>,
}

/// Who holds a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// Nobody; somebody is to come at once.
    Vacant,
    /// Nobody yet: a rollout adds the place.
    Reserved,
    /// This worker.
    Worker(u64),
    /// Nobody until then.
    Waiting {
        /// The next try.
        until: Span,
    },
    /// Nobody: the start limit was reached.
    Failed {
        /// The next try.
        until: Option<Span>,
    },
    /// Nobody, and nobody is to come; by request, if the place is `stopped`.
    Finished,
}

/// A wish to replace the holder by a fresh worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replacement {
    /// Why.
    pub cause: Cause,
    /// Not tried before.
    pub not_before: Span,
    /// Tries that failed.
    pub attempts: u32,
    /// Who asked for it.
    pub requests: Vec<u64>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Worker {
    /// Its number.
    pub worker: u64,
    /// Its place.
    pub slot: u32,
    /// Its generation.
    pub generation: u64,
    /// Its process id, once there is one.
    pub pid: Option<u32>,
    /// When it was ordered.
    pub started: Span,
    /// What it is in.
    pub life: Life,
    /// The last status that it told.
    pub status: Option<String>,
    /// Bytes, when last measured.
    pub memory: Option<u64>,
    /// The watchdog interval that it set itself; zero: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_watchdog: Option<Span>,
}

/// A worker's phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// Not ready yet.
    #[serde(rename_all = "kebab-case")]
    Starting {
        /// Ready by then, or failed.
        deadline: Span,
        /// The next readiness probe.
        probe_at: Option<Span>,
    },
    /// Serving.
    Ready(Standing),
    /// Asked to leave.
    Draining(Leaving),
    /// Killed.
    Killed(Leaving),
    /// Its main process is gone.
    Leftover(Leaving),
}

/// What a ready worker is watched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// Ready since then.
    pub since: Span,
    /// Its watchdog.
    pub watchdog: Option<Watch>,
    /// Its health checks.
    pub checks: Option<Checks>,
    /// When it has lived long enough.
    pub retire_at: Option<Span>,
    /// The next measurement.
    pub measure_at: Option<Span>,
}

/// An armed watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Watch {
    /// The longest silence.
    pub interval: Span,
    /// Heard of by then.
    pub deadline: Span,
}

/// Health checks under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checks {
    /// The next one; none: one is out.
    pub next: Option<Span>,
    /// Failures in a row.
    pub failures: u32,
}

/// A worker on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leaving {
    /// Why.
    pub cause: Cause,
    /// Killed by then, or then.
    pub deadline: Span,
    /// When it had become ready.
    pub ready_at: Option<Span>,
    /// It was killed and does not end: nobody waits for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stuck: bool,
    /// It was not the pool that was stopped, but its slot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slot_stopped: bool,
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rollout {
    /// The new generation.
    pub target: u64,
    /// The old one.
    pub from: u64,
    /// It is for fresh workers of the same configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// Places before it.
    pub before: u32,
    /// Places after it.
    pub after: u32,
    /// When it began.
    pub started: Span,
    /// Who waits for it.
    pub requests: Vec<u64>,
    /// Where it is heading.
    pub course: Course,
}

/// Where a rollout is heading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// To the new generation.
    Forward,
    /// There; the last old workers are leaving.
    Committed,
    /// Back to the old generation.
    #[serde(rename_all = "kebab-case")]
    Backward {
        /// Why.
        reason: String,
        /// The worker that was the reason.
        failure: Option<WorkerFailure>,
        /// Old workers that did not come back.
        failed_returns: u32,
    },
}

/// The pool is ending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ending {
    /// Who asked for it.
    pub requests: Vec<u64>,
    /// Why the pool failed as a whole.
    pub failure: Option<String>,
    /// The order to leave was given.
    pub left: bool,
}
