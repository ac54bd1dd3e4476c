//! Adopting the sockets that the service manager passed (sd_listen_fds(3)): which there are, by name, and
//! whether a pool of workers can share each. What a worker gets of them is decided elsewhere.
//!
//! libsystemd's `receive_descriptors_with_names` is not used for the list itself: it returns *no* socket when
//! `LISTEN_FDNAMES` is missing or `LISTEN_PID` is another process's, and cuts the list when there are fewer
//! names than sockets: each of them silently, and each would look like a service without a socket. Its
//! knowledge of what a descriptor is if not a socket is used.
//!
//! The variables stay in ganger's own environment, because taking them out is not safe once there are
//! threads; a worker's environment is computed without them.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use libsystemd::activation::IsType as _;

use super::fdstore;
use crate::os::SysError;
use crate::os::sockets::{self, Role};
use crate::plan::{Address, SocketKind};
use crate::proto::listen_fds::{
    FdName, Inherited, LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID, ListenFdsError, Variables, read,
};

/// A listening socket, with its name. Several may share a name: a group, as `ReusePort=yes` makes them.
#[derive(Debug)]
pub struct Listener {
    /// `FileDescriptorName=`, or `unknown`.
    pub name: FdName,
    /// The socket: close-on-exec, non-blocking.
    pub fd: OwnedFd,
    /// Its type.
    pub kind: SocketKind,
    /// Where it is bound; `None` in a family that has no words here (vsock).
    pub address: Option<Address>,
    /// What `/proc` and sock_diag know it by.
    pub inode: u64,
}

/// A descriptor that ganger itself gave to the service manager to keep ([`fdstore`]).
#[derive(Debug)]
pub struct Kept {
    /// Under which name.
    pub name: FdName,
    /// The descriptor: close-on-exec.
    pub fd: OwnedFd,
}

/// Everything that was passed.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Sockets, by name; those of one name in the order of their lines in the unit.
    pub listeners: Vec<Listener>,
    /// What an earlier ganger left, in the order in which it came (systemd: the newest first).
    pub kept: Vec<Kept>,
}

/// Why the passed sockets cannot be adopted.
#[derive(Debug)]
pub enum ActivationError {
    /// The variables make no sense, or are not meant for ganger.
    Variables(ListenFdsError),
    /// One of the sockets is not fit.
    Listener {
        /// Its number.
        fd: i32,
        /// Its name.
        name: FdName,
        /// Why not.
        problem: Unfit,
    },
}

/// Why a descriptor cannot be a pool's listener.
#[derive(Debug)]
pub enum Unfit {
    /// It is not open, or was opened by ganger itself.
    NotPassed(SysError),
    /// It is something else than a socket.
    NoSocket {
        /// What.
        what: &'static str,
    },
    /// It is one connection.
    Connection,
    /// It is a stream socket that does not listen.
    NotListening,
    /// It cannot be asked, or is of a type that no worker can use.
    Unusable(SysError),
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variables(error) => error.fmt(f),
            Self::Listener { fd, name, problem } => {
                write!(f, "socket \"{name}\" (descriptor {fd}) {problem}")
            }
        }
    }
}

impl std::error::Error for ActivationError {}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPassed(error) => {
                write!(
                    f,
                    "was announced by LISTEN_FDS but not passed: {error}; a program in between closed it"
                )
            }
            Self::NoSocket { what } => write!(
                f,
                "is {what}, not a socket: use ListenStream=, ListenDatagram= or ListenSequentialPacket="
            ),
            Self::Connection => f.write_str(
                "is a single connection, which a pool cannot share: set Accept=no in the socket unit",
            ),
            Self::NotListening => {
                f.write_str("does not listen: whoever passed it has to call listen(2) first")
            }
            Self::Unusable(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

impl ActivationError {
    /// The sockets were meant for another process: a service manager's mistake, or what a shell left in the
    /// environment. Whoever was told its own sockets may go on without these.
    #[must_use]
    pub fn is_for_another_process(&self) -> bool {
        matches!(self, Self::Variables(ListenFdsError::OtherProcess { .. }))
    }
}

/// Adopts what ganger's environment says was passed. Nothing passed: nothing adopted. A second call fails,
/// because everything is owned by then.
///
/// # Errors
/// [`ActivationError`]; the sockets that were taken by then are closed, so whoever goes on does so without.
pub fn adopt() -> Result<Adopted, ActivationError> {
    let [pid, fds, names] = [LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES].map(std::env::var_os);
    let variables = Variables { pid: bytes(&pid), fds: bytes(&fds), names: bytes(&names) };
    let inherited = read(&variables, std::process::id()).map_err(ActivationError::Variables)?;
    let mut adopted = Adopted::default();
    for one in inherited {
        adopted.take(one)?;
    }
    // The order between socket units is not stable; the order that workers see must be.
    adopted.listeners.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(adopted)
}

fn bytes(value: &Option<OsString>) -> Option<&[u8]> {
    value.as_ref().map(|value| value.as_bytes())
}

impl Adopted {
    fn take(&mut self, Inherited { fd: number, name }: Inherited) -> Result<(), ActivationError> {
        let unfit = |name, problem| ActivationError::Listener { fd: number, name, problem };
        let fd = match sockets::take_inherited(number) {
            Ok(fd) => fd,
            Err(error) => return Err(unfit(name, Unfit::NotPassed(error))),
        };
        if fdstore::is_reserved(&name) {
            self.kept.push(Kept { name, fd });
            return Ok(());
        }
        match Listener::new(name.clone(), fd) {
            Ok(listener) => self.listeners.push(listener),
            Err(problem) => return Err(unfit(name, problem)),
        }
        Ok(())
    }
}

impl Listener {
    /// Makes a listener of a socket, if it is one. `O_NONBLOCK` is left as it came: it lies on what all workers
    /// share, and only the plan knows what they need.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(name: FdName, fd: OwnedFd) -> Result<Self, Unfit> {
        if let Some(what) = other_than_socket(fd.as_fd()) {
            return Err(Unfit::NoSocket { what });
        }
        let socket = sockets::describe(&fd).map_err(Unfit::Unusable)?;
        match socket.role {
            Role::Accepting | Role::Datagrams => {}
            Role::Connection => return Err(Unfit::Connection),
            Role::Idle => return Err(Unfit::NotListening),
        }
        sockets::set_cloexec(&fd).map_err(Unfit::Unusable)?;
        Ok(Self { name, fd, kind: socket.kind, address: socket.address, inode: socket.inode })
    }

    /// Where it listens, for a person: `127.0.0.1:3000`, `[::]:3000`, `/run/app.sock`, `@app`.
    #[must_use]
    pub fn address_text(&self) -> String {
        match &self.address {
            Some(Address::Inet(address)) => address.to_string(),
            Some(Address::Unix(path)) => path.display().to_string(),
            Some(Address::Abstract(name)) => format!("@{}", name.escape_ascii()),
            None => "an unnamed address".to_owned(),
        }
    }
}

/// What a descriptor is when it is no socket, in words.
fn other_than_socket(fd: BorrowedFd<'_>) -> Option<&'static str> {
    use nix::sys::stat::{SFlag, fstat};
    let number = fd.as_raw_fd();
    let mode = fstat(fd).ok().map(|about| SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT);
    match mode {
        Some(SFlag::S_IFSOCK) | None => None,
        // A message queue looks like a regular file to fstat(2).
        Some(_) if number.is_mq() => Some("a message queue (ListenMessageQueue=)"),
        Some(SFlag::S_IFIFO) => Some("a FIFO (ListenFIFO=)"),
        Some(SFlag::S_IFCHR | SFlag::S_IFBLK) => Some("a device (ListenSpecial=)"),
        Some(SFlag::S_IFREG) => Some("a file"),
        Some(SFlag::S_IFDIR) => Some("a directory"),
        Some(_) => Some("something else"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn listener(fd: impl Into<OwnedFd>) -> Result<Listener, Unfit> {
        Listener::new(FdName::new("web").unwrap(), fd.into())
    }

    fn refused(fd: impl Into<OwnedFd>) -> String {
        listener(fd).unwrap_err().to_string()
    }

    #[test]
    fn sockets_of_every_kind_become_listeners() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let tcp = listener(tcp).unwrap();
        assert_eq!((tcp.kind, tcp.address_text()), (SocketKind::Stream, address));
        assert!(!sockets::is_nonblocking(&tcp.fd).unwrap() && tcp.inode > 0);

        let udp = listener(UdpSocket::bind("[::1]:0").unwrap()).unwrap();
        assert!(udp.kind == SocketKind::Datagram && udp.address_text().starts_with("[::1]:"));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let unix = listener(UnixListener::bind(&path).unwrap()).unwrap();
        assert_eq!((unix.kind, unix.address), (SocketKind::Stream, Some(Address::Unix(path))));
    }

    #[test]
    fn a_connection_of_an_accepting_socket_unit_is_explained() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert!(refused(connection).contains("Accept=no"));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect("127.0.0.1:9").unwrap();
        assert!(refused(udp).contains("Accept=no"));
    }

    #[test]
    fn what_is_no_socket_is_named() {
        let (fifo, _writer) = std::io::pipe().unwrap();
        assert!(refused(fifo).contains("is a FIFO"));
        let open = |path: &str| std::fs::File::open(path).unwrap();
        assert!(refused(open("/dev/null")).contains("is a device"));
        assert!(refused(open("/")).contains("is a directory"));
        assert!(refused(open("/proc/self/exe")).contains("is a file"));
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        assert!(refused(stream).contains("does not listen"));
    }

    #[test]
    fn sockets_for_another_process_are_told_from_other_mistakes() {
        let other = ListenFdsError::OtherProcess { listen_pid: 1, own_pid: 2 };
        assert!(ActivationError::Variables(other).is_for_another_process());
        assert!(!ActivationError::Variables(ListenFdsError::NoPid).is_for_another_process());
    }
}
