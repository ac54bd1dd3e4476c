//! Sockets to listen on: made, looked at, checked. Which ones a worker gets is decided elsewhere.
//!
//! O_NONBLOCK lies on the open file description that all workers share: it is set once and never toggled.

mod bind;
mod describe;
mod path;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{self, Backlog, SockFlag, sockopt};
use nix::sys::stat::fstat;

pub use bind::{Bound, bind, listen_again};
pub use describe::{Role, Socket, describe, local_address};
pub use path::SocketPath;

use super::error::{Attempted, Result, SysError};
use super::messages::Credentials;

/// Sets or clears O_NONBLOCK on the open file description.
///
/// # Errors
/// None for an open descriptor.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> Result<()> {
    let fd = fd.as_fd();
    let attempt = || "set the blocking mode of a descriptor";
    let before = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).attempted(attempt)?);
    let mut after = before;
    after.set(OFlag::O_NONBLOCK, on);
    if after != before {
        fcntl(fd, FcntlArg::F_SETFL(after)).attempted(attempt)?;
    }
    Ok(())
}

/// Whether O_NONBLOCK is set.
///
/// # Errors
/// None for an open descriptor.
pub fn is_nonblocking(fd: impl AsFd) -> Result<bool> {
    let flags = fcntl(fd.as_fd(), FcntlArg::F_GETFL).attempted(|| "read the mode of a descriptor")?;
    Ok(OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
}

/// Sets close-on-exec: what was inherited must not leak on.
///
/// # Errors
/// None for an open descriptor.
pub fn set_cloexec(fd: impl AsFd) -> Result<()> {
    let flag = FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC);
    fcntl(fd.as_fd(), flag).attempted(|| "set close-on-exec").map(|_| ())
}

/// Takes an inherited descriptor by number, close-on-exec from now on.
///
/// What was inherited is told from what was opened here by its flag: nothing of ours lacks close-on-exec. So a
/// number that is ours, or was taken already, is refused.
///
/// # Errors
/// `EBADF` when no such descriptor is open or it was not inherited.
pub fn take_inherited(number: i32) -> Result<OwnedFd> {
    let attempt = || format!("take over descriptor {number}");
    let refused = || SysError::new(attempt(), Errno::EBADF);
    if number < 0 {
        return Err(refused());
    }
    // SAFETY: borrowed for two calls that only look at the number's flags; -1 is excluded.
    let looked_at = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl(looked_at, FcntlArg::F_GETFD).attempted(attempt)?;
    if FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC) {
        return Err(refused());
    }
    fcntl(looked_at, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).attempted(attempt)?;
    // SAFETY: it is open, and without close-on-exec until just now, so no owner in this process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether the socket accepts connections (`SO_ACCEPTCONN`). A worker's shutdown(2) on the shared socket ends it.
///
/// # Errors
/// `ENOTSOCK`.
pub fn is_accepting(fd: impl AsFd) -> Result<bool> {
    socket::getsockopt(&fd, sockopt::AcceptConn).attempted(|| "ask whether a socket accepts")
}

/// listen(2), again: restores the backlog, and a socket that was shut down. A port that the kernel chose (port
/// 0) is another one after a shutdown: compare [`local_address`] with what it was.
///
/// # Errors
/// When the socket cannot listen any more.
pub fn listen(fd: impl AsFd, backlog: u32) -> Result<()> {
    // More than the type takes means "as many as may be": net.core.somaxconn caps it anyway.
    let wanted = i32::try_from(backlog).ok().and_then(|wanted| Backlog::new(wanted).ok());
    socket::listen(&fd, wanted.unwrap_or(Backlog::MAXCONN)).attempted(|| "listen on a socket")
}

/// Who connected to a unix socket (`SO_PEERCRED`), as of the connect.
///
/// # Errors
/// When it is no connected unix socket.
pub fn peer_credentials(fd: impl AsFd) -> Result<Credentials> {
    let peer = socket::getsockopt(&fd, sockopt::PeerCredentials).attempted(|| "ask who is connected")?;
    Ok(Credentials { pid: u32::try_from(peer.pid()).unwrap_or(0), uid: peer.uid(), gid: peer.gid() })
}

/// The inode of a socket: what `/proc/PID/fd` and sock_diag know it by.
///
/// # Errors
/// None for an open descriptor.
pub fn inode(fd: impl AsFd) -> Result<u64> {
    fstat(fd.as_fd()).attempted(|| "look at a descriptor").map(|about| about.st_ino)
}

/// The next connection, if there is one now: non-blocking, close-on-exec. A connection that went away before
/// it was taken is passed over.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`: it stays in the queue.
pub fn accept(fd: impl AsFd) -> Result<Option<OwnedFd>> {
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        match socket::accept4(fd.as_fd().as_raw_fd(), flags) {
            // SAFETY: the kernel has just given us this descriptor.
            Ok(raw) => return Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) })),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR | Errno::ECONNABORTED | Errno::EPROTO) => {}
            Err(errno) => return Err(SysError::new("accept a connection", errno)),
        }
    }
}
