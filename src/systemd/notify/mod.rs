//! The client end of sd_notify(3): one non-blocking datagram socket and a short queue before it.
//!
//! libsystemd's `daemon::notify` is not used: it blocks while the receiver's queue is full (PID 1 being
//! stopped, or a `systemctl daemon-reexec` under way, would stop the supervisor as well), reads the
//! environment and opens a socket for every message, and cannot say why it failed. Here the socket is opened
//! and connected once, so that an event loop can wait until the receiver takes more: while
//! [`Notifier::pending`] is not 0 it waits for [`Notifier::socket`] to become writable and calls
//! [`Notifier::flush`]; on [`Sent::Later`] it waits again (for an unconnected socket the kernel would call it
//! writable all the time).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::proto::notify::{Assignment, write};

/// The most messages that wait for a full socket. systemd drains its socket within milliseconds; whoever
/// leaves more than this unread is told the newest.
pub const MAX_WAITING: usize = 32;

/// What becomes of a message that has to wait when a newer one comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never replaced, and sent in order: READY, RELOADING, STOPPING, stored descriptors.
    State,
    /// The newest tells all: STATUS.
    Status,
    /// One is as good as many: WATCHDOG.
    Watchdog,
    /// The newest tells all: EXTEND_TIMEOUT_USEC.
    Patience,
}

/// A datagram to be sent.
#[derive(Debug)]
pub struct Message {
    kind: Kind,
    text: String,
    fd: Option<OwnedFd>,
}

impl Message {
    /// A message of these lines.
    #[must_use]
    pub fn new(kind: Kind, lines: &[Assignment<'_>]) -> Self {
        Self { kind, text: write(lines), fd: None }
    }

    /// The same with a descriptor beside it.
    #[must_use]
    pub fn with_fd(self, fd: OwnedFd) -> Self {
        Self { fd: Some(fd), ..self }
    }

    /// What becomes of it when it has to wait.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The datagram's text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing waits.
    Now,
    /// The receiver takes no more: call [`Notifier::flush`] when the socket is writable.
    Later,
    /// There is no one to tell.
    Inert,
}

/// Why the service manager cannot be told.
#[derive(Debug)]
pub enum NotifyError {
    /// `NOTIFY_SOCKET` is neither a path nor `@name`.
    Address {
        /// What it says.
        address: OsString,
        /// Why not.
        reason: &'static str,
    },
    /// The socket could not be opened, connected to, or written.
    Socket {
        /// Where to.
        address: OsString,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl fmt::Display for NotifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, reason } => {
                write!(f, "NOTIFY_SOCKET={}: {reason}; the service manager is not told", address.display())
            }
            Self::Socket { address, error } => {
                write!(f, "notify the service manager at {}: {error}", address.display())
            }
        }
    }
}

impl std::error::Error for NotifyError {}

/// The way to the service manager; inert when there is none.
#[derive(Debug, Default)]
pub struct Notifier {
    connection: Option<Connection>,
    waiting: VecDeque<Message>,
    forgotten: u64,
}

#[derive(Debug)]
struct Connection {
    name: OsString,
    address: SocketAddr,
    socket: UnixDatagram,
    connected: bool,
}

/// Why a datagram did not leave.
enum Obstacle {
    Full,
    Broken(io::Error),
}

impl Notifier {
    /// Nobody is told anything.
    #[must_use]
    pub fn inert() -> Self {
        Self::default()
    }

    /// Whoever `NOTIFY_SOCKET` names is told; nobody when it is not set.
    ///
    /// # Errors
    /// As [`Notifier::to`].
    pub fn from_env() -> Result<Self, NotifyError> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(address) if !address.is_empty() => Self::to(&address),
            Some(_) | None => Ok(Self::inert()),
        }
    }

    /// The receiver at `address` is told: an absolute path, or `@name` in the abstract namespace.
    /// It need not be there yet.
    ///
    /// # Errors
    /// [`NotifyError`] when the address is not of that form, or no socket can be had.
    pub fn to(address: &OsStr) -> Result<Self, NotifyError> {
        let parsed = parse_address(address)
            .map_err(|reason| NotifyError::Address { address: address.to_owned(), reason })?;
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let name = address.to_owned();
        match open() {
            Ok(socket) => {
                let connection = Connection { name, address: parsed, socket, connected: false };
                Ok(Self { connection: Some(connection), ..Self::default() })
            }
            Err(error) => Err(NotifyError::Socket { address: name, error }),
        }
    }

    /// Whether there is nobody to tell.
    #[must_use]
    pub fn is_inert(&self) -> bool {
        self.connection.is_none()
    }

    /// The socket, to wait until it is writable while [`Notifier::pending`] is not 0. It stays the same for
    /// the notifier's life.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(|connection| connection.socket.as_fd())
    }

    /// How many messages wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.waiting.len()
    }

    /// How many messages were given up because more than [`MAX_WAITING`] waited.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Sends `message`, after those that wait. Never blocks.
    ///
    /// # Errors
    /// [`NotifyError::Socket`] when the receiver is gone; what waited is given up, because it was for that
    /// receiver.
    pub fn send(&mut self, message: Message) -> Result<Sent, NotifyError> {
        if self.is_inert() {
            return Ok(Sent::Inert);
        }
        self.enqueue(message);
        self.flush()
    }

    /// Sends what waits, as far as the receiver takes it. Never blocks.
    ///
    /// # Errors
    /// As [`Notifier::send`].
    pub fn flush(&mut self) -> Result<Sent, NotifyError> {
        let Some(connection) = &mut self.connection else { return Ok(Sent::Inert) };
        while let Some(message) = self.waiting.front() {
            match connection.send(message) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(Obstacle::Full) => return Ok(Sent::Later),
                Err(Obstacle::Broken(error)) => {
                    self.waiting.clear();
                    return Err(NotifyError::Socket { address: connection.name.clone(), error });
                }
            }
        }
        // An idle supervisor keeps no room for a burst that is over.
        self.waiting.shrink_to(0);
        Ok(Sent::Now)
    }

    fn enqueue(&mut self, message: Message) {
        if message.kind != Kind::State {
            self.waiting.retain(|waiting| waiting.kind != message.kind);
        }
        if self.waiting.len() >= MAX_WAITING {
            // A status tells less than a state; of states the oldest is the stalest.
            let stalest = self.waiting.iter().position(|waiting| waiting.kind != Kind::State).unwrap_or(0);
            self.waiting.remove(stalest);
            self.forgotten += 1;
        }
        self.waiting.push_back(message);
    }
}

impl Connection {
    /// Sends one datagram; connects first, and once again when the receiver was replaced.
    fn send(&mut self, message: &Message) -> Result<(), Obstacle> {
        if self.connected {
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE) => {}
                Err(errno) => return Err(obstacle(errno)),
            }
        }
        // The same socket is connected anew, so that whoever waits for it goes on waiting for the right one.
        self.socket.connect_addr(&self.address).map_err(Obstacle::Broken)?;
        self.connected = true;
        self.try_send(message).map_err(obstacle)
    }

    fn try_send(&self, message: &Message) -> Result<(), Errno> {
        let text = [IoSlice::new(message.text.as_bytes())];
        let fds: Vec<i32> = message.fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let beside: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let number = self.socket.as_raw_fd();
        loop {
            match sendmsg::<()>(number, &text, beside, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Too many descriptors in flight are, like a full queue, the receiver's business to drain.
fn obstacle(errno: Errno) -> Obstacle {
    match errno as i32 {
        nix::libc::EAGAIN | nix::libc::ENOBUFS | nix::libc::ENOMEM | nix::libc::ETOOMANYREFS => {
            Obstacle::Full
        }
        _ => Obstacle::Broken(errno.into()),
    }
}

fn parse_address(address: &OsStr) -> Result<SocketAddr, &'static str> {
    let bytes = address.as_bytes();
    if let Some(name) = bytes.strip_prefix(b"@") {
        if name.is_empty() {
            return Err("a name after \"@\" is missing");
        }
        return SocketAddr::from_abstract_name(name).map_err(|_| "the name is too long");
    }
    if bytes.starts_with(b"vsock") {
        return Err("a vsock address is for a virtual machine's service manager, not for a service");
    }
    if !bytes.starts_with(b"/") {
        return Err("expected an absolute path or \"@name\"");
    }
    SocketAddr::from_pathname(address).map_err(|_| "the path is too long, or has a NUL in it")
}

#[cfg(test)]
mod tests;
