//! One record, detached from the place where it was made: owned, bounded, ready to cross to another thread.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// The most fields of a record that are kept, the message included.
pub(super) const MAX_FIELDS: usize = 16;

/// The longest value that is kept, in bytes; the rest is cut off with `…`.
pub(super) const MAX_VALUE_BYTES: usize = 4096;

/// A record of tracing, detached from its event.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) values: Vec<(Field, String)>,
}

impl Record {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut record = Self { metadata: event.metadata(), values: Vec::new() };
        event.record(&mut record);
        record
    }

    pub(super) fn level(&self) -> Level {
        *self.metadata.level()
    }

    /// Makes an event of the record again and hands it to `take`: what had been a number has become its
    /// text, which is all that a journal field can be.
    pub(super) fn replay(&self, take: impl FnOnce(&Event<'_>)) {
        let fields = self.metadata.fields();
        let Some((first, _)) = self.values.first() else { return };
        // tracing takes arrays only: what is not used is a field without a value.
        let mut slots: [(&Field, Option<&dyn tracing::Value>); MAX_FIELDS] = [(first, None); MAX_FIELDS];
        for (slot, (field, value)) in slots.iter_mut().zip(&self.values) {
            *slot = (field, Some(value));
        }
        take(&Event::new(self.metadata, &fields.value_set(&slots)));
    }

    /// The record as one line for a person, without its level: the message, then ` name=value` for each
    /// field that is not only for machines. Control characters are escaped: a path or a worker's words must
    /// not steer a terminal.
    pub(super) fn line(&self) -> String {
        let mut line = String::new();
        for (_, value) in self.values.iter().filter(|(field, _)| field.name() == "message") {
            harmless(&mut line, value);
        }
        for (field, value) in self.values.iter().filter(|(field, _)| for_people(field.name())) {
            let gap = if line.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(line, "{gap}{}=", field.name());
            harmless(&mut line, value);
        }
        line
    }

    fn keep(&mut self, field: &Field, value: String) {
        if self.values.len() < MAX_FIELDS {
            self.values.push((field.clone(), value));
        }
    }
}

fn for_people(name: &str) -> bool {
    let name = name.as_bytes();
    name != b"message"
        && name != b"message_id"
        && !name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"ganger_"))
}

fn harmless(line: &mut String, value: &str) {
    for c in value.trim_end().chars() {
        match c {
            '\n' => line.push_str("\n  "),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        if write!(text, "{value:?}").is_err() {
            text.0.push('…');
        }
        self.keep(field, text.0);
    }
}

/// Takes text until it is full, and stops whoever formats more.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_VALUE_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.extend(text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c));
        Err(fmt::Error)
    }
}
