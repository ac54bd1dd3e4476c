//! Fifty clients at once, in a hurry and unreliable: each that stays gets a definite answer, and in the end there
//! is what the last accepted wish wanted, and no process more.
//!
//! They come by the command line, by `busctl`, and by connections of their own to the bus and to the private
//! socket. What was accepted, and in which order, the supervisor's log says; it is played again in a model
//! ([`ledger`]) and compared with what there is, and with what each client was told.
//!
//! `GANGER_STORM_SECONDS` says how long they go on (5), `GANGER_STORM_SEED` what they ask for; a seed is printed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may, and what fails here is a failed test"
)]

#[path = "asked/answer.rs"]
mod answer;
#[path = "asked/client.rs"]
mod client;
#[path = "asked/ledger.rs"]
mod ledger;
#[path = "run/stage.rs"]
#[expect(dead_code, reason = "made for tests/run.rs")]
mod stage;
#[path = "asked/wish.rs"]
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use answer::{Call, Ending, Way};
use harness::MessageBus;
use ledger::{LAST_WORDS, Ledger};
use stage::{From, Run, Stage};
use wish::{Chance, Wish};

const CLIENTS: u64 = 50;
const WORKERS: u32 = 4;

/// The configuration with the number of a deployment.
fn config(deployment: u64) -> String {
    format!(
        "command = [\"@WORKER@\"]\nlisten = [\"127.0.0.1:0\"]\nworkers = {WORKERS}\n\
         env = {{ DEPLOYMENT = \"{deployment}\" }}\nreload = {{ bake = \"1ms\" }}\nstop = {{ timeout = \"5s\" }}\n\
         [restart]\nbackoff = {{ initial = \"1ms\", max = \"10ms\" }}\n\
         limit = {{ burst = 100000, interval = \"1min\" }}\n"
    )
}

/// As the session bus of dbus-daemon(1): everybody may do everything.
const OPEN_BUS: &str = "<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
                        <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy>\
                        <limit name=\"reply_timeout\">600000</limit>";

/// One wish after the other until the time is over.
fn storm(run: &Run, bus: &str, number: u64, seed: u64, until: Instant) -> Vec<Call> {
    let mut chance = Chance::new(seed, number);
    let way = match number % 5 {
        0 | 1 => Way::CommandLine,
        2 => Way::Busctl,
        3 => Way::Private,
        _ => Way::Bus,
    };
    let mut calls = Vec::new();
    while now() < until {
        let wish = Wish::any(&mut chance);
        calls.push(client::call(run, bus, way, wish, &mut chance));
    }
    calls
}

/// The fiftieth: changes the configuration, and goes on to the next change only when that one was taken.
fn deploy(run: &Run, deployed: &AtomicU64, seed: u64, until: Instant) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut chance = Chance::new(seed, CLIENTS);
    let file = run.path("app.toml");
    let worker = harness::example("worker");
    while now() < until {
        let number = deployed.fetch_add(1, Ordering::Relaxed) + 1;
        let text = config(number).replace("@WORKER@", worker.to_str().unwrap());
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
        loop {
            let call = client::call(run, "", Way::CommandLine, Wish::Reload, &mut chance);
            let done = matches!(&call.ending, Ending::Verdict { outcome, .. } if outcome == "done");
            calls.push(call);
            if done {
                break;
            }
        }
    }
    calls
}

#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
fn now() -> Instant {
    Instant::now()
}

fn status(run: &Run) -> serde_json::Value {
    let output = run.client(&["status", "--json", "app"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The processes in the table, if all are ready and as many as wanted.
fn settled(state: &serde_json::Value) -> Option<BTreeSet<u32>> {
    let workers = state.get("workers")?.as_array()?;
    let ready = workers.iter().all(|worker| worker.get("state").is_some_and(|word| word == "ready"));
    let as_wanted = *state.get("wanted")? == workers.len();
    let pid = |worker: &serde_json::Value| u32::try_from(worker.get("pid")?.as_u64()?).ok();
    workers.iter().map(pid).collect::<Option<_>>().filter(|_| ready && as_wanted)
}

fn open_descriptors(run: &Run) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

/// A number from outside, or one that nobody knows.
fn seed() -> u64 {
    let given = std::env::var("GANGER_STORM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        u64::from_str_radix(random.get(..8).unwrap(), 16).unwrap()
    });
    eprintln!("GANGER_STORM_SEED={seed}");
    seed
}

/// A supervisor on a bus of the test's own: as its service manager would, the test tells it that it is a service.
fn supervisor() -> (Run, MessageBus) {
    let stage = Stage::new(&config(0));
    let bus = MessageBus::start(&stage.path(""), OPEN_BUS);
    let as_a_service = ["/bin/sh", "-c", "SYSTEMD_EXEC_PID=$$ exec \"$@\"", "sh"];
    let run = stage.wrapped(&as_a_service).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).start();
    run.said("info: ready");
    let on_the_bus = || client::is_on(&bus.address);
    assert!(harness::wait_until(on_the_bus), "it never came to the bus");
    (run, bus)
}

/// All clients at once, until the time is over and the last is answered.
fn all_at_once(run: &Run, bus: &str, seed: u64) -> (Vec<Call>, u64) {
    let seconds = std::env::var("GANGER_STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let until = now() + Duration::from_secs(seconds);
    let deployed = AtomicU64::new(0);
    let calls = std::thread::scope(|scope| {
        let deployed = &deployed;
        let clients: Vec<_> = (1..CLIENTS)
            .map(|number| scope.spawn(move || storm(run, bus, number, seed, until)))
            .chain([scope.spawn(move || deploy(run, deployed, seed, until))])
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    (calls, deployed.into_inner())
}

/// How often each way and verb ended in each way.
fn endings(calls: &[Call]) -> BTreeMap<(Way, &'static str, String), u32> {
    let mut endings = BTreeMap::new();
    for call in calls {
        let how = match &call.ending {
            Ending::Gone => "gone",
            Ending::Busy => "busy",
            Ending::Seen => "seen",
            Ending::Verdict { outcome, .. } => outcome,
        };
        let how = how.to_owned();
        *endings.entry((call.way, call.wish.verb(), how)).or_default() += 1;
    }
    endings
}

#[test]
fn fifty_unreliable_clients_get_definite_answers_and_the_last_accepted_wish_holds() {
    let seed = seed();
    let (run, bus) = supervisor();
    let bus = bus.address.as_str();
    let before = open_descriptors(&run);
    let (mut calls, deployed) = all_at_once(&run, bus, seed);
    let endings = endings(&calls);
    // Wishes of those who left may still wait. This one changes nothing, and is answered when they are done.
    let mut chance = Chance::new(seed, 0);
    let last = loop {
        let wish = Wish::Scale("+0".to_owned());
        let call = client::call(&run, bus, Way::CommandLine, wish, &mut chance);
        calls.push(call.clone());
        if matches!(&call.ending, Ending::Verdict { outcome, .. } if outcome == "done") {
            break call;
        }
    };
    assert!(run.client(&["scale", "app", "-0"]).status.success());
    run.said(LAST_WORDS);
    let ledger = Ledger::read(&run.all(From::Log), WORKERS);
    eprintln!("{} calls, {} taken in: {endings:?}", calls.len(), ledger.len());
    ledger.compare(&calls, &[LAST_WORDS]);

    let state = status(&run);
    assert_eq!(state.get("wanted").unwrap(), ledger.wanted, "after {last:?}: {state}");
    assert_eq!(state.get("generation").unwrap(), ledger.generation(), "{state}");
    // Slots that somebody stopped run again: the table is to be of all that are wanted.
    let slots: Vec<String> = (0..ledger.wanted).map(|slot| format!("app:{slot}")).collect();
    if !slots.is_empty() {
        let words: Vec<&str> = ["start"].into_iter().chain(slots.iter().map(String::as_str)).collect();
        let started = run.client(&words);
        assert!(started.status.success(), "{started:?}");
    }
    let mut census = (None, BTreeSet::new());
    let equal = harness::wait_until(|| {
        census = (settled(&status(&run)), run.left_behind().into_iter().collect());
        census.0.as_ref() == Some(&census.1)
    });
    assert!(equal && census.1.len() == ledger.wanted as usize, "in the table and alive: {census:?}");
    assert!(run.client(&["scale", "app", "1"]).status.success());
    let environment = run.get("/env");
    let deployment = format!("DEPLOYMENT={deployed}");
    assert!(environment.lines().any(|line| line == deployment), "not {deployment}:\n{environment}");
    assert!(harness::wait_until(|| open_descriptors(&run) <= before), "descriptors leak");

    let answered = || endings.keys().filter(|(_, _, how)| how != "gone" && how != "busy");
    for way in [Way::CommandLine, Way::Busctl, Way::Private, Way::Bus] {
        assert!(answered().any(|(by, _, _)| *by == way), "nobody was answered by {way:?}: {endings:?}");
    }
    for verb in ["reload", "scale", "restart", "signal", "reset", "stop", "start", "status"] {
        assert!(answered().any(|(_, asked, _)| *asked == verb), "{verb} was never answered: {endings:?}");
    }
    run.stop();
}
