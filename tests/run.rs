//! `ganger run` as a whole: a real supervisor, real workers, and the test as service manager and client.
//! Each test states one claim; an F-number names the failure story of another supervisor that it stands for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here is a failed test")]
#![expect(clippy::print_stderr, reason = "a failed test shows what was said")]

#[path = "run/stage.rs"]
mod stage;

#[path = "run/bad_input.rs"]
mod bad_input;
#[path = "run/checks.rs"]
mod checks;
#[path = "run/contract.rs"]
mod contract;
#[path = "run/crash.rs"]
mod crash;
#[path = "run/draining.rs"]
mod draining;
#[path = "run/listeners.rs"]
mod listeners;
#[path = "run/manager.rs"]
mod manager;
#[path = "run/measured.rs"]
mod measured;
#[path = "run/output.rs"]
mod output;
#[path = "run/readiness.rs"]
mod readiness;
#[path = "run/reload.rs"]
mod reload;
#[path = "run/secrets.rs"]
mod secrets;
#[path = "run/shortage.rs"]
mod shortage;
#[path = "run/signals.rs"]
mod signals;
#[path = "run/slots.rs"]
mod slots;
#[path = "run/stuck.rs"]
mod stuck;
