//! Merged settings become a [`Plan`]; here stand the checks that concern more than one key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::plan::{
    AllFailed, AppName, Backoff, Balance, Command, Health, HealthCheck, Limit, Listen, Log, Node, Plan,
    ProbeAddress, Protocol, Ready, ReadyWhen, Recycle, Reload, Restart, RestartPolicy, SocketEnv, SocketKind,
    StartLimit, Stop, Unmatched,
};

use super::diagnostic::{At, Complaint, Report};
use super::kind::EnvFile;
use super::settings::Layer;
use super::source::{self, Sources, reason};
use super::{environment, probe, runtime};

/// The protocol of a command that names none, started in `directory`.
#[must_use]
pub fn default_protocol(argv: &[OsString], directory: &Path) -> Protocol {
    if runtime::ends_in_node(argv, directory) { Protocol::Node } else { Protocol::ListenFds }
}

/// Makes plans from settings.
pub(super) struct Builder<'a> {
    pub(super) settings: &'a Layer,
    pub(super) sources: &'a Sources,
    pub(super) report: &'a mut Report,
    /// The CPUs that this process may use.
    pub(super) cpus: u32,
    /// Where a missing `command` is reported.
    pub(super) main: At,
}

impl Builder<'_> {
    /// The plan; it is worthless when the report has errors.
    pub(super) fn plan(&mut self, app: AppName) -> Plan {
        let workers = self.settings.workers().on(self.cpus.max(1));
        let command = self.command();
        let protocol = match self.settings.choice("protocol") {
            Some("listen-fds") => Protocol::ListenFds,
            Some("stdin") => Protocol::Stdin,
            Some("node") => Protocol::Node,
            _ => default_protocol(&command.argv, command.directory.as_deref().unwrap_or(Path::new(""))),
        };
        let listen = self.listen(&app);
        let (ready, health) = (self.ready(protocol, workers), self.health(workers));
        let (restart, stop) = (self.restart(), self.stop(protocol));
        let (recycle, limit) = self.recycle_and_limit();
        let node = self.node(protocol);
        let s = self.settings;
        if protocol == Protocol::Stdin && listen.len() > 1 {
            let message = "`protocol` is \"stdin\": workers get the first of several sockets only";
            self.report.add(Complaint::warning(s.at("listen"), message));
        }
        Plan {
            app,
            command,
            workers,
            listen,
            protocol,
            socket_env: s.choices("socket-env").into_iter().map(socket_env).collect(),
            ready,
            restart,
            stop,
            reload: Reload { max_surge: s.count("reload.max-surge"), bake: s.span("reload.bake") },
            recycle,
            limit,
            watchdog: s.span_or_off("watchdog.worker"),
            health,
            log: Log { stdout: s.sink("log.stdout"), stderr: s.sink("log.stderr") },
            node,
        }
    }

    fn error(&mut self, key: &str, message: &str, hint: &str) {
        self.report.add(Complaint::error(self.settings.at(key), message).hint(hint));
    }

    fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.report.add(Complaint::warning(self.settings.at(key), message));
    }

    fn command(&mut self) -> Command {
        let argv: Vec<OsString> =
            self.settings.words("command").unwrap_or_default().into_iter().map(OsString::from).collect();
        if argv.is_empty() && self.settings.setting("command").is_none() && !self.report.has_errors() {
            let complaint = Complaint::error(self.main.clone(), "there is no `command`");
            self.report.add(complaint.hint("command = [\"node\", \"server.js\"]"));
        }
        let directory = self.directory();
        self.warn_of_missing_program(&argv, directory.as_deref());
        Command {
            argv,
            directory,
            env: self.environment(),
            user: self.settings.text("user"),
            group: self.settings.text("group"),
            instance_var: self.settings.text("instance-var").unwrap_or_default(),
        }
    }

    /// A program may still come (a mount, a build), so this is no error; a start without it is one.
    fn warn_of_missing_program(&mut self, argv: &[OsString], directory: Option<&Path>) {
        let Some(program) = argv.first().map(Path::new) else { return };
        if program.components().count() < 2 || (program.is_relative() && directory.is_none()) {
            return;
        }
        let program = directory.unwrap_or(Path::new("")).join(program);
        if fs::metadata(&program).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            self.warn("command", format!("the program {} does not exist", program.display()));
        }
    }

    /// A relative path starts at the directory of the file that says it.
    fn resolve(&self, path: &str, at: &At) -> PathBuf {
        let base = match at {
            At::Span { file, .. } => self.sources.get(*file).and_then(|source| source.path.parent()),
            At::Default | At::Flag(_) | At::Path(..) => None,
        };
        base.unwrap_or(Path::new("")).join(path)
    }

    /// Links are resolved now: a worker of this plan that is started later must find the same release.
    fn directory(&mut self) -> Option<PathBuf> {
        let path = self.settings.path("directory")?;
        let at = self.settings.at("directory");
        let path = self.resolve(&path, &at);
        let fault = match fs::canonicalize(&path) {
            Ok(resolved) if resolved.is_dir() => return Some(resolved),
            Ok(_) => "it is not a directory".to_owned(),
            Err(error) => reason(&error),
        };
        let message = format!("cannot use the directory {}: {fault}", path.display());
        self.report.add(Complaint::error(at, message));
        None
    }

    fn environment(&mut self) -> BTreeMap<OsString, OsString> {
        let mut env = BTreeMap::new();
        for file in self.settings.env_files() {
            env.extend(self.env_file(&file).into_iter().map(|(name, value)| (name.into(), value.into())));
        }
        for (name, variable) in &self.settings.variables {
            env.insert(OsString::from(name), OsString::from(&variable.value));
        }
        if env.len() > environment::MAX_VARIABLES {
            self.report.add(Complaint::error(self.main.clone(), "more than 10000 environment variables"));
        }
        env
    }

    fn env_file(&mut self, file: &EnvFile) -> Vec<(String, String)> {
        let path = self.resolve(&file.path, &file.at);
        let bytes = match source::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if file.optional && error.is_not_found() => return Vec::new(),
            Err(error) => {
                let missing = error.is_not_found();
                let why = error.complain(&path, &format!("the env-file {}", path.display()));
                let complaint = Complaint { at: file.at.clone(), ..why };
                self.report.add(if missing {
                    complaint.hint("a leading - lets the file be missing")
                } else {
                    complaint
                });
                return Vec::new();
            }
        };
        match source::text_of(&path, bytes) {
            Ok(text) => {
                let (variables, faults) = environment::read_file(&path, &text);
                faults.into_iter().for_each(|fault| self.report.add(fault));
                variables
            }
            Err(complaint) => {
                self.report.add(*complaint);
                Vec::new()
            }
        }
    }

    fn listen(&mut self, app: &AppName) -> Vec<Listen> {
        let mut listen: Vec<Listen> = Vec::new();
        for entry in self.settings.listen() {
            let port_zero = matches!(&entry.address, crate::plan::Address::Inet(inet) if inet.port() == 0);
            let twice = listen.iter().any(|l| l.address == entry.address && l.kind == entry.kind);
            if twice && !port_zero {
                self.report.add(Complaint::error(entry.at, "this address stands in `listen` twice"));
                continue;
            }
            if entry.kind != SocketKind::Datagram && port_zero && matches!(entry.at, At::Span { .. }) {
                let message = "port 0: the port is another one at every start";
                self.report.add(Complaint::warning(entry.at, message));
            }
            let name = entry.name.unwrap_or_else(|| app.to_string());
            listen.push(Listen { kind: entry.kind, address: entry.address, name, backlog: entry.backlog });
        }
        listen
    }

    fn ready(&mut self, protocol: Protocol, workers: u32) -> Ready {
        let s = self.settings;
        let http = self.probe("ready.http", workers);
        let when = if s.is_given("ready.when") {
            ready_when(s.choice("ready.when"))
        } else if http.is_some() {
            ReadyWhen::Http
        } else if s.is_given("ready.fd") {
            ReadyWhen::Fd
        } else {
            ReadyWhen::Auto
        };
        match when {
            ReadyWhen::Http if http.is_none() && !s.is_given("ready.http") => {
                let hint = "http = \"http://127.0.0.1:{9100+slot}/healthz\" below [ready]";
                self.error("ready.when", "`ready.when` is \"http\", but there is no `ready.http`", hint);
            }
            ReadyWhen::Message if protocol != Protocol::Node => {
                let hint = "set protocol = \"node\", or use \"notify\"";
                self.error("ready.when", "only a Node worker can send \"ready\" as a message", hint);
            }
            ReadyWhen::Auto
            | ReadyWhen::Notify
            | ReadyWhen::Listening
            | ReadyWhen::Message
            | ReadyWhen::Fd
            | ReadyWhen::Http
            | ReadyWhen::Started => {}
        }
        if http.is_some() && when != ReadyWhen::Http {
            self.warn("ready.http", "`ready.http` has no effect: `ready.when` is not \"http\"");
        }
        if s.is_given("ready.fd") && when != ReadyWhen::Fd {
            self.warn("ready.fd", "`ready.fd` has no effect: `ready.when` is not \"fd\"");
        }
        if let Some(probe) = &http
            && probe.address == ProbeAddress::Shared
        {
            let hint = "give each worker an address of its own: \"http://127.0.0.1:{9100+slot}/healthz\"";
            let message =
                "`ready.http` asks the shared socket, where an older worker may answer for a new one";
            self.error("ready.http", message, hint);
        }
        Ready { when, timeout: s.span("ready.timeout"), http, fd: s.count_or_off("ready.fd") }
    }

    /// A probe that reaches each worker: its own address must be one in every slot, and differ.
    fn probe(&mut self, key: &str, workers: u32) -> Option<crate::plan::HttpProbe> {
        let probe = self.settings.probe(key)?;
        if let Some(slot) = probe::bad_slot(&probe, workers) {
            let message = format!("`{key}` is no address in slot {slot}");
            let complaint = Complaint::error(self.settings.at(key), message);
            self.report.add(complaint.expected("a port of at most 65535 in every slot"));
        }
        if probe.address != ProbeAddress::Shared && !probe::is_own(&probe) {
            let message = format!("`{key}` asks the same address for every worker");
            let hint = "put {slot} or {9100+slot} into it";
            self.error(key, &message, hint);
        }
        Some(probe)
    }

    fn restart(&mut self) -> Restart {
        let s = self.settings;
        let backoff = Backoff {
            initial: s.span("restart.backoff.initial"),
            factor_percent: s.percent("restart.backoff.factor").unwrap_or(100),
            max: s.span("restart.backoff.max"),
            jitter_percent: s.percent("restart.backoff.jitter").unwrap_or(0),
        };
        if backoff.max < backoff.initial {
            let given = if s.is_given("restart.backoff.max") {
                "restart.backoff.max"
            } else {
                "restart.backoff.initial"
            };
            self.error(given, "`restart.backoff.max` is shorter than `restart.backoff.initial`", "raise max");
        }
        Restart {
            policy: match s.choice("restart.policy") {
                Some("on-failure") => RestartPolicy::OnFailure,
                Some("never") => RestartPolicy::Never,
                _ => RestartPolicy::Always,
            },
            min_uptime: s.span("restart.min-uptime"),
            backoff,
            limit: StartLimit {
                burst: s.count("restart.limit.burst"),
                interval: s.span("restart.limit.interval"),
            },
            retry: s.span_or_off("restart.retry"),
            all_failed: match s.choice("restart.all-failed") {
                Some("exit") => AllFailed::Exit,
                _ => AllFailed::Retry,
            },
        }
    }

    fn stop(&mut self, protocol: Protocol) -> Stop {
        let s = self.settings;
        let stop = Stop {
            signal: s.signal("stop.signal"),
            timeout: s.span("stop.timeout"),
            message: s.text("stop.message"),
        };
        if stop.message.is_some() && protocol != Protocol::Node {
            let hint = "set protocol = \"node\", or use `stop.signal`";
            self.error("stop.message", "only a Node worker can get `stop.message`", hint);
        }
        if stop.signal.is_none() && stop.message.is_none() && protocol != Protocol::Node {
            self.warn("stop.signal", "nothing asks a worker to leave: it is killed after `stop.timeout`");
        }
        stop
    }

    fn recycle_and_limit(&mut self) -> (Recycle, Limit) {
        let s = self.settings;
        let recycle = Recycle {
            memory: s.size("recycle.memory"),
            lifetime: s.span_or_off("recycle.lifetime"),
            jitter_percent: s.percent("recycle.jitter").unwrap_or(0),
            calendar: s.calendar("recycle.calendar"),
        };
        let limit = Limit {
            memory: s.size("limit.memory"),
            memory_high: s.size("limit.memory-high"),
            cpu_percent: s.percent("limit.cpu"),
            tasks: s.count_or_off("limit.tasks").map(u64::from),
        };
        if let (Some(recycle), Some(limit)) = (recycle.memory, limit.memory)
            && recycle >= limit
        {
            let message =
                "`recycle.memory` is not below `limit.memory`: a worker is killed before it is replaced";
            self.warn("recycle.memory", message);
        }
        if let (Some(high), Some(max)) = (limit.memory_high, limit.memory)
            && high > max
        {
            self.warn("limit.memory-high", "`limit.memory-high` has no effect above `limit.memory`");
        }
        if limit.cpu_percent == Some(0) {
            self.error("limit.cpu", "`limit.cpu` is 0%: a worker could never run", "\"off\" sets no limit");
        }
        (recycle, limit)
    }

    fn health(&mut self, workers: u32) -> Option<Health> {
        let s = self.settings;
        let http = self.probe("health.http", workers);
        let exec = s.words("health.exec");
        let check = match (http, exec) {
            (Some(http), None) => HealthCheck::Http(http),
            (None, Some(words)) => HealthCheck::Exec(words.into_iter().map(OsString::from).collect()),
            (Some(_), Some(_)) => {
                self.error(
                    "health.exec",
                    "`health.http` and `health.exec` are both given",
                    "set one to \"off\"",
                );
                return None;
            }
            (None, None) => {
                let off = s.setting("health.http").is_some() || s.setting("health.exec").is_some();
                if let Some((key, _)) = s.first_in("health")
                    && !off
                {
                    self.warn(key, format!("`{key}` has no effect without `health.http` or `health.exec`"));
                }
                return None;
            }
        };
        Some(Health {
            check,
            interval: s.span("health.interval"),
            timeout: s.span("health.timeout"),
            failures: s.count("health.failures"),
            grace: s.span("health.grace"),
        })
    }

    fn node(&mut self, protocol: Protocol) -> Node {
        let s = self.settings;
        if let Some((key, _)) = s.first_in("node")
            && protocol != Protocol::Node
        {
            self.warn(key, format!("`{key}` has no effect: `protocol` is not \"node\""));
        }
        Node {
            balance: match s.choice("node.balance") {
                Some("round-robin") => Balance::RoundRobin,
                _ => Balance::Shared,
            },
            drain: s.flag("node.drain"),
            unmatched: match s.choice("node.unmatched") {
                Some("bind") => Unmatched::Bind,
                Some("refuse") => Unmatched::Refuse,
                _ => Unmatched::Adopt,
            },
        }
    }
}

fn socket_env(word: &str) -> SocketEnv {
    if word == "einhorn" { SocketEnv::Einhorn } else { SocketEnv::ServerStarter }
}

fn ready_when(word: Option<&str>) -> ReadyWhen {
    match word {
        Some("notify") => ReadyWhen::Notify,
        Some("listening") => ReadyWhen::Listening,
        Some("message") => ReadyWhen::Message,
        Some("fd") => ReadyWhen::Fd,
        Some("http") => ReadyWhen::Http,
        Some("started") => ReadyWhen::Started,
        _ => ReadyWhen::Auto,
    }
}
