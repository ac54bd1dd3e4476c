//! Which socket answers a `listen()`. All workers of all generations share one table, so that the same call
//! gets the same socket everywhere.
//!
//! In order: what the same call got before; the inherited socket of the same number, path or port; the only
//! inherited socket there is, when nobody has it (its port may differ); a socket that ganger binds. Policy
//! says whether the last two happen.
//!
//! A socket is adopted for as long as a worker that adopted it lives, and by that port alone; and by none once
//! anybody has asked for its own. What is meant for this machine alone adopts nothing that others reach.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::bind::{BindAddress, BindRequest, abstract_text};
use super::fit::{Fit, fit, is_loopback};
use super::report::{Kept, Policy};
use super::{ListenerId, MAX_BOUND, MAX_CLAIMS, errno};
use crate::plan::{Address, SocketKind, Unmatched};
use crate::proto::node::{AddressType, Data, Listen};

/// The first descriptor that systemd passes (sd_listen_fds(3)): what `listen({fd: 3})` means.
const FIRST_FD: i64 = 3;
/// Ports below this need a privilege (ip(7), `ip_unprivileged_port_start`).
const FIRST_COMMON_PORT: u16 = 1024;

/// A socket that ganger was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// Stream or datagram.
    pub kind: SocketKind,
    /// Where it is bound; paths with symbolic links resolved.
    pub address: Address,
}

/// Whose rights a worker has, compared with ganger's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The same user: whatever ganger binds for it, it could bind by itself.
    Same,
    /// Another user: ganger makes no file and takes no privileged port for it.
    Lesser,
}

/// How a `listen()` is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resolved {
    /// With this socket.
    Use(ListenerId, Fit),
    /// With a socket that must be made first; perhaps because the only inherited one is not to be had.
    Bind(ListenerId, BindRequest, Option<(String, Kept)>),
    /// With an errno.
    Refused(i32),
}

/// Two calls with the same key get the same socket. The index counts only calls with port 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClaimKey {
    address: Option<String>,
    port: Option<i64>,
    address_type: AddressType,
    fd: Option<i64>,
    index: u64,
}

#[derive(Debug)]
struct Claim {
    listener: ListenerId,
    fit: Fit,
    /// The youngest generation that made this call.
    generation: u64,
    /// The call, for people.
    wanted: String,
    /// Its socket was bound because others had adopted the inherited one.
    instead: bool,
}

/// One socket of the app.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) kind: SocketKind,
    /// `None` while it is being bound.
    pub(super) address: Option<Address>,
    pub(super) inherited: bool,
    /// The first worker's data (TLS ticket keys), for all.
    data: Data,
}

/// The table.
#[derive(Debug)]
pub(super) struct Claims {
    listeners: BTreeMap<ListenerId, Listener>,
    claims: BTreeMap<ClaimKey, Claim>,
    next_listener: u32,
}

impl Listener {
    fn is_inet(&self) -> bool {
        matches!(self.address, Some(Address::Inet(_)))
    }
}

impl ClaimKey {
    fn of(listen: &Listen) -> Self {
        Self {
            // A number is enough; what comes with it has no bounds.
            address: listen.address.clone().filter(|_| listen.fd.is_none()),
            port: listen.port,
            address_type: listen.address_type,
            fd: listen.fd,
            index: if listen.port == Some(0) { listen.index } else { 0 },
        }
    }

    /// The same port, on whatever address; of a unix socket, the same name.
    fn same_port(&self, listen: &Listen) -> bool {
        let has_port = listen.port.is_some_and(|port| port >= 0);
        self.port == listen.port && (has_port || self.address == listen.address)
    }
}

impl Claims {
    pub(super) fn new(inherited: Vec<Inherited>) -> Self {
        let mut listeners = BTreeMap::new();
        let mut next_listener = 0;
        for Inherited { kind, address } in inherited {
            let listener = Listener { kind, address: Some(address), inherited: true, data: Data::default() };
            listeners.insert(ListenerId(next_listener), listener);
            next_listener = next_listener.saturating_add(1);
        }
        Self { listeners, claims: BTreeMap::new(), next_listener }
    }

    pub(super) fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(&id)
    }

    /// The sockets that answer together when `id` is the answer: itself, and when it is the first of a group on one
    /// address (systemd's `ReusePort=`), all of the group.
    pub(super) fn group(&self, id: ListenerId) -> impl Iterator<Item = ListenerId> {
        let alike = self.listeners.get(&id).filter(|first| first.inherited && first.is_inet());
        let others = self.listeners.iter().filter(move |(other, listener)| {
            **other != id
                && alike.is_some_and(|first| {
                    listener.inherited && listener.kind == first.kind && listener.address == first.address
                })
        });
        let others: Vec<ListenerId> = others.map(|(other, _)| *other).collect();
        let is_first = others.iter().all(|other| *other > id);
        std::iter::once(id).chain(others.into_iter().filter(move |_| is_first))
    }

    pub(super) fn has_inherited(&self) -> bool {
        self.listeners.values().any(|listener| listener.inherited)
    }

    /// An inherited socket, by the first of its group; `None` for one that ganger bound.
    pub(super) fn first_of_group(&self, id: ListenerId) -> Option<ListenerId> {
        let listener = self.listeners.get(&id).filter(|listener| listener.inherited)?;
        let alike = self.inherited(listener.kind).find(|(_, address)| {
            matches!(address, Address::Inet(_)) && Some(*address) == listener.address.as_ref()
        });
        Some(alike.map_or(id, |(first, _)| first))
    }

    /// Answers one call, and remembers the answer.
    pub(super) fn claim(&mut self, listen: &Listen, generation: u64, policy: Policy) -> Resolved {
        let key = ClaimKey::of(listen);
        if let Some(claim) = self.claims.get_mut(&key) {
            claim.generation = claim.generation.max(generation);
            return Resolved::Use(claim.listener, claim.fit);
        }
        if self.claims.len() >= MAX_CLAIMS {
            return Resolved::Refused(errno::EMFILE);
        }
        let resolved = self.resolve(listen, generation, policy);
        let (listener, fit) = match &resolved {
            Resolved::Use(listener, fit) => (*listener, *fit),
            Resolved::Bind(listener, ..) => (*listener, Fit::Bound),
            Resolved::Refused(_) => return resolved,
        };
        if fit < Fit::Adopted
            && let Some(first) = self.first_of_group(listener)
        {
            // An app that asks for the socket's own port wants it there, whoever adopted it by another.
            self.disown(first);
        }
        let instead = matches!(resolved, Resolved::Bind(_, _, Some((_, Kept::Adopted(_)))));
        let wanted = wanted_text(listen);
        self.claims.insert(key, Claim { listener, fit, generation, wanted, instead });
        resolved
    }

    fn resolve(&mut self, listen: &Listen, generation: u64, policy: Policy) -> Resolved {
        if let Some(fd) = listen.fd {
            return self.by_number(fd, listen.address_type);
        }
        let request = match BindRequest::of(listen) {
            Ok(request) => request,
            Err(errno) => return Resolved::Refused(errno),
        };
        if let Some((fit, id)) = self.best(&request) {
            return Resolved::Use(id, fit);
        }
        let kept = match policy.unmatched {
            Unmatched::Refuse => return Resolved::Refused(errno::EACCES),
            Unmatched::Adopt => match self.only(&request) {
                Some((id, address)) => match self.kept(id, address, listen, &request, generation) {
                    Some(why) => Some((address_text(address), why)),
                    None => return Resolved::Use(id, Fit::Adopted),
                },
                None => None,
            },
            Unmatched::Bind => None,
        };
        if policy.trust == Trust::Lesser && needs_rights(&request.address) {
            return Resolved::Refused(errno::EACCES);
        }
        self.bind(request, kept)
    }

    fn by_number(&self, fd: i64, wanted: AddressType) -> Resolved {
        let number = fd.checked_sub(FIRST_FD).and_then(|number| u32::try_from(number).ok());
        let found = number.map(ListenerId).and_then(|id| Some((id, self.listeners.get(&id)?)));
        match found {
            Some((id, listener))
                if listener.inherited
                    && (listener.kind == SocketKind::Datagram) == wanted.is_datagram()
                    && listener.kind != SocketKind::SeqPacket =>
            {
                Resolved::Use(id, Fit::Exact)
            }
            Some(_) | None => Resolved::Refused(errno::EINVAL),
        }
    }

    fn inherited(&self, kind: SocketKind) -> impl Iterator<Item = (ListenerId, &Address)> {
        self.listeners.iter().filter_map(move |(id, listener)| {
            let address = listener.address.as_ref()?;
            (listener.inherited && listener.kind == kind).then_some((*id, address))
        })
    }

    fn best(&self, request: &BindRequest) -> Option<(Fit, ListenerId)> {
        self.inherited(request.kind)
            .filter_map(|(id, address)| Some((fit(&request.address, address)?, id)))
            .min()
    }

    /// The only inherited socket (or group) of that kind, if what was asked for may be answered with its like.
    fn only(&self, request: &BindRequest) -> Option<(ListenerId, &Address)> {
        if request.address.port() == Some(0) {
            return None;
        }
        let mut sockets = self.inherited(request.kind);
        let (id, address) = sockets.next()?;
        let only = sockets.all(|(_, other)| matches!(other, Address::Inet(_)) && other == address);
        let alike = match request.address {
            BindAddress::Any { .. } | BindAddress::Inet(_) => true,
            BindAddress::Unix(_) | BindAddress::Abstract(_) => !matches!(address, Address::Inet(_)),
        };
        (only && alike).then_some((id, address))
    }

    /// Why this call does not adopt that socket.
    fn kept(
        &self,
        id: ListenerId,
        address: &Address,
        listen: &Listen,
        request: &BindRequest,
        generation: u64,
    ) -> Option<Kept> {
        if request.address.is_loopback() && !is_loopback(address) {
            return Some(Kept::Loopback);
        }
        let has_it = |claim: &Claim| self.first_of_group(claim.listener) == Some(id);
        if self.claims.values().any(|claim| claim.fit < Fit::Adopted && has_it(claim)) {
            return Some(Kept::OwnPort);
        }
        // An older generation's call for the same port, on another address, is a predecessor's.
        let other = |key: &ClaimKey, claim: &Claim| claim.generation >= generation || !key.same_port(listen);
        let other = self.claims.iter().find(|(key, claim)| has_it(claim) && other(key, claim));
        other.map(|(_, claim)| Kept::Adopted(claim.wanted.clone()))
    }

    fn bind(&mut self, request: BindRequest, kept: Option<(String, Kept)>) -> Resolved {
        let bound = self.listeners.values().filter(|listener| !listener.inherited).count();
        if bound >= MAX_BOUND {
            return Resolved::Refused(errno::EMFILE);
        }
        let id = ListenerId(self.next_listener);
        self.next_listener = self.next_listener.saturating_add(1);
        let listener =
            Listener { kind: request.kind, address: None, inherited: false, data: Data::default() };
        self.listeners.insert(id, listener);
        Resolved::Bind(id, request, kept)
    }

    /// No worker that adopted this socket lives any more, or its own port was asked for.
    pub(super) fn disown(&mut self, id: ListenerId) {
        self.claims.retain(|_, claim| claim.listener != id || claim.fit != Fit::Adopted);
    }

    /// It was bound because others had adopted the inherited one.
    pub(super) fn is_instead(&self, id: ListenerId) -> bool {
        self.claims.values().any(|claim| claim.listener == id && claim.instead)
    }

    /// A socket was made.
    pub(super) fn bound(&mut self, id: ListenerId, address: Address) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.address = Some(address);
        }
    }

    /// A socket that ganger bound goes (or never came to be); the next call binds anew.
    pub(super) fn remove(&mut self, id: ListenerId) {
        if self.listeners.get(&id).is_some_and(|listener| !listener.inherited) {
            self.listeners.remove(&id);
            self.claims.retain(|_, claim| claim.listener != id);
        }
    }

    /// What goes back to the worker as data: what the first one sent. Without any from this worker, nothing.
    pub(super) fn data(&mut self, id: ListenerId, theirs: Data) -> Data {
        match self.listeners.get_mut(&id) {
            Some(listener) if !theirs.is_none() => {
                if listener.data.is_none() {
                    listener.data = theirs;
                }
                listener.data.clone()
            }
            Some(_) | None => theirs,
        }
    }

    /// The sockets that ganger bound and that no generation after `generation` asked for.
    pub(super) fn bound_up_to(&self, generation: u64) -> Vec<ListenerId> {
        let wanted = |id: &ListenerId| {
            self.claims.values().any(|claim| claim.listener == *id && claim.generation > generation)
        };
        let bound = self.listeners.iter().filter(|(_, listener)| !listener.inherited);
        bound.map(|(id, _)| *id).filter(|id| !wanted(id)).collect()
    }
}

fn needs_rights(address: &BindAddress) -> bool {
    match address {
        BindAddress::Any { port } => (1..FIRST_COMMON_PORT).contains(port),
        BindAddress::Inet(address) => (1..FIRST_COMMON_PORT).contains(&address.port()),
        BindAddress::Unix(_) => true,
        BindAddress::Abstract(_) => false,
    }
}

/// An address as people write it.
pub(super) fn address_text(address: &Address) -> String {
    match address {
        Address::Inet(address) => address.to_string(),
        Address::Unix(path) => PathBuf::from(path).display().to_string(),
        Address::Abstract(name) => abstract_text(name),
    }
}

/// A `listen()` as people write it.
pub(super) fn wanted_text(listen: &Listen) -> String {
    // Node puts the directory before an abstract name, as before a path.
    let name = |address: &str| match address.split_once('\0') {
        Some((_, name)) => format!("@{}", name.replace('\0', "@")),
        None => address.to_owned(),
    };
    let address = listen.address.as_deref().map(name);
    match (listen.fd, listen.port.filter(|port| *port >= 0), address) {
        (Some(fd), _, _) => format!("fd {fd}"),
        (None, Some(port), None) => format!("port {port}"),
        (None, Some(port), Some(address)) if address.contains(':') => format!("[{address}]:{port}"),
        (None, Some(port), Some(address)) => format!("{address}:{port}"),
        (None, None, address) => address.unwrap_or_else(|| "nothing".to_owned()),
    }
}
