//! How bytes become D-Bus messages here: the SASL handshake of both sides and the reading of one message.
//!
//! Done here rather than by the D-Bus library because a peer is not trusted: a line has a limit, a message has
//! a limit that is checked *before* room is made for it, and a descriptor that somebody passes is never taken.
//! It does not decide what a message means.

use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use zbus::connection::socket::{ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::{Connection, Guid, MessageStream};

/// The longest message that a caller may send, in bytes: room for `Send` with [`super::MAX_JSON_BYTES`].
pub(super) const MAX_CALL_BYTES: usize = 128 * 1024;
/// The longest message that a client takes from its supervisor, in bytes: thousands of workers fit.
pub(super) const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// The longest line of a handshake, in bytes.
const MAX_LINE_BYTES: usize = 512;
/// The most lines that one handshake may take.
const MAX_LINES: usize = 16;
/// All that a peer hears for whom there is no room.
const NO_ROOM: &str = "ERROR \"too many connections\"\r\n";
/// Received messages that wait in one connection before its socket is no longer read.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// The fixed part of a message's header, in bytes.
const HEADER_BYTES: usize = 16;

/// What is done with a message over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oversize {
    /// The connection ends: it belongs to the one who sent it.
    Close,
    /// The message is read and thrown away: the connection carries other people's messages, too.
    Skip,
}

/// The length of the whole message that `header` begins, in bytes.
fn message_bytes(header: [u8; HEADER_BYTES]) -> io::Result<u64> {
    let [endian, _, _, _, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = header;
    let (body, fields) = match endian {
        b'l' => (u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([f0, f1, f2, f3])),
        b'B' => (u32::from_be_bytes([b0, b1, b2, b3]), u32::from_be_bytes([f0, f1, f2, f3])),
        _ => return Err(io::Error::new(ErrorKind::InvalidData, "no d-bus message")),
    };
    Ok((HEADER_BYTES as u64 + u64::from(fields)).next_multiple_of(8) + u64::from(body))
}

/// The reading half. It knows where a message ends, so that a too long one is seen at its header.
#[derive(Debug)]
pub(super) struct Inlet {
    socket: OwnedReadHalf,
    /// Bytes that came together with the end of the handshake.
    early: Vec<u8>,
    header: [u8; HEADER_BYTES],
    /// How much of `header` was handed on; all of it while a body is being read.
    given: usize,
    /// What is left of the present message behind its header.
    left: u64,
    limit: usize,
    oversize: Oversize,
    /// Nothing is read before somebody listens.
    opened: Option<oneshot::Receiver<()>>,
}

impl Inlet {
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = if self.early.is_empty() {
            self.socket.read(buffer).await?
        } else {
            let count = self.early.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(self.early.drain(..count)) {
                *to = from;
            }
            count
        };
        if read == 0 && !buffer.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection is closed"));
        }
        Ok(read)
    }

    /// Reads headers until one begins a message within the limit.
    async fn next_header(&mut self) -> io::Result<()> {
        loop {
            let mut header = [0; HEADER_BYTES];
            let mut have = 0;
            while let Some(room) = header.get_mut(have..).filter(|room| !room.is_empty()) {
                have += self.fill(room).await?;
            }
            let total = message_bytes(header)?;
            let mut left = total.saturating_sub(HEADER_BYTES as u64);
            if total <= self.limit as u64 {
                (self.header, self.given, self.left) = (header, 0, left);
                return Ok(());
            }
            if self.oversize == Oversize::Close {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {total} bytes")));
            }
            let mut waste = [0; 2048];
            while left > 0 {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(waste.len());
                let room = waste.get_mut(..count).unwrap_or_default();
                left = left.saturating_sub(self.fill(room).await? as u64);
            }
        }
    }
}

#[async_trait]
impl ReadHalf for Inlet {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<std::os::fd::OwnedFd>)> {
        if let Some(opened) = self.opened.take() {
            opened.await.map_err(|_| io::Error::from(ErrorKind::ConnectionAborted))?;
        }
        if self.given == HEADER_BYTES && self.left == 0 {
            self.next_header().await?;
        }
        if let Some(rest) = self.header.get(self.given..).filter(|rest| !rest.is_empty()) {
            let count = rest.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(rest) {
                *to = *from;
            }
            self.given += count;
            return Ok((count, Vec::new()));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.fill(buffer.get_mut(..most).unwrap_or_default()).await?;
        self.left = self.left.saturating_sub(read as u64);
        Ok((read, Vec::new()))
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Outlet(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for Outlet {
    async fn sendmsg(&mut self, buffer: &[u8], _: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// The handshake's own line reader: whatever follows the last line stays for the messages.
struct Lines<'a> {
    socket: &'a mut UnixStream,
    buffer: Vec<u8>,
}

impl Lines<'_> {
    async fn next(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(|_| refused("a handshake that is no text"))?;
                return Ok(line.trim_end().to_owned());
            }
            if self.buffer.len() >= MAX_LINE_BYTES {
                return Err(refused("a handshake line without an end"));
            }
            let mut chunk = [0; MAX_LINE_BYTES];
            let read = self.socket.read(&mut chunk).await?;
            if read == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed during the handshake"));
            }
            self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
    }
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Whether `hex` (of `AUTH EXTERNAL` or `DATA`) names `uid`; without a name the kernel's word counts.
fn names_uid(hex: &str, uid: u32) -> bool {
    let decimal: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    hex.is_empty() || hex.eq_ignore_ascii_case(&decimal)
}

/// The server's side of the handshake with the peer that the kernel says is `uid`. What the peer sent behind
/// its `BEGIN` is returned.
pub(super) async fn greet(socket: &mut UnixStream, guid: &Guid<'_>, uid: u32) -> io::Result<Vec<u8>> {
    if socket.read_u8().await? != 0 {
        return Err(refused("a handshake that begins without a zero byte"));
    }
    let mut lines = Lines { socket, buffer: Vec::new() };
    let mut known = false;
    for _ in 0..MAX_LINES {
        let line = lines.next().await?;
        let (word, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
        let answer = match (word, rest.strip_prefix("EXTERNAL").map(str::trim)) {
            ("BEGIN", _) if known => return Ok(lines.buffer),
            ("BEGIN", _) => return Err(refused("a handshake without authentication")),
            ("AUTH", Some("")) => "DATA".to_owned(),
            ("AUTH", Some(hex)) if names_uid(hex, uid) => {
                known = true;
                format!("OK {}", guid.as_str())
            }
            ("DATA", _) if names_uid(rest.trim(), uid) => {
                known = true;
                format!("OK {}", guid.as_str())
            }
            ("AUTH" | "DATA" | "CANCEL" | "ERROR", _) => {
                known = false;
                "REJECTED EXTERNAL".to_owned()
            }
            _ => "ERROR \"not supported\"".to_owned(),
        };
        lines.socket.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Err(refused("a handshake without an end"))
}

/// Tells a peer, instead of a handshake, that there is no room for it.
pub(super) fn turn_away(socket: &UnixStream) {
    // A new connection has room for a line; one that has none is closed without a word.
    let _ = socket.try_write(NO_ROOM.as_bytes());
}

/// The client's side of the handshake.
///
/// # Errors
/// `QuotaExceeded` when the server has no room for more connections of this user.
pub(super) async fn knock(socket: &mut UnixStream) -> io::Result<Vec<u8>> {
    // A server that turned us away is gone already: what it said is there to be read.
    let sent = socket.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n").await;
    let mut lines = Lines { socket, buffer: Vec::new() };
    for _ in 0..MAX_LINES {
        let line = match lines.next().await {
            Err(error) => return Err(sent.err().unwrap_or(error)),
            Ok(line) => line,
        };
        if line == NO_ROOM.trim_end() {
            return Err(io::Error::new(ErrorKind::QuotaExceeded, "it takes no more connections"));
        }
        if line.starts_with("OK") {
            lines.socket.write_all(b"BEGIN\r\n").await?;
            return Ok(lines.buffer);
        }
        if !line.starts_with("DATA") {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "the handshake was refused"));
        }
    }
    Err(refused("a handshake without an end"))
}

/// Makes a connection of a socket whose handshake is done; `early` came behind the handshake.
pub(super) async fn open(
    socket: UnixStream,
    early: Vec<u8>,
    limit: usize,
    oversize: Oversize,
    queue: Option<NonZeroUsize>,
) -> zbus::Result<(Connection, MessageStream)> {
    let (read, write) = socket.into_split();
    let (open, opened) = oneshot::channel();
    let inlet: Box<dyn ReadHalf> = Box::new(Inlet {
        socket: read,
        early,
        header: [0; HEADER_BYTES],
        given: HEADER_BYTES,
        left: 0,
        limit,
        oversize,
        opened: Some(opened),
    });
    let outlet: Box<dyn WriteHalf> = Box::new(Outlet(write));
    let split = Split::new(inlet, outlet);
    let connection = zbus::connection::Builder::authenticated_socket(split, Guid::generate())
        .p2p()
        .max_queued(queue.unwrap_or(QUEUE))
        .build()
        .await?;
    let stream = MessageStream::from(&connection);
    // Only now may a message be read: one that nobody listens for would be lost.
    let _ = open.send(());
    Ok((connection, stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(endian: u8, fields: u32, body: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0] = endian;
        let (body, fields) = match endian {
            b'B' => (body.to_be_bytes(), fields.to_be_bytes()),
            _ => (body.to_le_bytes(), fields.to_le_bytes()),
        };
        header[4..8].copy_from_slice(&body);
        header[12..16].copy_from_slice(&fields);
        header
    }

    #[test]
    fn a_messages_length_is_read_from_its_header_in_both_byte_orders() {
        assert_eq!(message_bytes(header(b'l', 5, 10)).unwrap(), 24 + 10);
        assert_eq!(message_bytes(header(b'B', 8, 0)).unwrap(), 24);
        assert_eq!(message_bytes(header(b'l', u32::MAX, u32::MAX)).unwrap(), 8_589_934_607);
        assert!(message_bytes(header(b'x', 0, 0)).is_err());
    }

    #[tokio::test]
    async fn a_handshake_that_is_nonsense_is_refused_and_never_panics() {
        for nonsense in [
            &b"\n"[..],
            b"\0\n\n\n",
            b"\0BEGIN\r\n",
            b"\0AUTH EXTERNAL 39\r\nBEGIN\r\n",
            b"\0\xff\xfe\r\n",
            &[0; 2000],
        ] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(nonsense).await.unwrap();
            theirs.shutdown().await.unwrap();
            let guid = Guid::generate();
            assert!(greet(&mut ours, &guid, 1000).await.is_err(), "{nonsense:?} was accepted");
        }
    }

    #[tokio::test]
    async fn a_client_that_names_itself_truly_is_let_in_and_nothing_behind_begin_is_lost() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"\0AUTH EXTERNAL 31303030\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl...").await.unwrap();
        let guid = Guid::generate();
        assert_eq!(greet(&mut ours, &guid, 1000).await.unwrap(), b"l...");
    }
}
