//! One HTTP question to one worker: a GET over a fresh connection, answered by a status line in time or not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::os::{procfs, sock_diag};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The longest status line that is read, in bytes.
const MAX_STATUS_LINE: usize = 1024;

/// A question, resolved for one worker.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) target: Target,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) timeout: Duration,
}

/// So many connections are made to a shared socket until the worker in question has accepted one.
const MAX_KNOCKS: usize = 32;
/// How often it is looked whether a connection was accepted.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Where the worker is reached.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// `host:port`; a name is resolved by the system.
    Inet(String),
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
    let failed = |error: std::io::Error| format!("cannot connect: {error}");
    match &question.target {
        Target::Inet(address) => {
            let stream = TcpStream::connect(address.as_str()).await.map_err(failed)?;
            exchange(stream, &question).await
        }
        Target::Shared(address, pids) => {
            for _ in 0..MAX_KNOCKS {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                if is_accepted_by(&stream, pids).await {
                    return exchange(stream, &question).await;
                }
            }
            // Others were quicker each time: that says nothing about this worker.
            Ok(())
        }
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(failed)?;
            exchange(stream, &question).await
        }
    }
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
    fn a_status_below_400_is_health() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.0 302 Found\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.1 503 Busy\r\n"), Err("it answered with status 503".to_owned()));
        assert!(judge(b"").is_err());
        assert!(judge(b"220 smtp ready\r\n").is_err());
    }
}
