//! `--inspect`: every worker has an inspector, also one that comes while its predecessor has the slot's port.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::app::{App, ganger, newest, prepared, versions};
use crate::stage::{From, Run};

const SERVER: &str = "
require('http').createServer((_, response) => response.end('ok')).listen(process.env.PORT);";

/// A port that is free, and four behind it.
fn base() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap() + 20_000;
    let next = || first + NEXT.fetch_add(5, Ordering::Relaxed);
    std::iter::repeat_with(next).find(|base| (*base..base + 5).all(is_free)).unwrap()
}

/// Of the ports from `base` on, inspectors said that they listen on `places`; on the `living` ones they still do.
#[track_caller]
fn inspectors(run: &Run, base: u16, places: &[u16], living: &[u16]) {
    let lines = run.all(From::Log);
    let said = lines
        .iter()
        .filter_map(|line| line.split_once("Debugger listening on ws://127.0.0.1:")?.1.split_once('/'));
    let mut said: Vec<u16> = said.map(|(port, _)| port.parse::<u16>().unwrap() - base).collect();
    said.sort_unstable();
    assert_eq!(said, places, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("Starting inspector")), "{lines:?}");
    for place in living {
        TcpStream::connect(("127.0.0.1", base + place)).unwrap();
    }
}

/// Reloads twice; after the second time the workers have their slots' own ports again.
#[track_caller]
fn reloads(app: App, base: u16) {
    let run = app.serve();
    inspectors(&run, base, &[0, 1], &[0, 1]);
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    inspectors(&run, base, &[0, 1, 2, 3], &[2, 3]);
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    inspectors(&run, base, &[0, 0, 1, 1, 2, 3], &[0, 1]);
    run.stop();
}

#[test]
fn each_worker_of_a_new_generation_has_an_inspector() {
    for version in versions() {
        let base = base();
        let config = format!(
            "command = ['node', '--inspect={base}', 'server.js']\nlisten = ['127.0.0.1:0']\nworkers = 2"
        );
        reloads(App::with(&version, &config).file("server.js", SERVER), base);
    }
}

#[test]
fn node_options_name_the_port_as_well() {
    for quote in ["", "\""] {
        let base = base();
        let options = format!("env.NODE_OPTIONS = '--inspect={quote}127.0.0.1:{base}{quote}'");
        reloads(App::new(&newest(), SERVER).configured(&options), base);
    }
}

#[test]
fn a_worker_behind_a_script_has_an_inspector_of_its_own() {
    let base = base();
    let config = "command = ['sh', 'start.sh']\nlisten = ['127.0.0.1:0']\nworkers = 2\nprotocol = 'node'";
    let app = App::with(&newest(), config)
        .file("start.sh", "node --inspect server.js\nexit $?")
        .file("server.js", SERVER)
        .configured(&format!("env.NODE_OPTIONS = '--inspect-port={base}'"));
    reloads(app, base);
}

#[test]
fn a_package_manager_leaves_the_inspector_to_the_app() {
    let base = base();
    let config = "command = ['npm', '--prefix', 'api', 'start']\nlisten = ['127.0.0.1:0']\nworkers = 2";
    let path = format!("{}:{}", prepared(&["managers"]).join(".bin").display(), crate::app::path(&newest()));
    let app = App::with(&newest(), config)
        .env("PATH", &path)
        .env("HOME", "@DIR@")
        .file(
            "api/package.json",
            r#"{ "name": "api", "version": "1.0.0", "scripts": { "start": "node server.js" } }"#,
        )
        .file("api/server.js", &format!("console.log(`inspector ${{require('inspector').url()}}`);{SERVER}"))
        .configured(&format!("env.NODE_OPTIONS = '--inspect={base}'"));
    let run = app.serve();
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    let lines = [run.all(From::Out), run.all(From::Log)].concat();
    let has = |place: u16| {
        lines.iter().any(|line| line.contains(&format!("inspector ws://127.0.0.1:{}/", base + place)))
    };
    assert!((0..4).all(has), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("Starting inspector")), "{lines:?}");
    run.stop();
}

#[test]
fn a_program_of_a_package_that_serves_itself_has_its_inspector_back() {
    let server = "
const server = require('http').createServer((_, response) => response.end('ok'));
server.listen(process.env.PORT, () => console.log(`inspector ${require('inspector').url()}`));";
    for version in versions() {
        let base = base();
        let config = "command = ['sh', '-c', 'node node_modules/web/cli.cjs; exit $?']\nlisten = ['127.0.0.1:0']\n\
                      workers = 2\nprotocol = 'node'";
        let app = App::with(&version, config)
            .file("node_modules/web/cli.cjs", server)
            .configured(&format!("env.NODE_OPTIONS = '--inspect={base}'"));
        let run = app.serve();
        for place in [0, 1] {
            let wanted = format!("inspector ws://127.0.0.1:{}/", base + place);
            run.until(From::Out, &wanted, |line| line.contains(&wanted));
            TcpStream::connect(("127.0.0.1", base + place)).unwrap();
        }
        run.stop();
    }
}

#[test]
fn a_worker_that_follows_a_crashed_one_has_the_port_of_its_slot() {
    let base = base();
    let config =
        format!("command = ['node', '--inspect={base}', 'server.js']\nlisten = ['127.0.0.1:0']\nworkers = 2");
    let run = App::with(&newest(), &config).file("server.js", SERVER).serve();
    for pid in run.worker_pids() {
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    }
    run.said_times(4, " is ready after ");
    inspectors(&run, base, &[0, 0, 1, 1], &[0, 1]);
    run.stop();
}
