//! One channel's descriptor: bytes in and out, with descriptors beside them. Decides nothing about their
//! meaning.
//!
//! A descriptor goes with the first byte of its line, in a sendmsg(2) of its own: the kernel keeps what it
//! carried apart, so that Node finds exactly one with each such line (unix(7), `SCM_RIGHTS`).

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;

use super::{MAX_QUEUED_BYTES, MAX_QUEUED_LINES};
use crate::os::SysError;
use crate::os::messages;
use crate::proto::node::{Frame, FrameError, LineSplitter, LineTooLong};

/// A channel is behind when this part of what may wait does.
const BEHIND: usize = 32;

/// ganger's end of a worker's channel.
#[derive(Debug)]
pub struct Connection {
    stream: OwnedFd,
    splitter: LineSplitter,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    /// So many descriptors came that no line has claimed. They are closed: no handle of an app is wanted.
    handles: usize,
    /// The other end takes nothing more; what it sent may still be unread.
    deaf: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    handle: Option<Arc<OwnedFd>>,
}

/// A line, and whether a descriptor came with it.
pub type Incoming = (Result<Frame, FrameError>, bool);

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Bytes; there may be more.
    Some,
    /// Nothing for now.
    Nothing,
    /// The end: nothing will come any more.
    End,
}

/// Why a channel cannot go on.
#[derive(Debug)]
pub enum ConnectionError {
    /// The worker sent a line without end.
    TooLong(LineTooLong),
    /// The worker does not read, and too much waits for it.
    Stuck,
    /// The kernel says no.
    Io(SysError),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(error) => write!(f, "it sent {error}"),
            Self::Stuck => f.write_str("it does not read its messages"),
            Self::Io(error) => write!(f, "failed to {error}"),
        }
    }
}

impl std::error::Error for ConnectionError {}

impl Connection {
    /// A new channel: ganger's end (non-blocking) and the worker's. Both are close-on-exec; the worker's is to
    /// become descriptor 3.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn pair() -> Result<(Self, OwnedFd), SysError> {
        let (ours, theirs) = messages::channel()?;
        Ok((Self::over(ours), theirs))
    }

    /// ganger's end of an existing channel; non-blocking.
    #[must_use]
    pub fn over(stream: impl Into<OwnedFd>) -> Self {
        Self {
            stream: stream.into(),
            splitter: LineSplitter::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            handles: 0,
            deaf: false,
        }
    }

    /// Reads once, at most `scratch` bytes. The lines are then taken with [`Self::next_frame`].
    ///
    /// # Errors
    /// When the kernel says no.
    pub fn read_ready(&mut self, scratch: &mut [u8]) -> Result<Received, ConnectionError> {
        let received = match messages::receive(self.stream.as_fd(), scratch) {
            Ok(None) => return Ok(Received::Nothing),
            Ok(Some(received)) if received.len == 0 => return Ok(Received::End),
            Ok(Some(received)) => received,
            Err(error) if error.errno() == Errno::ECONNRESET as i32 => return Ok(Received::End),
            Err(error) => return Err(ConnectionError::Io(error)),
        };
        // What came along is closed with `received`.
        self.handles = self.handles.saturating_add(received.fds.len());
        self.splitter.push(scratch.get(..received.len).unwrap_or_default());
        Ok(Received::Some)
    }

    /// The next line that has come whole, and whether a descriptor came with it.
    ///
    /// # Errors
    /// When a line has no end.
    pub fn next_frame(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        let Some(line) = self.splitter.next_line().map_err(ConnectionError::TooLong)? else {
            return Ok(None);
        };
        let frame = Frame::parse(&line);
        let with_handle = frame == Ok(Frame::Handle) && self.handles > 0;
        if with_handle {
            self.handles = self.handles.saturating_sub(1);
        }
        Ok(Some((frame, with_handle)))
    }

    /// Puts a line (with its `\n`) behind the others, and writes what the kernel takes.
    ///
    /// # Errors
    /// When too much waits already, or the kernel says no.
    pub fn send(&mut self, bytes: Vec<u8>, handle: Option<Arc<OwnedFd>>) -> Result<(), ConnectionError> {
        if self.deaf {
            return Ok(());
        }
        self.queued_bytes = self.queued_bytes.saturating_add(bytes.len());
        if self.queued_bytes > MAX_QUEUED_BYTES || self.queue.len() >= MAX_QUEUED_LINES {
            return Err(ConnectionError::Stuck);
        }
        self.queue.push_back(Outgoing { bytes, written: 0, handle });
        if self.queue.len() == 1 { self.write_ready() } else { Ok(()) }
    }

    /// Whether a good part of what may wait for the other end does so.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.queued_bytes > MAX_QUEUED_BYTES / BEHIND || self.queue.len() > MAX_QUEUED_LINES / BEHIND
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    /// When the kernel says no. A closed channel is no error: reading will find its end.
    pub fn write_ready(&mut self) -> Result<(), ConnectionError> {
        while let Some(line) = self.queue.front_mut() {
            let rest = line.bytes.get(line.written..).unwrap_or_default();
            match messages::send(self.stream.as_fd(), rest, line.handle.as_ref().map(AsFd::as_fd)) {
                Ok(Some(written)) => {
                    line.handle = None;
                    line.written = line.written.saturating_add(written);
                    self.queued_bytes = self.queued_bytes.saturating_sub(written);
                    if line.written >= line.bytes.len() {
                        self.queue.pop_front();
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) if is_gone(&error) => {
                    self.deaf = true;
                    self.queue.clear();
                    self.queued_bytes = 0;
                }
                Err(error) => return Err(ConnectionError::Io(error)),
            }
        }
        Ok(())
    }

    /// Whether lines wait for room.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_gone(error: &SysError) -> bool {
    [Errno::EPIPE as i32, Errno::ECONNRESET as i32].contains(&error.errno())
}
