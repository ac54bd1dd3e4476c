//! Nothing is lost when the workers are replaced under load, and nothing changes when the new code is bad.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::load::{Load, Pace, Report, Running, Target};

use crate::app::{App, ganger, newest, prepared, versions};
use crate::stage::Run;

const SERVER: &str = "
const fs = require('fs');
const pem = (name) => fs.readFileSync(`${process.env.FIXTURES}/${name}`);
const answer = (_, response) => response.end('ok');
const server = process.env.TLS
  ? require('https').createServer({ key: pem('key.pem'), cert: pem('cert.pem') }, answer)
  : require('http').createServer(answer);
server.listen(process.env.PORT);";

/// What each load must have answered.
fn wanted() -> u64 {
    let few = if std::env::var_os("GANGER_SOAK").is_some() { 100_000 } else { 10_000 };
    std::env::var("GANGER_TEST_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

fn address(run: &Run) -> SocketAddr {
    run.address().parse().unwrap()
}

/// Busy, thinking and short connections at once.
fn loads(address: SocketAddr) -> Vec<Running> {
    let load = |connections| Load::new(Target::Tcp(address)).connections(connections);
    vec![
        load(3).start(),
        load(4).pace(Pace::Closed(Duration::from_millis(5))).start(),
        load(4).pace(Pace::Closed(Duration::from_millis(150))).start(),
        load(2).close_each().start(),
    ]
}

#[track_caller]
fn nothing_lost(what: &str, loads: Vec<Running>) {
    let reports: Vec<Report> = loads.into_iter().map(Running::stop).collect();
    let sent: u64 = reports.iter().map(|report| report.sent).sum();
    let lost: u64 = reports.iter().map(Report::lost).sum();
    eprintln!("{what}: {sent} requests, {lost} lost");
    assert_eq!(lost, 0, "{reports:?}");
}

fn answered(loads: &[Running]) -> u64 {
    loads.iter().map(Running::answered).sum()
}

#[test]
fn soak_reloads_under_load_lose_nothing_with_both_balances() {
    for version in versions() {
        for balance in ["shared", "round-robin"] {
            let app = App::new(&version, SERVER).configured(&format!("[node]\nbalance = '{balance}'"));
            let run = app.serve();
            let loads = loads(address(&run));
            let mut reloads = 0;
            while reloads < 2 || answered(&loads) < wanted() {
                ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
                reloads += 1;
            }
            nothing_lost(&format!("node {version}, {balance}, {reloads} reloads"), loads);
            run.stop();
        }
    }
}

#[test]
fn soak_reloads_under_https_load_lose_nothing() {
    for version in versions() {
        let fixtures = prepared(&["tls"]);
        let app = App::new(&version, SERVER).env("FIXTURES", fixtures.to_str().unwrap()).env("TLS", "1");
        let run = app.serve();
        let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/apps/load-client.cjs");
        let mut command = Command::new(prepared(&["node", &newest()]));
        command.arg(client).env("PORT", address(&run).port().to_string());
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        for _ in 0..2 {
            ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
        }
        drop(client.stdin.take());
        let output = client.wait_with_output().unwrap();
        let tally: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        eprintln!("node {version}, https: {tally}");
        assert_eq!(tally["lost"], 0, "on node {version}: {tally}");
        assert!(tally["served"].as_u64().unwrap() > 100, "{tally}");
        run.stop();
    }
}

#[test]
fn a_bad_deploy_changes_nothing() {
    for (what, code) in [
        ("a syntax error", "const = ;"),
        ("an error at its start", "throw new Error('no database');"),
        ("an app that never listens", "setInterval(() => {}, 1000);"),
        ("an app that ends at once", ""),
    ] {
        let run = App::new(&newest(), SERVER).configured("[ready]\ntimeout = '2s'").serve();
        let before = run.worker_pids();
        let loads = loads(address(&run));
        loads[0].wait_for_answers(100);
        std::fs::write(run.path("server.js"), code).unwrap();
        let text = ganger(&run, 1, &["reload", "app", "--timeout", "60s"]);
        eprintln!("{what}: {text}");
        loads[0].wait_for_answers(100);
        nothing_lost(what, loads);
        assert_eq!(run.worker_pids(), before, "{what}");
        run.stop();
    }
}

#[test]
fn a_worker_killed_under_load_costs_only_what_was_inside_it() {
    for balance in ["shared", "round-robin"] {
        let app = App::new(&newest(), SERVER).configured(&format!("[node]\nbalance = '{balance}'"));
        let run = app.serve();
        let connections = 8;
        let load = Load::new(Target::Tcp(address(&run))).connections(connections).start();
        load.wait_for_answers(200);
        let victim = i32::try_from(run.worker_pids()[0]).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        run.said_times(3, " is ready after ");
        load.wait_for_answers(200);
        let report = load.stop();
        eprintln!("{balance}: {} requests, {} lost", report.sent, report.lost());
        // One request at a time on each connection.
        assert!(report.lost() <= u64::try_from(connections).unwrap(), "{report:?}");
        run.stop();
    }
}
