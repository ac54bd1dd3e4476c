//! The pool and the world brought together: each fact goes into the pool, each order out into the world, and
//! everyone who looks or waits is told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tracing::error;

use crate::dbus::{Ask, Notice, Origin, Wish, WorkerLabel};
use crate::os::{clock, memory, signals};
use crate::pool::{Announcement, Command, Effect, Event, Pool, View, WorkerId};
use crate::systemd::notify::Notifier;
use crate::systemd::upward::Upward;
use crate::systemd::watchdog::Watchdog;
use crate::time::Monotonic;

use super::calendar::Schedule;
use super::callers::Callers;
use super::inbox::Inbox;
use super::prober::{self, Question};
use super::reading::Reader;
use super::repeating::Repeated;
use super::subjects::{Subject, Token};
use super::telling;
use super::world::World;

/// Events taken in between two looks at the outside, so that a flood of one kind cannot starve the rest.
const MAX_FACTS_AT_ONCE: usize = 16_384;
/// Looks at the watched descriptors before the other sources get their turn.
const MAX_LOOKS_AT_ONCE: usize = 16;
/// How long telling everyone of a pool that is ready, or of a reload that is done, may go on.
const UNREST: Duration = Duration::from_millis(200);
/// Answers of probes that wait to be taken in.
pub(super) const MAX_FINDINGS: usize = 256;

/// What a task of its own found out.
#[derive(Debug)]
pub(super) struct Finding(pub(super) Event);

/// Why the event loop woke.
#[derive(Debug)]
pub(super) enum Wake {
    Signals,
    Reports,
    Asked(Ask),
    Found(Finding),
    LookWanted,
    ClockSet,
    Deadline,
}

/// A running supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) pool: Pool,
    pub(super) world: World,
    pub(super) signals: signals::Signals,
    pub(super) inbox: Inbox,
    pub(super) reader: Reader,
    pub(super) callers: Callers,
    pub(super) upward: Upward,
    pub(super) notifier: Notifier,
    pub(super) upward_token: Option<Token>,
    pub(super) watchdog: Option<Watchdog>,
    pub(super) schedule: Schedule,
    pub(super) repeated: Repeated,
    pub(super) view: watch::Sender<Arc<View>>,
    pub(super) notices: broadcast::Sender<Notice>,
    pub(super) findings: mpsc::Sender<Finding>,
    /// A terminal's second interrupt kills.
    pub(super) interrupted: bool,
    /// The pool took in a fact since everyone who looks was told.
    pub(super) unpublished: bool,
    /// When what the work before has left in memory is given back.
    pub(super) rest_at: Option<Monotonic>,
    /// Set when the pool ordered to leave: with a reason when it failed as a whole.
    pub(super) left: Option<Option<String>>,
}

impl Supervisor {
    /// When the loop has to wake although nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        [
            self.pool.next_deadline().map(|(at, _)| at),
            self.world.next_look(),
            self.world.next_node_turn(),
            self.world.next_late_check(),
            self.world.next_sweep(),
            self.watchdog.as_ref().map(Watchdog::next_ping),
            self.upward.next_deadline(),
            self.schedule.next_look(),
            self.rest_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes in what the loop woke for, and all that follows from it.
    pub(super) fn take_in(&mut self, wake: Wake) {
        match wake {
            Wake::Signals => self.take_signals(),
            Wake::Reports => self.take_all_reports(),
            Wake::Asked(ask) => self.take_ask(ask),
            Wake::Found(Finding(event)) => self.feed(event),
            Wake::LookWanted => self.world.look_at_usage(),
            Wake::ClockSet => {
                if self.schedule.clock_was_set(clock::now(), clock::wall()) {
                    self.feed(Event::CalendarElapsed);
                }
            }
            Wake::Deadline => {
                let now = clock::now();
                self.world.look_for_listeners(now);
                self.world.node_turn(now);
                self.world.end_late_checks(now);
                self.world.sweep_unsettled(now);
                if self.schedule.has_elapsed(now, clock::wall()) {
                    self.feed(Event::CalendarElapsed);
                }
                self.feed(Event::TimePassed);
            }
        }
        self.take_facts();
        // Connections that are only handed on change nothing that anybody could see.
        if std::mem::take(&mut self.unpublished) {
            self.follow_calendar();
            self.publish();
        }
        // The last thing before the sleep: what ran until here is not needed either.
        if self.rest_at.take_if(|at| *at <= clock::now()).is_some() {
            memory::give_back();
        }
    }

    /// Carries out the first orders of a new pool.
    pub(super) fn begin(&mut self, effects: Vec<Effect>) {
        let now = clock::now();
        self.carry_out(now, effects);
        self.take_facts();
        self.follow_calendar();
        self.publish();
    }

    /// The serving plan's calendar is the one that counts.
    fn follow_calendar(&mut self) {
        let plan = self.pool.plan_of(self.pool.generation());
        let calendar = plan.and_then(|plan| plan.recycle.calendar.as_ref());
        self.schedule.follow(calendar, clock::now(), clock::wall());
    }

    pub(super) fn take_facts(&mut self) {
        for _ in 0..MAX_FACTS_AT_ONCE {
            let Some(event) = self.world.facts.pop_front() else {
                break;
            };
            self.feed(event);
        }
    }

    /// One fact into the pool, its orders out.
    pub(super) fn feed(&mut self, event: Event) {
        let now = clock::now();
        let effects = self.pool.handle(now, event);
        self.unpublished = true;
        self.carry_out(now, effects);
    }

    fn carry_out(&mut self, now: Monotonic, effects: Vec<Effect>) {
        self.world.explain(&effects);
        if self.pool.is_ending() {
            self.world.hasten_node();
        }
        for effect in effects {
            match effect {
                Effect::Spawn { worker, slot, generation } => {
                    let prepared = self
                        .pool
                        .plan_of(generation)
                        .map_or(Ok(()), |plan| self.world.prepare(generation, slot, &Arc::clone(plan)));
                    match prepared {
                        Ok(()) => self.world.spawn(now, worker, slot, generation),
                        Err(failure) => self.world.happened(Event::SpawnFailed { worker, failure }),
                    }
                }
                Effect::Drain { worker } => self.world.drain(worker, self.pool.is_ending()),
                Effect::Kill { worker } => self.world.kill(worker),
                Effect::Sweep { worker } => self.world.sweep(worker),
                Effect::Signal { worker, signal } => self.world.signal(worker, signal),
                Effect::Probe { worker } => self.probe(now, worker),
                Effect::Measure { worker } => self.world.measure(worker),
                Effect::Reply { request, verdict } => self.callers.answer(request, verdict),
                Effect::Retire { generation } => {
                    self.world.generations.remove(&generation);
                    self.world.node_retired(generation.0);
                }
                Effect::Announce(announcement) => self.announce(&announcement),
                Effect::Warn(warning) => telling::warning(&warning),
                Effect::Leave { failure } => self.left = Some(failure),
            }
        }
    }

    fn announce(&mut self, announcement: &Announcement) {
        match announcement {
            Announcement::ReloadStarted { .. } => {
                self.callers.reload_by_manager = self.callers.manager_waits();
                self.tell_that_a_reload_began();
            }
            Announcement::ReloadRefused { .. } => self.tell_that_a_reload_began(),
            Announcement::WorkerReady { worker, .. } => {
                self.world.stop_looking(*worker);
                self.world.check_claim(*worker);
                self.world.check_socket_files();
            }
            Announcement::WorkerDraining { worker, .. } => self.world.stop_looking(*worker),
            Announcement::WorkerExited { worker, expected, .. } => {
                self.world.check_socket_files();
                if !expected {
                    self.world.name_the_protocol(*worker);
                }
            }
            // Reading a configuration and starting a pool is over; what comes now is mostly sleep.
            Announcement::PoolReady | Announcement::ReloadFinished { .. } => {
                self.rest_at = Some(clock::now() + UNREST);
            }
            Announcement::WorkerStarted { .. }
            | Announcement::WorkerKilled { .. }
            | Announcement::WorkerStuck { .. }
            | Announcement::SlotWaiting { .. }
            | Announcement::SlotFailed { .. }
            | Announcement::ReloadAborting { .. }
            | Announcement::Jammed { .. }
            | Announcement::Unjammed
            | Announcement::Stopping => {}
        }
        let label = |worker: WorkerId| {
            let process = self.world.processes.get(&worker)?;
            let (slot, generation, pid) = (process.slot, process.generation, Some(process.pid));
            Some(WorkerLabel { worker, slot, generation, pid })
        };
        let subject = telling::subject(announcement).and_then(label);
        if let Announcement::WorkerStuck { worker, .. } = announcement {
            telling::stuck(subject, &self.world.what_holds(*worker));
        } else if !self.repeated.is_known(announcement, subject.map(|label| label.slot)) {
            telling::announce(announcement, subject);
        }
        if let Some(notice) = Notice::new(announcement, label) {
            // Nobody listening is the usual case.
            let _ = self.notices.send(notice);
        }
    }

    fn tell_that_a_reload_began(&mut self) {
        if !self.callers.manager_waits() {
            self.upward.reload_began();
        }
    }

    // ---- sources -------------------------------------------------------------------------------------

    fn take_signals(&mut self) {
        loop {
            match self.signals.next() {
                Ok(Some(arrived)) => self.take_signal(arrived.signal),
                Ok(None) => return,
                Err(error) => {
                    error!("failed to {error}");
                    return;
                }
            }
        }
    }

    fn take_signal(&mut self, signal: i32) {
        use nix::libc;
        match signal {
            libc::SIGCHLD => {
                self.inbox.read_before_reaping(&mut self.world);
                self.world.reap();
            }
            libc::SIGHUP => self.wish_by_signal(Wish::Reload { origin: Origin::Signal }),
            libc::SIGINT if self.interrupted => self.feed(Event::Interrupted),
            libc::SIGINT => {
                self.interrupted = true;
                self.wish_by_signal(Wish::Command(Command::Stop));
            }
            libc::SIGTERM | libc::SIGQUIT => self.wish_by_signal(Wish::Command(Command::Stop)),
            other => self.wish_by_signal(Wish::Command(Command::Signal { slot: None, signal: other })),
        }
    }

    /// Takes reports until there are none, so that many that come together are told as one change.
    fn take_all_reports(&mut self) {
        for _ in 0..MAX_LOOKS_AT_ONCE {
            self.take_reports();
            if self.world.subjects.is_quiet() {
                return;
            }
            self.take_facts();
        }
    }

    fn take_reports(&mut self) {
        for subject in self.world.subjects.reports() {
            match subject {
                Subject::Notify => self.inbox.read(&mut self.world),
                Subject::Start(worker) => self.world.start_decided(worker),
                Subject::ReadyFd(worker) => self.world.ready_fd_spoke(worker),
                Subject::Group(worker) => self.world.group_changed(worker),
                Subject::Upward => self.flush_upward(),
                Subject::Listener(index) => self.world.listener_ended(index),
                Subject::Node => self.world.node_turn(clock::now()),
            }
        }
    }

    fn probe(&mut self, now: Monotonic, worker: WorkerId) {
        if self.pool.is_ready(worker) && self.world.check_by_command(now, worker) {
            return;
        }
        let question: Result<Question, String> = self.world.question(worker, self.pool.is_ready(worker));
        let findings = self.findings.clone();
        tokio::spawn(async move {
            let outcome = match question {
                Ok(question) => prober::ask(question).await,
                Err(reason) => Err(reason),
            };
            // The loop is gone only when the supervisor is.
            let _ = findings.send(Finding(Event::Probed { worker, outcome })).await;
        });
    }
}
