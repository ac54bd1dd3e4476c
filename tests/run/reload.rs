//! Reloads: what changes, what stays when the new generation is no good, and who is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Run, Stage};

const REST: &str = "listen = ['127.0.0.1:0']\nworkers = 2\n[reload]\nbake = '0s'\n";

fn ready(config: &str) -> Run {
    let run = Stage::new(config).start();
    run.said("info: ready");
    run
}

fn reload(run: &Run) -> Output {
    run.client(&["reload", "--wait", "app"])
}

/// The verdict as a client prints it.
fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn end(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

/// A living process's environment.
fn environ(pid: u32) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let pairs = bytes.split(|byte| *byte == 0).filter_map(|pair| {
        let pair = String::from_utf8_lossy(pair).into_owned();
        pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

#[test]
fn f01_no_kind_of_bad_deploy_touches_the_old_workers() {
    let worker = "command = ['@WORKER@', '--notify']\n";
    let good = format!("{worker}{REST}");
    let mut run = ready(&good);
    let before = run.worker_pids();
    let with = |option: &str| good.replace("'--notify'", &format!("'--notify', {option}"));
    for (deploy, words) in [
        (with("'--crash-before-ready', '--exit-code', '9'"), "exited with status 9"),
        (with("'--crash-before-ready', '--exit-code', '0'"), "exited with status 0"),
        (format!("{}\n[ready]\ntimeout = '200ms'", with("'--never-ready'")), "not ready within 200ms"),
        (with("'--exit-after', '100', '--exit-code', '8'").replace("'0s'", "'10s'"), "exited with status 8"),
        (good.replace(worker, "command = ['/no/such/interpreter']\n"), "/no/such/interpreter"),
        (good.replace(worker, "command = ['true']\ndirectory = '@DIR@/gone'\n"), "gone"),
        (good.replace("workers = 2", "workers = 'many'"), "workers"),
        (format!("{good}nonsense"), "app.toml"),
        (format!("{good}colour = 1"), "colour"),
    ] {
        run.configure(&deploy);
        let out = reload(&run);
        assert_eq!(out.status.code(), Some(1), "{deploy}\n{}", text(&out));
        assert!(text(&out).contains(words), "{deploy}\n{}", text(&out));
        assert_eq!(run.worker_pids(), before, "{deploy}");
        assert_eq!(run.get("/gen"), "1", "{deploy}");
    }
    run.configure(&good);
    assert!(reload(&run).status.success(), "a good deploy still works");
    run.stop();
}

#[test]
fn a_reload_that_fails_where_nobody_was_ready_does_not_say_that_the_old_generation_serves() {
    let config = format!(
        "command = ['@WORKER@', '--notify', '--crash-before-ready', '--exit-code', '9']\n{REST}\
         [restart]\nbackoff = {{ initial = '60s', max = '60s' }}\n"
    );
    let run = Stage::new(&config).start();
    run.said_times(2, "starts its next worker in ");
    let out = reload(&run);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("; generation 1 stays, without a ready worker"), "{}", text(&out));
    run.said("; generation 1 stays, without a ready worker");
    run.stop();
}

#[test]
fn a_deadline_passes_also_before_the_supervisor_answers_and_nothing_was_asked_then() {
    let run = ready(&format!("command = ['@WORKER@', '--notify']\n{REST}"));
    run.signal(Signal::SIGSTOP);
    let out = run.client(&["reload", "app", "--timeout=300ms"]);
    run.signal(Signal::SIGCONT);
    assert_eq!(out.status.code(), Some(6), "{}", text(&out));
    let words = "the supervisor of app did not answer within 300ms: reload was not asked for";
    assert!(text(&out).contains(words), "{}", text(&out));
    assert!(reload(&run).status.success());
    assert_eq!(run.count("reloading to generation"), 1, "the one that was asked for");
    run.stop();
}

#[test]
fn a_reload_that_waits_for_another_shows_its_own_workers_only() {
    let run = ready(&format!("command = ['@WORKER@', '--notify']\n{REST}").replace("'0s'", "'500ms'"));
    let spawn = || {
        let mut client = run.client_command(&["reload", "app"]);
        client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = spawn();
    run.said("reloading to generation 2");
    let second = spawn();
    run.said("reloading to generation 3");
    for (client, generation) in [(first, 2), (second, 3)] {
        let out = client.wait_with_output().unwrap();
        let shown = text(&out);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        for (slot, line) in lines[..2].iter().enumerate() {
            assert!(line.starts_with(&format!("worker {slot} started … ")), "{shown}");
            assert!(line.contains(" … old drained "), "{shown}");
        }
        assert!(lines[2].contains(&format!("generation {generation}")), "{shown}");
    }
    run.stop();
}

#[test]
fn f14_old_workers_are_replaced_by_old_ones_while_a_reload_is_stuck() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}[restart]\nmin-uptime = '1ms'\n");
    let mut run = ready(&good);
    let before = run.worker_pids();
    run.configure(&good.replace("'--notify'", "'--never-ready'"));
    let mut client = run.client_command(&["reload", "app"]).stderr(Stdio::piped()).spawn().unwrap();
    run.said("reloading to generation 2");
    run.said_times(3, "started");
    for (pid, ready) in before.iter().zip(3..) {
        end(*pid);
        run.said_times(ready, "is ready after");
        assert_eq!(run.get("/gen"), "1");
    }
    assert!(client.try_wait().unwrap().is_none(), "the reload is still stuck");
    run.stop();
    let told = client.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    let words = "ganger: reload app: stopped: the pool was stopped on the way to generation 2";
    assert!(text(&told).contains(words), "{}", text(&told));
    run.said(&words.replace("ganger: reload app: stopped", "reload given up"));
}

#[test]
fn f15_an_old_worker_is_born_again_in_the_old_release_with_the_old_command_and_environment() {
    let config = |version: &str| {
        format!(
            "command = ['sh', '-c', 'test -e broken && exit 1; exec @WORKER@ --notify --status {version}']\n\
             directory = '@DIR@/current'\n{REST}[restart]\nmin-uptime = '1ms'\n[env]\nVERSION = '{version}'"
        )
    };
    let stage = Stage::new(&config("one"));
    let (one, two, current) = (stage.path("one"), stage.path("two"), stage.path("current"));
    std::fs::create_dir(&one).unwrap();
    std::fs::create_dir(&two).unwrap();
    std::os::unix::fs::symlink(&one, &current).unwrap();
    let mut run = stage.start();
    run.said("info: ready");

    std::fs::write(two.join("broken"), "").unwrap();
    std::fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(&two, &current).unwrap();
    run.configure(&config("two"));
    assert_eq!(reload(&run).status.code(), Some(1));

    let cwd = |pid: u32| std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    let version = |pid: u32| environ(pid).remove("VERSION").unwrap();
    let told = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().ends_with(b"one\0");
    end(run.worker_pids()[0]);
    run.said_times(3, "is ready after");
    for pid in run.worker_pids() {
        assert_eq!((cwd(pid), version(pid).as_str(), told(pid)), (one.clone(), "one", true));
    }

    std::fs::remove_file(two.join("broken")).unwrap();
    let out = reload(&run);
    assert!(out.status.success(), "{}", text(&out));
    for pid in run.worker_pids() {
        assert_eq!((cwd(pid), version(pid).as_str(), told(pid)), (two.clone(), "two", false));
    }
    run.stop();
}

#[test]
fn f29_after_a_reload_the_environment_is_exactly_the_new_one() {
    let config =
        |env: &str| format!("command = ['@WORKER@', '--notify']\nenv-file = '@DIR@/env'\n{REST}[env]\n{env}");
    let stage = Stage::new(&config("KEPT = '1'\nCHANGED = 'old'\nREMOVED = 'x'"));
    std::fs::write(stage.path("env"), "FROM_FILE=old\nGONE_FROM_FILE=x\n").unwrap();
    let mut run = stage.start();
    run.said("info: ready");
    let mut expected = environ(run.worker_pids()[0]);
    assert_eq!(expected.get("REMOVED").map(String::as_str), Some("x"));

    run.configure(&config("KEPT = '1'\nCHANGED = 'new'\nADDED = 'y'"));
    std::fs::write(run.path("env"), "FROM_FILE=new\n").unwrap();
    let out = reload(&run);
    assert!(out.status.success(), "{}", text(&out));
    let mut found = environ(run.worker_pids()[0]);
    for (name, value) in
        [("CHANGED", "new"), ("ADDED", "y"), ("FROM_FILE", "new"), ("GANGER_GENERATION", "2")]
    {
        expected.insert(name.to_owned(), value.to_owned());
    }
    expected.remove("REMOVED");
    expected.remove("GONE_FROM_FILE");
    for own in ["LISTEN_PID", "GANGER_WORKER_ID"] {
        assert_ne!(expected.remove(own), found.remove(own), "{own} is each worker's own");
    }
    assert_eq!(found, expected);
    run.stop();
}

#[test]
fn a_change_of_the_addresses_is_said_to_wait_for_a_restart() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}");
    let mut run = ready(&good);
    let address = run.address();
    run.configure(&good.replace("['127.0.0.1:0']", "['127.0.0.1:0', '@DIR@/more']"));
    let out = reload(&run);
    assert!(out.status.success());
    let waits = "listen was changed: that takes effect at the next restart";
    assert!(text(&out).contains(&format!("; {waits}")), "{}", text(&out));
    run.said(waits);
    assert_eq!(run.address(), address);
    assert_eq!(run.get("/gen"), "2");
    run.stop();
}

#[test]
fn a_change_of_the_addresses_is_said_to_be_void_where_the_sockets_were_passed() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut run = Stage::new(&good).sockets(vec![("web", socket.into())]).managed().start();
    run.told("STATUS=2/2 workers ready");
    run.configure(&good.replace("['127.0.0.1:0']", "['127.0.0.1:0', '@DIR@/more']"));
    let out = reload(&run);
    assert!(out.status.success());
    let void = "listen was changed: that changes nothing, the .socket unit opens the sockets";
    assert!(text(&out).contains(&format!("; {void}")), "{}", text(&out));
    run.said(void);
    assert_eq!(run.count("next restart"), 0);
    run.stop();
}

#[test]
fn a_reload_follows_a_changed_number_of_workers() {
    let config = |workers: u32| {
        format!("command = ['@WORKER@', '--notify']\n{REST}").replace("= 2", &format!("= {workers}"))
    };
    let mut run = ready(&config(2));
    for workers in [4, 1, 3] {
        run.configure(&config(workers));
        let out = reload(&run);
        assert!(out.status.success(), "{}", text(&out));
        assert_eq!(run.worker_pids().len(), workers as usize);
    }
    run.stop();
}

#[test]
fn f07_no_more_than_the_surge_is_ever_there_beyond_the_number() {
    let config = format!("command = ['@WORKER@', '--notify']\n{REST}").replace("workers = 2", "workers = 4");
    let run = ready(&config);
    assert!(reload(&run).status.success());
    run.stop();
    // Each start of the second generation follows the end of all but one of the former.
    let mut living: i32 = 0;
    for line in run.all(crate::stage::From::Log) {
        living += i32::from(line.contains(" started (pid "));
        living -= i32::from(line.contains(" is gone: "));
        assert!(living <= 5, "{line}");
    }
}

/// Starts so many clients at once.
fn clients(run: &Run, count: usize) -> Vec<Child> {
    let start = |_| {
        let mut command = run.client_command(&["reload", "--wait", "app"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    (0..count).map(start).collect()
}

#[test]
fn f20_reloads_asked_for_at_the_same_time_all_get_a_verdict_and_are_few() {
    let run = ready(&format!("command = ['@WORKER@', '--notify', '--ready-after', '50']\n{REST}"));
    for out in clients(&run, 20).into_iter().map(|child| child.wait_with_output().unwrap()) {
        assert!(out.status.success(), "{}", text(&out));
    }
    let generation: u32 = run.get("/gen").parse().unwrap();
    assert!((2..=21).contains(&generation), "{generation}");
    run.stop();
}

#[test]
fn a_reload_during_another_leads_to_the_newest_configuration() {
    let config = |mark: &str| {
        format!("command = ['@WORKER@', '--notify', '--ready-after', '300']\n{REST}[env]\nMARK = '{mark}'")
    };
    let mut run = ready(&config("first"));
    run.configure(&config("second"));
    let first = clients(&run, 1);
    run.said("reloading to generation 2");
    run.configure(&config("third"));
    let second = clients(&run, 1);
    for child in first.into_iter().chain(second) {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", text(&out));
    }
    for pid in run.worker_pids() {
        assert_eq!(environ(pid).get("MARK").map(String::as_str), Some("third"));
    }
    run.stop();
}

#[test]
fn f16_a_client_that_waits_is_told_when_the_supervisor_stops() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}");
    let mut run = ready(&good);
    run.configure(&good.replace("'--notify'", "'--never-ready'"));
    let client = clients(&run, 1);
    run.said("reloading to generation 2");
    run.stop();
    for child in client {
        let out = child.wait_with_output().unwrap();
        assert_ne!(out.status.code(), Some(0), "{}", text(&out));
        assert!(!text(&out).is_empty());
    }
}

#[test]
fn f16_a_client_that_waits_is_told_when_the_supervisor_is_killed() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}");
    let mut run = ready(&good);
    run.configure(&good.replace("'--notify'", "'--never-ready'"));
    let client = clients(&run, 1);
    run.said("reloading to generation 2");
    run.signal(Signal::SIGKILL);
    for child in client {
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(5), "{}", text(&out));
    }
}

#[test]
fn a_line_of_the_configuration_is_for_the_caller_and_the_log_and_not_for_everyone_who_looks() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}");
    let mut run = Stage::new(&good).managed().start();
    run.said("info: ready");
    let mut events = run.client_command(&["events", "app"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(events.stdout.take().unwrap()).lines().map_while(Result::ok);
    while run.client(&["restart", "app:0"]).status.success() && told.next().is_none() {}
    run.configure(&good.replace("command = [", "command = ['--token=hush', 5, "));
    let out = text(&reload(&run));
    assert!(out.contains("hush") && out.contains("put it in quotes"), "{out}");
    run.said("hush");
    let is_kept = |said: &str| said.contains("app.toml:1:28") && !said.contains("hush");
    let status = text(&run.client(&["status", "app"]));
    assert!(is_kept(&status), "{status}");
    let json = text(&run.client(&["status", "app", "--json"]));
    assert!(is_kept(&json) && json.contains("put it in quotes"), "{json}");
    let manager = run.told("the configuration is not valid, nothing is changed: ");
    assert!(is_kept(&manager), "{manager}");
    run.configure(&good);
    run.stop();
    let _ = events.wait();
    let events: Vec<String> = told.collect();
    let refused = events.join("\n");
    assert!(refused.contains("reload-refused") && is_kept(&refused), "{refused}");
}

#[test]
fn a_refused_reload_is_what_everyone_is_told_of_the_last_one() {
    let good = format!("command = ['@WORKER@', '--notify']\n{REST}");
    let mut run = Stage::new(&good).managed().start();
    run.said("info: ready");
    let mut events = run.client_command(&["events", "app"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(events.stdout.take().unwrap()).lines().map_while(Result::ok);
    // It is listening once it shows something.
    while run.client(&["restart", "app:0"]).status.success() && told.next().is_none() {}

    run.configure(&format!("{good}colour = 1"));
    let out = reload(&run);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("reload app: refused: the configuration is not valid"), "{}", text(&out));
    let status = |run: &Run| text(&run.client(&["status", "app"]));
    assert!(
        status(&run).contains("last reload: refused ") && status(&run).contains("colour"),
        "{}",
        status(&run)
    );
    run.told("the configuration is not valid, nothing is changed: ");
    let event = told.find(|line| line.starts_with("reload-refused"));
    assert!(event.unwrap().contains("colour"));

    run.configure(&good);
    assert!(reload(&run).status.success());
    assert!(status(&run).contains("last reload: done"), "{}", status(&run));
    let restarted = text(&run.client(&["restart", "app"]));
    assert!(restarted.contains("restart app: done: all workers were restarted: generation 3"), "{restarted}");
    run.said("restarting all workers, as generation 3");
    run.stop();
    let _ = events.wait();
}

#[test]
fn a_wish_that_is_refused_stands_in_the_log_behind_who_asked() {
    let run = Stage::new("command = ['@WORKER@']\nlisten = ['127.0.0.1:0']\nworkers = 1").start();
    run.said("info: ready");
    let refused = run.client(&["scale", "app", "+4096"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    run.said("scaling up by 4096 workers was asked for by user ");
    run.said("warning: scaling up by 4096 workers was refused: 4097 workers are more than the 4096 that ");
    assert!(run.client(&["scale", "app", "2"]).status.success());
    assert_eq!(run.count(" was refused: "), 1);
    run.stop();
}
