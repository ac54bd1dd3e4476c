//! Which server answers on which socket, at a start and after a reload, and when that makes a worker ready.

use std::net::TcpListener;

use crate::app::{App, ganger, newest};
use crate::stage::{Run, get};

fn free_port() -> u16 {
    TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

/// Servers that say what they are; `listen(what, …where)`.
const LISTEN: &str = "
const listen = (what, ...where) => new Promise((up) =>
  require('http').createServer((_, response) => response.end(what)).listen(...where, up));
";

fn server(lines: &str) -> String {
    format!("{LISTEN}(async () => {{ {lines} }})();")
}

/// Two workers on one public port, with two ports of the app's own.
fn on_a_public_port(lines: &str, further: &str) -> (App, [u16; 2]) {
    let ports = [free_port(), free_port()];
    let config =
        "command = ['node', 'server.js']\nlisten = ['0.0.0.0:0']\nworkers = 2\n[ready]\ntimeout = '3s'\n";
    let app = App::with(&newest(), &format!("{config}{further}")).file("server.js", &server(lines));
    let app = app.env("ONE", &ports[0].to_string()).env("OTHER", &ports[1].to_string());
    (app, ports)
}

fn public(run: &Run) -> String {
    format!("127.0.0.1:{}", run.address().rsplit(':').next().unwrap())
}

#[test]
fn an_admin_port_on_the_loopback_never_gets_the_public_socket() {
    for balance in ["shared", "round-robin"] {
        let lines =
            "await listen('admin', process.env.OTHER, '127.0.0.1'); await listen('app', process.env.ONE);";
        let (app, [_, admin]) = on_a_public_port(lines, &format!("[node]\nbalance = '{balance}'"));
        let run = app.serve();
        run.said("does not get the inherited 0.0.0.0:");
        for _ in 0..8 {
            assert_eq!(get(&public(&run), "/"), "app");
        }
        assert_eq!(get(&format!("127.0.0.1:{admin}"), "/"), "admin");
        run.stop();
    }
}

#[test]
fn a_release_that_opens_another_port_first_leaves_the_public_socket_to_the_old_port() {
    let (app, [_, admin]) = on_a_public_port("await listen('one', process.env.ONE);", "");
    let run = app.serve();
    let lines = "await listen('admin', process.env.OTHER); await listen('two', process.env.ONE);";
    std::fs::write(run.path("server.js"), server(lines)).unwrap();
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    for _ in 0..8 {
        assert_eq!(get(&public(&run), "/"), "two");
    }
    assert_eq!(get(&format!("127.0.0.1:{admin}"), "/"), "admin");
    run.stop();
}

#[test]
fn a_release_that_moved_to_another_port_is_not_ready_and_the_log_says_which_port_has_the_socket() {
    let (app, [one, other]) = on_a_public_port("await listen('one', process.env.ONE);", "");
    let run = app.serve();
    std::fs::write(run.path("server.js"), server("await listen('two', process.env.OTHER);")).unwrap();
    ganger(&run, 1, &["reload", "app", "--timeout", "60s"]);
    run.said(&format!("the app asked to listen on port {other} and does not get the inherited 0.0.0.0:"));
    run.said(&format!("workers have it that asked for port {one} (let the app read PORT"));
    run.said("worker 0 listens, but it never listened on an inherited socket");
    assert_eq!(get(&public(&run), "/"), "one");
    run.stop();
}

#[test]
fn an_app_that_reads_port_gets_it_although_it_opens_another_one_first() {
    for balance in ["shared", "round-robin"] {
        let lines = "await listen('metrics', process.env.OTHER); await listen('app', process.env.PORT);";
        let (app, [_, metrics]) = on_a_public_port(lines, &format!("[node]\nbalance = '{balance}'"));
        let run = app.serve();
        run.said("it is for those who name its own port");
        assert_eq!(get(&format!("127.0.0.1:{metrics}"), "/"), "metrics");
        ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
        for _ in 0..8 {
            assert_eq!(get(&public(&run), "/"), "app");
        }
        run.stop();
    }
}

/// With a socket for metrics and one for the app, both inherited.
fn on_two_ports(command: &str, lines: &str, further: &str) -> (App, [u16; 2]) {
    let [metrics, own] = [free_port(), free_port()];
    let config = format!(
        "command = {command}\nprotocol = 'node'\nlisten = ['127.0.0.1:{metrics}', '127.0.0.1:{own}']\nworkers = 2\n\
         {further}\n[ready]\ntimeout = '3s'\n"
    );
    let app = App::with(&newest(), &config).file("server.js", &server(lines));
    (app.env("METRICS", &metrics.to_string()).env("OWN", &own.to_string()), [metrics, own])
}

const BOTH: &str = "await listen('metrics', process.env.METRICS); await listen('app', process.env.OWN); console.error('both are up');";
const NO_DATABASE: &str =
    "await listen('metrics', process.env.METRICS); setInterval(() => {}, 1000); await new Promise(() => {});";

#[test]
fn a_release_that_leaves_a_served_socket_alone_fails_the_reload_and_the_socket_is_named() {
    for (command, further) in [
        ("['node', 'server.js']", "node.balance = 'shared'"),
        ("['node', 'server.js']", "node.balance = 'round-robin'"),
        ("['sh', '-c', 'node server.js; exit 1']", ""),
    ] {
        let (app, [_, own]) = on_two_ports(command, BOTH, further);
        let run = app.serve();
        // The first generation is ready by its first socket.
        run.said_times(2, "both are up");
        std::fs::write(run.path("server.js"), server(NO_DATABASE)).unwrap();
        ganger(&run, 1, &["reload", "app", "--timeout", "60s"]);
        run.said(&format!(
            "worker 0 listens, but it never listened on 127.0.0.1:{own}, which generation 1 serves"
        ));
        for _ in 0..8 {
            assert_eq!(get(&format!("127.0.0.1:{own}"), "/"), "app", "{command} {further}");
        }
        run.stop();
    }
}

#[test]
fn who_believes_the_apps_own_word_does_not_ask_where_it_listens() {
    let (app, _) = on_two_ports("['node', 'server.js']", BOTH, "");
    let app = app.configured("when = 'message'");
    let said = |lines: &str| server(&format!("{lines} process.send('ready');"));
    let run = app.file("server.js", &said(BOTH)).serve();
    let only_metrics = "await listen('metrics', process.env.METRICS);";
    std::fs::write(run.path("server.js"), said(only_metrics)).unwrap();
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    run.stop();
}

#[test]
fn a_socket_that_slot_0_alone_serves_keeps_nobody_from_being_ready() {
    let lines = "
if (process.env.NODE_APP_INSTANCE === '0') await listen('metrics', process.env.METRICS);
await listen(process.env.NODE_APP_INSTANCE, process.env.OWN);";
    let (app, [metrics, _]) = on_two_ports("['node', 'server.js']", lines, "");
    let run = app.serve();
    ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
    ganger(&run, 0, &["restart", "app", "--timeout", "60s"]);
    assert_eq!(get(&format!("127.0.0.1:{metrics}"), "/"), "metrics");
    run.stop();
}
