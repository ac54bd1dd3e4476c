//! What a worker's line means.

use std::fmt;

use serde_json::{Map, Value};

use super::{Data, Key, MAX_INTERNAL_BYTES, Seq, head};

/// One line of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `online`: the runtime has booted, no line of the app has run.
    Online,
    /// `queryServer`: the app calls `listen()` or `bind()`. Needs an answer.
    Query(Query),
    /// `listening`: the server listens.
    Listening(Listen),
    /// `close`: the worker closed that server. The key may be unknown.
    Close {
        /// Which handle.
        key: Key,
    },
    /// `exitedAfterDisconnect`: the worker leaves by itself. Needs an answer, or it waits for ever.
    ExitedAfterDisconnect {
        /// What the answer names.
        seq: Seq,
    },
    /// The answer to a `newconn`.
    Reply {
        /// The number of the message that is answered.
        ack: Seq,
        /// Whether the worker took the connection.
        accepted: bool,
        /// It stands for `NODE_HANDLE_ACK` as well, which ganger's preload leaves out: the number is in a string then,
        /// with a plus in front.
        arrived: bool,
    },
    /// `NODE_HANDLE`: the app sends a handle. Needs `NODE_HANDLE_ACK`, or the worker sends nothing more.
    Handle,
    /// `NODE_HANDLE_ACK`: the oldest passed descriptor arrived.
    HandleAck,
    /// `NODE_HANDLE_NACK`: the oldest passed descriptor did not arrive.
    HandleNack,
    /// The drain preload: the app has no handler for its stop signal, but one for this signal.
    OtherHandler(OtherSignal),
    /// Internal and unknown: ignored, as Node does.
    Unknown,
    /// A message of the app, as JSON text on one line.
    User(String),
}

/// A signal that apps are asked to leave by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherSignal {
    /// SIGINT, PM2's.
    Int,
    /// SIGTERM, systemd's.
    Term,
}

/// What a worker wants to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Counts the calls with port 0 for one address.
    pub index: u64,
    /// IP address (resolved by Node), path of a unix socket, or nothing: any address.
    pub address: Option<String>,
    /// TCP or UDP port; -1 for unix sockets; absent with `fd`.
    pub port: Option<i64>,
    /// The kind of address.
    pub address_type: AddressType,
    /// `listen({fd})`: a number in the primary's table.
    pub fd: Option<i64>,
    /// libuv's flags: 1 is "IPv6 only", 4 is "reuse the address" (UDP).
    pub flags: u32,
    /// listen(2) backlog; absent or 0: Node's default.
    pub backlog: Option<u32>,
    /// A unix socket is made readable for all.
    pub readable_all: bool,
    /// A unix socket is made writable for all.
    pub writable_all: bool,
}

/// A `queryServer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What the answer names.
    pub seq: Seq,
    /// What is asked for.
    pub listen: Listen,
    /// What the server attached.
    pub data: Data,
}

/// Node's `addressType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressType {
    /// 4. TCP; with no address it stands for "any", IPv6 included.
    Tcp4,
    /// 6.
    Tcp6,
    /// -1.
    Unix,
    /// `udp4`.
    Udp4,
    /// `udp6`.
    Udp6,
    /// Absent: the `fd` decides.
    Unspecified,
}

/// Why a line has no meaning. The line is dropped; the channel goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// It is not one JSON value in UTF-8.
    NotJson(String),
    /// An internal message lacks a field or has a senseless one.
    Field(&'static str),
    /// An internal message is longer than [`MAX_INTERNAL_BYTES`].
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(reason) => write!(f, "a line that is no JSON: {reason}"),
            Self::Field(name) => write!(f, "an internal message without a usable \"{name}\""),
            Self::TooLong => write!(f, "an internal message longer than {MAX_INTERNAL_BYTES} bytes"),
        }
    }
}

impl std::error::Error for FrameError {}

impl Frame {
    /// Reads one line (without its `\n`).
    ///
    /// # Errors
    /// When the line has no meaning; see [`FrameError`].
    pub fn parse(line: &[u8]) -> Result<Self, FrameError> {
        match usual(line) {
            Some(frame) => Ok(frame),
            None => Self::parse_any(line),
        }
    }

    /// What [`Self::parse`] does with a line that is not one of the usual ones.
    fn parse_any(line: &[u8]) -> Result<Self, FrameError> {
        let text = std::str::from_utf8(line).map_err(|error| FrameError::NotJson(error.to_string()))?;
        let command = head::internal_command(line).map_err(|error| FrameError::NotJson(error.to_string()))?;
        match command.as_deref() {
            None => Ok(Self::User(one_line(text))),
            Some("NODE_HANDLE") => Ok(Self::Handle),
            Some("NODE_HANDLE_ACK") => Ok(Self::HandleAck),
            Some("NODE_HANDLE_NACK") => Ok(Self::HandleNack),
            Some("NODE_CLUSTER") => Self::cluster(text),
            Some("NODE_GANGER") => Ok(Self::preload(text)),
            Some(_) => Ok(Self::Unknown),
        }
    }

    /// What the drain preload says; apps can, too.
    fn preload(text: &str) -> Self {
        if text.len() > MAX_INTERNAL_BYTES {
            return Self::Unknown;
        }
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(text) else {
            return Self::Unknown;
        };
        let word = |name: &str| fields.get(name).and_then(Value::as_str);
        match (word("act"), word("signal")) {
            (Some("otherHandler"), Some("SIGINT")) => Self::OtherHandler(OtherSignal::Int),
            (Some("otherHandler"), Some("SIGTERM")) => Self::OtherHandler(OtherSignal::Term),
            (_, _) => Self::Unknown,
        }
    }

    fn cluster(text: &str) -> Result<Self, FrameError> {
        if text.len() > MAX_INTERNAL_BYTES {
            return Err(FrameError::TooLong);
        }
        let mut fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| FrameError::NotJson(error.to_string()))?;
        if let Some((ack, arrived)) = answered(&fields)? {
            let accepted = fields.get("accepted") == Some(&Value::Bool(true));
            return Ok(Self::Reply { ack, accepted, arrived });
        }
        let seq = number(&fields, "seq").and_then(|seq| Seq::try_from(seq).ok());
        match fields.get("act").and_then(Value::as_str) {
            Some("online") => Ok(Self::Online),
            Some("queryServer") => Ok(Self::Query(Query {
                seq: seq.ok_or(FrameError::Field("seq"))?,
                listen: Listen::read(&fields)?,
                data: Data::from_json(fields.remove("data").unwrap_or_default()),
            })),
            Some("listening") => Ok(Self::Listening(Listen::read(&fields)?)),
            Some("close") => match fields.get("key") {
                Some(Value::String(key)) => Ok(Self::Close { key: Key(key.clone()) }),
                _ => Err(FrameError::Field("key")),
            },
            Some("exitedAfterDisconnect" | "suicide") => {
                Ok(Self::ExitedAfterDisconnect { seq: seq.ok_or(FrameError::Field("seq"))? })
            }
            Some(_) | None => Ok(Self::Unknown),
        }
    }
}

impl Listen {
    fn read(fields: &Map<String, Value>) -> Result<Self, FrameError> {
        let truth = |name: &str| fields.get(name) == Some(&Value::Bool(true));
        let count = |name: &str| number(fields, name).and_then(|value| u32::try_from(value).ok());
        Ok(Self {
            index: number(fields, "index").and_then(|index| u64::try_from(index).ok()).unwrap_or(0),
            address: match fields.get("address") {
                None | Some(Value::Null) => None,
                Some(Value::String(address)) => Some(address.clone()),
                Some(_) => return Err(FrameError::Field("address")),
            },
            port: number(fields, "port"),
            address_type: AddressType::read(fields.get("addressType"))?,
            fd: number(fields, "fd").filter(|fd| *fd >= 0),
            flags: count("flags").unwrap_or(0),
            backlog: count("backlog").filter(|backlog| *backlog > 0),
            readable_all: truth("readableAll"),
            writable_all: truth("writableAll"),
        })
    }
}

impl AddressType {
    fn read(value: Option<&Value>) -> Result<Self, FrameError> {
        match value {
            None | Some(Value::Null) => Ok(Self::Unspecified),
            Some(Value::String(name)) if name == "udp4" => Ok(Self::Udp4),
            Some(Value::String(name)) if name == "udp6" => Ok(Self::Udp6),
            Some(value) => match value.as_i64() {
                Some(4) => Ok(Self::Tcp4),
                Some(6) => Ok(Self::Tcp6),
                Some(-1) => Ok(Self::Unix),
                _ => Err(FrameError::Field("addressType")),
            },
        }
    }

    /// Whether it is a datagram socket that is wanted.
    #[must_use]
    pub fn is_datagram(self) -> bool {
        matches!(self, Self::Udp4 | Self::Udp6)
    }
}

/// What a line answers, and whether it says that the descriptor came.
fn answered(fields: &Map<String, Value>) -> Result<Option<(Seq, bool)>, FrameError> {
    let wrong = FrameError::Field("ack");
    if let Some(Value::String(text)) = fields.get("ack") {
        return match text.strip_prefix('+').and_then(|digits| leading_number(digits.as_bytes())) {
            Some((ack, b"")) => Ok(Some((ack, true))),
            Some(_) | None => Err(wrong),
        };
    }
    let ack = number(fields, "ack").map(Seq::try_from).transpose().map_err(|_| wrong)?;
    Ok(ack.map(|ack| (ack, false)))
}

/// The lines that come with every connection in round-robin, letter by letter as Node writes them: read without
/// building JSON. Any other way to write the same is as good, and slower.
fn usual(line: &[u8]) -> Option<Frame> {
    if line == br#"{"cmd":"NODE_HANDLE_ACK"}"# {
        return Some(Frame::HandleAck);
    }
    let rest = line.strip_prefix(br#"{"cmd":"NODE_CLUSTER","ack":"#)?;
    let (ack, rest, arrived) = match rest.strip_prefix(b"\"+") {
        None => leading_number(rest).map(|(ack, rest)| (ack, rest, false))?,
        Some(rest) => {
            let (ack, rest) = leading_number(rest)?;
            (ack, rest.strip_prefix(b"\"")?, true)
        }
    };
    let (_, rest) = leading_number(rest.strip_prefix(br#","accepted":true,"seq":"#)?)?;
    (rest == b"}").then_some(Frame::Reply { ack, accepted: true, arrived })
}

/// A number of at most 15 digits as JSON writes it (no zero in front), and what follows.
fn leading_number(text: &[u8]) -> Option<(Seq, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if number.is_empty() || number.len() > 15 || (number.len() > 1 && number.starts_with(b"0")) {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok().map(|number| (number, rest))
}

/// JavaScript has one kind of number: `3000` and `3000.0` are the same. Anything else is as good as absent.
fn number(fields: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = fields.get(name)?;
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

fn whole(value: f64) -> Option<i64> {
    // Beyond 2^53 JavaScript itself cannot count.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, as checked here")]
    (value.fract() == 0.0 && value.abs() < LIMIT).then_some(value as i64)
}

/// White space between the tokens may hold carriage returns; they would end a line for some readers.
fn one_line(text: &str) -> String {
    text.trim().replace('\r', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(line: &str) -> Query {
        match Frame::parse(line.as_bytes()) {
            Ok(Frame::Query(query)) => query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_commands_that_begin_with_node_and_go_on_are_internal() {
        for text in [
            r#"{"cmd":"NODE_"}"#,
            r#"{"cmd":"node_x"}"#,
            r#"{"cmd":["NODE_CLUSTER"]}"#,
            r#"{"cmd":{"cmd":"NODE_CLUSTER"}}"#,
            r#"[{"cmd":"NODE_CLUSTER"}]"#,
            "\"ready\"",
            "42",
            "null",
            "-0.5",
            "true",
            r#"{"x":"\ud800"}"#,
        ] {
            assert_eq!(Frame::parse(text.as_bytes()), Ok(Frame::User(text.to_owned())));
        }
        assert_eq!(Frame::parse(br#"{"cmd":"NODE_x"}"#), Ok(Frame::Unknown));
        assert_eq!(Frame::parse(br#"{"cmd":"NODE_CLUSTER","act":"new thing","seq":1}"#), Ok(Frame::Unknown));
        let preload = |signal: &str| {
            Frame::parse(
                format!(r#"{{"cmd":"NODE_GANGER","act":"otherHandler","signal":{signal}}}"#).as_bytes(),
            )
        };
        assert_eq!(preload("\"SIGINT\""), Ok(Frame::OtherHandler(OtherSignal::Int)));
        assert_eq!(preload("\"SIGTERM\""), Ok(Frame::OtherHandler(OtherSignal::Term)));
        for senseless in ["\"SIGKILL\"", "15", "null", "{}"] {
            assert_eq!(preload(senseless), Ok(Frame::Unknown));
        }
    }

    #[test]
    fn a_query_of_node_14_and_one_of_node_26_read_the_same() {
        let old = query(
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":3000,"addressType":4,"seq":1}"#,
        );
        let new = query(
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":3000,"addressType":4,"flags":0,"backlog":0,"seq":1}"#,
        );
        assert_eq!(old, new);
        assert_eq!((old.listen.port, old.listen.address_type), (Some(3000), AddressType::Tcp4));
    }

    #[test]
    fn numbers_may_come_as_javascript_likes() {
        let query = query(r#"{"cmd":"NODE_CLUSTER","act":"queryServer","port":3e3,"fd":-1,"seq":7.0}"#);
        assert_eq!((query.listen.port, query.listen.fd, query.seq), (Some(3000), None, 7));
    }

    #[test]
    fn key_material_is_not_shown() {
        let query = query(
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","data":{"ticketKeys":"c0ffee"},"port":443,"addressType":4,"seq":1}"#,
        );
        assert!(!format!("{query:?}").contains("c0ffee"));
        assert_eq!(query.data.to_json().to_string(), r#"{"ticketKeys":"c0ffee"}"#);
    }

    #[test]
    fn a_query_that_cannot_be_answered_is_malformed() {
        let parse = |text: &str| Frame::parse(text.as_bytes());
        let line = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","port":1}"#;
        assert_eq!(parse(line), Err(FrameError::Field("seq")));
        let line = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","address":{},"seq":1}"#;
        assert_eq!(parse(line), Err(FrameError::Field("address")));
        let line = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":5,"seq":1}"#;
        assert_eq!(parse(line), Err(FrameError::Field("addressType")));
        let line = r#"{"cmd":"NODE_CLUSTER","act":"close"}"#;
        assert_eq!(parse(line), Err(FrameError::Field("key")));
        for ack in ["-1", "\"\"", "\"1\"", "\"+\"", "\"+-1\"", "\"+1 \"", "\"+01\""] {
            let line = format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack}}}"#);
            assert_eq!(parse(&line), Err(FrameError::Field("ack")), "{line}");
        }
        assert!(matches!(parse("{"), Err(FrameError::NotJson(_))));
        assert!(matches!(Frame::parse(b"\"\xff\""), Err(FrameError::NotJson(_))));
        let long = format!(r#"{{"cmd":"NODE_CLUSTER","x":"{}"}}"#, "x".repeat(MAX_INTERNAL_BYTES));
        assert_eq!(parse(&long), Err(FrameError::TooLong));
    }

    #[test]
    fn a_deep_message_of_the_app_is_no_danger() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(Frame::parse(deep.as_bytes()), Ok(Frame::User(deep.clone())));
    }

    #[test]
    fn the_usual_lines_mean_the_same_when_they_are_read_in_full() {
        let usual_lines = [
            r#"{"cmd":"NODE_HANDLE_ACK"}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":0,"accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":123456789012345,"accepted":true,"seq":99}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":"+0","accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":"+17","accepted":true,"seq":99}"#,
        ];
        for line in usual_lines {
            let short = usual(line.as_bytes()).unwrap();
            assert_eq!(Frame::parse_any(line.as_bytes()), Ok(short), "{line}");
        }
        for line in [
            r#"{"cmd":"NODE_CLUSTER","ack":01,"accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":,"accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":1.5}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1e3,"accepted":true,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":false,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":1,"accepted":false}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1234567890123456,"accepted":true,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":"1","accepted":true,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":+1,"accepted":true,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":"+1","accepted":false,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":"+","accepted":true,"seq":1}"#,
            r#"{"cmd":"NODE_HANDLE_ACK"} "#,
        ] {
            assert_eq!(usual(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn replies_and_handle_frames_are_told_apart() {
        let parse = |text: &str| Frame::parse(text.as_bytes()).unwrap();
        let taken = parse(r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":3}"#);
        assert_eq!(taken, Frame::Reply { ack: 1, accepted: true, arrived: false });
        let refused = parse(r#"{"cmd":"NODE_CLUSTER","ack":0,"accepted":false,"seq":3}"#);
        assert_eq!(refused, Frame::Reply { ack: 0, accepted: false, arrived: false });
        for accepted in [true, false] {
            let both = format!(r#"{{"cmd":"NODE_CLUSTER","ack":"+7","accepted":{accepted},"seq":3}}"#);
            assert_eq!(parse(&both), Frame::Reply { ack: 7, accepted, arrived: true });
        }
        assert_eq!(parse(r#"{"cmd":"NODE_HANDLE_ACK"}"#), Frame::HandleAck);
        assert_eq!(parse(r#"{"cmd":"NODE_HANDLE_NACK"}"#), Frame::HandleNack);
        assert_eq!(parse(r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"x":1}}"#), Frame::Handle);
        let leaves = parse(r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":9}"#);
        assert_eq!(leaves, Frame::ExitedAfterDisconnect { seq: 9 });
    }
}
