//! The primary's side of Node's cluster protocol, so that an unmodified Node app serves on inherited sockets.
//!
//! Decides: which socket answers a worker's `listen()`, who accepts connections, how a worker is asked to
//! leave, what a Node command line becomes. Decides nothing about a worker's life: that is [`crate::pool`].
//!
//! [`Primary`] is pure: frames and facts in, [`Action`]s out. [`Hub`] owns the descriptors and carries the
//! actions out; what is left for its owner are [`Report`]s.

mod bind;
mod channel;
mod claims;
mod connection;
mod fit;
mod hub;
mod inspect;
mod launch;
mod primary;
mod remark;
mod report;
mod rotation;
mod scripts;
mod served;
mod sockets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use bind::{BindAddress, BindRequest};
pub use channel::Heard;
pub use claims::Inherited;
pub use connection::{Connection, ConnectionError, Incoming, Received};
pub use fit::Fit;
pub use hub::{Hub, HubError, InheritedSocket, Turn};
pub use inspect::Inspector;
pub use launch::{
    ATTACH_FD, CHANNEL_FD, Launch, REMOVED, Setting, Way, environment, is_deno, is_node_command, launch,
    with_option,
};
pub use primary::Primary;
pub use remark::{LaunchError, LaunchNote, script, waits_for_debugger};
pub use report::{Action, Farewell, Handle, Kept, Lacking, Note, Policy, Report, Trust};

/// The most `listen()` calls of one app that are told apart.
pub const MAX_CLAIMS: usize = 256;
/// The most listening handles that one worker may hold.
pub const MAX_HANDLES: usize = 128;
/// The most sockets that ganger binds for one app.
pub const MAX_BOUND: usize = 64;
/// The most bytes that wait for one worker that does not read; beyond, the channel is given up.
pub const MAX_QUEUED_BYTES: usize = 2 * crate::proto::node::MAX_LINE_BYTES;
/// The most lines that wait for one worker that does not read.
pub const MAX_QUEUED_LINES: usize = 65_536;
/// A worker for which so many bytes wait …
pub const BEHIND_BYTES: usize = MAX_QUEUED_BYTES / 32;
/// … or so many lines is behind: what other workers say to it is dropped.
pub const BEHIND_LINES: usize = MAX_QUEUED_LINES / 32;
/// In round-robin: so many connections may be on their way to one worker, handed over and not yet answered for. More
/// than one, so that a worker need not wait for the next while ganger hears of the last; few, because they are what
/// a worker that is stuck delays.
pub const WINDOW: usize = 8;
/// How often a handle that did not arrive is sent again.
pub const MAX_HANDLE_TRIES: u32 = 5;
/// The wait before a handle that did not arrive is sent again (the worker has no free descriptor).
pub const HANDLE_RETRY: Duration = Duration::from_millis(100);
/// A worker that refused a connection rests for so long, doubled at each refusal …
pub const REFUSAL_REST: Duration = Duration::from_millis(10);
/// … up to this.
pub const REFUSAL_REST_MAX: Duration = Duration::from_secs(1);
/// A drained worker that is still there after this gets its stop signal: its servers are closed, but timers
/// or database connections keep it.
pub const SIGNAL_AFTER_DRAIN: Duration = Duration::from_millis(500);
/// A worker that does not drain gets its stop signal so long before it is killed (but not before three
/// quarters of its time are over): the last word for an app that closes its own WebSockets.
pub const LAST_CALL: Duration = Duration::from_secs(2);
/// A ready worker that has closed the last of its servers may take so long to listen again before that is told: an app
/// that tries whether its port is free does so, and one that is about to exit is gone by then.
pub const SILENCE: Duration = Duration::from_secs(5);
/// As [`SILENCE`], for a socket whose last server is gone and not followed yet: it may wait before it is started again.
pub const ABSENCE: Duration = Duration::from_secs(60);
/// How long idle connections may have for one more request when the whole pool ends.
const IDLE_AT_THE_END: Duration = Duration::from_secs(1);

/// `NODE_UNIQUE_ID`, seen by the app as `cluster.worker.id`: 1 … 2^31-1, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UniqueId(u32);

impl UniqueId {
    /// From a number that is never used twice; `None` when Node cannot hold it.
    #[must_use]
    pub fn new(id: u64) -> Option<Self> {
        let id = i32::try_from(id).ok().filter(|id| *id >= 1)?;
        u32::try_from(id).ok().map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        u64::from(self.0)
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A listening socket of the app: the inherited ones come first, in the order of `LISTEN_FDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// A connection that ganger accepted and that no worker has taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// errno(3) values as the protocol carries them.
mod errno {
    pub(super) const EINVAL: i32 = 22;
    pub(super) const EMFILE: i32 = 24;
    pub(super) const EACCES: i32 = 13;
    pub(super) const EADDRINUSE: i32 = 98;
}
