//! ganger under real systemd. Each module states claims about one subject; `tests/README.md` tells how to
//! write one.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its helping functions as well")]

#[path = "real/harness.rs"]
mod harness_itself;
#[path = "real/worker.rs"]
mod worker;
