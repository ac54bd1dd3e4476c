//! One value of one key: read, bounded and typed, or refused with what was expected.
//!
//! A check sees its one value only; what concerns two keys is checked when the plan is made.

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::{Calendar, MAX_WORKERS, Sink};
use crate::time::{parse_size, parse_span};

use super::diagnostic::Complaint;
use super::kind::{EnvFile, Kind, Typed, Workers};
use super::value::{Value, What};
use super::words::MAX_WORD_BYTES;
use super::{environment, near, probe, signal, words};

/// The most words in one command.
const MAX_WORDS: usize = 4096;

/// The most environment files.
const MAX_ENV_FILES: usize = 64;

/// A typed value, or the complaint about it.
pub(super) type Check = Result<Typed, Box<Complaint>>;

impl Kind {
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
            Self::Command { .. } => field.command(),
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
            Self::Count { min, max, .. } => field.count(min, max).map(Typed::Count),
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

/// A value under check, with what a message about it needs.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) path: &'a str,
    pub(super) kind: Kind,
    pub(super) value: &'a Value,
}

impl<'a> Field<'a> {
    /// `path` + words, expecting what the kind expects.
    pub(super) fn wrong(&self, words: &str) -> Box<Complaint> {
        let message = format!("`{}` {words}", self.path);
        Box::new(Complaint::error(self.value.at.clone(), message).expected(self.kind.expected()))
    }

    pub(super) fn wrong_type(&self) -> Box<Complaint> {
        self.wrong(&format!("is {}", self.value.kind()))
    }

    pub(super) fn wrong_value(&self) -> Box<Complaint> {
        self.wrong(&format!("is {}", clip(&self.value.shown())))
    }

    fn item(&self, value: &'a Value) -> Self {
        Self { value, ..*self }
    }

    pub(super) fn text(&self) -> Result<&'a str, Box<Complaint>> {
        if let What::Text(text) = &self.value.what { Ok(text) } else { Err(self.wrong_type()) }
    }

    fn nonempty(&self) -> Result<String, Box<Complaint>> {
        let text = self.text()?;
        if text.is_empty() { Err(self.wrong("is empty")) } else { Ok(text.to_owned()) }
    }

    /// The one value, or each value of an array.
    pub(super) fn each<T>(
        &self,
        mut read: impl FnMut(&Self) -> Result<T, Box<Complaint>>,
    ) -> Result<Vec<T>, Box<Complaint>> {
        let What::List(list) = &self.value.what else {
            return read(self).map(|one| vec![one]);
        };
        let (mut good, mut faults) = (Vec::new(), Vec::new());
        for value in list {
            match read(&self.item(value)) {
                Ok(one) => good.push(one),
                Err(complaint) => faults.push(*complaint),
            }
        }
        match faults.into_iter().reduce(Complaint::and) {
            Some(complaint) => Err(Box::new(complaint)),
            None => Ok(good),
        }
    }

    fn command(&self) -> Check {
        let words = if let What::Text(line) = &self.value.what {
            words::split(line).map_err(|error| {
                let message = format!("`{}`: {}", self.path, error.message());
                Box::new(Complaint::error(self.value.at.clone(), message).hint(error.hint()))
            })?
        } else if let What::List(_) = &self.value.what {
            self.each(Self::word)?
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

    /// One word of an array.
    fn word(item: &Self) -> Result<String, Box<Complaint>> {
        let text = item.text().map_err(|complaint| {
            let scalar = matches!(item.value.what, What::Integer(_) | What::Float(_) | What::Flag(_));
            if scalar { Box::new(complaint.hint("put it in quotes")) } else { complaint }
        })?;
        if text.contains('\0') || text.len() > MAX_WORD_BYTES {
            return Err(item.wrong("holds a NUL character or is longer than 128 KiB"));
        }
        Ok(text.to_owned())
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

    pub(super) fn choice(&self, words: &'static [&'static str]) -> Result<&'static str, Box<Complaint>> {
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
        if environment::is_gangers(&name) {
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

    pub(super) fn count(&self, min: u32, max: u32) -> Result<u32, Box<Complaint>> {
        let counts = matches!(self.kind, Kind::Workers | Kind::Count { .. });
        let kind = if counts { self.kind } else { Kind::Count { min, max, off: false } };
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
        Calendar::parse(text).map(Typed::Calendar).map_err(|_| self.wrong_value())
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
}

/// A value short enough for a message.
pub(super) fn clip(text: &str) -> String {
    // So many characters fit beside the words of a message.
    const MAX: usize = 60;
    if text.chars().count() <= MAX {
        text.to_owned()
    } else {
        text.chars().take(MAX).chain(['…']).collect()
    }
}
