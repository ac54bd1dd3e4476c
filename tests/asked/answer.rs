//! What clients were told, by the command line and by `busctl`, and whether that is a definite answer: what is none
//! fails the test.

use std::process::Output;
use std::time::Duration;

use super::wish::Wish;

/// Silence for so long is no answer. The longest wait is for everybody else's rollouts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
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

/// Words of the command line, with an end to the waiting.
pub(crate) fn command_line(app: &str, wish: &Wish) -> Vec<String> {
    let mut words = wish.words(app);
    if !wish.only_looks() {
        words.insert(1, format!("--timeout={}s", PATIENCE.as_secs()));
    }
    words
}

/// Words of `busctl`.
pub(crate) fn busctl(app: &str, wish: &Wish) -> Vec<String> {
    let (method, arguments) = wish.method();
    let interface = if wish.only_looks() { "org.freedesktop.DBus.Properties" } else { "org.ganger1.App" };
    let (timeout, name) = (format!("--timeout={}", PATIENCE.as_secs()), format!("org.ganger1.{app}"));
    let words = [timeout.as_str(), "--json=short", "--", "call", &name, "/org/ganger1", interface, method];
    words.into_iter().map(str::to_owned).chain(arguments).collect()
}

/// The definite answer: the outcome, and an exit code that says the same.
pub(crate) fn by_command_line(wish: &Wish, output: &Output) -> Ending {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(1) && err.contains("has no room for this now") {
        return Ending::Busy;
    }
    let json: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{wish:?}: {error}: {out}{err}"));
    let text = |key: &str| json.get(key).and_then(|word| word.as_str()).map(str::to_owned);
    let outcome = text("outcome").or_else(|| text("state")).expect("a text");
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
    Ending::Verdict { outcome, message: text("message").expect("a text"), generation }
}

/// The definite answer: a verdict, or the words of an error.
pub(crate) fn by_busctl(wish: &Wish, output: &Output) -> Ending {
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
    let told = |index: usize| json.get("data").and_then(|data| data.get(index)).expect("a text");
    let text = |index: usize| told(index).as_str().expect("a text").to_owned();
    Ending::Verdict { outcome: text(0), message: text(1), generation: told(2).as_u64() }
}
