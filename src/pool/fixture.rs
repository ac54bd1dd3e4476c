//! A pool on simulated time with obedient workers, for tests.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Command, Effect, Event, Exit, GenerationId, Pool, ReadySign, RequestId, Slot, Verdict, WorkerId,
};
use crate::plan::{
    self, AllFailed, AppName, Backoff, Balance, Limit, Log, Node, Plan, Protocol, Ready, ReadyWhen, Recycle,
    Reload, Restart, RestartPolicy, Sink, StartLimit, Stop, Unmatched,
};
use crate::time::Monotonic;

/// A plan with `workers` workers and short, round times.
pub(crate) fn plan(workers: u32) -> Plan {
    Plan {
        app: AppName::new("app").unwrap(),
        command: command(),
        workers,
        listen: Vec::new(),
        protocol: Protocol::ListenFds,
        socket_env: Vec::new(),
        ready: Ready { when: ReadyWhen::Auto, timeout: secs(30), http: None, fd: None },
        restart: Restart {
            policy: RestartPolicy::Always,
            min_uptime: secs(1),
            backoff: Backoff {
                initial: Duration::from_millis(100),
                factor_percent: 200,
                max: secs(30),
                jitter_percent: 0,
            },
            limit: StartLimit { burst: 5, interval: secs(60) },
            retry: Some(secs(60)),
            all_failed: AllFailed::Retry,
        },
        stop: Stop { signal: Some(15), timeout: secs(10), message: None },
        reload: Reload { max_surge: 1, bake: secs(1) },
        recycle: Recycle::default(),
        limit: Limit::default(),
        watchdog: None,
        health: None,
        log: Log { stdout: Sink::Auto, stderr: Sink::Auto },
        node: Node { balance: Balance::Shared, drain: true, unmatched: Unmatched::Adopt },
    }
}

fn command() -> plan::Command {
    plan::Command {
        argv: vec![OsString::from("app")],
        directory: None,
        env: BTreeMap::new(),
        user: None,
        group: None,
        instance_var: "NODE_APP_INSTANCE".into(),
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A pool, its clock and what it ordered.
pub(crate) struct Bench {
    pub(crate) pool: Pool,
    pub(crate) now: Monotonic,
    pub(crate) effects: Vec<Effect>,
    next_request: u64,
}

impl Bench {
    pub(crate) fn new(plan: Plan) -> Self {
        let now = Monotonic::ZERO;
        let (pool, effects) = Pool::new(Arc::new(plan), 7, now);
        Self { pool, now, effects, next_request: 1 }
    }

    /// Feeds one event; returns (and keeps) what it led to.
    pub(crate) fn feed(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.pool.handle(self.now, event);
        self.effects.extend(effects.iter().cloned());
        effects
    }

    /// Lets time pass, calling the pool at each of its deadlines.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((at, _)) = self.pool.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Event::TimePassed);
        }
        self.now = end;
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(crate) fn ask(&mut self, command: Command) -> RequestId {
        let request = self.request();
        self.feed(Event::Asked { request, command });
        request
    }

    pub(crate) fn reload(&mut self, plan: Plan) -> RequestId {
        let request = self.request();
        self.feed(Event::PlanLoaded { request, plan: Arc::new(plan) });
        request
    }

    /// Every worker ordered and not yet started, by what `Spawn` said.
    pub(crate) fn unspawned(&self) -> Vec<(WorkerId, Slot, GenerationId)> {
        let spawned =
            |id: WorkerId| self.pool.view().workers.iter().any(|w| w.worker == id && w.pid.is_none());
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Spawn { worker, slot, generation } => Some((*worker, *slot, *generation)),
                _ => None,
            })
            .filter(|(worker, ..)| spawned(*worker))
            .collect()
    }

    /// Starts every ordered worker and makes it ready.
    pub(crate) fn obey_spawns(&mut self) {
        for (worker, ..) in self.unspawned() {
            self.spawned(worker);
            self.feed(Event::BecameReady { worker, sign: ReadySign::Listening });
        }
    }

    pub(crate) fn spawned(&mut self, worker: WorkerId) {
        let pid = 1000 + u32::try_from(worker.0).unwrap();
        self.feed(Event::Spawned { worker, pid });
    }

    /// Every worker that was asked to leave does.
    pub(crate) fn obey_drains(&mut self) {
        let leaving: Vec<WorkerId> = self
            .pool
            .view()
            .workers
            .iter()
            .filter(|worker| worker.phase == super::Phase::Draining)
            .map(|worker| worker.worker)
            .collect();
        for worker in leaving {
            self.exit(worker, Exit::Code(0));
        }
    }

    pub(crate) fn exit(&mut self, worker: WorkerId, exit: Exit) {
        self.feed(Event::Exited { worker, exit, oom: false });
        self.feed(Event::Vacated { worker });
    }

    /// Obeys everything until nothing more is ordered, for at most `span`.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.obey_spawns();
            self.obey_drains();
            if !self.unspawned().is_empty() {
                continue;
            }
            match self.pool.next_deadline() {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    self.feed(Event::TimePassed);
                }
                Some(_) | None => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn holder(&self, slot: u32) -> WorkerId {
        let view = self.pool.view();
        view.workers.iter().find(|worker| worker.slot == Slot(slot)).unwrap().worker
    }

    pub(crate) fn verdict(&self, request: RequestId) -> Option<&Verdict> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Reply { request: to, verdict } if *to == request => Some(verdict),
            _ => None,
        })
    }
}
