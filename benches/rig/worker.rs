//! The bench started again as a worker: as small as a program in Rust is.

use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::net::{UnixDatagram, UnixListener};

use std::time::Duration;

use super::now;

/// The word that makes the bench a worker.
const WORD: &str = "--as-worker";

/// The command of a worker that does `deed`.
pub(crate) fn command(deed: &str) -> Vec<String> {
    let own = std::env::current_exe().expect("the path of this bench");
    vec![own.to_str().expect("a path in UTF-8").to_owned(), WORD.to_owned(), deed.to_owned()]
}

/// Never returns in a process that was started as a worker.
pub(crate) fn unless_started_as_one() {
    let started = now();
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some(WORD) {
        return;
    }
    match words.next().as_deref() {
        // `stamp` also says when its `main` began.
        Some("stamp") => {
            let line = format!("{} {}\n", std::process::id(), started.as_nanos());
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
        Some("serve") => serve(),
        Some(_) | None => {}
    }
    ready();
    loop {
        nix::unistd::pause();
    }
}

/// What a worker that does `stamp` wrote: its pid, and when its `main` began.
pub(crate) fn stamp(line: &str) -> Option<(u32, Duration)> {
    let (pid, at) = line.trim_end().split_once(' ')?;
    Some((pid.parse().ok()?, Duration::from_nanos(at.parse().ok()?)))
}

/// `READY=1`, if there is somebody to tell.
fn ready() {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Ok(socket) = UnixDatagram::unbound()
    {
        let _ = socket.send_to(b"READY=1", path);
    }
}

/// Answers one request a connection.
fn serve() -> ! {
    // SAFETY: descriptor 3 was passed to this process, and nobody else here uses it.
    #[expect(unsafe_code, reason = "an inherited descriptor has no safe constructor")]
    let listener = unsafe { UnixListener::from_raw_fd(3) };
    listener.set_nonblocking(false).expect("a socket that waits");
    ready();
    loop {
        let Ok((mut client, _)) = listener.accept() else { continue };
        let mut request = [0; 1024];
        let _ = client.read(&mut request);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    }
}
