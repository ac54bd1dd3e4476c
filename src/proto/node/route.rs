//! A worker's message for other workers: ganger's own convention on `process.send`.
//!
//! `process.send({ganger: {to: "others"}, message: x})` reaches `process.on('message', …)` of the others as
//! `{ganger: {from: SLOT}, message: x}`. `to` is a slot's number, `"others"` or `"all"`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::{Value, json};

use super::UserText;

/// The longest message that is passed on, in bytes, with what names its receiver.
pub const MAX_ROUTED_BYTES: usize = 1024 * 1024;

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The worker in this slot.
    Slot(u32),
    /// Every worker but the sender.
    Others,
    /// Every worker.
    All,
}

/// A message for other workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// To whom.
    pub to: To,
    /// What they get.
    pub text: UserText,
}

/// A message for other workers that none of them gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteError {
    /// To whom it was.
    pub to: To,
    /// Why.
    pub fault: RouteFault,
}

/// What is wrong with a message for other workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteFault {
    /// It is longer than [`MAX_ROUTED_BYTES`].
    TooLong(usize),
    /// It is JSON that cannot be written again as it came: half of a surrogate pair, say.
    Unreadable(String),
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => write!(f, "worker {slot}"),
            Self::Others => f.write_str("the other workers"),
            Self::All => f.write_str("all workers"),
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}: ", self.to)?;
        match &self.fault {
            RouteFault::TooLong(len) => {
                write!(f, "it has {len} bytes, and between workers {MAX_ROUTED_BYTES} are the most")
            }
            RouteFault::Unreadable(reason) => write!(f, "it cannot be passed on as it is: {reason}"),
        }
    }
}

impl std::error::Error for RouteError {}

impl Route {
    /// Reads a message of the worker in slot `from`; `None`: it is for no other worker.
    ///
    /// # Errors
    /// When it is for other workers and cannot be passed on.
    pub fn read(json: &str, from: u32) -> Result<Option<Self>, RouteError> {
        if !json.contains("\"ganger\"") {
            return Ok(None);
        }
        // What a long message holds is not built.
        let Ok(Envelope { ganger: Address { to } }) = serde_json::from_str(json) else {
            return Ok(None);
        };
        if json.len() > MAX_ROUTED_BYTES {
            return Err(RouteError { to, fault: RouteFault::TooLong(json.len()) });
        }
        let unreadable =
            |reason: &dyn fmt::Display| RouteError { to, fault: RouteFault::Unreadable(reason.to_string()) };
        let Content { message } = serde_json::from_str(json).map_err(|error| unreadable(&error))?;
        let text = json!({"ganger": {"from": from}, "message": message}).to_string();
        let text = UserText::from_json(&text).map_err(|error| unreadable(&error))?;
        Ok(Some(Self { to, text }))
    }
}

#[derive(Deserialize)]
struct Envelope {
    ganger: Address,
}

#[derive(Deserialize)]
struct Address {
    to: To,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    message: Value,
}

impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToVisitor)
    }
}

struct ToVisitor;

impl Visitor<'_> for ToVisitor {
    type Value = To;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a slot, \"others\" or \"all\"")
    }

    fn visit_u64<E: de::Error>(self, slot: u64) -> Result<To, E> {
        u32::try_from(slot).map(To::Slot).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<To, E> {
        match text {
            "others" => Ok(To::Others),
            "all" => Ok(To::All),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(json: &str) -> Option<(To, String)> {
        Route::read(json, 3).unwrap().map(|route| (route.to, route.text.as_json().to_owned()))
    }

    #[test]
    fn a_message_for_others_says_from_whom_it_is() {
        let expected = r#"{"ganger":{"from":3},"message":[1,null]}"#.to_owned();
        assert_eq!(
            route(r#"{"ganger":{"to":"others"},"message":[1,null]}"#),
            Some((To::Others, expected.clone()))
        );
        assert_eq!(route(r#"{"ganger":{"to":0},"message":[1,null]}"#), Some((To::Slot(0), expected.clone())));
        assert_eq!(route(r#"{"message":[1,null],"ganger":{"to":"all"}}"#), Some((To::All, expected)));
    }

    #[test]
    fn a_forged_sender_is_replaced() {
        let forged = r#"{"ganger":{"to":1,"from":9},"message":{"cmd":"NODE_CLUSTER"},"cmd":"NODE_x"}"#;
        let inside = r#"{"ganger":{"from":3},"message":{"cmd":"NODE_CLUSTER"}}"#;
        assert_eq!(route(forged), Some((To::Slot(1), inside.to_owned())));
    }

    #[test]
    fn everything_else_is_for_no_other_worker() {
        for json in [
            "42",
            "\"ganger\"",
            r#"{"ganger":1}"#,
            r#"{"ganger":{"to":-1}}"#,
            r#"{"ganger":{"to":"slot 1"}}"#,
            r#"{"ganger":{"to":4294967296}}"#,
            r#"{"ganger":{"to":[1]}}"#,
            r#"{"message":1}"#,
            r#"{"x":{"ganger":{"to":"all"}}}"#,
        ] {
            assert_eq!(route(json), None, "{json}");
        }
        let long =
            format!(r#"{{"type":"ganger","ganger":{{}},"message":"{}"}}"#, "x".repeat(MAX_ROUTED_BYTES));
        assert_eq!(route(&long), None);
    }

    #[test]
    fn what_is_too_long_or_cannot_be_written_again_is_told_with_its_receiver() {
        let long = |len: usize| {
            let frame = r#"{"message":"","ganger":{"to":"others"}}"#.len();
            format!(r#"{{"message":"{}","ganger":{{"to":"others"}}}}"#, "x".repeat(len - frame))
        };
        assert!(route(&long(MAX_ROUTED_BYTES)).is_some());
        let error = Route::read(&long(MAX_ROUTED_BYTES + 1), 3).unwrap_err();
        let text = "to the other workers: it has 1048577 bytes, and between workers 1048576 are the most";
        assert_eq!(error.to_string(), text);
        let half = Route::read(r#"{"ganger":{"to":2},"message":"\ud800"}"#, 3).unwrap_err();
        assert!(half.to_string().starts_with("to worker 2: it cannot be passed on as it is: "), "{half}");
    }
}
