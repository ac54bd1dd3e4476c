//! The one place of the command line that speaks to a supervisor.
//!
//! It turns the bus client's values into those of [`super::state`], and its errors into [`Trouble`]. What is
//! shown of them is decided elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::state::{Answer, AppState, Happening};
use crate::pool::ScaleTo;
use crate::time::Monotonic;

/// What a person wishes of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Read the configuration again and replace every worker.
    Reload {
        /// The service manager asks, through `ExecReload=`.
        by_manager: bool,
    },
    /// Replace workers by new ones of the same configuration.
    Restart {
        /// Only this slot.
        slot: Option<u32>,
    },
    /// Change the number of workers.
    Scale {
        /// To what.
        to: ScaleTo,
    },
    /// Send a signal.
    Signal {
        /// Only this slot.
        slot: Option<u32>,
        /// Its number.
        signal: i32,
    },
    /// Forget failures.
    Reset {
        /// Only this slot.
        slot: Option<u32>,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens there.
    Absent(PathBuf),
    /// The caller may not speak to it, or may not do this.
    Denied(String),
    /// It did not answer in time.
    Silent(Duration),
    /// It went away while we waited.
    Gone,
    /// It said something that was not understood.
    Strange(String),
}

/// A supervisor that answered.
#[derive(Debug)]
pub(crate) struct Supervisor {}

impl Supervisor {
    /// Connects to a private socket.
    pub(crate) async fn connect(socket: &Path, _deadline: Duration) -> Result<Self, Trouble> {
        Err(Trouble::Absent(socket.to_owned()))
    }

    /// The app as it is now.
    pub(crate) async fn state(&self) -> Result<AppState, Trouble> {
        Err(Trouble::Gone)
    }

    /// Asks for something, tells what happens meanwhile, and waits for what comes of it.
    pub(crate) async fn ask(&self, _wish: Wish, _told: impl FnMut(&Happening)) -> Result<Answer, Trouble> {
        Err(Trouble::Gone)
    }

    /// Tells what happens until the supervisor leaves, or `told` has seen enough (`false`).
    pub(crate) async fn happenings(&self, _told: impl FnMut(&Happening) -> bool) -> Result<(), Trouble> {
        Err(Trouble::Gone)
    }
}

/// The present instant on the clock of the supervisor's instants.
pub(crate) fn now() -> Monotonic {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    nix::time::clock_gettime(clock).map_or(Monotonic::ZERO, |now| Monotonic::from_origin(now.into()))
}
