//! A pool of real Node workers on a [`Hub`], with the smallest loop that can run them: one poll(2) over the
//! hub, the workers' output and whatever else a test waits for.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use ganger::node::{Farewell, Hub, InheritedSocket, Policy, Report, Trust, UniqueId, environment};
use ganger::plan::{Balance, Unmatched};
use ganger::time::Monotonic;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A wait that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const SHARED: Policy =
    Policy { balance: Balance::Shared, unmatched: Unmatched::Adopt, trust: Trust::Same };
pub(crate) const ROUND_ROBIN: Policy = Policy { balance: Balance::RoundRobin, ..SHARED };

pub(crate) fn now() -> Monotonic {
    let time = nix::time::ClockId::CLOCK_MONOTONIC.now().unwrap();
    Monotonic::from_origin(Duration::from(time))
}

pub(crate) fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node")
}

pub(crate) fn prepared(what: &[&str]) -> PathBuf {
    let output = Command::new(here().join("prepare")).args(what).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/node/prepare {what:?}: {error}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The versions under test; `GANGER_NODE_VERSIONS` names others.
pub(crate) fn versions() -> Vec<String> {
    let named = std::env::var("GANGER_NODE_VERSIONS").ok();
    let default = "18.20.8 20.20.2 22.23.3 24.21.0 26.10.0";
    named.as_deref().unwrap_or(default).split_whitespace().map(str::to_owned).collect()
}

/// The sockets that every pool inherits: TCP (fd 3), UDP (fd 4), a unix path, an abstract name.
pub(crate) struct Sockets {
    pub(crate) tcp: TcpListener,
    pub(crate) udp: UdpSocket,
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    unix: UnixListener,
    abstracted: UnixListener,
    _folder: tempfile::TempDir,
}

impl Sockets {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("app.sock");
        let tcp = TcpListener::bind("[::]:0").unwrap();
        let name = format!("ganger-test-{}", tcp.local_addr().unwrap().port());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            udp: UdpSocket::bind("0.0.0.0:0").unwrap(),
            unix: UnixListener::bind(&path).unwrap(),
            abstracted: UnixListener::bind_addr(&address).unwrap(),
            tcp,
            path,
            name,
            _folder: folder,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port()))
    }

    pub(crate) fn all(&self) -> Vec<OwnedFd> {
        let fds = [self.tcp.as_fd(), self.udp.as_fd(), self.unix.as_fd(), self.abstracted.as_fd()];
        fds.iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect()
    }

    pub(crate) fn only_tcp(&self) -> Vec<OwnedFd> {
        vec![self.tcp.as_fd().try_clone_to_owned().unwrap()]
    }
}

pub(crate) struct Pool {
    pub(crate) hub: Hub,
    pub(crate) node: PathBuf,
    pub(crate) preload: bool,
    pub(crate) policy: Policy,
    pub(crate) generation: u64,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) app: PathBuf,
    /// Instead of `node [preload] app`.
    pub(crate) argv: Vec<OsString>,
    pub(crate) workers: BTreeMap<UniqueId, Worker>,
    /// Facts that no wait has taken yet.
    pub(crate) facts: VecDeque<Fact>,
    next: u64,
}

pub(crate) struct Worker {
    pub(crate) child: Child,
    output: ChildStdout,
    partial: String,
    drained: bool,
    /// It got its stop signal when it had drained: on a busy machine it may need longer to leave by itself.
    shown_out: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fact {
    Report(Report),
    /// A line of the worker's output.
    Said(UniqueId, String),
    /// The process is gone, with this exit code (`None`: a signal; 0 if that came to one that had drained).
    Exited(UniqueId, Option<i32>),
}

impl Pool {
    pub(crate) fn new(version: &str, policy: Policy, app: &str, inherited: Vec<OwnedFd>) -> Self {
        let inherited = inherited.into_iter().map(|fd| InheritedSocket { fd, backlog: Some(1000) });
        Self {
            hub: Hub::new(inherited.collect()).unwrap(),
            node: prepared(&["node", version]),
            preload: true,
            policy,
            generation: 1,
            env: Vec::new(),
            app: here().join("apps").join(app),
            argv: Vec::new(),
            workers: BTreeMap::new(),
            facts: VecDeque::new(),
            next: 1,
        }
    }

    pub(crate) fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts one worker.
    pub(crate) fn spawn(&mut self) -> UniqueId {
        let worker = UniqueId::new(self.next).unwrap();
        self.next += 1;
        let channel = self.hub.open(worker, 0, self.generation, self.policy).unwrap();
        let mut command = Command::new("sh");
        // The channel comes as standard input and becomes descriptor 3.
        command.args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"]);
        if self.argv.is_empty() {
            command.arg(&self.node);
            if self.preload {
                let preload = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/node/drain.cjs");
                command.arg("--require").arg(preload);
            }
            command.arg(&self.app);
        } else {
            command.args(&self.argv);
        }
        command.envs(self.env.iter().cloned()).envs(environment(worker, ganger::node::Way::Direct, None));
        command.stdin(Stdio::from(channel)).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        self.workers.insert(
            worker,
            Worker { child, output, partial: String::new(), drained: false, shown_out: false },
        );
        worker
    }

    pub(crate) fn kill(&mut self, worker: UniqueId) {
        self.workers.get_mut(&worker).unwrap().child.kill().unwrap();
    }

    pub(crate) fn drain(&mut self, worker: UniqueId, timeout: Duration) {
        self.dismiss(worker, Farewell { message: None, signal: Some(15), timeout, is_last: false });
    }

    pub(crate) fn dismiss(&mut self, worker: UniqueId, farewell: Farewell) {
        let reports = self.hub.drain(now(), worker, farewell);
        self.facts.extend(reports.into_iter().map(Fact::Report));
    }

    /// Sends each worker whose time has come its SIGTERM, as the daemon does.
    fn take(&mut self, reports: Vec<Report>) {
        for report in reports {
            if let Report::Drained { worker } = &report
                && let Some(process) = self.workers.get_mut(worker)
            {
                process.drained = true;
            }
            if let Report::SignalDue { worker } = &report
                && let Some(process) = self.workers.get_mut(worker)
            {
                process.shown_out = process.drained;
                let pid = nix::unistd::Pid::from_raw(i32::try_from(process.child.id()).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            }
            self.facts.push_back(Fact::Report(report));
        }
    }

    /// One round of the loop: waits until something happens (`extra` included) or `until`.
    pub(crate) fn step(&mut self, extra: Option<&UnixStream>, until: Monotonic) {
        let deadline = self.hub.next_deadline().map_or(until, |deadline| deadline.min(until));
        let wait = deadline.since(now());
        let timeout = PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap();
        let mut fds = vec![PollFd::new(self.hub.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.workers.values().map(|worker| PollFd::new(worker.output.as_fd(), PollFlags::POLLIN)));
        fds.extend(extra.map(|extra| PollFd::new(extra.as_fd(), PollFlags::POLLIN)));
        poll(&mut fds, timeout).unwrap();
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        loop {
            let turn = self.hub.turn(now());
            self.take(turn.reports);
            if !turn.more {
                break;
            }
        }
        let ids: Vec<UniqueId> = self.workers.keys().copied().collect();
        for (worker, _) in ids.into_iter().zip(ready.into_iter().skip(1)).filter(|(_, ready)| *ready) {
            self.read_output(worker);
        }
    }

    fn read_output(&mut self, id: UniqueId) {
        let worker = self.workers.get_mut(&id).unwrap();
        let mut bytes = [0; 65536];
        let count = worker.output.read(&mut bytes).unwrap();
        if count > 0 {
            worker.partial.push_str(&String::from_utf8_lossy(&bytes[..count]));
            while let Some((line, rest)) = worker.partial.split_once('\n') {
                self.facts.push_back(Fact::Said(id, line.to_owned()));
                worker.partial = rest.to_owned();
            }
            return;
        }
        let code = worker.child.wait().unwrap().code().or(worker.shown_out.then_some(0));
        self.workers.remove(&id);
        let reports = self.hub.exited(now(), id);
        self.take(reports);
        self.facts.push_back(Fact::Exited(id, code));
    }

    /// Waits for a fact and takes it out. What comes before it stays.
    pub(crate) fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&Fact) -> Option<T>) -> T {
        let until = now() + PATIENCE;
        loop {
            if let Some(at) = self.facts.iter().position(|fact| wanted(fact).is_some()) {
                let fact = self.facts.remove(at).unwrap();
                return wanted(&fact).unwrap();
            }
            assert!(now() < until, "{what}: not seen; seen: {:#?}", self.facts);
            self.step(None, until);
        }
    }

    pub(crate) fn listening(&mut self, worker: UniqueId) {
        self.wait(&format!("worker {worker} listens"), |fact| match fact {
            Fact::Report(Report::Listening { worker: who, .. }) if *who == worker => Some(()),
            Fact::Report(_) | Fact::Said(..) | Fact::Exited(..) => None,
        });
    }

    pub(crate) fn exited(&mut self, worker: UniqueId) -> Option<i32> {
        self.wait(&format!("worker {worker} exits"), |fact| match fact {
            Fact::Exited(who, code) if *who == worker => Some(*code),
            Fact::Report(_) | Fact::Said(..) | Fact::Exited(..) => None,
        })
    }

    /// What the worker says after `word `.
    pub(crate) fn said(&mut self, worker: UniqueId, word: &str) -> serde_json::Value {
        self.wait(&format!("worker {worker} says {word}"), |fact| match fact {
            Fact::Said(who, line) if *who == worker => {
                let rest = line.strip_prefix(word)?.trim();
                Some(serde_json::from_str(rest).unwrap_or_else(|_| rest.into()))
            }
            Fact::Report(_) | Fact::Said(..) | Fact::Exited(..) => None,
        })
    }

    /// Runs the loop while `work` runs in a thread of its own.
    pub(crate) fn during<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let outcome = work();
            drop(theirs);
            outcome
        });
        let until = now() + PATIENCE;
        while !thread.is_finished() {
            assert!(now() < until, "a client did not finish; seen: {:#?}", self.facts);
            self.step(Some(&ours), until);
        }
        thread.join().unwrap()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in self.workers.values_mut() {
            // Gone already is as good.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}
