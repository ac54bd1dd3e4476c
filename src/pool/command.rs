//! A person's wishes, as plain data.

use super::Slot;

/// What somebody asks of a pool. A reload is no command here: the daemon reads the configuration first and
/// tells the pool the fact [`super::Event::PlanLoaded`], or [`super::Event::PlanRefused`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Replace workers one by one by new ones of the same plan: all slots, or one.
    Restart {
        /// Only this slot.
        slot: Option<Slot>,
    },
    /// Change the number of workers.
    Scale {
        /// To what.
        to: ScaleTo,
    },
    /// Send a signal to the main process of each worker, or of one slot's.
    Signal {
        /// Only this slot.
        slot: Option<Slot>,
        /// The signal's number.
        signal: i32,
    },
    /// Forget failures: failed and waiting slots start at once, counters begin at zero. A stopped slot starts when it
    /// is named.
    Reset {
        /// Only this slot.
        slot: Option<Slot>,
    },
    /// End the worker of one slot and leave the slot empty until somebody asks for it.
    StopSlot {
        /// Which slot.
        slot: Slot,
    },
    /// Have a worker in one slot, whatever it is empty for.
    StartSlot {
        /// Which slot.
        slot: Slot,
    },
    /// End the pool: every worker is drained, then ganger leaves.
    Stop,
}

/// A number of workers, absolute or relative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleTo {
    /// So many.
    Exactly(u32),
    /// So many more.
    Up(u32),
    /// So many fewer, but not fewer than one.
    Down(u32),
}
