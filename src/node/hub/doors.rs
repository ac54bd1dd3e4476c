//! Who knocks, in round-robin: accepting as many connections as there are free workers, and watching only what
//! there is room for.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::super::sockets::Acceptor;
use super::super::{ConnectionId, ListenerId, Report};
use super::{Hub, LISTENER_BIT, Turn};
use crate::time::Monotonic;

/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting pauses when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener of round-robin.
#[derive(Debug)]
pub(super) struct Door {
    acceptor: Acceptor,
    watched: bool,
    /// Someone may be waiting: not yet found empty.
    maybe_ready: bool,
}

impl Hub {
    pub(super) fn accept(&mut self, now: Monotonic, knocked: &BTreeSet<ListenerId>, turn: &mut Turn) {
        for listener in knocked {
            if let Some(door) = self.doors.get_mut(listener) {
                door.maybe_ready = true;
            }
        }
        if self.paused.is_some_and(|until| now < until) {
            return;
        }
        self.paused = None;
        for _ in 0..ACCEPTS_PER_TURN {
            let ready = |listener| self.doors.get(&listener).is_some_and(|door| door.maybe_ready);
            let mut open = self.primary.accepting().filter(|(_, room)| *room > 0);
            let Some((listener, _)) = open.find(|(listener, _)| ready(*listener)) else { return };
            drop(open);
            let Some(door) = self.doors.get_mut(&listener) else { return };
            match door.acceptor.accept() {
                Ok(fd) => {
                    let connection = ConnectionId(self.next_connection);
                    self.next_connection = self.next_connection.saturating_add(1);
                    self.connections.insert(connection, Arc::new(fd));
                    let actions = self.primary.accepted(listener, connection);
                    self.perform(now, actions, &mut turn.reports);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => door.maybe_ready = false,
                Err(error) if no_room(&error) => {
                    self.paused = Some(now + ACCEPT_PAUSE);
                    turn.reports.push(Report::AcceptPaused { reason: error.to_string() });
                    return;
                }
                // The client has gone again (accept(2), "Error handling"); the next one may be there.
                Err(_) => {}
            }
        }
        turn.more = true;
    }

    /// Watches what there is room for. A listener that woke us for nothing is left alone until there is.
    pub(super) fn watch(&mut self, knocked: &BTreeSet<ListenerId>) {
        let accepting: Vec<_> = self.primary.accepting().collect();
        for (listener, room) in accepting {
            let wanted = room > 0 && self.paused.is_none();
            let idle_knock = !wanted && knocked.contains(&listener);
            if wanted && !self.doors.get(&listener).is_some_and(|door| door.watched) {
                self.open_door(listener);
            } else if idle_knock
                && let Some(door) = self.doors.get_mut(&listener)
                && door.watched
            {
                door.watched = false;
                let _ = self.epoll.delete(&door.acceptor);
            }
        }
        for (worker, link) in &mut self.channels {
            let wanted = link.connection.wants_write();
            if wanted != link.writing {
                let out = if wanted { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN | out, worker.get());
                link.writing = self.epoll.modify(&link.connection, &mut event).is_ok() && wanted;
            }
        }
    }

    fn open_door(&mut self, listener: ListenerId) {
        if let Some(socket) = self.sockets.get(&listener)
            && !self.doors.contains_key(&listener)
            && let Ok(acceptor) = socket.acceptor()
        {
            self.doors.insert(listener, Door { acceptor, watched: false, maybe_ready: false });
        }
        if let Some(door) = self.doors.get_mut(&listener) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER_BIT | u64::from(listener.0));
            door.watched = matches!(self.epoll.add(&door.acceptor, event), Ok(()) | Err(Errno::EEXIST));
        }
    }

    pub(super) fn close_door(&mut self, listener: ListenerId) {
        if let Some(door) = self.doors.remove(&listener)
            && door.watched
        {
            let _ = self.epoll.delete(&door.acceptor);
        }
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

fn no_room(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS))
}
