//! One connection of the load client: connect, send, read, and how it ended.

use super::{Class, Target};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, sockopt};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

/// What hearing from a connection led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Pending,
    /// The server closed it while no request was on it.
    IdleClosed,
    Ended(Class),
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Connecting,
    /// Connected, no request on it.
    Idle,
    Waiting,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) wake: Option<Instant>,
    socket: Option<OwnedFd>,
    state: State,
    /// It has answered before.
    reused: bool,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    due: Option<Instant>,
    /// The oldest generation that may answer.
    oldest: u64,
    answer: Option<Answer>,
}

/// How a request ended, besides its class.
pub(super) struct End {
    pub(super) due: Instant,
    pub(super) fresh: bool,
    pub(super) worker: Option<String>,
}

/// The head of an answer.
#[derive(Clone, Debug)]
struct Answer {
    head: usize,
    status: u16,
    length: Length,
    close: bool,
    worker: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

impl Connection {
    pub(super) fn busy(&self) -> bool {
        match self.state {
            State::Connecting | State::Waiting => true,
            State::Closed | State::Idle => false,
        }
    }

    /// Puts a request on it, connecting first where it is closed.
    pub(super) fn begin(
        &mut self,
        target: &Target,
        epoll: &Epoll,
        index: usize,
        request: &[u8],
        due: Instant,
        oldest: u64,
    ) -> Progress {
        self.output.clear();
        self.output.extend_from_slice(request);
        self.input.clear();
        (self.written, self.due, self.oldest, self.answer) = (0, Some(due), oldest, None);
        if matches!(self.state, State::Idle) {
            self.state = State::Waiting;
            return self.advance();
        }
        self.reused = false;
        match connect(target) {
            Ok((socket, connected)) => {
                let flags =
                    EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
                let event = EpollEvent::new(flags, u64::try_from(index).expect("an index"));
                epoll.add(&socket, event).expect("epoll takes a socket");
                self.socket = Some(socket);
                self.state = if connected { State::Waiting } else { State::Connecting };
                if connected { self.advance() } else { Progress::Pending }
            }
            Err(_) => {
                self.state = State::Connecting;
                Progress::Ended(Class::Refused)
            }
        }
    }

    /// Does what can be done without waiting.
    pub(super) fn advance(&mut self) -> Progress {
        if matches!(self.state, State::Connecting) {
            let Some(socket) = &self.socket else { return Progress::Pending };
            match socket::getsockopt(socket, sockopt::SocketError) {
                Ok(0) if socket::getpeername::<SockaddrStorage>(socket.as_raw_fd()).is_ok() => {
                    self.state = State::Waiting
                }
                Ok(0) => return Progress::Pending,
                Ok(_) | Err(_) => return Progress::Ended(Class::Refused),
            }
        }
        match self.state {
            State::Closed | State::Connecting => Progress::Pending,
            State::Idle => self.heard_while_idle(),
            State::Waiting => self.exchange(),
        }
    }

    /// A server has nothing to say here but that it closes.
    fn heard_while_idle(&mut self) -> Progress {
        match self.read() {
            Err(Errno::EAGAIN) => Progress::Pending,
            Ok(_) | Err(_) => {
                (self.socket, self.state) = (None, State::Closed);
                Progress::IdleClosed
            }
        }
    }

    fn exchange(&mut self) -> Progress {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            let Some(socket) = &self.socket else { return Progress::Pending };
            match socket::send(socket.as_raw_fd(), rest, socket::MsgFlags::MSG_NOSIGNAL) {
                Ok(length) => self.written += length,
                Err(Errno::EAGAIN) => break,
                // What was answered before the reset, if anything, is still to be read.
                Err(_) => break,
            }
        }
        loop {
            match self.read() {
                Ok(0) => return Progress::Ended(self.closed(Class::EofFresh, Class::EofReused)),
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Progress::Pending,
                Err(_) => return Progress::Ended(self.closed(Class::ResetFresh, Class::ResetReused)),
            }
            match self.complete() {
                Ok(true) => return Progress::Ended(self.judge()),
                Ok(false) => {}
                Err(()) => return Progress::Ended(Class::Malformed),
            }
        }
    }

    fn read(&mut self) -> Result<usize, Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::EAGAIN) };
        let mut chunk = [0; 16 * 1024];
        let length = socket::recv(socket.as_raw_fd(), &mut chunk, socket::MsgFlags::empty())?;
        self.input.extend_from_slice(&chunk[..length]);
        Ok(length)
    }

    /// The connection ended before the answer was known to.
    fn closed(&self, fresh: Class, reused: Class) -> Class {
        match &self.answer {
            Some(answer) if answer.length == Length::UntilClosed && fresh == Class::EofFresh => self.judge(),
            Some(_) => Class::Truncated,
            None if !self.input.is_empty() => Class::Truncated,
            None if self.reused => reused,
            None => fresh,
        }
    }

    fn complete(&mut self) -> Result<bool, ()> {
        if self.answer.is_none() {
            self.answer = Answer::parse(&self.input)?;
        }
        let Some(answer) = &self.answer else { return Ok(false) };
        let body = self.input.get(answer.head..).unwrap_or_default();
        Ok(match answer.length {
            Length::Known(length) => body.len() >= length,
            Length::Chunked => body.ends_with(b"0\r\n\r\n"),
            Length::UntilClosed => false,
        })
    }

    fn judge(&self) -> Class {
        let Some(answer) = &self.answer else { return Class::Malformed };
        let generation =
            answer.worker.as_ref().and_then(|worker| worker.split('/').nth(1)?.parse::<u64>().ok());
        if !(200..300).contains(&answer.status) {
            Class::Status
        } else if self.oldest > 0 && generation.is_none_or(|generation| generation < self.oldest) {
            Class::WrongGeneration
        } else {
            Class::Ok
        }
    }

    /// Takes the request off it; it stays open where `keep` and the server did not say close.
    pub(super) fn end(&mut self, keep: bool) -> End {
        let answer = self.answer.take();
        let fresh = !self.reused && self.socket.is_some();
        let stays =
            answer.as_ref().is_some_and(|answer| !answer.close && answer.length != Length::UntilClosed);
        if keep && stays {
            (self.state, self.reused) = (State::Idle, true);
        } else {
            (self.socket, self.state) = (None, State::Closed);
        }
        let due = self.due.take().expect("a request was on it");
        End { due, fresh, worker: answer.and_then(|answer| answer.worker) }
    }
}

/// A socket on its way to the target, and whether it is there already.
fn connect(target: &Target) -> Result<(OwnedFd, bool), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (socket, result) = match target {
        Target::Tcp(address) => {
            let address = SockaddrStorage::from(*address);
            let family =
                if address.as_sockaddr_in().is_some() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let socket = socket::socket(family, SockType::Stream, flags, None)?;
            socket::setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
            let result = socket::connect(socket.as_raw_fd(), &address);
            (socket, result)
        }
        Target::Unix(path) => {
            let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            let result = socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?);
            (socket, result)
        }
    };
    match result {
        Ok(()) => Ok((socket, true)),
        Err(Errno::EINPROGRESS) => Ok((socket, false)),
        Err(err) => Err(err),
    }
}

impl Answer {
    /// `None` while the head is not whole.
    fn parse(input: &[u8]) -> Result<Option<Answer>, ()> {
        let looks_right = input.iter().zip(b"HTTP/1.").all(|(got, wanted)| got == wanted);
        if !looks_right {
            return Err(());
        }
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(())?;
        let mut answer = Answer {
            head: end + 4,
            status,
            length: Length::UntilClosed,
            close: first.starts_with("HTTP/1.0"),
            worker: None,
        };
        for (key, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match key.to_ascii_lowercase().as_str() {
                "content-length" => answer.length = Length::Known(value.parse().map_err(|_| ())?),
                "transfer-encoding" => answer.length = Length::Chunked,
                "connection" => answer.close = value.eq_ignore_ascii_case("close"),
                "x-worker" => answer.worker = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(Some(answer))
    }
}
