//! A worker's listening handles: asked for, given, listening, closed.

use std::collections::BTreeSet;

use super::super::channel::{Answer, Channel, Grant, Heard};
use super::super::claims::{Listener, Resolved, address_text, wanted_text};
use super::super::report::{Action, Lacking, Note, Report};
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
        match self.claims.claim(&query.listen, channel.generation, channel.policy) {
            Resolved::Refused(errno) => self.refuse(worker, query, errno, out),
            Resolved::Bind(listener, request, kept) => {
                if let Some((socket, why)) = kept {
                    let wanted = wanted_text(&query.listen);
                    self.note(worker, Note::Kept { wanted, socket, why }, out);
                }
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
        // A number is enough; what comes with it has no bounds.
        let asked = Listen { address: query.listen.address.clone().filter(|_| !named), ..query.listen };
        channel.grants.insert(key.clone(), Grant { listener, shared, asked, listens: false });
        channel.had.insert(self.claims.first_of_group(listener).unwrap_or(listener));
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
        let address = |listener| self.claims.listener(listener).and_then(|socket| socket.address.as_ref());
        channel.listens(listen, |listener| address(listener).and_then(port_of));
        // The message does not name the handle. Each shared one may have a new backlog now.
        for grant in channel.grants.values().filter(|grant| grant.shared) {
            let stream = |socket: &Listener| socket.kind == SocketKind::Stream;
            if self.claims.listener(grant.listener).is_some_and(stream) {
                out.push(Action::Relisten { listener: grant.listener });
            }
        }
        match self.lacking(worker) {
            None => self.is_ready(worker, wanted_text(listen), out),
            Some(_) => self.still_serves(worker),
        }
    }

    /// Why a worker that listens is not ready by that.
    #[must_use]
    pub fn lacking(&self, worker: UniqueId) -> Option<Lacking> {
        let channel = self.channels.get(&worker)?;
        if !self.claims.has_inherited() {
            return None;
        }
        let sockets = self.listens_on(channel);
        if sockets.is_empty() {
            return Some(Lacking::Inherited);
        }
        let (listener, generation) = self.served.missing(worker, channel.slot, &sockets)?;
        let address = self.claims.listener(listener)?.address.as_ref().map(address_text)?;
        Some(Lacking::Served { address, generation })
    }

    /// The worker gave a sign of readiness: what it listens on is served.
    pub(super) fn stands(&mut self, worker: UniqueId) {
        if let Some(channel) = self.channels.get_mut(&worker) {
            channel.stands = true;
            self.still_serves(worker);
        }
    }

    /// The worker's process is gone: what only it served, or had adopted, is anybody's.
    pub(super) fn forget(&mut self, worker: UniqueId, out: &mut Vec<Action>) {
        self.served.gone(worker);
        if let Some(Channel { mut had, stands, .. }) = self.channels.remove(&worker) {
            had.retain(|socket| !self.channels.values().any(|other| other.had.contains(socket)));
            for orphan in had {
                self.claims.disown(orphan);
                // The call never came to anything; when it is made again the inherited socket may be free.
                if !stands && self.claims.is_instead(orphan) {
                    self.close_unused(orphan, out);
                }
            }
        }
        self.settle(out);
    }

    /// Workers that listen and lacked what nobody serves any more.
    fn settle(&mut self, out: &mut Vec<Action>) {
        let waiting = self.channels.iter().filter(|(_, channel)| channel.is_open() && !channel.stands);
        let listening = waiting.filter_map(|(worker, channel)| {
            let grant = channel.grants.values().find(|grant| grant.listens)?;
            Some((*worker, wanted_text(&grant.asked)))
        });
        for (worker, address) in listening.collect::<Vec<_>>() {
            if self.lacking(worker).is_none() {
                self.is_ready(worker, address, out);
            }
        }
    }

    fn is_ready(&mut self, worker: UniqueId, address: String, out: &mut Vec<Action>) {
        self.stands(worker);
        out.push(Action::Report(Report::Listening { worker, address }));
    }

    /// What a worker that leaves has closed is served until its process is gone.
    fn still_serves(&mut self, worker: UniqueId) {
        if let Some(channel) =
            self.channels.get(&worker).filter(|channel| channel.stands && channel.is_open())
        {
            let sockets = self.listens_on(channel);
            self.served.serves(worker, channel.slot, channel.generation, sockets);
        }
    }

    /// The inherited sockets that the worker listens on, of each group the first.
    pub(super) fn listens_on(&self, channel: &Channel) -> BTreeSet<ListenerId> {
        let listening = channel.grants.values().filter(|grant| grant.listens);
        listening.filter_map(|grant| self.claims.first_of_group(grant.listener)).collect()
    }

    pub(super) fn close(&mut self, worker: UniqueId, key: &Key, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        let Some(grant) = channel.grants.remove(key) else { return };
        if let Some(rotation) = self.rotations.get_mut(&grant.listener) {
            rotation.unsubscribe(worker);
        }
        self.still_serves(worker);
        self.settle(out);
        let Some(channel) = self.channels.get(&worker) else { return };
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
        self.channels.values_mut().for_each(|channel| {
            channel.had.remove(&listener);
        });
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
