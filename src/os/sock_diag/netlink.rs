//! The questions to NETLINK_SOCK_DIAG, and their answers taken apart.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::{MAX_ROWS, Queue, Row};
use crate::plan::Address;

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// Established, and close-wait: the peer has closed, the worker has not (bits of the kernel's TCP states).
const CONNECTED: u32 = 1 << 1 | 1 << 8;
/// Size of one read; the kernel fills at most this much.
const BUFFER: usize = 32 * 1024;
const HEADER: usize = 16;
/// Length of inet_diag_msg and unix_diag_msg.
const INET_MESSAGE: usize = 72;
const UNIX_MESSAGE: usize = 16;
/// `UDIAG_SHOW_NAME`, `UDIAG_SHOW_RQLEN` (linux/unix_diag.h), and the attributes they bring.
const SHOW_NAME: u32 = 1;
const SHOW_QUEUE: u32 = 0x10;
const ATTRIBUTE_NAME: u16 = 0;
const ATTRIBUTE_QUEUE: u16 = 4;

/// Connected TCP sockets of a local port, v4 and v6; `None` when netlink is not to be had.
pub(super) fn tcp(port: u16) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        ask(&inet_request(family, CONNECTED, port)?, true, |message| rows.extend(inet_row(message)))?;
    }
    Some(rows)
}

/// The inode of the one TCP socket that is `local` on this side and `peer` on the other; 0 while nobody has accepted
/// it. `None` when there is none, or netlink is not to be had.
pub(super) fn tcp_inode(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut request = vec![u8::try_from(family).ok()?, u8::try_from(libc::IPPROTO_TCP).ok()?, 0, 0];
    request.extend(u32::MAX.to_ne_bytes());
    // inet_diag_sockid: ports, addresses (16 bytes each), any interface, no cookie.
    request.extend(local.port().to_be_bytes());
    request.extend(peer.port().to_be_bytes());
    for ip in [local.ip(), peer.ip()] {
        let mut bytes = [0; 16];
        match ip {
            IpAddr::V4(ip) => bytes.iter_mut().zip(ip.octets()).for_each(|(to, from)| *to = from),
            IpAddr::V6(ip) => bytes = ip.octets(),
        }
        request.extend(bytes);
    }
    request.extend([0; 4]);
    request.extend([0xff; 8]);
    let mut inode = None;
    ask(&request, false, |message| inode = number(message, INET_MESSAGE - 4).map(u64::from))?;
    inode
}

fn inet_request(family: i32, states: u32, port: u16) -> Option<Vec<u8>> {
    let mut request = vec![u8::try_from(family).ok()?, u8::try_from(libc::IPPROTO_TCP).ok()?, 0, 0];
    request.extend(states.to_ne_bytes());
    // inet_diag_sockid: only the local port is asked for; no cookie.
    request.extend(port.to_be_bytes());
    request.extend([0; 2 + 16 + 16 + 4]);
    request.extend([0xff; 8]);
    Some(request)
}

/// Connected unix sockets that have a name.
pub(super) fn unix() -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    ask(&unix_request(0, CONNECTED, SHOW_NAME), true, |message| rows.extend(unix_row(message)))?;
    Some(rows)
}

fn queue_in(message: &[u8]) -> Option<Queue> {
    let value = attribute(message, ATTRIBUTE_QUEUE)?;
    Some(Queue { waiting: number(value, 0)?, backlog: number(value, 4)? })
}

/// The queue of one listening unix socket.
pub(super) fn unix_queue(inode: u64) -> Option<Queue> {
    let request = unix_request(u32::try_from(inode).ok()?, u32::MAX, SHOW_QUEUE);
    let mut queue = None;
    ask(&request, false, |message| {
        queue = queue_in(message);
    })?;
    queue
}

fn unix_request(inode: u32, states: u32, show: u32) -> Vec<u8> {
    let mut request = vec![u8::try_from(libc::AF_UNIX).unwrap_or(1), 0, 0, 0];
    request.extend(states.to_ne_bytes());
    request.extend(inode.to_ne_bytes());
    request.extend(show.to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

/// Sends one request and hands each message's payload to `see`, to the end or [`MAX_ROWS`].
fn ask(request: &[u8], dump: bool, mut see: impl FnMut(&[u8])) -> Option<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd =
        socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag).ok()?;
    let kind = libc::NLM_F_REQUEST | if dump { libc::NLM_F_DUMP } else { 0 };
    let mut packet = u32::try_from(HEADER + request.len()).ok()?.to_ne_bytes().to_vec();
    packet.extend(BY_FAMILY.to_ne_bytes());
    packet.extend(u16::try_from(kind).ok()?.to_ne_bytes());
    // Sequence number, and a port that the kernel fills in.
    packet.extend([0; 8]);
    packet.extend(request);
    send(socket.as_raw_fd(), &packet, MsgFlags::empty()).ok()?;
    let mut buffer = vec![0u8; BUFFER];
    let mut rows = 0usize;
    while rows < MAX_ROWS {
        // The kernel answers before `send` returns, or while this is read: it never has to be waited for.
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        let mut rest = buffer.get(..length)?;
        while let Some(size) = number(rest, 0).and_then(|size| usize::try_from(size).ok()) {
            if size < HEADER || size > rest.len() {
                break;
            }
            match rest.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes).map(i32::from)
            {
                Some(libc::NLMSG_DONE) => return Some(()),
                Some(libc::NLMSG_ERROR) | None => return None,
                Some(_) => see(rest.get(HEADER..size)?),
            }
            rows += 1;
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        if !dump {
            return Some(());
        }
    }
    Some(())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

/// inet_diag_msg: four bytes, then ports (big-endian) and addresses; the inode is its last word.
fn inet_row(message: &[u8]) -> Option<Row> {
    let (ip, port) = local_of(message)?;
    let inode = number(message, INET_MESSAGE - 4)?.into();
    Some(Row { local: Address::Inet(SocketAddr::new(ip, port)), inode })
}

fn local_of(message: &[u8]) -> Option<(IpAddr, u16)> {
    if message.len() < INET_MESSAGE {
        return None;
    }
    let port = u16::from_be_bytes(*message.get(4..)?.first_chunk()?);
    let address = message.get(8..)?.first_chunk::<16>()?;
    let ip: IpAddr = if i32::from(*message.first()?) == libc::AF_INET {
        Ipv4Addr::from(*address.first_chunk::<4>()?).into()
    } else {
        Ipv6Addr::from(*address).into()
    };
    Some((ip, port))
}

fn unix_row(message: &[u8]) -> Option<Row> {
    let name = attribute(message, ATTRIBUTE_NAME)?;
    let local = match name.split_first()? {
        (0, name) => Address::Abstract(name.to_vec()),
        _ => Address::Unix(OsStr::from_bytes(name.split(|byte| *byte == 0).next()?).into()),
    };
    Some(Row { local, inode: number(message, 4)?.into() })
}

/// The value of one attribute behind a unix_diag_msg.
fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = message.get(UNIX_MESSAGE..)?;
    loop {
        let size = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..size)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(size.next_multiple_of(4)..)?;
    }
}
