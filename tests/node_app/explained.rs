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
fn node_that_waits_for_a_debugger_is_no_node_that_does_not_speak() {
    for (command, option) in [
        ("['node', '--inspect-brk=0', 'server.js']", "--inspect-brk"),
        (
            "['env', 'NODE_OPTIONS=--inspect-brk=0', 'node', 'server.js']\nenv.NODE_OPTIONS = '--inspect-brk=0'",
            "--inspect-brk",
        ),
    ] {
        let text =
            format!("Node waits for a debugger ({option}) and runs nothing of the app before one has come");
        explained(command, "require('http').createServer().listen(process.env.PORT);", &text);
    }
}

/// What the log says of a worker that ends at once; the app's folder is in it as `@DIR@`.
fn ended(command: &str, files: &[(&str, &str)], text: &str) {
    let config = format!("command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 2");
    let app = App::with(&newest(), &config);
    let run = files.iter().fold(app, |app, (name, content)| app.file(name, content)).start();
    let line = run.said("it ended before it listened: ");
    assert!(line.contains(&text.replace("@DIR@", run.path("").to_str().unwrap())), "{line}");
    run.said("exited with status 1");
    run.stop();
    assert_eq!(run.count("it ended before it listened"), 1, "once for all workers");
}

#[test]
fn a_program_that_cannot_be_run_is_not_called_silent() {
    let config = "command = ['./server']\nlisten = ['127.0.0.1:0']\nworkers = 2\nprotocol = 'node'";
    let run = App::with(&newest(), config).file("server", "#!/usr/bin/env node\n").start();
    assert_eq!(run.ended(), "exit 1");
    assert!(run.count("could not be started: failed to run ./server: permission denied") > 2);
    assert_eq!((run.count("not a word came"), run.count("it ended before it listened")), (0, 0));
}

#[test]
fn a_script_that_is_not_there_is_named() {
    ended(
        "['node', '--no-warnings', 'dist/server.js']",
        &[],
        "there is no @DIR@dist/server.js, which is what node was to run",
    );
}

#[test]
fn packages_that_are_not_installed_are_told_with_the_folder_where_they_were_looked_for() {
    let server = "require('express')().listen(process.env.PORT);";
    let package = r#"{"dependencies": {"express": "5"}}"#;
    let wants = "api/package.json wants packages, and there is no node_modules in @DIR@api or above it: run npm ci there";
    ended(
        "['node', 'api/dist/server']",
        &[("api/dist/server.js", server), ("api/package.json", package)],
        wants,
    );
    // With some that are, it is not known which one is missing.
    let files = [("server.js", server), ("package.json", package), ("node_modules/other/index.js", "")];
    ended(
        "['node', 'server.js']",
        &files,
        "the app failed before it asked to listen: its own output tells why",
    );
}

#[test]
fn an_app_that_listens_without_asking_is_told_of_what_finds_the_port_in_use() {
    let server = "require('http').createServer().listen({ port: process.env.PORT, exclusive: true });";
    let text = "EADDRINUSE there is of an app that listens without asking (exclusive: true, reusePort: true)";
    ended("['node', 'server.js']", &[("server.js", server)], text);
}

#[test]
fn an_abstract_name_is_told_as_the_app_wrote_it() {
    let config = "command = ['node', 'server.js']\nlisten = ['@DIR@/web']\nworkers = 1";
    let server = "require('http').createServer((_, response) => response.end('x')).listen('\\0ganger-told');";
    let run = App::with(&newest(), config).file("server.js", server).start();
    let line = run.said("the app asked to listen on ");
    assert!(line.contains("asked to listen on @ganger-told and got the inherited "), "{line}");
    run.stop();
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
