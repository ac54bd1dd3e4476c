//! One process life: what it is in now, when something is due for it, and how it answers facts.

use std::time::Duration;

use super::random::Random;
use super::standing::{Checks, Standing, Watch, next_measure};
use super::{Cause, GenerationId, Notification, Phase, ReadySign, Slot, WorkerId, WorkerView};
use crate::plan::{Plan, ReadyWhen};
use crate::time::Monotonic;

/// Time between two readiness probes of a starting worker.
pub(super) const READY_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// The most that one `EXTEND_TIMEOUT_USEC=` of a worker is believed.
pub(super) const MAX_EXTENSION: Duration = Duration::from_secs(3600);
/// How long a killed worker, or what it left, may take to be gone. A dead process's memory is given back well within
/// it; what is still there then sleeps in the kernel where no signal reaches it (state D, proc(5)).
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// One worker that is not gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) slot: Slot,
    pub(super) generation: GenerationId,
    pub(super) pid: Option<u32>,
    pub(super) started: Monotonic,
    pub(super) life: Life,
    pub(super) status: Option<String>,
    pub(super) memory: Option<u64>,
    /// The watchdog interval that it set itself (`WATCHDOG_USEC=`); zero turns its watchdog off.
    pub(super) own_watchdog: Option<Duration>,
}

/// A worker's phase with what only that phase knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// Ordered; must be ready by `deadline`. `probe_at`: the next readiness probe, once it runs.
    Starting { deadline: Monotonic, probe_at: Option<Monotonic> },
    /// Serving.
    Ready(Standing),
    /// Asked to leave by `deadline`.
    Draining(Leaving),
    /// Killed; the exit has not been reported yet.
    Killed(Leaving),
    /// The main process is gone; what it left is being removed.
    Leftover(Leaving),
    /// It was killed, and the kernel holds on to it all the same: nobody waits for it any more.
    Stuck(Leaving, Remains),
}

/// What there still is of a stuck worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    /// Its main process, at least.
    Main,
    /// Only what its main process left.
    Leftovers,
}

/// A worker on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) cause: Cause,
    /// When it is killed; for one that was, or whose main process ended: when that was.
    pub(super) deadline: Monotonic,
    pub(super) ready_at: Option<Monotonic>,
}

/// What came due for one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// It was not ready in time.
    ReadyTimeout,
    /// It has lived long enough to count as ready.
    Started,
    /// It is to be asked how it is.
    Probe,
    /// Its memory is to be measured.
    Measure,
    /// It has to be replaced.
    Replace(Cause),
    /// It did not leave in time.
    DrainTimeout,
    /// It is still there although it was killed.
    Stuck,
}

impl Worker {
    /// A worker that was just ordered.
    pub(super) fn new(
        id: WorkerId,
        slot: Slot,
        generation: GenerationId,
        plan: &Plan,
        now: Monotonic,
    ) -> Self {
        let life = Life::Starting { deadline: now + plan.ready.timeout, probe_at: None };
        let (pid, status, memory, own_watchdog) = (None, None, None, None);
        Self { id, slot, generation, pid, started: now, life, status, memory, own_watchdog }
    }

    /// Since when it has been ready, if it is.
    pub(super) fn ready_since(&self) -> Option<Monotonic> {
        match &self.life {
            Life::Ready(standing) => Some(standing.since),
            Life::Starting { .. }
            | Life::Draining(_)
            | Life::Killed(_)
            | Life::Leftover(_)
            | Life::Stuck(..) => None,
        }
    }

    /// It is starting or ready: nobody has asked it to leave.
    pub(super) fn is_staying(&self) -> bool {
        matches!(self.life, Life::Starting { .. } | Life::Ready(_))
    }

    /// Why it is leaving, if it is.
    #[cfg(test)]
    pub(super) fn reason_to_leave(&self) -> Option<&Cause> {
        match &self.life {
            Life::Starting { .. } | Life::Ready(_) => None,
            Life::Draining(leaving)
            | Life::Killed(leaving)
            | Life::Leftover(leaving)
            | Life::Stuck(leaving, _) => Some(&leaving.cause),
        }
    }

    /// When it became ready, whatever came later.
    fn ready_at(&self) -> Option<Monotonic> {
        match &self.life {
            Life::Starting { .. } => None,
            Life::Ready(standing) => Some(standing.since),
            Life::Draining(leaving)
            | Life::Killed(leaving)
            | Life::Leftover(leaving)
            | Life::Stuck(leaving, _) => leaving.ready_at,
        }
    }

    /// Its process runs: readiness probes begin.
    pub(super) fn spawned(&mut self, pid: u32, plan: &Plan, now: Monotonic) {
        self.pid = Some(pid);
        if let Life::Starting { probe_at, .. } = &mut self.life
            && plan.ready.when == ReadyWhen::Http
        {
            *probe_at = Some(now);
        }
    }

    /// It is ready: the watch over it begins.
    pub(super) fn become_ready(&mut self, plan: &Plan, random: &mut Random, now: Monotonic) {
        let checks = plan.health.as_ref().map(|health| Checks {
            next: Some((self.started + health.grace).max(now + health.interval)),
            failures: 0,
        });
        let retire_at = plan
            .recycle
            .lifetime
            .map(|lifetime| now + random.lengthen(lifetime, plan.recycle.jitter_percent));
        let measure_at = plan.recycle.memory.map(|limit| now + next_measure(limit, 0));
        // From here on, as systemd does it: a worker that hangs before its first ping is found out as well.
        let interval = self.own_watchdog.or(plan.watchdog).filter(|interval| !interval.is_zero());
        let watchdog = interval.map(|interval| Watch { interval, deadline: now + interval });
        self.life = Life::Ready(Standing { since: now, watchdog, checks, retire_at, measure_at });
    }

    /// It is asked to leave, or killed.
    pub(super) fn leave(&mut self, cause: Cause, deadline: Monotonic) {
        let leaving = Leaving { cause, deadline, ready_at: self.ready_at() };
        self.life = Life::Draining(leaving);
    }

    /// It is killed: at its drain deadline, or at once.
    pub(super) fn killed(&mut self, now: Monotonic, cause: Cause) {
        let leaving = Leaving { cause, deadline: now, ready_at: self.ready_at() };
        self.life = Life::Killed(leaving);
    }

    /// Its main process is gone.
    pub(super) fn main_gone(&mut self, now: Monotonic, cause: Cause) {
        let leaving = Leaving { cause, deadline: now, ready_at: self.ready_at() };
        self.life =
            if self.is_stuck() { Life::Stuck(leaving, Remains::Leftovers) } else { Life::Leftover(leaving) };
    }

    /// It ought to be gone and is not. Why it had to go; `None`: there is nothing new in that.
    pub(super) fn hold(&mut self) -> Option<Cause> {
        let (leaving, remains) = match &self.life {
            Life::Killed(leaving) => (leaving.clone(), Remains::Main),
            Life::Leftover(leaving) => (leaving.clone(), Remains::Leftovers),
            Life::Starting { .. } | Life::Ready(_) | Life::Draining(_) | Life::Stuck(..) => return None,
        };
        let cause = leaving.cause.clone();
        self.life = Life::Stuck(leaving, remains);
        Some(cause)
    }

    /// Its name for people.
    pub(super) fn in_words(&self) -> String {
        let pid = self.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        format!("worker {} of generation {}{pid}", self.slot, self.generation)
    }

    /// It was killed and does not end: nothing waits for it.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.life, Life::Stuck(..))
    }

    /// What it said of itself. `true`: it is leaving by itself (`STOPPING=1`).
    pub(super) fn notified(&mut self, notification: Notification, plan: &Plan, now: Monotonic) -> bool {
        match notification {
            // An empty one takes it back.
            Notification::Status(text) => self.status = Some(text).filter(|text| !text.is_empty()),
            Notification::Stopping => return matches!(self.life, Life::Ready(_)),
            Notification::WatchdogPing => {
                let armed = self.watchdog_interval();
                // Once pulled, the trigger is not taken back.
                if armed != Some(Duration::ZERO) {
                    let interval = self.own_watchdog.or(armed).or(plan.watchdog);
                    self.arm_watchdog(interval.filter(|interval| !interval.is_zero()), now);
                }
            }
            Notification::WatchdogTrigger => self.arm_watchdog(Some(Duration::ZERO), now),
            Notification::WatchdogInterval(interval) => {
                // Said before it is ready, it counts from then on.
                if self.is_staying() {
                    self.own_watchdog = Some(interval);
                }
                self.arm_watchdog((!interval.is_zero()).then_some(interval), now);
            }
            Notification::ExtendTimeout(span) => self.extend(span.min(MAX_EXTENSION), now),
            Notification::Reloading => {}
        }
        false
    }

    /// The interval in force.
    fn watchdog_interval(&self) -> Option<Duration> {
        match &self.life {
            Life::Ready(standing) => standing.watchdog.map(|watch| watch.interval),
            Life::Starting { .. }
            | Life::Draining(_)
            | Life::Killed(_)
            | Life::Leftover(_)
            | Life::Stuck(..) => None,
        }
    }

    fn arm_watchdog(&mut self, interval: Option<Duration>, now: Monotonic) {
        if let Life::Ready(standing) = &mut self.life {
            standing.watchdog = interval.map(|interval| Watch { interval, deadline: now + interval });
        }
    }

    fn extend(&mut self, span: Duration, now: Monotonic) {
        match &mut self.life {
            Life::Starting { deadline, .. } => *deadline = (*deadline).max(now + span),
            Life::Draining(leaving) => leaving.deadline = leaving.deadline.max(now + span),
            Life::Ready(_) | Life::Killed(_) | Life::Leftover(_) | Life::Stuck(..) => {}
        }
    }

    /// A health check came back. The reason, once it counts as sick.
    pub(super) fn checked(
        &mut self,
        outcome: Result<(), String>,
        plan: &Plan,
        now: Monotonic,
    ) -> Option<Cause> {
        let (Life::Ready(standing), Some(health)) = (&mut self.life, plan.health.as_ref()) else {
            return None;
        };
        let checks = standing.checks.as_mut()?;
        checks.next = Some(now + health.interval);
        match outcome {
            Ok(()) => {
                checks.failures = 0;
                None
            }
            Err(reason) => {
                checks.failures = checks.failures.saturating_add(1);
                (checks.failures >= health.failures).then_some(Cause::Unhealthy(reason))
            }
        }
    }

    /// Its memory was measured. The reason, once it is too much.
    pub(super) fn measured(&mut self, bytes: u64, plan: &Plan, now: Monotonic) -> Option<Cause> {
        self.memory = Some(bytes);
        let limit = plan.recycle.memory?;
        if let Life::Ready(standing) = &mut self.life {
            standing.measure_at = Some(now + next_measure(limit, bytes));
            return (bytes >= limit).then_some(Cause::Memory(bytes));
        }
        None
    }

    /// What is due at `now`; each thing is reported once, and its next time is set.
    pub(super) fn due(&mut self, plan: &Plan, now: Monotonic) -> Vec<Due> {
        let mut due = Vec::new();
        match &mut self.life {
            Life::Starting { deadline, probe_at } => {
                let lived = self.started + plan.restart.min_uptime;
                if plan.ready.when == ReadyWhen::Started && self.pid.is_some() && lived <= now {
                    due.push(Due::Started);
                } else if *deadline <= now {
                    due.push(Due::ReadyTimeout);
                } else if probe_at.is_some_and(|at| at <= now) {
                    *probe_at = None;
                    due.push(Due::Probe);
                }
            }
            Life::Ready(standing) => standing.due(now, &mut due),
            Life::Draining(leaving) if leaving.deadline <= now => due.push(Due::DrainTimeout),
            Life::Killed(leaving) | Life::Leftover(leaving) if leaving.deadline + KILL_PATIENCE <= now => {
                due.push(Due::Stuck);
            }
            Life::Draining(_) | Life::Killed(_) | Life::Leftover(_) | Life::Stuck(..) => {}
        }
        due
    }

    /// A readiness probe failed: ask again a little later.
    pub(super) fn probe_again(&mut self, now: Monotonic) {
        if let Life::Starting { probe_at, .. } = &mut self.life {
            *probe_at = Some(now + READY_PROBE_INTERVAL);
        }
    }

    /// When `due` will next have something to say, and why.
    pub(super) fn next_due(&self, plan: &Plan) -> Option<(Monotonic, &'static str)> {
        match &self.life {
            Life::Starting { deadline, probe_at } => {
                let started = (plan.ready.when == ReadyWhen::Started && self.pid.is_some())
                    .then_some((self.started + plan.restart.min_uptime, "minimum uptime"));
                let probe = probe_at.map(|at| (at, "readiness probe"));
                [Some((*deadline, "readiness timeout")), started, probe].into_iter().flatten().min()
            }
            Life::Ready(standing) => standing.next_due(),
            Life::Draining(leaving) => Some((leaving.deadline, "drain timeout")),
            Life::Killed(leaving) | Life::Leftover(leaving) => {
                Some((leaving.deadline + KILL_PATIENCE, "end of a killed worker"))
            }
            Life::Stuck(..) => None,
        }
    }

    /// Whether this sign makes a starting worker ready under `when`.
    pub(super) fn believes(when: ReadyWhen, sign: ReadySign) -> bool {
        match when {
            ReadyWhen::Auto => {
                matches!(sign, ReadySign::Notify | ReadySign::Listening | ReadySign::Message)
            }
            ReadyWhen::Notify => sign == ReadySign::Notify,
            ReadyWhen::Listening => sign == ReadySign::Listening,
            ReadyWhen::Message => sign == ReadySign::Message,
            ReadyWhen::Fd => sign == ReadySign::Fd,
            ReadyWhen::Http => sign == ReadySign::Http,
            ReadyWhen::Started => false,
        }
    }

    /// The worker as others see it.
    pub(super) fn view(&self) -> WorkerView {
        let (phase, deadline) = match &self.life {
            Life::Starting { .. } => (Phase::Starting, None),
            Life::Ready(_) => (Phase::Ready, None),
            Life::Draining(leaving) => (Phase::Draining, Some(leaving.deadline)),
            Life::Killed(_) | Life::Leftover(_) => (Phase::Stopping, None),
            Life::Stuck(..) => (Phase::Stuck, None),
        };
        WorkerView {
            worker: self.id,
            slot: self.slot,
            generation: self.generation,
            phase,
            pid: self.pid,
            started: self.started,
            ready_at: self.ready_at(),
            deadline,
            status: self.status.clone(),
            memory: self.memory,
            // Counted by the daemon: the pool knows no sockets.
        }
    }
}
