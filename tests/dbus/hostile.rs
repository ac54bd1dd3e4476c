//! Peers that break the rules: whatever they send, the next client is served.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command as Process;
use std::sync::atomic::{AtomicUsize, Ordering};

use ganger::dbus::client::ClientError;
use ganger::dbus::{Origin, Wish};
use ganger::pool::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::fake::{Fake, PATIENCE, run};

const SHAKE: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// A well-formed `Introspect` call, to be spoiled.
fn call() -> Vec<u8> {
    let message = zbus::Message::method_call("/org/ganger1", "Introspect")
        .interface("org.freedesktop.DBus.Introspectable")
        .build(&())
        .unwrap();
    message.data().to_vec()
}

/// Counts panics of any task: the product aborts where a test's runtime would go on.
fn count_panics() -> &'static AtomicUsize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    &PANICS
}

/// Well-formed calls with arguments of many types, to be spoiled.
fn calls() -> [Vec<u8>; 5] {
    let build =
        |member, interface, body: &dyn Fn(zbus::message::Builder<'_>) -> zbus::Result<zbus::Message>| {
            let call = zbus::Message::method_call("/org/ganger1", member).interface(interface);
            body(call.destination("org.ganger1.my_2dapp")).unwrap().data().to_vec()
        };
    let (app, properties) = ("org.ganger1.App", "org.freedesktop.DBus.Properties");
    let nested = zbus::Variant::from(vec![BTreeMap::from([("a", zbus::Variant::from((1u8, 2.5f64, "x")))])]);
    [
        call(),
        build("Get", properties, &|call| call.build(&(app, "Ready"))),
        build("Set", properties, &|call| call.build(&(app, "Ready", &nested))),
        build("Signal", app, &|call| call.build(&(-1i32, "USR2"))),
        build("Send", app, &|call| call.build(&(0i32, "{\"a\": [1, 2, {\"b\": null}]}"))),
    ]
}

/// Reads until the server closes.
async fn until_closed(stream: &mut UnixStream) {
    let mut sink = [0; 4096];
    let closed = async { while let Ok(1..) = stream.read(&mut sink).await {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("the server keeps the connection");
}

#[tokio::test]
async fn a_peer_that_stops_in_the_handshake_holds_up_nobody() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(fake.socket()).await.unwrap());
    }
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
}

#[tokio::test]
async fn a_message_that_claims_a_hundred_megabytes_ends_only_its_own_connection() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut peer = UnixStream::connect(fake.socket()).await.unwrap();
    let mut message = call();
    message[4..8].copy_from_slice(&100_000_000u32.to_le_bytes());
    peer.write_all(&[SHAKE, &message[..]].concat()).await.unwrap();
    until_closed(&mut peer).await;
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
}

#[tokio::test]
async fn spoiled_messages_never_stop_the_server() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let panics = count_panics();
    let calls = calls();
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    for _ in 0..rounds {
        let mut peer = UnixStream::connect(fake.socket()).await.unwrap();
        let mut message = calls[usize::try_from(random()).unwrap() % calls.len()].clone();
        for _ in 0..1 + random() % 6 {
            let place = usize::try_from(random()).unwrap() % message.len();
            message[place] = random().to_le_bytes()[0];
        }
        let _ = peer.write_all(&[SHAKE, &message[..]].concat()).await;
        let _ = peer.shutdown().await;
        until_closed(&mut peer).await;
    }
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
}

/// A call of `member` with arguments that nobody expected, or that somebody did.
async fn call_strangely(
    connection: &zbus::Connection,
    (path, interface, member): (&str, &str, &str),
    random: &mut impl FnMut() -> u64,
) -> zbus::Result<zbus::Message> {
    const TEXTS: [&str; 12] = [
        "",
        "+1",
        "-1",
        "4294967296",
        "+-1",
        "HUP",
        "RTMIN+99",
        "{",
        "{\"a\":1}",
        "\u{202e}\x1b[2J",
        "0x1",
        "٣",
    ];
    let text = TEXTS[usize::try_from(random()).unwrap() % TEXTS.len()];
    let number = random().to_le_bytes();
    let number = i32::from_le_bytes([number[0], number[1], number[2], number[3]]) >> (random() % 32);
    let call = |body: &dyn Fn(zbus::message::Builder<'_>) -> zbus::Result<zbus::Message>| {
        body(zbus::Message::method_call(path, member).interface(interface)).unwrap()
    };
    let message = match random() % 13 {
        0 => call(&|call| call.build(&())),
        1 => call(&|call| call.build(&number)),
        2 => call(&|call| call.build(&text)),
        3 | 4 => call(&|call| call.build(&(number, text))),
        5 => call(&|call| call.build(&(text, number))),
        6 => call(&|call| call.build(&(text, text))),
        7 => call(&|call| call.build(&f64::from(number))),
        8 => call(&|call| call.build(&vec![text; 100])),
        9 => call(&|call| call.build(&zbus::Variant::from(number))),
        10 => call(&|call| call.build(&BTreeMap::from([(text, vec![number])]))),
        11 => call(&|call| call.build(&(number, text.repeat(9000)))),
        _ => call(&|call| call.build(&((text, (number, true)), u64::MAX))),
    };
    let mut replies = zbus::MessageStream::from(connection);
    connection.send(&message).await?;
    loop {
        let reply = std::future::poll_fn(|task| {
            use zbus::export::futures_core::Stream as _;
            std::pin::Pin::new(&mut replies).poll_next(task)
        });
        let reply = reply.await.expect("the connection stands")?;
        if reply.header().reply_serial() == Some(message.primary_header().serial_num()) {
            return Ok(reply);
        }
    }
}

#[tokio::test]
async fn every_method_answers_whatever_it_is_given() {
    let mut fake = Fake::new();
    let answering = fake.always(Outcome::Done);
    let _server = fake.serve();
    let stream = std::os::unix::net::UnixStream::connect(fake.socket()).unwrap();
    let connection = zbus::connection::Builder::unix_stream(stream).p2p().build().await.unwrap();
    let (app, worker) =
        (("/org/ganger1", "org.ganger1.App"), ("/org/ganger1/worker/0", "org.ganger1.Worker"));
    let properties = "org.freedesktop.DBus.Properties";
    let mut methods: Vec<(&str, &str, &str)> =
        ["Get", "Set", "GetAll"].map(|member| ("/org/ganger1", properties, member)).to_vec();
    for member in ["Reload", "ReloadByManager", "Restart", "Scale", "Signal", "Reset", "Send", "Stop"] {
        methods.extend([(app.0, app.1, member), (worker.0, worker.1, member)]);
    }
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    let (mut done, mut refused) = (0, 0);
    for round in 0..rounds {
        let method = methods[round % methods.len()];
        let asked = call_strangely(&connection, method, &mut random);
        let reply = tokio::time::timeout(PATIENCE, asked).await.expect("an answer").unwrap();
        match reply.header().error_name().map(ToString::to_string) {
            None => done += 1,
            Some(name) => {
                let known = ["org.freedesktop.DBus.Error.", "org.ganger1.Error."];
                assert!(known.iter().any(|known| name.starts_with(known)), "{method:?}: {name}");
                refused += 1;
            }
        }
    }
    assert!(done > 0 && refused > done, "{done} done, {refused} refused");
    drop(connection);
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
    answering.abort();
}

#[tokio::test]
async fn a_caller_that_asks_without_end_and_reads_nothing_holds_up_nobody() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut peer = UnixStream::connect(fake.socket()).await.unwrap();
    peer.write_all(SHAKE).await.unwrap();
    let calls = call().repeat(100);
    // Until the server no longer reads, because its answers are not read.
    while let Ok(Ok(())) =
        tokio::time::timeout(std::time::Duration::from_millis(100), peer.write_all(&calls)).await
    {}
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
}

#[tokio::test]
async fn another_user_may_look_and_may_not_change_anything() {
    let me = nix::unistd::geteuid().as_raw();
    // Root is turned into nobody by the test, anybody else is a stranger to a supervisor of another user.
    let fake = Fake::of_user(me + 1);
    let _server = fake.serve();
    if me != 0 {
        let mut client = fake.client().await;
        assert_eq!(client.view(PATIENCE).await.unwrap().app, "my-app");
        let refused = client.call(&Wish::Reload { origin: Origin::Private }, Some(PATIENCE), |_| {}).await;
        assert!(matches!(refused, Err(ClientError::NotPermitted(_))), "{refused:?}");
        return;
    }
    let busctl = |arguments: &str| {
        let mut process = Process::new("busctl");
        process.arg(format!("--address=unix:path={}", fake.socket().display()));
        process.arg("--").args(arguments.split_whitespace()).uid(65534).gid(65534);
        process
    };
    let look = run(busctl("get-property org.ganger1.my_2dapp /org/ganger1 org.ganger1.App Name")).await;
    assert_eq!(String::from_utf8_lossy(&look.stdout), "s \"my-app\"\n", "{look:?}");
    for method in
        ["Reload", "Stop", "Restart i -1", "Scale s 0", "Signal is -1 KILL", "Reset i 0", "Send is 0 1"]
    {
        let call = format!("call org.ganger1.my_2dapp /org/ganger1 org.ganger1.App {method}");
        let refused = run(busctl(&call)).await;
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && why.contains("Access denied"), "{method}: {why}");
    }
}

#[tokio::test]
async fn every_look_is_answered_while_no_verdict_comes() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    let mut asker = fake.client().await;
    let wish = Wish::Reload { origin: Origin::Private };
    let looking = async {
        let ask = fake.asks.recv().await.unwrap();
        let mut client = fake.client().await;
        for _ in 0..100 {
            client.view(PATIENCE).await.unwrap();
        }
        ask.reply.send(crate::fake::verdict(Outcome::Done)).unwrap();
    };
    let (answer, ()) = tokio::join!(asker.call(&wish, None, |_| {}), looking);
    assert_eq!(answer.unwrap().outcome, Outcome::Done);
}
