//! The pool itself: its facts, and one answer for each event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Queued, Waiter};
use super::random::Random;
use super::rollout::Rollout;
use super::slot::{Holder, Place};
use super::worker::{KILL_PATIENCE, Life, Worker};
use super::{Announcement, Cause, Effect, Event, GenerationId, LastReload, RequestId, Slot, WorkerId};
use crate::plan::Plan;
use crate::time::Monotonic;

/// So many stuck workers for each place, and no place is filled any more unless somebody asks: each stuck worker
/// keeps its memory and its process for good.
pub(super) const MAX_STUCK_PER_PLACE: usize = 2;
/// So many stuck workers are named in one verdict.
const MAX_NAMED: usize = 4;

/// Orders, in the order in which they are to be carried out.
pub(super) type Effects = Vec<Effect>;

/// The worker pool of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub(super) app: String,
    pub(super) since: Monotonic,
    pub(super) wanted: u32,
    /// The generation that serves.
    pub(super) generation: GenerationId,
    pub(super) generations: BTreeMap<GenerationId, Arc<Plan>>,
    /// The serving generation's plan.
    pub(super) present: Arc<Plan>,
    pub(super) places: BTreeMap<Slot, Place>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) rollout: Option<Rollout>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) ending: Option<Ending>,
    pub(super) announced_ready: bool,
    pub(super) next_worker: u64,
    pub(super) next_generation: u64,
    pub(super) restarts: u64,
    pub(super) last_reload: Option<LastReload>,
    pub(super) random: Random,
    /// When facts were last acted upon: what was due by then and was not done waits for a fact, not for time.
    pub(super) settled_at: Monotonic,
}

/// The pool is ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) requests: Vec<RequestId>,
    /// Why the pool failed as a whole.
    pub(super) failure: Option<String>,
    /// `Leave` has been ordered.
    pub(super) left: bool,
}

/// What a worker is to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Holder,
    Successor,
    /// It has no place any more: it is on its way out.
    Retiring,
}

impl Pool {
    /// A pool that has started nothing yet, and the orders to start it. `seed` decides all jitter.
    #[must_use]
    pub fn new(plan: Arc<Plan>, seed: u64, now: Monotonic) -> (Self, Vec<Effect>) {
        let mut pool = Self {
            app: plan.app.to_string(),
            since: now,
            wanted: plan.workers,
            generation: GenerationId(0),
            generations: BTreeMap::new(),
            present: Arc::clone(&plan),
            places: BTreeMap::new(),
            workers: BTreeMap::new(),
            rollout: None,
            queue: VecDeque::new(),
            waiters: Vec::new(),
            ending: None,
            announced_ready: false,
            next_worker: 1,
            next_generation: 1,
            restarts: 0,
            last_reload: None,
            random: Random(seed),
            settled_at: now,
        };
        let generation = pool.new_generation(plan);
        pool.generation = generation;
        for number in 0..pool.wanted {
            pool.places.insert(Slot(number), Place::new(generation, Holder::Vacant));
        }
        let mut out = Effects::new();
        pool.settle(now, &mut out);
        (pool, out)
    }

    /// Takes in one fact; returns what is to be done about it. Never fails: a fact that makes no sense
    /// becomes a warning.
    pub fn handle(&mut self, now: Monotonic, event: Event) -> Vec<Effect> {
        let mut out = Effects::new();
        let was_jammed = self.is_jammed();
        match event {
            Event::Spawned { worker, pid } => {
                self.spawned(now, worker, pid, &mut out);
                // A pid moves nobody: there is nothing to settle.
                return out;
            }
            Event::SpawnFailed { worker, failure } => self.spawn_failed(now, worker, failure, &mut out),
            Event::BecameReady { worker, sign } => self.saw_sign(now, worker, sign, &mut out),
            Event::Notified { worker, notification } => {
                let leaving = self.tell(worker, "notified", &mut out, |known, plan| {
                    known.notified(notification, plan, now)
                });
                // Whoever only says how it is moves nobody, either.
                if leaving != Some(true) {
                    return out;
                }
                self.left_by_itself(now, worker, &mut out);
            }
            Event::Exited { worker, exit, oom } => self.exited(now, worker, exit, oom, &mut out),
            Event::Vacated { worker } => self.vacated(worker, &mut out),
            Event::Drained { worker } => {
                // Its leaving is what counts; that comes as `Exited`.
                self.tell(worker, "drained", &mut out, |_, _| ());
            }
            Event::Probed { worker, outcome } => self.probed(now, worker, outcome, &mut out),
            Event::MemoryMeasured { worker, bytes } => {
                let cause = self.tell(worker, "memory measured", &mut out, |known, plan| {
                    known.measured(bytes, plan, now)
                });
                if let Some(cause) = cause.flatten() {
                    self.ought_to_go(now, worker, cause, &mut out);
                }
            }
            Event::CalendarElapsed => self.calendar_elapsed(now),
            Event::PlanLoaded { request, plan } => self.queue_rollout(Some(plan), request, &mut out),
            Event::PlanRefused { request, reason, details } => {
                self.plan_refused(now, request, reason, details, &mut out);
            }
            Event::Asked { request, command } => self.asked(now, request, command, &mut out),
            Event::Interrupted => self.interrupted(now, &mut out),
            Event::TimePassed => self.time_passed(now, &mut out),
        }
        self.settle(now, &mut out);
        self.announce_jam(was_jammed, &mut out);
        out
    }

    /// When the pool wants to be called with [`Event::TimePassed`], and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Monotonic, &'static str)> {
        let workers =
            self.workers.values().filter_map(|worker| worker.next_due(self.its_plan(worker.generation)));
        let places = self.places.values().filter_map(|place| place.until());
        let places = places.filter(|until| !self.is_held_back(*until)).map(|at| (at, "backoff"));
        let bakes = self
            .places
            .values()
            .filter_map(|place| place.successor)
            .filter_map(|successor| self.baked_at(successor).map(|at| (at, "bake")));
        let replacements = self
            .places
            .values()
            .filter(|place| place.successor.is_none())
            .filter_map(|place| place.replacement.as_ref())
            .filter(|replacement| replacement.not_before > self.settled_at)
            .map(|replacement| (replacement.not_before, "replacement"));
        workers.chain(places).chain(bakes).chain(replacements).min()
    }

    /// Until when what is under way (a start, a rollout, the end) may still take by its own deadlines; `None`
    /// when nothing is under way.
    #[must_use]
    pub fn busy_until(&self) -> Option<Monotonic> {
        if self.announced_ready && self.rollout.is_none() && self.ending.is_none() {
            return None;
        }
        let workers = self.workers.values().filter_map(|worker| match &worker.life {
            Life::Starting { deadline, .. } => Some(*deadline),
            Life::Draining(leaving) => Some(leaving.deadline),
            Life::Ready(_) => self.baked_at(worker.id),
            Life::Killed(leaving) | Life::Leftover(leaving) => Some(leaving.deadline + KILL_PATIENCE),
            Life::Stuck(..) => None,
        });
        workers.max()
    }

    // ---- queries -------------------------------------------------------------------------------------

    /// The plan of a generation. Every generation in use has one; the serving one's stands in for another.
    pub(super) fn plan(&self, generation: GenerationId) -> Arc<Plan> {
        Arc::clone(self.its_plan(generation))
    }

    fn its_plan(&self, generation: GenerationId) -> &Arc<Plan> {
        self.generations.get(&generation).unwrap_or(&self.present)
    }

    /// Whether every worker has been asked to leave, for good.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The plan by which workers are born of `generation`, if it is still in use.
    #[must_use]
    pub fn plan_of(&self, generation: GenerationId) -> Option<&Arc<Plan>> {
        self.generations.get(&generation)
    }

    /// The generation that serves.
    #[must_use]
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// What `worker` is to its place.
    pub(super) fn role(&self, worker: &Worker) -> Role {
        match self.places.get(&worker.slot) {
            Some(place) if place.holder() == Some(worker.id) => Role::Holder,
            Some(place) if place.successor == Some(worker.id) => Role::Successor,
            Some(_) | None => Role::Retiring,
        }
    }

    /// The worker holds its place.
    pub(super) fn holds(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| self.role(worker) == Role::Holder)
    }

    /// The worker is ready.
    #[must_use]
    pub fn is_ready(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.ready_since().is_some())
    }

    /// The place has a ready holder.
    pub(super) fn is_served(&self, slot: Slot) -> bool {
        self.places.get(&slot).and_then(Place::holder).is_some_and(|worker| self.is_ready(worker))
    }

    /// So many places have a ready holder.
    pub(super) fn ready(&self) -> u32 {
        let ready = self.places.keys().filter(|slot| self.is_served(**slot)).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    pub(super) fn has_failed_before(&self, slot: Slot) -> bool {
        self.places.get(&slot).is_some_and(|place| place.early_failures > 0)
    }

    /// The numbers of the places from `first` on.
    pub(super) fn slots_from(&self, first: u32) -> Vec<Slot> {
        self.places.range(Slot(first)..).map(|(slot, _)| *slot).collect()
    }

    /// When a ready successor has been up for long enough to take over.
    pub(super) fn baked_at(&self, successor: WorkerId) -> Option<Monotonic> {
        let worker = self.workers.get(&successor)?;
        let bake = match &self.rollout {
            Some(rollout) if rollout.tries(worker.generation) => self.plan(worker.generation).reload.bake,
            Some(_) | None => Duration::ZERO,
        };
        worker.ready_since().map(|since| since + bake)
    }

    /// Workers beyond one a place: successors and those on their way out, but not those that are stuck: they use
    /// no CPU, and may never leave.
    pub(super) fn extras(&self) -> u32 {
        let first_ones = self.places.values().filter(|place| place.has_its_one());
        let workers = self.workers.values().filter(|worker| !worker.is_stuck()).count();
        let extras = workers.saturating_sub(first_ones.count());
        u32::try_from(extras).unwrap_or(u32::MAX)
    }

    /// Nobody is left for whom it is worth waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.values().all(Worker::is_stuck)
    }

    /// As many workers are stuck as there are places: what makes them hang is likely to hold the next ones as well.
    pub(super) fn is_clogged(&self) -> bool {
        self.stuck() >= self.places.len().max(1)
    }

    /// So many workers are stuck that those which take lost ones' places are likely to end like them.
    pub(super) fn is_jammed(&self) -> bool {
        self.stuck() >= self.places.len().max(1).saturating_mul(MAX_STUCK_PER_PLACE)
    }

    /// A place that was to be filled `until` then waits for stuck workers to end instead.
    pub(super) fn is_held_back(&self, until: Monotonic) -> bool {
        until <= self.settled_at && self.is_jammed()
    }

    pub(super) fn stuck(&self) -> usize {
        self.workers.values().filter(|worker| worker.is_stuck()).count()
    }

    /// What a verdict says of workers that are stuck: the empty text, or what follows its sentence.
    pub(super) fn stuck_in_words(&self, concerned: impl Fn(&Worker) -> bool) -> String {
        let stuck: Vec<_> =
            self.workers.values().filter(|worker| worker.is_stuck() && concerned(worker)).collect();
        let named: Vec<String> = stuck.iter().take(MAX_NAMED).map(|worker| worker.in_words()).collect();
        match stuck.len().saturating_sub(MAX_NAMED) {
            0 if stuck.is_empty() => String::new(),
            0 => format!("; killed, but held by the kernel: {}", named.join(", ")),
            more => format!("; killed, but held by the kernel: {} and {more} more", named.join(", ")),
        }
    }

    // ---- deeds ---------------------------------------------------------------------------------------

    pub(super) fn new_generation(&mut self, plan: Arc<Plan>) -> GenerationId {
        let generation = GenerationId(self.next_generation);
        self.next_generation = self.next_generation.saturating_add(1);
        self.generations.insert(generation, plan);
        generation
    }

    /// Orders a worker for `slot`.
    pub(super) fn spawn(
        &mut self,
        now: Monotonic,
        slot: Slot,
        generation: GenerationId,
        out: &mut Effects,
    ) -> WorkerId {
        let id = WorkerId(self.next_worker);
        self.next_worker = self.next_worker.saturating_add(1);
        let plan = self.plan(generation);
        self.workers.insert(id, Worker::new(id, slot, generation, &plan, now));
        out.push(Effect::Spawn { worker: id, slot, generation });
        id
    }

    /// Asks a worker to leave, unless it is already on its way.
    pub(super) fn drain(&mut self, now: Monotonic, id: WorkerId, cause: Cause, out: &mut Effects) {
        let Some(generation) = self.workers.get(&id).map(|worker| worker.generation) else {
            return;
        };
        let deadline = now + self.plan(generation).stop.timeout;
        if let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.is_staying()) {
            worker.leave(cause.clone(), deadline);
            out.push(Effect::Drain { worker: id });
            out.push(Effect::Announce(Announcement::WorkerDraining { worker: id, cause }));
        }
    }

    /// Kills a worker that would not listen.
    pub(super) fn kill(&mut self, now: Monotonic, id: WorkerId, cause: Cause, out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if matches!(worker.life, Life::Killed(_) | Life::Leftover(_) | Life::Stuck(..)) {
            return;
        }
        worker.killed(now, cause.clone());
        out.push(Effect::Kill { worker: id });
        out.push(Effect::Announce(Announcement::WorkerKilled { worker: id, cause }));
    }

    /// Removes the places from `first` on; their workers are drained. Returns those workers.
    pub(super) fn drop_places_from(
        &mut self,
        now: Monotonic,
        first: u32,
        cause: Cause,
        out: &mut Effects,
    ) -> Vec<WorkerId> {
        let mut leaving = Vec::new();
        for slot in self.slots_from(first) {
            if let Some(place) = self.places.remove(&slot) {
                leaving.extend(place.holder());
                leaving.extend(place.successor);
                self.drop_replacement(place.replacement, out);
            }
        }
        for worker in &leaving {
            self.drain(now, *worker, cause.clone(), out);
        }
        leaving
    }
}
