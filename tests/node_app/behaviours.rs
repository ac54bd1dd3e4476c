//! What Node's own tests of `cluster` say of the worker's side, as far as no other test here does
//! (`docs/node-cluster-behaviours.md`).

use crate::app::{App, ganger, newest, until_all_answered, versions};
use crate::stage::From;

/// One worker of this app; `say` writes a line of its output.
fn one(version: &str, balance: &str, app: &str) -> App {
    let config = format!(
        "command = ['node', 'server.js']\nlisten = ['127.0.0.1:0']\nworkers = 1\n[node]\nbalance = '{balance}'"
    );
    let prelude = "
const fs = require('fs');
const cluster = require('cluster');
const http = require('http');
const say = (text) => fs.writeSync(1, `${text}\\n`);
const answer = (_, response) => response.end(process.env.NODE_APP_INSTANCE);
";
    App::with(version, &config).file("server.js", &format!("{prelude}{app}"))
}

const BALANCES: [&str; 2] = ["shared", "round-robin"];

#[test]
fn a_worker_knows_that_it_is_connected_alive_and_not_yet_told_to_leave() {
    for version in versions() {
        let app = "
http.createServer(answer).listen(process.env.PORT, () => {
  const worker = cluster.worker;
  say(`self ${worker.isConnected()} ${worker.isDead()} ${worker.exitedAfterDisconnect} ${worker.process === process}`);
});
cluster.worker.on('disconnect', () => say(`left ${cluster.worker.isConnected()} ${cluster.worker.exitedAfterDisconnect}`));
process.on('disconnect', () => say('the process too'));";
        let run = one(&version, "shared", app).start();
        run.until(From::Out, "self", |line| line.ends_with("self true false undefined true"));
        run.stop();
        let said = run.output();
        let has = |text: &str| said.iter().any(|line| line.ends_with(text));
        assert!(has("left false true") && has("the process too"), "{version}: {said:?}");
    }
}

#[test]
fn the_servers_are_closed_before_the_worker_is_disconnected() {
    for balance in BALANCES {
        let app = "
const server = http.createServer(answer).listen(process.env.PORT);
server.on('close', () => say(`closed while connected: ${process.connected}`));";
        let run = one(&newest(), balance, app).start();
        run.said(" is ready after ");
        run.stop();
        let said = run.output();
        assert!(said.iter().any(|line| line.ends_with("closed while connected: true")), "{said:?}");
    }
}

#[test]
fn a_server_that_closes_and_listens_again_serves() {
    for version in versions() {
        for balance in BALANCES {
            let app = "
const first = http.createServer(() => {});
first.listen(process.env.PORT, () => first.close(() => http.createServer(answer).listen(process.env.PORT, () => say('again'))));";
            let run = one(&version, balance, app).start();
            run.until(From::Out, "again", |line| line.ends_with("again"));
            until_all_answered(&run, &["0"]);
            run.stop();
        }
    }
}

#[test]
fn a_server_that_is_unreferenced_still_serves_and_a_worker_without_servers_stays() {
    for balance in BALANCES {
        let app = "
http.createServer(answer).listen(process.env.PORT).unref();
setTimeout(() => say('still here'), 300).unref();";
        let run = one(&newest(), balance, app).start();
        run.until(From::Out, "the worker", |line| line.ends_with("still here"));
        until_all_answered(&run, &["0"]);
        assert_eq!(run.count("worker 0 started"), 1);
        run.stop();
    }
    let run =
        one(&newest(), "shared", "process.send('ready'); setTimeout(() => say('still here'), 300).unref();");
    let run = run.start();
    run.until(From::Out, "the worker", |line| line.ends_with("still here"));
    assert_eq!(run.count("worker 0 started"), 1);
    run.stop();
}

#[test]
fn a_relative_path_is_the_one_that_the_socket_has() {
    let config = "command = ['node', 'server.js']\nlisten = ['@DIR@/app.sock']\nworkers = 1";
    let app = "require('http').createServer((_, response) => response.end('unix')).listen('./app.sock');";
    let run = App::with(&newest(), config).file("server.js", app).start();
    run.said(" is ready after ");
    assert_eq!(crate::stage::get(run.path("app.sock").to_str().unwrap(), "/"), "unix");
    run.stop();
}

#[test]
fn connections_beyond_max_connections_wait_for_their_turn() {
    let app = "
const server = http.createServer((_, response) => setTimeout(() => response.end('0'), 50));
server.maxConnections = 1;
server.listen(process.env.PORT);";
    let run = one(&newest(), "round-robin", app).start();
    run.said(" is ready after ");
    let address = run.address();
    // Four at once, one at a time inside: all are answered.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || crate::stage::get(&address, "/"))
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap() == "0"));
    run.stop();
}

#[test]
fn large_messages_come_whole_in_both_directions() {
    let app = "
process.on('message', (text) => say(`got ${text.length}`));
http.createServer(answer).listen(process.env.PORT);
process.send({ ganger: { to: 0 }, message: 'x'.repeat(500000) });
process.on('message', (message) => message.message && say(`back ${message.message.length}`));";
    let run = one(&newest(), "shared", app).start();
    run.until(From::Out, "the echo", |line| line.ends_with("back 500000"));
    run.said(" is ready after ");
    ganger(&run, 0, &["send", "app:0", &format!("\"{}\"", "y".repeat(60_000))]);
    run.until(From::Out, "the message", |line| line.ends_with("got 60000"));
    run.stop();
}

#[test]
fn an_endless_loop_is_ended_by_the_timeout() {
    let app = "
process.on('SIGTERM', () => {});
http.createServer((_, response) => response.end('0').on('close', () => setTimeout(() => { say('busy'); for (;;); }, 50)))
  .listen(process.env.PORT);";
    let run = one(&newest(), "shared", app).configured("[stop]\ntimeout = '1s'").start();
    run.said(" is ready after ");
    assert_eq!(run.get("/"), "0");
    run.until(From::Out, "the loop", |line| line.ends_with("busy"));
    run.stop();
    run.said("did not leave in time and is killed");
}
