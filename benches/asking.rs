//! What asking costs: `ganger list` over many apps, the memory that the bus takes, and whether a flood of questions
//! delays the replacement of a worker.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures, and fails by panicking"
)]

#[path = "asking/questions.rs"]
mod questions;
#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use questions::Flood;
use rig::supervisor::{Setup, Supervisor, scratch};
use rig::{median, ms, now, row, smaps, title};

const APPS: usize = 50;
const LISTS: usize = 15;
const LIST: Duration = Duration::from_millis(50);
/// What the bus may add, in kB.
const BUS: u64 = 1024;
/// Rounds of measuring the memory, and of killing a worker with and without questions.
const MEMORY_ROUNDS: usize = 3;
const KILLS: usize = 150;
const QUESTIONS: u32 = 10_000;
const DELAY: Duration = Duration::from_millis(1);

fn main() {
    rig::worker::unless_started_as_one();
    title("asking");
    list();
    bus();
    flood();
}

/// As many supervisors as a busy machine has.
fn list() {
    let home = scratch();
    let apps: Vec<Supervisor> = (0..APPS)
        .map(|number| {
            let mut setup = Setup::new(1, "sleep");
            setup.name = format!("app{number}");
            let place = home.join("ganger").join(&setup.name);
            setup.env.push(("RUNTIME_DIRECTORY", place.to_str().expect("UTF-8").to_owned()));
            setup.start()
        })
        .collect();
    for app in &apps {
        app.ready();
    }
    let ganger = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
        command.args(words).env("XDG_RUNTIME_DIR", &home).env("HOME", &home);
        let began = now();
        let output = command.output().expect("ganger runs");
        let took = now() - began;
        assert!(output.status.success(), "{output:?}");
        (took, output.stdout)
    };
    let (mut took, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..LISTS {
        let (span, out) = ganger(&["--user", "list"]);
        let lines = out.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"app")).count();
        assert_eq!(lines, APPS, "{}", String::from_utf8_lossy(&out));
        took.push(span);
        alone.push(ganger(&["--version"]).0);
    }
    let took = median(&took);
    row(&format!("ganger list of {APPS} apps"), ms(took), format!("< {}", ms(LIST)), Some(took < LIST));
    row("    ganger --version", ms(median(&alone)), "", None);
    drop(apps);
    let _ = std::fs::remove_dir_all(home);
}

/// A bus that lets everybody do everything.
fn start_bus(directory: &Path) -> Option<(Child, String)> {
    let address = format!("unix:path={}", directory.join("bus").display());
    let mut child = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address", "--address"])
        .arg(&address)
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
    Some((child, address))
}

fn bus() {
    let directory = scratch();
    let Some((mut daemon, address)) = start_bus(&directory) else {
        println!("  (the bus is not measured: there is no dbus-daemon)");
        return;
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..MEMORY_ROUNDS {
        without.push(taken(&Setup::new(2, "sleep"), None));
        let mut setup = Setup::new(2, "sleep");
        setup.env.push(("DBUS_SYSTEM_BUS_ADDRESS", address.clone()));
        setup.is_service = true;
        with.push(taken(&setup, Some(&address)));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
    let _ = std::fs::remove_dir_all(directory);
    without.sort_unstable();
    with.sort_unstable();
    let middle = |all: &[(u64, u64)]| all.get(all.len() / 2).copied().unwrap_or_default();
    let (before, after) = (middle(&without), middle(&with));
    let added = after.0.saturating_sub(before.0);
    row("the bus adds: PSS", format!("{added} kB"), format!("< {BUS} kB"), Some(added < BUS));
    row("the bus adds: private dirty", format!("{} kB", after.1.saturating_sub(before.1)), "", None);
}

/// PSS and private dirty memory of a supervisor that was asked something, on the bus if there is one.
fn taken(setup: &Setup, bus: Option<&str>) -> (u64, u64) {
    let mut supervisor = setup.start();
    supervisor.ready();
    let private = format!("unix:path={}", supervisor.directory.join("ganger/bench/private").display());
    let (address, name) = match bus {
        Some(bus) => (bus, "org.ganger1.bench"),
        None => (private.as_str(), ""),
    };
    let until = now() + Duration::from_secs(20);
    while !asked(address, name) {
        assert!(now() < until, "nobody answers at {address}");
        rig::pause(Duration::from_millis(50));
    }
    rig::pause(Duration::from_millis(300));
    let taken = (smaps(supervisor.pid(), "Pss"), smaps(supervisor.pid(), "Private_Dirty"));
    supervisor.stop();
    taken
}

fn asked(address: &str, name: &str) -> bool {
    if name.is_empty() {
        return Flood::ask_once(Path::new(address.trim_start_matches("unix:path=")));
    }
    let mut command = Command::new("busctl");
    command.arg(format!("--address={address}"));
    command.args(["get-property", name, "/org/ganger1", "org.ganger1.App", "Ready"]);
    command.stderr(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The same worker killed again and again, in turn with and without questions.
fn flood() {
    let mut supervisor = Setup::new(4, "stamp").start();
    let mut worker = (0..4).map(|_| stamp(&mut supervisor).0).last().expect("a worker");
    supervisor.ready();
    let private = supervisor.directory.join("ganger/bench/private");
    let (mut quiet, mut asked, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..10 {
        let flood = (round % 2 == 1).then(|| Flood::begin(&private, QUESTIONS));
        for _ in 0..KILLS / 5 {
            rig::pause(Duration::from_millis(7));
            let killed = now();
            kill(Pid::from_raw(i32::try_from(worker).expect("a pid")), Signal::SIGKILL).expect("it lives");
            let (new, began) = stamp(&mut supervisor);
            worker = new;
            let spans = if flood.is_some() { &mut asked } else { &mut quiet };
            spans.push(began.saturating_sub(killed));
        }
        rates.extend(flood.map(Flood::end));
    }
    let (quiet, busy) = (median(&quiet), median(&asked));
    let rate = rates.iter().sum::<u32>() / u32::try_from(rates.len()).expect("a few");
    row("SIGKILL to the replacement's main, nobody asks", ms(quiet), "", None);
    row(&format!("    {rate} property reads a second"), ms(busy), "", None);
    let delay = busy.saturating_sub(quiet);
    row("    delay by the questions (medians)", ms(delay), format!("≤ {}", ms(DELAY)), Some(delay <= DELAY));
    supervisor.stop();
}

fn stamp(supervisor: &mut Supervisor) -> (u32, Duration) {
    rig::worker::stamp(&supervisor.line()).expect("a pid and a time")
}
