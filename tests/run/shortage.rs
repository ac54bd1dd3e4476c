//! When the machine has no more to give: fewer workers, a clear word, and all of them once there is room again.

use std::collections::BTreeSet;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Run, Stage, is_root};

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

/// The soft limit of open files of a running process.
fn allow_files(run: &Run, files: usize) {
    let (pid, limit) = (run.pid().to_string(), format!("--nofile={files}:"));
    let out = Command::new("prlimit").args([&limit, "--pid", &pid]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
}

/// A limit of open files with which it can open just so many more.
fn files_for(run: &Run, more: usize) -> usize {
    let open: BTreeSet<usize> = std::fs::read_dir(format!("/proc/{}/fd", run.pid()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    (0..).filter(|fd| !open.contains(fd)).nth(more).unwrap()
}

/// `ganger status --json`; null while nobody answers.
fn status(run: &Run) -> serde_json::Value {
    serde_json::from_slice(&run.client(&["status", "app", "--json"]).stdout).unwrap_or_default()
}

fn end(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn f20_descriptors_taken_away_while_it_runs_stop_nobody_and_are_missed_once() {
    let check = "[health]\nexec = ['true']\ninterval = '100ms'\nfailures = 1\n";
    let config =
        format!("command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 3\n{RETRY}{check}");
    let mut run = Stage::new(&config).managed().start();
    run.told("STATUS=3/3 workers ready");
    let before = run.worker_pids();
    // Room for one client, and for nothing that it asks for.
    allow_files(&run, files_for(&run, 1));
    run.configure(&config.replace("workers = 3", "workers = 4"));
    let out = run.client(&["reload", "app"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(said.contains("oo many open files"), "{said}");
    assert_eq!(run.worker_pids(), before);

    run.said("workers' health is not asked for");
    end(before[0]);
    run.said("could not be started for want of resources");
    assert!(before[1..].contains(&run.get("/pid").parse().unwrap()), "those that live serve");
    run.signal(Signal::SIGHUP);
    run.said("reload failed: a new worker in slot 0 could not be started for want of resources");
    let attempts = || status(&run)["slots"][0]["restarts"].as_u64().unwrap_or(0);
    assert!(harness::wait_until(|| attempts() > 10));
    // Once after the death, and once for each reload.
    assert!(run.count("warning: worker 0 could not be started") <= 3, "it is said once");
    assert!(run.count("starts its next worker in") <= 4, "it is said once");

    allow_files(&run, 1000);
    run.said("slot 0 has room again");
    assert!(harness::wait_until(|| run.worker_pids().len() == 3));
    let after = run.worker_pids();
    assert_eq!(after[1..], before[1..], "healthy workers were replaced");
    assert_eq!(run.count("panicked"), 0);
    assert!(run.client(&["reload", "app"]).status.success());
    assert_eq!(run.worker_pids().len(), 4);
    run.stop();
}

#[test]
fn f20_a_stop_without_any_descriptor_leaves_nothing_either() {
    let config = "command = ['@WORKER@', '--notify', '--double-fork']\nlisten = ['127.0.0.1:0']\nworkers = 3";
    let run = Stage::new(config).managed().start();
    run.told("STATUS=3/3 workers ready");
    allow_files(&run, 3);
    end(run_any_worker(&run));
    run.said("could not be started for want of resources");
    run.stop();
    assert_eq!(run.count("panicked"), 0);
}

#[test]
fn f20_what_a_worker_left_when_no_descriptor_was_is_killed_once_there_is_one() {
    let config = format!(
        "command = ['@WORKER@', '--notify', '--double-fork']\nlisten = ['127.0.0.1:0']\nworkers = 1\n{RETRY}"
    );
    let run = Stage::new(&config).managed().start();
    run.told("STATUS=1/1 workers ready");
    let worker = run.worker_pids();
    let wandered = || run.left_behind().into_iter().find(|pid| !worker.contains(pid));
    assert!(harness::wait_until(|| wandered().is_some()));
    let wandered = wandered().unwrap();
    let is_there = || run.left_behind().contains(&wandered);
    allow_files(&run, files_for(&run, 0));
    end(worker[0]);
    run.said("could not be started for want of resources");
    assert!(is_there(), "it cannot be known for what it is");
    allow_files(&run, 1000);
    assert!(harness::wait_until(|| !is_there()));
    run.stop();
}

/// The pid of a worker, asked of itself: the supervisor cannot answer.
fn run_any_worker(run: &Run) -> u32 {
    run.get("/pid").parse().unwrap()
}

#[test]
fn f20_processes_denied_while_it_runs_fail_a_reload_with_the_reason() {
    if !is_root("a limit of processes for a user of its own") {
        return;
    }
    let config = format!(
        "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\n{RETRY}\
         [health]\nexec = ['true']\ninterval = '100ms'\nfailures = 1\n"
    );
    let stage = Stage::new(&config).unprivileged(&["prlimit", "--nproc=100:1000", "--core=0"]);
    let limit = |files: &str| stage.as_its_user(&["prlimit", &format!("--nproc={files}:1000"), "--pid"]);
    let (mut lower, mut raise) = (limit("1"), limit("1000"));
    let run = stage.managed().start();
    run.told("STATUS=2/2 workers ready");
    let before = run.worker_pids();
    assert!(lower.arg(run.pid().to_string()).output().unwrap().status.success());
    run.said("workers' health is not asked for");
    let out = run.client(&["reload", "app"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(said.contains("want of resources: failed to start a process: try again"), "{said}");
    assert_eq!(run.worker_pids(), before);
    end(before[0]);
    run.said("slot 0 starts its next worker in");
    assert_eq!(run.get("/pid"), before[1].to_string(), "those that live serve");
    assert!(raise.arg(run.pid().to_string()).output().unwrap().status.success());
    assert!(harness::wait_until(|| run.worker_pids().len() == 2));
    assert_eq!(run.worker_pids()[1], before[1], "a healthy worker was replaced");
    assert_eq!(run.count("panicked"), 0);
    run.stop();
}

/// A figure of `/proc/PID/status`, in bytes.
fn memory(run: &Run, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn f20_with_hardly_any_memory_left_it_outlives_deaths_reloads_floods_and_crowds() {
    let config =
        format!("command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 3\n{RETRY}");
    let run = Stage::new(&config).managed().start();
    run.told("STATUS=3/3 workers ready");
    // Once, so that what it keeps for good is there.
    assert!(run.client(&["reload", "app"]).status.success());
    let limit = format!("--as={}:", memory(&run, "VmSize") + (4 << 20));
    let out = Command::new("prlimit").args([&limit, "--pid", &run.pid().to_string()]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let idle: Vec<_> = (0..300)
        .map_while(|_| std::os::unix::net::UnixStream::connect(run.path("ganger/app/private")).ok())
        .collect();
    let flood = std::os::unix::net::UnixDatagram::unbound().unwrap();
    for _ in 0..2_000 {
        // One that is refused for its size or its sender is what is meant.
        let _ = flood.send_to(&[b'X'; 100_000], run.path("ganger/app/notify"));
    }
    end(run_any_worker(&run));
    run.said("killed by signal 9");
    drop(idle);
    for _ in 0..5 {
        let out = run.client(&["reload", "app"]);
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(run.worker_pids().len(), 3);
    assert_eq!(run.count("panicked"), 0);
    run.stop();
}

/// A command in front of ganger's that runs `before`, in a mount namespace of its own.
fn after(before: &str) -> Vec<String> {
    let script = format!("set -e; {before}; exec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

fn wrapped(stage: Stage, words: &[String]) -> Stage {
    stage.wrapped(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_log_on_a_full_disk_stops_neither_a_worker_nor_a_reload() {
    let config =
        format!("command = ['@WORKER@', '--notify']\nlisten = ['unix:@DIR@/socket']\nworkers = 2\n{RETRY}");
    let full = ["sh", "-c", "exec \"$@\" >/dev/full 2>&1", "sh"];
    let run = Stage::new(&config).wrapped(&full).managed().start();
    run.told("STATUS=2/2 workers ready");
    let socket = run.path("socket").display().to_string();
    for _ in 0..3 {
        end(crate::stage::get(&socket, "/pid").parse().unwrap());
        assert!(run.client(&["reload", "app"]).status.success());
        assert!(!crate::stage::get(&socket, "/").is_empty());
    }
    run.told("generation 4");
    assert!(harness::wait_until(|| run.worker_pids().len() == 2));
    run.stop();
}

#[test]
fn a_runtime_directory_without_room_is_named_and_one_that_is_full_will_do() {
    if !is_root("a file system that is full") {
        return;
    }
    let config = "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 1";
    for (inodes, socket) in [(1, "notify"), (2, "private")] {
        let mount = format!("mount -t tmpfs -o nr_inodes={inodes} none \"$RUNTIME_DIRECTORY\"");
        let run = wrapped(Stage::new(config), &after(&mount)).start();
        assert_eq!(run.ended(), "exit 1", "{socket}");
        let path = run.path("ganger/app").join(socket).display().to_string();
        let said = run.said("o space left on device");
        assert!(said.contains(&path), "{said}");
        assert_eq!(run.count("panicked"), 0);
    }
    let fill = "mount -t tmpfs -o size=64k none \"$RUNTIME_DIRECTORY\"; \
                ! head -c 1M /dev/zero 2>/dev/null >\"$RUNTIME_DIRECTORY/filling\"";
    let run = wrapped(Stage::new(config), &after(fill)).managed().start();
    run.told("STATUS=1/1 workers ready");
    end(run_any_worker(&run));
    run.said_times(2, "is ready after");
    run.signal(Signal::SIGHUP);
    run.said("reloaded: ");
    run.stop();
}

fn descriptors(run: &Run) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

#[test]
fn f20_whichever_descriptor_of_a_birth_is_refused_none_is_left_over() {
    let config = format!(
        "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\nlog.stdout = 'file:@DIR@/out'\n\
         log.stderr = 'file:@DIR@/err'\n{RETRY}limit.interval = 'off'\n[health]\nexec = ['true']\ninterval = '100ms'\n"
    );
    let run = Stage::new(&config).managed().start();
    run.told("STATUS=2/2 workers ready");
    let all_ready = || status(&run)["ready"] == 2;
    let before = descriptors(&run);
    let tried = || run.count("could not be started") + run.count("is ready after");
    let mut refused = 0;
    for free in 0..14 {
        let pid = run.worker_pids()[0];
        // A client or a health check that has just left may hold one for a moment longer: then one more is free.
        allow_files(&run, files_for(&run, free));
        let (earlier, failures) = (tried(), run.count("could not be started"));
        end(pid);
        assert!(harness::wait_until(|| tried() > earlier), "{free}");
        refused += usize::from(run.count("could not be started") > failures);
        allow_files(&run, 1000);
        assert!(harness::wait_until(all_ready), "{free}");
    }
    eprintln!("{refused} of 14 limits refused a birth");
    assert!((3..14).contains(&refused), "{refused}: the last ones are enough, the first ones are not");
    assert!(harness::wait_until(|| descriptors(&run) == before), "{} and {before}", descriptors(&run));
    assert_eq!(run.count("panicked"), 0);
    run.stop();
}
