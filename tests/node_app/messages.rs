//! What is said to an app, by an app, and between its workers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::app::{App, ganger, newest, until_all_answered, versions};
use crate::stage::{From, Run};

/// Says what it hears, and does what it is told: `{say: x}` is passed to `process.send`.
const APP: &str = "
const fs = require('fs');
const slot = process.env.NODE_APP_INSTANCE;
process.on('message', (message) => {
  if (message && message.say !== undefined) process.send(message.say);
  else fs.writeSync(1, `heard by ${slot}: ${JSON.stringify(message)}\\n`);
});
require('http').createServer((_, response) => response.end(slot)).listen(process.env.PORT);";

#[track_caller]
fn heard(run: &Run, slot: u32, json: &str) {
    let wanted = format!("heard by {slot}: {json}");
    run.until(From::Out, &wanted, |line| line.ends_with(&wanted));
}

/// Lets the app of slot 0 say this.
#[track_caller]
fn let_say(run: &Run, json: &str) {
    ganger(run, 0, &["send", "app:0", &format!("{{\"say\":{json}}}")]);
}

/// `ganger events` whose lines come by a channel; listening when this returns.
fn events(run: &Run) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut command = run.client_command(&["events", "--json", "app"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    // Until the listener is there, what is said is lost: say it again.
    let_say(run, "\"are you there?\"");
    while lines.recv_timeout(std::time::Duration::from_millis(200)).is_err() {
        let_say(run, "\"are you there?\"");
    }
    (child, lines)
}

/// The next event that is not the greeting.
fn next(lines: &std::sync::mpsc::Receiver<String>) -> serde_json::Value {
    loop {
        let line = lines.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        if !line.contains("are you there?") {
            return serde_json::from_str(&line).unwrap();
        }
    }
}

#[test]
fn a_message_reaches_one_slot_or_all() {
    for version in versions() {
        let run = App::new(&version, APP).serve();
        ganger(&run, 0, &["send", "app:1", "{\"a\":[1,null]}"]);
        heard(&run, 1, "{\"a\":[1,null]}");
        ganger(&run, 0, &["send", "app", "\"to all\""]);
        heard(&run, 0, "\"to all\"");
        heard(&run, 1, "\"to all\"");
        let all = run.all(From::Out);
        assert!(!all.iter().any(|line| line.contains("heard by 0: {\"a\"")), "{all:?}");
        run.stop();
    }
}

#[test]
fn a_message_that_is_no_json_or_nodes_own_is_refused() {
    let run = App::new(&newest(), APP).serve();
    for bad in ["{", "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"disconnect\"}"] {
        let output = run.client(&["send", "app", bad]);
        assert!(!output.status.success(), "{bad}: {output:?}");
    }
    assert_eq!(run.worker_pids().len(), 2);
    run.stop();
}

#[test]
fn workers_talk_to_one_another_by_slot_to_others_and_to_all() {
    for version in versions() {
        let app = App::new(&version, APP).configured("[ready]\nwhen = 'listening'");
        let run = app.serve();
        let_say(&run, r#"{"ganger":{"to":1},"message":"one"}"#);
        heard(&run, 1, r#"{"ganger":{"from":0},"message":"one"}"#);
        let_say(&run, r#"{"ganger":{"to":"others","from":9},"message":"two"}"#);
        heard(&run, 1, r#"{"ganger":{"from":0},"message":"two"}"#);
        let_say(&run, r#"{"ganger":{"to":"all"},"message":"three"}"#);
        heard(&run, 0, r#"{"ganger":{"from":0},"message":"three"}"#);
        heard(&run, 1, r#"{"ganger":{"from":0},"message":"three"}"#);
        let zero: Vec<String> =
            run.all(From::Out).into_iter().filter(|line| line.contains("heard by 0")).collect();
        assert_eq!(zero.len(), 1, "{zero:?}");
        run.stop();
    }
}

#[test]
fn what_an_app_says_is_among_the_events() {
    let run = App::new(&newest(), APP).serve();
    let (mut child, lines) = events(&run);
    let_say(&run, r#"{"type":"process:msg","data":{"n":1}}"#);
    let event = next(&lines);
    assert_eq!((event["event"].as_str(), event["slot"].as_u64()), (Some("message"), Some(0)), "{event}");
    assert_eq!(event["message"], serde_json::json!({"type": "process:msg", "data": {"n": 1}}));
    // What is for other workers, or Node's own, is for nobody else.
    let_say(&run, r#"{"ganger":{"to":1},"message":"hidden"}"#);
    let_say(&run, r#"{"cmd":"NODE_x"}"#);
    let_say(&run, &format!("\"{}\"", "x".repeat(60_000)));
    let_say(&run, "\"last\"");
    assert_eq!(next(&lines)["message"].as_str().map(str::len), Some(60_000));
    assert_eq!(next(&lines)["message"], "last");
    let _ = child.kill();
    child.wait().unwrap();
    run.stop();
}

#[test]
fn a_worker_that_floods_another_that_does_not_read_costs_it_nothing() {
    // Slot 1 does not read until it is let go; slot 0 meanwhile sends it more than may wait for a worker.
    let server = "
const fs = require('fs');
const slot = process.env.NODE_APP_INSTANCE;
const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
process.on('message', (message) => message.message === 'done' && fs.writeSync(1, `${slot} is done\\n`));
require('http').createServer((request, response) => {
  response.end(slot);
  if (request.url === '/flood' && slot === '0') {
    const message = { ganger: { to: 1 }, message: 'x'.repeat(950000) };
    for (let n = 0; n < 36; n++) process.send(message);
    process.send({ ganger: { to: 0 }, message: 'done' });
  } else if (request.url === '/sleep' && slot === '1') {
    setImmediate(() => { while (!fs.existsSync('wake')) pause(); });
  }
}).listen(process.env.PORT);";
    let run = App::new(&newest(), server).configured("[node]\nbalance = 'round-robin'").serve();
    while run.get("/sleep") != "1" {}
    while run.get("/flood") != "0" {}
    run.said(
        "dropped a message from worker 0 to worker 1, which does not read what it is sent: more than 1048576 bytes or \
         2048 messages wait for it already",
    );
    run.until(From::Out, "the end of the flood", |line| line.ends_with("0 is done"));
    std::fs::write(run.path("wake"), "").unwrap();
    until_all_answered(&run, &["1"]);
    assert_eq!(run.count("is of no use any more"), 0);
    assert_eq!(run.count(" is ready after "), 2);
    run.stop();
}

#[test]
fn what_is_too_long_for_whom_it_is_for_is_told_with_its_own_limit_and_once() {
    let server = "
const long = (ganger, length) => process.send({ ganger, message: 'x'.repeat(length) });
process.on('message', (message) => {
  if (message === 'workers') for (let n = 0; n < 3; n++) long({ to: 1 }, 1048576);
  if (message === 'others') long({ to: 'others' }, 1048500);
  if (message === 'nobody') long({ to: 7 }, 1);
  if (message === 'senseless') long({ to: [0, 1] }, 1);
  if (message === 'listeners') process.send('y'.repeat(65536));
  if (message.message) require('fs').writeSync(1, `${process.env.NODE_APP_INSTANCE} has ${message.message.length}\\n`);
  if (message.say) process.send(message.say);
});
require('http').createServer((_, response) => response.end('x')).listen(process.env.PORT);";
    let run = App::new(&newest(), server).serve();
    let (mut child, lines) = events(&run);
    let text = "dropped a message from worker 0 to worker 1: it has 1048608 bytes, and between workers 1048576 are the most";
    for word in ["workers", "others", "nobody", "senseless", "listeners"] {
        ganger(&run, 0, &["send", "app:0", &format!("\"{word}\"")]);
    }
    run.said("dropped a message from worker 0 to those who listen (ganger events): it has 65538 bytes, and for them 65536");
    run.said("dropped a message from worker 0 to worker 7: there is none");
    run.said(
        "dropped a message from worker 0 to a list: `to` is the number of a slot, \"others\" or \"all\"",
    );
    run.until(From::Out, "what fits", |line| line.ends_with("1 has 1048500"));
    // Two more of the same kind are only counted.
    assert_eq!((run.count(text), run.count("between workers 1048576")), (1, 1));
    let_say(&run, "\"last\"");
    assert_eq!(next(&lines)["message"], "last");
    let _ = child.kill();
    child.wait().unwrap();
    run.stop();
}

#[test]
fn a_worker_that_sends_a_line_without_end_is_killed_and_the_log_says_why() {
    let server = "
process.on('message', (length) => process.send('x'.repeat(length - 2)));
require('http').createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE)).listen(process.env.PORT);";
    let run = App::new(&newest(), server).serve();
    ganger(&run, 0, &["send", "app:0", "16777216"]);
    ganger(&run, 0, &["send", "app:1", "16777217"]);
    let line = run.said(
        "is killed, since its channel is of no use any more: it sent a line longer than 16777216 bytes",
    );
    assert!(line.contains("worker 1 (pid "), "{line}");
    run.said_times(3, " is ready after ");
    until_all_answered(&run, &["0", "1"]);
    assert_eq!(run.count("is of no use any more"), 1);
    run.stop();
}
