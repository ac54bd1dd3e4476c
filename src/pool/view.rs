//! A snapshot of the pool for everyone who only looks: the bus, the command line, `STATUS=`, metrics.
//! It carries no environment value and no command line.

use std::time::Duration;

use super::{Cause, GenerationId, Slot, Verdict, WorkerId};
use crate::time::Monotonic;

/// The pool as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The app's name.
    pub app: String,
    /// In a word.
    pub phase: PoolPhase,
    /// The generation that serves.
    pub generation: GenerationId,
    /// How many workers are wanted.
    pub wanted: u32,
    /// How many slots have a ready worker.
    pub ready: u32,
    /// Workers started again after an unexpected end, since ganger's start.
    pub restarts: u64,
    /// When the pool was made.
    pub since: Monotonic,
    /// Every slot, by number.
    pub slots: Vec<SlotView>,
    /// Every worker that is not gone: by slot, the serving one first.
    pub workers: Vec<WorkerView>,
    /// The rollout under way.
    pub reload: Option<ReloadView>,
    /// How the last rollout ended, or that a reload was refused.
    pub last_reload: Option<LastReload>,
}

/// The pool's state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolPhase {
    /// Not all wanted workers were ready yet since the start.
    Starting,
    /// As many workers are ready as are wanted.
    Serving,
    /// Fewer are ready than wanted, at least one.
    Degraded,
    /// None is ready.
    Down,
    /// A rollout is under way.
    Reloading,
    /// The pool is ending.
    Stopping,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotView {
    /// Its number.
    pub slot: Slot,
    /// In a word.
    pub phase: SlotPhase,
    /// Unexpected ends of its workers since ganger's start (or the last `reset`).
    pub restarts: u64,
    /// When it will try again, while `Waiting` or `Failed`.
    pub until: Option<Monotonic>,
    /// Why its last worker left unexpectedly.
    pub last_failure: Option<Cause>,
}

/// A slot's state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotPhase {
    /// Its worker is starting.
    Starting,
    /// Its worker is ready.
    Ready,
    /// It waits before its next start.
    Waiting,
    /// It reached its start limit.
    Failed,
    /// Its worker left and is not to be replaced (`restart.policy`).
    Finished,
    /// It is being stopped: its last worker is on its way out.
    Leaving,
    /// It was stopped, and stays empty until somebody asks for it.
    Stopped,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub worker: WorkerId,
    /// Its place.
    pub slot: Slot,
    /// Whose plan it has.
    pub generation: GenerationId,
    /// Its life's phase.
    pub phase: Phase,
    /// Its main process, once there is one.
    pub pid: Option<u32>,
    /// When it was started.
    pub started: Monotonic,
    /// When it became ready.
    pub ready_at: Option<Monotonic>,
    /// When it will be killed, while draining.
    pub deadline: Option<Monotonic>,
    /// The last `STATUS=` it sent.
    pub status: Option<String>,
    /// Bytes, when last measured.
    pub memory: Option<u64>,
}

/// A worker's life: `Starting → Ready → Draining → Stopping → Gone`; `Stuck` is where it should not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Ordered; not ready yet.
    Starting,
    /// Ready, and meant to stay.
    Ready,
    /// Asked to leave.
    Draining,
    /// Killed, or its main process is gone; leftovers are being removed.
    Stopping,
    /// Killed, and the kernel holds on to it: nothing waits for it, its place has another worker.
    Stuck,
}

/// A rollout under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadView {
    /// To which generation.
    pub generation: GenerationId,
    /// Slots already on the new generation.
    pub done: u32,
    /// Slots in all.
    pub total: u32,
    /// It failed and is being taken back.
    pub aborting: bool,
    /// When it began.
    pub started: Monotonic,
}

/// How the last rollout ended, or that a reload was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub ended: Monotonic,
}
