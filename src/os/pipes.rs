//! Pipes and duplicates of descriptors, close-on-exec from the start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;

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

/// The reading end of a pipe with one byte in it and no writer: of all that hold it one reads the byte, the
/// others the end.
///
/// # Errors
/// `EMFILE`, `ENFILE` (pipe2(2)).
pub fn token() -> Result<OwnedFd> {
    let (reader, writer) = between_threads()?;
    nix::unistd::write(&writer, b"1").attempted(|| "write to a pipe")?;
    Ok(reader)
}

/// A second descriptor for the same open file.
///
/// # Errors
/// `EMFILE` (fcntl(2), `F_DUPFD_CLOEXEC`).
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    let fd: BorrowedFd<'_> = fd.as_fd();
    fd.try_clone_to_owned().attempted(|| "duplicate a descriptor")
}
