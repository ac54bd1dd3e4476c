//! Whose line it is: Node's own or the app's. The line is checked to be one JSON value without building it,
//! so that a huge or deep message of the app costs no memory and no stack.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The `cmd` of an internal line, or nothing for a line of the app. The error is serde_json's.
pub(super) fn internal_command(line: &[u8]) -> Result<Option<String>, serde_json::Error> {
    // What fits no `Head` may still be JSON: another kind of value, or strings that Rust has no room for
    // (lone surrogates). Node's own lines never look like that.
    match serde_json::from_slice::<Head>(line) {
        Ok(head) => Ok(head.cmd.0.filter(|command| is_internal(command))),
        Err(_) => serde_json::from_slice::<IgnoredAny>(line).map(|_| None),
    }
}

/// Node's rule for the value of `cmd`.
pub(super) fn is_internal(command: &str) -> bool {
    command.len() > 5 && command.starts_with("NODE_")
}

#[derive(serde::Deserialize)]
struct Head {
    #[serde(default)]
    cmd: Command,
}

/// A string where there is one, anything else without its content.
#[derive(Default)]
struct Command(Option<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Command, E> {
        Ok(Command(Some(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Command, E> {
        Ok(Command(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Command, E> {
        Ok(Command(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Command, E> {
        Ok(Command(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Command, E> {
        Ok(Command(None))
    }

    fn visit_unit<E>(self) -> Result<Command, E> {
        Ok(Command(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Command(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Command(None))
    }
}
