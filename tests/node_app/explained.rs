//! What the log says of a worker that does not come to serve.

use crate::app::{App, newest};

/// One worker of this command with a second to become ready.
fn explained(command: &str, server: &str, text: &str) {
    let config = format!(
        "command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 1\nprotocol = 'node'\n[ready]\ntimeout = '1500ms'"
    );
    let run = App::with(&newest(), &config).file("server.js", server).start();
    let line = run.said("worker 0 does not listen: ");
    assert!(line.contains(text), "{line}");
    run.said("it was not ready within 1.5s");
    run.stop();
}

#[test]
fn a_command_that_is_not_node_never_speaks() {
    explained("['sleep', '1000']", "", "not a word came on Node's channel");
}

#[test]
fn an_app_that_waits_for_something_never_asks() {
    explained(
        "['node', 'server.js']",
        "setInterval(() => {}, 1000);",
        "Node started and never asked to listen",
    );
}

#[test]
fn a_launcher_that_ganger_does_not_know_takes_the_channel() {
    let launcher = "
const { spawnSync } = require('child_process');
spawnSync(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });";
    explained(
        "['node', 'server.js']",
        launcher,
        "a launcher that is a Node program itself takes the channel",
    );
}

#[test]
fn without_the_protocol_a_wrapper_that_closed_the_socket_is_named() {
    let config = "command = ['node', 'launcher.js']\nlisten = ['127.0.0.1:0']\nworkers = 1\nprotocol = 'listen-fds'\n\
                  [ready]\ntimeout = '1500ms'";
    let launcher = "
require('child_process').spawnSync(process.execPath, ['server.js'], { stdio: 'inherit' });";
    let server = "setInterval(() => {}, 1000);";
    let app = App::with(&newest(), config).file("launcher.js", launcher).file("server.js", server);
    let run = app.start();
    run.said("it was not ready within 1.5s");
    run.said(
        "what worker 0 started does not hold any of the sockets that it was given: a wrapper such as npm",
    );
    run.stop();
}

#[test]
fn an_app_that_unlinks_its_own_socket_before_it_listens_is_told_so() {
    let config = "command = ['node', 'server.js']\nlisten = ['@DIR@/web']\nworkers = 1";
    let server = "
const path = `${process.cwd()}/web`;
try { require('fs').unlinkSync(path); } catch {}
require('http').createServer((_, response) => response.end('x')).listen(path);";
    let run = App::with(&newest(), config).file("server.js", server).start();
    let line = run.said("was removed or replaced");
    assert!(line.contains(run.path("web").to_str().unwrap()), "{line}");
    assert!(line.contains("before it listens"), "{line}");
    run.stop();
}

#[test]
fn node_behind_a_program_that_is_not_seen_through_is_told_of_the_protocol() {
    for (server, timeout, sign) in [
        // As one that finds its port in use, and as the one that has it.
        ("setTimeout(() => process.exit(1), 300);", "60s", "exited with status 1"),
        ("require('net').createServer().listen(0, '127.0.0.1');", "4s", "it was not ready within 4s"),
    ] {
        let config = format!(
            "command = ['sh', '-c', 'if true; then node server.js; fi']\nlisten = ['127.0.0.1:0']\n\
             workers = 1\n[ready]\ntimeout = '{timeout}'"
        );
        let run = App::with(&newest(), &config).file("server.js", server).start();
        run.said(sign);
        run.said("set protocol = \"node\" for an app that calls listen() with a port or a path");
        run.stop();
        assert_eq!(run.count("set protocol = "), 1);
    }
}
