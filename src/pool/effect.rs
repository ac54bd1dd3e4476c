//! Orders to the world, and what is worth telling it.

use std::time::Duration;

use super::{Cause, GenerationId, Purpose, RequestId, Slot, Verdict, WorkerId};

/// An order. The daemon carries orders out in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Start a worker. Answered by `Spawned` or `SpawnFailed`.
    Spawn {
        /// The new worker's name.
        worker: WorkerId,
        /// Its place.
        slot: Slot,
        /// Whose plan it gets.
        generation: GenerationId,
    },
    /// Ask the worker to stop accepting, finish and leave (`[stop]` of its generation).
    Drain {
        /// Which worker.
        worker: WorkerId,
    },
    /// SIGKILL to everything of the worker.
    Kill {
        /// Which worker.
        worker: WorkerId,
    },
    /// The main process is gone: SIGKILL to whatever it left. Answered by `Vacated`.
    Sweep {
        /// Which worker.
        worker: WorkerId,
    },
    /// A signal to the worker's main process.
    Signal {
        /// Which worker.
        worker: WorkerId,
        /// The signal's number.
        signal: i32,
    },
    /// Ask the worker how it is. Answered by `Probed`.
    Probe {
        /// Which worker.
        worker: WorkerId,
    },
    /// Measure the worker's memory. Answered by `MemoryMeasured`.
    Measure {
        /// Which worker.
        worker: WorkerId,
    },
    /// The caller of a request gets its verdict. Each request gets exactly one.
    Reply {
        /// Whose.
        request: RequestId,
        /// What came of it.
        verdict: Verdict,
    },
    /// No worker will be born of this generation any more: its plan, environment and directory may go.
    Retire {
        /// Which generation.
        generation: GenerationId,
    },
    /// Something worth telling: log, bus, service manager.
    Announce(Announcement),
    /// Something that should not have happened, and what was done about it.
    Warn(Warning),
    /// The pool is empty and will stay so: leave.
    Leave {
        /// Why it failed as a whole, for people; `None`: it was told to leave, or its work is done.
        failure: Option<String>,
    },
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Enough workers are ready for the first time.
    PoolReady,
    /// A worker's process runs.
    WorkerStarted {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker is ready.
    WorkerReady {
        /// Which worker.
        worker: WorkerId,
        /// Since its start.
        took: Duration,
    },
    /// A worker is asked to leave.
    WorkerDraining {
        /// Which worker.
        worker: WorkerId,
        /// Why.
        cause: Cause,
    },
    /// A worker did not leave in time and is killed.
    WorkerKilled {
        /// Which worker.
        worker: WorkerId,
        /// Why.
        cause: Cause,
    },
    /// A worker was killed and does not end; nothing waits for it any more.
    WorkerStuck {
        /// Which worker.
        worker: WorkerId,
        /// Why it had to go.
        cause: Cause,
    },
    /// A worker is gone.
    WorkerExited {
        /// Which worker.
        worker: WorkerId,
        /// Where it was.
        slot: Slot,
        /// Why.
        cause: Cause,
        /// It was told to.
        expected: bool,
        /// How it ended, if it was told to leave and ended in another way than it was told to.
        ended: Option<Cause>,
    },
    /// A slot waits before its next start.
    SlotWaiting {
        /// Which slot.
        slot: Slot,
        /// How long.
        delay: Duration,
    },
    /// A slot reached its start limit.
    SlotFailed {
        /// Which slot.
        slot: Slot,
        /// The last cause.
        cause: Cause,
    },
    /// A rollout began.
    ReloadStarted {
        /// To which generation.
        generation: GenerationId,
        /// What for.
        purpose: Purpose,
    },
    /// A reload was not begun, because its configuration is not valid.
    ReloadRefused {
        /// Why, for everybody who looks.
        reason: String,
        /// The same for the log, with lines of the files.
        details: String,
    },
    /// A rollout failed and is being taken back.
    ReloadAborting {
        /// Which generation is given up.
        generation: GenerationId,
        /// Why.
        reason: String,
    },
    /// A rollout ended.
    ReloadFinished {
        /// Which generation it was for.
        generation: GenerationId,
        /// What for.
        purpose: Purpose,
        /// What came of it.
        verdict: Verdict,
    },
    /// So many workers are stuck that empty places are filled only on request.
    Jammed {
        /// How many.
        stuck: u32,
    },
    /// Enough stuck workers ended: empty places are filled again.
    Unjammed,
    /// The pool is ending.
    Stopping,
}

/// Something that should not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A fact about a worker that the pool does not know (any more).
    UnknownWorker {
        /// Which worker.
        worker: WorkerId,
        /// The kind of fact.
        fact: &'static str,
    },
    /// A fact that makes no sense in the worker's present phase.
    OutOfPlace {
        /// Which worker.
        worker: WorkerId,
        /// The kind of fact.
        fact: &'static str,
    },
}
