//! What apps say: told to those who may change something, on the private socket, and to nobody else.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use ganger::dbus::{MAX_WAITING_MESSAGES, Notice};

use crate::fake::{Fake, PATIENCE, label};

fn says(json: &str) -> Notice {
    Notice::Message(label(), json.to_owned())
}

#[tokio::test]
async fn who_may_change_something_is_told_what_an_app_says() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    client.watch(PATIENCE).await.unwrap();
    fake.hub.messages().send(Arc::new(says("{\"job\":[1,null]}"))).unwrap();
    let told = client.happening().await.unwrap();
    assert_eq!(
        (told.name.as_str(), told.slot, told.pid, told.worker),
        ("Message", Some(0), Some(2003), Some(3))
    );
    assert_eq!(told.json.as_deref(), Some("{\"job\":[1,null]}"));
}

#[tokio::test]
async fn a_client_that_did_not_ask_is_told_nothing() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    client.view(PATIENCE).await.unwrap();
    assert!(fake.hub.messages().send(Arc::new(says("1"))).is_err(), "somebody listens");
}

#[tokio::test]
async fn another_user_is_told_what_happens_and_not_what_an_app_says() {
    let me = nix::unistd::geteuid();
    // Root is turned into nobody by the test, anybody else is a stranger to a supervisor of another user.
    let fake = Fake::of_user(me.as_raw() + 1);
    let _server = fake.serve();
    let mut process = Process::new(env!("CARGO_BIN_EXE_ganger"));
    let runtime = fake.directory.path().join("ganger/my-app");
    std::fs::create_dir(runtime.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(fake.directory.path(), &runtime).unwrap();
    process.args(["events", "--json", "my-app"]).env_clear().env("RUNTIME_DIRECTORY", &runtime);
    if me.is_root() {
        process.uid(65534).gid(65534);
    }
    let mut child = process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let mut first = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).unwrap();
        line
    });
    // Until the listener is there, what is told is lost: tell it again, the message first.
    let line = loop {
        let _ = fake.hub.messages().send(Arc::new(says("\"secret\"")));
        let _ = fake.notices.send(Notice::PoolReady);
        if let Ok(line) = tokio::time::timeout(std::time::Duration::from_millis(20), &mut first).await {
            break line.unwrap();
        }
    };
    let _ = child.kill();
    child.wait().unwrap();
    assert!(line.contains("\"pool-ready\""), "{line}");
}

#[tokio::test]
async fn a_flood_of_messages_is_counted_as_missed_and_hides_no_other_signal() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    client.watch(PATIENCE).await.unwrap();
    // All at once, before the server's task can run: the bounded channel keeps the newest.
    fake.notices.send(Notice::PoolReady).unwrap();
    for number in 0..MAX_WAITING_MESSAGES + 9 {
        fake.hub.messages().send(Arc::new(says(&number.to_string()))).unwrap();
    }
    fake.notices.send(Notice::Stopping).unwrap();
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(client.happening().await.unwrap());
    }
    let names: Vec<_> = told.iter().map(|happening| happening.name.as_str()).collect();
    assert_eq!(names, ["PoolReady", "Stopping", "SignalsMissed", "Message"]);
    assert_eq!((told[2].missed, told[3].json.as_deref()), (Some(9), Some("9")));
}
