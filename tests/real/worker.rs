//! The scripted worker that every load test rests on: what it is told to do, it does, and its own drain
//! loses nothing. No supervisor is involved; two workers share one socket, handed over as fd 0.

use harness::load::{Load, Pace, Target, Until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A worker on the shared socket; killed with its value.
struct Worker(Child);

impl Worker {
    fn start(listener: &TcpListener, generation: u64, arguments: &[&str]) -> Worker {
        let socket = listener.try_clone().expect("a second descriptor");
        let mut command = Command::new(harness::example("worker"));
        command.arg("--stdin").args(arguments).env("GANGER_GENERATION", generation.to_string());
        let stdin = Stdio::from(std::os::fd::OwnedFd::from(socket));
        Worker(command.stdin(stdin).spawn().expect("the worker starts"))
    }

    /// SIGTERM, and its exit code.
    fn drain(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it is there");
        self.0.wait().expect("it is ours").code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, Target::Tcp(address))
}

/// Replaces the worker ten times under the load; each new one answers before the old one is told.
fn replaced_under(load: impl FnOnce(Load) -> Load) {
    let (listener, target) = socket();
    let mut worker = Worker::start(&listener, 1, &["--grace", "500"]);
    let running = load(Load::new(target.clone())).start();
    for generation in 2..12 {
        running.wait_for_answers(50);
        let next = Worker::start(&listener, generation, &["--grace", "500"]);
        assert_eq!(std::mem::replace(&mut worker, next).drain(), Some(0));
        running.expect_generation(generation);
    }
    running.wait_for_answers(50);
    let report = running.stop();
    report.assert_nothing_lost(500);
    assert!(report.worker_count() >= 5, "{report}\n{}", report.by_worker());
}

#[test]
fn ten_drains_lose_no_request_on_busy_keep_alive_connections() {
    replaced_under(|load| load.connections(16));
}

#[test]
fn ten_drains_lose_no_request_on_idle_keep_alive_connections() {
    replaced_under(|load| load.connections(16).pace(Pace::Closed(Duration::from_millis(30))));
}

#[test]
fn ten_drains_lose_no_request_on_fresh_connections() {
    replaced_under(|load| load.connections(8).close_each());
}

#[test]
fn ten_drains_lose_no_request_that_takes_its_time() {
    replaced_under(|load| load.connections(16).path("/sleep/40"));
}

#[test]
fn a_worker_that_dies_without_a_drain_shows_as_loss() {
    let (listener, target) = socket();
    let worker = Worker::start(&listener, 1, &[]);
    let load = Load::new(target).path("/sleep/100").timeout(Duration::from_millis(300));
    // A hundred is more than it can answer before it is killed.
    let running = load.until(Until::Requests(100)).start();
    running.wait_for_answers(8);
    drop(worker);
    let report = running.finish();
    assert!(report.lost() >= 1, "{report}");
}

#[test]
fn a_worker_exits_as_it_is_told() {
    for (arguments, code) in [
        (&["--exit-after", "20", "--exit-code", "7"][..], 7),
        (&["--crash-before-ready"], 1),
        (&["--crash-before-ready", "--exit-code", "3"], 3),
    ] {
        let (listener, _) = socket();
        let mut worker = Worker::start(&listener, 1, arguments);
        assert_eq!(worker.0.wait().expect("it is ours").code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_worker_that_is_never_ready_answers_nothing() {
    let (listener, target) = socket();
    let _worker = Worker::start(&listener, 1, &["--never-ready"]);
    let load = Load::new(target).connections(1).timeout(Duration::from_millis(200));
    let report = load.until(Until::Requests(1)).run();
    assert_eq!(report.of(harness::load::Class::Timeout), 1, "{report}");
}
