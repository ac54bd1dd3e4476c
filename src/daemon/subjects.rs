//! What each watched descriptor is about: tokens of the poller and what they stand for.

use std::collections::BTreeMap;

use crate::os::poller::{Interest, Poller};
use crate::pool::WorkerId;
use std::os::fd::AsFd;

/// What a descriptor is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The workers' notify socket.
    Notify,
    /// The outcome of a worker's start.
    Start(WorkerId),
    /// A worker's readiness descriptor.
    ReadyFd(WorkerId),
    /// A worker's control group changed.
    Group(WorkerId),
    /// The service manager's notify socket takes datagrams again.
    Upward,
    /// The channels of Node workers.
    Node,
    /// A listening socket was shut down.
    Listener(usize),
}

/// A key that names one watched descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(u64);

/// The watched descriptors by token.
#[derive(Debug)]
pub(super) struct Subjects {
    poller: Poller,
    known: BTreeMap<Token, Subject>,
    next: u64,
    /// The last look found nothing.
    quiet: bool,
}

impl Subjects {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { poller: Poller::new()?, known: BTreeMap::new(), next: 0, quiet: true })
    }

    /// The one descriptor to wait for.
    pub(super) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Watches `fd`. A descriptor that cannot be watched is an error of the caller's deed.
    pub(super) fn watch(
        &mut self,
        fd: impl AsFd,
        subject: Subject,
        interest: Interest,
    ) -> std::io::Result<Token> {
        let token = Token(self.next);
        self.poller.add(fd, token.0, interest)?;
        self.next = self.next.wrapping_add(1);
        self.known.insert(token, subject);
        Ok(token)
    }

    /// Stops watching `fd`; called before it is closed.
    pub(super) fn forget(&mut self, fd: impl AsFd, token: Token) {
        self.poller.remove(fd);
        self.known.remove(&token);
    }

    /// The last look found nothing.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What has something to say now.
    pub(super) fn reports(&mut self) -> Vec<Subject> {
        let tokens = self.poller.take().unwrap_or_default();
        self.quiet = tokens.is_empty();
        tokens.into_iter().filter_map(|token| self.known.get(&Token(token)).copied()).collect()
    }
}
