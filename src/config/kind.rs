//! What a key takes: one value is read, bounded and typed, or refused with what was expected.
//!
//! A check sees its one value only; what concerns two keys is checked when the plan is made.

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::{HttpProbe, MAX_WORKERS, Sink, SocketKind};
use crate::time::{format_span, parse_size, parse_span};

use super::diagnostic::{At, Complaint};
use super::value::{Value, What};
use super::{address, calendar, near, probe, signal, words};

/// The most words in one command.
const MAX_WORDS: usize = 4096;

/// The longest word: what execve(2) takes (`MAX_ARG_STRLEN`).
pub(super) const MAX_WORD_BYTES: usize = 131_071;

/// The most listening sockets of one app.
const MAX_LISTEN: usize = 256;

/// The most environment files.
const MAX_ENV_FILES: usize = 64;

/// The backlog that is asked for by default; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// The kinds of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// argv: an array of strings, or a string that is split into words.
    Command,
    /// The same, or `"off"`.
    Probing,
    /// Path of a directory.
    Directory,
    /// Name or number of a user or group.
    Account,
    /// One path or several, each with an optional leading `-`.
    EnvFiles,
    /// Name of a profile.
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

type Check = Result<Typed, Box<Complaint>>;

impl Kind {
    /// What this kind takes, after the word "expected".
    #[must_use]
    pub fn expected(&self) -> String {
        let or_off = |off: bool| if off { ", or \"off\"" } else { "" };
        match self {
            Self::Command | Self::Probing => {
                "an array of strings such as [\"node\", \"server.js\"], or one string".to_owned()
            }
            Self::Directory => "the path of a directory".to_owned(),
            Self::Account => "a name or a number".to_owned(),
            Self::EnvFiles => "a path or an array of paths".to_owned(),
            Self::ProfileName => "the NAME of a [profile.NAME] table".to_owned(),
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
            Self::Count { min, max } => format!("a number from {min} to {max}"),
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
            Self::Calendar => calendar::WORDS.to_vec(),
            Self::Span { off: true, .. } | Self::Percent { off: true, .. } | Self::Size | Self::Probe => {
                vec!["off"]
            }
            Self::Command
            | Self::Probing
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

    fn takes_off(self) -> bool {
        match self {
            Self::Span { off, .. } | Self::Percent { off, .. } => off,
            Self::Probing | Self::Probe | Self::Size | Self::Text | Self::Calendar => true,
            // "off" must be able to undo a default of none.
            Self::Count { .. } => true,
            Self::Command
            | Self::Directory
            | Self::Account
            | Self::EnvFiles
            | Self::ProfileName
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

    /// Reads `value`, the value of the key `path`.
    pub(super) fn check(self, path: &str, value: &Value) -> Check {
        let field = Field { path, kind: self, value };
        if let What::Text(text) = &value.what {
            if text == "off" && self.takes_off() {
                return Ok(Typed::Off);
            }
            if text.contains('\0') {
                return Err(field.wrong("holds a NUL character"));
            }
            if text.len() > MAX_WORD_BYTES {
                return Err(field.wrong("is longer than 128 KiB"));
            }
        }
        match self {
            Self::Command | Self::Probing => field.command(),
            Self::Directory => field.nonempty().map(Typed::Path),
            Self::Account => field.account(),
            Self::EnvFiles => field.env_files(),
            Self::ProfileName => field.nonempty().map(Typed::Text),
            Self::Listen => field.listen(),
            Self::Workers => field.workers(),
            Self::Choice(words) => field.choice(words).map(Typed::Choice),
            Self::Choices(words) => field.each(|item| item.choice(words)).map(Typed::Choices),
            Self::VariableName => field.variable_name(),
            Self::Probe => field.probe(),
            Self::Span { min_ms, max_ms, .. } => field.span(min_ms, max_ms),
            Self::Size => field.size(),
            Self::Count { min, max } => field.count(min, max).map(Typed::Count),
            Self::Percent { max, .. } => field.percent(max),
            Self::Factor => field.factor(),
            Self::Flag => {
                if let What::Flag(flag) = value.what {
                    Ok(Typed::Flag(flag))
                } else {
                    Err(field.wrong_type())
                }
            }
            Self::Signal => field.signal(),
            Self::Text => field.text().map(|text| Typed::Text(text.to_owned())),
            Self::Calendar => field.calendar(),
            Self::Sink => field.sink(),
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

/// A value under check, with what a message about it needs.
#[derive(Clone, Copy)]
struct Field<'a> {
    path: &'a str,
    kind: Kind,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// `path` + words, expecting what the kind expects.
    fn wrong(&self, words: &str) -> Box<Complaint> {
        let message = format!("`{}` {words}", self.path);
        Box::new(Complaint::error(self.value.at.clone(), message).expected(self.kind.expected()))
    }

    fn wrong_type(&self) -> Box<Complaint> {
        self.wrong(&format!("is {}", self.value.kind()))
    }

    fn wrong_value(&self) -> Box<Complaint> {
        self.wrong(&format!("is {}", clip(&self.value.shown())))
    }

    fn item(&self, value: &'a Value) -> Self {
        Self { value, ..*self }
    }

    fn text(&self) -> Result<&'a str, Box<Complaint>> {
        if let What::Text(text) = &self.value.what { Ok(text) } else { Err(self.wrong_type()) }
    }

    fn nonempty(&self) -> Result<String, Box<Complaint>> {
        let text = self.text()?;
        if text.is_empty() { Err(self.wrong("is empty")) } else { Ok(text.to_owned()) }
    }

    /// The one value, or each value of an array.
    fn each<T>(
        &self,
        mut read: impl FnMut(&Self) -> Result<T, Box<Complaint>>,
    ) -> Result<Vec<T>, Box<Complaint>> {
        if let What::List(list) = &self.value.what {
            list.iter().map(|value| read(&self.item(value))).collect()
        } else {
            read(self).map(|one| vec![one])
        }
    }

    fn command(&self) -> Check {
        let words = if let What::Text(line) = &self.value.what {
            words::split(line).map_err(|error| {
                let message = format!("`{}`: {}", self.path, error.message());
                Box::new(Complaint::error(self.value.at.clone(), message).hint(error.hint()))
            })?
        } else if let What::List(list) = &self.value.what {
            let word = |value: &'a Value| {
                let item = self.item(value);
                let text = item.text().map_err(|complaint| {
                    let hint = matches!(value.what, What::Integer(_) | What::Float(_) | What::Flag(_));
                    if hint { Box::new(complaint.hint("put it in quotes")) } else { complaint }
                })?;
                if text.contains('\0') || text.len() > MAX_WORD_BYTES {
                    return Err(item.wrong("holds a NUL character or is longer than 128 KiB"));
                }
                Ok(text.to_owned())
            };
            list.iter().map(word).collect::<Result<Vec<_>, _>>()?
        } else {
            return Err(self.wrong_type());
        };
        match words.first() {
            None => Err(self.wrong("is empty")),
            Some(first) if first.is_empty() => Err(self.wrong("begins with an empty word")),
            Some(_) if words.len() > MAX_WORDS => Err(self.wrong("has more than 4096 words")),
            Some(_) => Ok(Typed::Words(words)),
        }
    }

    fn account(&self) -> Check {
        let name = match &self.value.what {
            What::Integer(Some(number)) => number.to_string(),
            What::Text(text) => text.clone(),
            What::Integer(None)
            | What::Float(_)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => {
                return Err(self.wrong_type());
            }
        };
        let number = name.parse::<u32>().is_ok_and(|number| number != u32::MAX && number != 0xffff);
        let word = name.len() <= 255
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '\\' | '$'));
        if number || word { Ok(Typed::Text(name)) } else { Err(self.wrong_value()) }
    }

    fn env_files(&self) -> Check {
        let files = self.each(|item| {
            let text = item.nonempty()?;
            let path = text.strip_prefix('-').unwrap_or(&text);
            if path.is_empty() || path.contains('\0') {
                return Err(item.wrong_value());
            }
            Ok(EnvFile { path: path.to_owned(), optional: text.starts_with('-'), at: item.value.at.clone() })
        })?;
        if files.len() > MAX_ENV_FILES {
            Err(self.wrong("has more than 64 files"))
        } else {
            Ok(Typed::EnvFiles(files))
        }
    }

    fn workers(&self) -> Check {
        match &self.value.what {
            What::Integer(_) => self
                .count(1, MAX_WORKERS)
                .map(|number| Typed::Workers(Workers::Exactly(number)))
                .map_err(|wrong| {
                    let zero = matches!(self.value.what, What::Integer(Some(0)));
                    if zero {
                        Box::new(wrong.hint("`ganger stop NAME` is how an app is stopped"))
                    } else {
                        wrong
                    }
                }),
            What::Text(text) => {
                let workers = if text == "max" {
                    Some(Workers::MaxLess(0))
                } else if let Some(less) = text.strip_prefix("max-") {
                    less.parse().ok().filter(|less| *less < MAX_WORKERS).map(Workers::MaxLess)
                } else if let Some(percent) = text.strip_suffix('%') {
                    percent.parse().ok().filter(|percent| (1..=1000).contains(percent)).map(Workers::Percent)
                } else {
                    // The command line gives numbers as text.
                    text.parse().ok().filter(|n| (1..=MAX_WORKERS).contains(n)).map(Workers::Exactly)
                };
                workers.map(Typed::Workers).ok_or_else(|| self.wrong_value())
            }
            What::Float(_) | What::Flag(_) | What::Moment | What::List(_) | What::Table(_) => {
                Err(self.wrong_type())
            }
        }
    }

    fn choice(&self, words: &'static [&'static str]) -> Result<&'static str, Box<Complaint>> {
        let text = self.text()?;
        words.iter().find(|word| **word == text).copied().ok_or_else(|| {
            let wrong = self.wrong_value();
            match near::nearest(text, words.iter().copied()) {
                Some(word) => Box::new(wrong.hint(format!("did you mean \"{word}\"?"))),
                None => wrong,
            }
        })
    }

    fn variable_name(&self) -> Check {
        let name = self.nonempty()?;
        if !words::is_variable_name(&name) {
            return Err(self.wrong_value());
        }
        if super::environment::is_gangers(&name) {
            return Err(self.wrong(&format!("is \"{name}\", which ganger sets itself")));
        }
        Ok(Typed::Text(name))
    }

    fn probe(&self) -> Check {
        let text = self.text()?;
        probe::parse(text).map(Typed::Probe).map_err(|error| {
            let message = format!("`{}` is {}", self.path, clip(&self.value.shown()));
            let complaint = Complaint::error(self.value.at.clone(), message).expected(error.expected);
            Box::new(match error.hint {
                Some(hint) => complaint.hint(hint),
                None => complaint,
            })
        })
    }

    fn span(&self, min_ms: u64, max_ms: u64) -> Check {
        let parsed = match &self.value.what {
            What::Text(text) => parse_span(text),
            What::Integer(Some(number)) => parse_span(&number.to_string()),
            What::Float(number) => parse_span(&number.to_string()),
            What::Integer(None) | What::Flag(_) | What::Moment | What::List(_) | What::Table(_) => {
                return Err(self.wrong_type());
            }
        };
        let span = parsed.map_err(|error| {
            let message = format!("`{}` is {}", self.path, clip(&self.value.shown()));
            Box::new(Complaint::error(self.value.at.clone(), message).expected(error.to_string()))
        })?;
        let range = Duration::from_millis(min_ms)..=Duration::from_millis(max_ms);
        if range.contains(&span) { Ok(Typed::Span(span)) } else { Err(self.wrong_value()) }
    }

    fn size(&self) -> Check {
        match &self.value.what {
            What::Text(text) => parse_size(text).ok().filter(|bytes| *bytes > 0),
            What::Integer(Some(number)) => u64::try_from(*number).ok().filter(|bytes| *bytes > 0),
            What::Integer(None)
            | What::Float(_)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => {
                return Err(self.wrong_type());
            }
        }
        .map(Typed::Size)
        .ok_or_else(|| self.wrong_value())
    }

    fn count(&self, min: u32, max: u32) -> Result<u32, Box<Complaint>> {
        let kind = if self.kind == Kind::Workers { self.kind } else { Kind::Count { min, max } };
        let field = Self { kind, ..*self };
        if let What::Integer(number) = self.value.what {
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.filter(|number| (min..=max).contains(number)).ok_or_else(|| field.wrong_value())
        } else {
            Err(field.wrong_type())
        }
    }

    fn percent(&self, max: u32) -> Check {
        let text = self.text().map_err(|wrong| match self.value.what {
            What::Integer(Some(number)) => Box::new(wrong.hint(format!("write \"{number}%\""))),
            What::Text(_)
            | What::Integer(None)
            | What::Float(_)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => wrong,
        })?;
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        number.filter(|number| *number <= max).map(Typed::Percent).ok_or_else(|| self.wrong_value())
    }

    fn factor(&self) -> Check {
        let factor = match self.value.what {
            What::Float(number) => number,
            What::Integer(Some(number)) => i32::try_from(number).map_or(f64::NAN, f64::from),
            What::Text(_)
            | What::Integer(None)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => {
                return Err(self.wrong_type());
            }
        };
        if !(1.0..=100.0).contains(&factor) {
            return Err(self.wrong_value());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
        Ok(Typed::Percent((factor * 100.0).round() as u32))
    }

    fn signal(&self) -> Check {
        let text = match &self.value.what {
            What::Text(text) if text == "none" => return Ok(Typed::Signal(None)),
            What::Text(text) => text.clone(),
            What::Integer(Some(number)) => number.to_string(),
            What::Integer(None)
            | What::Float(_)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => {
                return Err(self.wrong_type());
            }
        };
        signal::number(&text).map(|number| Typed::Signal(Some(number))).ok_or_else(|| {
            let name = text.to_ascii_uppercase();
            let name = name.strip_prefix("SIG").unwrap_or(&name);
            let wrong = self.wrong_value();
            match signal::names().find(|known| *known == name) {
                Some(name) => Box::new(wrong.hint(format!("did you mean \"{name}\"?"))),
                None => wrong,
            }
        })
    }

    fn calendar(&self) -> Check {
        let text = self.text()?;
        if calendar::is_expression(text) { Ok(Typed::Text(text.to_owned())) } else { Err(self.wrong_value()) }
    }

    fn sink(&self) -> Check {
        let text = self.text()?;
        let sink = match text {
            "auto" => Sink::Auto,
            "journal" => Sink::Journal,
            "inherit" => Sink::Inherit,
            "null" => Sink::Null,
            other => match other.strip_prefix("file:") {
                Some(path) if path.starts_with('/') => Sink::File(PathBuf::from(path)),
                Some(_) => return Err(Box::new(self.wrong_value().hint("the path must be absolute"))),
                None if other.starts_with('/') => {
                    return Err(Box::new(self.wrong_value().hint(format!("write \"file:{other}\""))));
                }
                None => return Err(self.wrong_value()),
            },
        };
        Ok(Typed::Sink(sink))
    }

    fn listen(&self) -> Check {
        let entries = self.each(Self::listen_entry)?;
        if entries.len() > MAX_LISTEN {
            Err(self.wrong("has more than 256 sockets"))
        } else {
            Ok(Typed::Listen(entries))
        }
    }

    fn listen_entry(item: &Self) -> Result<ListenEntry, Box<Complaint>> {
        let mut entry = ListenEntry {
            address: crate::plan::Address::Abstract(Vec::new()),
            kind: SocketKind::Stream,
            name: None,
            backlog: BACKLOG,
            at: item.value.at.clone(),
        };
        let What::Table(table) = &item.value.what else {
            entry.address = item.address()?;
            return Ok(entry);
        };
        let mut has_address = false;
        for part in table {
            let path = format!("{}.{}", item.path, part.name);
            let field = Field { path: &path, value: &part.value, kind: item.kind };
            match part.name.as_str() {
                "address" => {
                    entry.address = field.address()?;
                    has_address = true;
                }
                "name" => entry.name = Some(field.descriptor_name()?),
                "type" => entry.kind = field.socket_kind()?,
                "backlog" => entry.backlog = field.count(1, 1_000_000)?,
                _ => {
                    let complaint = Complaint::error(part.name_at.clone(), format!("unknown key `{path}`"));
                    return Err(Box::new(complaint.expected("address, name, type or backlog")));
                }
            }
        }
        if !has_address {
            return Err(item.wrong("has no address"));
        }
        if entry.kind == SocketKind::SeqPacket && matches!(entry.address, crate::plan::Address::Inet(_)) {
            return Err(Box::new(
                Complaint::error(item.value.at.clone(), "a seqpacket socket has no IP address")
                    .expected("\"/path\" or \"@abstract\""),
            ));
        }
        Ok(entry)
    }

    fn address(&self) -> Result<crate::plan::Address, Box<Complaint>> {
        let text = match &self.value.what {
            What::Text(text) => text.clone(),
            What::Integer(Some(number)) => number.to_string(),
            What::Integer(None)
            | What::Float(_)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => {
                return Err(self.wrong_type());
            }
        };
        address::parse(&text).map_err(|error| {
            let message = format!("`{}` is {}", self.path, clip(&self.value.shown()));
            let complaint = Complaint::error(self.value.at.clone(), message).expected(error.expected);
            Box::new(match error.hint {
                Some(hint) => complaint.hint(hint),
                None => complaint,
            })
        })
    }

    fn descriptor_name(&self) -> Result<String, Box<Complaint>> {
        let name = self.text()?;
        if address::is_descriptor_name(name) {
            return Ok(name.to_owned());
        }
        let message = format!("`{}` is {}", self.path, clip(&self.value.shown()));
        let complaint = Complaint::error(self.value.at.clone(), message);
        Err(Box::new(complaint.expected("1 to 255 visible ASCII characters without \":\"")))
    }

    fn socket_kind(&self) -> Result<SocketKind, Box<Complaint>> {
        const KINDS: &[&str] = &["stream", "datagram", "seqpacket"];
        let field = Self { kind: Kind::Choice(KINDS), ..*self };
        Ok(match field.choice(KINDS)? {
            "datagram" => SocketKind::Datagram,
            "seqpacket" => SocketKind::SeqPacket,
            _ => SocketKind::Stream,
        })
    }
}

/// A value short enough for a message.
fn clip(text: &str) -> String {
    const MAX: usize = 60;
    if text.chars().count() <= MAX {
        text.to_owned()
    } else {
        text.chars().take(MAX).chain(['…']).collect()
    }
}
