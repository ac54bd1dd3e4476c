//! The one table of every key: what it takes, its default, a line of explanation.
//!
//! Checking, `ganger.toml(5)` (compared by a test), completions and `ganger init` all read this table.

use super::kind::Kind;

/// The value of a key that no file and no flag gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// This string.
    Text(&'static str),
    /// This number.
    Number(i64),
    /// This truth value.
    Flag(bool),
    /// No value; the words say what happens then.
    Unset(&'static str),
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path, for example `ready.timeout`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it.
    pub standard: Standard,
    /// One line for completions and templates.
    pub summary: &'static str,
}

impl Key {
    /// The default as `ganger.toml(5)` writes it: TOML, or words.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.standard {
            Standard::Text(text) => format!("\"{text}\""),
            Standard::Number(number) => number.to_string(),
            Standard::Flag(flag) => flag.to_string(),
            Standard::Unset(words) => words.to_owned(),
        }
    }
}

const fn key(path: &'static str, kind: Kind, standard: Standard, summary: &'static str) -> Key {
    Key { path, kind, standard, summary }
}

const fn span(min_ms: u64, max_ms: u64) -> Kind {
    Kind::Span { min_ms, max_ms, off: false }
}

const fn span_or_off(min_ms: u64, max_ms: u64) -> Kind {
    Kind::Span { min_ms, max_ms, off: true }
}

const fn count(min: u32, max: u32) -> Kind {
    Kind::Count { min, max, off: false }
}

/// The random part of a wait or a lifetime.
const JITTER: Kind = Kind::Percent { max: 100, off: false };

/// So much of one CPU as 4096 of them give.
const CPU: Kind = Kind::Percent { max: 409_600, off: true };

/// Up to the kernel's greatest number of tasks (`PID_MAX_LIMIT`).
const TASKS: Kind = Kind::Count { min: 1, max: 4_194_304, off: true };

/// Beyond the standard streams, and within the usual limit of open files.
const DESCRIPTOR: Kind = Kind::Count { min: 3, max: 1023, off: true };

const ARGV: Kind = Kind::Command { off: false };
const ARGV_OR_OFF: Kind = Kind::Command { off: true };

/// A day, in milliseconds.
const DAY: u64 = 86_400_000;

/// The tables whose keys a person chooses.
pub(super) const FREE_TABLES: &[&str] = &["env", "profile"];

/// Every key, in the order of the manual.
pub const KEYS: &[Key] = {
    use Standard::{Flag, Number, Text, Unset};
    &[
        key("command", ARGV, Unset("required"), "what a worker runs"),
        key("directory", Kind::Directory, Unset("ganger's own"), "working directory of the workers"),
        key("user", Kind::Account, Unset("ganger's own"), "user that the workers run as"),
        key("group", Kind::Account, Unset("the user's primary group"), "group that the workers run as"),
        key("env-file", Kind::EnvFiles, Unset("none"), "files with environment variables"),
        key("use-profile", Kind::ProfileName, Unset("none"), "the [profile.NAME] table that applies"),
        key("listen", Kind::Listen, Unset("none"), "addresses of the sockets"),
        key("workers", Kind::Workers, Text("max"), "number of workers"),
        key("protocol", Kind::Choice(PROTOCOLS), Unset("by the command"), "how a worker gets the sockets"),
        key("socket-env", Kind::Choices(SOCKET_ENVS), Unset("none"), "further conventions for the sockets"),
        key("instance-var", Kind::VariableName, Text("NODE_APP_INSTANCE"), "variable with the slot number"),
        key("ready.when", Kind::Choice(READY_WHEN), Text("auto"), "sign by which a worker counts as up"),
        key("ready.timeout", span(10, DAY), Text("30s"), "time in which a worker must be up"),
        key("ready.http", Kind::Probe, Unset("none"), "request that a worker which is up answers"),
        key("ready.fd", DESCRIPTOR, Unset("the first free one"), "descriptor for when = \"fd\""),
        key("restart.policy", Kind::Choice(POLICIES), Text("always"), "exits that a new worker follows"),
        key("restart.min-uptime", span(0, DAY), Text("1s"), "a shorter life is an early failure"),
        key("restart.backoff.initial", span(1, DAY), Text("100ms"), "wait after the first early failure"),
        key("restart.backoff.factor", Kind::Factor, Number(2), "how much longer each further wait is"),
        key("restart.backoff.max", span(1, DAY), Text("30s"), "longest wait"),
        key("restart.backoff.jitter", JITTER, Text("10%"), "random part of a wait"),
        key("restart.limit.burst", count(1, 1_000_000), Number(10), "so many restarts of a slot …"),
        key("restart.limit.interval", span_or_off(1, 365 * DAY), Text("5min"), "… in this time are too many"),
        key("restart.retry", span_or_off(100, 365 * DAY), Text("1min"), "when a failed slot is tried again"),
        key("restart.all-failed", Kind::Choice(ALL_FAILED), Text("retry"), "when every slot is failed"),
        key("stop.signal", Kind::Signal, Text("TERM"), "signal that asks a worker to leave"),
        key("stop.timeout", span(0, 7 * DAY), Text("30s"), "time for leaving, then SIGKILL"),
        key("stop.message", Kind::Text, Unset("none"), "message that asks a Node worker to leave"),
        key("reload.max-surge", count(1, 4096), Number(1), "extra workers during a reload"),
        key("reload.bake", span(0, DAY), Text("1s"), "time a new worker must hold out"),
        key("recycle.memory", Kind::Size, Unset("off"), "memory at which a worker is replaced"),
        key("recycle.lifetime", span_or_off(1000, 3650 * DAY), Unset("off"), "age at which it is replaced"),
        key("recycle.jitter", JITTER, Text("10%"), "random part of the lifetime"),
        key("recycle.calendar", Kind::Calendar, Unset("off"), "times at which workers are replaced"),
        key("limit.memory", Kind::Size, Unset("off"), "memory at which a worker is killed"),
        key("limit.memory-high", Kind::Size, Unset("off"), "memory at which a worker is slowed"),
        key("limit.cpu", CPU, Unset("off"), "share of one CPU"),
        key("limit.tasks", TASKS, Unset("off"), "processes and threads"),
        key("watchdog.worker", span_or_off(100, DAY), Unset("off"), "silence after which it is replaced"),
        key("health.http", Kind::Probe, Unset("off"), "request that a healthy worker answers"),
        key("health.exec", ARGV_OR_OFF, Unset("off"), "command that exits with 0 for a healthy one"),
        key("health.interval", span(100, DAY), Text("10s"), "time between two questions"),
        key("health.timeout", span(10, DAY), Text("5s"), "time for an answer"),
        key("health.failures", count(1, 1000), Number(3), "failures in a row that count"),
        key("health.grace", span(0, DAY), Text("0s"), "time in which failures do not count"),
        key("log.stdout", Kind::Sink, Text("auto"), "where standard output goes"),
        key("log.stderr", Kind::Sink, Text("auto"), "where standard error goes"),
        key("node.balance", Kind::Choice(BALANCES), Text("shared"), "who accepts connections"),
        key("node.drain", Kind::Flag, Flag(true), "close keep-alive connections politely on leaving"),
        key("node.unmatched", Kind::Choice(UNMATCHED), Text("adopt"), "what an unexpected listen() gets"),
    ]
};

pub(super) const PROTOCOLS: &[&str] = &["listen-fds", "stdin", "node"];
pub(super) const SOCKET_ENVS: &[&str] = &["einhorn", "server-starter"];
pub(super) const READY_WHEN: &[&str] = &["auto", "notify", "listening", "message", "fd", "http", "started"];
pub(super) const POLICIES: &[&str] = &["always", "on-failure", "never"];
pub(super) const ALL_FAILED: &[&str] = &["retry", "exit"];
pub(super) const BALANCES: &[&str] = &["shared", "round-robin"];
pub(super) const UNMATCHED: &[&str] = &["adopt", "bind", "refuse"];

/// Names that are kept for later; using one is an error that says so.
pub(super) const RESERVED: &[(&str, &str)] = &[
    ("watch", "ganger does not watch files in this version; use `ganger reload` from your build"),
    ("systemd", "ganger does not write units in this version; put this into a drop-in of the unit itself"),
];

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether `path` is a table of the file, not counting those with free names.
pub(super) fn is_table(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The names that may stand directly in the table `prefix` (`""`: the file itself).
pub(super) fn names_in(prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let rest = if prefix.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    if prefix.is_empty() {
        names.extend(FREE_TABLES);
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_stands_once_and_in_kebab_case() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "{} stands twice", key.path);
            assert!(key.path.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '.'), "{}", key.path);
            assert!(!is_table(key.path), "{} is a table and a value", key.path);
        }
    }

    #[test]
    fn names_of_a_table_are_found() {
        assert_eq!(names_in("restart.limit"), ["burst", "interval"]);
        assert!(names_in("").contains(&"env") && names_in("").contains(&"restart"));
        assert!(is_table("restart") && is_table("restart.backoff") && !is_table("rest"));
    }
}
