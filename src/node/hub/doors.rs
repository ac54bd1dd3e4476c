//! Who knocks, in round-robin: accepting as many connections as there are free workers, and watching only what
//! there is room for.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::super::{ConnectionId, ListenerId, Report};
use super::{Hub, LISTENER_BIT, Turn};
use crate::os::poller::Interest;
use crate::os::sockets;
use crate::time::Monotonic;

/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting pauses when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener of round-robin.
#[derive(Debug)]
pub(super) struct Door {
    socket: Arc<OwnedFd>,
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
            let Some(listener) = self.next_listener() else { return };
            let Some(door) = self.doors.get_mut(&listener) else { return };
            match sockets::accept(&door.socket) {
                Ok(Some(fd)) => {
                    self.served = Some(listener);
                    self.pause_told = false;
                    let connection = ConnectionId(self.next_connection);
                    self.next_connection = self.next_connection.saturating_add(1);
                    self.connections.insert(connection, Arc::new(fd));
                    let actions = self.primary.accepted(listener, connection);
                    self.perform(now, actions, &mut turn.reports);
                }
                Ok(None) => door.maybe_ready = false,
                Err(error) if error.is_shortage() => {
                    return self.pause(now, format!("failed to {error}"), turn);
                }
                // The client's trouble (accept(2), "Error handling"); the next one may be there.
                Err(_) => {}
            }
        }
        turn.more = true;
    }

    /// Accepts nothing for a moment; says so once until something is accepted again.
    fn pause(&mut self, now: Monotonic, reason: String, turn: &mut Turn) {
        self.paused = Some(now + ACCEPT_PAUSE);
        if !self.pause_told {
            self.pause_told = true;
            turn.reports.push(Report::AcceptPaused { reason });
        }
    }

    /// In turn, so that a flood at one does not keep the others waiting: the first that may have somebody after the one
    /// that was accepted from last.
    fn next_listener(&self) -> Option<ListenerId> {
        let open = self.primary.accepting().filter(|(_, room)| *room > 0).map(|(listener, _)| listener);
        let ready = open.filter(|listener| self.doors.get(listener).is_some_and(|door| door.maybe_ready));
        ready.min_by_key(|listener| (Some(*listener) <= self.served, *listener))
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
                self.poller.remove(&door.socket);
            }
        }
        for (worker, link) in &mut self.channels {
            let wanted = link.connection.wants_write();
            if wanted != link.writing {
                let interest = if wanted { Interest::ReadWrite } else { Interest::Read };
                link.writing = self.poller.change(&link.connection, worker.get(), interest).is_ok() && wanted;
            }
        }
    }

    fn open_door(&mut self, listener: ListenerId) {
        let Some(socket) = self.sockets.get(&listener) else { return };
        let door = self.doors.entry(listener).or_insert_with(|| Door {
            socket: Arc::clone(&socket.fd),
            watched: false,
            maybe_ready: false,
        });
        let token = LISTENER_BIT | u64::from(listener.0);
        door.watched = self.poller.add(&door.socket, token, Interest::Read).is_ok();
    }

    pub(super) fn close_door(&mut self, listener: ListenerId) {
        if let Some(door) = self.doors.remove(&listener)
            && door.watched
        {
            self.poller.remove(&door.socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::super::super::{Policy, Trust, UniqueId};
    use super::super::{Hub, InheritedSocket};
    use super::*;
    use crate::plan::{Balance, Unmatched};

    const POLICY: Policy =
        Policy { balance: Balance::RoundRobin, unmatched: Unmatched::Refuse, trust: Trust::Same };

    /// A hub with these listeners, and workers that listen on all of them and then say nothing more.
    fn hub(listeners: &[TcpListener], workers: u64) -> (Hub, Vec<UnixStream>) {
        let inherited = listeners.iter().map(|listener| {
            listener.set_nonblocking(true).unwrap();
            InheritedSocket { fd: listener.try_clone().unwrap().into(), backlog: None }
        });
        let mut hub = Hub::new(inherited.collect()).unwrap();
        let mut channels = Vec::new();
        for id in 1..=workers {
            let mut channel = UnixStream::from(hub.open(UniqueId::new(id).unwrap(), 0, 1, POLICY).unwrap());
            for listener in listeners {
                let port = listener.local_addr().unwrap().port();
                writeln!(channel, r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"address":"127.0.0.1","port":{port},"addressType":4,"seq":1}}"#).unwrap();
            }
            channels.push(channel);
        }
        let _ = hub.turn(Monotonic::ZERO);
        (hub, channels)
    }

    fn clients(listener: &TcpListener, count: usize) -> Vec<TcpStream> {
        let address = listener.local_addr().unwrap();
        (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
    }

    /// How many connections of each listener are with a worker, of so many places.
    fn taken(hub: &Hub, places: usize) -> Vec<usize> {
        hub.primary.accepting().map(|(_, room)| places - room).collect()
    }

    #[test]
    fn listeners_are_accepted_from_in_turn_however_many_wait_at_one() {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        // More room than one turn takes.
        let places = 2 * ACCEPTS_PER_TURN;
        let (mut hub, _channels) = hub(&listeners, (places / super::super::super::WINDOW) as u64);
        assert_eq!(taken(&hub, places), [0, 0, 0]);
        let _flood = clients(&listeners[0], 100);
        let _few = [clients(&listeners[1], 2), clients(&listeners[2], 2)];
        let _ = hub.turn(Monotonic::ZERO);
        assert_eq!(taken(&hub, places), [ACCEPTS_PER_TURN - 6, 2, 2]);
    }

    #[test]
    fn a_pause_is_told_once_until_a_connection_is_accepted() {
        let listeners = [TcpListener::bind("127.0.0.1:0").unwrap()];
        let (mut hub, _channels) = hub(&listeners, 1);
        let mut now = Monotonic::ZERO;
        let mut told = |hub: &mut Hub| {
            let mut turn = Turn::default();
            for _ in 0..10 {
                hub.pause(now, "failed to accept".to_owned(), &mut turn);
                assert_eq!(hub.next_deadline(), Some(now + ACCEPT_PAUSE));
                now = now + ACCEPT_PAUSE;
            }
            turn.reports.extend(hub.turn(now).reports);
            turn.reports.len()
        };
        assert_eq!((told(&mut hub), told(&mut hub)), (1, 0));
        let _clients = clients(&listeners[0], 1);
        assert_eq!((told(&mut hub), taken(&hub, super::super::super::WINDOW)), (0, vec![1]));
        assert_eq!((told(&mut hub), told(&mut hub)), (1, 0));
    }
}
