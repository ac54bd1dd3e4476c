//! The listening sockets of an app as descriptors: the inherited ones, and those that ganger makes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, setsockopt, socket, sockopt,
};

use super::bind::{BindAddress, BindRequest};
use crate::os::{SysError, sockets};
use crate::plan::{Address, SocketKind};

/// What Node's own primary takes when the app names no backlog.
const NODE_BACKLOG: u32 = 511;

/// One listening socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) datagram: bool,
    backlog: u32,
    made: Option<MadePath>,
}

/// A file that came to be by binding; it goes with the socket, unless another has taken its place.
#[derive(Debug)]
struct MadePath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Socket {
    /// Takes an inherited socket, and says what it is. Sets `O_NONBLOCK`: Node does not, and would hang.
    pub(super) fn inherited(
        fd: OwnedFd,
        backlog: Option<u32>,
    ) -> Result<(Self, SocketKind, Address), SysError> {
        sockets::set_nonblocking(&fd, true)?;
        let about = sockets::describe(&fd)?;
        // One without a name is still found by its number.
        let address = about.address.map_or_else(|| Address::Unix(PathBuf::new()), resolved);
        let backlog = backlog.unwrap_or(u32::MAX);
        let datagram = about.kind == SocketKind::Datagram;
        Ok((Self { fd: Arc::new(fd), datagram, backlog, made: None }, about.kind, address))
    }

    /// Makes a socket. The error is an errno.
    pub(super) fn make(request: &BindRequest) -> Result<(Self, Address), i32> {
        let made = match &request.address {
            BindAddress::Any { port } => {
                let ip = |ip: IpAddr| inet(request, SocketAddr::new(ip, *port));
                // Without IPv6 the kernel knows neither the family nor the address.
                match ip(Ipv6Addr::UNSPECIFIED.into()) {
                    Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => ip(Ipv4Addr::UNSPECIFIED.into()),
                    made => made,
                }
            }
            BindAddress::Inet(address) => inet(request, *address),
            BindAddress::Unix(path) => UnixAddr::new(path.as_path()).and_then(|name| unix(request, &name)),
            BindAddress::Abstract(name) => UnixAddr::new_abstract(name).and_then(|name| unix(request, &name)),
        };
        let fd = made.map_err(|errno| errno as i32)?;
        let made = match &request.address {
            BindAddress::Unix(path) => Some(MadePath::of(path, request).map_err(|error| errno(&error))?),
            BindAddress::Any { .. } | BindAddress::Inet(_) | BindAddress::Abstract(_) => None,
        };
        let datagram = request.kind == SocketKind::Datagram;
        let backlog = request.backlog.unwrap_or(NODE_BACKLOG);
        let socket = Self { fd: Arc::new(fd), datagram, backlog, made };
        if !datagram {
            socket.listen().map_err(|error| error.errno())?;
        }
        let address = sockets::local_address(&socket.fd).map_err(|error| error.errno())?;
        Ok((socket, address.ok_or(Errno::EINVAL as i32)?))
    }

    /// Sets the wanted backlog (the kernel's own limit applies).
    pub(super) fn listen(&self) -> Result<(), SysError> {
        sockets::listen(&self.fd, self.backlog)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(made) = &self.made {
            made.remove();
        }
    }
}

impl MadePath {
    fn of(path: &Path, request: &BindRequest) -> io::Result<Self> {
        let all = if request.readable_all { 0o444 } else { 0 } | if request.writable_all { 0o222 } else { 0 };
        let metadata = std::fs::symlink_metadata(path)?;
        if all != 0 {
            let mode = metadata.permissions().mode() | all;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    fn remove(&self) {
        let same = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode));
        if same {
            // Left behind at worst: the next bind says EADDRINUSE, with the path.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The path that a worker names, when it is an inherited socket's by another name (`/var/run` for `/run`).
pub(super) fn same_path<'a>(asked: &str, inherited: impl Iterator<Item = &'a Path>) -> Option<String> {
    let asked = Path::new(asked);
    let mut named = inherited.filter(|path| path.file_name() == asked.file_name()).peekable();
    named.peek()?;
    let directory = std::fs::canonicalize(asked.parent()?).ok()?;
    let found = named.find(|path| path.parent() == Some(directory.as_path()))?;
    found.to_str().map(str::to_owned)
}

fn resolved(address: Address) -> Address {
    match address {
        Address::Unix(path) => {
            let directory = path.parent().and_then(|directory| std::fs::canonicalize(directory).ok());
            match (directory, path.file_name()) {
                (Some(directory), Some(name)) => Address::Unix(directory.join(name)),
                _ => Address::Unix(path),
            }
        }
        Address::Inet(_) | Address::Abstract(_) => address,
    }
}

fn inet(request: &BindRequest, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = open(request, family)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &request.ipv6_only)?;
    }
    if request.kind == SocketKind::Stream || request.reuse_address {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

fn unix(request: &BindRequest, name: &UnixAddr) -> Result<OwnedFd, Errno> {
    let fd = open(request, AddressFamily::Unix)?;
    bind(fd.as_raw_fd(), name)?;
    Ok(fd)
}

fn open(request: &BindRequest, family: AddressFamily) -> Result<OwnedFd, Errno> {
    let kind = if request.kind == SocketKind::Datagram { SockType::Datagram } else { SockType::Stream };
    socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EINVAL as i32)
}
