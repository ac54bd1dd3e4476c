//! One slot, stopped and started by request, while the others serve.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Run, Stage};

const WORKERS: &str =
    "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\nreload.bake = '0s'\n";

fn ready(config: &str) -> Run {
    let run = Stage::new(config).managed().start();
    run.said("info: ready");
    run
}

/// What a command prints that is to end with `code`.
#[track_caller]
fn asked(run: &Run, words: &[&str], code: i32) -> String {
    let output = run.client(words);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
    said
}

fn state(run: &Run) -> serde_json::Value {
    serde_json::from_str(&asked(run, &["status", "--json", "app"], 0)).unwrap()
}

fn slot(run: &Run, number: usize) -> String {
    let place = format!("/slots/{number}/state");
    state(run).pointer(&place).and_then(serde_json::Value::as_str).unwrap().to_owned()
}

#[test]
fn a_stopped_slot_has_no_process_whatever_happens_to_the_others_until_it_is_started() {
    let run = ready(WORKERS);
    let stopped = asked(&run, &["stop", "app:1"], 0);
    assert_eq!(stopped, "stop app: done: slot 1 is stopped\n");
    // The verdict came when nothing was left of the worker.
    assert_eq!(run.left_behind().len(), 1);
    run.said("worker 1 is asked to leave: it was stopped by request");
    run.told("STATUS=1/2 workers ready, generation 1, 1 slot stopped");
    assert_eq!((slot(&run, 0).as_str(), slot(&run, 1).as_str()), ("ready", "stopped"));
    assert!(asked(&run, &["stop", "app:1"], 0).contains("slot 1 is stopped already"));

    let crashed = run.worker_pids()[0];
    kill(Pid::from_raw(i32::try_from(crashed).unwrap()), Signal::SIGKILL).unwrap();
    run.said_times(3, "is ready after");
    for words in [&["reload", "app"][..], &["restart", "app"]] {
        assert!(asked(&run, words, 0).contains("; slot 1 stays stopped"), "{words:?}");
    }
    asked(&run, &["reset", "app"], 0);
    assert_eq!((slot(&run, 1).as_str(), run.left_behind().len()), ("stopped", 1));

    let started = asked(&run, &["start", "app:1"], 0);
    assert!(
        started.contains("worker 1 started … ready") && started.contains("slot 1 was started"),
        "{started}"
    );
    run.told("STATUS=2/2 workers ready, generation 3");
    assert_eq!((slot(&run, 1).as_str(), run.left_behind().len()), ("ready", 2));
    assert!(asked(&run, &["stop", "app:2"], 3).contains("there is no slot 2"));
    run.stop();
}

#[test]
fn connections_wait_while_the_only_slot_is_stopped_and_the_supervisor_goes_on() {
    let run = ready(&WORKERS.replace("workers = 2", "workers = 1"));
    let stopped = asked(&run, &["stop", "app:0"], 0);
    assert!(stopped.contains("slot 0 is stopped; no worker is ready now"), "{stopped}");
    assert_eq!((state(&run)["state"].as_str(), run.left_behind().len()), (Some("down"), 0));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run.get("/"));
        assert!(harness::wait_until(|| state(&run)["queues"][0]["waiting"] == 1), "{}", state(&run));
        assert!(asked(&run, &["restart", "app:0"], 0).contains("slot 0 was started"));
        waiting.join().unwrap();
    });
    run.stop();
}

#[test]
fn a_worker_that_does_not_hear_its_stop_is_killed_and_the_verdict_says_so() {
    let run = ready(
        &format!("{WORKERS}stop.timeout = '300ms'").replace("'--notify'", "'--notify', '--ignore-term'"),
    );
    let stopped = asked(&run, &["stop", "app:0"], 0);
    assert_eq!(
        stopped,
        "stop app: done: slot 0 is stopped; its worker did not leave in time and was killed\n"
    );
    assert_eq!(run.left_behind().len(), 1);
    run.stop();
}
