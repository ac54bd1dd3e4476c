//! One channel's descriptor: bytes in and out, with descriptors beside them. Decides nothing about their
//! meaning.
//!
//! A descriptor goes with the first byte of its line, in a sendmsg(2) of its own: the kernel keeps what it
//! carried apart, so that Node finds exactly one with each such line (unix(7), `SCM_RIGHTS`).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use super::{MAX_QUEUED_BYTES, MAX_QUEUED_LINES};
use crate::proto::node::{Frame, FrameError, LineSplitter, LineTooLong};

/// The most descriptors that one message can carry (`SCM_MAX_FD`, unix(7)).
const MAX_PASSED: usize = 253;

/// A channel is behind when this part of what may wait does.
const BEHIND: usize = 32;

/// ganger's end of a worker's channel.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
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
    Io(io::Error),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(error) => write!(f, "it sent {error}"),
            Self::Stuck => f.write_str("it does not read its messages"),
            Self::Io(error) => write!(f, "its channel failed: {error}"),
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
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self::over(ours), theirs.into()))
    }

    /// ganger's end of an existing channel; non-blocking.
    #[must_use]
    pub fn over(stream: UnixStream) -> Self {
        Self {
            stream,
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
        let mut control = cmsg_space!([RawFd; MAX_PASSED]);
        let (bytes, passed) = {
            let mut parts = [IoSliceMut::new(scratch)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let fd = self.stream.as_raw_fd();
            match recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => (message.bytes, close_passed(&message)),
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
                Err(Errno::ECONNRESET) => return Ok(Received::End),
                Err(error) => return Err(ConnectionError::Io(error.into())),
            }
        };
        self.handles = self.handles.saturating_add(passed);
        if bytes == 0 {
            return Ok(Received::End);
        }
        self.splitter.push(scratch.get(..bytes).unwrap_or_default());
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
            let fds = line.handle.as_ref().map(|handle| [handle.as_raw_fd()]);
            let control = fds.as_ref().map(|fds| ControlMessage::ScmRights(fds));
            let rest = [IoSlice::new(line.bytes.get(line.written..).unwrap_or_default())];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.stream.as_raw_fd(), &rest, control.as_slice(), flags, None) {
                Ok(written) => {
                    line.handle = None;
                    line.written = line.written.saturating_add(written);
                    self.queued_bytes = self.queued_bytes.saturating_sub(written);
                    if line.written >= line.bytes.len() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    self.deaf = true;
                    self.queue.clear();
                    self.queued_bytes = 0;
                }
                Err(error) => return Err(ConnectionError::Io(error.into())),
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

/// Closes what came along, and says how many there were.
fn close_passed(message: &nix::sys::socket::RecvMsg<'_, '_, UnixAddr>) -> usize {
    let mut count: usize = 0;
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                count = count.saturating_add(1);
                // It is ours alone and nobody else has heard of it; close(2) reports nothing of use here.
                let _ = nix::unistd::close(fd);
            }
        }
    }
    count
}
