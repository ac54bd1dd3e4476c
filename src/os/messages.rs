//! Bytes and datagrams that carry credentials and descriptors: the workers' notify socket, the channel to a Node
//! worker. What a message means is decided elsewhere.
//!
//! Nothing here waits. A descriptor that comes along is owned (and so closed) by whoever takes the
//! [`Received`], close-on-exec from the start; what does not fit is closed by the kernel and reported.

use std::fs::{self, Permissions};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};

use super::error::{Attempted, Result, SysError};

/// The most descriptors that one message may bring; further ones are closed.
pub const MAX_FDS: usize = 16;

/// Words of control buffer: credentials, a pidfd and [`MAX_FDS`] descriptors, each with its header.
const CONTROL_WORDS: usize = 32;

/// `SO_PASSPIDFD` (asm-generic/socket.h, Linux 6.5).
const SO_PASSPIDFD: c_int = 76;
/// `SCM_PIDFD` (linux/socket.h, Linux 6.5).
const SCM_PIDFD: c_int = 0x04;

/// Who sent a message, as the kernel vouches for it (unix(7), `SCM_CREDENTIALS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Process id in our pid namespace; 0 when it is outside.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One message.
#[derive(Debug, Default)]
pub struct Received {
    /// So many bytes of the buffer are its text; 0 on a stream is its end.
    pub len: usize,
    /// The datagram was longer than the buffer; the rest is gone.
    pub truncated: bool,
    /// Descriptors (or credentials) did not fit and were closed.
    pub control_truncated: bool,
    /// The sender, where `SO_PASSCRED` is set.
    pub sender: Option<Credentials>,
    /// The sender's process, where the kernel can tell (6.5).
    pub sender_pidfd: Option<OwnedFd>,
    /// Descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// Binds a datagram socket at `path` (replacing what a former run left there) on which the kernel vouches for
/// every sender. `mode` is the path's permission bits: who may send.
///
/// # Errors
/// Names the path.
pub fn bind_notify(path: &Path, mode: u32) -> Result<OwnedFd> {
    let attempt = || format!("bind the notify socket {}", path.display());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None).attempted(attempt)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).attempted(attempt),
        Ok(()) | Err(_) => {}
    }
    let address = UnixAddr::new(path).attempted(attempt)?;
    socket::setsockopt(&socket, sockopt::PassCred, &true).attempted(attempt)?;
    pass_pidfd(socket.as_fd());
    socket::bind(socket.as_raw_fd(), &address).attempted(attempt)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).attempted(attempt)?;
    Ok(socket)
}

/// Asks for `SCM_PIDFD`; kernels before 6.5 have none, and credentials alone do.
fn pass_pidfd(socket: BorrowedFd<'_>) {
    let on: c_int = 1;
    let size = libc::socklen_t::try_from(mem::size_of::<c_int>()).unwrap_or(4);
    // SAFETY: the option value is live and of the given size.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, (&raw const on).cast(), size)
    };
}

/// How many bytes the text of the next datagram has, if there is one now: the room that [`receive`] needs for it.
///
/// # Errors
/// As [`receive`].
pub fn next_len(socket: BorrowedFd<'_>) -> Result<Option<usize>> {
    let flags = socket::MsgFlags::MSG_PEEK | socket::MsgFlags::MSG_TRUNC | socket::MsgFlags::MSG_DONTWAIT;
    loop {
        match socket::recv(socket.as_raw_fd(), &mut [], flags) {
            Ok(len) => return Ok(Some(len)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(SysError::new("receive a message", errno)),
        }
    }
}

/// The next message, if there is one now. Its text is in `buffer`.
///
/// # Errors
/// `ECONNRESET` and the like: the channel is of no use any more.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<Received>> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain numbers and pointers that may be null.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    #[expect(clippy::useless_conversion, reason = "the field's type differs between C libraries")]
    {
        header.msg_controllen = mem::size_of_val(&control).try_into().unwrap_or(0);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let len = loop {
        // SAFETY: the header leads to live buffers of the lengths it says.
        match Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) }) {
            Ok(len) => break usize::try_from(len).unwrap_or(0),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(SysError::new("receive a message", errno)),
        }
    };
    let mut received = Received {
        len,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        control_truncated: header.msg_flags & libc::MSG_CTRUNC != 0,
        ..Received::default()
    };
    // SAFETY: recvmsg has just filled the control buffer, which is live and aligned for a cmsghdr.
    unsafe { take_control(&header, &mut received) };
    Ok(Some(received))
}

/// # Safety
/// `header` must be as a successful recvmsg left it, its control buffer still live.
unsafe fn take_control(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the CMSG macros stay inside the control buffer that the kernel filled; every descriptor in it
    // is new and ours alone; data is read unaligned.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            let data = libc::CMSG_DATA(next);
            #[expect(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
            let length = (message.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for place in 0..length / mem::size_of::<RawFd>() {
                        let fd = data.cast::<RawFd>().add(place).read_unaligned();
                        let fd = OwnedFd::from_raw_fd(fd);
                        if received.fds.len() < MAX_FDS {
                            received.fds.push(fd);
                        } else {
                            received.control_truncated = true;
                        }
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= mem::size_of::<libc::ucred>() => {
                    let sender = data.cast::<libc::ucred>().read_unaligned();
                    received.sender = Some(Credentials {
                        pid: u32::try_from(sender.pid).unwrap_or(0),
                        uid: sender.uid,
                        gid: sender.gid,
                    });
                }
                (libc::SOL_SOCKET, SCM_PIDFD) if length >= mem::size_of::<RawFd>() => {
                    let fd = data.cast::<RawFd>().read_unaligned();
                    // The kernel gives a negative number when it had no descriptor left.
                    if fd >= 0 {
                        received.sender_pidfd = Some(OwnedFd::from_raw_fd(fd));
                    }
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
}

/// Sends `bytes`, and `fd` with the first of them. Returns how many bytes went (the descriptor went with them,
/// also when it were not all), `None` when there is no room now.
///
/// # Errors
/// `EPIPE`, `ECONNRESET`: nobody is there any more.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<Option<usize>> {
    let vector = [io::IoSlice::new(bytes)];
    let fds: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [socket::ControlMessage::ScmRights(&fds)];
    let control: &[_] = if fd.is_some() { &rights } else { &[] };
    let flags = socket::MsgFlags::MSG_DONTWAIT | socket::MsgFlags::MSG_NOSIGNAL;
    loop {
        match socket::sendmsg::<()>(socket.as_raw_fd(), &vector, control, flags, None) {
            Ok(len) => return Ok(Some(len)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(SysError::new("send a message", errno)),
        }
    }
}

/// A pair of connected stream sockets, close-on-exec; the first is ours and non-blocking, the second is for a
/// worker and blocks, as programs expect.
///
/// # Errors
/// When there is no descriptor left.
pub fn channel() -> Result<(OwnedFd, OwnedFd)> {
    let pair = socket::socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
    let (ours, theirs) = pair.attempted(|| "make a channel")?;
    super::sockets::set_nonblocking(&ours, true)?;
    Ok((ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{files, sockets};
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    fn notify_socket() -> (tempfile::TempDir, std::path::PathBuf, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = bind_notify(&path, 0o600).unwrap();
        (directory, path, socket)
    }

    #[test]
    fn the_kernel_vouches_for_the_sender_and_a_former_path_is_replaced() {
        let (_directory, path, former) = notify_socket();
        let socket = bind_notify(&path, 0o622).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o622);
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
                      s.sendto(b'READY=1', sys.argv[1])";
        let mut sender = Command::new("python3").args(["-c", script]).arg(&path).spawn().unwrap();
        assert!(sender.wait().unwrap().success());
        let mut buffer = [0u8; 100];
        let message = receive(socket.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..message.len], b"READY=1");
        let from = message.sender.unwrap();
        assert_eq!((from.pid, from.uid), (sender.id(), nix::unistd::getuid().as_raw()));
        assert!(message.fds.is_empty() && !message.truncated && !message.control_truncated);
        assert!(receive(socket.as_fd(), &mut buffer).unwrap().is_none());
        assert!(receive(former.as_fd(), &mut buffer).unwrap().is_none());
    }

    #[test]
    fn a_datagram_that_is_too_long_is_cut_and_said_so() {
        let (_directory, path, socket) = notify_socket();
        UnixDatagram::unbound().unwrap().send_to(&[b'x'; 5000], &path).unwrap();
        let mut buffer = [0u8; 100];
        let message = receive(socket.as_fd(), &mut buffer).unwrap().unwrap();
        assert!(message.truncated);
        assert_eq!(message.len, 100);
    }

    #[test]
    fn descriptors_come_along_close_on_exec_and_a_flood_of_them_is_cut() {
        let (ours, theirs) = channel().unwrap();
        let null = files::open_null().unwrap();
        assert_eq!(send(theirs.as_fd(), b"handle\n", Some(null.as_fd())).unwrap(), Some(7));
        let mut buffer = [0u8; 100];
        let message = receive(ours.as_fd(), &mut buffer).unwrap().unwrap();
        let [fd] = message.fds.as_slice() else { panic!("{message:?}") };
        assert_eq!(sockets::inode(fd).unwrap(), sockets::inode(&null).unwrap());
        assert_eq!(nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap(), libc::FD_CLOEXEC);

        let flood = [null.as_raw_fd(); 200];
        let rights = [socket::ControlMessage::ScmRights(&flood)];
        let text = [io::IoSlice::new(b"x")];
        socket::sendmsg::<()>(theirs.as_raw_fd(), &text, &rights, socket::MsgFlags::empty(), None).unwrap();
        let message = receive(ours.as_fd(), &mut buffer).unwrap().unwrap();
        assert!(message.control_truncated);
        assert_eq!(message.fds.len(), MAX_FDS);
    }

    #[test]
    fn a_full_or_broken_channel_never_waits_and_never_signals() {
        let (ours, theirs) = channel().unwrap();
        let block = [0u8; 65_536];
        while send(ours.as_fd(), &block, None).unwrap().is_some() {}
        let mut buffer = [0u8; 10];
        assert!(receive(ours.as_fd(), &mut buffer).unwrap().is_none());
        drop(theirs);
        assert_eq!(send(ours.as_fd(), b"x", None).unwrap_err().errno(), libc::EPIPE);
    }
}
