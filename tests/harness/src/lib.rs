//! Real systemd for ganger's tests, and the load to prove promises with.
//!
//! One call boots a systemd that is PID 1 of something: [`debian12`], [`debian13`], [`both`] (containers,
//! half a second each), [`machine`] (this machine's own systemd) or a [`Vm`] (a kernel with every cgroup
//! controller). What was booted is thrown away with its [`Host`], whatever the test did.
//! [`load`] is the client that counts what a reload or a crash cost.
//!
//! The harness decides nothing about ganger: it starts, asks, waits, cleans up. It panics where a test
//! would have to, with what is needed to see why.

mod boot;
mod built;
mod cgroup;
mod host;
pub mod load;
mod message_bus;
mod prepare;
mod scratch;
mod tmux;
mod vm;

pub use boot::{Boot, both, debian12, debian13, machine};
pub use built::{example, ganger};
pub use host::{Host, Output, Started, wait_until};
pub use message_bus::MessageBus;
pub use prepare::Debian;
pub use tmux::Tmux;
pub use vm::{Outcome, Vm};

use std::io::Write as _;

/// Says loudly that this machine cannot show `claim`, whatever is installed.
pub(crate) fn unable(claim: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("NOT SHOWN HERE {claim}: {why}\n").as_bytes());
}

/// Says why a check cannot run here: past the test's captured output, so that it is seen. Where `CI` is
/// set a check that cannot run is a failure.
#[track_caller]
pub(crate) fn skipped(claim: &str, why: &str) {
    let line = format!("SKIPPED {claim}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    assert!(std::env::var_os("CI").is_none(), "{claim} cannot run here, and CI is set: {why}");
}
