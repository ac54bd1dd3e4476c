//! The one event loop: facts become events, effects become deeds. It owns the runtime and decides nothing about
//! workers; that is the pool's.

mod birth;
mod calendar;
mod callers;
mod checking;
mod deeds;
mod environment;
mod event_loop;
mod exits;
mod explaining;
mod fatal;
mod guarding;
mod hinting;
mod inbox;
mod looking;
mod mail;
mod measuring;
mod node_launch;
mod node_side;
mod opening;
mod output;
mod prober;
mod publishing;
mod readiness;
mod reading;
mod repeating;
mod request;
pub mod runtime_dir;
mod setup;
mod subjects;
mod supervisor;
mod telling;
mod wishes;
mod world;

pub use fatal::Fatal;
pub use request::{RunRequest, Target};

/// Runs a supervisor until it is told to leave.
///
/// # Errors
/// When no supervisor could be set up, its event loop broke, or the pool failed as a whole.
pub fn run(request: &RunRequest) -> Result<(), Fatal> {
    setup::run(request)
}
