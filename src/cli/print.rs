//! The one place of the program that writes to its standard output and standard error.
//!
//! It decides about colour, width and characters, makes text from outside harmless for a terminal, and takes a closed pipe
//! (`ganger list | head -1`) for what it is: a reader who has seen enough.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use nix::errno::Errno;

use super::charset;
use super::exit::{Exit, Failure};
use crate::os::stdio;

/// The width of a terminal that does not tell its own.
const DEFAULT_WIDTH: usize = 80;
/// Narrower than this, tables do not try to fit.
const MIN_WIDTH: usize = 40;

/// When colour is used (`--color`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How text is made for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// With colour.
    pub(crate) color: bool,
    /// Columns of the terminal; `None`: not a terminal, lines may be of any length.
    pub(crate) width: Option<usize>,
}

impl Look {
    /// Without colour and without a limit: what goes into a file or a pipe.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { color: false, width: None };
}

/// A meaning, which becomes a colour where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Style {
    /// As it is.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Broken.
    Bad,
    /// Of little weight.
    Dim,
}

impl Style {
    /// `text` in this style.
    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
        };
        if color && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The program's standard output and standard error.
#[derive(Debug)]
pub(crate) struct Printer {
    look: Look,
    error_color: bool,
    utf8: bool,
    closed: Cell<bool>,
    broken: RefCell<Option<io::Error>>,
}

impl Printer {
    /// Looks at the terminal and the environment.
    pub(crate) fn of_this_process(when: ColorWhen) -> Self {
        let quiet = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == *"dumb");
        let colored = |terminal: bool| match when {
            ColorWhen::Auto => terminal && !quiet,
            ColorWhen::Always => true,
            ColorWhen::Never => false,
        };
        let terminal = io::stdout().is_terminal();
        let width = terminal.then(|| {
            width_from(std::env::var_os("COLUMNS").as_deref())
                .or_else(|| crate::os::terminal::size().map(|(columns, _)| columns))
                .unwrap_or(DEFAULT_WIDTH)
                .max(MIN_WIDTH)
        });
        Self {
            look: Look { color: colored(terminal), width },
            error_color: colored(io::stderr().is_terminal()),
            utf8: charset::is_utf8(),
            closed: Cell::new(false),
            broken: RefCell::new(None),
        }
    }

    /// How text on standard output is to look.
    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Text on standard error may be coloured.
    pub(crate) fn error_color(&self) -> bool {
        self.error_color
    }

    /// Nobody reads standard output any more.
    pub(crate) fn closed(&self) -> bool {
        self.closed.get()
    }

    /// What kept standard output from being written, a reader's leaving aside: a full disk, for example.
    pub(crate) fn broken(&self) -> Option<Failure> {
        self.broken.take().map(cannot_write)
    }

    /// Nothing, where another program that is to write there could.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        there_is_one().map_err(cannot_write)
    }

    /// Writes `text` to standard output as it is, and flushes.
    pub(crate) fn text(&self, text: &str) {
        if self.closed() {
            return;
        }
        let mut out = io::stdout().lock();
        let written = there_is_one().and_then(|()| out.write_all(text.as_bytes())).and_then(|()| out.flush());
        if let Err(error) = written {
            self.closed.set(true);
            self.broken.replace(Some(error).filter(|error| error.kind() != io::ErrorKind::BrokenPipe));
        }
    }

    /// Writes what is made for a person to standard output, in characters that the person's terminal knows.
    pub(crate) fn view(&self, text: &str) {
        self.text(&self.known(text));
    }

    /// Writes one line for a person to standard output.
    pub(crate) fn line(&self, line: &str) {
        self.view(&format!("{line}\n"));
    }

    fn known<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.utf8 { text.into() } else { charset::in_ascii(text).into() }
    }

    /// Writes one value as one line of JSON, or indented.
    pub(crate) fn json<T: serde::Serialize>(&self, value: &T, indented: bool) {
        let text = if indented { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        match text {
            Ok(text) => self.text(&format!("{text}\n")),
            Err(error) => self.note(&format!("ganger: cannot write JSON: {error}")),
        }
    }

    /// Writes one line to standard error. A closed standard error is nobody's trouble.
    pub(crate) fn note(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", self.known(line));
    }

    /// Tells a failure on standard error.
    pub(crate) fn failure(&self, failure: &Failure) {
        let text = failure.to_string();
        match text.strip_prefix("ganger:") {
            Some(rest) => self.note(&format!("{}{rest}", Style::Bad.paint("ganger:", self.error_color))),
            None => self.note(&text),
        }
    }
}

fn cannot_write(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write to standard output: {error}"))
}

/// What is written to a standard output that was closed (`>&-`) would be lost.
fn there_is_one() -> io::Result<()> {
    if stdio::output_was_closed() { Err(Errno::EBADF.into()) } else { Ok(()) }
}

/// `COLUMNS`, when it is a sane number.
fn width_from(columns: Option<&OsStr>) -> Option<usize> {
    columns?.to_str()?.parse().ok().filter(|width| (1..=10_000).contains(width))
}

/// The first line of such a text, and a sign that there are more.
pub(crate) fn harmless_head(text: &str) -> String {
    let mut lines = text.lines();
    let head = harmless(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{head} …") } else { head }
}

/// Text from outside (a worker's `STATUS=`, a reason, a path) without anything that steers a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                '·'
            } else {
                c
            }
        })
        .collect()
}

/// As [`harmless`], for a text of several lines (the report on a configuration): they stay lines.
pub(crate) fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_are_harmless_each() {
        assert_eq!(harmless_lines("a\x1b[2J\r\n  ^"), "a·[2J·\n  ^");
    }

    #[test]
    fn what_steers_a_terminal_is_made_harmless() {
        assert_eq!(harmless("ok\x1b[2J\u{9b}m\n\u{202e}x é"), "ok·[2J·m··x é");
    }

    #[test]
    fn colour_is_left_out_where_it_is_not_wanted() {
        assert_eq!(Style::Bad.paint("x", false), "x");
        assert_eq!(Style::Bad.paint("x", true), "\x1b[31mx\x1b[0m");
        assert_eq!(Style::Good.paint("", true), "");
    }

    #[test]
    fn where_there_is_one_line_only_the_first_is_shown() {
        assert_eq!(harmless_head("one\n\x07two"), "one …");
        assert_eq!(harmless_head("o\x07ne"), "o·ne");
    }

    #[test]
    fn columns_must_be_a_sane_number() {
        for (text, width) in [("120", Some(120)), ("0", None), ("wide", None), ("99999", None)] {
            assert_eq!(width_from(Some(OsStr::new(text))), width, "{text}");
        }
    }
}
