//! A worker's message for other workers: ganger's own convention on `process.send`.
//!
//! `process.send({ganger: {to: "others"}, message: x})` reaches `process.on('message', …)` of the others as
//! `{ganger: {from: SLOT}, message: x}`. `to` is a slot's number, `"others"` or `"all"`.

use serde_json::{Value, json};

use super::UserText;

/// The longest message that is passed on, in bytes; a longer one goes to whoever listens outside, as any other.
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

impl Route {
    /// Reads a message of the worker in slot `from`; `None`: it is for no other worker.
    #[must_use]
    pub fn read(json: &str, from: u32) -> Option<Self> {
        if json.len() > MAX_ROUTED_BYTES || !json.contains("\"ganger\"") {
            return None;
        }
        let Value::Object(mut fields) = serde_json::from_str(json).ok()? else {
            return None;
        };
        let to = fields.get("ganger")?.get("to")?;
        let to = match to.as_str() {
            Some("others") => To::Others,
            Some("all") => To::All,
            Some(_) => return None,
            None => To::Slot(u32::try_from(to.as_u64()?).ok()?),
        };
        let message = fields.remove("message").unwrap_or_default();
        let text = json!({"ganger": {"from": from}, "message": message}).to_string();
        Some(Self { to, text: UserText::from_json(&text).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(json: &str) -> Option<(To, String)> {
        Route::read(json, 3).map(|route| (route.to, route.text.as_json().to_owned()))
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
            r#"{"message":1}"#,
            r#"{"x":{"ganger":{"to":"all"}}}"#,
        ] {
            assert_eq!(route(json), None, "{json}");
        }
        let long = format!(r#"{{"ganger":{{"to":"all"}},"message":"{}"}}"#, "x".repeat(MAX_ROUTED_BYTES));
        assert_eq!(route(&long), None);
    }
}
