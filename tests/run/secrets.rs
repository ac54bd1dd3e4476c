//! What a worker is told in confidence stays with the worker.

use std::fs;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{From, Run, Stage};

/// In the configuration, in a file of variables, and in ganger's own environment.
const CANARIES: [&str; 3] = ["canary-in-the-table", "canary-in-the-file", "canary-of-ganger"];

const CONFIG: &str = "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\n\
                      env-file = ['@DIR@/variables']\nenv.TOKEN = 'canary-in-the-table'\n";

/// What clients and the file system show of it now.
fn shown(run: &Run) -> String {
    let mut shown = String::new();
    let verbs: [&[&str]; 8] = [
        &["status", "app"],
        &["status", "app", "--json"],
        &["list"],
        &["list", "--json"],
        &["reload", "app", "--json"],
        &["restart", "app:0"],
        &["scale", "app", "3", "--json"],
        &["reset", "app", "--json"],
    ];
    for words in verbs {
        let out = run.client(words);
        shown += &format!("{words:?}: {out:?}\n{}", String::from_utf8_lossy(&out.stdout));
    }
    for entry in fs::read_dir(run.path("ganger/app")).unwrap().flatten() {
        // Sockets cannot be read.
        shown += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default());
    }
    for file in ["cmdline", "comm", "status"] {
        shown += &fs::read_to_string(format!("/proc/{}/{file}", run.pid())).unwrap();
    }
    shown
}

fn events(run: &Run) -> Child {
    run.client_command(&["events", "app", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn f30_what_is_in_a_workers_environment_is_shown_to_nobody() {
    let mut stage = Stage::new(CONFIG).env("OWN", CANARIES[2]).env("GANGER_DEBUG", "1").managed();
    fs::write(stage.path("variables"), format!("FILE={}\n", CANARIES[1])).unwrap();
    stage.configure(CONFIG);
    let mut run = stage.start();
    run.told("STATUS=2/2 workers ready");
    let environment = run.get("/env");
    CANARIES.iter().for_each(|canary| assert!(environment.contains(canary), "{canary}: {environment}"));

    let mut events = events(&run);
    let mut all = shown(&run);
    kill(Pid::from_raw(i32::try_from(run.worker_pids()[0]).unwrap()), Signal::SIGKILL).unwrap();
    run.said("killed by signal 9");
    // A deploy that fails, and one that cannot even be read.
    run.configure(&CONFIG.replace("'@WORKER@'", "'/missing'"));
    all += &format!("{:?}", run.client(&["reload", "app", "--json"]));
    run.configure(&CONFIG.replace("env.TOKEN = '", "env.TOKEN = ["));
    all += &format!("{:?}", run.client(&["reload", "app"]));
    all += &shown(&run);
    run.stop();
    let mut told = String::new();
    std::io::Read::read_to_string(events.stdout.as_mut().unwrap(), &mut told).unwrap();
    events.wait().unwrap();
    assert!(told.lines().count() > 3, "{told}");
    all += &told;
    let log = [From::Log, From::Out, From::Manager].iter().flat_map(|from| run.all(*from));
    all += &log.collect::<Vec<_>>().join("\n");
    CANARIES.iter().for_each(|canary| assert!(!all.contains(canary), "{canary} is shown in\n{all}"));
}
