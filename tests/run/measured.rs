//! What workers use, as the bus tells it: against what the kernel says of the same processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Run, Stage};

/// In slot 0 a server that keeps what it accepts, and 32 MiB besides; in slot 1 one that does nothing but compute.
const SERVER: &str = r#"import os, socket
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while os.environ["GANGER_WORKER"] == "1": pass
ballast, kept = b"x" * (32 << 20), []
listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    kept.append(listener.accept()[0])
    kept[-1].sendall(b"x")"#;

const OPEN: u32 = 5;

fn start() -> Run {
    let config = format!(
        "command = ['python3', '-c', '''{SERVER}''']\nlisten = ['127.0.0.1:0']\nworkers = 2\nready.when = 'notify'\n\
         env.SECRET_KEY = 'not-for-the-bus'"
    );
    let run = Stage::new(&config).managed().start();
    run.told("STATUS=2/2 workers ready");
    run
}

/// What `busctl` prints at the private socket.
fn busctl(run: &Run, words: &str) -> String {
    let address = format!("--address=unix:path={}", run.path("ganger/app/private").display());
    let mut command = std::process::Command::new("busctl");
    let out = command.arg(address).args(words.split(' ')).output().unwrap();
    assert!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A property that is a number.
fn number(run: &Run, slot: u32, name: &str) -> u64 {
    let path = format!("/org/ganger1/worker/{slot}");
    let line = busctl(run, &format!("get-property org.ganger1.app {path} org.ganger1.Worker {name}"));
    line.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name}: {line}"))
}

/// Connections that clients made and the worker has taken.
fn connect(run: &Run) -> Vec<TcpStream> {
    let mut all: Vec<_> = (0..OPEN).map(|_| TcpStream::connect(run.address()).unwrap()).collect();
    all.iter_mut().for_each(|connection| connection.read_exact(&mut [0]).unwrap());
    all
}

/// What the kernel says of a process, in kB.
fn resident(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn the_bus_tells_what_workers_use_as_the_kernel_does() {
    let run = start();
    let connections = connect(&run);
    assert!(
        harness::wait_until(|| number(&run, 0, "Connections") == u64::from(OPEN)),
        "{}",
        number(&run, 0, "Connections")
    );
    assert_eq!(number(&run, 1, "Connections"), 0);
    let kernel = resident(number(&run, 0, "PID")) * 1024;
    let told = number(&run, 0, "Memory");
    assert!(
        told > 32 << 20 && (kernel / 2..kernel * 3 / 2).contains(&told),
        "{told}, the kernel says {kernel}"
    );

    let (cpu, moment) = (number(&run, 1, "CPUUsageNSec"), number(&run, 1, "MeasuredUSec"));
    let later = || number(&run, 1, "MeasuredUSec") >= moment + 1_000_000;
    assert!(harness::wait_until(later), "nobody looks any more");
    let more = number(&run, 1, "CPUUsageNSec") - cpu;
    assert!(more > 50_000_000, "one that only computes took {more} ns in over a second");
    assert!(number(&run, 0, "CPUUsageNSec") < 5_000_000_000);
    drop(connections);
    run.stop();
}

#[test]
fn the_commands_show_what_the_bus_tells() {
    let run = start();
    let _connections = connect(&run);
    let status = || {
        let out = run.client(&["status", "--json", "app"]);
        let state: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        state
    };
    assert!(harness::wait_until(|| status()["workers"][0]["connections"] == OPEN), "{}", status());
    let state = status();
    assert!(state["workers"][0]["memory"].as_u64().unwrap() > 32 << 20, "{state}");
    assert!(state["workers"][1]["cpu_usec"].as_u64().unwrap() > 0, "{state}");
    assert!(state["workers"][1]["cpu_permille"].as_u64().unwrap() > 20, "{state}");
    assert_eq!(state["queues"][0]["listen"], run.address().as_str());
    let list = run.client(&["list"]);
    assert!(!String::from_utf8_lossy(&list.stdout).contains("not-for-the-bus"));
    run.stop();
}

#[test]
fn clients_that_wait_for_a_worker_are_told_of_each_listener() {
    let run = start();
    let pid = i32::try_from(number(&run, 0, "PID")).unwrap();
    // The other one never accepts.
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let _waiting: Vec<_> = (0..OPEN).map(|_| TcpStream::connect(run.address()).unwrap()).collect();
    let queues = || busctl(&run, "get-property org.ganger1.app /org/ganger1 org.ganger1.App AcceptQueues");
    // One may be in the hands of the worker that was stopped: accept(2) had begun.
    let seen = |waiting: u32| queues().contains(&format!("\"{}\" {waiting} ", run.address()));
    assert!(harness::wait_until(|| seen(OPEN) || seen(OPEN - 1)), "{}", queues());
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    assert!(harness::wait_until(|| seen(0)), "{}", queues());
    run.stop();
}

#[test]
fn nothing_that_is_told_has_the_environment_in_it() {
    let run = start();
    let mut told = busctl(
        &run,
        "call org.ganger1.app /org/ganger1 org.freedesktop.DBus.ObjectManager GetManagedObjects",
    );
    told += &busctl(
        &run,
        "call org.ganger1.app /org/ganger1 org.freedesktop.DBus.Properties GetAll s org.ganger1.App",
    );
    assert!(told.contains("CPUUsageNSec") && told.contains("AcceptQueues"), "{told}");
    assert!(!told.contains("not-for-the-bus") && !told.contains("SECRET_KEY"), "{told}");
    run.stop();
}

#[test]
fn a_flood_of_readers_takes_few_looks() {
    let run = start();
    let first = number(&run, 0, "MeasuredUSec");
    let mut moments = std::collections::BTreeSet::from([first]);
    while moments.last().unwrap() - first < 2_000_000 {
        moments.insert(number(&run, 0, "MeasuredUSec"));
    }
    let span = moments.last().unwrap() - first;
    let most = span / 250_000 + 2;
    assert!(moments.len() as u64 <= most, "{} looks in {span} us", moments.len());
    run.stop();
}

/// kB of the supervisor's own program that are mapped.
fn mapped_code(run: &Run) -> u64 {
    let own = std::fs::read_link(format!("/proc/{}/exe", run.pid())).unwrap();
    let smaps = std::fs::read_to_string(format!("/proc/{}/smaps", run.pid())).unwrap();
    let mut is_own = false;
    let mut all = 0;
    for line in smaps.lines() {
        if let Some(rss) = line.strip_prefix("Rss:").filter(|_| is_own) {
            all += rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        } else if line.starts_with(|first: char| first.is_ascii_digit() || first.is_ascii_lowercase()) {
            is_own = line.contains(" r-xp ") && line.ends_with(own.to_str().unwrap());
        }
    }
    all
}

#[test]
fn a_supervisor_at_rest_has_given_its_code_back() {
    let config = "command = ['sh', '-c', 'read line <@DIR@/go; exec @WORKER@ --notify']\n\
                  listen = ['127.0.0.1:0']\nworkers = 1";
    let stage = Stage::new(config);
    let go = stage.path("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = stage.managed().start();
    // Opened when the worker has opened its end: it was started, but before it is ready nothing is given back.
    let mut go = std::fs::OpenOptions::new().write(true).open(go).unwrap();
    let before = mapped_code(&run);
    go.write_all(b"now\n").unwrap();
    run.told("STATUS=1/1 workers ready");
    // Unoptimised, the little that runs before the sleep is spread over more than half of the program.
    let rests = harness::wait_until(|| mapped_code(&run) * 4 < before * 3);
    assert!(rests, "{} kB of {before} kB are still mapped", mapped_code(&run));
    run.stop();
}
