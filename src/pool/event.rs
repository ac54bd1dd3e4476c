//! Facts. They may come late, twice, or about a worker that is long gone: the pool has an answer for each.

use std::sync::Arc;
use std::time::Duration;

use super::{Command, RequestId, WorkerId};
use crate::plan::Plan;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The worker's process exists and runs its program.
    Spawned {
        /// Which worker.
        worker: WorkerId,
        /// Its process id: a label to show.
        pid: u32,
    },
    /// The worker never came to run its program. No `Exited` follows.
    SpawnFailed {
        /// Which worker.
        worker: WorkerId,
        /// Why.
        failure: SpawnFailure,
    },
    /// A sign of readiness was seen.
    BecameReady {
        /// Which worker.
        worker: WorkerId,
        /// Which sign.
        sign: ReadySign,
    },
    /// The worker said something on its notify socket.
    Notified {
        /// Which worker.
        worker: WorkerId,
        /// What.
        notification: Notification,
    },
    /// The worker's main process was reaped.
    Exited {
        /// Which worker.
        worker: WorkerId,
        /// How.
        exit: Exit,
        /// The kernel's out-of-memory killer struck in its control group.
        oom: bool,
    },
    /// Nothing of the worker is left: no process in its control group or process group.
    Vacated {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker finished its work after a drain (Node closed its channel).
    Drained {
        /// Which worker.
        worker: WorkerId,
    },
    /// A health check was answered, or not.
    Probed {
        /// Which worker.
        worker: WorkerId,
        /// `Err` carries the reason, for people.
        outcome: Result<(), String>,
    },
    /// The worker's memory was measured.
    MemoryMeasured {
        /// Which worker.
        worker: WorkerId,
        /// Bytes.
        bytes: u64,
    },
    /// `recycle.calendar` came round.
    CalendarElapsed,
    /// A new plan was read and checked for a reload.
    PlanLoaded {
        /// Whose wish.
        request: RequestId,
        /// The plan to go to.
        plan: Arc<Plan>,
    },
    /// A reload was asked for, and what was read for it is no plan.
    PlanRefused {
        /// Whose wish.
        request: RequestId,
        /// Why, for everybody who looks.
        reason: String,
        /// The same with what only the caller and the log may see: lines of the files.
        details: String,
    },
    /// Somebody wishes something.
    Asked {
        /// Whose wish.
        request: RequestId,
        /// The wish.
        command: Command,
    },
    /// Somebody at the terminal insists that the pool ends at once.
    Interrupted,
    /// The moment that `Pool::next_deadline` named has come (or ganger woke for another reason).
    TimePassed,
}

/// Why a worker never came to run its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpawnFailure {
    /// The kernel had no room (`EAGAIN`, `ENOMEM`, `EMFILE` …): worth trying again soon.
    Resources(String),
    /// The program cannot be run (no such file, not executable, bad directory, bad user): the text names
    /// the path and the reason.
    Program(String),
}

/// Which sign of readiness was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadySign {
    /// `READY=1`.
    Notify,
    /// The worker listens on, or waits on, an inherited socket.
    Listening,
    /// Node's `process.send('ready')`.
    Message,
    /// A newline on the readiness descriptor.
    Fd,
    /// The readiness probe was answered.
    Http,
}

/// What a worker may say of itself (sd_notify(3)); everything else of a datagram is dropped at the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// `STOPPING=1`.
    Stopping,
    /// `RELOADING=1`.
    Reloading,
    /// `STATUS=`, shortened to a sane length.
    Status(String),
    /// `WATCHDOG=1`.
    WatchdogPing,
    /// `WATCHDOG=trigger`.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=`.
    WatchdogInterval(Duration),
    /// `EXTEND_TIMEOUT_USEC=`.
    ExtendTimeout(Duration),
}

/// How a process ended (waitid(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// exit(2) with this status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Not known: the process was not our child.
    Unknown,
}
