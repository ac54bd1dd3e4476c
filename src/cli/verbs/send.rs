//! `ganger send APP[:SLOT] JSON`: a message to `process.on('message')` of Node.js workers.

use crate::cli::asking::{PROMPT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::target;
use crate::dbus::{MAX_JSON_BYTES, Wish};
use crate::pool::Slot;

/// Asks for it and waits for the verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let target = target::app_slot(context.typed.operand(0)?)?;
    let json = checked(context.typed.operand(1)?)?.to_owned();
    ask(context, &target.app, &Wish::Send { slot: target.slot.map(Slot), json }, PROMPT_DEADLINE)
}

/// A typing error is told here, with its place, rather than by the supervisor.
fn checked(text: &str) -> Result<&str, Failure> {
    if text.len() > MAX_JSON_BYTES {
        return Err(Failure::usage(format!("the message is longer than {MAX_JSON_BYTES} bytes")));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| text).map_err(|error| {
        Failure::usage(format!("the message is no JSON: {error}")).hint("a text is '\"text\"'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_json_of_a_sane_length() {
        assert!(checked("{\"a\": [1, null]}").is_ok());
        for text in ["hello", "", "{\"a\"", &format!("\"{}\"", "x".repeat(MAX_JSON_BYTES))] {
            assert!(checked(text).is_err(), "{text:.20}");
        }
    }
}
