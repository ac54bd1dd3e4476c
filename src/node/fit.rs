//! How well a socket answers what a `listen()` asked for. Which one it gets is decided in [`super::claims`].

use std::net::{IpAddr, SocketAddr};

use super::bind::BindAddress;
use crate::plan::Address;

/// How well a socket fits what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// As asked.
    Exact,
    /// The app asked for one address, the socket takes all.
    Wider,
    /// The app asked for all addresses, the socket takes one.
    Narrower,
    /// Another port or path: the only inherited socket there is.
    Adopted,
    /// Not inherited: ganger bound it.
    Bound,
}

/// How an inherited socket fits a wish; `None`: not at all.
pub(super) fn fit(wanted: &BindAddress, have: &Address) -> Option<Fit> {
    match (wanted, have) {
        (BindAddress::Any { port }, Address::Inet(have)) => inet_fit(None, *port, *have),
        (BindAddress::Inet(wanted), Address::Inet(have)) => inet_fit(Some(wanted.ip()), wanted.port(), *have),
        (BindAddress::Unix(wanted), Address::Unix(have)) => (wanted == have).then_some(Fit::Exact),
        (BindAddress::Abstract(wanted), Address::Abstract(have)) => (wanted == have).then_some(Fit::Exact),
        (
            BindAddress::Any { .. } | BindAddress::Inet(_) | BindAddress::Unix(_) | BindAddress::Abstract(_),
            Address::Inet(_) | Address::Unix(_) | Address::Abstract(_),
        ) => None,
    }
}

fn inet_fit(wanted: Option<IpAddr>, port: u16, have: SocketAddr) -> Option<Fit> {
    if port == 0 || port != have.port() {
        return None;
    }
    let wanted = wanted.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified());
    let have = Some(have.ip().to_canonical()).filter(|ip| !ip.is_unspecified());
    match (wanted, have) {
        (None, None) => Some(Fit::Exact),
        (Some(_), None) => Some(Fit::Wider),
        (None, Some(_)) => Some(Fit::Narrower),
        (Some(wanted), Some(have)) => (wanted == have).then_some(Fit::Exact),
    }
}

/// Nobody beyond this machine reaches it. A unix socket is no such thing: it is often a proxy's.
pub(super) fn is_loopback(address: &Address) -> bool {
    match address {
        Address::Inet(address) => address.ip().to_canonical().is_loopback(),
        Address::Unix(_) | Address::Abstract(_) => false,
    }
}
