//! All descriptors of the primary's side behind one: a poller that its owner watches. Carries out
//! what [`Primary`] orders and hands up what it reports.

mod doors;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use doors::Door;

use super::connection::{Connection, ConnectionError, Received};
use super::sockets::{Socket, same_path};
use super::{
    Action, ConnectionId, Farewell, Handle, Heard, Inherited, Lacking, ListenerId, Policy, Primary, Report,
    UniqueId,
};
use crate::os::SysError;
use crate::os::poller::{Interest, MAX_REPORTS, Poller};
use crate::plan::Address;
use crate::proto::node::{AddressType, Frame, UserText};
use crate::time::Monotonic;

/// Bytes read from one channel in one turn.
const READ_BYTES: usize = 64 * 1024;
/// Reads of what a dead worker left: more than a socket's buffer holds.
const LAST_READS: usize = 64;
/// In an event's number: it is a listener's, not a channel's.
const LISTENER_BIT: u64 = 1 << 63;

/// A socket that ganger was given.
#[derive(Debug)]
pub struct InheritedSocket {
    /// The descriptor; a duplicate, if others need it too.
    pub fd: OwnedFd,
    /// The backlog to keep (each worker sets its own); `None`: as large as the kernel allows.
    pub backlog: Option<u32>,
}

/// What one turn brought.
#[derive(Debug, Default)]
#[must_use]
pub struct Turn {
    /// Facts, in their order.
    pub reports: Vec<Report>,
    /// There may be more at once: take another turn before waiting.
    pub more: bool,
}

/// Why the hub could not do something.
#[derive(Debug)]
pub enum HubError {
    /// An inherited descriptor is no socket that can be used.
    Inherited {
        /// Its place, from 0.
        number: usize,
        /// The kernel's word.
        error: SysError,
    },
    /// The channels cannot be watched.
    Watch(io::Error),
    /// No channel could be made.
    Channel(SysError),
    /// The worker has no open channel.
    NoChannel,
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited { number, error } => write!(f, "inherited socket {number}: failed to {error}"),
            Self::Watch(error) => write!(f, "the workers' channels cannot be watched: {error}"),
            Self::Channel(error) => write!(f, "no channel for a worker: failed to {error}"),
            Self::NoChannel => f.write_str("the worker has no open channel"),
        }
    }
}

impl std::error::Error for HubError {}

/// The primary's side with its descriptors.
#[derive(Debug)]
pub struct Hub {
    primary: Primary,
    poller: Poller,
    channels: BTreeMap<UniqueId, Link>,
    sockets: BTreeMap<ListenerId, Socket>,
    inherited_paths: Vec<PathBuf>,
    doors: BTreeMap<ListenerId, Door>,
    connections: BTreeMap<ConnectionId, Arc<OwnedFd>>,
    next_connection: u64,
    /// The listener that was accepted from last; the others come first then.
    served: Option<ListenerId>,
    paused: Option<Monotonic>,
    /// It was told that accepting pauses, and nothing was accepted since.
    pause_told: bool,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    /// Watched for room to write, too.
    writing: bool,
}

impl Hub {
    /// Takes the inherited sockets, in the order of `LISTEN_FDS`.
    ///
    /// # Errors
    /// When one of them is no socket, or the kernel has no room.
    pub fn new(inherited: Vec<InheritedSocket>) -> Result<Self, HubError> {
        let mut sockets = BTreeMap::new();
        let mut descriptions = Vec::new();
        let mut inherited_paths = Vec::new();
        for (number, given) in inherited.into_iter().enumerate() {
            let (socket, kind, address) = Socket::inherited(given.fd, given.backlog)
                .map_err(|error| HubError::Inherited { number, error })?;
            if let Address::Unix(path) = &address {
                inherited_paths.push(path.clone());
            }
            sockets.insert(ListenerId(u32::try_from(number).unwrap_or(u32::MAX)), socket);
            descriptions.push(Inherited { kind, address });
        }
        Ok(Self {
            primary: Primary::new(descriptions),
            poller: Poller::new().map_err(HubError::Watch)?,
            channels: BTreeMap::new(),
            sockets,
            inherited_paths,
            doors: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
            served: None,
            paused: None,
            pause_told: false,
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Makes the channel of a worker that is about to be started. The descriptor is the worker's end: it must
    /// become the worker's descriptor 3, and ganger must close it after the start.
    ///
    /// # Errors
    /// When the kernel has no room.
    pub fn open(
        &mut self,
        worker: UniqueId,
        slot: u32,
        generation: u64,
        policy: Policy,
    ) -> Result<OwnedFd, HubError> {
        let (connection, theirs) = Connection::pair().map_err(HubError::Channel)?;
        self.poller.add(&connection, worker.get(), Interest::Read).map_err(HubError::Watch)?;
        self.channels.insert(worker, Link { connection, writing: false });
        self.primary.open(worker, slot, generation, policy);
        Ok(theirs)
    }

    /// Does what can be done without waiting.
    pub fn turn(&mut self, now: Monotonic) -> Turn {
        let mut turn = Turn::default();
        // A look that fails is taken again in the next turn.
        let tokens = self.poller.take().unwrap_or_default();
        turn.more = tokens.len() >= MAX_REPORTS;
        let mut knocked = BTreeSet::new();
        for token in tokens {
            if token & LISTENER_BIT != 0 {
                knocked.insert(ListenerId(u32::try_from(token & !LISTENER_BIT).unwrap_or(u32::MAX)));
            } else if let Some(worker) = UniqueId::new(token) {
                self.channel_event(now, worker, &mut turn.reports);
            }
        }
        let actions = self.primary.time_passed(now);
        self.perform(now, actions, &mut turn.reports);
        self.accept(now, &knocked, &mut turn);
        self.watch(&knocked);
        turn
    }

    /// When a turn is due although nothing has come.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.primary.next_deadline().into_iter().chain(self.paused).min()
    }

    /// Asks a worker to leave.
    pub fn drain(&mut self, now: Monotonic, worker: UniqueId, farewell: Farewell) -> Vec<Report> {
        let actions = self.primary.drain(now, worker, farewell);
        self.performed(now, actions)
    }

    /// The whole pool ends; for workers that are leaving already.
    pub fn hasten(&mut self, now: Monotonic) -> Vec<Report> {
        let actions = self.primary.hasten();
        self.performed(now, actions)
    }

    /// A message for the app.
    ///
    /// # Errors
    /// When the worker's channel is closed.
    pub fn send(
        &mut self,
        now: Monotonic,
        worker: UniqueId,
        text: UserText,
    ) -> Result<Vec<Report>, HubError> {
        if !self.channels.contains_key(&worker) {
            return Err(HubError::NoChannel);
        }
        let actions = self.primary.send(worker, text);
        Ok(self.performed(now, actions))
    }

    /// So much waits for the worker, which does not read, that nothing should be sent to it that can be left
    /// out: what one worker says to another must not cost that one its channel.
    #[must_use]
    pub fn is_behind(&self, worker: UniqueId) -> bool {
        self.channels.get(&worker).is_some_and(|link| link.connection.is_behind())
    }

    /// How far the worker came with listening: what to tell when it does not become ready in time.
    #[must_use]
    pub fn heard(&self, worker: UniqueId) -> Option<Heard> {
        self.primary.heard(worker)
    }

    /// Why a worker that listens is not ready by that.
    #[must_use]
    pub fn lacking(&self, worker: UniqueId) -> Option<Lacking> {
        self.primary.lacking(worker)
    }

    /// The worker's process is gone: reads what it left, then closes its channel.
    pub fn exited(&mut self, now: Monotonic, worker: UniqueId) -> Vec<Report> {
        let mut reports = Vec::new();
        for _ in 0..LAST_READS {
            if !self.read(now, worker, &mut reports) {
                break;
            }
        }
        self.drop_link(worker);
        let actions = self.primary.exited(now, worker);
        self.perform(now, actions, &mut reports);
        self.watch(&BTreeSet::new());
        reports
    }

    /// No worker of this generation or an older one will be started any more.
    pub fn retire(&mut self, now: Monotonic, generation: u64) -> Vec<Report> {
        let actions = self.primary.retire(generation);
        self.performed(now, actions)
    }

    fn performed(&mut self, now: Monotonic, actions: Vec<Action>) -> Vec<Report> {
        let mut reports = Vec::new();
        self.perform(now, actions, &mut reports);
        self.watch(&BTreeSet::new());
        reports
    }

    fn channel_event(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Report>) {
        if let Some(link) = self.channels.get_mut(&worker)
            && link.writing
            && let Err(error) = link.connection.write_ready()
        {
            return self.broken(now, worker, &error, out);
        }
        self.read(now, worker, out);
    }

    /// Reads once; whether there may be more.
    fn read(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Report>) -> bool {
        let Some(link) = self.channels.get_mut(&worker) else { return false };
        match link.connection.read_ready(&mut self.scratch) {
            Ok(Received::Some) => self.frames(now, worker, out),
            Ok(Received::Nothing) => false,
            Ok(Received::End) => {
                self.drop_link(worker);
                let actions = self.primary.closed(now, worker);
                self.perform(now, actions, out);
                false
            }
            Err(error) => {
                self.broken(now, worker, &error, out);
                false
            }
        }
    }

    fn frames(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Report>) -> bool {
        while let Some(link) = self.channels.get_mut(&worker) {
            let actions = match link.connection.next_frame() {
                Ok(None) => return true,
                Ok(Some((Ok(frame), with_handle))) => {
                    let frame = self.known_path(frame);
                    self.primary.frame(now, worker, frame, with_handle)
                }
                Ok(Some((Err(error), _))) => self.primary.malformed(worker, error),
                Err(error) => {
                    self.broken(now, worker, &error, out);
                    return false;
                }
            };
            self.perform(now, actions, out);
        }
        false
    }

    /// A path by another name becomes the inherited socket's own.
    fn known_path(&self, mut frame: Frame) -> Frame {
        if let Frame::Query(query) = &mut frame
            && query.listen.address_type == AddressType::Unix
            && let Some(asked) = &query.listen.address
            && let Some(path) = same_path(asked, self.inherited_paths.iter().map(PathBuf::as_path))
        {
            query.listen.address = Some(path);
        }
        frame
    }

    fn broken(&mut self, now: Monotonic, worker: UniqueId, error: &ConnectionError, out: &mut Vec<Report>) {
        self.drop_link(worker);
        out.push(Report::Broken { worker, reason: error.to_string() });
        let actions = self.primary.closed(now, worker);
        self.perform(now, actions, out);
    }

    fn drop_link(&mut self, worker: UniqueId) {
        if let Some(link) = self.channels.remove(&worker) {
            // Closing would do, but a child that is being started may hold a copy for a moment.
            self.poller.remove(&link.connection);
        }
    }

    fn perform(&mut self, now: Monotonic, actions: Vec<Action>, out: &mut Vec<Report>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send { worker, message, handle } => {
                    let (handle, datagram) = self.handle(handle);
                    let Some(link) = self.channels.get_mut(&worker) else { continue };
                    if let Err(error) = link.connection.send(message.encode(datagram), handle) {
                        self.drop_link(worker);
                        out.push(Report::Broken { worker, reason: error.to_string() });
                        actions.extend(self.primary.closed(now, worker));
                    }
                }
                Action::Bind { listener, request } => {
                    let outcome = Socket::make(&request).map(|(socket, address)| {
                        self.sockets.insert(listener, socket);
                        address
                    });
                    actions.extend(self.primary.bound(listener, outcome));
                }
                Action::Relisten { listener } => {
                    if let Some(socket) = self.sockets.get(&listener) {
                        // The worker's own backlog stands then, which serves as well.
                        let _ = socket.listen();
                    }
                }
                Action::CloseListener { listener } => {
                    self.close_door(listener);
                    self.sockets.remove(&listener);
                }
                Action::CloseConnection { connection } => {
                    self.connections.remove(&connection);
                }
                Action::Report(report) => out.push(report),
            }
        }
    }

    fn handle(&self, handle: Option<Handle>) -> (Option<Arc<OwnedFd>>, bool) {
        match handle {
            None => (None, false),
            Some(Handle::Connection(connection)) => (self.connections.get(&connection).cloned(), false),
            Some(Handle::Listener(listener)) => match self.sockets.get(&listener) {
                Some(socket) => (Some(Arc::clone(&socket.fd)), socket.datagram),
                None => (None, false),
            },
        }
    }
}

impl AsFd for Hub {
    /// Readable when a turn has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
