//! A Node worker's life as the app sees it: ready, asked to leave, gone by itself.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use ganger::os::clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::app::{App, ganger, newest, until_all_answered, versions};
use crate::stage::From;

/// A server of these lines; `server` is its variable.
fn server(more: &str) -> String {
    format!(
        "
const fs = require('fs');
const say = (text) => fs.writeSync(1, `${{text}}\\n`);
const server = require('http').createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE));
{more}
server.listen(process.env.PORT);"
    )
}

#[test]
fn an_app_that_says_ready_is_not_ready_before() {
    for version in versions() {
        let app = server(
            "server.on('listening', () => fs.existsSync('go') ? go() : fs.watch('.', go));
function go() { if (fs.existsSync('go')) { say('said'); process.send('ready'); } }",
        );
        let run = App::new(&version, &app).configured("[ready]\nwhen = 'message'").start();
        // It listens and answers, and still is not ready.
        run.get("/");
        assert_eq!(run.count("is ready"), 0);
        std::fs::write(run.path("go"), "").unwrap();
        run.said_times(2, " is ready after ");
        run.stop();
    }
}

#[test]
fn an_app_that_never_says_ready_has_failed_when_its_time_is_over() {
    let app = App::new(&newest(), &server(""));
    let run = app.configured("[ready]\nwhen = 'message'\ntimeout = '1s'").start();
    run.said(
        "listens, but that is not the sign that ready.when = \"message\" waits for: process.send('ready')",
    );
    run.said("it was not ready within 1s");
    assert_eq!(run.count("is ready"), 0);
    run.stop();
}

#[test]
fn pm2s_shutdown_message_comes_before_the_servers_are_closed() {
    for version in versions() {
        let app = server(
            "process.on('message', (message) => message === 'shutdown' && say(`shutdown ${server.listening}`));
process.on('exit', () => say('exit'));",
        );
        let run = App::new(&version, &app).configured("[stop]\nmessage = 'shutdown'").serve();
        run.stop();
        let said = run.output();
        let is = |line: &&String, text: &str| line.contains(text);
        assert_eq!(said.iter().filter(|line| is(line, "shutdown true")).count(), 2, "{said:?}");
        assert_eq!(said.iter().filter(|line| is(line, "exit")).count(), 2, "{said:?}");
    }
}

#[test]
fn what_an_app_begins_at_its_stop_message_is_not_cut_short_by_the_stop_signal() {
    // PM2's own example, and one that closes its server first.
    let handlers = [
        "setTimeout(() => { say('finished'); process.exit(0); }, 1500)",
        "server.close(() => setTimeout(() => { say('finished'); process.exit(0); }, 1500))",
    ];
    for handler in handlers {
        let app = server(&format!(
            "process.on('message', (message) => {{ if (message === 'shutdown') {handler}; }});\n\
             process.on('SIGTERM', () => {{ say('too soon'); process.exit(0); }});"
        ));
        for command in ["['node', 'server.js']", "['sh', '-c', 'node server.js; true']"] {
            let config = format!(
                "command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 2\nprotocol = 'node'\n[stop]\nmessage = 'shutdown'"
            );
            let run = App::with(&newest(), &config).file("server.js", &app).serve();
            ganger(&run, 0, &["reload", "app"]);
            run.stop();
            let said = run.output();
            assert_eq!(
                said.iter().filter(|line| line.ends_with("finished")).count(),
                4,
                "{command}: {said:?}"
            );
            assert!(!said.iter().any(|line| line.ends_with("too soon")), "{command}: {said:?}");
        }
    }
}

#[test]
fn a_stop_in_the_middle_of_a_reload_is_as_short_as_any_other() {
    let app = server("server.keepAliveTimeout = 60000;");
    let run = App::new(&newest(), &app).configured("[stop]\ntimeout = '60s'").serve();
    let mut idle = std::net::TcpStream::connect(run.address()).unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 512];
    let count = idle.read(&mut answer).unwrap();
    let slot = String::from_utf8_lossy(&answer[..count]).trim_end().chars().last().unwrap();
    let mut reload = run.client_command(&["restart", &format!("app:{slot}")]).spawn().unwrap();
    run.said("is asked to leave");
    let begun = clock::now();
    run.stop();
    // Without the stop it would have been 43 seconds.
    let took = clock::now().since(begun);
    assert!(took < Duration::from_secs(20), "{took:?}");
    reload.wait().unwrap();
}

#[test]
fn a_signal_that_a_handler_raises_again_arrives() {
    let app = server(
        "let times = 0;
process.on('SIGTERM', function first() {
  process.removeListener('SIGTERM', first);
  process.kill(process.pid, 'SIGTERM');
});
process.on('SIGTERM', () => { times += 1; if (times === 2) { say('again'); process.exit(0); } });",
    );
    for version in versions() {
        let run = App::new(&version, &app).serve();
        run.stop();
        let said = run.output();
        assert_eq!(said.iter().filter(|line| line.ends_with("again")).count(), 2, "{said:?}");
    }
}

#[test]
fn the_stop_signal_comes_to_an_app_that_stays_after_its_drain() {
    let app = server(
        "setInterval(() => {}, 1000);
process.on('SIGINT', () => { say(`SIGINT ${server.listening}`); process.exit(0); });",
    );
    let run = App::new(&newest(), &app).configured("[stop]\nsignal = 'INT'").serve();
    run.stop();
    let said = run.output();
    assert_eq!(said.iter().filter(|line| line.contains("SIGINT false")).count(), 2, "{said:?}");
}

#[test]
fn the_handler_of_the_stop_signal_runs_where_nothing_else_keeps_the_worker() {
    let app = server(
        "process.once('SIGTERM', async () => { await new Promise((done) => setTimeout(done, 10)); say('flushed'); });
process.on('beforeExit', (code) => say(`empty ${code}`));",
    );
    for version in versions() {
        for command in ["['node', 'server.js']", "['sh', '-c', 'node server.js; true']"] {
            let config =
                format!("command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 2\nprotocol = 'node'");
            let run = App::with(&version, &config).file("server.js", &app).serve();
            ganger(&run, 0, &["reload", "app"]);
            run.stop();
            let said = run.output();
            for word in ["flushed", "empty 0"] {
                let count = said.iter().filter(|line| line.ends_with(word)).count();
                assert_eq!(count, 4, "{command}, {word}: {said:?}");
            }
        }
    }
}

#[test]
fn a_handler_that_ends_its_worker_by_the_signal_itself_finds_no_other_handler_in_its_way() {
    // signal-exit goes only when its own handler is the only one.
    let app = server(
        "process.on('SIGTERM', function mine() {
  say(`handlers: ${process.listenerCount('SIGTERM')}`);
  process.removeListener('SIGTERM', mine);
  process.kill(process.pid, 'SIGTERM');
});
process.on('beforeExit', () => say('stayed'));",
    );
    for version in versions() {
        let run = App::new(&version, &app).serve();
        run.stop();
        let said = run.output();
        assert_eq!(said.iter().filter(|line| line.ends_with("handlers: 1")).count(), 2, "{said:?}");
        assert!(!said.iter().any(|line| line.ends_with("stayed")), "{said:?}");
        assert_eq!(run.count("signal 15"), 0, "this is how it was told to end");
    }
}

#[test]
fn a_handler_for_another_signal_than_the_stop_signal_is_pointed_out_once() {
    let app = server("process.on('SIGINT', () => process.exit(0));");
    for version in versions() {
        for (settings, times) in [("", 1), ("[stop]\nsignal = 'INT'", 0)] {
            let run = App::new(&version, &app).configured(settings).serve();
            run.stop();
            assert_eq!(run.count("set stop.signal = \"INT\" if"), times, "{settings}");
        }
    }
}

#[test]
fn a_stop_signal_that_nobody_handles_is_not_waited_for() {
    let app = server(
        "const gone = () => {};
process.on('SIGTERM', gone);
server.on('close', () => process.removeListener('SIGTERM', gone));
process.on('beforeExit', () => say('empty'));",
    );
    for version in versions() {
        let run = App::new(&version, &app).serve();
        run.stop();
        let said = run.output();
        assert_eq!(said.iter().filter(|line| line.ends_with("empty")).count(), 2, "{said:?}");
    }
}

#[test]
fn a_worker_that_crashes_is_replaced_while_the_other_serves() {
    for version in versions() {
        let app = server("setImmediate(() => fs.existsSync('boom') || 0);");
        let run = App::new(&version, &app).serve();
        let victim = run.worker_pids()[0];
        kill(Pid::from_raw(i32::try_from(victim).unwrap()), Signal::SIGKILL).unwrap();
        for _ in 0..20 {
            run.get("/");
        }
        run.said_times(3, " is ready after ");
        until_all_answered(&run, &["0", "1"]);
        assert!(!run.worker_pids().contains(&victim));
        run.stop();
    }
}

#[test]
fn an_uncaught_error_ends_the_worker_and_its_text_is_in_the_output() {
    let app = server(
        "server.on('request', (request) => { if (request.url === '/boom') setImmediate(() => { throw new Error('boom'); }); });",
    );
    let run = App::new(&newest(), &app).serve();
    run.get("/boom");
    run.until(From::Log, "the error", |line| line.contains("Error: boom"));
    run.said("exited with status 1");
    run.said_times(3, " is ready after ");
    run.stop();
}

#[test]
fn an_app_that_disconnects_itself_is_replaced() {
    for deed in
        ["process.disconnect()", "require('cluster').worker.disconnect()", "require('cluster').worker.kill()"]
    {
        eprintln!("{deed}");
        let app = server(&format!(
            "server.on('request', (request) => {{ if (request.url === '/leave') setImmediate(() => {deed}); }});"
        ));
        let run = App::new(&newest(), &app).serve();
        run.get("/leave");
        run.said_times(3, " is ready after ");
        until_all_answered(&run, &["0", "1"]);
        run.stop();
    }
}

#[test]
fn a_slot_is_the_instance_number_through_all_generations() {
    let run = App::new(&newest(), &server("")).serve();
    for _ in 0..2 {
        ganger(&run, 0, &["restart", "app"]);
        until_all_answered(&run, &["0", "1"]);
    }
    run.stop();
}

#[test]
fn a_worker_that_closes_its_last_server_and_lives_on_is_told_and_shown_until_it_listens_again() {
    // The other worker is told to do the same, and the first one listens again; connections find out which they met.
    let app = server(
        "setInterval(() => {}, 1000);
process.on('message', (message) => message === 'close' ? server.close() : server.listen(process.env.PORT));",
    );
    for balance in ["shared", "round-robin"] {
        let run = App::new(&newest(), &app).configured(&format!("[node]\nbalance = '{balance}'")).serve();
        let pids = run.worker_pids();
        ganger(&run, 0, &["send", "app:0", "\"close\""]);
        let line = run.said("has closed the last of its servers and serves nobody; it stays");
        assert!(line.contains("worker 0 (pid "), "{line}");
        let status = ganger(&run, 0, &["status", "app"]);
        assert_eq!(status.matches("serves nobody: it has closed").count(), 1, "{status}");
        // The other one serves all that comes.
        (0..10).for_each(|_| assert_eq!(run.get("/"), "1"));
        ganger(&run, 0, &["send", "app:1", "\"close\""]);
        run.said("serves nobody, and no other worker does: who connects waits");
        ganger(&run, 0, &["send", "app:0", "\"listen\""]);
        run.said("serves again");
        assert_eq!(run.get("/"), "0");
        let status = ganger(&run, 0, &["status", "app"]);
        assert!(status.matches("serves nobody").count() == 1 && !status.contains("\"\""), "{status}");
        assert_eq!((run.worker_pids(), run.count("serves nobody")), (pids, 2));
        run.stop();
    }
}

#[test]
fn a_socket_that_all_workers_close_while_they_serve_another_is_told_of_until_one_listens_on_it_again() {
    let config = "command = ['node', 'server.js']\nlisten = ['127.0.0.1:0', '@DIR@/admin']\nworkers = 2";
    let app = server(
        "const admin = require('http').createServer((request, response) => response.end('admin'));
admin.listen(`${__dirname}/admin`);
process.on('message', (message) => message === 'close' ? admin.close() : admin.listen(`${__dirname}/admin`));",
    );
    let run = App::with(&newest(), config).file("server.js", &app).serve();
    ganger(&run, 0, &["send", "app", "\"close\""]);
    let line = run.said("no worker listens on ");
    assert!(line.contains("/admin (app) any more, though one did: what comes there waits"), "{line}");
    ganger(&run, 0, &["send", "app:0", "\"listen\""]);
    run.said("/admin (app) again");
    until_all_answered(&run, &["0", "1"]);
    assert_eq!((run.count("serves nobody"), run.count("no worker listens on ")), (0, 1));
    run.stop();
}

#[test]
fn a_worker_that_only_ever_listened_on_a_port_of_its_own_serves_that() {
    let config =
        "command = ['node', 'server.js']\nlisten = ['0.0.0.0:0']\nworkers = 2\n[ready]\nwhen = 'message'";
    let app = "const http = require('http');
const server = http.createServer((request, response) => response.end('own'));
const first = process.env.NODE_APP_INSTANCE === '0';
const done = () => { process.send('ready'); if (!first) setTimeout(() => console.log('much later'), 6000); };
server.listen(first ? process.env.PORT : 0, first ? '0.0.0.0' : '127.0.0.1', done);";
    let run = App::with(&newest(), config).file("server.js", app).serve();
    run.until(From::Out, "six seconds", |line| line.ends_with("much later"));
    assert_eq!(run.count("serves nobody"), 0);
    run.stop();
}
