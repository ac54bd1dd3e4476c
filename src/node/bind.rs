//! What a worker's `listen()` asks for, made precise: the address it means, and whether it means anything.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use super::errno;
use crate::plan::SocketKind;
use crate::proto::node::{AddressType, Listen};

/// libuv's `UV_TCP_IPV6ONLY` and `UV_UDP_IPV6ONLY`.
const FLAG_IPV6_ONLY: u32 = 1;
/// libuv's `UV_UDP_REUSEADDR`.
const FLAG_REUSE_ADDRESS: u32 = 4;
/// `sun_path` with its ending NUL (unix(7)).
const MAX_UNIX_BYTES: usize = 107;

/// A socket to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindRequest {
    /// Stream or datagram.
    pub kind: SocketKind,
    /// Where.
    pub address: BindAddress,
    /// `IPV6_V6ONLY`.
    pub ipv6_only: bool,
    /// UDP: `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// A unix socket is made readable for all.
    pub readable_all: bool,
    /// A unix socket is made writable for all.
    pub writable_all: bool,
    /// listen(2) backlog; `None`: Node's default (511).
    pub backlog: Option<u32>,
}

/// Where to bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// All addresses: IPv6 and IPv4 on one socket where the machine has IPv6, IPv4 otherwise.
    Any {
        /// TCP port.
        port: u16,
    },
    /// One address (which may be a wildcard of one family).
    Inet(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
    /// An abstract name, without its leading NUL.
    Abstract(Vec<u8>),
}

impl BindRequest {
    /// What `listen` asks for.
    ///
    /// # Errors
    /// `EINVAL` when it asks for nothing that exists.
    pub(super) fn of(listen: &Listen) -> Result<Self, i32> {
        let datagram = listen.address_type.is_datagram();
        Ok(Self {
            kind: if datagram { SocketKind::Datagram } else { SocketKind::Stream },
            address: BindAddress::of(listen)?,
            ipv6_only: listen.flags & FLAG_IPV6_ONLY != 0,
            reuse_address: datagram && listen.flags & FLAG_REUSE_ADDRESS != 0,
            readable_all: listen.readable_all,
            writable_all: listen.writable_all,
            backlog: listen.backlog,
        })
    }
}

impl BindAddress {
    fn of(listen: &Listen) -> Result<Self, i32> {
        let ip = |default: IpAddr| match listen.address.as_deref() {
            None => Ok(default),
            Some(text) => text.parse::<IpAddr>().map_err(|_| errno::EINVAL),
        };
        let any4 = IpAddr::from([0, 0, 0, 0]);
        let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match listen.address_type {
            AddressType::Tcp4 if listen.address.is_none() => Ok(Self::Any { port: port(listen)? }),
            AddressType::Tcp4 | AddressType::Udp4 => {
                Ok(Self::Inet(SocketAddr::new(ip(any4)?, port(listen)?)))
            }
            AddressType::Tcp6 | AddressType::Udp6 => {
                Ok(Self::Inet(SocketAddr::new(ip(any6)?, port(listen)?)))
            }
            AddressType::Unix => Self::unix(listen.address.as_deref().unwrap_or_default()),
            AddressType::Unspecified => Err(errno::EINVAL),
        }
    }

    /// Node makes abstract names absolute like paths, so that the directory stands before the NUL.
    fn unix(name: &str) -> Result<Self, i32> {
        if let Some((_, name)) = name.split_once('\0') {
            let fits = !name.is_empty() && name.len() <= MAX_UNIX_BYTES;
            return if fits { Ok(Self::Abstract(name.as_bytes().to_vec())) } else { Err(errno::EINVAL) };
        }
        let path = Path::new(name);
        if !path.is_absolute() || name.len() > MAX_UNIX_BYTES {
            return Err(errno::EINVAL);
        }
        Ok(Self::Unix(plain(path)))
    }

    /// It is meant for this machine alone.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Inet(address) => address.ip().to_canonical().is_loopback(),
            Self::Any { .. } | Self::Unix(_) | Self::Abstract(_) => false,
        }
    }

    /// The port that was asked for, 0 included.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Any { port } => Some(*port),
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) | Self::Abstract(_) => None,
        }
    }
}

fn port(listen: &Listen) -> Result<u16, i32> {
    u16::try_from(listen.port.unwrap_or(-1)).map_err(|_| errno::EINVAL)
}

/// A path without `.`, `..` and doubled slashes, by its text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// An abstract name as text for people.
pub(super) fn abstract_text(name: &[u8]) -> String {
    format!("@{}", OsString::from_vec(name.to_vec()).to_string_lossy())
}
