//! Verbs that speak to a supervisor: what they show, what they ask for, and how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ganger::dbus::{Ask, Notice, Origin, Wish};
use ganger::pool::{Command, Outcome, ScaleTo, Slot, Verdict};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::broadcast;

use crate::fake::{Ended, ended, ganger, replaced, run, verdict, while_served};

fn served(script: crate::fake::Script, words: &'static [&'static str]) -> Ended {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    while_served(root.path(), script, move || run(&path, words))
}

fn never(_: &Ask, _: &broadcast::Sender<Notice>) -> Option<Verdict> {
    None
}

fn done(_: &Ask, notices: &broadcast::Sender<Notice>) -> Option<Verdict> {
    replaced(notices);
    Some(verdict(Outcome::Done, "generation 2 serves"))
}

#[test]
fn status_shows_the_app_and_its_workers() {
    let shown = served(never, &["status", "--user", "api"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.contains("api   serving  1/1"), "{}", shown.out);
    assert!(shown.out.contains("127.0.0.1:3000") && shown.out.contains("pid 4000001"), "{}", shown.out);
}

#[test]
fn the_users_own_app_answers_without_the_flag() {
    for words in [&["status", "api"][..], &["reload", "--wait", "api"]] {
        let shown = served(done, words);
        assert_eq!(shown.code, Some(0), "{words:?}: {shown:?}");
    }
}

#[test]
fn where_the_locale_knows_ascii_only_views_are_drawn_in_it_and_json_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let script: crate::fake::Script = |_, notices| {
        replaced(notices);
        Some(verdict(Outcome::Done, "été"))
    };
    while_served(root.path(), script, move || {
        let shown = |locale: &str, words: &[&str]| {
            let ended = ended(ganger(&path, words).env("LC_ALL", locale).env("LANG", "C.UTF-8"));
            assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
            ended.out
        };
        let status = ["status", "--user", "api"];
        assert!(shown("C.UTF-8", &status).contains("\n└─ 0  ready"));
        let ascii = shown("C", &status);
        assert!(ascii.is_ascii() && ascii.contains("\n`- 0  ready"), "{ascii}");
        assert!(shown("POSIX", &["list", "--user"]).is_ascii());
        let reload = shown("C", &["reload", "--user", "api"]);
        assert!(reload.starts_with("worker 0 started > ready 1.4s > old drained"), "{reload}");
        let json = shown("C", &["reload", "--user", "--json", "api"]);
        assert!(json.contains("été"), "{json}");
    });
}

#[test]
fn list_shows_what_runs_and_json_can_be_read_back() {
    let shown = served(never, &["list", "--user", "--json"]);
    let apps: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(apps[0]["app"], "api");
    assert_eq!(apps[0]["workers"][0]["memory"], 157_286_400);
}

#[test]
fn a_reload_shows_its_progress_and_ends_with_the_verdict() {
    let shown = served(done, &["reload", "--wait", "--user", "api"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(lines[0].starts_with("worker 0 started … ready 1.4s … old drained"), "{}", shown.out);
    assert_eq!(lines[1], "reload api: done: generation 2 serves");
}

#[test]
fn a_failed_reload_is_exit_code_1_and_names_the_worker() {
    let script: crate::fake::Script = |_, _| Some(verdict(Outcome::Failed, "worker 0 exited with status 3"));
    let shown = served(script, &["reload", "--user", "api"]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    let expected = "ganger: reload api: failed: worker 0 exited with status 3\n  what it said: ganger --user logs api:0, or where ganger run writes\n";
    assert_eq!(shown.err, expected);
}

#[test]
fn a_verdict_of_several_lines_is_shown_as_lines_that_steer_no_terminal() {
    let script: crate::fake::Script =
        |_, _| Some(verdict(Outcome::Refused, "not valid\napi.toml:2:1: error\x1b[2J\n  2 | x"));
    let shown = served(script, &["reload", "--user", "api"]);
    let lines = "ganger: reload api: refused: not valid\napi.toml:2:1: error·[2J\n  2 | x\n";
    assert_eq!((shown.code, shown.err.as_str()), (Some(1), lines));
    let json: serde_json::Value =
        serde_json::from_str(&served(script, &["reload", "--user", "--json", "api"]).out).unwrap();
    assert!(json["message"].as_str().unwrap().contains("not valid\napi.toml"), "{json}");
}

#[test]
fn each_outcome_has_its_exit_code() {
    let partly: crate::fake::Script = |_, _| Some(verdict(Outcome::Partly, "1 of 2"));
    assert_eq!(served(partly, &["scale", "--user", "api", "+1"]).code, Some(7));
    let missing: crate::fake::Script = |_, _| Some(verdict(Outcome::NotFound, "no slot 9"));
    assert_eq!(served(missing, &["restart", "--user", "api:9"]).code, Some(3));
}

#[test]
fn every_verb_asks_for_what_was_typed() {
    let scale: crate::fake::Script = |ask, _| {
        let wanted = Wish::Command(Command::Scale { to: ScaleTo::Down(2) });
        Some(verdict(if ask.wish == wanted { Outcome::Done } else { Outcome::Refused }, ""))
    };
    assert_eq!(served(scale, &["scale", "--user", "api", "-2"]).code, Some(0));
    let signal: crate::fake::Script = |ask, _| {
        let wanted = Wish::Command(Command::Signal { slot: Some(Slot(3)), signal: 10 });
        Some(verdict(if ask.wish == wanted { Outcome::Done } else { Outcome::Refused }, ""))
    };
    assert_eq!(served(signal, &["signal", "--user", "api:3", "USR1"]).code, Some(0));
    let send: crate::fake::Script = |ask, _| {
        let wanted = Wish::Send { slot: None, json: "{\"a\":1}".into() };
        Some(verdict(if ask.wish == wanted { Outcome::Done } else { Outcome::Refused }, ""))
    };
    assert_eq!(served(send, &["send", "--user", "api", "{\"a\":1}"]).code, Some(0));
}

#[test]
fn a_reload_by_the_service_manager_is_told_from_one_by_a_person() {
    let script: crate::fake::Script = |ask, _| {
        let by_manager = matches!(ask.wish, Wish::Reload { origin: Origin::ExecReload });
        Some(verdict(if by_manager { Outcome::Done } else { Outcome::Refused }, ""))
    };
    assert_eq!(served(script, &["reload", "--user", "api"]).code, Some(1));
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let by_manager = while_served(root.path(), script, move || {
        ended(ganger(&path, &["reload", "--user", "api"]).env("MAINPID", "1").env("INVOCATION_ID", "00"))
    });
    assert_eq!(by_manager.code, Some(0), "{by_manager:?}");
}

#[test]
fn a_deadline_that_passes_is_exit_code_6() {
    let shown = served(never, &["reload", "--user", "--timeout", "100ms", "api"]);
    assert_eq!(shown.code, Some(6), "{shown:?}");
    assert_eq!(shown.out, "no verdict within 100ms: the reload of api goes on\n");
}

#[test]
fn without_waiting_the_command_is_done_when_it_has_asked() {
    let shown = served(never, &["reload", "--user", "--no-wait", "--json", "api"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let answer: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(answer["outcome"], "asked");
}

#[test]
fn ctrl_c_detaches_and_the_reload_goes_on() {
    let script: crate::fake::Script = |_, notices| {
        replaced(notices);
        None
    };
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let (code, rest) = while_served(root.path(), script, move || {
        let mut child = ganger(&path, &["reload", "--user", "--timeout", "30s", "api"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        // The first line of progress: now it waits for the verdict.
        out.read_line(&mut first).unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        (child.wait().unwrap().code(), rest)
    });
    assert_eq!(code, Some(6));
    assert_eq!(rest, "detached: the reload of api goes on\n");
}

#[test]
fn events_are_lines_and_end_when_nobody_reads_them() {
    // Asking for anything makes the played supervisor tell something.
    let script: crate::fake::Script = |_, notices| {
        replaced(notices);
        Some(verdict(Outcome::Done, ""))
    };
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let line = while_served(root.path(), script, move || {
        let mut child =
            ganger(&path, &["events", "--user", "--json", "api"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let _ = sender.send(line);
        });
        // Until the listener is there, what is told is lost: tell it again.
        let line = loop {
            run(&path, &["reset", "--user", "api"]);
            if let Ok(line) = lines.try_recv() {
                break line;
            }
        };
        reader.join().unwrap();
        // The pipe is closed now; the next event ends the program.
        while child.try_wait().unwrap().is_none() {
            run(&path, &["reset", "--user", "api"]);
        }
        line
    });
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let told = event["event"].as_str().unwrap();
    assert!(told == "reload-started" || told.starts_with("worker-"), "{line}");
}

#[test]
fn events_end_with_their_reader_also_when_nothing_happens() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let code = while_served(root.path(), never, move || {
        let mut child = ganger(&path, &["events", "--user", "api"]).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        child.wait().unwrap().code()
    });
    assert_eq!(code, Some(0));
}

#[test]
fn logs_of_a_slot_that_there_is_not_are_no_success() {
    let root = tempfile::tempdir().unwrap();
    let program = |journalctl: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = root.path().join("journalctl");
        std::fs::write(&file, format!("#!/bin/sh\n{journalctl}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let logs = |target: &'static str| {
        let path = root.path().to_owned();
        move || {
            ended(
                ganger(&path, &["logs", "--user", target])
                    .env("PATH", format!("{}:/usr/bin:/bin", path.display())),
            )
        }
    };
    program("case \"$*\" in *--lines=1*) ;; *) echo asked;; esac");
    let none = while_served(root.path(), never, logs("api:7"));
    let said =
        "ganger: there is no slot 7 of api, and the journal has no lines of one\n  the slots are 0 to 0\n";
    assert_eq!((none.code, none.err.as_str(), none.out.as_str()), (Some(3), said, ""));
    let there = while_served(root.path(), never, logs("api:0"));
    assert_eq!((there.code, there.out.as_str()), (Some(0), "asked\n"), "{there:?}");
    // Nobody is there to say which slots there are.
    let stopped = logs("api:7")();
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(0), "asked\n"), "{stopped:?}");
    // It had one once.
    program("echo 'a line'");
    let former = while_served(root.path(), never, logs("api:7"));
    assert_eq!((former.code, former.out.as_str()), (Some(0), "a line\n"), "{former:?}");
}

#[test]
fn a_slot_is_stopped_and_started_by_the_supervisor_and_not_by_systemctl() {
    let script: crate::fake::Script = |ask, _| {
        let slot = Slot(1);
        Some(if ask.wish == Wish::Command(Command::StopSlot { slot }) {
            verdict(Outcome::Done, "slot 1 is stopped; its worker did not leave in time and was killed")
        } else if ask.wish == Wish::Command(Command::StartSlot { slot }) {
            verdict(Outcome::Partly, "the worker in slot 1 exited with status 3; it will be tried again")
        } else {
            verdict(Outcome::NotFound, "there is no slot 7: the slots are 0 to 1")
        })
    };
    let stopped = served(script, &["stop", "--user", "api:1"]);
    let lines = "stop api: done: slot 1 is stopped; its worker did not leave in time and was killed\n";
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(0), lines), "{stopped:?}");
    assert_eq!(served(script, &["start", "--user", "api:1"]).code, Some(7));
    // The first that is not done ends it.
    let several = served(script, &["stop", "--user", "api:1", "api:7", "api:1"]);
    assert_eq!((several.code, several.out.as_str()), (Some(3), lines), "{several:?}");
    assert!(several.err.ends_with("ganger: no stop was asked for api:1\n"), "{several:?}");
    let asked = served(never, &["stop", "--user", "--no-wait", "api:0"]);
    assert_eq!((asked.code, asked.out.as_str()), (Some(0), "stop api:0: asked\n"), "{asked:?}");
    let json: serde_json::Value =
        serde_json::from_str(&served(script, &["stop", "--user", "--json", "api:1"]).out).unwrap();
    assert_eq!(json["outcome"], "done", "{json}");
}

#[test]
fn whole_apps_and_slots_are_not_started_or_stopped_in_one() {
    for words in
        [&["stop", "api", "api:1"][..], &["start", "--json", "api"], &["stop", "--timeout=1s", "api"]]
    {
        let root = tempfile::tempdir().unwrap();
        let refused = run(root.path(), words);
        assert_eq!(refused.code, Some(2), "{words:?}: {refused:?}");
    }
}

#[test]
fn a_supervisor_that_is_not_there_is_told_from_an_unknown_app() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("home/.config/ganger");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("api.toml"), "command = [\"true\"]\n").unwrap();
    let known = run(root.path(), &["--user", "reload", "api"]);
    assert_eq!(known.code, Some(5), "{known:?}");
    assert!(known.err.contains("start it: ganger --user start api"), "{}", known.err);
    let unknown = run(root.path(), &["--user", "reload", "apo"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.err.contains("did you mean api?"), "{}", unknown.err);
}

#[test]
fn a_supervisor_that_takes_no_more_connections_is_not_told_to_be_down() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("run/ganger/api");
    std::fs::create_dir_all(&directory).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(directory.join("private")).unwrap();
    let is_full = Arc::new(AtomicBool::new(true));
    let full = Arc::clone(&is_full);
    let door = std::thread::spawn(move || {
        // Whoever is turned away asks again: the first one who is let in is one of those.
        let mut turned_away = 0;
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            if turned_away > 0 && !full.load(Ordering::Relaxed) {
                break;
            }
            stream.write_all(b"ERROR \"too many connections\"\r\n").unwrap();
            turned_away = if full.load(Ordering::Relaxed) { 0 } else { turned_away + 1 };
        }
    });
    let status = run(root.path(), &["status", "--user", "api"]);
    assert_eq!(status.code, Some(5), "{status:?}");
    let expected = "the supervisor of api runs, but takes no more connections from you now";
    assert!(status.err.contains(expected) && !status.err.contains("start"), "{}", status.err);
    let list = run(root.path(), &["list", "--user"]);
    assert!(list.out.contains("runs, but takes no more connections from you now"), "{}", list.out);
    // One that leaves in the middle of the handshake is no more "down" than that.
    is_full.store(false, Ordering::Relaxed);
    let gone = run(root.path(), &["status", "--user", "api"]);
    assert!(gone.err.contains("went away"), "{}", gone.err);
    door.join().unwrap();
}

#[test]
fn a_supervisor_that_goes_away_ends_the_waiting() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let script: crate::fake::Script = |_, notices| {
        replaced(notices);
        None
    };
    let child = while_served(root.path(), script, move || {
        let mut child = ganger(&path, &["reload", "--user", "--timeout", "30s", "api"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        child
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("ganger: the supervisor of api went away"), "{err}");
}
