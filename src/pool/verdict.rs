//! What came of a wish: always one of a few words, with the reason.

use std::fmt;
use std::time::Duration;

use super::{Exit, GenerationId, Slot, WorkerId};
use crate::time::{Monotonic, format_size, format_span};

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In a word.
    pub outcome: Outcome,
    /// In a sentence, for people.
    pub message: String,
    /// The generation that serves now.
    pub generation: GenerationId,
    /// The worker that was the reason, if one was.
    pub failure: Option<WorkerFailure>,
}

/// The word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done as asked.
    Done,
    /// Failed; everything is as it was before.
    Failed,
    /// Part of it is done and stays.
    Partly,
    /// The slot that was named does not exist.
    NotFound,
    /// A later wish took its place before it began, or before it was done.
    Superseded,
    /// Not accepted: too many wishes wait, the number is out of range, or the configuration is not valid.
    Refused,
    /// The pool was ended before it was done.
    Stopped,
}

/// The worker that made a wish fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFailure {
    /// Which worker.
    pub worker: WorkerId,
    /// Its place.
    pub slot: Slot,
    /// Its process id, if it had one.
    pub pid: Option<u32>,
    /// Why.
    pub cause: Cause,
    /// When it was started.
    pub started: Monotonic,
    /// When it failed.
    pub ended: Monotonic,
}

/// Why a worker left, or has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself.
    Exit(Exit),
    /// The kernel's out-of-memory killer took it.
    Oom,
    /// It could not be started.
    Spawn(String),
    /// The kernel had no room for it (`EAGAIN`, `ENOMEM`, `EMFILE` …).
    NoRoom(String),
    /// It was not ready in time.
    ReadyTimeout(Duration),
    /// It said that it is leaving by itself (`STOPPING=1`).
    LeftByItself,
    /// It fell silent for longer than its watchdog allows.
    Watchdog,
    /// Its health checks failed; the last reason.
    Unhealthy(String),
    /// It used more memory than `recycle.memory`.
    Memory(u64),
    /// It lived for `recycle.lifetime`.
    Age,
    /// A time of `recycle.calendar` came.
    Calendar,
    /// It was replaced by another generation.
    Replaced,
    /// The rollout that it was born in was taken back.
    Aborted,
    /// There are to be fewer workers.
    ScaledDown,
    /// Somebody asked for a restart.
    Restarted,
    /// Somebody asked for its slot to be stopped.
    SlotStopped,
    /// The pool is ending.
    Stopped,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}{}", signal_name(*signal)),
            Self::Unknown => f.write_str("ended, its status is not known"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::Oom => f.write_str("killed by the kernel for want of memory (oom)"),
            Self::Spawn(reason) => write!(f, "could not be started: {reason}"),
            Self::NoRoom(reason) => write!(f, "could not be started for want of resources: {reason}"),
            Self::LeftByItself => f.write_str("left by itself"),
            Self::ReadyTimeout(span) => write!(f, "was not ready within {}", format_span(*span)),
            Self::Watchdog => f.write_str("missed its watchdog"),
            Self::Unhealthy(reason) => write!(f, "failed its health checks: {reason}"),
            Self::Memory(bytes) => write!(f, "used {} of memory", format_size(*bytes)),
            Self::Age => f.write_str("reached its lifetime"),
            Self::Calendar => f.write_str("was due by the calendar"),
            Self::Replaced => f.write_str("was replaced by a new generation"),
            Self::Aborted => f.write_str("belonged to a reload that was taken back"),
            Self::ScaledDown => f.write_str("was scaled away"),
            Self::Restarted => f.write_str("was restarted by request"),
            Self::SlotStopped => f.write_str("was stopped by request"),
            Self::Stopped => f.write_str("was stopped"),
        }
    }
}

impl Cause {
    /// One short word for tables, D-Bus and metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Exit(Exit::Code(_)) => "exit",
            Self::Exit(Exit::Signal(_)) => "signal",
            Self::Exit(Exit::Unknown) => "unknown",
            Self::Oom => "oom",
            Self::Spawn(_) => "spawn",
            Self::NoRoom(_) => "resources",
            Self::LeftByItself => "left",
            Self::ReadyTimeout(_) => "ready-timeout",
            Self::Watchdog => "watchdog",
            Self::Unhealthy(_) => "health",
            Self::Memory(_) => "memory",
            Self::Age => "age",
            Self::Calendar => "calendar",
            Self::Replaced => "reload",
            Self::Aborted => "aborted",
            Self::ScaledDown => "scale",
            Self::Restarted => "restart",
            Self::SlotStopped => "stop-slot",
            Self::Stopped => "stop",
        }
    }
}

/// ` (TERM)` for a signal with a name that people know, nothing for another.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (HUP)",
        2 => " (INT)",
        3 => " (QUIT)",
        4 => " (ILL)",
        6 => " (ABRT)",
        7 => " (BUS)",
        8 => " (FPE)",
        9 => " (KILL)",
        10 => " (USR1)",
        11 => " (SEGV)",
        12 => " (USR2)",
        13 => " (PIPE)",
        14 => " (ALRM)",
        15 => " (TERM)",
        24 => " (XCPU)",
        31 => " (SYS)",
        _ => "",
    }
}
