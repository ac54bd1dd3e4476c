//! The checked desired state of one app: what runs, how many, on which sockets, under which policies.
//!
//! A [`Plan`] is made by [`crate::config`] and believed by everyone behind it: nothing checks it again.
//! Plans are plain values; they compare, and [`Plan::diff`] says what changed between two of them.

mod calendar;
mod diff;
mod name;
mod template;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use calendar::{Calendar, CalendarError, CivilTime};
pub use diff::Change;
pub use name::{AppName, NameError};
pub use template::{SlotTemplate, TemplateError};

/// The most workers a plan may ask for.
pub const MAX_WORKERS: u32 = 4096;

/// Everything that ganger was told to do for one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The app's name; also the name of its units.
    pub app: AppName,
    /// What a worker runs.
    pub command: Command,
    /// How many workers there are to be.
    pub workers: u32,
    /// Sockets that ganger opens itself when it was given none.
    pub listen: Vec<Listen>,
    /// How the sockets reach a worker.
    pub protocol: Protocol,
    /// Further conventions by which a worker may look for its sockets.
    pub socket_env: Vec<SocketEnv>,
    /// When a worker counts as up.
    pub ready: Ready,
    /// What happens after a worker's exit.
    pub restart: Restart,
    /// How a worker is asked to leave.
    pub stop: Stop,
    /// How one generation replaces another.
    pub reload: Reload,
    /// When a healthy worker is replaced by a fresh one.
    pub recycle: Recycle,
    /// What one worker may use (per-worker control group).
    pub limit: Limit,
    /// Silence after which a worker that sends `WATCHDOG=1` is replaced; `None`: no `WATCHDOG_USEC` is given.
    pub watchdog: Option<Duration>,
    /// Regular questions to each worker.
    pub health: Option<Health>,
    /// Where a worker's output goes.
    pub log: Log,
    /// What concerns Node.js workers only.
    pub node: Node,
}

/// What a worker runs, and where. `Debug` leaves the values of the environment out: they may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// argv; never empty.
    pub argv: Vec<OsString>,
    /// Working directory with symbolic links resolved when the plan was made; `None`: ganger's own.
    pub directory: Option<PathBuf>,
    /// Environment on top of ganger's own (env-file, `[env]`, the profile's env, in that order).
    pub env: BTreeMap<OsString, OsString>,
    /// User to become (needs root); `None`: ganger's own.
    pub user: Option<String>,
    /// Group to become (needs root); `None`: the user's primary group.
    pub group: Option<String>,
    /// Name of the variable that carries the slot number besides `GANGER_WORKER` (`NODE_APP_INSTANCE`).
    pub instance_var: String,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("directory", &self.directory)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("user", &self.user)
            .field("group", &self.group)
            .field("instance_var", &self.instance_var)
            .finish()
    }
}

/// One address to listen on, in the words of `ListenStream=` and `ListenDatagram=` (systemd.socket(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Stream, datagram or sequential packet.
    pub kind: SocketKind,
    /// Where.
    pub address: Address,
    /// `FileDescriptorName=`.
    pub name: String,
    /// listen(2) backlog.
    pub backlog: u32,
}

/// The socket types that a worker can inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_DGRAM`.
    Datagram,
    /// `SOCK_SEQPACKET` (unix only).
    SeqPacket,
}

/// A socket address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6; `[::]` also takes IPv4.
    Inet(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
    /// A name in the abstract namespace (without its leading NUL).
    Abstract(Vec<u8>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}

/// How the inherited sockets reach a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `LISTEN_FDS`, descriptors from 3 (sd_listen_fds(3)).
    ListenFds,
    /// The first socket is descriptor 0 (inetd's `wait`, FastCGI, Java's `inheritedChannel`).
    Stdin,
    /// Node's cluster channel on descriptor 3.
    Node,
}

/// Compatibility names for the inherited sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEnv {
    /// `EINHORN_FD_COUNT`, `EINHORN_FD_0` …
    Einhorn,
    /// `SERVER_STARTER_PORT`.
    ServerStarter,
}

/// When a worker counts as up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Which sign is believed.
    pub when: ReadyWhen,
    /// How long the sign may take; when it has not come by then, the start has failed.
    pub timeout: Duration,
    /// What to ask with `when = "http"`.
    pub http: Option<HttpProbe>,
    /// The descriptor that a worker writes a newline to with `when = "fd"`; `None`: the first one after its
    /// sockets (told as `GANGER_READY_FD`).
    pub fd: Option<u32>,
}

/// The signs of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyWhen {
    /// The first of `notify`, `listening` and `message`.
    Auto,
    /// `READY=1` on the worker's notify socket (sd_notify(3)).
    Notify,
    /// The worker is seen to wait on an inherited socket, or says so (Node's `listening`).
    Listening,
    /// Node's `process.send('ready')`.
    Message,
    /// A newline on a descriptor (s6's readiness notification).
    Fd,
    /// An HTTP probe is answered with a status below 400.
    Http,
    /// The worker lived for `restart.min-uptime`.
    Started,
}

/// An HTTP request that a healthy worker answers with a status below 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// Where the worker is reached.
    pub address: ProbeAddress,
    /// Path and query, with the leading slash.
    pub path: String,
    /// `Host:` header.
    pub host: String,
}

/// Where a probe reaches one particular worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAddress {
    /// The first inherited stream socket. It is shared: an answer counts for the worker that accepted.
    Shared,
    /// `host:port` of the worker's own, with `{slot}` or `{9100+slot}` in it.
    Inet(SlotTemplate),
    /// Path of a unix socket of the worker's own, with `{slot}` in it.
    Unix(SlotTemplate),
}

/// What happens after a worker's exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// Which exits are followed by a new worker.
    pub policy: RestartPolicy,
    /// A worker that lived shorter than this (after it was ready) has failed early: its slot backs off.
    pub min_uptime: Duration,
    /// How long a slot waits after early failures.
    pub backoff: Backoff,
    /// When a slot counts as failed.
    pub limit: StartLimit,
    /// How often a failed slot is tried again; `None`: not until `reset`, `restart` or `reload`.
    pub retry: Option<Duration>,
    /// What happens when every slot is failed.
    pub all_failed: AllFailed,
}

/// systemd.service(5)'s `Restart=` for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever the exit was.
    Always,
    /// Unless the worker exited with status 0.
    OnFailure,
    /// Never: the slot stays empty.
    Never,
}

/// Exponential backoff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first early failure.
    pub initial: Duration,
    /// Each further wait is this many times longer, in percent (200 = twice).
    pub factor_percent: u32,
    /// The longest wait.
    pub max: Duration,
    /// Each wait is lengthened by a random part of at most this many percent.
    pub jitter_percent: u32,
}

/// `StartLimitBurst=` in `StartLimitIntervalSec=` (systemd.unit(5)), for one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartLimit {
    /// So many restarts are allowed …
    pub burst: u32,
    /// … within this span; zero: no limit.
    pub interval: Duration,
}

/// What happens when every slot is failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllFailed {
    /// ganger stays, says so, and tries again every `restart.retry`.
    Retry,
    /// ganger ends with an error: the unit fails.
    Exit,
}

/// How a worker is asked to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Signal number that asks for it; `None`: no signal is sent.
    pub signal: Option<i32>,
    /// How long the worker may take before it is killed.
    pub timeout: Duration,
    /// A message to a Node worker (PM2's `"shutdown"`), sent before anything else.
    pub message: Option<String>,
}

/// How one generation replaces another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// So many workers may exist beyond the wanted number; at least 1.
    pub max_surge: u32,
    /// How long a new worker must stay up after it is ready before an old one is let go.
    pub bake: Duration,
}

/// When a healthy worker is replaced by a fresh one (always the new one first, one at a time).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recycle {
    /// Above this many bytes (memory of the worker's control group, else the PSS of its processes).
    pub memory: Option<u64>,
    /// After this time.
    pub lifetime: Option<Duration>,
    /// Each worker's lifetime is lengthened by a random part of at most this many percent.
    pub jitter_percent: u32,
    /// At these times (calendar expression of systemd.time(7)).
    pub calendar: Option<Calendar>,
}

/// What one worker may use (cgroup v2; `MemoryMax=`, `MemoryHigh=`, `CPUQuota=`, `TasksMax=`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limit {
    /// `memory.max`, bytes.
    pub memory: Option<u64>,
    /// `memory.high`, bytes.
    pub memory_high: Option<u64>,
    /// `cpu.max`, percent of one CPU.
    pub cpu_percent: Option<u32>,
    /// `pids.max`.
    pub tasks: Option<u64>,
}

impl Limit {
    /// Nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Regular questions to each ready worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The question.
    pub check: HealthCheck,
    /// Time between two questions.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many failures in a row make a worker sick; it is then replaced.
    pub failures: u32,
    /// Failures in this span after a worker's start do not count.
    pub grace: Duration,
}

/// How a worker's health is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// By an HTTP request.
    Http(HttpProbe),
    /// By a command: exit status 0 is healthy. It gets the worker's environment and `GANGER_PID`.
    Exec(Vec<OsString>),
}

/// Where a worker's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Descriptor 1.
    pub stdout: Sink,
    /// Descriptor 2.
    pub stderr: Sink,
}

/// One place for a worker's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// The journal when ganger runs under systemd, the terminal (with prefixes) otherwise.
    Auto,
    /// A journal stream of the worker's own.
    Journal,
    /// ganger's own descriptor, as it is.
    Inherit,
    /// `/dev/null`.
    Null,
    /// Appended to a file.
    File(PathBuf),
}

/// What concerns Node.js workers only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Who accepts connections.
    pub balance: Balance,
    /// The drain preload is given to workers.
    pub drain: bool,
    /// What a `listen()` that matches no inherited socket gets.
    pub unmatched: Unmatched,
}

/// Who accepts connections of Node workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The workers, on the shared socket: ganger is out of the data path.
    Shared,
    /// ganger, which hands each connection to the next worker.
    RoundRobin,
}

/// What a Node worker's `listen()` gets that matches no inherited socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// The only inherited socket of that kind where there is just one and nobody has claimed it,
    /// otherwise a socket that ganger binds.
    Adopt,
    /// A socket that ganger binds.
    Bind,
    /// An error (`EACCES`).
    Refuse,
}
