//! A worker's message for other workers: ganger's own convention on `process.send`.
//!
//! `process.send({ganger: {to: "others"}, message: x})` reaches `process.on('message', …)` of the others as
//! `{ganger: {from: SLOT}, message: x}`. `to` is a slot's number (also as a string, as apps have it in their
//! environment), `"others"` or `"all"`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::UserText;

/// So much is said of a receiver that there cannot be, in characters.
const MAX_TOLD_CHARS: usize = 40;
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
pub enum RouteError {
    /// Its `to` names nobody that there could be; what it is.
    Senseless(String),
    /// It is longer than [`MAX_ROUTED_BYTES`].
    TooLong {
        /// To whom it was.
        to: To,
        /// Its length, in bytes.
        len: usize,
    },
    /// It is JSON that cannot be written again as it came: half of a surrogate pair, say.
    Unreadable {
        /// To whom it was.
        to: To,
        /// Why.
        reason: String,
    },
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
        match self {
            Self::Senseless(what) => write!(
                f,
                "to {what}: `to` is the number of a slot, \"others\" or \"all\", and nothing else is a receiver"
            ),
            Self::TooLong { to, len } => {
                write!(f, "to {to}: it has {len} bytes, and between workers {MAX_ROUTED_BYTES} are the most")
            }
            Self::Unreadable { to, reason } => {
                write!(f, "to {to}: it cannot be passed on as it is: {reason}")
            }
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
        let to = to.map_err(RouteError::Senseless)?;
        if json.len() > MAX_ROUTED_BYTES {
            return Err(RouteError::TooLong { to, len: json.len() });
        }
        let unreadable =
            |reason: &dyn fmt::Display| RouteError::Unreadable { to, reason: reason.to_string() };
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
    #[serde(deserialize_with = "receiver")]
    to: Receiver,
}

/// What `to` is; what else it was, for people.
type Receiver = Result<To, String>;

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    message: Value,
}

fn receiver<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Receiver, D::Error> {
    deserializer.deserialize_any(ReceiverVisitor)
}

/// Takes whatever comes, and builds none of it.
struct ReceiverVisitor;

impl<'de> Visitor<'de> for ReceiverVisitor {
    type Value = Receiver;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, slot: u64) -> Result<Receiver, E> {
        Ok(u32::try_from(slot).map(To::Slot).map_err(|_| slot.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Receiver, E> {
        Ok(Err(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Receiver, E> {
        Ok(Err(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Receiver, E> {
        let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(match text {
            "others" => Ok(To::Others),
            "all" => Ok(To::All),
            _ => number.and_then(|number| number.parse().ok()).map(To::Slot).ok_or_else(|| {
                let told: String = text.chars().take(MAX_TOLD_CHARS).collect();
                let more = if told.len() < text.len() { " …" } else { "" };
                format!("{told:?}{more}")
            }),
        })
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Receiver, E> {
        Ok(Err(truth.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Receiver, E> {
        Ok(Err("null".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Receiver, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Receiver, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err("an object".to_owned()))
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
            r#"{"ganger":{}}"#,
            r#"{"ganger":{"from":1}}"#,
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
    fn a_slot_may_be_named_as_the_environment_names_it() {
        let expected = r#"{"ganger":{"from":3},"message":null}"#;
        for (to, slot) in [("\"1\"", 1), ("\"0\"", 0), ("\"4294967295\"", u32::MAX)] {
            let message = format!(r#"{{"ganger":{{"to":{to}}}}}"#);
            assert_eq!(route(&message), Some((To::Slot(slot), expected.to_owned())), "{message}");
        }
    }

    #[test]
    fn a_receiver_that_there_cannot_be_is_told_with_those_that_there_are() {
        let long = format!("\"{}\"", "x".repeat(1000));
        let cut = format!("\"{}\" …", "x".repeat(MAX_TOLD_CHARS));
        for (to, told) in [
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("4294967296", "4294967296"),
            ("\"4294967296\"", "\"4294967296\""),
            ("\"slot 1\"", "\"slot 1\""),
            ("\"+1\"", "\"+1\""),
            ("\"\"", "\"\""),
            ("\"\\n\"", "\"\\n\""),
            ("[1,[2]]", "a list"),
            ("{\"slot\":1}", "an object"),
            ("null", "null"),
            ("true", "true"),
            (&long, &cut),
        ] {
            let error = Route::read(&format!(r#"{{"ganger":{{"to":{to}}},"message":1}}"#), 3).unwrap_err();
            assert_eq!(error, RouteError::Senseless(told.to_owned()));
        }
        let text = RouteError::Senseless("a list".to_owned()).to_string();
        assert!(text.starts_with("to a list: `to` is the number of a slot, \"others\" or \"all\""), "{text}");
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
