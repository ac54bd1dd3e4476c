//! A worker's listening handles: asked for, given, listening, closed.

use super::super::channel::{Answer, Grant, Heard};
use super::super::claims::{Asker, Listener, Resolved, address_text};
use super::super::report::{Action, Note, Policy, Report};
use super::super::{Fit, ListenerId, MAX_HANDLES, UniqueId, errno};
use super::Primary;
use crate::plan::{Address, Balance, SocketKind};
use crate::proto::node::{Key, Listen, Outcome, Query, SockName, ToWorker};

impl Primary {
    pub(super) fn query(&mut self, worker: UniqueId, query: Query, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        channel.hears(Heard::Asked);
        if channel.grants.len() >= MAX_HANDLES {
            return self.refuse(worker, query, errno::EMFILE, out);
        }
        let holds = |listener| channel.holds(listener);
        let asker = Asker { generation: channel.generation, holds: &holds };
        let Policy { unmatched, trust, .. } = channel.policy;
        match self.claims.claim(&query.listen, &asker, unmatched, trust) {
            Resolved::Refused(errno) => self.refuse(worker, query, errno, out),
            Resolved::Bind(listener, request) => {
                self.unbound.entry(listener).or_default().push((worker, query));
                out.push(Action::Bind { listener, request });
            }
            Resolved::Use(listener, fit) => match self.unbound.get_mut(&listener) {
                Some(asking) if asking.len() < MAX_HANDLES => asking.push((worker, query)),
                Some(_) => self.refuse(worker, query, errno::EMFILE, out),
                None => self.grant(worker, query, listener, fit, out),
            },
        }
    }

    pub(super) fn grant(
        &mut self,
        worker: UniqueId,
        query: Query,
        listener: ListenerId,
        fit: Fit,
        out: &mut Vec<Action>,
    ) {
        let Some(socket) = self.claims.listener(listener) else { return };
        let (kind, address) = (socket.kind, socket.address.clone());
        let Some(channel) = self.channels.get(&worker) else { return };
        if self.claims.group(listener).any(|member| channel.holds(member)) {
            return self.refuse(worker, query, errno::EADDRINUSE, out);
        }
        let shared = channel.policy.balance == Balance::Shared || kind != SocketKind::Stream;
        let data = self.claims.data(listener, query.data);
        // A group has one turn-taking in round-robin; shared, each worker has one socket of it.
        let named = query.listen.fd.is_some();
        let listener = if shared && !named { self.member_of_slot(channel.slot, listener) } else { listener };
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        let key = Key(format!("g{}", self.next_key));
        self.next_key = self.next_key.saturating_add(1);
        channel.grants.insert(key.clone(), Grant { listener, shared });
        let outcome = if shared {
            let real = address.as_ref().and_then(port_of);
            let wanted = query.listen.port.and_then(|port| u16::try_from(port).ok());
            Outcome::Handle { check_port: wanted.is_some() && wanted == real }
        } else {
            self.rotations.entry(listener).or_default().subscribe(worker);
            Outcome::RoundRobin(sock_name(&query.listen, address.as_ref()))
        };
        if fit != Fit::Exact {
            let got = address.as_ref().map(address_text).unwrap_or_default();
            let note = Note::Inexact { wanted: wanted_text(&query.listen), got, fit };
            self.note(worker, note, out);
        }
        self.give(worker, Answer { ack: query.seq, key, listener, outcome, data, tries: 0 }, out);
    }

    /// The socket of the group that a slot's workers have, one after the other. A worker leaves when its successor in
    /// the slot listens; so none of the sockets is ever without somebody who accepts.
    fn member_of_slot(&self, slot: u32, first: ListenerId) -> ListenerId {
        let members: Vec<ListenerId> = self.claims.group(first).collect();
        let place = usize::try_from(slot).unwrap_or(0).checked_rem(members.len());
        place.and_then(|place| members.get(place)).copied().unwrap_or(first)
    }

    pub(super) fn give(&mut self, worker: UniqueId, answer: Answer, out: &mut Vec<Action>) {
        if let Some(channel) = self.channels.get_mut(&worker).filter(|channel| !channel.is_closed()) {
            let (message, handle) = channel.answer(answer);
            out.push(Action::Send { worker, message, handle });
        }
    }

    pub(super) fn refuse(&mut self, worker: UniqueId, query: Query, errno: i32, out: &mut Vec<Action>) {
        self.note(worker, Note::Refused { wanted: wanted_text(&query.listen), errno }, out);
        let key = Key(format!("g{}", self.next_key));
        self.next_key = self.next_key.saturating_add(1);
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        let (ack, outcome) = (query.seq, Outcome::Refused(errno));
        let message = ToWorker::Answer { ack, key, outcome, data: query.data, seq: channel.seq() };
        out.push(Action::Send { worker, message, handle: None });
    }

    pub(super) fn listening(&mut self, worker: UniqueId, listen: &Listen, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        channel.hears(Heard::Listening);
        // The message does not name the handle. Each shared one may have a new backlog now.
        for grant in channel.grants.values().filter(|grant| grant.shared) {
            let stream = |socket: &Listener| socket.kind == SocketKind::Stream;
            if self.claims.listener(grant.listener).is_some_and(stream) {
                out.push(Action::Relisten { listener: grant.listener });
            }
        }
        out.push(Action::Report(Report::Listening { worker, address: wanted_text(listen) }));
    }

    pub(super) fn close(&mut self, worker: UniqueId, key: &Key, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        let Some(grant) = channel.grants.remove(key) else { return };
        if let Some(rotation) = self.rotations.get_mut(&grant.listener) {
            rotation.unsubscribe(worker);
        }
        // A worker that leaves is followed by another, which will ask for the same socket.
        if channel.is_open() {
            self.close_unused(grant.listener, out);
        }
    }

    pub(super) fn close_unused(&mut self, listener: ListenerId, out: &mut Vec<Action>) {
        let bound = self.claims.listener(listener).is_some_and(|socket| !socket.inherited);
        let asked = self.unbound.contains_key(&listener);
        if !bound || asked || self.channels.values().any(|channel| channel.holds(listener)) {
            return;
        }
        self.claims.remove(listener);
        let abandoned = self.rotations.remove(&listener).map(|mut rotation| rotation.abandon());
        let abandoned = abandoned.unwrap_or_default().into_iter();
        out.extend(abandoned.map(|connection| Action::CloseConnection { connection }));
        out.push(Action::CloseListener { listener });
    }
}

fn port_of(address: &Address) -> Option<u16> {
    match address {
        Address::Inet(address) => Some(address.port()),
        Address::Unix(_) | Address::Abstract(_) => None,
    }
}

/// What `server.address()` says in round-robin: the real address with the wanted port, so that an app which
/// prints it is not surprised.
fn sock_name(listen: &Listen, address: Option<&Address>) -> Option<SockName> {
    let wanted = listen.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    match (address?, listen.port) {
        (Address::Inet(address), _) => Some(SockName {
            address: address.ip().to_string(),
            v6: address.is_ipv6(),
            port: wanted.unwrap_or(address.port()),
        }),
        (Address::Unix(_) | Address::Abstract(_), _) => {
            wanted.map(|port| SockName { address: "::".to_owned(), v6: true, port })
        }
    }
}

/// A `listen()` as people write it.
fn wanted_text(listen: &Listen) -> String {
    let address = listen.address.as_deref().map(|address| address.replace('\0', "@"));
    match (listen.fd, listen.port.filter(|port| *port >= 0), address) {
        (Some(fd), _, _) => format!("fd {fd}"),
        (None, Some(port), None) => format!("port {port}"),
        (None, Some(port), Some(address)) if address.contains(':') => format!("[{address}]:{port}"),
        (None, Some(port), Some(address)) => format!("{address}:{port}"),
        (None, None, address) => address.unwrap_or_else(|| "nothing".to_owned()),
    }
}
