//! The pool against a made-up world: scripted workers with every vice, people with every whim, a clock that
//! jumps. Random, but the same seed plays the same game; after each event the invariants are checked.
//!
//! `GANGER_SIM_EVENTS` sets how many events are played over all seeds, `GANGER_SIM_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{plan, secs};
use super::machine::MAX_STUCK_PER_PLACE;
use super::*;
use crate::plan::{Health, HealthCheck, Plan, ReadyWhen};
use crate::proto::state::State;
use crate::time::Monotonic;

const DEFAULT_EVENTS: u64 = 100_000;
const EVENTS_PER_GAME: u64 = 4_000;

/// xorshift64*: the game's own dice, apart from the pool's.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.roll() >> 33) % end.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn span(&mut self, max_ms: u64) -> Duration {
        Duration::from_millis(self.below(max_ms.max(1)))
    }
}

/// What will happen by itself, in the order of time.
#[derive(Debug, Clone)]
enum Coming {
    Fact(Event),
    /// The process ends, if it still runs.
    Death(WorkerId, Exit),
    /// Its leftovers are gone.
    Emptied(WorkerId),
}

/// A made-up process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Ordered, runs or will run.
    Alive,
    /// Ended; `Sweep` is awaited or done.
    Dead { swept: bool },
}

/// How well the workers of a generation behave: 0 is perfect, 3 never comes up.
type Vice = u64;

struct Game {
    dice: Dice,
    pool: Pool,
    now: Monotonic,
    bodies: BTreeMap<WorkerId, Body>,
    slots: BTreeMap<WorkerId, Slot>,
    vices: BTreeMap<GenerationId, Vice>,
    next_vice: Vice,
    coming: BTreeMap<(Monotonic, u64), Coming>,
    sequence: u64,
    /// Ready workers that held their places before the present event.
    serving: BTreeSet<WorkerId>,
    asked: BTreeSet<RequestId>,
    answered: BTreeSet<RequestId>,
    events: u64,
    left: bool,
    heal: bool,
    last_outcome: Option<Outcome>,
    /// The generation of the rollout whose beginning was told and whose end was not yet.
    told_of: Option<GenerationId>,
    /// Workers that were said to be stuck.
    stuck: BTreeSet<WorkerId>,
    /// Slots that somebody stopped and nobody started again, by what was asked.
    stopped: BTreeSet<Slot>,
    /// Who waits for which slot to be stopped.
    stops: BTreeMap<RequestId, Slot>,
    /// Of all events and effects, when the game is one of those that are compared.
    digest: Option<u64>,
    /// The pool as another ganger goes on with it, when the game is one of those that are handed over.
    twin: Option<Pool>,
}

impl Game {
    fn new(seed: u64, compared: bool) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let workers = 1 + u32::try_from(dice.below(6)).unwrap();
        let plan = Self::some_plan(&mut dice, workers);
        let now = Monotonic::ZERO + Duration::from_secs(dice.below(1000));
        let (pool, effects) = Pool::new(Arc::new(plan), seed, now);
        let mut game = Self {
            dice,
            pool,
            now,
            bodies: BTreeMap::new(),
            slots: BTreeMap::new(),
            vices: BTreeMap::from([(GenerationId(1), 0)]),
            next_vice: 0,
            coming: BTreeMap::new(),
            sequence: 0,
            serving: BTreeSet::new(),
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
            events: 0,
            left: false,
            heal: false,
            last_outcome: None,
            told_of: None,
            stuck: BTreeSet::new(),
            stopped: BTreeSet::new(),
            stops: BTreeMap::new(),
            digest: compared.then_some(0),
            twin: None,
        };
        game.obey(effects);
        game
    }

    fn some_plan(dice: &mut Dice, workers: u32) -> Plan {
        let mut plan = plan(workers);
        plan.reload.max_surge = 1 + u32::try_from(dice.below(3)).unwrap();
        plan.reload.bake = dice.span(2000);
        plan.ready.timeout = secs(2 + dice.below(10));
        plan.stop.timeout = secs(1 + dice.below(5));
        plan.restart.backoff.jitter_percent = u32::try_from(dice.below(50)).unwrap();
        if dice.one_in(3) {
            plan.recycle.lifetime = Some(secs(20 + dice.below(60)));
            plan.recycle.jitter_percent = 20;
        }
        if dice.one_in(3) {
            plan.recycle.memory = Some(100 << 20);
        }
        if dice.one_in(3) {
            plan.health = Some(Health {
                check: HealthCheck::Exec(vec!["true".into()]),
                interval: secs(3),
                timeout: secs(1),
                failures: 2,
                grace: secs(0),
            });
        }
        if dice.one_in(6) {
            plan.ready.when = ReadyWhen::Started;
        }
        if dice.one_in(4) {
            plan.watchdog = Some(secs(5));
        }
        plan
    }

    fn later(&mut self, span: Duration, coming: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + span, self.sequence), coming);
    }

    fn feed(&mut self, event: Event) {
        self.events += 1;
        let told = self.digest.is_some().then(|| event.clone());
        let twin_effects = self.twin.as_mut().map(|twin| twin.handle(self.now, event.clone()));
        let left_alone = self.has_too_many_stuck() && !self.is_asked_for_workers(&event);
        let (noted, queued) = (event.clone(), self.pool.queue.len());
        let effects = self.pool.handle(self.now, event);
        self.note_stopped(&noted, queued);
        if left_alone && self.has_too_many_stuck() && self.pool.rollout.is_none() {
            let starts = effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. }));
            assert!(!starts, "started another one beside {} that are stuck", self.stuck.len());
        }
        if let Some(twin_effects) = twin_effects {
            assert_eq!(twin_effects, effects, "the restored pool has another future");
            self.hand_over_now_and_then();
        }
        if let (Some(digest), Some(event)) = (&mut self.digest, told) {
            for byte in format!("{event:?}{effects:?}").bytes() {
                *digest = (*digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        self.check_surge(&effects);
        self.obey(effects);
        self.check();
        self.serving = self.pool.places.values().filter_map(|place| place.holder()).collect();
        self.serving.retain(|worker| self.pool.is_ready(*worker));
    }

    fn has_too_many_stuck(&self) -> bool {
        let shown = self.pool.view().workers;
        let stuck = shown.iter().filter(|worker| worker.phase == Phase::Stuck).count();
        stuck >= MAX_STUCK_PER_PLACE * self.pool.places.len().max(1)
    }

    /// Somebody wants workers now, or wanted some that are still to come.
    fn is_asked_for_workers(&self, event: &Event) -> bool {
        let wished = self.pool.places.values().filter_map(|place| place.replacement.as_ref());
        matches!(event, Event::Asked { .. } | Event::PlanLoaded { .. })
            || self.pool.rollout.is_some()
            || !self.pool.queue.is_empty()
            || wished.into_iter().any(|wish| !wish.requests.is_empty())
    }

    /// Every so often the twin makes room for a pool that went through the whole document.
    fn hand_over_now_and_then(&mut self) {
        if self.twin.is_some() && self.events.is_multiple_of(7) {
            let twin = handed_over(&self.pool, self.now);
            assert_eq!(twin, self.pool, "something was lost on the way");
            assert_eq!(twin.next_deadline(), self.pool.next_deadline());
            self.twin = Some(twin);
        }
    }

    fn obey(&mut self, effects: Vec<Effect>) {
        let scaled_away: BTreeSet<Slot> = effects.iter().filter_map(|it| self.scaled_away(it)).collect();
        for effect in effects {
            match effect {
                Effect::Spawn { worker, slot, generation } => {
                    assert!(self.bodies.insert(worker, Body::Alive).is_none(), "{worker} was ordered twice");
                    self.slots.insert(worker, slot);
                    assert!(self.pool.plan_of(generation).is_some(), "{worker} has no plan");
                    let given_up = self.pool.rollout.as_ref().and_then(|it| it.gives_up(generation));
                    assert_eq!(given_up, None, "{worker} is born of a generation that is given up");
                    self.live(worker, generation);
                }
                Effect::Drain { worker } => {
                    assert_eq!(self.bodies.get(&worker), Some(&Body::Alive), "drained a dead worker");
                    // One in eight ignores the request.
                    if self.heal || !self.dice.one_in(8) {
                        let span = self.dice.span(1500);
                        self.later(span, Coming::Death(worker, Exit::Code(0)));
                    }
                }
                Effect::Kill { worker } => {
                    assert_eq!(self.bodies.get(&worker), Some(&Body::Alive), "killed a dead worker");
                    if let Some(span) = self.last_breath(1) {
                        self.later(span, Coming::Death(worker, Exit::Signal(9)));
                    }
                }
                Effect::Sweep { worker } => {
                    let body = self.bodies.get_mut(&worker).expect("swept an unknown worker");
                    assert_eq!(*body, Body::Dead { swept: false }, "{worker} was swept out of turn");
                    *body = Body::Dead { swept: true };
                    if let Some(span) = self.last_breath(50) {
                        self.later(span, Coming::Emptied(worker));
                    }
                }
                Effect::Signal { worker, .. } => {
                    assert_eq!(self.bodies.get(&worker), Some(&Body::Alive), "signalled a dead worker");
                }
                Effect::Probe { worker } => {
                    assert!(self.bodies.contains_key(&worker), "probed an unknown worker");
                    let sick = !self.heal && self.dice.one_in(4);
                    let outcome = if sick { Err("status 500".to_owned()) } else { Ok(()) };
                    let span = self.dice.span(900);
                    self.later(span, Coming::Fact(Event::Probed { worker, outcome }));
                }
                Effect::Measure { worker } => {
                    assert!(self.bodies.contains_key(&worker), "measured an unknown worker");
                    let bytes = if self.heal { 1 << 20 } else { self.dice.below(110) << 20 };
                    self.later(Duration::ZERO, Coming::Fact(Event::MemoryMeasured { worker, bytes }));
                }
                Effect::Reply { request, verdict } => {
                    assert!(self.asked.contains(&request), "answered {request}, which nobody asked");
                    assert!(self.answered.insert(request), "answered {request} twice");
                    self.check_answered_stop(request, &verdict);
                    assert!(!verdict.message.is_empty());
                }
                Effect::Announce(
                    Announcement::WorkerDraining { worker, cause }
                    | Announcement::WorkerKilled { worker, cause },
                ) => self.check_leaving(worker, &cause, &scaled_away),
                Effect::Announce(Announcement::ReloadStarted { generation, .. }) => {
                    assert_eq!(self.told_of.replace(generation), None, "two rollouts at once");
                }
                Effect::Announce(Announcement::ReloadFinished { generation, verdict, .. }) => {
                    assert_eq!(self.told_of.take(), Some(generation), "another rollout ended than began");
                    if self.heal {
                        self.last_outcome = Some(verdict.outcome);
                    }
                }
                Effect::Announce(Announcement::WorkerStuck { worker, .. }) => {
                    assert!(self.bodies.contains_key(&worker), "{worker} is gone, not stuck");
                    assert!(self.stuck.insert(worker), "{worker} was said to be stuck twice");
                }
                Effect::Leave { .. } => {
                    assert!(!self.left, "left twice");
                    self.left = true;
                }
                Effect::Retire { generation } => {
                    assert_ne!(generation, self.pool.generation(), "retired the serving generation");
                    let users = self.pool.workers.values().map(|worker| worker.generation);
                    let users = users.chain(self.pool.places.values().map(|place| place.generation));
                    assert!(!users.into_iter().any(|it| it == generation), "retired {generation} in use");
                }
                Effect::Announce(_) | Effect::Warn(_) => {}
            }
        }
    }

    /// Who hears that a slot is stopped can rely on it: no process of it is left.
    fn check_answered_stop(&mut self, request: RequestId, verdict: &Verdict) {
        if let Some(slot) = self.stops.remove(&request).filter(|_| verdict.outcome == Outcome::Done) {
            let left: Vec<_> = self.bodies.keys().filter(|worker| self.slots[worker] == slot).collect();
            assert!(left.is_empty(), "slot {slot} is said to be stopped, and {left:?} are left");
        }
    }

    /// How long a killed process takes to end: `ms` at most, unless the kernel holds on to it for a while, or
    /// (`None`) for good.
    fn last_breath(&mut self, ms: u64) -> Option<Duration> {
        match self.dice.below(40) {
            _ if self.heal => Some(self.dice.span(ms)),
            0 => None,
            1..=3 => Some(self.dice.span(60_000)),
            _ => Some(self.dice.span(ms)),
        }
    }

    /// The slot that this takes away, by its worker.
    fn scaled_away(&self, effect: &Effect) -> Option<Slot> {
        match effect {
            Effect::Announce(Announcement::WorkerDraining { worker, cause: Cause::ScaledDown }) => {
                self.slots.get(worker).copied()
            }
            _ => None,
        }
    }

    /// A ready worker that holds its place may be asked to leave for another's sake only when its place stays
    /// served, or was taken away (and may be there again: scaled down, then up).
    fn check_leaving(&self, worker: WorkerId, cause: &Cause, scaled_away: &BTreeSet<Slot>) {
        let by_itself =
            matches!(cause, Cause::LeftByItself | Cause::Stopped | Cause::SlotStopped | Cause::ScaledDown);
        let slot = self.slots[&worker];
        let is_there = self.pool.places.contains_key(&slot) && !scaled_away.contains(&slot);
        if self.serving.contains(&worker) && !by_itself && is_there {
            assert!(
                self.pool.is_served(slot),
                "{worker} was let go ({cause}) before another one was ready in slot {slot}"
            );
        }
    }

    /// Workers beyond one a place are no more than the plan allows whenever one is added.
    fn check_surge(&self, effects: &[Effect]) {
        let goal = self.pool.rollout.as_ref().map_or(self.pool.generation, super::rollout::Rollout::goal);
        for (at, effect) in effects.iter().enumerate() {
            if let Effect::Spawn { worker, slot, generation } = effect {
                // The goal may be a later one: the next rollout can begin in the same breath.
                let allowed = [goal, *generation].map(|it| self.pool.plan(it).reload.max_surge);
                let allowed = allowed[0].max(allowed[1]);
                let place = self.pool.places.get(slot);
                let is_extra = place.is_some_and(|place| {
                    place.successor == Some(*worker) && place.holder != super::slot::Holder::Reserved
                });
                // Who was asked to leave after this one was ordered (a queued wish's turn) was none yet.
                let later = effects[at..].iter().filter(|it| matches!(it, Effect::Drain { .. })).count();
                let extras = self.pool.extras().saturating_sub(u32::try_from(later).unwrap());
                assert!(!is_extra || extras <= allowed, "{extras} extra workers where {allowed} are allowed");
            }
        }
    }

    /// On the way forward every new worker is well, or its slot was stopped: any failure would have turned the rollout
    /// back.
    fn check_rollout(&self) {
        let Some(rollout) = &self.pool.rollout else {
            return;
        };
        for worker in self.pool.workers.values() {
            assert!(
                !rollout.tries(worker.generation)
                    || worker.is_staying()
                    || worker.reason_to_leave() == Some(&Cause::SlotStopped),
                "{} of the new generation is lost, and the rollout goes on",
                worker.id
            );
        }
    }

    /// Nothing is due earlier than the pool says.
    fn check_deadline(&self) {
        let end = self.pool.next_deadline().map_or(self.now + secs(10_000), |(at, _)| at);
        let before = end - Duration::from_nanos(1);
        if before > self.now {
            let effects = self.pool.clone().handle(before, Event::TimePassed);
            assert_eq!(effects, [], "more was due than the pool was woken for");
        }
    }

    /// The life that a new worker is going to have.
    fn live(&mut self, worker: WorkerId, generation: GenerationId) {
        let vice = if self.heal { 0 } else { *self.vices.entry(generation).or_insert(self.next_vice) };
        if vice > 0 && self.dice.one_in(12) {
            let failure = if self.dice.one_in(2) {
                SpawnFailure::Resources("EAGAIN".into())
            } else {
                SpawnFailure::Program("no such file".into())
            };
            let span = self.dice.span(20);
            self.later(span, Coming::Fact(Event::SpawnFailed { worker, failure }));
            return;
        }
        let spawn = self.dice.span(10);
        let pid = u32::try_from(worker.0).unwrap();
        self.later(spawn, Coming::Fact(Event::Spawned { worker, pid }));
        let never = vice == 3 || (vice > 0 && self.dice.one_in(10));
        if !never {
            let slow = if vice > 0 { 15_000 } else { 500 };
            let ready = spawn + Duration::from_millis(1) + self.dice.span(slow);
            let sign = ReadySign::Listening;
            self.later(ready, Coming::Fact(Event::BecameReady { worker, sign }));
            if self.dice.one_in(5) {
                self.later(ready * 2, Coming::Fact(Event::BecameReady { worker, sign: ReadySign::Notify }));
            }
        }
        if vice > 0 && self.dice.one_in(if vice == 1 { 6 } else { 2 }) {
            let span = spawn + self.dice.span(if vice == 1 { 60_000 } else { 3_000 });
            let exit = if self.dice.one_in(2) { Exit::Code(1) } else { Exit::Signal(11) };
            self.later(span, Coming::Death(worker, exit));
        }
        if vice > 0 && self.dice.one_in(15) {
            let span = self.dice.span(20_000);
            let notification = match self.dice.below(6) {
                0 => Notification::Stopping,
                1 => Notification::WatchdogTrigger,
                2 => Notification::ExtendTimeout(secs(7)),
                3 => Notification::WatchdogPing,
                4 => Notification::WatchdogInterval(secs(1)),
                _ => Notification::Status("fine".into()),
            };
            self.later(span, Coming::Fact(Event::Notified { worker, notification }));
        }
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Fact(event) => {
                let worker = match &event {
                    Event::SpawnFailed { worker, .. } => Some((*worker, true)),
                    Event::Spawned { worker, .. } => Some((*worker, false)),
                    _ => None,
                };
                if let Some((worker, fails)) = worker {
                    // What the kernel cannot do: start a process that ended, or one that failed to start.
                    if self.bodies.get(&worker) != Some(&Body::Alive) {
                        return;
                    }
                    if fails {
                        self.bodies.remove(&worker);
                    }
                }
                self.feed(event);
            }
            Coming::Death(worker, exit) => {
                if self.bodies.get(&worker) == Some(&Body::Alive) {
                    self.bodies.insert(worker, Body::Dead { swept: false });
                    let oom = self.dice.one_in(20);
                    self.feed(Event::Exited { worker, exit, oom });
                }
            }
            Coming::Emptied(worker) => {
                self.bodies.remove(&worker);
                self.feed(Event::Vacated { worker });
            }
        }
    }

    /// Lets time pass up to the next thing that happens, at most `span`.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let deadline = self.pool.next_deadline().map(|(at, _)| at.max(self.now));
            let next = self.coming.keys().next().copied();
            match (deadline, next) {
                (Some(deadline), next) if deadline <= end && next.is_none_or(|(at, _)| deadline <= at) => {
                    self.now = deadline;
                    self.feed(Event::TimePassed);
                    if let Some((again, why)) = self.pool.next_deadline() {
                        assert!(again > self.now, "the pool wants to be woken again at once: {why}");
                    }
                }
                (_, Some(key)) if key.0 <= end => {
                    self.now = self.now.max(key.0);
                    if let Some(coming) = self.coming.remove(&key) {
                        self.happen(coming);
                    }
                }
                _ => break,
            }
            if self.left {
                return;
            }
        }
        self.now = end;
    }

    /// The machine sleeps, or ganger is stopped in a debugger: the clock goes on and nothing is heard. Afterwards
    /// everything is late, and the pool hears first of what happened or of the time, as it comes.
    fn sleep(&mut self, span: Duration) {
        self.now = self.now + span;
        if self.dice.one_in(2) {
            self.feed(Event::TimePassed);
        }
    }

    fn ask(&mut self, command: Command) {
        let request = self.request();
        if let Command::StopSlot { slot } = command {
            self.stops.insert(request, slot);
        }
        self.feed(Event::Asked { request, command });
    }

    fn request(&mut self) -> RequestId {
        let request = RequestId(self.asked.len() as u64 + 1);
        self.asked.insert(request);
        request
    }

    fn reload(&mut self) {
        self.next_vice = if self.heal { 0 } else { self.dice.below(4) };
        let workers = match self.dice.below(4) {
            0 => 1 + u32::try_from(self.dice.below(6)).unwrap(),
            _ => self.pool.view().wanted.max(1),
        };
        let plan = Self::some_plan(&mut self.dice, workers);
        let request = self.request();
        self.feed(Event::PlanLoaded { request, plan: Arc::new(plan) });
    }

    fn whim(&mut self) {
        let slot = Slot(u32::try_from(self.dice.below(7)).unwrap());
        match self.dice.below(18) {
            0..=3 => self.reload(),
            12 => {
                let request = self.request();
                self.feed(Event::PlanRefused {
                    request,
                    reason: "unknown key".into(),
                    details: "colour = 1".into(),
                });
            }
            4 => self.ask(Command::Restart { slot: None }),
            5 => self.ask(Command::Restart { slot: Some(slot) }),
            6 => self.ask(Command::Scale { to: ScaleTo::Exactly(slot.0) }),
            7 => self.ask(Command::Scale { to: ScaleTo::Up(1) }),
            8 => self.ask(Command::Scale { to: ScaleTo::Down(1) }),
            9 => self.ask(Command::Signal { slot: Some(slot), signal: 10 }),
            10 => self.ask(Command::Reset { slot: None }),
            13 => self.ask(Command::Reset { slot: Some(slot) }),
            14 | 15 => self.ask(Command::StopSlot { slot }),
            16 | 17 => self.ask(Command::StartSlot { slot }),
            _ => self.feed(Event::CalendarElapsed),
        }
    }

    /// A fact that comes late, twice or about nobody.
    fn nonsense(&mut self) {
        let known: Vec<WorkerId> = self.bodies.keys().copied().collect();
        let pick = usize::try_from(self.dice.below(known.len() as u64 + 1)).unwrap();
        let worker = known.get(pick).copied().unwrap_or(WorkerId(999_999));
        let dead = !matches!(self.bodies.get(&worker), Some(Body::Alive));
        match self.dice.below(6) {
            0 => self.feed(Event::BecameReady { worker: WorkerId(999_999), sign: ReadySign::Notify }),
            1 => self.feed(Event::Probed { worker, outcome: Err("late".into()) }),
            2 => self.feed(Event::MemoryMeasured { worker, bytes: 5 }),
            3 => self.feed(Event::Drained { worker }),
            4 if dead => self.feed(Event::Exited { worker, exit: Exit::Unknown, oom: false }),
            _ => self.feed(Event::TimePassed),
        }
    }

    fn check(&self) {
        let view = self.pool.view();
        self.check_stopped(&view);
        assert_eq!(view.reload.as_ref().map(|reload| reload.generation), self.told_of);
        let base = view.wanted.max(view.reload.as_ref().map_or(0, |reload| reload.total));
        assert!(view.ready <= view.wanted.max(base));
        self.check_rollout();
        if self.events.is_multiple_of(8) {
            self.check_deadline();
        }
        let mut holders = BTreeSet::new();
        for worker in &view.workers {
            assert_eq!(worker.phase == Phase::Stuck, self.stuck.contains(&worker.worker));
            assert!(holders.insert(worker.worker), "one worker is shown twice");
            assert!(self.bodies.contains_key(&worker.worker), "{} is shown and is no more", worker.worker);
        }
        for (worker, body) in &self.bodies {
            let shown = view.workers.iter().any(|it| it.worker == *worker);
            assert!(shown || self.left, "{worker} ({body:?}) runs and is not shown");
        }
    }

    /// What somebody stopped is stopped until somebody asks for it: nobody is in it or on the way to it.
    fn check_stopped(&self, view: &View) {
        let is_shown = |slot: Slot| {
            let shown = view.slots.iter().find(|shown| shown.slot == slot);
            shown.is_some_and(|shown| matches!(shown.phase, SlotPhase::Stopped | SlotPhase::Leaving))
        };
        for (slot, place) in &self.pool.places {
            assert_eq!(is_shown(*slot), self.stopped.contains(slot), "slot {slot} is shown as another thing");
            if !self.stopped.contains(slot) {
                continue;
            }
            assert_eq!((place.holder(), place.successor), (None, None), "somebody is in stopped slot {slot}");
            assert_eq!(place.generation, self.pool.generation, "slot {slot} keeps an old plan");
            let stays = self.pool.workers.values().any(|worker| worker.slot == *slot && worker.is_staying());
            assert!(!stays, "a worker stays in stopped slot {slot}");
        }
    }

    /// What an accepted wish means for the slots that are stopped; those that are no more are forgotten.
    fn note_stopped(&mut self, event: &Event, queued_before: usize) {
        if let Event::Asked { command, .. } = event
            && !self.pool.is_ending()
        {
            match command {
                Command::StopSlot { slot } => {
                    self.stopped.insert(*slot);
                }
                Command::StartSlot { slot }
                | Command::Restart { slot: Some(slot) }
                | Command::Reset { slot: Some(slot) } => {
                    self.stopped.remove(slot);
                }
                _ => {}
            }
        }
        // Two wishes that had their turn at once may take a place away and add another of its number.
        let in_one = self.pool.queue.len() + 1 < queued_before;
        let places = &self.pool.places;
        let remains = |slot: &Slot| places.get(slot).is_some_and(|place| !in_one || place.is_stopped());
        self.stopped.retain(remains);
    }

    /// From now on everything behaves; the pool has to come to rest with its plan met.
    fn come_to_rest(&mut self) {
        self.heal = true;
        self.vices.values_mut().for_each(|vice| *vice = 0);
        // Deaths that were on their way still come; afterwards nothing bad happens.
        self.pass(secs(400));
        self.ask(Command::Reset { slot: None });
        self.pass(secs(400));
        if self.left {
            return;
        }
        let view = self.pool.view();
        assert_eq!(self.asked, self.answered, "not everybody was answered");
        assert!(view.reload.is_none(), "a rollout has no end");
        assert_eq!(view.ready + self.stopped_slots(), view.wanted, "at rest, and not every place is served");
        if self.dice.one_in(2) {
            for slot in self.stopped.clone() {
                self.ask(Command::StartSlot { slot });
            }
            self.pass(secs(400));
            assert_eq!(self.pool.view().ready, view.wanted, "not every place is served again");
        }
        self.meet_a_good_plan();
    }

    fn stopped_slots(&self) -> u32 {
        u32::try_from(self.stopped.len()).unwrap()
    }

    /// Without faults a reload ends well, and then there is what was wanted and nothing else.
    fn meet_a_good_plan(&mut self) {
        let workers = 1 + u32::try_from(self.dice.below(6)).unwrap();
        let before = self.pool.wanted;
        let keeps = self.pool.present.workers == workers;
        self.next_vice = 0;
        let request = self.request();
        self.feed(Event::PlanLoaded { request, plan: Arc::new(plan(workers)) });
        self.pass(secs(400));
        assert_eq!(self.last_outcome, Some(Outcome::Done), "a good plan was not met");
        assert!(self.answered.contains(&request));
        let (view, generation) = (self.pool.view(), self.pool.generation());
        let wanted = if keeps { before } else { workers };
        let meant = wanted - self.stopped_slots();
        assert_eq!((view.wanted, view.ready), (wanted, meant));
        let at_rest = |worker: &&WorkerView| worker.phase == Phase::Ready && worker.generation == generation;
        assert_eq!(view.workers.iter().filter(at_rest).count(), meant as usize);
        let mut users: BTreeSet<GenerationId> = view.workers.iter().map(|worker| worker.generation).collect();
        users.insert(generation);
        assert!(view.workers.iter().all(|it| at_rest(&it) || it.phase == Phase::Stuck));
        assert!(self.pool.generations.keys().eq(&users), "plans are kept that nobody needs");
        assert!(self.pool.queue.is_empty() && self.pool.waiters.is_empty());
        assert_eq!(self.pool.busy_until(), None);
        assert!(self.pool.next_deadline().is_none(), "at rest, and something is due");
    }

    fn play(mut self, events: u64) -> (u64, Option<u64>) {
        while self.events < events && !self.left {
            let pause = match self.dice.below(10) {
                0 => Duration::ZERO,
                1..=6 => self.dice.span(800),
                7..=8 => self.dice.span(8_000),
                _ => self.dice.span(200_000),
            };
            if self.dice.one_in(40) {
                let span = self.dice.span(200_000);
                self.sleep(span);
            }
            if self.left {
                break;
            }
            self.pass(pause);
            if self.left {
                break;
            }
            if self.dice.one_in(4) {
                self.whim();
            }
            if self.dice.one_in(6) {
                self.nonsense();
            }
        }
        if !self.left {
            self.come_to_rest();
        }
        if !self.left {
            self.ask(Command::Stop);
            self.pass(secs(100));
        }
        assert!(self.left, "the pool never left");
        assert_eq!(self.told_of, None, "the end of a rollout was not told");
        let held = self.bodies.keys().all(|worker| self.stuck.contains(worker));
        assert!(held, "left, and {:?} still run", self.bodies);
        assert_eq!(self.asked, self.answered, "left without an answer to somebody");
        (self.events, self.digest)
    }
}

/// The pool, written, read and restored.
fn handed_over(pool: &Pool, now: Monotonic) -> Pool {
    let document = pool.save().write().unwrap();
    Pool::restore(State::read(&document).unwrap(), now).unwrap()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let wanted = setting("GANGER_SIM_EVENTS", DEFAULT_EVENTS);
    let mut seed = setting("GANGER_SIM_SEED", 1);
    let mut played = 0;
    while played < wanted {
        let game = std::panic::catch_unwind(|| Game::new(seed, false).play(EVENTS_PER_GAME));
        match game {
            Ok((events, _)) => played += events,
            Err(_) => panic!("the game with GANGER_SIM_SEED={seed} was lost"),
        }
        seed += 1;
    }
    println!("{played} events in {} games", seed - setting("GANGER_SIM_SEED", 1));
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    for seed in 1..6 {
        let game = || Game::new(seed, true).play(1000);
        assert_eq!(game(), game());
    }
}

#[test]
fn a_pool_that_was_written_and_restored_has_the_same_future() {
    for seed in 1_000..1_008 {
        let mut game = Game::new(seed, false);
        game.twin = Some(handed_over(&game.pool, game.now));
        game.play(1_500);
    }
}
