//! From a worker's end to its replacement: when the kernel reported the exit, when the supervisor forked, when the
//! new worker's program began. The kernel itself says so (its process events connector, for root); without it the
//! first is when a pidfd of the bench's own became readable, and the fork is not known.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures, and fails by panicking"
)]

#[path = "respawn/events.rs"]
mod events;
#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

use std::time::Duration;

use events::{Events, What};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::supervisor::{Setup, Supervisor};
use rig::{median, ms, now, percentile, row, title};

const WORKERS: usize = 4;
const ROUNDS: usize = 300;
/// Between two rounds: the pool has settled and everybody sleeps.
const REST: Duration = Duration::from_millis(10);
const FORK: Duration = Duration::from_micros(500);

/// What was seen of one replacement.
#[derive(Default)]
struct Seen {
    killed: Duration,
    exited: Option<Duration>,
    forked: Option<Duration>,
    execed: Option<Duration>,
    began: Duration,
}

fn main() {
    rig::worker::unless_started_as_one();
    title(&format!("SIGKILL of one of {WORKERS} workers to its replacement, {ROUNDS} times"));
    let events = Events::listen();
    if events.is_none() {
        println!("  (the kernel's process events are not to be had: run as root for the time of the fork)");
    }
    let mut supervisor = Setup::new(WORKERS, "stamp").start();
    let mut workers: Vec<u32> = (0..WORKERS).map(|_| stamp(&mut supervisor).0).collect();
    supervisor.ready();
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        rig::pause(REST);
        let place = workers.get_mut(round % WORKERS).expect("a worker");
        seen.push(replace(&mut supervisor, place, events.as_ref()));
    }
    let spans = |from: fn(&Seen) -> Option<Duration>, to: fn(&Seen) -> Option<Duration>| -> Vec<Duration> {
        seen.iter().filter_map(|one| Some(to(one)?.saturating_sub(from(one)?))).collect()
    };
    let report = |what: &str, spans: &[Duration], aim: Option<Duration>| {
        if spans.is_empty() {
            return;
        }
        let middle = median(spans);
        row(
            &format!("{what}: median"),
            ms(middle),
            aim.map_or(String::new(), |aim| format!("≤ {}", ms(aim))),
            aim.map(|aim| middle <= aim),
        );
        row(&format!("{what}: 99th of 100"), ms(percentile(spans, 0.99)), "", None);
    };
    report("exit reported to fork", &spans(|it| it.exited, |it| it.forked), Some(FORK));
    report("fork to exec", &spans(|it| it.forked, |it| it.execed), None);
    report("SIGKILL to exec", &spans(|it| Some(it.killed), |it| it.execed), None);
    report("SIGKILL to the program's main", &spans(|it| Some(it.killed), |it| Some(it.began)), None);
    let (_, used) = supervisor.stop();
    let each = used / u32::try_from(ROUNDS).expect("a small number");
    row("CPU time of the supervisor for each, start included", ms(each), "", None);
}

fn replace(supervisor: &mut Supervisor, worker: &mut u32, events: Option<&Events>) -> Seen {
    let old = *worker;
    let mut seen = Seen { killed: now(), ..Seen::default() };
    kill(Pid::from_raw(i32::try_from(old).expect("a pid")), Signal::SIGKILL).expect("the worker lives");
    let (new, began) = stamp(supervisor);
    seen.began = began;
    *worker = new;
    let Some(events) = events else { return seen };
    // The exec was reported before the new program began.
    for event in events.read() {
        match event.what {
            What::Exit if event.pid == old => seen.exited = Some(event.at),
            What::Fork if event.pid == new => seen.forked = Some(event.at),
            What::Exec if event.pid == new => seen.execed = Some(event.at),
            What::Exit | What::Fork | What::Exec => {}
        }
    }
    seen
}

/// The next worker that began: its pid and when.
fn stamp(supervisor: &mut Supervisor) -> (u32, Duration) {
    rig::worker::stamp(&supervisor.line()).expect("a pid and a time")
}
