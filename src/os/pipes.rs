//! Pipes, eventfds and duplicates of descriptors, close-on-exec from the start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::error::{Attempted, Result};
use super::sockets::set_nonblocking;

/// A pipe whose reading end (the first) is ours and non-blocking; the writing end is for a worker and blocks.
///
/// # Errors
/// `EMFILE`, `ENFILE` (pipe2(2)).
pub fn to_us() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = between_threads()?;
    set_nonblocking(&ours, true)?;
    Ok((ours, theirs))
}

/// A pipe with two blocking ends: reading, writing.
///
/// # Errors
/// `EMFILE`, `ENFILE` (pipe2(2)).
pub fn between_threads() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).attempted(|| "make a pipe")
}

/// A semaphore of one for all that hold it: a read of 8 bytes takes it, or gets `EAGAIN`; writing back what was read
/// returns it.
///
/// # Errors
/// `EMFILE`, `ENFILE` (eventfd(2)).
pub fn token() -> Result<OwnedFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_SEMAPHORE;
    let token = EventFd::from_value_and_flags(1, flags).attempted(|| "make an eventfd")?;
    Ok(token.into())
}

/// A second descriptor for the same open file.
///
/// # Errors
/// `EMFILE` (fcntl(2), `F_DUPFD_CLOEXEC`).
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    let fd: BorrowedFd<'_> = fd.as_fd();
    fd.try_clone_to_owned().attempted(|| "duplicate a descriptor")
}
