//! Signals to the supervisor, the end of it all, and what must not be left then.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{From, Run, Stage, is_root};

const WORKERS: &str =
    "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\nreload.bake = '0s'\n";

fn ready(config: &str) -> Run {
    let run = Stage::new(config).start();
    run.said("info: ready");
    run
}

#[test]
fn every_signal_that_means_stop_ends_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let run = ready(WORKERS);
        run.signal(signal);
        assert_eq!(run.ended(), "exit 0", "{signal}");
        assert_eq!(run.left_behind(), [] as [u32; 0], "{signal}");
        assert!(!run.path("ganger/app/private").exists(), "{signal}: the private socket is still there");
        assert!(!run.path("ganger/app/notify").exists(), "{signal}: the notify socket is still there");
    }
}

#[test]
fn a_run_in_the_foreground_takes_the_runtime_directory_away_that_it_made_and_no_other() {
    let foreground = |config: &str| {
        let stage = Stage::new(config).args(&["--user"]).env("XDG_RUNTIME_DIR", "@DIR@/xdg");
        stage.wrapped(&["env", "-u", "RUNTIME_DIRECTORY"]).start()
    };
    let run = foreground(WORKERS);
    run.said("info: ready");
    let app = run.path("xdg/ganger/app");
    assert!(app.join("private").exists());
    run.stop();
    assert!(!app.exists() && run.path("xdg/ganger").exists());

    let failed = foreground(&WORKERS.replace("127.0.0.1:0", "192.0.2.1:1"));
    assert_eq!(failed.ended(), "exit 1");
    assert!(!failed.path("xdg/ganger/app").exists());

    let stage = Stage::new(WORKERS).args(&["--user"]).env("XDG_RUNTIME_DIR", "@DIR@/xdg");
    std::fs::create_dir_all(stage.path("xdg/ganger/app")).unwrap();
    let run = stage.wrapped(&["env", "-u", "RUNTIME_DIRECTORY"]).start();
    run.said("info: ready");
    run.stop();
    assert!(run.path("xdg/ganger/app").exists(), "it was there before");
}

#[test]
fn a_second_interrupt_does_not_wait() {
    let run =
        ready(&format!("{WORKERS}stop.timeout = '1h'").replace("'--notify'", "'--notify', '--ignore-term'"));
    run.signal(Signal::SIGINT);
    run.said_times(2, "is asked to leave");
    run.signal(Signal::SIGINT);
    run.said_times(2, "is gone");
    assert_eq!(run.ended(), "exit 0");
    assert_eq!(run.left_behind(), [] as [u32; 0]);
}

#[test]
fn f36_a_worker_that_ignores_its_stop_signal_is_killed_after_the_timeout() {
    let run = ready(
        &format!("{WORKERS}stop.timeout = '300ms'").replace("'--notify'", "'--notify', '--ignore-term'"),
    );
    run.stop();
    assert_eq!(run.count("did not leave in time and is killed"), 2);
}

#[test]
fn f36_a_frozen_worker_is_killed_after_the_timeout() {
    let run = ready(&format!("{WORKERS}stop.timeout = '300ms'"));
    for pid in run.worker_pids() {
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGSTOP).unwrap();
    }
    run.stop();
}

#[test]
fn f36_children_in_sessions_of_their_own_are_gone_after_a_stop() {
    let run = ready(&WORKERS.replace("'--notify'", "'--notify', '--double-fork'"));
    let two_workers_and_what_each_left = || run.left_behind().len() == 4;
    assert!(harness::wait_until(two_workers_and_what_each_left), "{:?}", run.left_behind());
    run.stop();
}

#[test]
fn f36_children_in_sessions_of_their_own_go_with_a_worker_that_crashes() {
    let run = ready(&WORKERS.replace("'--notify'", "'--notify', '--double-fork'"));
    let pid = run.worker_pids()[1];
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    run.said_times(3, "is ready after");
    assert!(harness::wait_until(|| run.left_behind().len() == 4), "{:?}", run.left_behind());
    run.stop();
}

#[test]
fn f36_a_daemon_that_hides_its_descent_is_gone_after_a_stop() {
    let seconds = format!("1000.{}", std::process::id());
    let config = format!(
        "command = ['sh', '-c', 'env -i setsid -f sleep {seconds}; exec @WORKER@ --notify']\n\
         listen = ['127.0.0.1:0']\nworkers = 1"
    );
    let run = ready(&config);
    let sleeping = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let wanted = format!("sleep\0{seconds}\0");
        lines.filter(|line| *line == wanted.as_bytes()).count()
    };
    assert!(harness::wait_until(|| sleeping() == 1));
    run.stop();
    assert_eq!(sleeping(), 0);
}

#[test]
fn a_signal_for_the_workers_is_forwarded_to_each() {
    let script = r#"
import os, signal, socket
def heard(number, _):
    os.write(1, f"heard {signal.Signals(number).name}\n".encode())
signal.signal(signal.SIGUSR1, heard)
signal.signal(signal.SIGUSR2, heard)
s = socket.socket(fileno=3)
while True:
    signal.pause() if s.getblocking() is None else s.setblocking(True) or s.accept()
"#;
    let stage = Stage::new("command = ['python3', '@DIR@/hear.py']\nlisten = ['127.0.0.1:0']\nworkers = 2");
    std::fs::write(stage.path("hear.py"), script).unwrap();
    let run = stage.start();
    run.said("info: ready");
    let heard = |count, text: &str| {
        run.until(From::Out, text, |line| line == text);
        assert!(harness::wait_until(
            || run.all(From::Out).iter().filter(|line| *line == text).count() == count
        ));
    };
    run.signal(Signal::SIGUSR1);
    heard(2, "heard SIGUSR1");
    run.signal(Signal::SIGUSR2);
    heard(2, "heard SIGUSR2");
    let out = run.client(&["signal", "app:1", "USR1"]);
    assert!(out.status.success(), "{out:?}");
    heard(3, "heard SIGUSR1");
    run.stop();
}

#[test]
fn a_storm_of_signals_ends_as_the_last_one_wishes() {
    let run = ready(WORKERS);
    for _ in 0..300 {
        run.signal(Signal::SIGHUP);
        run.signal(Signal::SIGCHLD);
    }
    assert_eq!(run.get("/slot").len(), 1, "it still serves");
    for _ in 0..100 {
        run.signal(Signal::SIGTERM);
        run.signal(Signal::SIGHUP);
    }
    assert_eq!(run.ended(), "exit 0");
    assert_eq!(run.left_behind(), [] as [u32; 0]);
    assert_eq!(run.count("panicked"), 0);
}

/// ganger as process 1 of a container, found by its parent, the launcher.
fn container(config: &str) -> Option<(Run, Pid)> {
    if !is_root("ganger as process 1 of a container") {
        return None;
    }
    let run = Stage::new(config)
        .wrapped(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"])
        .start();
    run.said("info: ready");
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    let first = std::fs::read_to_string(children).unwrap();
    let init = Pid::from_raw(first.trim().parse().unwrap());
    Some((run, init))
}

#[test]
fn f26_as_process_1_it_stops_on_a_signal() {
    let Some((run, init)) = container(WORKERS) else { return };
    kill(init, Signal::SIGHUP).unwrap();
    run.said("reloaded: generation 2");
    kill(init, Signal::SIGTERM).unwrap();
    assert_eq!(run.ended(), "exit 0");
    assert_eq!(run.left_behind(), [] as [u32; 0]);
}

#[test]
fn f26_as_process_1_it_reaps_ten_thousand_orphans_and_takes_none_for_a_worker() {
    let script = r#"
import os
for _ in range(100):
    child = os.fork()
    if child == 0:
        for _ in range(100):
            if os.fork() == 0:
                os._exit(3)
        os._exit(0)
    os.waitpid(child, 0)
os.execv("@WORKER@", ["worker", "--notify"])
"#;
    let stage = Stage::empty();
    let script = script.replace("@WORKER@", harness::example("worker").to_str().unwrap());
    std::fs::write(stage.path("fork.py"), script).unwrap();
    let config = format!(
        "command = ['/usr/bin/python3', '-ISE', '{}']\nlisten = ['127.0.0.1:0']\nworkers = 1\nready.timeout = '5min'",
        stage.path("fork.py").display()
    );
    let Some((run, init)) = container(&config) else { return };
    let children = format!("/proc/{init}/task/{init}/children");
    let count = || std::fs::read_to_string(&children).unwrap().split_whitespace().count();
    assert!(harness::wait_until(|| count() == 1), "{} children", count());
    assert_eq!(run.count("worker 0 started"), 1);
    assert_eq!(run.count("exited"), 0);
    kill(init, Signal::SIGTERM).unwrap();
    assert_eq!(run.ended(), "exit 0");
}

#[test]
fn a_stop_during_the_start_ends_in_order() {
    let run = Stage::new(&WORKERS.replace("--notify", "--never-ready")).managed().start();
    run.said_times(2, "started");
    run.stop();
    assert!(!run.all(From::Manager).iter().any(|text| text.contains("READY=1")));
    run.told("STOPPING=1");
}

#[test]
fn f17_clients_that_all_want_something_else_each_get_an_answer() {
    let run = ready(WORKERS);
    let wishes: [&[&str]; 6] = [
        &["reload", "app"],
        &["scale", "app", "3"],
        &["restart", "app"],
        &["status", "app"],
        &["signal", "app:0", "CONT"],
        &["reset", "app"],
    ];
    let clients: Vec<_> = (0..24)
        .map(|number| {
            let mut command = run.client_command(wishes[number % wishes.len()]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for client in clients {
        let out = client.wait_with_output().unwrap();
        let code = out.status.code().unwrap();
        // Done, or superseded by another's wish; never lost, never in the dark.
        assert!([0, 1, 7].contains(&code), "{out:?}");
        assert!(code == 0 || !out.stderr.is_empty(), "{out:?}");
    }
    let out = run.client(&["scale", "app", "1"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(run.worker_pids().len(), 1, "the last wish holds");
    assert_eq!(run.left_behind().len(), 1, "no process outside of the model");
    run.stop();
}
