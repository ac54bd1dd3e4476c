//! When the machine has no more to give: fewer workers, a clear word, and all of them once there is room again.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Stage, is_root};

const RETRY: &str = "[restart]\nbackoff = { initial = '50ms', max = '200ms' }\n";

#[test]
fn f20_too_many_processes_leave_a_degraded_pool_that_recovers() {
    if !is_root("a limit of processes for a user of its own") {
        return;
    }
    let config =
        format!("command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 6\n{RETRY}");
    // ganger itself is two threads.
    let stage = Stage::new(&config).unprivileged(&["prlimit", "--nproc=5:1000"]);
    let mut raise = stage.as_its_user(&["prlimit", "--nproc=1000:1000", "--pid"]);
    let run = stage.managed().start();
    run.said("could not be started for want of resources: failed to start a process: try again");
    run.said("is ready after");
    assert_eq!(run.get("/gen"), "1", "those that live serve");
    let degraded = || {
        let status = run.client(&["status", "app"]);
        String::from_utf8_lossy(&status.stdout).contains("degraded")
    };
    assert!(harness::wait_until(degraded));
    let out = raise.arg(run.pid().to_string()).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    run.told("STATUS=6/6 workers ready");
    assert_eq!(run.count("panicked"), 0);
    assert_eq!(run.count("has failed"), 0, "want of room is no failure of the program");
    run.stop();
}

#[test]
fn f20_too_few_descriptors_leave_a_degraded_pool_that_recovers() {
    let config =
        format!("command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 20\n{RETRY}");
    let run = Stage::new(&config).wrapped(&["prlimit", "--nofile=30:30"]).managed().start();
    run.said("could not be started for want of resources");
    run.said("too many open files");
    run.said("is ready after");
    assert_eq!(run.get("/gen"), "1", "those that live serve");
    let out = run.client(&["scale", "app", "2"]);
    assert!(out.status.success(), "{out:?}");
    run.told("STATUS=2/2 workers ready");
    kill(Pid::from_raw(i32::try_from(run.worker_pids()[0]).unwrap()), Signal::SIGKILL).unwrap();
    run.said("killed by signal 9");
    assert!(harness::wait_until(|| run.worker_pids().len() == 2), "there is room for a successor");
    assert_eq!(run.get("/gen"), "1");
    assert_eq!(run.count("panicked"), 0);
    run.stop();
}

#[test]
fn f20_a_start_with_hardly_any_descriptor_fails_with_its_reason() {
    let config = "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 1";
    for files in 4..=12 {
        let run = Stage::new(config).wrapped(&["prlimit", &format!("--nofile={files}:{files}")]).start();
        assert!(run.ended().starts_with("exit ") && run.ended() != "exit 0", "{files}");
        assert!(harness::wait_until(|| run.count("oo many open files") > 0), "{files}");
        assert_eq!(run.count("panicked"), 0, "{files}");
    }
}

#[test]
fn clients_that_take_every_descriptor_stop_nobody() {
    let config =
        format!("command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\n{RETRY}");
    let run = Stage::new(&config).wrapped(&["prlimit", "--nofile=40:40"]).start();
    run.said("info: ready");
    let socket = run.path("ganger/app/private");
    let idle: Vec<_> =
        (0..200).map_while(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    assert_eq!(run.get("/gen"), "1");
    let pid: u32 = run.get("/pid").parse().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    run.said("killed by signal 9");
    drop(idle);
    run.said_times(3, "is ready after");
    assert!(harness::wait_until(|| run.client(&["status", "app"]).status.success()));
    run.stop();
}
