//! What the primary says to a worker, and its bytes.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Data, Key, MAX_LINE_BYTES, Seq, head};

/// One line to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// The answer to a query.
    Answer {
        /// The query's number.
        ack: Seq,
        /// The name of the handle.
        key: Key,
        /// What comes of it.
        outcome: Outcome,
        /// The listener's data.
        data: Data,
        /// Our number.
        seq: Seq,
    },
    /// A connection; a descriptor goes along.
    NewConnection {
        /// Whose: the key of the listening handle.
        key: Key,
        /// Our number, which the worker's answer names.
        seq: Seq,
    },
    /// Close every server, and the channel when they are closed.
    Disconnect {
        /// Our number.
        seq: Seq,
    },
    /// The answer to `exitedAfterDisconnect`.
    Ack {
        /// The number of the message that is answered.
        ack: Seq,
        /// Our number.
        seq: Seq,
    },
    /// The app's handle arrived.
    HandleAck,
    /// The app's handle did not arrive.
    HandleNack,
    /// It is about to be told to leave, for the drain preload; Node and others take no notice.
    Leave {
        /// How long idle connections may have for one more request.
        idle: Duration,
        /// The number of the stop signal that will come if it stays (signal(7)).
        signal: Option<i32>,
    },
    /// A message to the app.
    User(UserText),
}

/// What comes of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A shared listening handle goes along.
    Handle {
        /// The worker compares the handle's port with the wanted one; off where they differ on purpose.
        check_port: bool,
    },
    /// No handle: connections will come one by one. This is what `server.address()` says.
    RoundRobin(Option<SockName>),
    /// `listen()` fails with this errno (positive).
    Refused(i32),
}

/// What `server.address()` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SockName {
    /// IP address.
    pub address: String,
    /// IPv6.
    pub v6: bool,
    /// Port.
    pub port: u16,
}

/// JSON for the app, checked and on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserText(String);

/// Why a text cannot be sent to an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserTextError {
    /// It is not one JSON value.
    NotJson(String),
    /// Its `cmd` begins with `NODE_`: Node would take it for its own.
    Reserved,
    /// It is longer than [`MAX_LINE_BYTES`].
    TooLong,
}

impl fmt::Display for UserTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(reason) => write!(f, "not one JSON value: {reason}"),
            Self::Reserved => f.write_str("a \"cmd\" that begins with NODE_ is Node's own"),
            Self::TooLong => write!(f, "longer than {MAX_LINE_BYTES} bytes"),
        }
    }
}

impl std::error::Error for UserTextError {}

impl UserText {
    /// Takes one JSON value.
    ///
    /// # Errors
    /// When it is no JSON value, one of Node's own, or too long.
    pub fn from_json(text: &str) -> Result<Self, UserTextError> {
        if text.len() > MAX_LINE_BYTES {
            return Err(UserTextError::TooLong);
        }
        match head::internal_command(text.as_bytes()) {
            Err(error) => Err(UserTextError::NotJson(error.to_string())),
            Ok(Some(_)) => Err(UserTextError::Reserved),
            // Strings hold no raw line ends: what is left of them stands between the tokens.
            Ok(None) => Ok(Self(text.trim().replace(['\n', '\r'], " "))),
        }
    }

    /// A plain string, as PM2's `shutdown` is.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(Value::from(text).to_string())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl ToWorker {
    /// Whether a descriptor goes along with the line.
    #[must_use]
    pub fn carries_handle(&self) -> bool {
        match self {
            Self::Answer { outcome, .. } => matches!(outcome, Outcome::Handle { .. }),
            Self::NewConnection { .. } => true,
            Self::Disconnect { .. }
            | Self::Ack { .. }
            | Self::HandleAck
            | Self::HandleNack
            | Self::Leave { .. }
            | Self::User(_) => false,
        }
    }

    /// The bytes, with the `\n`. `datagram` says of which class a handle that goes along is.
    #[must_use]
    pub fn encode(&self, datagram: bool) -> Vec<u8> {
        let message = match self {
            // Once for each connection in round-robin, so without building JSON.
            Self::NewConnection { key, seq } if is_plain(&key.0) && !datagram => {
                return new_connection(key, *seq);
            }
            Self::User(UserText(text)) => return format!("{text}\n").into_bytes(),
            Self::HandleAck => json!({"cmd": "NODE_HANDLE_ACK"}),
            Self::HandleNack => json!({"cmd": "NODE_HANDLE_NACK"}),
            Self::Leave { idle, signal } => {
                let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
                json!({"cmd": "NODE_GANGER", "act": "leave", "idle": idle, "signal": signal})
            }
            Self::Disconnect { seq } => cluster(json!({"act": "disconnect", "seq": seq})),
            Self::Ack { ack, seq } => cluster(json!({"ack": ack, "seq": seq})),
            Self::NewConnection { key, seq } => cluster(json!({"act": "newconn", "key": key.0, "seq": seq})),
            Self::Answer { ack, key, outcome, data, seq } => {
                let mut reply = json!({"ack": ack, "key": key.0, "data": data.to_json(), "seq": seq});
                if let Value::Object(fields) = &mut reply {
                    fields.extend(outcome.fields());
                }
                cluster(reply)
            }
        };
        let message = if self.carries_handle() {
            let class = if datagram { "dgram.Native" } else { "net.Native" };
            json!({"cmd": "NODE_HANDLE", "type": class, "msg": message})
        } else {
            message
        };
        format!("{message}\n").into_bytes()
    }
}

impl Outcome {
    fn fields(&self) -> Vec<(String, Value)> {
        let field = |name: &str, value: Value| (name.to_owned(), value);
        match self {
            // Node looks at the port only when errno is exactly 0.
            Self::Handle { check_port: true } => vec![field("errno", json!(0))],
            Self::Handle { check_port: false } => vec![field("errno", Value::Null)],
            Self::RoundRobin(None) => vec![field("errno", Value::Null)],
            Self::RoundRobin(Some(name)) => vec![field("errno", Value::Null), field("sockname", name.json())],
            Self::Refused(errno) => vec![field("errno", json!(-errno.abs()))],
        }
    }
}

impl SockName {
    fn json(&self) -> Value {
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        json!({"address": self.address, "family": family, "port": self.port})
    }
}

/// A string that JSON writes as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn new_connection(Key(key): &Key, seq: Seq) -> Vec<u8> {
    format!(
        concat!(
            r#"{{"cmd":"NODE_HANDLE","type":"net.Native","#,
            r#""msg":{{"cmd":"NODE_CLUSTER","act":"newconn","key":"{key}","seq":{seq}}}}}"#,
            "\n"
        ),
        key = key,
        seq = seq
    )
    .into_bytes()
}

fn cluster(mut message: Value) -> Value {
    if let Value::Object(fields) = &mut message {
        fields.insert("cmd".to_owned(), json!("NODE_CLUSTER"));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &ToWorker) -> String {
        String::from_utf8(message.encode(false)).unwrap()
    }

    fn answer(outcome: Outcome) -> ToWorker {
        ToWorker::Answer { ack: 1, key: Key("g1".into()), outcome, data: Data::default(), seq: 0 }
    }

    #[test]
    fn a_shared_handle_travels_in_an_envelope() {
        assert_eq!(
            text(&answer(Outcome::Handle { check_port: true })),
            concat!(
                r#"{"cmd":"NODE_HANDLE","msg":{"ack":1,"cmd":"NODE_CLUSTER","data":null,"errno":0,"key":"g1","seq":0},"#,
                r#""type":"net.Native"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_socket_whose_port_differs_is_answered_without_the_errno_that_starts_the_check() {
        assert!(text(&answer(Outcome::Handle { check_port: false })).contains(r#""errno":null"#));
    }

    #[test]
    fn a_refusal_is_a_negative_errno_without_a_handle() {
        let line = text(&answer(Outcome::Refused(98)));
        assert_eq!(
            line,
            "{\"ack\":1,\"cmd\":\"NODE_CLUSTER\",\"data\":null,\"errno\":-98,\"key\":\"g1\",\"seq\":0}\n"
        );
    }

    #[test]
    fn round_robin_tells_the_address_instead_of_a_handle() {
        let name = SockName { address: "::".into(), v6: true, port: 3000 };
        let line = text(&answer(Outcome::RoundRobin(Some(name))));
        assert!(line.contains(r#""sockname":{"address":"::","family":"IPv6","port":3000}"#), "{line}");
        assert!(!line.contains("NODE_HANDLE"));
    }

    #[test]
    fn a_connection_says_the_same_whether_its_key_is_plain_or_not() {
        let value = |key: &str| -> Value {
            let line = text(&ToWorker::NewConnection { key: Key(key.into()), seq: 7 });
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
            serde_json::from_str(&line).unwrap()
        };
        let expected = |key: &str| json!({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": {"cmd": "NODE_CLUSTER", "act": "newconn", "key": key, "seq": 7}});
        assert_eq!(value("g12"), expected("g12"));
        assert_eq!(value("\"\n"), expected("\"\n"));
    }

    #[test]
    fn a_message_to_the_app_is_one_line_and_never_nodes_own() {
        let message = UserText::from_json("{\n \"a\": 1\r\n}\n").unwrap();
        assert_eq!(message.as_json(), "{  \"a\": 1  }");
        assert_eq!(text(&ToWorker::User(UserText::from_text("shutdown"))), "\"shutdown\"\n");
        let forged = r#"{"cmd":"NODE_CLUSTER","act":"disconnect"}"#;
        assert_eq!(UserText::from_json(forged), Err(UserTextError::Reserved));
        assert!(matches!(UserText::from_json(""), Err(UserTextError::NotJson(_))));
        assert!(matches!(UserText::from_json("1 2"), Err(UserTextError::NotJson(_))));
    }
}
