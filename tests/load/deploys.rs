//! Deploys that are broken: the old generation goes on serving as if nothing had been tried.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use nix::sys::signal::Signal;

use super::app::{App, cooperating, row, send, worker};

const WORKERS: u32 = 3;
const BAKE: &str = "[reload]\nbake = \"400ms\"";

/// A broken configuration, and what the answer of `ganger reload` says about it.
struct Broken {
    what: &'static str,
    config: String,
    says: &'static str,
}

fn config(command: &str, more: &str) -> String {
    format!(
        "command = {command}\nworkers = {WORKERS}\n{more}\n{BAKE}\n\
         [ready]\nwhen = \"notify\"\ntimeout = \"1s\""
    )
}

fn options(options: &[&str]) -> String {
    config(&worker(&[&["--notify"], options].concat()), "")
}

fn broken(dead_link: &str, sick: &str) -> Vec<Broken> {
    let case = |what, config, says| Broken { what, config, says };
    vec![
        case(
            "throws at boot",
            options(&["--crash-before-ready", "--exit-code", "7"]),
            "exited with status 7",
        ),
        case(
            "exits with 0 at boot",
            options(&["--crash-before-ready", "--exit-code", "0"]),
            "exited with status 0",
        ),
        case("hangs before it is ready", options(&["--never-ready"]), "was not ready within 1s"),
        case(
            "crashes after it was ready",
            options(&["--exit-after", "200", "--exit-code", "9"]),
            "exited with status 9",
        ),
        case(
            "answers its health check with 500",
            options(&[]) + &format!("\n[health]\nhttp = \"{sick}\"\ninterval = \"100ms\"\nfailures = 1\n"),
            "failed its health checks",
        ),
        case(
            "fails its health command",
            options(&[]) + "\n[health]\nexec = [\"false\"]\ninterval = \"100ms\"\nfailures = 1\n",
            "failed its health checks",
        ),
        case("is no TOML", "command = [\"".to_owned(), "not valid"),
        case(
            "has a key that is unknown",
            options(&[]) + "\nretries = 3\n",
            // Shown as the compiler would: the line, and where in it.
            "\n  9 | retries = …\n    | ^^^^^^^ ",
        ),
        case("lacks its interpreter", config("[\"/nonexistent/node\", \"x.js\"]", ""), "/nonexistent/node"),
        case(
            "has a directory that leads nowhere",
            config(&worker(&["--notify"]), &format!("directory = \"{dead_link}\"")),
            "current",
        ),
    ]
}

/// Answers every request with 500, for as long as the test process lives.
fn sick_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    // Only slot 0 is ever tried.
    format!("http://127.0.0.1:{{{port}+slot}}/healthz")
}

#[test]
fn f01_a_bad_deploy_changes_nothing_and_says_so() {
    let app = App::start(&cooperating(WORKERS, BAKE));
    std::os::unix::fs::symlink("/nonexistent/release", app.path("current")).unwrap();
    let before = app.ready_pids();
    assert_eq!(before.len(), 3);
    let running = app.load().start();
    let short = app.load().close_each().connections(4).start();
    running.wait_for_answers(100);
    let dead_link = app.path("current");
    for case in broken(dead_link.to_str().unwrap(), &sick_server()) {
        let what = case.what;
        app.configure(&case.config);
        let peak = app.watch_children();
        let answer = app.ask("reload", &[]);
        let most = peak.most();
        eprintln!("{what}: exit status {:?}, {}", answer.code(), answer.said.lines().last().unwrap_or(""));
        assert_eq!(answer.code(), Some(1), "a deploy that {what}: {}", answer.said);
        assert!(answer.said.contains(case.says), "a deploy that {what} is not explained: {}", answer.said);
        assert_eq!(app.ready_pids(), before, "a deploy that {what} touched the old generation");
        // One worker on trial, and a health command that asks it.
        assert!(most <= 5, "a deploy that {what}: {most} processes");
        let status = app.status();
        assert_eq!((&status["state"], &status["generation"]), (&"serving".into(), &1.into()), "{what}");
    }
    // The last one never came to a worker.
    assert_eq!(app.status()["last_reload"]["outcome"], "refused");
    let (running, short) = (running.stop(), short.stop());
    row("P2", "10 kinds of broken deploys, one after the other", &[&running, &short]);
    running.assert_nothing_lost(1_000);
    short.assert_nothing_lost(100);
    app.configure(&cooperating(WORKERS, BAKE));
    app.ask("reload", &[]).done();
    app.stop();
}

#[test]
fn f14_f15_old_workers_that_die_during_a_stuck_reload_come_back_from_their_own_release() {
    let config = |directory: &str, more: &str| {
        let command = worker(&["--notify", "--grace", "200"]);
        format!(
            "command = {command}\nworkers = 3\ndirectory = \"{directory}\"\n[restart]\nmin-uptime = \"1ms\"\n\
             [reload]\nbake = \"50ms\"\n[ready]\nwhen = \"notify\"\ntimeout = \"10min\"\n{more}"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let release = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    };
    let (first, second) = (release("releases/1"), release("releases/2"));
    let current = folder.path().join("current");
    std::os::unix::fs::symlink(&first, &current).unwrap();
    let directory = current.to_str().unwrap();
    let app = App::start(&config(directory, ""));
    let running = app.load().close_each().start();
    running.wait_for_answers(50);

    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(&second, &current).unwrap();
    app.configure(&config(directory, "[env]\nWORKER_NEVER_READY = \"1\""));
    let mut reload = app.command("reload", &[]).spawn().unwrap();
    let is_new = |worker: &serde_json::Value| worker["generation"] == 2;
    app.wait_for_status(|status| status["workers"].as_array().unwrap().iter().any(is_new));
    let old = app.ready_pids();
    for pid in &old {
        send(*pid, Signal::SIGKILL);
        app.wait_for_status(|status| {
            let workers = status["workers"].as_array().unwrap();
            let gone = workers.iter().all(|worker| worker["pid"] != *pid);
            gone && status["ready"] == 3
        });
    }
    let status = app.status();
    let (new, back): (Vec<_>, Vec<_>) =
        status["workers"].as_array().unwrap().iter().partition(|worker| is_new(worker));
    assert_eq!((new.len(), back.len()), (1, 3), "{status:#}");
    let place = |worker: &serde_json::Value| {
        fs::read_link(format!("/proc/{}/cwd", super::app::pid_of(worker))).unwrap()
    };
    for worker in &back {
        assert!(!old.contains(&super::app::pid_of(worker)) && worker["generation"] == 1, "{status:#}");
        assert_eq!(place(worker), first);
    }
    assert_eq!(place(new[0]), second);

    send(super::app::pid_of(new[0]), Signal::SIGKILL);
    assert_eq!(reload.wait().unwrap().code(), Some(1));
    app.configure(&config(directory, ""));
    app.ask("reload", &[]).done();
    let report = running.stop();
    row("P2, P3", "3 old workers killed during a reload that is stuck", &[&report]);
    // Each kill may cost what the worker had in its hands.
    assert!(report.lost() <= 3 * 8, "{report}");
    for worker in app.status()["workers"].as_array().unwrap() {
        assert_eq!(place(worker), second);
    }
    app.stop();
}
