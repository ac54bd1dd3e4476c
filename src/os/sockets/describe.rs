//! Look at a socket that somebody else made: what it is and where.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{self, SockaddrStorage};

use super::{inode, is_accepting};
use crate::os::error::{Attempted, Result, SysError};
use crate::plan::{Address, SocketKind};

/// What a socket is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It accepts connections.
    Accepting,
    /// It takes datagrams from anybody.
    Datagrams,
    /// It is one connection: what `Accept=yes` (systemd.socket(5)) hands over. No pool can share it.
    Connection,
    /// It could listen but does not.
    Idle,
}

/// What is known of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its type.
    pub kind: SocketKind,
    /// Where it is bound; `None` when it is not, or in a family that has no words here (vsock, netlink).
    pub address: Option<Address>,
    /// What it is there for.
    pub role: Role,
    /// What /proc and sock_diag know it by.
    pub inode: u64,
}

/// Looks at a socket.
///
/// # Errors
/// `ENOTSOCK` for any other descriptor, `ESOCKTNOSUPPORT` for a type that no worker can inherit (raw).
pub fn describe(fd: impl AsFd) -> Result<Socket> {
    let fd = fd.as_fd();
    // Not `sockopt::SockType`: it knows only the types that it has names for.
    let kind = match socket_type(fd.as_raw_fd()).attempted(|| "look at a socket")? {
        libc::SOCK_STREAM => SocketKind::Stream,
        libc::SOCK_DGRAM => SocketKind::Datagram,
        libc::SOCK_SEQPACKET => SocketKind::SeqPacket,
        _ => return Err(SysError::new("use a socket of this type", Errno::ESOCKTNOSUPPORT)),
    };
    let connected = socket::getpeername::<SockaddrStorage>(fd.as_raw_fd()).is_ok();
    let role = match kind {
        SocketKind::Stream | SocketKind::SeqPacket if is_accepting(fd)? => Role::Accepting,
        SocketKind::Stream | SocketKind::SeqPacket | SocketKind::Datagram if connected => Role::Connection,
        SocketKind::Stream | SocketKind::SeqPacket => Role::Idle,
        SocketKind::Datagram => Role::Datagrams,
    };
    Ok(Socket { kind, address: local_address(fd)?, role, inode: inode(fd)? })
}

fn socket_type(fd: i32) -> nix::Result<i32> {
    let mut kind: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: value and size are live; the kernel writes at most `size` bytes.
    let answer = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut size)
    };
    Errno::result(answer).map(|_| kind)
}

/// Where a socket is bound (getsockname(2)); `None` when it is not bound, or in another family.
///
/// # Errors
/// `ENOTSOCK`.
pub fn local_address(fd: impl AsFd) -> Result<Option<Address>> {
    let name = socket::getsockname::<SockaddrStorage>(fd.as_fd().as_raw_fd())
        .attempted(|| "ask where a socket is bound")?;
    if let Some(address) = name.as_sockaddr_in() {
        return Ok(Some(Address::Inet(SocketAddr::V4(SocketAddrV4::from(*address)))));
    }
    if let Some(address) = name.as_sockaddr_in6() {
        return Ok(Some(Address::Inet(SocketAddr::V6(SocketAddrV6::from(*address)))));
    }
    let Some(address) = name.as_unix_addr() else { return Ok(None) };
    let path = address.path().map(Path::to_owned).map(Address::Unix);
    Ok(path.or_else(|| address.as_abstract().map(|name| Address::Abstract(name.to_vec()))))
}
