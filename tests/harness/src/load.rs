//! The load client: sends requests and says of each how it ended, so that "no request is lost" is a
//! number.
//!
//! Every request that was sent ends in exactly one [`Class`]. A reset or end of file is told apart by
//! whether the connection was fresh or had served before: on a reused connection it is the race that only
//! a server's drain can prevent. A keep-alive connection that the server closes while no request is on it
//! costs nothing, and is only counted. Nothing is retried.
//!
//! One thread, one epoll; latencies at a constant rate count from when a request was due, so that a
//! stall shows in full.

mod connection;
mod report;

pub use report::{Class, Report};

use connection::{Connection, Progress};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Before a connection is tried again that has just failed: a refused port is not to be hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(2);
/// How long a request may take unless said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where requests go.
#[derive(Clone, Debug)]
pub enum Target {
    /// An address on loopback.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// On each connection, this long after the last answer.
    Closed(Duration),
    /// This many a second over all connections, whether or not answers come.
    Rate(f64),
}

/// When no more requests are sent; those outstanding are waited for.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many were sent.
    Requests(u64),
    /// So much time has passed.
    Elapsed(Duration),
    /// [`Running::stop`].
    Stopped,
}

/// A load to be.
#[derive(Clone, Debug)]
pub struct Load {
    target: Target,
    path: String,
    connections: usize,
    pace: Pace,
    keep_alive: bool,
    until: Until,
    timeout: Duration,
}

impl Load {
    /// Closed loop without think time on 8 keep-alive connections to `/`, until stopped.
    pub fn new(target: Target) -> Load {
        let (path, pace) = ("/".to_owned(), Pace::Closed(Duration::ZERO));
        Load { target, path, connections: 8, pace, keep_alive: true, until: Until::Stopped, timeout: TIMEOUT }
    }

    /// The path to ask for.
    pub fn path(mut self, path: &str) -> Load {
        path.clone_into(&mut self.path);
        self
    }

    /// How many connections at most.
    pub fn connections(mut self, connections: usize) -> Load {
        self.connections = connections.max(1);
        self
    }

    /// When the next request is sent.
    pub fn pace(mut self, pace: Pace) -> Load {
        self.pace = pace;
        self
    }

    /// A fresh connection for each request.
    pub fn close_each(mut self) -> Load {
        self.keep_alive = false;
        self
    }

    /// When no more are sent.
    pub fn until(mut self, until: Until) -> Load {
        self.until = until;
        self
    }

    /// How long a request may take, connecting included, before it counts as [`Class::Timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Load {
        self.timeout = timeout;
        self
    }

    /// Sends it all and returns when it is over.
    pub fn run(self) -> Report {
        self.start().finish()
    }

    /// Sends it from a thread of its own, while the test reloads, kills and stops.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || Client::new(self, theirs).run());
        Running { shared, thread }
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    generation: AtomicU64,
}

/// A load under way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<Report>,
}

impl Running {
    /// How many requests were answered well so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until `more` requests are answered from now on: the load is on.
    ///
    /// # Panics
    /// After a minute without.
    #[track_caller]
    pub fn wait_for_answers(&self, more: u64) {
        let goal = self.answered() + more;
        assert!(
            crate::wait_until(|| self.answered() >= goal),
            "only {} of {goal} requests answered",
            self.answered()
        );
    }

    /// From now on a request answered by an older generation is [`Class::WrongGeneration`].
    pub fn expect_generation(&self, oldest: u64) {
        self.shared.generation.store(oldest, Ordering::Relaxed);
    }

    /// Sends no more, waits for what is outstanding.
    pub fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits for the load's own end.
    ///
    /// # Panics
    /// With the client's own panic.
    pub fn finish(self) -> Report {
        match self.thread.join() {
            Ok(report) => report,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Client {
    load: Load,
    shared: Arc<Shared>,
    epoll: Epoll,
    connections: Vec<Connection>,
    /// When a connection is to be looked at though nothing was heard: a think time or a timeout is over.
    wake: BTreeSet<(Instant, usize)>,
    /// Connections free for a request that is due (constant rate).
    free: Vec<usize>,
    /// When requests were due that found no free connection.
    overdue: VecDeque<Instant>,
    scheduled: u64,
    outstanding: usize,
    started: Instant,
    report: Report,
}

impl Client {
    fn new(load: Load, shared: Arc<Shared>) -> Client {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
        let connections: Vec<Connection> = (0..load.connections).map(|_| Connection::default()).collect();
        let started = Instant::now();
        let (wake, free) = match load.pace {
            Pace::Closed(_) => ((0..load.connections).map(|index| (started, index)).collect(), Vec::new()),
            Pace::Rate(_) => (BTreeSet::new(), (0..load.connections).collect()),
        };
        let mut client = Client {
            load,
            shared,
            epoll,
            connections,
            wake,
            free,
            overdue: VecDeque::new(),
            scheduled: 0,
            outstanding: 0,
            started,
            report: Report::default(),
        };
        for (at, index) in client.wake.clone() {
            client.connections[index].wake = Some(at);
        }
        client
    }

    fn run(mut self) -> Report {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let now = Instant::now();
            let over = self.over(now);
            if over && self.outstanding == 0 {
                self.report.elapsed = now - self.started;
                return self.report;
            }
            let next = self.due(now, over);
            let timeout = next.map_or(Duration::from_millis(20), |at| {
                at.saturating_duration_since(now).min(Duration::from_millis(20))
            });
            // Never late: spin over the last part of a millisecond when a rate must be kept.
            let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::ZERO);
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(err) => panic!("epoll_wait: {err}"),
            };
            for event in events.iter().take(count) {
                let index = usize::try_from(event.data()).expect("an index");
                // With the answer came the end: its edge is this one, there is no second.
                let ending = event.events().intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
                self.heard(index);
                if ending {
                    self.heard(index);
                }
            }
        }
    }

    fn over(&self, now: Instant) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
            || match self.load.until {
                Until::Requests(requests) => self.report.sent >= requests,
                Until::Elapsed(limit) => now - self.started >= limit,
                Until::Stopped => false,
            }
    }

    /// Sends what is due and fails what is late; returns when to look again.
    fn due(&mut self, now: Instant, over: bool) -> Option<Instant> {
        while let Some((at, index)) = self.wake.first().copied().filter(|(at, _)| *at <= now) {
            self.wake.remove(&(at, index));
            self.connections[index].wake = None;
            if self.connections[index].busy() {
                self.ended(index, Class::Timeout);
            } else if matches!(self.load.pace, Pace::Closed(_)) {
                // Asked again for each: this pass may itself send the last one.
                if !over && !self.over(now) {
                    self.send(index, now);
                }
            } else {
                self.free.push(index);
            }
        }
        let mut next = self.wake.first().map(|(at, _)| *at);
        if let Pace::Rate(rate) = self.load.pace
            && !over
        {
            let mut at = self.schedule(rate);
            while at <= now {
                self.overdue.push_back(at);
                self.scheduled += 1;
                at = self.schedule(rate);
            }
            while !self.overdue.is_empty() && !self.free.is_empty() && !self.over(now) {
                let (Some(due), Some(index)) = (self.overdue.pop_front(), self.free.pop()) else { break };
                self.send(index, due);
            }
            next = Some(next.map_or(at, |wake| wake.min(at)));
        }
        next
    }

    fn schedule(&self, rate: f64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "exact far beyond any load's length")]
        let after = self.scheduled as f64 / rate;
        self.started + Duration::from_secs_f64(after)
    }

    fn wake_at(&mut self, index: usize, at: Option<Instant>) {
        if let Some(old) = std::mem::replace(&mut self.connections[index].wake, at) {
            self.wake.remove(&(old, index));
        }
        self.wake.extend(at.map(|at| (at, index)));
    }

    fn send(&mut self, index: usize, due: Instant) {
        let request = request(&self.load);
        let oldest = self.shared.generation.load(Ordering::Relaxed);
        self.report.sent += 1;
        self.outstanding += 1;
        self.wake_at(index, Some(due.max(Instant::now()) + self.load.timeout));
        let progress =
            self.connections[index].begin(&self.load.target, &self.epoll, index, &request, due, oldest);
        self.follow(index, progress);
    }

    fn heard(&mut self, index: usize) {
        let progress = self.connections[index].advance();
        self.follow(index, progress);
    }

    fn follow(&mut self, index: usize, progress: Progress) {
        match progress {
            Progress::Pending => {}
            Progress::IdleClosed => self.report.idle_closed += 1,
            Progress::Ended(class) => self.ended(index, class),
        }
    }

    fn ended(&mut self, index: usize, class: Class) {
        let now = Instant::now();
        let connection = &mut self.connections[index];
        let end = connection.end(class == Class::Ok && self.load.keep_alive);
        self.outstanding -= 1;
        self.report.count(class);
        if class == Class::Ok {
            self.report.latency(now.saturating_duration_since(end.due));
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.report.connections += u64::from(end.fresh);
        if let Some(worker) = end.worker {
            *self.report.workers.entry(worker).or_default() += 1;
        }
        let pause = if class == Class::Ok { Duration::ZERO } else { PAUSE_AFTER_FAILURE };
        match self.load.pace {
            Pace::Closed(think) => self.wake_at(index, Some(now + think.max(pause))),
            Pace::Rate(_) if pause.is_zero() => {
                self.wake_at(index, None);
                self.free.push(index);
            }
            Pace::Rate(_) => self.wake_at(index, Some(now + pause)),
        }
    }
}

fn request(load: &Load) -> Vec<u8> {
    let connection = if load.keep_alive { "" } else { "Connection: close\r\n" };
    format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{connection}\r\n", load.path).into_bytes()
}

#[cfg(test)]
mod tests;
