//! The document's shape of a plan. What the fields mean stands at `plan::Plan`, whose names they bear.
#![expect(missing_docs, reason = "each field and word is documented where it is decided: in `plan`")]

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bytes, Span};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    pub app: String,
    pub command: Command,
    pub workers: u32,
    pub listen: Vec<Listen>,
    pub protocol: Protocol,
    pub socket_env: Vec<SocketEnv>,
    pub ready: Ready,
    pub restart: Restart,
    pub stop: Stop,
    pub reload: Reload,
    pub recycle: Recycle,
    pub limit: Limit,
    pub watchdog: Option<Span>,
    pub health: Option<Health>,
    pub log: Log,
    pub node: Node,
}

/// `Debug` leaves the values of the environment out: they may be secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Command {
    pub argv: Vec<Bytes>,
    pub directory: Option<Bytes>,
    /// Pairs, because a name need not be UTF-8 either.
    pub env: Vec<(Bytes, Bytes)>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub instance_var: String,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| String::from_utf8_lossy(&name.0)).collect();
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("directory", &self.directory)
            .field("env", &names)
            .field("user", &self.user)
            .field("group", &self.group)
            .field("instance_var", &self.instance_var)
            .finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listen {
    pub kind: SocketKind,
    pub address: Address,
    pub name: String,
    pub backlog: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketKind {
    Stream,
    Datagram,
    SeqPacket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// `ADDRESS:PORT`, numeric.
    Inet(String),
    Unix(Bytes),
    Abstract(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    ListenFds,
    Stdin,
    Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketEnv {
    Einhorn,
    ServerStarter,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ready {
    pub when: ReadyWhen,
    pub timeout: Span,
    pub http: Option<HttpProbe>,
    pub fd: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyWhen {
    Auto,
    Notify,
    Listening,
    Message,
    Fd,
    Http,
    Started,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpProbe {
    pub address: ProbeAddress,
    pub path: String,
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeAddress {
    Shared,
    /// A template with `{slot}` in it.
    Inet(String),
    /// A template with `{slot}` in it.
    Unix(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restart {
    pub policy: RestartPolicy,
    pub min_uptime: Span,
    pub backoff: Backoff,
    pub limit: StartLimit,
    pub retry: Option<Span>,
    pub all_failed: AllFailed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backoff {
    pub initial: Span,
    pub factor_percent: u32,
    pub max: Span,
    pub jitter_percent: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StartLimit {
    pub burst: u32,
    pub interval: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllFailed {
    Retry,
    Exit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stop {
    pub signal: Option<i32>,
    pub timeout: Span,
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reload {
    pub max_surge: u32,
    pub bake: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recycle {
    pub memory: Option<u64>,
    pub lifetime: Option<Span>,
    pub jitter_percent: u32,
    /// A calendar expression (systemd.time(7)).
    pub calendar: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limit {
    pub memory: Option<u64>,
    pub memory_high: Option<u64>,
    pub cpu_percent: Option<u32>,
    pub tasks: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    pub check: HealthCheck,
    pub interval: Span,
    pub timeout: Span,
    pub failures: u32,
    pub grace: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthCheck {
    Http(HttpProbe),
    Exec(Vec<Bytes>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Log {
    pub stdout: Sink,
    pub stderr: Sink,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    Auto,
    Journal,
    Inherit,
    Null,
    File(Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    pub balance: Balance,
    pub drain: bool,
    pub unmatched: Unmatched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    Shared,
    RoundRobin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unmatched {
    Adopt,
    Bind,
    Refuse,
}
