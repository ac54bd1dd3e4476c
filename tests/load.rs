//! Promises that only load can show: what a reload, a bad deploy, a crash or a storm of commands costs the
//! requests that are under way. Numbers in names (`f01_…`) are those of the failure stories that other
//! supervisors were seen to live through.
//!
//! Every test runs `ganger` as a process, real workers (`examples/worker.rs`) and the load client, all on
//! this machine's loopback. Spans are never compared with a fixed number that a busy machine could break: a
//! claim is a count, an order, or a ratio to what the same machine did a moment before.
//!
//! With `GANGER_SOAK=1` the runs have their full length (`make soak`).

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and what it measured is worth printing"
)]

#[path = "load/app.rs"]
mod app;
#[path = "load/crashes.rs"]
mod crashes;
#[path = "load/deploys.rs"]
mod deploys;
#[path = "load/faults.rs"]
mod faults;
#[path = "load/frameworks.rs"]
mod frameworks;
#[path = "load/recycling.rs"]
mod recycling;
#[path = "load/rolling.rs"]
mod rolling;
#[path = "load/soak.rs"]
mod soak;
#[path = "load/storm.rs"]
mod storm;
