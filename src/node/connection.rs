//! One channel's descriptor: bytes in and out, with descriptors beside them. Decides nothing about their
//! meaning.
//!
//! A descriptor goes with the first byte of its line, in a sendmsg(2) of its own: the kernel keeps what it
//! carried apart, so that Node finds exactly one with each such line (unix(7), `SCM_RIGHTS`).
//!
//! That holds for a line that Node reads whole. When a read ends within it, the next one brings its rest together
//! with the line after it and that one's descriptor, and Node, which keeps but one, gives the first line the second's.
//! So a line that may be read in two is answered for before another descriptor follows.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;

use super::{BEHIND_BYTES, BEHIND_LINES, MAX_QUEUED_BYTES, MAX_QUEUED_LINES};
use crate::os::SysError;
use crate::os::messages;
use crate::proto::node::{Frame, FrameError, LineSplitter, LineTooLong};

/// A read of Node's ends with a line that carries a descriptor, or after 64 KiB (uv_read_start(), the suggested size). A
/// line with a descriptor that ends within this many bytes after the last such line is read whole, with room to spare:
/// the kernel keeps it in one piece, too.
const READ_WHOLE: usize = 32 * 1024;

/// ganger's end of a worker's channel.
#[derive(Debug)]
pub struct Connection {
    stream: OwnedFd,
    splitter: LineSplitter,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    /// So many descriptors came that no line has claimed. They are closed: no handle of an app is wanted.
    handles: usize,
    /// Written since the last line with a descriptor, in bytes.
    since_handle: usize,
    /// Lines with a descriptor that the other end has not answered for.
    unanswered: usize,
    /// The last of them may be read in two.
    in_two: bool,
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
            Self::Stuck => write!(
                f,
                "it does not read its messages, and more than {MAX_QUEUED_BYTES} bytes or {MAX_QUEUED_LINES} messages wait for it"
            ),
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
            since_handle: 0,
            unanswered: 0,
            in_two: false,
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
        if matches!(frame, Ok(Frame::HandleAck | Frame::HandleNack | Frame::Reply { arrived: true, .. })) {
            self.unanswered = self.unanswered.saturating_sub(1);
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
        self.queued_bytes > BEHIND_BYTES || self.queue.len() > BEHIND_LINES
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    /// When the kernel says no. A closed channel is no error: reading will find its end.
    pub fn write_ready(&mut self) -> Result<(), ConnectionError> {
        while self.wants_write()
            && let Some(line) = self.queue.front_mut()
        {
            let rest = line.bytes.get(line.written..).unwrap_or_default();
            match messages::send(self.stream.as_fd(), rest, line.handle.as_ref().map(AsFd::as_fd)) {
                Ok(Some(written)) => {
                    let after = self.since_handle.saturating_add(line.bytes.len());
                    if line.handle.take().is_some() {
                        self.unanswered = self.unanswered.saturating_add(1);
                        self.in_two = after > READ_WHOLE;
                        self.since_handle = 0;
                    } else {
                        self.since_handle = self.since_handle.saturating_add(written);
                    }
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

    /// Whether lines wait for room. Those that wait for the other end's word do not.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        let held = self.in_two && self.unanswered > 0;
        self.queue.front().is_some_and(|line| line.handle.is_none() || !held)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::pipes;

    /// What the other end finds in one read as long as Node's: bytes, descriptors.
    fn read(theirs: &OwnedFd) -> (usize, usize) {
        let mut buffer = vec![0; 64 * 1024];
        messages::receive(theirs.as_fd(), &mut buffer)
            .unwrap()
            .map_or((0, 0), |received| (received.len, received.fds.len()))
    }

    fn pair() -> (Connection, OwnedFd) {
        let (connection, theirs) = Connection::pair().unwrap();
        nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        (connection, theirs)
    }

    fn line(len: usize) -> Vec<u8> {
        let mut line = vec![b'x'; len];
        line[len - 1] = b'\n';
        line
    }

    fn handle() -> Option<Arc<OwnedFd>> {
        Some(Arc::new(pipes::token().unwrap()))
    }

    fn hears(connection: &mut Connection, theirs: &OwnedFd, line: &str) {
        messages::send(theirs.as_fd(), line.as_bytes(), None).unwrap();
        connection.read_ready(&mut [0; 256]).unwrap();
        connection.next_frame().unwrap().unwrap().0.unwrap();
        connection.write_ready().unwrap();
    }

    const ACK: &str = "{\"cmd\":\"NODE_HANDLE_ACK\"}\n";
    const BOTH: &str = "{\"cmd\":\"NODE_CLUSTER\",\"ack\":\"+1\",\"accepted\":true,\"seq\":3}\n";
    const NACK: &str = "{\"cmd\":\"NODE_HANDLE_NACK\"}\n";

    #[test]
    fn after_a_line_that_may_be_read_in_two_no_descriptor_goes_until_it_is_answered_for() {
        for answer in [ACK, BOTH, NACK] {
            let (mut connection, theirs) = pair();
            connection.send(line(100), handle()).unwrap();
            connection.send(line(64 * 1024 - 40), None).unwrap();
            connection.send(line(100), handle()).unwrap();
            connection.send(line(10), None).unwrap();
            connection.send(line(100), handle()).unwrap();
            assert!(!connection.wants_write(), "it waits for a word, not for room");
            assert_eq!(read(&theirs), (100, 1));
            assert_eq!(read(&theirs), (64 * 1024, 1));
            assert_eq!(read(&theirs), (60 + 10, 0));
            hears(&mut connection, &theirs, ACK);
            assert_eq!(read(&theirs), (0, 0), "that was for the first one");
            hears(&mut connection, &theirs, answer);
            assert_eq!(read(&theirs), (100, 1));
        }
    }

    #[test]
    fn a_line_with_a_descriptor_that_is_long_itself_is_answered_for_before_the_next() {
        let (mut connection, theirs) = pair();
        connection.send(line(100_000), handle()).unwrap();
        connection.send(line(100), handle()).unwrap();
        assert!(!connection.wants_write());
        while read(&theirs) != (0, 0) {}
        hears(&mut connection, &theirs, ACK);
        assert_eq!(read(&theirs), (100, 1));
    }

    #[test]
    fn with_little_said_between_them_descriptors_follow_each_other_without_a_word() {
        let (mut connection, theirs) = pair();
        for _ in 0..8 {
            connection.send(line(10_000), None).unwrap();
            connection.send(line(100), handle()).unwrap();
        }
        for _ in 0..8 {
            assert_eq!(read(&theirs), (10_100, 1));
        }
    }
}
