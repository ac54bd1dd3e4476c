//! Many workers at once: 500 started and stopped, beside the same 500 started and stopped by a bare loop;
//! 4096 work at all; and the first answer after the command.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures, and fails by panicking"
)]

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rig::supervisor::{Setup, bare};
use rig::{cpu, median, ms, now, row, title};

const MANY: usize = 500;
const MOST: usize = 4096;
const ROUNDS: usize = 5;
const ANSWERS: usize = 31;
const START: Duration = Duration::from_millis(300);
const STOP: Duration = Duration::from_millis(100);
const FIRST_ANSWER: Duration = Duration::from_millis(5);

fn main() {
    rig::worker::unless_started_as_one();
    title("many workers");
    many("notify");
    many("auto");
    most();
    first_answer();
}

/// Starts and stops, in turn with and without ganger.
fn many(ready: &'static str) {
    let (mut started, mut stopped, mut used) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new()));
    let (mut alone, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let deed = if ready == "notify" { "sleep" } else { "serve" };
        let mut setup = Setup::new(MANY, deed);
        setup.ready = ready;
        let (start, stop) = bare(MANY, &rig::worker::command("sleep"));
        alone.push(start);
        ended.push(stop);
        let mut supervisor = setup.start();
        started.push(supervisor.ready().saturating_sub(supervisor.started));
        used.0.push(cpu(supervisor.pid()));
        // Everything of the start is over.
        rig::pause(Duration::from_millis(300));
        let before = cpu(supervisor.pid());
        let (took, whole) = supervisor.stop();
        stopped.push(took);
        used.1.push(whole.saturating_sub(before));
    }
    let (start, stop) = (median(&started), median(&stopped));
    let what = format!("{MANY} workers, ready.when = {ready:?}");
    row(&format!("{what}: started"), ms(start), format!("< {}", ms(START)), Some(start < START));
    row("    the same workers by a bare loop of posix_spawn", ms(median(&alone)), "", None);
    row("    CPU time of the supervisor alone", ms(median(&used.0)), "", None);
    row(&format!("{what}: stopped"), ms(stop), format!("< {}", ms(STOP)), Some(stop < STOP));
    row("    the same by a bare loop of kill and wait", ms(median(&ended)), "", None);
    row("    CPU time of the supervisor alone", ms(median(&used.1)), "", None);
}

fn most() {
    let mut supervisor = Setup::new(MOST, "sleep").start();
    let took = supervisor.ready().saturating_sub(supervisor.started);
    row(&format!("{MOST} workers: started"), ms(took), "they work", Some(true));
    row("    CPU time of the supervisor alone", ms(cpu(supervisor.pid())), "", None);
    row("    stopped", ms(supervisor.stop().0), "", None);
}

/// From the command to the first answer, with one small worker that listens before it says so.
fn first_answer() {
    let mut took = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..ANSWERS {
        let (start, _) = bare(1, &rig::worker::command("sleep"));
        alone.push(start);
        let mut supervisor = Setup::new(1, "serve").start();
        let socket = supervisor.socket();
        let answered = loop {
            if let Ok(mut stream) = UnixStream::connect(&socket) {
                let mut answer = String::new();
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a request is sent");
                stream.read_to_string(&mut answer).expect("an answer comes");
                assert!(answer.ends_with("ok"), "{answer:?}");
                break now();
            }
            rig::pause(Duration::from_micros(100));
        };
        took.push(answered.saturating_sub(supervisor.started));
        supervisor.ready();
        supervisor.stop();
    }
    let took = median(&took);
    row(
        "first answer after the command",
        ms(took),
        format!("≤ {}", ms(FIRST_ANSWER)),
        Some(took <= FIRST_ANSWER),
    );
    row("    the same worker spawned bare, until it is ready", ms(median(&alone)), "", None);
}
