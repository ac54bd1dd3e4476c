//! Descriptors given to the service manager to keep while ganger is not there (`FileDescriptorStoreMax=`).
//! They come back as inherited descriptors with their names. What is kept, and when, is not decided here.

use std::os::fd::OwnedFd;

use super::notify::{Kind, Message};
use crate::proto::listen_fds::{FdName, FdNameError};
use crate::proto::notify::Assignment;

/// How the names of ganger's own stored descriptors begin, so that they are told from sockets.
const RESERVED: &str = "ganger/";

/// The name under which something of ganger's is stored: `ganger/state`.
///
/// # Errors
/// [`FdNameError`] when `what` cannot be part of a name.
pub fn name(what: &str) -> Result<FdName, FdNameError> {
    FdName::new(&format!("{RESERVED}{what}"))
}

/// Whether a descriptor of this name was stored by ganger and is no listener.
#[must_use]
pub fn is_reserved(name: &FdName) -> bool {
    name.as_str().starts_with(RESERVED)
}

/// The message that stores `fd` under `name`.
///
/// `FDPOLL=0` goes with it: without it systemd drops what reports an error or a hang-up, and whether a dead
/// worker's pidfd does so depends on the kernel. So each stored descriptor must be removed by [`forget`].
/// systemd does not say when its store is full.
#[must_use]
pub fn keep(name: &FdName, fd: OwnedFd) -> Message {
    Message::new(Kind::State, &[Assignment::FdStore(name), Assignment::FdPollOff]).with_fd(fd)
}

/// The message that removes every descriptor stored under `name`.
#[must_use]
pub fn forget(name: &FdName) -> Message {
    Message::new(Kind::State, &[Assignment::FdStoreRemove(name)])
}
