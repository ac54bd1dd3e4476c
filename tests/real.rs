//! ganger under real systemd. Each module states claims about one subject; `tests/README.md` tells how to
//! write one.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helping functions as well"
)]

#[path = "asked/answer.rs"]
#[expect(dead_code, reason = "made for tests/asked.rs")]
mod answer;
#[path = "real/bus.rs"]
mod bus;
#[path = "real/command_line.rs"]
mod command_line;
#[path = "real/crash.rs"]
mod crash;
#[path = "real/faults.rs"]
mod faults;
#[path = "real/harness.rs"]
mod harness_itself;
#[path = "asked/ledger.rs"]
mod ledger;
#[path = "real/limits.rs"]
mod limits;
#[path = "real/logs.rs"]
mod logs;
#[path = "real/package.rs"]
mod package;
#[path = "real/pair.rs"]
mod pair;
#[path = "real/reload.rs"]
mod reload;
#[path = "real/remote.rs"]
mod remote;
#[path = "real/site.rs"]
mod site;
#[path = "real/slots.rs"]
mod slots;
#[path = "real/storm.rs"]
mod storm;
#[path = "real/user.rs"]
mod user;
#[path = "asked/wish.rs"]
mod wish;
#[path = "real/worker.rs"]
mod worker;
