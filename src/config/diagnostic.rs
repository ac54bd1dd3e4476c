//! What is wrong with a configuration, and how a person is told.
//!
//! Every check files a [`Complaint`] and goes on, so that all faults of all files come at once. A finished
//! [`Diagnostics`] owns its text: it holds no source, and no value of an environment variable.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::excerpt::{Excerpt, Hide, clean};
use super::source::Sources;

/// So many faults are shown; a file that has more is not the file that was meant.
const MAX_SHOWN: usize = 50;

/// Which file of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) usize);

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// The key table.
    Default,
    /// A command-line flag.
    Flag(&'static str),
    /// A file as a whole, or a line of one whose text is not shown.
    Path(PathBuf, Option<usize>),
    /// Bytes `start..end` of a file.
    Span { file: FileId, start: usize, end: usize },
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No plan is made.
    Error,
    /// A plan is made, but something in the file has no effect or not the likely one.
    Warning,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One fault, before its place is turned into text.
#[derive(Debug, Clone)]
pub(super) struct Complaint {
    pub(super) severity: Severity,
    pub(super) at: At,
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) hint: Option<String>,
    /// How much of the line at `at` may be shown.
    pub(super) hide: Hide,
    /// Complaints about other parts of the same value.
    pub(super) also: Vec<Complaint>,
}

impl Complaint {
    pub(super) fn error(at: At, message: impl Into<String>) -> Self {
        let message = message.into();
        let severity = Severity::Error;
        Self { severity, at, message, expected: None, hint: None, hide: Hide::Marked, also: Vec::new() }
    }

    pub(super) fn warning(at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    pub(super) fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// This complaint and another.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.also.push(other);
        self
    }

    pub(super) fn hide(self, hide: Hide) -> Self {
        Self { hide, ..self }
    }
}

/// The complaints of one load.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Complaint>);

impl Report {
    pub(super) fn add(&mut self, mut complaint: Complaint) {
        let also = std::mem::take(&mut complaint.also);
        self.0.push(complaint);
        self.0.extend(also);
    }

    /// So many complaints came that hints for further ones would cost more than they help.
    pub(super) fn is_flooded(&self) -> bool {
        self.0.len() > 20 * MAX_SHOWN
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(|complaint| complaint.severity == Severity::Error)
    }

    /// Puts the complaints into the order of the files and lines, and finds their lines.
    pub(super) fn finish(mut self, sources: &Sources) -> Diagnostics {
        self.0.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.message.cmp(&b.message)));
        let more = self.0.len().saturating_sub(MAX_SHOWN);
        let shown = self.0.into_iter().take(MAX_SHOWN);
        let list = shown.map(|complaint| Diagnostic::new(complaint, sources)).collect();
        Diagnostics { list, more, not_found: false }
    }
}

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// `FILE:LINE:COL`, `FILE`, or a flag.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    excerpt: Option<Excerpt>,
}

impl Diagnostic {
    fn new(complaint: Complaint, sources: &Sources) -> Self {
        let (place, excerpt) = match &complaint.at {
            At::Default => ("built-in default".to_owned(), None),
            At::Flag(flag) => ((*flag).to_owned(), None),
            At::Path(path, None) => (path.display().to_string(), None),
            At::Path(path, Some(line)) => (format!("{}:{line}", path.display()), None),
            At::Span { file, start, end } => match sources.get(*file) {
                Some(source) => {
                    let excerpt = Excerpt::new(source, *start, *end, complaint.hide);
                    (format!("{}:{}:{}", source.path.display(), excerpt.line, excerpt.column), Some(excerpt))
                }
                None => (String::new(), None),
            },
        };
        Self {
            severity: complaint.severity,
            place: clean(&place),
            message: clean(&complaint.message),
            expected: complaint.expected.as_deref().map(clean),
            hint: complaint.hint.as_deref().map(clean),
            excerpt,
        }
    }

    fn render(&self, paint: &Paint, out: &mut String) -> fmt::Result {
        let (word, bold, reset) = (self.severity.word(), paint.bold, paint.reset);
        let colour = match self.severity {
            Severity::Error => paint.error,
            Severity::Warning => paint.warning,
        };
        writeln!(out, "{bold}{}:{reset} {colour}{word}:{reset} {bold}{}{reset}", self.place, self.message)?;
        let mut expected = self.expected.as_ref().map(|expected| format!("expected {expected}"));
        let shown = self.excerpt.as_ref().and_then(|excerpt| Some((excerpt, excerpt.text.as_ref()?)));
        if let Some((excerpt, text)) = shown {
            let number = excerpt.line.to_string();
            let gutter = " ".repeat(number.len());
            let (space, carets) = (" ".repeat(excerpt.caret), "^".repeat(excerpt.width.max(1)));
            writeln!(out, "  {number} | {text}")?;
            write!(out, "  {gutter} | {space}{colour}{carets}{reset}")?;
            match expected.take() {
                Some(expected) => writeln!(out, " {expected}")?,
                None => writeln!(out)?,
            }
        } else if self.excerpt.is_some() {
            writeln!(out, "    (the line is not shown: it may hold a secret)")?;
        }
        if let Some(expected) = expected {
            writeln!(out, "    {expected}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(out, "    {}hint:{reset} {hint}", paint.hint)?;
        }
        Ok(())
    }
}

struct Paint {
    bold: &'static str,
    error: &'static str,
    warning: &'static str,
    hint: &'static str,
    reset: &'static str,
}

const PLAIN: Paint = Paint { bold: "", error: "", warning: "", hint: "", reset: "" };
const COLOURS: Paint = Paint {
    bold: "\x1b[1m",
    error: "\x1b[1;31m",
    warning: "\x1b[1;33m",
    hint: "\x1b[1;36m",
    reset: "\x1b[0m",
};

/// Every fault of a configuration, in the order of its files and lines.
///
/// `Display` gives `FILE:LINE:COL: error: …`, the line, a caret, what was expected and a hint for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// So many faults are left out.
    more: usize,
    not_found: bool,
}

impl Diagnostics {
    /// Nothing of that name exists.
    pub(super) fn not_found(report: Report, sources: &Sources) -> Self {
        Self { not_found: true, ..report.finish(sources) }
    }

    /// The app (or the file) that was asked for does not exist: exit code 3 rather than 2.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.not_found
    }

    /// Nothing was found fault with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds what was found out elsewhere about the value that stands at `place`.
    pub fn warn(&mut self, place: &str, message: String, hint: &str) {
        self.list.push(Diagnostic {
            severity: Severity::Warning,
            place: place.to_owned(),
            message,
            expected: None,
            hint: Some(hint.to_owned()),
            excerpt: None,
        });
    }

    /// The faults, at most 50.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The same faults without the lines that they are in: for those who may not read the files.
    #[must_use]
    pub fn without_lines(&self) -> Self {
        let list = self.list.iter().map(|fault| Diagnostic { excerpt: None, ..fault.clone() }).collect();
        Self { list, ..self.clone() }
    }

    /// The text for a person; `colour` adds terminal colours.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint = if colour { &COLOURS } else { &PLAIN };
        let mut out = String::new();
        for diagnostic in &self.list {
            // Writing into a String cannot fail.
            let _ = diagnostic.render(paint, &mut out);
        }
        if self.more > 0 {
            let _ = writeln!(out, "… and {} more", self.more);
        }
        out
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end_matches('\n'))
    }
}

impl std::error::Error for Diagnostics {}
