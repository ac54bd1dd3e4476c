//! `make demo` does what it says in each of its ways, from the first request to a stop that leaves nothing.
//!
//! The ways that this machine does not offer are said loudly and, where the variable `CI` is set, fail the
//! test. The way by the machine's own systemd is not tried here: it would leave the test's own ground.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and speaks on stderr"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Two demonstrations at once would choose the same port.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn it_works_on_a_socket_of_gangers_own() {
    demo("listen");
}

#[test]
fn it_works_under_systemd_socket_activate() {
    if offered("systemd-socket-activate is installed", "command -v systemd-socket-activate") {
        demo("socket-activate");
    }
}

#[test]
fn it_works_in_a_systemd_booted_for_it() {
    if offered("root and systemd-nspawn are there", "[ $(id -u) = 0 ] && command -v systemd-nspawn") {
        demo("nspawn");
    }
}

fn demo(way: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let release = Path::new(env!("CARGO_BIN_EXE_ganger")).parent().unwrap().ends_with("release");
    let output = Command::new("examples/demo.sh")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("GANGER_DEMO", way)
        .env("CARGO", env!("CARGO"))
        .env("PROFILE", if release { "release" } else { "dev" })
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    for promise in [
        "the first request was answered",
        "worker 0 is back",
        "none lost",
        "no process is left",
        "All of it worked",
    ] {
        assert!(said.contains(promise), "it does not say {promise:?}\n{said}\n{complaints}");
    }
}

fn offered(what: &str, check: &str) -> bool {
    let status = Command::new("sh").args(["-c", check]).stdout(Stdio::null()).status().unwrap();
    if !status.success() {
        let message = format!("one way of the demonstration was NOT RUN: it needs that {what}");
        assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "{message}");
        eprintln!("{message}");
    }
    status.success()
}
