//! Apps as they are found: each answers on ganger's socket without a change.

use std::net::TcpListener;

use crate::app::{App, ganger, major, newest, prepared, until_all_answered, versions};
use crate::stage::From;

/// Answers with its number, and tells it in its output.
const HTTP: &str = "
const cluster = require('cluster');
require('http').createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE))
  .listen(process.env.PORT || 3000, () => console.log(JSON.stringify({ id: cluster.worker.id, worker: cluster.isWorker })));
";
const BALANCES: [&str; 2] = ["shared", "round-robin"];

#[test]
fn an_express_app_that_reads_port_serves_with_both_balances() {
    for version in versions() {
        for balance in BALANCES {
            let server = "
const app = require('express')();
app.get('/', (_, response) => response.send(process.env.NODE_APP_INSTANCE));
app.listen(process.env.PORT || 3000);";
            let app = App::new(&version, server).modules("packages");
            let run = app.configured(&format!("[node]\nbalance = '{balance}'")).serve();
            until_all_answered(&run, &["0", "1"]);
            run.stop();
        }
    }
}

#[test]
fn an_app_that_names_another_port_gets_the_only_inherited_one_and_the_log_says_so() {
    for version in versions() {
        for balance in BALANCES {
            let server = HTTP.replace("process.env.PORT || 3000", "31789");
            let run =
                App::new(&version, &server).configured(&format!("[node]\nbalance = '{balance}'")).serve();
            run.said("the only one there is (set PORT, or node.unmatched = \"bind\")");
            until_all_answered(&run, &["0", "1"]);
            run.stop();
        }
    }
}

#[test]
fn an_app_is_a_worker_from_its_first_line_and_never_a_number_twice() {
    let run = App::new(&newest(), HTTP).serve();
    run.until(From::Out, "the second worker", |line| line.contains("\"id\":2"));
    ganger(&run, 0, &["restart", "app"]);
    run.until(From::Out, "the fourth worker", |line| line.contains("\"id\":4"));
    let said: Vec<String> = run.all(From::Out).into_iter().filter(|line| line.contains("\"id\"")).collect();
    assert!(said.len() == 4 && said.iter().all(|line| line.contains("\"worker\":true")), "{said:?}");
    run.stop();
}

#[test]
fn modules_with_top_level_await_and_typescript_serve() {
    for version in versions() {
        let import = "
import http from 'node:http';
await new Promise((resolve) => setTimeout(resolve, 10));
http.createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE)).listen(process.env.PORT);";
        let config = "command = ['node', 'server.mjs']\nlisten = ['127.0.0.1:0']\nworkers = 2";
        let run = App::with(&version, config).file("server.mjs", import).serve();
        until_all_answered(&run, &["0", "1"]);
        run.stop();
        if major(&version) < 24 {
            continue;
        }
        let typed = import.replace("(_, response)", "(_: unknown, response: http.ServerResponse)");
        let run = App::with(&version, &config.replace("mjs", "mts")).file("server.mts", &typed).serve();
        until_all_answered(&run, &["0", "1"]);
        run.stop();
    }
}

#[test]
fn an_app_that_forks_its_own_cluster_takes_its_worker_branch() {
    for version in versions() {
        let server = format!(
            "
const {{ isMaster, isPrimary, fork }} = require('cluster');
if (isMaster || isPrimary) for (let n = 0; n < 4; n++) fork(); else {{ {HTTP} }}"
        );
        let run = App::new(&version, &server).serve();
        until_all_answered(&run, &["0", "1"]);
        run.stop();
    }
}

#[test]
fn sockets_of_the_service_manager_are_found_by_port_and_by_number() {
    let (web, admin) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let (web_at, admin_at) = (address(&web), address(&admin));
    let server = "
const http = require('http');
const answer = (text) => (_, response) => response.end(text);
http.createServer(answer('web')).listen(Number(process.argv[2]));
http.createServer(answer('admin')).listen({ fd: 3 });";
    // In the order of their names: admin is 3, web is 4.
    let port = web_at.rsplit(':').next().unwrap();
    let config = format!("command = ['node', 'server.js', '{port}']\nworkers = 2");
    let mut app = App::with(&newest(), &config).file("server.js", server);
    app.stage = app.stage.sockets(vec![("web", web.into()), ("admin", admin.into())]);
    let run = app.serve();
    for _ in 0..10 {
        assert_eq!(crate::stage::get(&web_at, "/"), "web");
        assert_eq!(crate::stage::get(&admin_at, "/"), "admin");
    }
    run.stop();
}

#[test]
fn with_the_plain_protocol_an_app_takes_descriptor_3_itself() {
    for version in versions() {
        let server = "
require('http').createServer((_, response) => response.end(process.env.GANGER_WORKER)).listen({ fd: 3 });";
        let run = App::new(&version, server).configured("protocol = 'listen-fds'").serve();
        until_all_answered(&run, &["0", "1"]);
        run.stop();
    }
}

#[test]
fn https_servers_of_two_workers_resume_each_others_sessions() {
    for version in versions() {
        let server = "
const fs = require('fs');
const pem = (name) => fs.readFileSync(`${process.env.FIXTURES}/${name}`);
require('https').createServer({ key: pem('key.pem'), cert: pem('cert.pem') }, (_, response) => response.end())
  .listen(process.env.PORT);";
        let fixtures = prepared(&["tls"]);
        let app = App::new(&version, server).env("FIXTURES", fixtures.to_str().unwrap());
        let run = app.configured("[node]\nbalance = 'round-robin'").serve();
        let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/apps/tls-client.cjs");
        let mut command = std::process::Command::new(prepared(&["node", &version]));
        command.arg(client).env("PORT", run.address().rsplit(':').next().unwrap()).env("COUNT", "10");
        let output = command.output().unwrap();
        let resumed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(resumed, "9", "of 9 on node {version}: {output:?}");
        run.stop();
    }
}
