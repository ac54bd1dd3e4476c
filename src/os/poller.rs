//! Many descriptors behind one: what is added with a token is reported by its token.
//!
//! The event loop waits for the one descriptor of a [`Poller`]; so a worker costs a kernel entry, not a task.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// So many reports are taken in one call.
pub const MAX_REPORTS: usize = 256;

/// A set of descriptors that are waited for (epoll(7)).
#[derive(Debug)]
pub struct Poller(Epoll);

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It can be read, or its other end is gone.
    Read,
    /// It can be read or written.
    ReadWrite,
    /// An exceptional condition (`EPOLLPRI`): how cgroup.events tells a change.
    Priority,
    /// Nothing but its end: an error, a hang-up, a listening socket that was shut down.
    End,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::ReadWrite => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            Self::Priority => EpollFlags::EPOLLPRI,
            Self::End => EpollFlags::empty(),
        }
    }
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM` (epoll_create1(2)).
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds `fd`; it must be removed before it is closed.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`, or `EPERM` for a descriptor that cannot be waited for (epoll_ctl(2)).
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> std::io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(interest.flags(), token))?)
    }

    /// Waits for something else of `fd` from now on.
    ///
    /// # Errors
    /// `ENOENT` when it is not in the set (epoll_ctl(2)).
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> std::io::Result<()> {
        Ok(self.0.modify(fd, &mut EpollEvent::new(interest.flags(), token))?)
    }

    /// Removes `fd`.
    pub fn remove(&self, fd: impl AsFd) {
        // Not being in the set is what was asked for.
        let _ = self.0.delete(fd);
    }

    /// The tokens of the descriptors that have something to say now; never waits.
    ///
    /// # Errors
    /// None that a caller can mend.
    pub fn take(&self) -> std::io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); MAX_REPORTS];
        let count = match self.0.wait(&mut events, EpollTimeout::ZERO) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        Ok(events.iter().take(count).map(EpollEvent::data).collect())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
