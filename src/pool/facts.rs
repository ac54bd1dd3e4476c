//! What each fact about a worker means for it.

use super::ending::how_it_ended;
use super::machine::{Effects, Pool};
use super::worker::{Due, Life, Remains, Worker};
use super::{Announcement, Cause, Effect, Exit, ReadySign, Slot, SpawnFailure, Warning, WorkerId};
use crate::plan::{Plan, ReadyWhen};
use crate::time::Monotonic;

impl Pool {
    /// Tells a worker something, with its plan at hand; an unknown worker becomes a warning.
    pub(super) fn tell<R>(
        &mut self,
        id: WorkerId,
        fact: &'static str,
        out: &mut Effects,
        deed: impl FnOnce(&mut Worker, &Plan) -> R,
    ) -> Option<R> {
        let Some(worker) = self.workers.get_mut(&id) else {
            out.push(Effect::Warn(Warning::UnknownWorker { worker: id, fact }));
            return None;
        };
        let plan = self.generations.get(&worker.generation).unwrap_or(&self.present);
        Some(deed(worker, plan))
    }

    pub(super) fn spawned(&mut self, now: Monotonic, id: WorkerId, pid: u32, out: &mut Effects) {
        if self.tell(id, "spawned", out, |worker, plan| worker.spawned(pid, plan, now)).is_some() {
            out.push(Effect::Announce(Announcement::WorkerStarted { worker: id }));
        }
    }

    pub(super) fn saw_sign(&mut self, now: Monotonic, id: WorkerId, sign: ReadySign, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else {
            out.push(Effect::Warn(Warning::UnknownWorker { worker: id, fact: "ready" }));
            return;
        };
        let when = self.plan(worker.generation).ready.when;
        if Worker::believes(when, sign) {
            self.becomes_ready(now, id, out);
        }
    }

    pub(super) fn becomes_ready(&mut self, now: Monotonic, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if !matches!(worker.life, Life::Starting { .. }) {
            return;
        }
        let plan = self.generations.get(&worker.generation).cloned();
        if let Some(plan) = plan {
            worker.become_ready(&plan, &mut self.random, now);
            let took = now.since(worker.started);
            out.push(Effect::Announce(Announcement::WorkerReady { worker: id, took }));
        }
    }

    pub(super) fn spawn_failed(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        failure: SpawnFailure,
        out: &mut Effects,
    ) {
        let cause = match failure {
            SpawnFailure::Resources(reason) => Cause::NoRoom(reason),
            SpawnFailure::Program(reason) => Cause::Spawn(reason),
        };
        let Some(worker) = self.workers.get(&id) else {
            out.push(Effect::Warn(Warning::UnknownWorker { worker: id, fact: "spawn failed" }));
            return;
        };
        let (slot, expected) = (worker.slot, !worker.is_staying());
        out.push(Effect::Announce(Announcement::WorkerExited {
            worker: id,
            slot,
            cause: cause.clone(),
            expected,
            ended: None,
        }));
        if !expected {
            self.lost(now, id, cause, out);
        }
        self.workers.remove(&id);
    }

    pub(super) fn exited(&mut self, now: Monotonic, id: WorkerId, exit: Exit, oom: bool, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else {
            out.push(Effect::Warn(Warning::UnknownWorker { worker: id, fact: "exited" }));
            return;
        };
        let (slot, own) = (worker.slot, if oom { Cause::Oom } else { Cause::Exit(exit) });
        let (cause, expected) = match &worker.life {
            Life::Starting { .. } | Life::Ready(_) => (own, false),
            Life::Draining(leaving) | Life::Killed(leaving) | Life::Stuck(leaving, Remains::Main) => {
                (leaving.cause.clone(), true)
            }
            Life::Leftover(_) | Life::Stuck(_, Remains::Leftovers) => {
                out.push(Effect::Warn(Warning::OutOfPlace { worker: id, fact: "exited" }));
                return;
            }
        };
        let ended = worker.odd_ending(exit, oom, &self.plan(worker.generation).stop);
        if let Some(ended) = &ended {
            self.remark_on_end(id, &how_it_ended(ended));
        }
        out.push(Effect::Announce(Announcement::WorkerExited {
            worker: id,
            slot,
            cause: cause.clone(),
            expected,
            ended,
        }));
        if !expected {
            self.lost(now, id, cause.clone(), out);
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.main_gone(now, cause);
        }
        out.push(Effect::Sweep { worker: id });
    }

    pub(super) fn vacated(&mut self, id: WorkerId, out: &mut Effects) {
        match self.workers.get(&id).map(|worker| &worker.life) {
            Some(Life::Leftover(_) | Life::Stuck(_, Remains::Leftovers)) => {
                self.workers.remove(&id);
            }
            Some(
                Life::Starting { .. }
                | Life::Ready(_)
                | Life::Draining(_)
                | Life::Killed(_)
                | Life::Stuck(_, Remains::Main),
            ) => {
                out.push(Effect::Warn(Warning::OutOfPlace { worker: id, fact: "vacated" }));
            }
            None => out.push(Effect::Warn(Warning::UnknownWorker { worker: id, fact: "vacated" })),
        }
    }

    pub(super) fn probed(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        outcome: Result<(), String>,
        out: &mut Effects,
    ) {
        let Some(worker) = self.workers.get(&id) else {
            out.push(Effect::Warn(Warning::UnknownWorker { worker: id, fact: "probed" }));
            return;
        };
        if matches!(worker.life, Life::Starting { .. }) {
            if outcome.is_ok() {
                self.saw_sign(now, id, ReadySign::Http, out);
            } else if let Some(worker) = self.workers.get_mut(&id) {
                worker.probe_again(now);
            }
            return;
        }
        let cause = self.tell(id, "probed", out, |worker, plan| worker.checked(outcome, plan, now));
        if let Some(cause) = cause.flatten() {
            self.ought_to_go(now, id, cause, out);
        }
    }

    /// `STOPPING=1` of a ready worker: its place is filled anew while it finishes.
    pub(super) fn left_by_itself(&mut self, now: Monotonic, id: WorkerId, out: &mut Effects) {
        self.lost(now, id, Cause::LeftByItself, out);
        let generation = self.workers.get(&id).map(|worker| worker.generation);
        let deadline = generation.map(|generation| now + self.plan(generation).stop.timeout);
        if let (Some(worker), Some(deadline)) = (self.workers.get_mut(&id), deadline)
            && worker.is_staying()
        {
            worker.leave(Cause::LeftByItself, deadline);
            out.push(Effect::Announce(Announcement::WorkerDraining {
                worker: id,
                cause: Cause::LeftByItself,
            }));
        }
    }

    pub(super) fn calendar_elapsed(&mut self, now: Monotonic) {
        let slots: Vec<Slot> = self.places.keys().copied().collect();
        for slot in slots {
            if self.is_served(slot) {
                self.wish_replacement(now, slot, Cause::Calendar, None);
            }
        }
    }

    pub(super) fn time_passed(&mut self, now: Monotonic, out: &mut Effects) {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(generation) = self.workers.get(&id).map(|worker| worker.generation) else {
                continue;
            };
            let plan = self.plan(generation);
            let due = self.workers.get_mut(&id).map(|worker| worker.due(&plan, now)).unwrap_or_default();
            for due in due {
                self.came_due(now, id, due, &plan, out);
            }
        }
    }

    pub(super) fn came_due(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        due: Due,
        plan: &Plan,
        out: &mut Effects,
    ) {
        match due {
            Due::Started if plan.ready.when == ReadyWhen::Started => self.becomes_ready(now, id, out),
            Due::Started => {}
            Due::Probe => out.push(Effect::Probe { worker: id }),
            Due::Measure => out.push(Effect::Measure { worker: id }),
            Due::Replace(cause) => self.ought_to_go(now, id, cause, out),
            Due::ReadyTimeout => {
                let cause = Cause::ReadyTimeout(plan.ready.timeout);
                self.lost(now, id, cause.clone(), out);
                self.drain(now, id, cause, out);
            }
            Due::DrainTimeout => {
                let cause = self.workers.get(&id).and_then(|worker| match &worker.life {
                    Life::Draining(leaving) => Some(leaving.cause.clone()),
                    Life::Starting { .. }
                    | Life::Ready(_)
                    | Life::Killed(_)
                    | Life::Leftover(_)
                    | Life::Stuck(..) => None,
                });
                self.remark_on_end(id, "did not leave in time and was killed");
                self.kill(now, id, cause.unwrap_or(Cause::Stopped), out);
            }
            Due::Stuck => {
                if let Some(cause) = self.workers.get_mut(&id).and_then(Worker::hold) {
                    out.push(Effect::Announce(Announcement::WorkerStuck { worker: id, cause }));
                }
            }
        }
    }
}
