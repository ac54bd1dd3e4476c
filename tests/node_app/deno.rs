//! Deno, as far as it goes: servers of `node:http` get their connections from ganger, or take descriptor 3 themselves.

use crate::app::{App, ganger, newest, prepared, until_all_answered};

const SERVER: &str = "
import http from 'node:http';
http.createServer((_, response) => response.end(process.env.GANGER_WORKER)).listen(Number(process.env.PORT));";

/// Two workers of Deno; `more` is configuration.
fn app(server: &str, more: &str) -> App {
    let deno = prepared(&["deno"]);
    let config = format!(
        "command = ['{}', 'run', '-A', 'server.mjs']\nlisten = ['127.0.0.1:0']\nworkers = 2\n{more}",
        deno.display()
    );
    App::with(&newest(), &config).env("HOME", "@DIR@").file("server.mjs", server)
}

#[test]
fn a_server_of_node_http_serves_and_is_reloaded_without_a_word_of_configuration() {
    let run = app(SERVER, "").serve();
    run.said("deno gets its connections from ganger one by one");
    until_all_answered(&run, &["0", "1"]);
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    until_all_answered(&run, &["0", "1"]);
    run.stop();
}

#[test]
fn deno_in_a_script_of_package_json_is_known() {
    let config = "command = ['npm', 'start']\nlisten = ['127.0.0.1:0']\nworkers = 2";
    let package = r#"{ "scripts": { "start": "@DENO@ run -A server.mjs" } }"#;
    let package = package.replace("@DENO@", prepared(&["deno"]).to_str().unwrap());
    let app = App::with(&newest(), config).env("HOME", "@DIR@");
    let run = app.file("server.mjs", SERVER).file("package.json", &package).serve();
    until_all_answered(&run, &["0", "1"]);
    run.stop();
}

#[test]
fn with_the_plain_protocol_a_server_takes_descriptor_3_itself() {
    let server = SERVER.replace("Number(process.env.PORT)", "{ fd: 3 }");
    let run = app(&server, "protocol = 'listen-fds'").serve();
    until_all_answered(&run, &["0", "1"]);
    run.stop();
}

#[test]
fn deno_serve_cannot_take_a_socket_and_the_log_says_what_can() {
    let server = "Deno.serve({ port: Number(Deno.env.get('PORT')) }, () => new Response('own'));";
    let run = app(server, "").start();
    let line = run.said("Deno.serve binds a port of its own");
    assert!(line.contains("only for servers of node:http and node:net"), "{line}");
    run.said("worker 0 exited with status 1");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.ended();
}
