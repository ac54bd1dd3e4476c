//! A plan, to the document and back. Nothing behind a plan checks it again, so what could not have come from
//! a configuration is refused here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::plan::{
    Address, AllFailed, AppName, Backoff, Balance, Calendar, Command, Health, HealthCheck, HttpProbe, Limit,
    Listen, Log, MAX_WORKERS, Node, Plan, ProbeAddress, Protocol, Ready, ReadyWhen, Recycle, Reload, Restart,
    RestartPolicy, Sink, SlotTemplate, SocketEnv, SocketKind, StartLimit, Stop, Unmatched,
};
use crate::proto::state::{self, Bytes, Span};

/// Words that are the same on both sides.
macro_rules! same_words {
    ($($kind:ident { $($word:ident),+ })+) => {$(
        impl From<$kind> for state::$kind {
            fn from(word: $kind) -> Self {
                match word { $($kind::$word => Self::$word),+ }
            }
        }
        impl From<state::$kind> for $kind {
            fn from(word: state::$kind) -> Self {
                match word { $(state::$kind::$word => Self::$word),+ }
            }
        }
    )+};
}

same_words! {
    AllFailed { Retry, Exit }
    Balance { Shared, RoundRobin }
    Protocol { ListenFds, Stdin, Node }
    ReadyWhen { Auto, Notify, Listening, Message, Fd, Http, Started }
    RestartPolicy { Always, OnFailure, Never }
    SocketEnv { Einhorn, ServerStarter }
    SocketKind { Stream, Datagram, SeqPacket }
    Unmatched { Adopt, Bind, Refuse }
}

fn text(bytes: &std::ffi::OsStr) -> Bytes {
    Bytes(bytes.as_bytes().to_vec())
}

fn path(bytes: &Path) -> Bytes {
    text(bytes.as_os_str())
}

fn os(bytes: Bytes) -> OsString {
    OsString::from_vec(bytes.0)
}

// ---- to the document -------------------------------------------------------------------------------------

pub(super) fn save(plan: &Plan) -> state::Plan {
    let Plan {
        app,
        command,
        workers,
        listen,
        protocol,
        socket_env,
        ready,
        restart,
        stop,
        reload,
        recycle,
        limit,
        watchdog,
        health,
        log,
        node,
    } = plan;
    let Ready { when, timeout, http, fd } = ready;
    let Stop { signal, timeout: stop_timeout, message } = stop;
    let Reload { max_surge, bake } = reload;
    let Recycle { memory, lifetime, jitter_percent, calendar } = recycle;
    let Limit { memory: memory_max, memory_high, cpu_percent, tasks } = limit;
    let Log { stdout, stderr } = log;
    let Node { balance, drain, unmatched } = node;
    state::Plan {
        app: app.as_str().to_owned(),
        command: save_command(command),
        workers: *workers,
        listen: listen.iter().map(save_listen).collect(),
        protocol: (*protocol).into(),
        socket_env: socket_env.iter().map(|name| (*name).into()).collect(),
        ready: state::Ready {
            when: (*when).into(),
            timeout: Span(*timeout),
            http: http.as_ref().map(save_probe),
            fd: *fd,
        },
        restart: save_restart(restart),
        stop: state::Stop { signal: *signal, timeout: Span(*stop_timeout), message: message.clone() },
        reload: state::Reload { max_surge: *max_surge, bake: Span(*bake) },
        recycle: state::Recycle {
            memory: *memory,
            lifetime: lifetime.map(Span),
            jitter_percent: *jitter_percent,
            calendar: calendar.as_ref().map(|calendar| calendar.source().to_owned()),
        },
        limit: state::Limit {
            memory: *memory_max,
            memory_high: *memory_high,
            cpu_percent: *cpu_percent,
            tasks: *tasks,
        },
        watchdog: watchdog.map(Span),
        health: health.as_ref().map(save_health),
        log: state::Log { stdout: save_sink(stdout), stderr: save_sink(stderr) },
        node: state::Node { balance: (*balance).into(), drain: *drain, unmatched: (*unmatched).into() },
    }
}

fn save_command(command: &Command) -> state::Command {
    let Command { argv, directory, env, user, group, instance_var } = command;
    state::Command {
        argv: argv.iter().map(|word| text(word)).collect(),
        directory: directory.as_deref().map(path),
        env: env.iter().map(|(name, value)| (text(name), text(value))).collect(),
        user: user.clone(),
        group: group.clone(),
        instance_var: instance_var.clone(),
    }
}

fn save_listen(listen: &Listen) -> state::Listen {
    let Listen { kind, address, name, backlog } = listen;
    state::Listen {
        kind: (*kind).into(),
        address: match address {
            Address::Inet(address) => state::Address::Inet(address.to_string()),
            Address::Unix(at) => state::Address::Unix(path(at)),
            Address::Abstract(name) => state::Address::Abstract(Bytes(name.clone())),
        },
        name: name.clone(),
        backlog: *backlog,
    }
}

fn save_restart(restart: &Restart) -> state::Restart {
    let Restart { policy, min_uptime, backoff, limit, retry, all_failed } = restart;
    let Backoff { initial, factor_percent, max, jitter_percent } = backoff;
    let StartLimit { burst, interval } = limit;
    state::Restart {
        policy: (*policy).into(),
        min_uptime: Span(*min_uptime),
        backoff: state::Backoff {
            initial: Span(*initial),
            factor_percent: *factor_percent,
            max: Span(*max),
            jitter_percent: *jitter_percent,
        },
        limit: state::StartLimit { burst: *burst, interval: Span(*interval) },
        retry: retry.map(Span),
        all_failed: (*all_failed).into(),
    }
}

fn save_probe(probe: &HttpProbe) -> state::HttpProbe {
    let HttpProbe { address, path, host } = probe;
    state::HttpProbe {
        address: match address {
            ProbeAddress::Shared => state::ProbeAddress::Shared,
            ProbeAddress::Inet(template) => state::ProbeAddress::Inet(template.source()),
            ProbeAddress::Unix(template) => state::ProbeAddress::Unix(template.source()),
        },
        path: path.clone(),
        host: host.clone(),
    }
}

fn save_health(health: &Health) -> state::Health {
    let Health { check, interval, timeout, failures, grace } = health;
    state::Health {
        check: match check {
            HealthCheck::Http(probe) => state::HealthCheck::Http(save_probe(probe)),
            HealthCheck::Exec(argv) => state::HealthCheck::Exec(argv.iter().map(|word| text(word)).collect()),
        },
        interval: Span(*interval),
        timeout: Span(*timeout),
        failures: *failures,
        grace: Span(*grace),
    }
}

fn save_sink(sink: &Sink) -> state::Sink {
    match sink {
        Sink::Auto => state::Sink::Auto,
        Sink::Journal => state::Sink::Journal,
        Sink::Inherit => state::Sink::Inherit,
        Sink::Null => state::Sink::Null,
        Sink::File(at) => state::Sink::File(path(at)),
    }
}

// ---- and back --------------------------------------------------------------------------------------------

/// The plan, or what it cannot be.
pub(super) fn restore(plan: state::Plan) -> Result<Plan, String> {
    if plan.workers > MAX_WORKERS {
        return Err(format!("it asks for {} workers", plan.workers));
    }
    Ok(Plan {
        app: AppName::new(&plan.app).map_err(|error| format!("the app's name is not {error}"))?,
        command: restore_command(plan.command)?,
        workers: plan.workers,
        listen: plan.listen.into_iter().map(restore_listen).collect::<Result<_, _>>()?,
        protocol: plan.protocol.into(),
        socket_env: plan.socket_env.into_iter().map(SocketEnv::from).collect(),
        ready: Ready {
            when: plan.ready.when.into(),
            timeout: plan.ready.timeout.0,
            http: plan.ready.http.map(restore_probe).transpose()?,
            fd: plan.ready.fd,
        },
        restart: restore_restart(&plan.restart),
        stop: Stop { signal: plan.stop.signal, timeout: plan.stop.timeout.0, message: plan.stop.message },
        reload: Reload { max_surge: plan.reload.max_surge, bake: plan.reload.bake.0 },
        recycle: restore_recycle(plan.recycle)?,
        limit: Limit {
            memory: plan.limit.memory,
            memory_high: plan.limit.memory_high,
            cpu_percent: plan.limit.cpu_percent,
            tasks: plan.limit.tasks,
        },
        watchdog: plan.watchdog.map(|span| span.0),
        health: plan.health.map(restore_health).transpose()?,
        log: Log { stdout: restore_sink(plan.log.stdout), stderr: restore_sink(plan.log.stderr) },
        node: Node {
            balance: plan.node.balance.into(),
            drain: plan.node.drain,
            unmatched: plan.node.unmatched.into(),
        },
    })
}

fn restore_command(command: state::Command) -> Result<Command, String> {
    let argv: Vec<OsString> = words(command.argv, "its command")?;
    let mut env = BTreeMap::new();
    for (name, value) in command.env {
        let bad_name = name.0.is_empty() || name.0.contains(&b'=') || name.0.contains(&0);
        if bad_name || value.0.contains(&0) {
            return Err("a variable of its environment cannot be one".to_owned());
        }
        if env.insert(os(name), os(value)).is_some() {
            return Err("a variable of its environment is there twice".to_owned());
        }
    }
    Ok(Command {
        argv,
        directory: command.directory.map(|directory| PathBuf::from(os(directory))),
        env,
        user: command.user,
        group: command.group,
        instance_var: command.instance_var,
    })
}

/// argv of something that is to be executed: not empty, no NUL.
fn words(argv: Vec<Bytes>, whose: &str) -> Result<Vec<OsString>, String> {
    if argv.is_empty() || argv.iter().any(|word| word.0.contains(&0)) {
        return Err(format!("{whose} cannot be run"));
    }
    Ok(argv.into_iter().map(os).collect())
}

fn restore_listen(listen: state::Listen) -> Result<Listen, String> {
    let address = match listen.address {
        state::Address::Inet(address) => {
            Address::Inet(address.parse().map_err(|_| "an address cannot be one".to_owned())?)
        }
        state::Address::Unix(path) => Address::Unix(PathBuf::from(os(path))),
        state::Address::Abstract(name) => Address::Abstract(name.0),
    };
    Ok(Listen { kind: listen.kind.into(), address, name: listen.name, backlog: listen.backlog })
}

fn restore_restart(restart: &state::Restart) -> Restart {
    Restart {
        policy: restart.policy.into(),
        min_uptime: restart.min_uptime.0,
        backoff: Backoff {
            initial: restart.backoff.initial.0,
            factor_percent: restart.backoff.factor_percent,
            max: restart.backoff.max.0,
            jitter_percent: restart.backoff.jitter_percent,
        },
        limit: StartLimit { burst: restart.limit.burst, interval: restart.limit.interval.0 },
        retry: restart.retry.map(|span| span.0),
        all_failed: restart.all_failed.into(),
    }
}

fn restore_recycle(recycle: state::Recycle) -> Result<Recycle, String> {
    let calendar = recycle.calendar.map(|text| Calendar::parse(&text)).transpose();
    Ok(Recycle {
        memory: recycle.memory,
        lifetime: recycle.lifetime.map(|span| span.0),
        jitter_percent: recycle.jitter_percent,
        calendar: calendar.map_err(|error| format!("its calendar is not {error}"))?,
    })
}

fn restore_probe(probe: state::HttpProbe) -> Result<HttpProbe, String> {
    let template =
        |text: String| SlotTemplate::parse(&text).map_err(|_| "a probe's address cannot be one".to_owned());
    let address = match probe.address {
        state::ProbeAddress::Shared => ProbeAddress::Shared,
        state::ProbeAddress::Inet(text) => ProbeAddress::Inet(template(text)?),
        state::ProbeAddress::Unix(text) => ProbeAddress::Unix(template(text)?),
    };
    Ok(HttpProbe { address, path: probe.path, host: probe.host })
}

fn restore_health(health: state::Health) -> Result<Health, String> {
    let check = match health.check {
        state::HealthCheck::Http(probe) => HealthCheck::Http(restore_probe(probe)?),
        state::HealthCheck::Exec(argv) => HealthCheck::Exec(words(argv, "its health check")?),
    };
    Ok(Health {
        check,
        interval: health.interval.0,
        timeout: health.timeout.0,
        failures: health.failures,
        grace: health.grace.0,
    })
}

fn restore_sink(sink: state::Sink) -> Sink {
    match sink {
        state::Sink::Auto => Sink::Auto,
        state::Sink::Journal => Sink::Journal,
        state::Sink::Inherit => Sink::Inherit,
        state::Sink::Null => Sink::Null,
        state::Sink::File(path) => Sink::File(PathBuf::from(os(path))),
    }
}
