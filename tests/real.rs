//! ganger under real systemd. Each module states claims about one subject; `tests/README.md` tells how to
//! write one.

#[path = "real/harness.rs"]
mod harness_itself;
#[path = "real/worker.rs"]
mod worker;
