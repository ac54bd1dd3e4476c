//! The bus: a real dbus-daemon of the test's own, with ganger's shipped policy, and a polkit that answers as
//! the test wants.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;

use ganger::dbus::{Bus, Notice, Origin, Server, Wish};
use ganger::pool::{Outcome, Slot};
use harness::MessageBus;
use tokio::sync::Mutex;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use crate::fake::{Fake, PATIENCE, busctl, run, stdout, usage};

pub(crate) const NAME: &str = "org.ganger1.my_2dapp";
const POLICY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/root/usr/share/dbus-1/system.d/org.ganger1.conf");

/// A bus as strict as the system's (nobody owns a name, nobody calls a method, but by ganger's policy), where the test
/// may also be polkit.
pub(crate) fn strict_bus(directory: &Path) -> MessageBus {
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let rules = format!(
        "<type>system</type>
         <policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/>
         <allow send_type=\"signal\"/><allow receive_type=\"method_call\"/>
         <allow send_requested_reply=\"true\" send_type=\"method_return\"/>
         <allow send_requested_reply=\"true\" send_type=\"error\"/>
         <allow receive_type=\"method_return\"/><allow receive_type=\"error\"/>
         <allow receive_type=\"signal\"/><allow send_destination=\"org.freedesktop.DBus\"/>
         <allow send_destination=\"org.freedesktop.PolicyKit1\"/></policy>
         <policy user=\"{me}\"><allow own=\"org.freedesktop.PolicyKit1\"/><allow own_prefix=\"org.ganger1\"/></policy>
         <include>{POLICY}</include>"
    );
    MessageBus::start(directory, &rules)
}

/// A client of the bus that is told of every signal.
pub(crate) async fn listener(address: &str) -> (Connection, MessageStream) {
    let connection = zbus::connection::Builder::address(address).build().await.unwrap();
    let rule = zbus::MatchRule::builder().msg_type(Type::Signal).build().unwrap();
    let stream = MessageStream::for_match_rule(rule, &connection, None).await.unwrap();
    (connection, stream)
}

async fn next(stream: &mut MessageStream) -> Message {
    let waiting = std::future::poll_fn(|context| {
        zbus::export::futures_core::Stream::poll_next(std::pin::Pin::new(&mut *stream), context)
    });
    tokio::time::timeout(PATIENCE, waiting).await.expect("no signal in time").unwrap().unwrap()
}

/// Waits for the signal `member`.
async fn signal(stream: &mut MessageStream, member: &str) -> Message {
    loop {
        let message = next(stream).await;
        if message.header().member().is_some_and(|name| name.as_str() == member) {
            return message;
        }
    }
}

/// Waits until the app's name has an owner other than `before`.
pub(crate) async fn owned(stream: &mut MessageStream, before: &str) {
    loop {
        let changed = signal(stream, "NameOwnerChanged").await;
        let (name, _, new) = changed.body().deserialize::<(String, String, String)>().unwrap();
        if name == NAME && !new.is_empty() && new != before {
            return;
        }
    }
}

fn as_nobody(address: &str, arguments: &str) -> Process {
    let mut process = Process::new("busctl");
    process.arg(format!("--address={address}")).arg("--").args(arguments.split_whitespace());
    if nix::unistd::geteuid().is_root() {
        process.uid(65534).gid(65534);
    }
    process
}

/// A directory that everyone may enter.
pub(crate) fn open_directory(fake: &Fake) -> &Path {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(fake.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    fake.directory.path()
}

#[tokio::test]
async fn a_person_with_busctl_sees_and_does_everything() {
    let mut fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    let ask = |arguments: &str| {
        let (address, arguments) = (daemon.address.clone(), arguments.to_owned());
        async move { busctl(&address, &arguments).await }
    };
    let get = format!("get-property {NAME} /org/ganger1 org.ganger1.App Name Listeners Ready");
    assert_eq!(stdout(&ask(&get).await), "s \"my-app\"\na(ss) 1 \"web\" \"[::]:3000\"\nu 2\n");
    let get = format!("get-property {NAME} /org/ganger1/worker/1 org.ganger1.Worker PID LastFailure");
    let oom = "killed by the kernel for want of memory (oom)";
    assert_eq!(stdout(&ask(&get).await), format!("u 2002\n(ss) \"oom\" \"{oom}\"\n"));
    let tree = stdout(&ask(&format!("--list tree {NAME}")).await);
    assert!(tree.ends_with("/org/ganger1/worker\n/org/ganger1/worker/0\n/org/ganger1/worker/1\n"), "{tree}");
    let members = stdout(&ask(&format!("introspect {NAME} /org/ganger1")).await);
    for member in [".Reload", ".LastReload", ".WorkerExited", ".GetManagedObjects"] {
        assert!(members.contains(member), "{members}");
    }
    let objects = format!("call {NAME} /org/ganger1 org.freedesktop.DBus.ObjectManager GetManagedObjects");
    assert!(stdout(&ask(&objects).await).starts_with("a{oa{sa{sv}}} 2 \"/org/ganger1/worker/0\""));
    fake.always(Outcome::Done);
    let reload = format!("call {NAME} /org/ganger1 org.ganger1.App Reload");
    assert_eq!(stdout(&ask(&reload).await), "ssta{sv} \"done\" \"reloaded\" 2 0\n");
}

#[tokio::test]
async fn who_waits_for_a_look_at_workers_holds_up_no_other_caller_of_the_bus() {
    let mut fake = Fake::new();
    let (mut asked, looks) = fake.measured();
    let daemon = strict_bus(open_directory(&fake));
    let (connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    let get = |path, property| {
        let (interface, connection) = (if path == "/org/ganger1" { "App" } else { "Worker" }, &connection);
        async move {
            let which = (format!("org.ganger1.{interface}"), property);
            let properties = Some("org.freedesktop.DBus.Properties");
            let call = connection.call_method(Some(NAME), path, properties, "Get", &which);
            call.await.unwrap().body().deserialize::<zbus::OwnedVariant>().unwrap()
        }
    };
    let quick = async {
        // The first one waits for its look by now.
        asked.recv().await.unwrap();
        let ready = get("/org/ganger1", "Ready").await;
        looks.send_replace(usage());
        ready
    };
    let (memory, ready) = tokio::join!(get("/org/ganger1/worker/0", "Memory"), quick);
    assert_eq!(u32::try_from(ready).unwrap(), 2);
    assert_eq!(u64::try_from(memory).unwrap(), 7 << 20, "it was answered before its look was there");
}

#[tokio::test]
async fn what_an_app_says_never_goes_to_the_bus() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    // The listener is there: it is told this.
    fake.notices.send(Notice::Stopping).unwrap();
    signal(&mut stream, "Stopping").await;
    let message = Notice::Message(crate::fake::label(), "1".to_owned());
    assert!(fake.hub.messages().send(std::sync::Arc::new(message)).is_err(), "somebody listens");
}

#[tokio::test]
async fn a_failed_reload_is_an_error_with_the_reason() {
    let mut fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    fake.always(Outcome::Failed);
    let failed = busctl(&daemon.address, &format!("call {NAME} /org/ganger1 org.ganger1.App Reload")).await;
    let why = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        !failed.status.success() && why.contains("worker 1 of generation 2 exited with status 3"),
        "{why}"
    );
}

#[tokio::test]
async fn changes_and_events_are_told_to_everyone() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::UserAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    fake.change(|view| view.ready = 1);
    let changed = signal(&mut stream, "PropertiesChanged").await;
    assert_eq!(changed.header().path().unwrap().as_str(), "/org/ganger1");
    let body = changed.body();
    let (interface, values, stale) =
        body.deserialize::<(String, BTreeMap<String, zbus::OwnedVariant>, Vec<String>)>().unwrap();
    assert_eq!((interface.as_str(), stale.len()), ("org.ganger1.App", 0));
    assert_eq!(values.keys().map(String::as_str).collect::<Vec<_>>(), ["Ready", "Status"]);
    fake.change(|view| {
        view.slots.remove(0);
    });
    let removed = signal(&mut stream, "InterfacesRemoved").await;
    let body = removed.body();
    let (path, _) = body.deserialize::<(zbus::ObjectPath<'_>, Vec<String>)>().unwrap();
    assert_eq!(path.as_str(), "/org/ganger1/worker/0");
    fake.notices.send(Notice::SlotWaiting(Slot(1), PATIENCE)).unwrap();
    let waiting = signal(&mut stream, "SlotWaiting").await;
    assert_eq!(waiting.body().deserialize::<(u32, u64)>().unwrap(), (1, 30_000_000));
}

#[tokio::test]
async fn many_changes_at_once_are_told_as_one() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::UserAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    let begin = tokio::time::Instant::now();
    for restarts in 100..200 {
        fake.change(|view| view.restarts = restarts);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let (mut told, mut seen) = (0, 0);
    while seen != 199 {
        let changed = signal(&mut stream, "PropertiesChanged").await;
        let body = changed.body();
        let (_, values, _) =
            body.deserialize::<(String, BTreeMap<String, zbus::OwnedVariant>, Vec<String>)>().unwrap();
        seen = u64::try_from(&values["Restarts"]).unwrap();
        told += 1;
    }
    let rounds = begin.elapsed().as_millis() / 100 + 2;
    assert!(told <= rounds, "told {told} times");
}

#[tokio::test]
async fn a_bus_that_hangs_holds_up_nothing_and_is_told_what_it_missed() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _bus = Server::bus(Bus::UserAt(daemon.address.clone()), fake.hub.clone());
    let _private = fake.serve();
    owned(&mut stream, "").await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    for _ in 0..20_000 {
        fake.notices.send(Notice::PoolReady).unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    let missed = signal(&mut stream, "SignalsMissed").await;
    assert!(missed.body().deserialize::<u64>().unwrap() > 1000);
}

#[tokio::test]
async fn the_daemon_is_told_which_process_of_which_user_asked() {
    let mut fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    let mut busctl = Process::new("busctl")
        .arg(format!("--address={}", daemon.address))
        .args(["call", NAME, "/org/ganger1", "org.ganger1.App", "Reload"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ask = tokio::time::timeout(PATIENCE, fake.asks.recv()).await.unwrap().unwrap();
    assert_eq!((ask.caller.uid, ask.caller.pid), (Some(nix::unistd::geteuid().as_raw()), Some(busctl.id())));
    ask.reply.send(crate::fake::verdict(Outcome::Done)).unwrap();
    let ended = tokio::task::spawn_blocking(move || busctl.wait().unwrap()).await.unwrap();
    assert!(ended.success());
}

#[tokio::test]
async fn no_other_user_can_take_a_name_of_ours() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let take = "call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus RequestName su";
    // Without root there is no other user to play: then a name that nobody may have has to do.
    let name = if nix::unistd::geteuid().is_root() { "org.ganger1.other" } else { "org.ganger2" };
    let refused = run(as_nobody(&daemon.address, &format!("{take} {name} 0"))).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Access denied"), "{refused:?}");
}

#[tokio::test]
async fn the_name_is_taken_again_after_the_bus_was_restarted() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::UserAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    drop((daemon, connection, stream));
    let daemon = strict_bus(fake.directory.path());
    let (_connection, mut stream) = listener(&daemon.address).await;
    owned(&mut stream, "").await;
    let get = format!("get-property {NAME} /org/ganger1 org.ganger1.App Ready");
    assert_eq!(stdout(&busctl(&daemon.address, &get).await), "u 2\n");
}

#[tokio::test]
async fn a_name_that_belongs_to_another_is_taken_when_that_one_leaves() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (connection, mut stream) = listener(&daemon.address).await;
    connection.request_name(NAME).await.unwrap();
    let first = connection.unique_name().unwrap().to_string();
    let _server = Server::bus(Bus::UserAt(daemon.address.clone()), fake.hub.clone());
    // The server is in line once its connection has a name and its request was answered: a new name on the bus
    // says the first; asking the bus for the queue says the second.
    loop {
        let waiting = connection
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "ListQueuedOwners",
                &NAME,
            )
            .await
            .unwrap();
        if waiting.body().deserialize::<Vec<String>>().unwrap().len() == 2 {
            break;
        }
    }
    connection.release_name(NAME).await.unwrap();
    owned(&mut stream, &first).await;
}

#[tokio::test]
async fn a_message_of_a_megabyte_is_skipped_and_the_next_one_answered() {
    let fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::UserAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    let huge = Message::method_call("/org/ganger1", "Scale")
        .destination(NAME)
        .interface("org.ganger1.App")
        .build(&"9".repeat(1_000_000))
        .unwrap();
    connection.send(&huge).await.unwrap();
    let ready = connection
        .call_method(
            Some(NAME),
            "/org/ganger1",
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.ganger1.App", "Ready"),
        )
        .await
        .unwrap();
    assert_eq!(u32::try_from(ready.body().deserialize::<zbus::Variant<'_>>().unwrap()), Ok(2));
}

/// A polkit that writes down what it is asked and gives one answer.
struct Polkit {
    answer: (bool, bool),
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

type Map<T> = BTreeMap<String, T>;

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    async fn check_authorization(
        &self,
        subject: (String, Map<zbus::OwnedVariant>),
        action: String,
        details: Map<String>,
        _flags: u32,
        _cancellation: String,
    ) -> (bool, bool, Map<String>) {
        assert_eq!(subject.0, "system-bus-name");
        self.asked.lock().await.push((action, details["app"].clone()));
        (self.answer.0, self.answer.1, Map::new())
    }
}

/// Lets nobody (or, if the test is not run by root, a user who is not the supervisor's) call `method`.
async fn by_a_stranger(answer: Option<(bool, bool)>, method: &str) -> (Output, Vec<(String, String)>) {
    let mut fake = Fake::of_user(nix::unistd::geteuid().as_raw() + 1);
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let polkit = zbus::connection::Builder::address(daemon.address.as_str());
    let _polkit = match answer {
        Some(answer) => Some(
            polkit
                .serve_at("/org/freedesktop/PolicyKit1/Authority", Polkit { answer, asked: asked.clone() })
                .name("org.freedesktop.PolicyKit1")
                .build()
                .await
                .unwrap(),
        ),
        None => None,
    };
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    let count = fake.always(Outcome::Done);
    let output =
        run(as_nobody(&daemon.address, &format!("call {NAME} /org/ganger1 org.ganger1.App {method}"))).await;
    drop(fake);
    drop(_server);
    assert_eq!(count.await.unwrap(), u32::from(output.status.success()));
    let asked = asked.lock().await.clone();
    (output, asked)
}

#[tokio::test]
async fn polkit_decides_about_strangers_with_an_action_for_each_kind_of_change() {
    for (method, action) in [
        ("Reload", "org.ganger1.reload"),
        ("Scale s 4", "org.ganger1.manage"),
        ("Signal is -1 USR2", "org.ganger1.signal"),
    ] {
        let (output, asked) = by_a_stranger(Some((true, false)), method).await;
        assert_eq!(stdout(&output), "ssta{sv} \"done\" \"reloaded\" 2 0\n");
        assert_eq!(asked, [(action.to_owned(), "my-app".to_owned())]);
        let (output, _) = by_a_stranger(Some((false, true)), method).await;
        assert!(!output.status.success(), "{method}");
    }
}

#[tokio::test]
async fn without_polkit_a_stranger_changes_nothing() {
    let (output, _) = by_a_stranger(None, "Stop").await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Access denied"), "{output:?}");
}

#[tokio::test]
async fn the_private_socket_works_without_a_bus() {
    let mut fake = Fake::new();
    let nowhere = format!("unix:path={}", fake.directory.path().join("no-bus").display());
    let _bus = Server::bus(Bus::SystemAt(nowhere), fake.hub.clone());
    let _server = fake.serve();
    fake.always(Outcome::Done);
    let wish = Wish::Reload { origin: Origin::Private };
    assert_eq!(fake.client().await.call(&wish, Some(PATIENCE), |_| {}).await.unwrap().outcome, Outcome::Done);
}
