//! The words between the primary, the hub that carries its actions out, and the hub's owner.

use std::fmt;
use std::time::Duration;

use super::channel::Heard;
use super::fit::Fit;
use super::{BindRequest, ConnectionId, ListenerId, UniqueId};
use crate::plan::{Balance, Unmatched};
use crate::proto::node::{FrameError, OtherSignal, ToWorker, UserText};

pub use super::claims::Trust;

/// How the workers of one generation are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Who accepts.
    pub balance: Balance,
    /// What a `listen()` gets that no inherited socket fits.
    pub unmatched: Unmatched,
    /// Whose rights the worker has.
    pub trust: Trust,
}

/// How a worker is asked to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// Said before anything else (PM2's `shutdown`).
    pub message: Option<UserText>,
    /// The number of its stop signal (signal(7)); `None`: it gets none.
    pub signal: Option<i32>,
    /// When it will be killed, from now.
    pub timeout: Duration,
    /// The whole pool ends: nobody is there for a client that comes back.
    pub is_last: bool,
}

/// A descriptor that goes along with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handle {
    /// A listening socket (stays open here).
    Listener(ListenerId),
    /// A connection (kept here until the worker has taken it).
    Connection(ConnectionId),
}

/// An order to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Send a line, in order.
    Send {
        /// To whom.
        worker: UniqueId,
        /// What.
        message: ToWorker,
        /// With which descriptor, on its first byte.
        handle: Option<Handle>,
    },
    /// Make a socket. Answered by `Primary::bound`.
    Bind {
        /// Its name.
        listener: ListenerId,
        /// What.
        request: BindRequest,
    },
    /// A worker has called listen(2) with a backlog of its own: set the wanted one again.
    Relisten {
        /// Which socket.
        listener: ListenerId,
    },
    /// Close a socket that `Bind` made.
    CloseListener {
        /// Which.
        listener: ListenerId,
    },
    /// Close our descriptor of a connection.
    CloseConnection {
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the owner.
    Report(Report),
}

/// A fact about a worker, for the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Node has booted; no line of the app has run. No sign of readiness.
    Online {
        /// Which worker.
        worker: UniqueId,
    },
    /// The worker listens on an inherited socket, and on each that the worker before it in its slot served; where none
    /// was inherited, on any. The sign of readiness.
    Listening {
        /// Which worker.
        worker: UniqueId,
        /// Where, as the app sees it.
        address: String,
    },
    /// The app said `process.send('ready')`.
    Ready {
        /// Which worker.
        worker: UniqueId,
    },
    /// The app said something else.
    Message {
        /// Which worker.
        worker: UniqueId,
        /// JSON on one line.
        json: String,
    },
    /// The app called `cluster.worker.disconnect()` or `kill()`: it leaves by itself.
    Leaving {
        /// Which worker.
        worker: UniqueId,
    },
    /// The worker had been leaving; its servers and connections are closed, and so is the channel.
    Drained {
        /// Which worker.
        worker: UniqueId,
    },
    /// The channel closed without that: `process.disconnect()`, or a crash whose exit follows.
    Disconnected {
        /// Which worker.
        worker: UniqueId,
    },
    /// The worker's stop signal is due: it drained but stays, or its time is nearly over.
    SignalDue {
        /// Which worker.
        worker: UniqueId,
    },
    /// The channel cannot go on. The worker should be killed.
    Broken {
        /// Which worker.
        worker: UniqueId,
        /// Why.
        reason: String,
    },
    /// A ready worker has closed the last of its servers, for longer than [`SILENCE`](super::SILENCE), and lives on.
    Silent {
        /// Which worker.
        worker: UniqueId,
        /// For the first time.
        is_first: bool,
        /// No other worker serves, either: who connects waits.
        is_last: bool,
    },
    /// It listens again.
    SilenceOver {
        /// Which worker.
        worker: UniqueId,
        /// For the first time.
        is_first: bool,
    },
    /// No worker has served this inherited socket for longer than [`SILENCE`](super::SILENCE), though ready ones are
    /// there, and one did before.
    Unserved {
        /// Which socket.
        listener: ListenerId,
        /// For the first time.
        is_first: bool,
    },
    /// A worker listens on it again.
    ServedAgain {
        /// Which socket.
        listener: ListenerId,
        /// For the first time.
        is_first: bool,
    },
    /// Connections cannot be accepted for the moment (no descriptors, no memory); they wait in the kernel. Told once
    /// until one is accepted again.
    AcceptPaused {
        /// Why.
        reason: String,
    },
    /// Worth a line in the log.
    Noted {
        /// Which worker.
        worker: UniqueId,
        /// What.
        note: Note,
    },
}

/// Why a worker that listens is not ready by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// It listens on no inherited socket.
    Inherited,
    /// It does not listen on one that its slot has served.
    Served {
        /// Where the socket is bound.
        address: String,
        /// The youngest generation that serves it.
        generation: u64,
    },
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited => f.write_str(
                "it never listened on an inherited socket: those that ganger bound for it are no sign of readiness",
            ),
            Self::Served { address, generation } => {
                write!(f, "it never listened on {address}, which generation {generation} serves")
            }
        }
    }
}

/// Worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A `listen()` got a socket that is not exactly what was asked for.
    Inexact {
        /// What the app asked for.
        wanted: String,
        /// What it got.
        got: String,
        /// How they differ.
        fit: Fit,
    },
    /// A `listen()` did not get the only inherited socket.
    Kept {
        /// What the app asked for.
        wanted: String,
        /// Where the socket is bound.
        socket: String,
        /// Why not.
        why: Kept,
    },
    /// A `listen()` failed.
    Refused {
        /// What the app asked for.
        wanted: String,
        /// errno(3).
        errno: i32,
    },
    /// The app sent a handle to its primary; it was closed.
    HandleDropped,
    /// The app has no handler for its stop signal, but one for this signal.
    OtherHandler(OtherSignal),
    /// A line was dropped.
    Malformed(FrameError),
    /// The process ended and had never listened.
    NeverListened(Heard),
}

/// Why a `listen()` does not adopt the only inherited socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// What was asked for is for this machine alone, and the socket is not.
    Loopback,
    /// The app has asked for the socket by its own port or number.
    OwnPort,
    /// Workers have adopted it, by this other call.
    Adopted(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str(
                "that takes more than what comes from this machine (let the app listen on PORT, or without a host)",
            ),
            Self::OwnPort => f.write_str(
                "it is for those who name its own port or number, as the app has done (restart the unit, if that has changed)",
            ),
            Self::Adopted(call) => write!(
                f,
                "workers have it that asked for {call} (let the app read PORT; or restart the unit, if its port has changed)"
            ),
        }
    }
}

/// What a worker that does not listen has said so far, and what that often means.
impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => {
                "not a word came on Node's channel; the command is not node, or something in between (sudo, a task runner) closed its descriptors or dropped its variables: name the app's own command"
            }
            Self::Online => {
                "Node started and never asked to listen; the app waits for something, or listens without asking (exclusive: true, reusePort: true), which finds the port in use; or a launcher that is a Node program itself takes the channel for its own, and the app then finds its port in use: name the command that the launcher runs"
            }
            Self::Asked => "the app asked to listen and did not come to it: its own output tells why",
            Self::Listening => "it listens",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inexact { wanted, got, fit } => {
                write!(f, "the app asked to listen on {wanted} and got ")?;
                match fit {
                    Fit::Exact => write!(f, "{got}"),
                    Fit::Wider => write!(f, "the inherited {got}, which takes more addresses"),
                    Fit::Narrower => write!(f, "the inherited {got}, which takes fewer addresses"),
                    Fit::Adopted => write!(
                        f,
                        "the inherited {got}, the only one there is (set PORT, or node.unmatched = \"bind\")"
                    ),
                    Fit::Bound => write!(f, "a socket bound for it: none of the inherited ones fits"),
                }
            }
            Self::Kept { wanted, socket, why } => {
                write!(
                    f,
                    "the app asked to listen on {wanted} and does not get the inherited {socket}: {why}"
                )
            }
            Self::Refused { wanted, errno } => {
                let name = std::io::Error::from_raw_os_error(*errno);
                write!(f, "the app's listen on {wanted} failed: {name}")
            }
            Self::HandleDropped => f.write_str("the app sent a handle to ganger; it was closed"),
            Self::OtherHandler(signal) => {
                let name = match signal {
                    OtherSignal::Int => "INT",
                    OtherSignal::Term => "TERM",
                };
                write!(
                    f,
                    "the app has a handler for SIG{name}, and none for its stop signal: set stop.signal = \"{name}\" if the handler is there for the end of a worker"
                )
            }
            Self::Malformed(error) => write!(f, "dropped {error}"),
            Self::NeverListened(heard) => write!(f, "it ended before it listened: {heard}"),
        }
    }
}
