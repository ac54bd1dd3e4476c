//! Workers that die: replaced, slowed down, given up, each without a sibling's noticing.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Run, Stage};

fn end(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

fn two_workers(more: &str) -> Run {
    let run = Stage::new(&format!(
        "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\n{more}"
    ))
    .start();
    run.said("info: ready");
    run
}

#[test]
fn a_crashed_worker_is_replaced_at_once_and_its_sibling_keeps_its_pid() {
    let run = two_workers("restart.min-uptime = '1ms'");
    let before = run.worker_pids();
    end(before[1], Signal::SIGABRT);
    run.said("worker 1 killed by signal 6 (ABRT)");
    run.said_times(3, "is ready after");
    let after = run.worker_pids();
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    assert_eq!(run.count("starts its next worker in"), 0);
    run.stop();
}

/// What the client shows of a restart of slot 0, whose old worker does not obey its stop signal, and whose drain is
/// ended by `ended` (else by the timeout).
fn restart_shows(stop: &str, ended: Option<Signal>) -> (Run, String) {
    let run = Stage::new(&format!(
        "command = ['@WORKER@', '--notify', '--ignore-term']\nlisten = ['127.0.0.1:0']\n\
         reload.bake = '0s'\nstop.timeout = '{stop}'"
    ))
    .start();
    run.said("info: ready");
    let old = *run.worker_pids().first().unwrap();
    let mut client = run.client_command(&["restart", "app:0"]);
    let client = client.stdout(Stdio::piped()).spawn().unwrap();
    run.said("worker 0 is asked to leave");
    if let Some(signal) = ended {
        end(old, signal);
    }
    let out = client.wait_with_output().unwrap();
    assert!(out.status.success(), "how the old one ended is no failure of the restart: {out:?}");
    run.signal(Signal::SIGINT);
    run.said_times(2, "is asked to leave");
    run.signal(Signal::SIGINT);
    run.ended();
    (run, String::from_utf8(out.stdout).unwrap())
}

#[test]
fn a_worker_that_crashes_while_it_drains_is_told_of_with_why_and_how() {
    let (run, shown) = restart_shows("1h", Some(Signal::SIGABRT));
    assert!(shown.contains("old crashed (SIGABRT)\n"), "{shown}");
    let why = "worker 0 is gone: it was restarted by request, and was killed by signal 6 (ABRT)";
    let told = run.said(why);
    assert!(told.contains("warning: "), "{told}");
}

#[test]
fn a_worker_that_does_not_leave_in_time_is_shown_as_killed_not_as_drained() {
    let (run, shown) = restart_shows("300ms", None);
    assert!(shown.contains("old killed after ") && !shown.contains("drained"), "{shown}");
    // It was killed because it did not leave; that was told when it was.
    run.said("worker 0 did not leave in time and is killed");
    run.said("worker 0 is gone: it was restarted by request (pid");
}

#[test]
fn f13_a_crash_loop_backs_off_fails_its_slot_and_leaves_the_sibling_alone() {
    // Slot 1 always dies just after it was ready.
    let config = r#"
command = ['sh', '-c', 'if [ $GANGER_WORKER = 1 ]; then exec @WORKER@ --notify --exit-after 10 --exit-code 3; fi; exec @WORKER@ --notify']
listen = ['127.0.0.1:0']
workers = 2
[restart]
backoff = { initial = '20ms', factor = 2, max = '80ms', jitter = '0%' }
limit = { burst = 5, interval = '1min' }
"#;
    let run = Stage::new(config).start();
    let failed = run.said("slot 1 has failed");
    assert!(failed.contains("exited with status 3"), "{failed}");
    let waits: Vec<String> = run
        .all(crate::stage::From::Log)
        .iter()
        .filter_map(|line| line.split("starts its next worker in ").nth(1).map(str::to_owned))
        .collect();
    assert_eq!(waits, ["20ms", "40ms", "80ms", "80ms", "80ms"]);
    assert_eq!(run.count("worker 0 started"), 1, "the sibling was never touched");
    assert_eq!(run.get("/slot"), "0");
    let status = run.client(&["status", "app"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("degraded") && text.contains("exited with status 3"), "{text}");
    run.stop();
}

#[test]
fn a_failed_slot_starts_again_after_a_reset() {
    let config = "command = ['sh', '-c', 'test -e @DIR@/fixed || test $GANGER_WORKER = 1 || exit 1; exec @WORKER@ --notify']\n\
         listen = ['127.0.0.1:0']\nworkers = 2\n\
         [restart]\nretry = 'off'\nbackoff.initial = '1ms'\nbackoff.max = '1ms'\nlimit.burst = 3";
    let run = Stage::new(config).start();
    run.said("slot 0 has failed");
    std::fs::write(run.path("fixed"), "").unwrap();
    let out = run.client(&["reset", "app"]);
    assert!(out.status.success(), "{out:?}");
    run.said("worker 0 is ready");
    run.stop();
}

#[test]
fn when_every_slot_has_failed_the_service_fails_if_told_so() {
    let config = "command = ['sh', '-c', 'exit 7']\nlisten = ['127.0.0.1:0']\nworkers = 2\n\
         [restart]\nall-failed = 'exit'\nbackoff.initial = '1ms'\nbackoff.max = '1ms'\nlimit.burst = 2";
    let run = Stage::new(config).managed().start();
    assert_eq!(run.ended(), "exit 1");
    run.said("every slot has failed; the worker in slot 0 exited with status 7");
    run.told("EXIT_STATUS=1");
}

#[test]
fn with_policy_never_a_failed_worker_fails_the_service() {
    let config =
        "command = ['sh', '-c', 'exit 7']\nlisten = ['127.0.0.1:0']\nworkers = 1\nrestart.policy = 'never'";
    let run = Stage::new(config).start();
    assert_eq!(run.ended(), "exit 1");
    run.said("exited with status 7");
    assert_eq!(run.count("worker 0 started"), 1);
}

#[test]
fn with_policy_on_failure_a_worker_that_is_done_is_not_replaced_and_a_failed_one_is() {
    let config = "command = ['sh', '-c', 'test -e @DIR@/second && exit 0; touch @DIR@/second; exit 1']\n\
         listen = ['127.0.0.1:0']\nworkers = 1\nrestart.policy = 'on-failure'\nrestart.backoff.initial = '1ms'";
    let run = Stage::new(config).start();
    assert_eq!(run.ended(), "exit 0");
    assert_eq!(run.count("worker 0 started"), 2);
}

#[test]
fn a_request_in_flight_is_all_that_a_crash_costs() {
    let run = two_workers("restart.min-uptime = '1ms'");
    for _ in 0..5 {
        let pid: u32 = run.get("/pid").parse().unwrap();
        let ready = run.count("is ready after");
        end(pid, Signal::SIGKILL);
        // Answered by the sibling or the successor; refused or reset by nobody.
        assert!(run.get("/pid").parse::<u32>().is_ok());
        run.said_times(ready + 1, "is ready after");
    }
    run.stop();
}
