//! Nothing is lost when the workers are replaced under load, and nothing changes when the new code is bad.

use std::io::{BufRead as _, BufReader};
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

/// How many reloads each load must see.
fn reloads_wanted() -> u32 {
    if std::env::var_os("GANGER_SOAK").is_some() { 10 } else { 2 }
}

fn address(run: &Run) -> SocketAddr {
    run.address().parse().unwrap()
}

/// Busy, thinking, idle and short connections at once, and two loads at a rate that asks whether answers come or not:
/// on new connections, and on one that is kept. The first of all is that one on new connections.
fn loads(address: SocketAddr) -> Vec<Running> {
    let load = |connections| Load::new(Target::Tcp(address)).connections(connections);
    vec![
        load(8).pace(Pace::Rate(100.0)).close_each().start(),
        load(1).pace(Pace::Rate(50.0)).start(),
        load(3).start(),
        load(4).pace(Pace::Closed(Duration::from_millis(5))).start(),
        load(4).pace(Pace::Closed(Duration::from_millis(150))).start(),
        load(4).pace(Pace::Closed(Duration::from_millis(1500))).start(),
        load(2).close_each().start(),
    ]
}

/// Sent and lost.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    lost: u64,
}

/// Ends the loads; what they saw is printed as a row of a table.
fn tally(what: &str, loads: Vec<Running>) -> (Tally, Vec<Report>) {
    let reports: Vec<Report> = loads.into_iter().map(Running::stop).collect();
    let sent = reports.iter().map(|report| report.sent).sum();
    let lost = reports.iter().map(Report::lost).sum();
    eprintln!("| {what} | {sent} | {lost} |");
    (Tally { sent, lost }, reports)
}

#[track_caller]
fn nothing_lost(what: &str, loads: Vec<Running>) {
    let (tally, reports) = tally(what, loads);
    assert_eq!(tally.lost, 0, "{reports:?}");
}

fn answered(loads: &[Running]) -> u64 {
    loads.iter().map(Running::answered).sum()
}

/// Reloads once. No worker is one from before, and as long as that took, each of these loads had answers.
#[track_caller]
fn reload(run: &Run, steady: &[Running]) {
    let pids = run.worker_pids();
    let answers: Vec<u64> = steady.iter().map(Running::answered).collect();
    ganger(run, 0, &["reload", "app", "--timeout", "60s"]);
    let more: Vec<u64> = steady.iter().zip(answers).map(|(load, before)| load.answered() - before).collect();
    let now = run.worker_pids();
    let is_new = |pid| !pids.contains(pid);
    assert!(now.len() == pids.len() && now.iter().all(is_new), "not reloaded: {pids:?}, then {now:?}");
    assert!(more.iter().all(|more| *more > 0), "no load while it was reloaded: {more:?}");
}

/// Reloads under all these loads until each number is reached.
fn rolled(app: App, what: &str, requests: u64) -> (Tally, Vec<Report>) {
    let run = app.serve();
    let loads = loads(address(&run));
    let mut reloads = 0;
    while reloads < reloads_wanted() || answered(&loads) < requests {
        // The others may be slower than a reload.
        reload(&run, &loads[..3]);
        reloads += 1;
    }
    let tally = tally(&format!("{what} | {reloads}"), loads);
    run.stop();
    assert_eq!(run.count(": reloaded: "), usize::try_from(reloads).unwrap());
    tally
}

/// The same over https, by a client that is a Node program.
fn rolled_https(app: App, what: &str, requests: u64) -> Tally {
    let fixtures = prepared(&["tls"]);
    let run = app.env("FIXTURES", fixtures.to_str().unwrap()).env("TLS", "1").serve();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/apps/load-client.cjs");
    let mut command = Command::new(prepared(&["node", &newest()]));
    let port = address(&run).port().to_string();
    command.arg(script).env("PORT", port).env("WANTED", requests.to_string());
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let (said, enough) = std::sync::mpsc::channel();
    let last = std::thread::spawn(move || {
        assert_eq!(lines.next().unwrap().unwrap(), "enough");
        said.send(()).unwrap();
        lines.next().unwrap().unwrap()
    });
    let mut reloads = 0;
    while reloads < reloads_wanted() || enough.try_recv().is_err() {
        reload(&run, &[]);
        reloads += 1;
        assert!(client.try_wait().unwrap().is_none(), "the client has ended");
    }
    drop(client.stdin.take());
    let tally: serde_json::Value = serde_json::from_str(&last.join().unwrap()).unwrap();
    client.wait().unwrap();
    run.stop();
    let [served, lost] = ["served", "lost"].map(|key| tally[key].as_u64().unwrap());
    assert!(served >= requests && tally["short"].as_u64() > Some(0), "{tally}");
    eprintln!("| {what} | {reloads} | {} | {lost} |", served + lost);
    Tally { sent: served + lost, lost }
}

const BALANCES: [&str; 2] = ["shared", "round-robin"];

#[test]
fn soak_reloads_under_load_lose_nothing_with_both_balances() {
    for version in versions() {
        for balance in BALANCES {
            let app = App::new(&version, SERVER).configured(&format!("[node]\nbalance = '{balance}'"));
            let (tally, reports) = rolled(app, &format!("node {version}, http, {balance}"), wanted());
            assert!(tally.lost == 0 && tally.sent >= wanted(), "{tally:?} {reports:?}");
        }
    }
}

#[test]
fn soak_reloads_under_https_load_lose_nothing() {
    for version in versions() {
        let app = App::new(&version, SERVER);
        let tally = rolled_https(app, &format!("node {version}, https, shared"), wanted());
        assert!(tally.lost == 0 && tally.sent >= wanted(), "{tally:?}");
    }
}

/// The oldest and the newest.
fn some_versions() -> Vec<String> {
    let mut all = versions();
    let newest = all.pop();
    all.into_iter().take(1).chain(newest).collect()
}

#[test]
fn whatever_headers_an_app_writes_reloads_lose_nothing() {
    let writes = [
        "response.writeHead(200, { 'Content-Type': 'text/plain', 'Connection': 'keep-alive' });",
        "response.writeHead(200, ['connection', 'keep-alive', 'x-a', 'b']);",
        "response.setHeader('Connection', 'keep-alive'); response.writeHead(200, { 'x-a': 'b' });",
    ];
    for version in some_versions() {
        for write in writes {
            let code = format!(
                "require('http').createServer((_, response) => {{ {write} response.end('ok'); }})\n\
                 .listen(process.env.PORT);"
            );
            let (tally, _) = rolled(App::new(&version, &code), &format!("node {version}, {write}"), 2000);
            assert!(tally.lost == 0, "{write} {tally:?}");
        }
    }
}

#[test]
fn an_app_that_closes_its_servers_at_its_stop_message_loses_nothing_in_reloads() {
    let code = format!(
        "{SERVER}\nprocess.on('message', (m) => {{ if (m === 'shutdown') server.close(() => process.exit(0)); }});"
    );
    for version in some_versions() {
        let app = App::new(&version, &code).configured("[stop]\nmessage = 'shutdown'");
        let (tally, reports) = rolled(app, &format!("node {version}, shutdown message"), 5000);
        assert!(tally.lost == 0, "{tally:?} {reports:?}");
    }
}

#[test]
fn an_app_that_closes_its_servers_at_its_stop_message_answers_what_takes_long() {
    let slow = SERVER.replace("response.end('ok')", "setTimeout(() => response.end('ok'), 1500)");
    assert_ne!(slow, SERVER);
    let code = format!(
        "{slow}\nprocess.on('message', (m) => {{ if (m === 'shutdown') server.close(() => process.exit(0)); }});"
    );
    for version in some_versions() {
        let run = App::new(&version, &code).configured("[stop]\nmessage = 'shutdown'").serve();
        let load =
            |pause| Load::new(Target::Tcp(address(&run))).connections(8).pace(Pace::Closed(pause)).start();
        let loads = vec![load(Duration::ZERO), load(Duration::from_millis(1000))];
        for _ in 0..2 {
            loads.iter().for_each(|load| load.wait_for_answers(16));
            reload(&run, &[]);
        }
        nothing_lost(&format!("node {version}, shutdown message, slow answers"), loads);
        run.stop();
    }
}

#[test]
fn requests_of_slow_clients_to_a_busy_app_are_read_before_connections_are_closed() {
    let code = SERVER.replace(
        "(_, response) => response.end('ok')",
        "(_, response) => { const end = Date.now() + 12; while (Date.now() < end); response.end('ok'); }",
    );
    assert_ne!(code, SERVER);
    let run = App::new(&newest(), &code).serve();
    let load =
        Load::new(Target::Tcp(address(&run))).connections(48).pace(Pace::Closed(Duration::from_millis(1300)));
    let load = load.start();
    load.wait_for_answers(96);
    for _ in 0..3 {
        reload(&run, &[]);
        load.wait_for_answers(20);
    }
    nothing_lost("slow clients, busy app", vec![load]);
    run.stop();
}

#[test]
fn the_usual_handler_of_a_stop_signal_finds_its_server_closed_well() {
    let code = format!(
        "{SERVER}\nprocess.on('SIGINT', () => server.close((error) => {{\n  \
         fs.writeSync(1, error ? `failed: ${{error.code}}\\n` : 'closed well\\n');\n  process.exit(error ? 1 : 0);\n}}));"
    );
    for version in versions() {
        let run = App::new(&version, &code).configured("[stop]\nsignal = 'INT'").serve();
        run.stop();
        let said = run.output();
        let well = said.iter().filter(|line| line.ends_with("closed well")).count();
        assert_eq!(well, 2, "{version}: {said:?}");
    }
}

#[test]
fn soak_without_the_preload_a_reload_loses_requests() {
    // A busy connection keeps its worker until the last call.
    let plain = "[node]\ndrain = false\n[stop]\ntimeout = '4s'";
    let mut all = Tally::default();
    for version in versions() {
        let app = || App::new(&version, SERVER).configured(plain);
        let (http, _) = rolled(app(), &format!("node {version}, http, shared, plain"), wanted());
        let https = rolled_https(app(), &format!("node {version}, https, shared, plain"), wanted());
        all = Tally { sent: all.sent + http.sent + https.sent, lost: all.lost + http.lost + https.lost };
    }
    assert!(all.lost > 0, "the preload is of no use: {all:?}");
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
