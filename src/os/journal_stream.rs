//! A stream into the journal for a worker's output: journald reads it itself, no line passes through ganger.
//!
//! The header is that of systemd's own stdout streams (facts of `sd_journal_stream_fd(3)`): identifier, unit,
//! priority, level prefix, and three forwarding flags, a line each.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::stat::fstat;

use super::error::{Attempted, Result, SysError};

/// Bytes of output that may wait for journald, where the kernel grants so many.
const SEND_BUFFER: usize = 8 << 20;

/// Where journald listens for streams.
pub const SOCKET: &str = "/run/systemd/journal/stdout";

/// A stream that is ready to be a worker's stdout or stderr: blocking, as programs expect it.
#[derive(Debug)]
pub struct JournalStream {
    /// For the worker.
    pub fd: OwnedFd,
    /// The value of `JOURNAL_STREAM` (systemd.exec(5)) for it: `DEVICE:INODE`.
    pub variable: String,
}

/// Opens a stream. `identifier` becomes `SYSLOG_IDENTIFIER` (a line break in it is refused), `priority` (0 … 7)
/// is that of lines without a `<N>` prefix.
///
/// # Errors
/// When there is no journald here (`ENOENT`, `ECONNREFUSED`), or it is not reading (`EAGAIN`): never waits.
pub fn open(identifier: &str, priority: u8) -> Result<JournalStream> {
    open_at(Path::new(SOCKET), identifier, priority)
}

/// [`open`] at another socket.
///
/// # Errors
/// As [`open`].
pub fn open_at(path: &Path, identifier: &str, priority: u8) -> Result<JournalStream> {
    let attempt = || format!("open a journal stream at {}", path.display());
    if identifier.contains(['\n', '\0']) || priority > 7 {
        return Err(SysError::new(attempt(), Errno::EINVAL));
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).attempted(attempt)?;
    let address = UnixAddr::new(path).attempted(attempt)?;
    socket::connect(fd.as_raw_fd(), &address).attempted(attempt)?;
    socket::shutdown(fd.as_raw_fd(), Shutdown::Read).attempted(attempt)?;
    // As much as the kernel grants: a worker should not wait for a journald that is restarting.
    let _ = socket::setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER);
    let header = format!("{identifier}\n\n{priority}\n1\n0\n0\n0\n");
    let sent = socket::send(fd.as_raw_fd(), header.as_bytes(), MsgFlags::MSG_NOSIGNAL).attempted(attempt)?;
    // The buffer of a fresh socket has room for it; a part of a header would garble the stream.
    if sent != header.len() {
        return Err(SysError::new(attempt(), Errno::EAGAIN));
    }
    super::sockets::set_nonblocking(&fd, false)?;
    let about = fstat(&fd).attempted(attempt)?;
    Ok(JournalStream { fd, variable: format!("{}:{}", about.st_dev, about.st_ino) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn journald_reads_the_header_and_then_the_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        let journald = UnixListener::bind(&path).unwrap();
        let stream = open_at(&path, "api[3]", 6).unwrap();
        let (mut reader, _) = journald.accept().unwrap();
        let mut output = File::from(stream.fd);
        output.write_all(b"<4>careful\n").unwrap();
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "api[3]\n\n6\n1\n0\n0\n0\n<4>careful\n");
        let (device, inode) = stream.variable.split_once(':').unwrap();
        assert!(device.parse::<u64>().is_ok() && inode.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn without_a_journald_it_fails_at_once_and_names_the_socket() {
        let error = open_at(Path::new("/no/such/journal"), "api", 6).unwrap_err();
        assert!(error.to_string().starts_with("open a journal stream at /no/such/journal: "), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(open_at(&path, "api", 6).unwrap_err().errno(), nix::libc::ECONNREFUSED);
    }

    #[test]
    fn an_identifier_cannot_smuggle_in_header_lines() {
        assert_eq!(open("api\n0", 6).unwrap_err().errno(), nix::libc::EINVAL);
        assert_eq!(open("api", 8).unwrap_err().errno(), nix::libc::EINVAL);
    }
}
