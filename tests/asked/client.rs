//! The storm's clients: commands as processes, `busctl` on the bus, and connections of this process's own to the
//! bus and to the private socket. Each tells how it ended; what is no definite answer fails the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::stage::Run;
use super::wish::{Chance, Wish};

/// Silence for so long is no answer. The longest wait is for everybody else's rollouts.
const PATIENCE: Duration = Duration::from_secs(120);
const NAME: &str = "org.ganger1.app";
/// What a supervisor without room for a wish says, which then was never one.
const BUSY: [&str; 2] = ["too many requests are waiting, try again later", "busy with other requests"];

/// How a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// `ganger …`, a process each.
    CommandLine,
    /// `busctl call` on the bus, a process each.
    Busctl,
    /// A connection to the private socket.
    Private,
    /// A connection to the bus.
    Bus,
}

/// What a call came to.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// The client left before it was answered.
    Gone,
    /// Not taken in: no room.
    Busy,
    /// A look was answered.
    Seen,
    /// A verdict. `busctl` does not say which outcome it was that is no success.
    Verdict { outcome: String, message: String, generation: Option<u64> },
}

/// One call, from first to last.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) way: Way,
    /// Whose the kernel says that it was.
    pub(crate) pid: u32,
    pub(crate) wish: Wish,
    pub(crate) ending: Ending,
}

/// Asks once, by this way; one client in five leaves in the middle, wherever that is.
pub(crate) fn call(run: &Run, bus: &str, way: Way, wish: Wish, chance: &mut Chance) -> Call {
    let leaves = wish == Wish::Events || chance.below(5) == 0;
    let (pid, ending) = match way {
        Way::CommandLine => {
            let mut words = wish.words();
            if !wish.only_looks() {
                words.insert(1, format!("--timeout={}s", PATIENCE.as_secs()));
            }
            let client = run.client_command(&words.iter().map(String::as_str).collect::<Vec<_>>());
            process(client, leaves, chance, |output| by_command_line(&wish, output))
        }
        Way::Busctl => process(busctl(bus, &wish), leaves, chance, |output| by_busctl(&wish, output)),
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

/// The definite answer: the outcome, and an exit code that says the same.
fn by_command_line(wish: &Wish, output: &Output) -> Ending {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(1) && err.contains("has no room for this now") {
        return Ending::Busy;
    }
    let json: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{wish:?}: {error}: {out}{err}"));
    let text = |key: &str| json.get(key).and_then(|word| word.as_str()).map(str::to_owned);
    let outcome = text("outcome").or_else(|| text("state")).unwrap();
    let code = match outcome.as_str() {
        "failed" | "superseded" | "refused" | "stopped" => 1,
        "not-found" => 3,
        "partly" => 7,
        _ => 0,
    };
    assert_eq!(output.status.code(), Some(code), "{wish:?}: {out}{err}");
    if wish.only_looks() {
        return Ending::Seen;
    }
    let generation = json.get("generation").and_then(serde_json::Value::as_u64);
    Ending::Verdict { outcome, message: text("message").unwrap(), generation }
}

/// Whether the supervisor has its name on the bus.
pub(crate) fn is_on(bus: &str) -> bool {
    busctl(bus, &Wish::Status).output().unwrap().status.success()
}

fn busctl(bus: &str, wish: &Wish) -> Command {
    let (method, arguments) = wish.method();
    let interface = if wish.only_looks() { "org.freedesktop.DBus.Properties" } else { "org.ganger1.App" };
    let mut command = Command::new("busctl");
    command.args([&format!("--address={bus}"), &format!("--timeout={}", PATIENCE.as_secs())]);
    command.args(["--json=short", "--", "call", NAME, "/org/ganger1", interface, method]).args(arguments);
    command.stdin(Stdio::null());
    command
}

fn by_busctl(wish: &Wish, output: &Output) -> Ending {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let message = err.trim().strip_prefix("Call failed: ");
        let message = message.unwrap_or_else(|| panic!("{wish:?} by busctl: {out}{err}"));
        if BUSY.iter().any(|busy| message.contains(busy)) {
            return Ending::Busy;
        }
        // The bus's and busctl's own words for silence, and ours for a supervisor that goes.
        for silence in ["timed out", "no reply", "NoReply", "disconnected", "leaving", "reset by peer"] {
            assert!(!message.contains(silence), "{wish:?} by busctl: {message}");
        }
        let outcome = "not done".to_owned();
        return Ending::Verdict { outcome, message: message.to_owned(), generation: None };
    }
    if wish.only_looks() {
        return Ending::Seen;
    }
    let json: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{wish:?}: {error}: {out}{err}"));
    let told = |index: usize| json.get("data").and_then(|data| data.get(index)).unwrap();
    let text = |index: usize| told(index).as_str().unwrap().to_owned();
    Ending::Verdict { outcome: text(0), message: text(1), generation: told(2).as_u64() }
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
