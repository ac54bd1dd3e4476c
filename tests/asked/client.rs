//! The storm's clients: commands as processes, `busctl` on the bus, and connections of this process's own to the
//! bus and to the private socket. What is no definite answer fails the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::answer::{self, Call, Ending, PATIENCE, Way};
use super::stage::Run;
use super::wish::{Chance, Wish};

const NAME: &str = "org.ganger1.app";

/// Asks once, by this way; one client in five leaves in the middle, wherever that is.
pub(crate) fn call(run: &Run, bus: &str, way: Way, wish: Wish, chance: &mut Chance) -> Call {
    let leaves = wish == Wish::Events || chance.below(5) == 0;
    let (pid, ending) = match way {
        Way::CommandLine => {
            let words = answer::command_line("app", &wish);
            let client = run.client_command(&words.iter().map(String::as_str).collect::<Vec<_>>());
            process(client, leaves, chance, |output| answer::by_command_line(&wish, output))
        }
        Way::Busctl => process(busctl(bus, &wish), leaves, chance, |output| answer::by_busctl(&wish, output)),
        Way::Private | Way::Bus => {
            let leaves = leaves.then(|| Duration::from_micros(chance.below(30_000)));
            let place = if way == Way::Bus { Err(bus) } else { Ok(run.path("ganger/app/private")) };
            (std::process::id(), connected(place, &wish, leaves))
        }
    };
    Call { way, pid, wish, ending }
}

fn process(
    mut command: Command,
    leaves: bool,
    chance: &mut Chance,
    read: impl Fn(&Output) -> Ending,
) -> (u32, Ending) {
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    if leaves {
        for _ in 0..chance.below(400) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait_with_output().unwrap();
        return (pid, Ending::Gone);
    }
    (pid, read(&child.wait_with_output().unwrap()))
}

/// Whether the supervisor has its name on the bus.
pub(crate) fn is_on(bus: &str) -> bool {
    busctl(bus, &Wish::Status).output().unwrap().status.success()
}

fn busctl(bus: &str, wish: &Wish) -> Command {
    let mut command = Command::new("busctl");
    command.arg(format!("--address={bus}")).args(answer::busctl("app", wish)).stdin(Stdio::null());
    command
}

/// A connection of its own, to a private socket or to a bus; closed after `leaves`, whatever was sent by then.
fn connected(place: Result<PathBuf, &str>, wish: &Wish, leaves: Option<Duration>) -> Ending {
    // The runtime takes the connection with it: nothing of it stays open.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking = async {
        let (connection, to) = match place {
            Ok(path) => (private(&path).await, None),
            Err(bus) => (zbus::connection::Builder::address(bus).build().await.unwrap(), Some(NAME)),
        };
        ask(&connection, to, wish).await
    };
    runtime.block_on(async {
        match tokio::time::timeout(leaves.unwrap_or(PATIENCE), asking).await {
            Ok(ending) => ending,
            Err(_) if leaves.is_some() => Ending::Gone,
            Err(_) => panic!("{wish:?} was never answered"),
        }
    })
}

async fn private(path: &Path) -> zbus::Connection {
    let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    zbus::connection::Builder::unix_stream(stream).p2p().build().await.unwrap()
}

async fn ask(connection: &zbus::Connection, to: Option<&str>, wish: &Wish) -> Ending {
    let (method, arguments) = wish.method();
    let (properties, app) = ("org.freedesktop.DBus.Properties", "org.ganger1.App");
    let at = "/org/ganger1";
    let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match texts.as_slice() {
        [] => connection.call_method(to, at, Some(app), method, &()).await,
        ["s", text] => connection.call_method(to, at, Some(app), method, text).await,
        ["i", slot] => {
            let slot: i32 = slot.parse().unwrap();
            connection.call_method(to, at, Some(app), method, &slot).await
        }
        ["u", slot] => {
            let slot: u32 = slot.parse().unwrap();
            connection.call_method(to, at, Some(app), method, &slot).await
        }
        ["is", slot, name] => {
            let slot: i32 = slot.parse().unwrap();
            connection.call_method(to, at, Some(app), method, &(slot, name)).await
        }
        ["ss", interface, name] => {
            connection.call_method(to, at, Some(properties), method, &(interface, name)).await
        }
        other => panic!("{wish:?} has no such arguments: {other:?}"),
    };
    match answer {
        Ok(_) if wish.only_looks() => Ending::Seen,
        Ok(reply) => {
            type Verdict<'a> = (String, String, u64, std::collections::BTreeMap<String, zbus::Variant<'a>>);
            let body = reply.body();
            let (outcome, message, generation, _) = body.deserialize::<Verdict<'_>>().unwrap();
            Ending::Verdict { outcome, message, generation: Some(generation) }
        }
        Err(zbus::Error::MethodError(name, text, _)) => {
            by_error(wish, name.as_str(), text.unwrap_or_default())
        }
        Err(other) => panic!("{wish:?}: {other}"),
    }
}

fn by_error(wish: &Wish, name: &str, message: String) -> Ending {
    if name == "org.freedesktop.DBus.Error.LimitsExceeded" {
        return Ending::Busy;
    }
    let outcome = match name.strip_prefix("org.ganger1.Error.") {
        Some("Failed") => "failed",
        Some("Partly") => "partly",
        Some("NotFound") => "not-found",
        Some("Superseded") => "superseded",
        Some("Refused") => "refused",
        Some(_) | None => panic!("{wish:?}: {name}: {message}"),
    };
    assert!(!message.is_empty(), "{wish:?}: {name} without a word");
    Ending::Verdict { outcome: outcome.to_owned(), message, generation: None }
}
