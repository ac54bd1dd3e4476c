//! A TOML document as a tree in which every name and value knows its place.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{At, Complaint, FileId};
use super::excerpt::{Hide, may_be_env};
use super::keys;

/// So many syntax errors of one file are reported: the later ones are often echoes of the first.
const MAX_SYNTAX_ERRORS: usize = 5;

/// In longer text only the first syntax error is looked for: a megabyte of noise has a million of them.
const MAX_RECOVERED_BYTES: usize = 64 * 1024;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) at: At,
    pub(super) what: What,
}

/// The kinds of value that TOML knows.
#[derive(Debug, Clone)]
pub(super) enum What {
    Text(String),
    /// `None`: does not fit into 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Flag(bool),
    Moment,
    List(Vec<Value>),
    Table(Vec<Entry>),
}

/// A key of a table and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) name_at: At,
    pub(super) value: Value,
}

impl Value {
    pub(super) fn text(at: At, text: &str) -> Self {
        Self { at, what: What::Text(text.to_owned()) }
    }

    /// What a person calls this kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self.what {
            What::Text(_) => "a string",
            What::Integer(_) => "an integer",
            What::Float(_) => "a float",
            What::Flag(_) => "a boolean",
            What::Moment => "a date",
            What::List(_) => "an array",
            What::Table(_) => "a table",
        }
    }

    /// The value in TOML's notation, for a person to read.
    pub(super) fn shown(&self) -> String {
        match &self.what {
            What::Text(text) => format!("{text:?}"),
            What::Integer(Some(number)) => number.to_string(),
            What::Integer(None) => "(a huge number)".to_owned(),
            What::Float(number) => number.to_string(),
            What::Flag(flag) => flag.to_string(),
            What::Moment => "(a date)".to_owned(),
            What::List(list) => {
                let items: Vec<_> = list.iter().map(Self::shown).collect();
                format!("[{}]", items.join(", "))
            }
            What::Table(entries) => {
                let items: Vec<_> =
                    entries.iter().map(|entry| format!("{} = {}", entry.name, entry.value.shown())).collect();
                format!("{{ {} }}", items.join(", "))
            }
        }
    }

    fn new(file: FileId, value: &toml::Spanned<DeValue<'_>>) -> Self {
        let what = match value.get_ref() {
            DeValue::String(text) => What::Text(text.to_string()),
            DeValue::Integer(number) => {
                What::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => What::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => What::Flag(*flag),
            DeValue::Datetime(_) => What::Moment,
            DeValue::Array(list) => What::List(list.iter().map(|item| Self::new(file, item)).collect()),
            DeValue::Table(table) => What::Table(entries(file, table)),
        };
        Self { at: span(file, &value.span()), what }
    }
}

fn entries(file: FileId, table: &DeTable<'_>) -> Vec<Entry> {
    table
        .iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().to_string(),
            name_at: span(file, &name.span()),
            value: Value::new(file, value),
        })
        .collect()
}

fn span(file: FileId, range: &std::ops::Range<usize>) -> At {
    At::Span { file, start: range.start, end: range.end }
}

/// Reads a document, or says where it is no TOML.
pub(super) fn parse(file: FileId, text: &str) -> Result<Vec<Entry>, Vec<Complaint>> {
    let first = match DeTable::parse(text) {
        Ok(table) => return Ok(entries(file, table.get_ref())),
        Err(error) => error,
    };
    let errors =
        if text.len() <= MAX_RECOVERED_BYTES { DeTable::parse_recoverable(text).1 } else { vec![first] };
    // After the first error of a line the parser guesses; a person is helped by one a line.
    let line = |error: &toml::de::Error| {
        let start = error.span().map_or(text.len(), |range| range.start);
        text.bytes().take(start).filter(|byte| *byte == b'\n').count()
    };
    let mut by_line: BTreeMap<usize, &toml::de::Error> = BTreeMap::new();
    for error in errors.iter().take(MAX_SYNTAX_ERRORS * 10) {
        by_line.entry(line(error)).or_insert(error);
    }
    let mut errors: Vec<_> = by_line.into_values().collect();
    errors.dedup_by(|next, error| next.message() == error.message());
    Err(errors.iter().take(MAX_SYNTAX_ERRORS).map(|error| syntax_error(file, text, error)).collect())
}

fn syntax_error(file: FileId, text: &str, error: &toml::de::Error) -> Complaint {
    let range = error.span().unwrap_or(text.len()..text.len());
    let (message, expected) = match error.message().split_once(", expected ") {
        Some((message, expected)) => (message, Some(expected)),
        None => (error.message(), None),
    };
    let secret = may_be_env(text, range.start, keys::is_table);
    let hide = if secret { Hide::Line } else { Hide::Quoted };
    let name = text.get(range.clone()).unwrap_or_default().trim();
    let complaint = Complaint::error(span(file, &range), format!("not TOML: {message}")).hide(hide);
    let complaint = match expected {
        Some(expected) => complaint.expected(expected),
        None => complaint,
    };
    match (message, name) {
        (_, "profile") => {
            complaint.hint("`use-profile = \"NAME\"` selects a profile, a table [profile.NAME] describes one")
        }
        ("duplicate key", _) => complaint.hint("a table or key may be written once; join the two"),
        (message, _) if message.contains("between array elements") => {
            complaint.hint("is an array above not closed with ]?")
        }
        _ => complaint,
    }
}
