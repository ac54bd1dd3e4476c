//! Connections and accept queues: how many a worker still serves, how many wait for one (sock_diag(7)).
//!
//! Asked by netlink where the sandbox allows `AF_NETLINK`; else from `/proc/net`. The accept queue of a TCP
//! socket needs neither: the socket itself knows (`TCP_INFO`). Reads are bounded by [`MAX_ROWS`].

mod held;
mod netlink;
mod tables;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

use super::error::Result;
use super::sockets::describe;
use crate::plan::{Address, SocketKind};

pub use held::holds_accepted;

/// The most sockets of one table that are looked at.
pub const MAX_ROWS: usize = 1_000_000;

/// The queue of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Connections that nobody has accepted yet.
    pub waiting: u32,
    /// How many may wait: the backlog in force.
    pub backlog: u32,
}

/// One connected socket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    local: Address,
    /// 0: not accepted yet.
    inode: u64,
}

/// The accept queue of a listening socket; `None` where it cannot be known.
///
/// # Errors
/// `ENOTSOCK`.
pub fn queue(socket: impl AsFd) -> Result<Option<Queue>> {
    let socket = socket.as_fd();
    let about = describe(socket)?;
    match (about.kind, &about.address) {
        (SocketKind::Stream, Some(Address::Inet(_))) => Ok(tcp_queue(socket.as_raw_fd())),
        (_, Some(Address::Unix(_) | Address::Abstract(_))) => Ok(netlink::unix_queue(about.inode)),
        (_, Some(Address::Inet(_)) | None) => Ok(None),
    }
}

/// In the listening state `TCP_INFO` carries the queue in the counters of packets.
fn tcp_queue(socket: i32) -> Option<Queue> {
    // SAFETY: tcp_info is plain numbers.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut size = libc::socklen_t::try_from(mem::size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: value and size are live; the kernel writes at most `size` bytes.
    let answer = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut size)
    };
    (answer == 0).then_some(Queue { waiting: info.tcpi_unacked, backlog: info.tcpi_sacked })
}

/// How many connections to one of `listeners` are held by one of the sockets `inodes`.
fn connections(listeners: &[Address], inodes: &BTreeSet<u64>) -> usize {
    Connections::to(listeners).among(inodes)
}

/// The connections to some listeners that somebody has accepted, at one moment. One that the peer has closed and its
/// holder has not is among them.
#[derive(Debug, Clone)]
pub struct Connections {
    inodes: BTreeSet<u64>,
}

impl Connections {
    /// Looks them up by one walk through the tables.
    #[must_use]
    pub fn to(listeners: &[Address]) -> Self {
        Self { inodes: accepted_by_anybody(listeners) }
    }

    /// How many of them are held by one of the sockets `inodes` (of a worker's processes:
    /// [`crate::os::procfs::socket_inodes`]).
    #[must_use]
    pub fn among(&self, inodes: &BTreeSet<u64>) -> usize {
        inodes.iter().filter(|inode| self.inodes.contains(inode)).count()
    }
}

fn accepted_by_anybody(listeners: &[Address]) -> BTreeSet<u64> {
    let ports: BTreeSet<u16> = listeners
        .iter()
        .filter_map(|listener| match listener {
            Address::Inet(address) => Some(address.port()),
            Address::Unix(_) | Address::Abstract(_) => None,
        })
        .collect();
    let mut rows = Vec::new();
    for port in ports {
        rows.extend(netlink::tcp(port).unwrap_or_else(|| tables::tcp(port)));
    }
    if listeners.iter().any(|listener| !matches!(listener, Address::Inet(_))) {
        rows.extend(netlink::unix().unwrap_or_else(tables::unix));
    }
    let reached = rows.iter().filter(|row| listeners.iter().any(|one| reaches(one, &row.local)));
    reached.map(|row| row.inode).filter(|inode| *inode != 0).collect()
}

/// The accepting side of a TCP connection that was made here: the inode of the socket that accept(2) gave somebody on
/// this machine, 0 while nobody has accepted it. `None` when that cannot be known.
#[must_use]
pub fn accepted(client: SocketAddr, server: SocketAddr) -> Option<u64> {
    netlink::tcp_inode(server, client)
}

/// Whether a connection at `local` came by `listener`: the same address, or a wildcard of the same port.
fn reaches(listener: &Address, local: &Address) -> bool {
    match (listener, local) {
        (Address::Inet(listener), Address::Inet(local)) => {
            let ip = |address: &SocketAddr| address.ip().to_canonical();
            listener.port() == local.port() && (listener.ip().is_unspecified() || ip(listener) == ip(local))
        }
        _ => listener == local,
    }
}
