//! HTTP/1.1 clients: what a browser or a proxy does, and nothing a real one would not forgive.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// One answer: its body, and whether the connection goes on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: String,
    pub(crate) keep_alive: bool,
}

/// Asks once over any stream.
pub(crate) fn ask(stream: &mut (impl Read + Write), path: &str, connection: &str) -> std::io::Result<Answer> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n")?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(answer) = whole(&bytes) {
            return Ok(answer);
        }
        match stream.read(&mut piece)? {
            0 => return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "no whole answer")),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
    let keep_alive = !lower.contains("connection: close");
    (body.len() >= length).then(|| Answer { body: body[..length].to_owned(), keep_alive })
}

/// One request on a connection of its own.
pub(crate) fn once(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = connect(address)?;
    Ok(ask(&mut stream, path, "close")?.body)
}

pub(crate) fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How a client of a load behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Habit {
    /// The next request follows at once on the same connection.
    Busy,
    /// A pause between two requests on the same connection.
    Thinking(Duration),
    /// Each request has a connection of its own.
    Short,
}

/// What a load saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) served: AtomicU64,
    pub(crate) lost: AtomicU64,
    stop: AtomicBool,
}

impl Tally {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Clients that go on until they are stopped. The threads end by themselves then.
pub(crate) fn load(
    address: SocketAddr,
    clients: &[Habit],
    path: &'static str,
) -> (Arc<Tally>, Vec<std::thread::JoinHandle<()>>) {
    let tally = Arc::new(Tally::default());
    let threads = clients.iter().map(|habit| {
        let (tally, habit) = (Arc::clone(&tally), *habit);
        std::thread::spawn(move || client(address, habit, path, &tally))
    });
    let threads = threads.collect();
    (tally, threads)
}

fn client(address: SocketAddr, habit: Habit, path: &str, tally: &Tally) {
    let mut kept: Option<TcpStream> = None;
    while !tally.stop.load(Ordering::Relaxed) {
        // A connection that the server closed while it was idle is no loss: every client opens another.
        let alive = kept.take().filter(|stream| !ended(stream));
        let asked = alive.map_or_else(|| connect(address), Ok).and_then(|mut stream| {
            let connection = if matches!(habit, Habit::Short) { "close" } else { "keep-alive" };
            let answer = ask(&mut stream, path, connection)?;
            Ok((stream, answer))
        });
        match asked {
            Ok((stream, answer)) => {
                tally.served.fetch_add(1, Ordering::Relaxed);
                kept = (answer.keep_alive && !matches!(habit, Habit::Short)).then_some(stream);
            }
            Err(error) => {
                eprintln!("lost ({habit:?}): {error}");
                tally.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let (Habit::Thinking(pause), Some(stream)) = (habit, &kept) {
            wait(stream, pause);
        }
    }
}

fn ended(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let ended = !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    ended
}

/// Thinks, but sees the server's close at once, as clients with an event loop do.
fn wait(stream: &TcpStream, pause: Duration) {
    stream.set_read_timeout(Some(pause)).unwrap();
    let _ = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
}
