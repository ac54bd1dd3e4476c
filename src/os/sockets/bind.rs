//! Make a socket for a plan's address: what `ganger run --listen` does without systemd.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, sockopt,
};

use super::describe::local_address;
use super::listen;
use crate::os::error::{Attempted, Result, SysError};
use crate::plan::{Address, Listen, SocketKind};

/// A socket that was made here.
#[derive(Debug)]
pub struct Bound {
    /// Close-on-exec, non-blocking; listening where its kind listens.
    pub fd: OwnedFd,
    /// Where it really is: port 0 has become a port.
    pub address: Address,
}

/// Binds and listens. A path that a dead process left behind is replaced; one that is answered is not, nor is a
/// file that is no socket. `[::]` also takes IPv4.
///
/// # Errors
/// Names the address.
pub fn bind(wanted: &Listen) -> Result<Bound> {
    let attempt = || format!("listen on {}", spoken(&wanted.address));
    let kind = sock_type(wanted.kind);
    let (family, address): (_, Box<dyn SockaddrLike>) = match &wanted.address {
        Address::Inet(address) => {
            let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            (family, Box::new(SockaddrStorage::from(*address)))
        }
        Address::Unix(path) => (AddressFamily::Unix, Box::new(UnixAddr::new(path).attempted(attempt)?)),
        Address::Abstract(name) => {
            (AddressFamily::Unix, Box::new(UnixAddr::new_abstract(name).attempted(attempt)?))
        }
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(family, kind, flags, None).attempted(attempt)?;
    if let Address::Inet(address) = &wanted.address {
        socket::setsockopt(&fd, sockopt::ReuseAddr, &true).attempted(attempt)?;
        if address.is_ipv6() {
            let both = address.ip().is_unspecified();
            socket::setsockopt(&fd, sockopt::Ipv6V6Only, &!both).attempted(attempt)?;
        }
    }
    let mut answer = socket::bind(fd.as_raw_fd(), address.as_ref());
    if let (Err(Errno::EADDRINUSE), Address::Unix(path)) = (answer, &wanted.address)
        && is_stale(path, kind)
    {
        fs::remove_file(path).attempted(attempt)?;
        answer = socket::bind(fd.as_raw_fd(), address.as_ref());
    }
    answer.attempted(attempt)?;
    if wanted.kind != SocketKind::Datagram {
        listen(&fd, wanted.backlog)
            .map_err(|error| SysError::new(attempt(), Errno::from_raw(error.errno())))?;
    }
    let address = local_address(&fd)?.unwrap_or_else(|| wanted.address.clone());
    Ok(Bound { fd, address })
}

/// Listens again where it listened before shutdown(2) ended that. The kernel has let go of a port that it had
/// chosen itself (port 0), so the address is asked for anew; `EINVAL` says that it was kept.
///
/// # Errors
/// Somebody else has the address by now, or listen(2) fails.
pub fn listen_again(fd: impl AsFd, address: Option<&Address>, backlog: u32) -> Result<()> {
    if let Some(Address::Inet(address)) = address {
        match socket::bind(fd.as_fd().as_raw_fd(), &SockaddrStorage::from(*address)) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(SysError::new(format!("listen on {address} again"), errno)),
        }
    }
    listen(fd, backlog)
}

pub(super) fn sock_type(kind: SocketKind) -> SockType {
    match kind {
        SocketKind::Stream => SockType::Stream,
        SocketKind::Datagram => SockType::Datagram,
        SocketKind::SeqPacket => SockType::SeqPacket,
    }
}

/// A socket file that nobody answers at. Any doubt means "no".
fn is_stale(path: &Path, kind: SockType) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
        return false;
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (Ok(probe), Ok(address)) =
        (socket::socket(AddressFamily::Unix, kind, flags, None), UnixAddr::new(path))
    else {
        return false;
    };
    socket::connect(probe.as_raw_fd(), &address) == Err(Errno::ECONNREFUSED)
}

/// An address as a person writes it.
pub(super) fn spoken(address: &Address) -> String {
    match address {
        Address::Inet(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
        Address::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
    }
}
