//! The frames of Node's IPC channel in its `json` mode, as Node's cluster module uses them (Node 14 to 26).
//!
//! Decides: where a line ends, which lines are Node's own and which are the app's, what fields mean, what an
//! answer looks like as bytes. Decides nothing about what to answer: that is [`crate::node`].
//!
//! One JSON value a line, UTF-8, ended by `\n`. A line is *internal* when it is an object whose `cmd` is a
//! string longer than five characters that starts with `NODE_`; everything else is a message of the app.
//! Absent fields and `null` mean the same here: older versions leave out what newer ones send.

mod frame;
mod head;
mod lines;
mod reply;
mod route;

use std::fmt;

pub use frame::{AddressType, Frame, FrameError, Listen, OtherSignal, Query};
pub use lines::{Line, LineSplitter, LineTooLong};
pub use reply::{Outcome, SockName, ToWorker, UserText, UserTextError};
pub use route::{MAX_ROUTED_BYTES, Route, RouteError, To};

/// The longest line that a worker may send, in bytes; a longer one ends the channel.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// The longest line of Node's own that is looked into, in bytes; a longer one is malformed. Passed handles
/// are exempt: the app's message travels inside.
pub const MAX_INTERNAL_BYTES: usize = 256 * 1024;

/// The sender's running number of a cluster message; an answer names it.
pub type Seq = u64;

/// The name that the primary gives to one listening handle of one worker; opaque to the worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a server attaches to its query: TLS servers put their session ticket keys here, and the workers of
/// one listener must all get the first one's. Key material: never shown.
#[derive(Clone, PartialEq, Default)]
pub struct Data(Option<Box<serde_json::Value>>);

impl Data {
    /// From a parsed field; `null` is nothing.
    #[must_use]
    pub fn from_json(value: serde_json::Value) -> Self {
        Self((!value.is_null()).then(|| Box::new(value)))
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The field as it is sent.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.0.as_deref().cloned().unwrap_or(serde_json::Value::Null)
    }
}

impl Eq for Data {}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "None" } else { "(redacted)" })
    }
}
