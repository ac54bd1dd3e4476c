//! The one event loop: facts become events, effects become deeds.

mod request;
pub mod runtime_dir;

pub use request::{RunRequest, Target};

/// Runs a supervisor until it is told to leave.
#[must_use]
pub fn run(request: RunRequest) -> std::process::ExitCode {
    drop(request);
    std::process::ExitCode::FAILURE
}
