//! A descriptor that the runtime waits for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Hands `fd` to the runtime's reactor, which then owns it.
///
/// # Errors
/// When the reactor cannot watch it (epoll_ctl(2)).
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open for as long as it lives, and the `AsyncFd` owns it until it is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
