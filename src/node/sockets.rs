//! The listening sockets of an app as descriptors: the inherited ones, and those that ganger makes.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, getsockname, getsockopt,
    listen, setsockopt, socket, sockopt,
};

use super::bind::{BindAddress, BindRequest};
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

/// Accepts, whatever the address family.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    /// Takes an inherited socket, and says what it is. Sets `O_NONBLOCK`: Node does not, and would hang.
    pub(super) fn inherited(fd: OwnedFd, backlog: Option<u32>) -> io::Result<(Self, SocketKind, Address)> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        if !flags.contains(OFlag::O_NONBLOCK) {
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        let kind = match getsockopt(&fd, sockopt::SockType)? {
            SockType::Stream => SocketKind::Stream,
            SockType::Datagram => SocketKind::Datagram,
            SockType::SeqPacket => SocketKind::SeqPacket,
            SockType::Raw | SockType::Rdm => return Err(Errno::ESOCKTNOSUPPORT.into()),
            _ => return Err(Errno::ESOCKTNOSUPPORT.into()),
        };
        let address = resolved(address(&fd)?);
        let backlog = backlog.unwrap_or(u32::MAX);
        let datagram = kind == SocketKind::Datagram;
        Ok((Self { fd: Arc::new(fd), datagram, backlog, made: None }, kind, address))
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
            socket.listen().map_err(|error| errno(&error))?;
        }
        let address = address(&socket.fd).map_err(|error| errno(&error))?;
        Ok((socket, address))
    }

    /// Sets the wanted backlog (the kernel's own limit applies).
    pub(super) fn listen(&self) -> io::Result<()> {
        let most = i32::from(Backlog::MAXCONN);
        let wanted = i32::try_from(self.backlog).unwrap_or(most).min(most);
        Ok(listen(&self.fd, Backlog::new(wanted)?)?)
    }

    /// For round-robin.
    pub(super) fn acceptor(&self) -> io::Result<Acceptor> {
        let fd = self.fd.try_clone()?;
        match address(&fd)? {
            Address::Inet(_) => Ok(Acceptor::Tcp(TcpListener::from(fd))),
            Address::Unix(_) | Address::Abstract(_) => Ok(Acceptor::Unix(UnixListener::from(fd))),
        }
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

impl Acceptor {
    /// One connection, non-blocking and close-on-exec.
    pub(super) fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
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

fn address(fd: &OwnedFd) -> io::Result<Address> {
    let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    if let Some(v4) = name.as_sockaddr_in() {
        return Ok(Address::Inet(std::net::SocketAddrV4::from(*v4).into()));
    }
    if let Some(v6) = name.as_sockaddr_in6() {
        return Ok(Address::Inet(std::net::SocketAddrV6::from(*v6).into()));
    }
    // `SockaddrStorage` pads unix names; the standard library knows their length.
    let name = UnixListener::from(fd.try_clone()?).local_addr()?;
    match (name.as_pathname(), name.as_abstract_name()) {
        (Some(path), _) => Ok(Address::Unix(path.to_owned())),
        (None, Some(name)) => Ok(Address::Abstract(name.to_vec())),
        (None, None) => Ok(Address::Unix(PathBuf::from(OsStr::from_bytes(b"")))),
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
