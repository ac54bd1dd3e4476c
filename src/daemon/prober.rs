//! One HTTP question to one worker: a GET over a fresh connection, answered by a status line in time or not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::libc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::os::{procfs, sock_diag};

/// The longest status line that is read, in bytes.
const MAX_STATUS_LINE: usize = 1024;

/// A question, resolved for one worker.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) target: Target,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) timeout: Duration,
    /// It was ready before it is asked.
    pub(super) is_ready: bool,
}

/// So many connections are made to a shared socket until the worker in question has accepted one.
const MAX_KNOCKS: usize = 32;
/// How often it is looked whether a connection was accepted.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Where the worker is reached.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// An address of the worker's own.
    Inet(SocketAddr),
    /// The shared TCP socket; only what one of these processes accepts counts.
    Shared(SocketAddr, Vec<u32>),
    /// A unix socket.
    Unix(PathBuf),
}

/// Asks; `Err` carries the reason for people.
pub(super) async fn ask(question: Question) -> Result<(), String> {
    let limit = question.timeout;
    match tokio::time::timeout(limit, converse(question)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", crate::time::format_span(limit))),
    }
}

async fn converse(question: Question) -> Result<(), String> {
    match &question.target {
        Target::Inet(address) => match TcpStream::connect(address).await {
            Ok(stream) => exchange(stream, &question).await,
            Err(error) => unconnected(&error, question.is_ready),
        },
        Target::Shared(address, pids) => {
            for _ in 0..MAX_KNOCKS {
                let stream = match TcpStream::connect(address).await {
                    Ok(stream) => stream,
                    Err(error) => return unconnected(&error, question.is_ready),
                };
                if is_accepted_by(&stream, pids).await {
                    return exchange(stream, &question).await;
                }
            }
            // Others were quicker each time: that says nothing about this worker.
            Ok(())
        }
        Target::Unix(path) => match UnixStream::connect(path).await {
            Ok(stream) => exchange(stream, &question).await,
            Err(error) => unconnected(&error, question.is_ready),
        },
    }
}

/// What a connection that was not made says about the worker: nothing when it was ganger that had no descriptor, no
/// memory or no port left to ask with. A worker that was never ready is not ready for that.
fn unconnected(error: &std::io::Error, is_ready: bool) -> Result<(), String> {
    // Not EAGAIN: the queue of a unix socket is full, which is the worker's doing (unix(7)).
    let ours = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
    if is_ready && error.raw_os_error().is_some_and(|errno| ours.contains(&errno)) {
        return Ok(());
    }
    Err(format!("cannot connect: {error}"))
}

/// Waits until somebody has accepted the connection; was it one of these processes? Without a way to know, it was.
async fn is_accepted_by(stream: &TcpStream, pids: &[u32]) -> bool {
    let (Ok(client), Ok(server)) = (stream.local_addr(), stream.peer_addr()) else {
        return false;
    };
    loop {
        match sock_diag::accepted(client, server) {
            Some(0) => tokio::time::sleep(LOOK_AGAIN).await,
            Some(inode) => return procfs::socket_inodes(pids).contains(&inode),
            None => return true,
        }
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &Question,
) -> Result<(), String> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ganger\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        question.path, question.host
    );
    let failed = |error: std::io::Error| format!("the connection broke: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 256];
    while !answer.contains(&b'\n') && answer.len() < MAX_STATUS_LINE {
        let count = stream.read(&mut chunk).await.map_err(failed)?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    judge(&answer)
}

/// A status below 400 is health (RFC 9112, section 4).
fn judge(answer: &[u8]) -> Result<(), String> {
    let line = answer.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse::<u16>().ok());
    match status {
        Some(status @ 100..=399) if version.starts_with("HTTP/1.") => {
            let _ = status;
            Ok(())
        }
        Some(status) if version.starts_with("HTTP/1.") => Err(format!("it answered with status {status}")),
        Some(_) | None if answer.is_empty() => Err("it closed the connection without an answer".to_owned()),
        Some(_) | None => Err("it did not answer in HTTP/1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f20_a_ready_worker_is_not_blamed_for_what_ganger_lacks() {
        let error = std::io::Error::from_raw_os_error;
        assert_eq!(unconnected(&error(libc::EMFILE), true), Ok(()));
        assert!(unconnected(&error(libc::EMFILE), false).is_err(), "it was never seen to answer");
        for of_the_worker in [libc::ECONNREFUSED, libc::ENOENT, libc::EAGAIN] {
            assert!(unconnected(&error(of_the_worker), true).is_err());
        }
    }

    #[test]
    fn a_status_below_400_is_health() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.0 302 Found\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.1 503 Busy\r\n"), Err("it answered with status 503".to_owned()));
        assert!(judge(b"").is_err());
        assert!(judge(b"220 smtp ready\r\n").is_err());
    }
}
