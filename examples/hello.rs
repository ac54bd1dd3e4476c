//! A worker in Rust: answers on the socket it inherits, says `READY=1`, drains on SIGTERM.
//!
//! ```text
//! cargo build --release --example hello
//! ganger run examples/rust/hello-rust.toml --listen 127.0.0.1:3000
//! curl http://127.0.0.1:3000/
//! ```
//!
//! It decides nothing that is worth copying about HTTP; it shows the contract of ganger-worker(7).

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, IntoRawFd};
use std::time::Duration;

use libsystemd::activation::receive_descriptors;
use libsystemd::daemon::{NotifyState, notify};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

/// A client that says nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let socket = receive_descriptors(true)?.into_iter().next().ok_or("no socket was inherited")?;
    // SAFETY: the descriptor was passed to this process, and nobody else here uses it.
    #[expect(unsafe_code, reason = "an inherited descriptor has no safe constructor")]
    let listener = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
    // Several workers may wake for one connection: the ones that come late must not block in accept.
    listener.set_nonblocking(true)?;

    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block()?;
    let stop = SignalFd::new(&term)?;

    notify(false, &[NotifyState::Ready])?;
    // The scope waits for its threads: a request that has begun is finished before the worker leaves.
    std::thread::scope(|scope| {
        loop {
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            ];
            poll(&mut fds, PollTimeout::NONE)?;
            if fds.first().and_then(PollFd::any).unwrap_or(false) {
                return Ok(());
            }
            match listener.accept() {
                Ok((client, _)) => drop(scope.spawn(move || answer(&client))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    })
}

/// One request, one answer, end of connection.
fn answer(client: &TcpStream) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(client);
    let mut line = String::new();
    while head.read_line(&mut line)? > 0 && line.trim_end() != "" {
        line.clear();
    }
    let worker = std::env::var("GANGER_WORKER").unwrap_or_else(|_| "-".to_owned());
    let body = format!("hello from Rust, worker {worker}, pid {}\n", std::process::id());
    let mut out = client;
    write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
