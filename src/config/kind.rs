//! What keys take: the kinds of value, how they are described, and what a checked value is.

use std::time::Duration;

use crate::plan::{Calendar, HttpProbe, MAX_WORKERS, Sink, SocketKind};
use crate::time::format_span;

use super::diagnostic::At;
use super::{address, signal};

/// The kinds of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// argv: an array of strings, or a string that is split into words.
    Command {
        /// Whether `"off"` is taken.
        off: bool,
    },
    /// Path of a directory.
    Directory,
    /// Name or number of a user or group.
    Account,
    /// One path or several, each with an optional leading `-`.
    EnvFiles,
    /// Name of a profile, or `"off"`.
    ProfileName,
    /// One address or several, or tables.
    Listen,
    /// A number, `"max"`, `"max-1"` or `"50%"`.
    Workers,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any of these words.
    Choices(&'static [&'static str]),
    /// Name of an environment variable.
    VariableName,
    /// An HTTP probe, or `"off"`.
    Probe,
    /// A time span.
    Span {
        /// The shortest, in milliseconds.
        min_ms: u64,
        /// The longest, in milliseconds.
        max_ms: u64,
        /// Whether `"off"` is taken.
        off: bool,
    },
    /// A size in bytes, or `"off"`.
    Size,
    /// A whole number.
    Count {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
        /// Whether `"off"` is taken.
        off: bool,
    },
    /// A percentage.
    Percent {
        /// The greatest.
        max: u32,
        /// Whether `"off"` is taken.
        off: bool,
    },
    /// A factor from 1 to 100.
    Factor,
    /// `true` or `false`.
    Flag,
    /// A signal, or `"none"`.
    Signal,
    /// Any text, or `"off"`.
    Text,
    /// A calendar expression, or `"off"`.
    Calendar,
    /// A place for output.
    Sink,
}

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Typed {
    /// `"off"`: as if the key were not there.
    Off,
    Words(Vec<String>),
    Path(String),
    Text(String),
    Calendar(Calendar),
    Choice(&'static str),
    Choices(Vec<&'static str>),
    EnvFiles(Vec<EnvFile>),
    Listen(Vec<ListenEntry>),
    Workers(Workers),
    Probe(HttpProbe),
    Span(Duration),
    Size(u64),
    Count(u32),
    Percent(u32),
    Flag(bool),
    Signal(Option<i32>),
    Sink(Sink),
}

/// One entry of `env-file`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnvFile {
    pub(super) path: String,
    /// A leading `-`: the file may be missing.
    pub(super) optional: bool,
    pub(super) at: At,
}

/// One entry of `listen`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListenEntry {
    pub(super) address: crate::plan::Address,
    pub(super) kind: SocketKind,
    pub(super) name: Option<String>,
    pub(super) backlog: u32,
    pub(super) at: At,
}

/// The value of `workers` before the CPUs are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workers {
    Exactly(u32),
    MaxLess(u32),
    Percent(u32),
}

impl Workers {
    /// The number of workers on a machine with `cpus` CPUs: at least 1, at most [`MAX_WORKERS`].
    pub(super) fn on(self, cpus: u32) -> u32 {
        let number = match self {
            Self::Exactly(number) => number,
            Self::MaxLess(less) => cpus.saturating_sub(less),
            Self::Percent(percent) => {
                let share = u64::from(cpus) * u64::from(percent);
                u32::try_from(share.div_ceil(100)).unwrap_or(MAX_WORKERS)
            }
        };
        number.clamp(1, MAX_WORKERS)
    }
}

impl Kind {
    /// What this kind takes, after the word "expected".
    #[must_use]
    pub fn expected(&self) -> String {
        let or_off = |off: bool| if off { ", or \"off\"" } else { "" };
        match self {
            Self::Command { .. } => {
                "an array of strings such as [\"node\", \"server.js\"], or one string".to_owned()
            }
            Self::Directory => "the path of a directory".to_owned(),
            Self::Account => "a name or a number".to_owned(),
            Self::EnvFiles => "a path or an array of paths".to_owned(),
            Self::ProfileName => "the NAME of a [profile.NAME] table, or \"off\"".to_owned(),
            Self::Listen => address::EXPECTED.to_owned(),
            Self::Workers => format!("a number from 1 to {MAX_WORKERS}, \"max\", \"max-1\" or \"50%\""),
            Self::Choice(words) => one_of(words),
            Self::Choices(words) => format!("an array of {}", one_of(words)),
            Self::VariableName => "a name of letters, digits and _".to_owned(),
            Self::Probe => "a path such as \"/healthz\" or a URL".to_owned(),
            Self::Span { min_ms, max_ms, off } => {
                let (min, max) = (Duration::from_millis(*min_ms), Duration::from_millis(*max_ms));
                format!("a time span from {} to {}{}", format_span(min), format_span(max), or_off(*off))
            }
            Self::Size => "a size such as \"500M\" or \"1.5G\", or \"off\"".to_owned(),
            Self::Count { min, max, off } => format!("a number from {min} to {max}{}", or_off(*off)),
            Self::Percent { max, off } => format!("a percentage from \"0%\" to \"{max}%\"{}", or_off(*off)),
            Self::Factor => "a number from 1 to 100".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Signal => "a signal such as \"TERM\" or \"INT\", or \"none\"".to_owned(),
            Self::Text => "a string".to_owned(),
            Self::Calendar => "a calendar expression such as \"daily\" or \"Mon..Fri 04:00\"".to_owned(),
            Self::Sink => "\"auto\", \"journal\", \"inherit\", \"null\" or \"file:/path\"".to_owned(),
        }
    }

    /// The words that complete a value of this kind.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Self::Choice(words) | Self::Choices(words) => words.to_vec(),
            Self::Workers => vec!["max", "max-1", "50%"],
            Self::Flag => vec!["true", "false"],
            Self::Signal => signal::names().chain(["none"]).collect(),
            Self::Sink => vec!["auto", "journal", "inherit", "null"],
            Self::Calendar => Calendar::words().collect(),
            Self::Span { off: true, .. }
            | Self::Percent { off: true, .. }
            | Self::Count { off: true, .. }
            | Self::Command { off: true }
            | Self::Size
            | Self::Probe => {
                vec!["off"]
            }
            Self::Command { .. }
            | Self::Directory
            | Self::Account
            | Self::EnvFiles
            | Self::ProfileName
            | Self::Listen
            | Self::VariableName
            | Self::Span { .. }
            | Self::Count { .. }
            | Self::Percent { .. }
            | Self::Factor
            | Self::Text => Vec::new(),
        }
    }

    pub(super) fn takes_off(self) -> bool {
        match self {
            Self::Command { off }
            | Self::Span { off, .. }
            | Self::Percent { off, .. }
            | Self::Count { off, .. } => off,
            Self::ProfileName | Self::Probe | Self::Size | Self::Text | Self::Calendar => true,
            Self::Directory
            | Self::Account
            | Self::EnvFiles
            | Self::Listen
            | Self::Workers
            | Self::Choice(_)
            | Self::Choices(_)
            | Self::VariableName
            | Self::Factor
            | Self::Flag
            | Self::Signal
            | Self::Sink => false,
        }
    }
}

/// `"a"`, `"b"` or `"c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_cpus_within_their_bounds() {
        for (workers, cpus, number) in [
            (Workers::Exactly(3), 64, 3),
            (Workers::MaxLess(0), 8, 8),
            (Workers::MaxLess(1), 8, 7),
            (Workers::MaxLess(9), 8, 1),
            (Workers::Percent(50), 3, 2),
            (Workers::Percent(1), 1, 1),
            (Workers::Percent(1000), u32::MAX, MAX_WORKERS),
            (Workers::MaxLess(0), 0, 1),
        ] {
            assert_eq!(workers.on(cpus), number, "{workers:?} on {cpus}");
        }
    }

    #[test]
    fn choices_are_written_as_a_sentence() {
        assert_eq!(one_of(&["a"]), "\"a\"");
        assert_eq!(one_of(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
