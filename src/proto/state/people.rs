//! The document's shapes of wishes and of what is said about them.

use serde::{Deserialize, Serialize};

use super::{Plan, Span};

/// A wish that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queued {
    /// A rollout.
    Rollout {
        /// The plan to go to; none: the plan of that time once more.
        plan: Option<Box<Plan>>,
        /// Who waits for it.
        requests: Vec<u64>,
    },
    /// Another number of workers.
    Scale {
        /// Which number.
        to: ScaleTo,
        /// Who waits for it.
        request: u64,
    },
}

/// A number of workers, absolute or relative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleTo {
    /// So many.
    Exactly(u32),
    /// So many more.
    Up(u32),
    /// So many fewer.
    Down(u32),
}

/// Callers who wait until places are served and workers are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Waiter {
    /// Who waits.
    pub requests: Vec<u64>,
    /// Places that have to be served.
    pub served: Vec<u32>,
    /// Workers that have to be gone.
    pub gone: Vec<u64>,
    /// The place that they asked to be stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stops: Option<u32>,
    /// They set the number of workers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scales: bool,
    /// What they are told then.
    pub message: String,
}

/// How the last rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastReload {
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Span,
    /// When it ended.
    pub ended: Span,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// In a word.
    pub outcome: Outcome,
    /// In a sentence.
    pub message: String,
    /// The generation that served then.
    pub generation: u64,
    /// The worker that was the reason.
    pub failure: Option<WorkerFailure>,
}

/// The word of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words are `pool::Outcome`'s")]
pub enum Outcome {
    Done,
    Failed,
    Partly,
    NotFound,
    Superseded,
    Refused,
    Stopped,
}

/// The worker that made a wish fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerFailure {
    /// Its number.
    pub worker: u64,
    /// Its place.
    pub slot: u32,
    /// Its process id.
    pub pid: Option<u32>,
    /// Why it failed.
    pub cause: Cause,
    /// When it was started.
    pub started: Span,
    /// When it failed.
    pub ended: Span,
}

/// Why a worker left, or has to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words are `pool::Cause`'s")]
pub enum Cause {
    Exit(Exit),
    Oom,
    Spawn(String),
    NoRoom(String),
    ReadyTimeout(Span),
    LeftByItself,
    Watchdog,
    Unhealthy(String),
    Memory(u64),
    Age,
    Calendar,
    Replaced,
    Aborted,
    ScaledDown,
    Restarted,
    Stopped,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Not known.
    Unknown,
}
