//! A small HTTP/1.1 server on inherited sockets: the scripted worker of tests, benches and the demo.
//!
//! It decides how a cooperating worker drains (on SIGTERM it accepts no more, answers all that it has
//! accepted, says `Connection: close` in every answer, and closes an idle connection only after a grace
//! in which its client may still send) and plays the uncooperating ones on demand: see [`USAGE`].
//! It knows nothing of ganger: sockets come by `LISTEN_FDS`, readiness goes to `NOTIFY_SOCKET`.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
worker [OPTION]…   every option also by environment: --ready-after 5 is WORKER_READY_AFTER=5
  --listen ADDR      bind this itself (HOST:PORT or unix:PATH) rather than inherit
  --stdin            the listening socket is fd 0
  --notify           send READY=1, STOPPING=1 (and what is asked below) to NOTIFY_SOCKET
  --status TEXT      with READY=1, also STATUS=TEXT
  --watchdog         send WATCHDOG=1 at half of WATCHDOG_USEC
  --ready-after MS   start to accept and say so only then
  --never-ready      never do
  --crash-before-ready   exit with --exit-code, or 1, instead of becoming ready
  --exit-after MS    exit with --exit-code, between two connections if that comes within a second
  --exit-code N      0 unless said
  --hang MS          stop answering, pinging and heeding signals after that
  --ignore-term      SIGTERM changes nothing
  --double-fork      leave a grandchild in a session of its own (sleep 1000)
  --grace MS         how long an idle connection stays open while draining (2000)
  --print-env, --print-fds   write them to standard output at start
Paths: / /pid /slot /gen /env /fds /sleep/MS /exit/N /abort /leak/MB /big/BYTES
";

/// How long open connections may hold up an exit that was asked for.
const LAST_CONNECTIONS: Duration = Duration::from_secs(1);
/// What a request may be long; longer ones are cut off.
const REQUEST_LIMIT: usize = 64 * 1024;
/// How long the last bytes may take to reach a client after the answer that says close.
const LINGER: Duration = Duration::from_secs(2);
/// Connections accepted before others are served again.
const ACCEPT_BATCH: usize = 64;
const SIGNALS: u64 = u64::MAX;
const FIRST_CONNECTION: u64 = 1 << 32;

/// An option's value, from the command line or the environment.
fn option(name: &str) -> Option<String> {
    let mut args = std::env::args().skip(1);
    let flag = format!("--{name}");
    while let Some(arg) = args.next() {
        if arg == flag {
            return Some(args.next().filter(|next| !next.starts_with("--")).unwrap_or_default());
        }
    }
    std::env::var(format!("WORKER_{}", name.to_uppercase().replace('-', "_"))).ok()
}

fn millis(name: &str) -> Option<Duration> {
    option(name).map(|value| Duration::from_millis(value.parse().unwrap_or(0)))
}

fn code(name: &str, otherwise: u8) -> u8 {
    option(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[expect(clippy::disallowed_methods, reason = "a program outside the house has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(stream))
            }
        }
    }

    fn adopt(fd: OwnedFd) -> io::Result<Listener> {
        let inet = nix::sys::socket::getsockname::<nix::sys::socket::SockaddrStorage>(
            std::os::fd::AsRawFd::as_raw_fd(&fd),
        )
        .is_ok_and(|address| address.as_unix_addr().is_none());
        let listener = if inet { Listener::Tcp(fd.into()) } else { Listener::Unix(fd.into()) };
        match &listener {
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
            Listener::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(listener)
    }

    fn bind(address: &str) -> io::Result<Listener> {
        match address.strip_prefix("unix:") {
            Some(path) => Listener::adopt(UnixListener::bind(path)?.into()),
            None => Listener::adopt(TcpListener::bind(address)?.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn end_writing(&self) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }
}

/// Where a connection stands; every one has at most one deadline.
enum Phase {
    /// Waits for a request; while draining it is closed at `until`.
    Idle { until: Option<Instant> },
    /// Sleeps before it answers.
    Sleeping { until: Instant, close: bool },
    /// Has said close and waits for the client to do so: closing first, with unread bytes, would reset
    /// the connection and could destroy the answer.
    Lingering { until: Instant },
}

struct Connection {
    stream: Stream,
    phase: Phase,
    input: Vec<u8>,
    output: Vec<u8>,
    close_after_output: bool,
}

impl Connection {
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle { until } => until,
            Phase::Sleeping { until, .. } | Phase::Lingering { until } => Some(until),
        }
    }
}

/// What a request asks for, after the head was read.
struct Request {
    path: String,
    close: bool,
}

/// Takes one whole request head (and its body, by content-length) off `input`.
fn take_request(input: &mut Vec<u8>) -> Option<Request> {
    let end = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(input.get(..end)?).into_owned();
    let header = |name: &str| {
        let found = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let body: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if input.len() < end + body {
        return None;
    }
    let first = head.lines().next().unwrap_or_default();
    let mut words = first.split(' ');
    let path = words.nth(1).unwrap_or("/").to_owned();
    let old = words.next() == Some("HTTP/1.0");
    let said = header("connection").unwrap_or(if old { "close" } else { "keep-alive" });
    let close = said.eq_ignore_ascii_case("close");
    input.drain(..end + body);
    Some(Request { path, close })
}

struct Worker {
    epoll: Epoll,
    listeners: Vec<Listener>,
    connections: BTreeMap<u64, Connection>,
    /// When a connection wants attention without being heard of; may hold outdated ones.
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    accepting: bool,
    draining: bool,
    grace: Duration,
    ready_at: Option<Instant>,
    exit_at: Option<Instant>,
    hang_at: Option<Instant>,
    ping: Option<(Duration, Instant)>,
    notify: Option<UnixDatagram>,
    identity: String,
    leaked: Vec<Vec<u8>>,
    exit: Option<u8>,
}

impl Worker {
    fn tell(&self, what: &str) {
        if let (Some(socket), Some(path)) = (&self.notify, std::env::var_os("NOTIFY_SOCKET")) {
            let _ = socket.send_to(what.as_bytes(), path);
        }
    }

    fn become_ready(&mut self) -> io::Result<()> {
        self.ready_at = None;
        if option("crash-before-ready").is_some() {
            self.exit = Some(code("exit-code", 1));
            return Ok(());
        }
        for (token, listener) in (0..).zip(&self.listeners) {
            // Not EPOLLEXCLUSIVE: a worker that is woken alone and dies or drains before it accepts would
            // leave that connection in the queue with nobody awake to take it.
            self.epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        self.accepting = true;
        let status = option("status").map(|text| format!("STATUS={text}\n")).unwrap_or_default();
        self.tell(&format!("{status}READY=1"));
        Ok(())
    }

    /// Takes no more connections; those in the queue are for the other workers.
    fn drain(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        self.ready_at = None;
        self.tell("STOPPING=1");
        if self.accepting {
            for listener in &self.listeners {
                let _ = self.epoll.delete(listener);
            }
        }
        self.accepting = false;
        self.listeners.clear();
        let until = now() + self.grace;
        for (token, connection) in &mut self.connections {
            if let Phase::Idle { until: deadline } = &mut connection.phase {
                *deadline = Some(until);
                self.deadlines.insert((until, *token));
            }
        }
    }

    fn accept(&mut self, token: u64) {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = usize::try_from(token).ok().and_then(|token| self.listeners.get(token))
            else {
                return;
            };
            let Ok(stream) = listener.accept() else { return };
            let token = self.next;
            self.next += 1;
            let flags =
                EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            if self.epoll.add(&stream, EpollEvent::new(flags, token)).is_err() {
                return;
            }
            let phase = Phase::Idle { until: None };
            let (input, output) = (Vec::new(), Vec::new());
            self.connections
                .insert(token, Connection { stream, phase, input, output, close_after_output: false });
        }
    }

    /// Reads, answers and writes what there is; drops the connection when it is over.
    fn serve(&mut self, token: u64, ending: bool) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        if self.advance(&mut connection, ending) {
            self.keep(token, connection);
        }
    }

    fn keep(&mut self, token: u64, connection: Connection) {
        self.deadlines.extend(connection.deadline().map(|at| (at, token)));
        self.connections.insert(token, connection);
    }

    /// False when the connection is over. `ending`: the client has ended its half, so read to the end.
    fn advance(&mut self, connection: &mut Connection, ending: bool) -> bool {
        let mut eof = false;
        let mut chunk = [0; 16 * 1024];
        loop {
            match connection.stream.read(&mut chunk) {
                Ok(0) => {
                    eof = true;
                    break;
                }
                Ok(length) => {
                    let lingering = matches!(connection.phase, Phase::Lingering { .. });
                    if !lingering {
                        connection.input.extend_from_slice(chunk.get(..length).unwrap_or_default());
                    }
                    if length < chunk.len() && !ending {
                        break;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
            if connection.input.len() > REQUEST_LIMIT {
                return false;
            }
        }
        while !connection.close_after_output && matches!(connection.phase, Phase::Idle { .. }) {
            let Some(request) = take_request(&mut connection.input) else { break };
            self.answer(connection, &request);
        }
        if eof {
            // A client that has gone wants no answer, unless it only ended its own half.
            return !connection.output.is_empty() && flush(connection) && !connection.output.is_empty();
        }
        flush(connection)
    }

    fn answer(&mut self, connection: &mut Connection, request: &Request) {
        let mut words = request.path.split('/').skip(1);
        let verb = words.next().unwrap_or_default();
        let number: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let body = match verb {
            "sleep" => {
                let until = now() + Duration::from_millis(u64::try_from(number).unwrap_or(0));
                connection.phase = Phase::Sleeping { until, close: request.close };
                return;
            }
            "exit" => {
                self.exit = u8::try_from(number).ok();
                return;
            }
            "abort" => std::process::abort(),
            "leak" => {
                self.leaked.push(vec![1; number << 20]);
                format!("{} leaks\n", self.leaked.len())
            }
            "big" => "x".repeat(number),
            "pid" => std::process::id().to_string(),
            "slot" => std::env::var("GANGER_WORKER").unwrap_or_default(),
            "gen" => std::env::var("GANGER_GENERATION").unwrap_or_default(),
            "env" => environment(),
            "fds" => descriptors(),
            _ => "ok\n".to_owned(),
        };
        self.respond(connection, &body, request.close);
    }

    fn respond(&self, connection: &mut Connection, body: &str, close: bool) {
        let close = close || self.draining;
        let said = if close { "Connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Worker: {}\r\n{said}\r\n",
            body.len(),
            self.identity,
        );
        connection.output.extend_from_slice(head.as_bytes());
        connection.output.extend_from_slice(body.as_bytes());
        connection.close_after_output = close;
        connection.phase = Phase::Idle { until: None };
    }

    /// When to exit by itself: a connection that is open then may end first, so that only what ganger does can lose
    /// a request.
    fn leave_at(&self, time: Instant) -> Option<Instant> {
        let between = |at: &Instant| *at > time || self.connections.is_empty();
        self.exit_at.map(|at| if between(&at) { at } else { at + LAST_CONNECTIONS })
    }

    /// Does what is due; returns how long until the next thing is.
    fn tick(&mut self) -> io::Result<Option<Duration>> {
        let time = now();
        if self.ready_at.is_some_and(|at| at <= time) {
            self.become_ready()?;
        }
        if self.leave_at(time).is_some_and(|at| at <= time) {
            self.exit = Some(code("exit-code", 0));
        }
        if self.hang_at.is_some_and(|at| at <= time) {
            loop {
                std::thread::park();
            }
        }
        if let Some((every, at)) = &mut self.ping
            && *at <= time
        {
            *at = time + *every;
            self.tell("WATCHDOG=1");
        }
        while let Some((at, token)) = self.deadlines.first().copied().filter(|(at, _)| *at <= time) {
            self.deadlines.pop_first();
            // A deadline that the connection has left behind means nothing.
            let current = |connection: &&Connection| connection.deadline() == Some(at);
            if self.connections.get(&token).filter(current).is_none() {
                continue;
            }
            let Some(mut connection) = self.connections.remove(&token) else { continue };
            if let Phase::Sleeping { close, .. } = connection.phase {
                self.respond(&mut connection, "slept\n", close);
                if self.advance(&mut connection, false) {
                    self.keep(token, connection);
                }
            }
        }
        let own = [self.ready_at, self.leave_at(time), self.hang_at, self.ping.map(|(_, at)| at)];
        let next = own.into_iter().flatten().chain(self.deadlines.first().map(|(at, _)| *at)).min();
        Ok(next.map(|at| at.saturating_duration_since(now())))
    }

    fn run(&mut self, signals: &SignalFd) -> io::Result<ExitCode> {
        self.epoll.add(signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let wait = self.tick()?;
            if let Some(code) = self.exit {
                return Ok(ExitCode::from(code));
            }
            if self.draining && self.connections.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            // Round up: waking a moment early would spin.
            let timeout = wait.map_or(EpollTimeout::NONE, |wait| {
                EpollTimeout::try_from(wait + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
            });
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(err) => return Err(err.into()),
            };
            for event in events.iter().take(count) {
                match event.data() {
                    SIGNALS => {
                        while let Ok(Some(_)) = signals.read_signal() {
                            if option("ignore-term").is_none() {
                                self.drain();
                            }
                        }
                    }
                    token if token >= FIRST_CONNECTION => {
                        let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
                        self.serve(token, event.events().intersects(ends));
                    }
                    token => self.accept(token),
                }
            }
        }
    }
}

/// Writes what can be written; false when the connection is over.
fn flush(connection: &mut Connection) -> bool {
    let mut written = 0;
    while let Some(rest) = connection.output.get(written..).filter(|rest| !rest.is_empty()) {
        match connection.stream.write(rest) {
            Ok(length) => written += length,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => return false,
        }
    }
    connection.output.drain(..written);
    if connection.output.is_empty() && connection.close_after_output {
        if !matches!(connection.phase, Phase::Lingering { .. }) {
            connection.stream.end_writing();
        }
        connection.phase = Phase::Lingering { until: now() + LINGER };
    }
    true
}

fn environment() -> String {
    let mut lines: Vec<String> = std::env::vars().map(|(key, value)| format!("{key}={value}\n")).collect();
    lines.sort();
    lines.concat()
}

/// `NUMBER TARGET` a line, without the descriptor that reads the folder.
fn descriptors() -> String {
    let mut found: Vec<(i32, String)> = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(number), Ok(target)) = (number, std::fs::read_link(entry.path())) {
            found.push((number, target.display().to_string()));
        }
    }
    found.sort();
    let own = format!("/proc/{}/fd", std::process::id());
    found.into_iter().filter(|(_, to)| *to != own).map(|(fd, to)| format!("{fd} {to}\n")).collect()
}

#[expect(unsafe_code, reason = "an inherited descriptor can be had in no other way")]
fn inherited(fd: i32) -> OwnedFd {
    // SAFETY: LISTEN_FDS, or the caller's word for fd 0, gives this descriptor to this process, and it is
    // taken once, before anything else is opened.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn listeners() -> io::Result<Vec<Listener>> {
    if let Some(address) = option("listen") {
        return Ok(vec![Listener::bind(&address)?]);
    }
    if option("stdin").is_some() {
        return Ok(vec![Listener::adopt(inherited(0))?]);
    }
    // libsystemd checks LISTEN_PID, and that there are descriptors at all.
    let found = libsystemd::activation::receive_descriptors(false).map_err(io::Error::other)?;
    let raw = found.into_iter().map(std::os::fd::IntoRawFd::into_raw_fd);
    raw.map(|fd| Listener::adopt(inherited(fd))).collect()
}

fn start() -> io::Result<ExitCode> {
    let term: SigSet = [Signal::SIGTERM].into_iter().collect();
    term.thread_block()?;
    let signals = SignalFd::with_flags(&term, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let listeners = listeners()?;
    if option("print-env").is_some() {
        io::stdout().write_all(environment().as_bytes())?;
    }
    if option("print-fds").is_some() {
        io::stdout().write_all(descriptors().as_bytes())?;
    }
    if option("double-fork").is_some() {
        std::process::Command::new("setsid").args(["-f", "sleep", "1000"]).status()?;
    }
    let time = now();
    let variable = |name| std::env::var(name).unwrap_or_else(|_| "-".to_owned());
    let usec: Option<u64> = std::env::var("WATCHDOG_USEC").ok().and_then(|usec| usec.parse().ok());
    let every = usec.filter(|_| option("watchdog").is_some()).map(|usec| Duration::from_micros(usec / 2));
    let wants_notify = option("notify").is_some() || every.is_some();
    let mut worker = Worker {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        listeners,
        connections: BTreeMap::new(),
        deadlines: BTreeSet::new(),
        next: FIRST_CONNECTION,
        accepting: false,
        draining: false,
        grace: millis("grace").unwrap_or(Duration::from_secs(2)),
        ready_at: option("never-ready").is_none().then(|| time + millis("ready-after").unwrap_or_default()),
        exit_at: millis("exit-after").map(|after| time + after),
        hang_at: millis("hang").map(|after| time + after),
        ping: every.map(|every| (every, time + every)),
        notify: wants_notify.then(UnixDatagram::unbound).transpose()?,
        identity: format!(
            "{}/{}/{}",
            variable("GANGER_WORKER"),
            variable("GANGER_GENERATION"),
            std::process::id()
        ),
        leaked: Vec::new(),
        exit: None,
    };
    worker.run(&signals)
}

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--help") {
        let _ = io::stdout().write_all(USAGE.as_bytes());
        return ExitCode::SUCCESS;
    }
    start().unwrap_or_else(|err| {
        let _ = writeln!(io::stderr(), "worker: {err}");
        ExitCode::from(2)
    })
}
