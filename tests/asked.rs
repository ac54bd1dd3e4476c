//! Fifty clients at once, in a hurry and unreliable: each that stays gets a definite answer, and in the end there
//! is what the last wish wanted, and no process more.
//!
//! `GANGER_STORM_SECONDS` says how long they go on (5).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may, and what fails here is a failed test"
)]

#[path = "run/stage.rs"]
#[expect(dead_code, reason = "made for tests/run.rs")]
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use stage::{Run, Stage};

const CLIENTS: u64 = 50;
/// Looks at a supervisor that has to settle: each is a program of its own, so this takes many seconds.
const LOOKS: usize = 2000;

const CONFIG: &str = r#"
command = ["@WORKER@"]
listen = ["127.0.0.1:0"]
workers = 4
[reload]
bake = "1ms"
[restart]
backoff = { initial = "1ms", max = "10ms" }
limit = { burst = 100000, interval = "1min" }
[stop]
timeout = "5s"
"#;

/// A stream of numbers of its own for each client (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn words(&mut self) -> Vec<String> {
        let slot = self.below(6);
        let line = match self.below(14) {
            0 => "reload --json app".to_owned(),
            1 => format!("scale --json app {}", self.below(6)),
            2 => "scale --json app +1".to_owned(),
            3 => "scale --json app -1".to_owned(),
            4 => "restart --json app".to_owned(),
            5 => format!("restart --json app:{slot}"),
            6 => "signal --json app CONT".to_owned(),
            7 => format!("signal --json app:{slot} KILL"),
            8 => "reset --json app".to_owned(),
            9 => format!("reset --json app:{slot}"),
            10 => "status --json app".to_owned(),
            11 => format!("stop --json app:{slot}"),
            12 => format!("start --json app:{slot}"),
            _ => "events --json app".to_owned(),
        };
        line.split(' ').map(str::to_owned).collect()
    }
}

/// How often each verb ended in each way.
type Endings = BTreeMap<(String, String), u32>;

/// One client after the other until the time is over.
fn storm(run: &Run, seed: u64, until: Instant) -> Endings {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut endings = Endings::new();
    while now() < until {
        let words = chance.words();
        let verb = words.first().unwrap().clone();
        let mut client = run.client_command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let how = if verb == "events" || chance.below(5) == 0 {
            // Gone in the middle, wherever that is.
            for _ in 0..chance.below(200) {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait_with_output().unwrap();
            "gone".to_owned()
        } else {
            answer(&words, &child.wait_with_output().unwrap())
        };
        *endings.entry((verb, how)).or_default() += 1;
    }
    endings
}

/// The definite answer: the outcome, and an exit code that says the same.
fn answer(words: &[String], output: &std::process::Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(1) && err.contains("has no room for this now") {
        return "busy".to_owned();
    }
    let json: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{words:?}: {error}: {out}{err}"));
    let outcome = json.get("outcome").or_else(|| json.get("state")).and_then(|word| word.as_str()).unwrap();
    let code = match outcome {
        "failed" | "superseded" | "refused" | "stopped" => 1,
        "not-found" => 3,
        "partly" => 7,
        _ => 0,
    };
    assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{err}");
    outcome.to_owned()
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
    let serving = state.get("state")? == "serving" && *state.get("wanted")? == workers.len();
    let pid = |worker: &serde_json::Value| u32::try_from(worker.get("pid")?.as_u64()?).ok();
    workers.iter().map(pid).collect::<Option<_>>().filter(|_| ready && serving)
}

fn open_descriptors(run: &Run) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

#[test]
fn fifty_unreliable_clients_get_definite_answers_and_the_last_wish_holds() {
    let run = Stage::new(CONFIG).start();
    run.said("info: ready");
    let before = open_descriptors(&run);
    let seconds = std::env::var("GANGER_STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let until = now() + Duration::from_secs(seconds);
    let mut endings = Endings::new();
    std::thread::scope(|scope| {
        let run = &run;
        let clients: Vec<_> =
            (1..=CLIENTS).map(|seed| scope.spawn(move || storm(run, seed, until))).collect();
        for client in clients {
            for (key, count) in client.join().unwrap() {
                *endings.entry(key).or_default() += count;
            }
        }
    });
    eprintln!("{endings:?}");
    // Those who left have wishes that still wait; this one is the last.
    let last = run.client(&["scale", "--json", "app", "4"]);
    assert!(last.status.success(), "{last:?}");
    let started = run.client(&["start", "app:0", "app:1", "app:2", "app:3"]);
    assert!(started.status.success(), "{started:?}");
    let looks = (0..LOOKS).map(|_| (settled(&status(&run)), run.left_behind()));
    let census = looks.into_iter().find_map(|(table, living)| {
        let living: BTreeSet<u32> = living.into_iter().collect();
        table.filter(|table| *table == living)
    });
    assert_eq!(census.map(|pids| pids.len()), Some(4), "{:?}, alive {:?}", status(&run), run.left_behind());
    assert!(
        (0..LOOKS).any(|_| open_descriptors(&run) <= before || status(&run).is_null()),
        "descriptors leak"
    );
    for verb in ["reload", "scale", "restart", "signal", "reset", "stop", "start", "status", "events"] {
        assert!(endings.keys().any(|(asked, _)| asked == verb), "{verb} was never asked for: {endings:?}");
    }
    run.stop();
}
