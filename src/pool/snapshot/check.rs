//! Whether what a document says can be a pool's: every name leads somewhere, every number is within its
//! limit.

use super::super::queue::{MAX_CALLERS, MAX_QUEUED, Queued};
use super::super::rollout::Course;
use super::super::slot::{Holder, Place};
use super::super::{GenerationId, Pool, RequestId, Slot, WorkerId};
use super::{RestoreError, impossible};
use crate::plan::MAX_WORKERS;

impl Pool {
    /// What restoring relies on, and what every saved pool fulfils.
    pub(super) fn fits_together(&self) -> Result<(), RestoreError> {
        if self.wanted > MAX_WORKERS {
            return Err(impossible(format!("{} workers are wanted", self.wanted)));
        }
        for (id, plan) in &self.generations {
            if plan.app.as_str() != self.app {
                return Err(impossible(format!("generation {id} is another app's")));
            }
            if id.0 >= self.next_generation {
                return Err(impossible(format!("generation {id} is not born yet")));
            }
        }
        self.rollout_fits()?;
        let places = self.places_there_are();
        if !self.places.keys().map(|slot| slot.0).eq(0..places) {
            return Err(impossible(format!("there are not {places} slots from 0 on")));
        }
        for (slot, place) in &self.places {
            self.place_fits(*slot, place)?;
        }
        for (id, worker) in &self.workers {
            self.is_known(worker.generation, || format!("worker {id}"))?;
            if id.0 >= self.next_worker {
                return Err(impossible(format!("worker {id} is not born yet")));
            }
        }
        self.queue_fits()
    }

    /// So many places there are, by what is under way.
    fn places_there_are(&self) -> u32 {
        match &self.rollout {
            _ if self.ending.is_some() => 0,
            None => self.wanted,
            Some(rollout) => match rollout.course {
                Course::Forward => rollout.before.max(rollout.after),
                Course::Committed => rollout.after,
                Course::Backward { .. } => rollout.before,
            },
        }
    }

    fn is_known(&self, generation: GenerationId, whose: impl Fn() -> String) -> Result<(), RestoreError> {
        if self.generations.contains_key(&generation) {
            Ok(())
        } else {
            Err(impossible(format!("{} is of generation {generation}, which has no plan", whose())))
        }
    }

    fn place_fits(&self, slot: Slot, place: &Place) -> Result<(), RestoreError> {
        self.is_known(place.generation, || format!("slot {slot}"))?;
        for worker in place.holder().into_iter().chain(place.successor) {
            self.belongs(worker, slot)?;
        }
        if place.successor.is_some() && place.successor == place.holder() {
            return Err(impossible(format!("the worker in slot {slot} is to replace itself")));
        }
        if place.is_stopped() && place.successor.is_some() {
            return Err(impossible(format!("slot {slot} is stopped, and a worker is to take it over")));
        }
        if place.holder == Holder::Reserved && self.rollout.is_none() {
            return Err(impossible(format!("slot {slot} waits for a rollout, and none is under way")));
        }
        Ok(())
    }

    fn belongs(&self, worker: WorkerId, slot: Slot) -> Result<(), RestoreError> {
        match self.workers.get(&worker) {
            None => Err(impossible(format!("slot {slot} has worker {worker}, which is not there"))),
            Some(known) if known.slot != slot => {
                Err(impossible(format!("slot {slot} has worker {worker} of slot {}", known.slot)))
            }
            Some(known) if !known.is_staying() => {
                Err(impossible(format!("slot {slot} has worker {worker}, which is leaving")))
            }
            Some(_) => Ok(()),
        }
    }

    fn rollout_fits(&self) -> Result<(), RestoreError> {
        let Some(rollout) = &self.rollout else {
            return Ok(());
        };
        for generation in [rollout.target, rollout.from] {
            self.is_known(generation, || "the rollout".to_owned())?;
        }
        if rollout.target == rollout.from || self.ending.is_some() {
            return Err(impossible("a rollout that cannot be under way"));
        }
        if rollout.before.max(rollout.after) > MAX_WORKERS || rollout.requests.len() > MAX_CALLERS {
            return Err(impossible("the rollout exceeds a limit"));
        }
        let wanted = if rollout.course == Course::Committed { rollout.after } else { rollout.before };
        if self.wanted != wanted {
            return Err(impossible(format!("{} workers are wanted in a rollout to {wanted}", self.wanted)));
        }
        Ok(())
    }

    fn queue_fits(&self) -> Result<(), RestoreError> {
        let too_many = self.queue.iter().any(|queued| match queued {
            Queued::Rollout { requests, .. } => requests.len() > MAX_CALLERS,
            Queued::Scale { .. } => false,
        });
        if self.queue.len() > MAX_QUEUED || too_many {
            return Err(impossible("more wishes wait than ever may"));
        }
        let stranger = self.queue.iter().any(|queued| match queued {
            Queued::Rollout { plan: Some(plan), .. } => plan.app.as_str() != self.app,
            Queued::Rollout { plan: None, .. } | Queued::Scale { .. } => false,
        });
        if stranger { Err(impossible("a waiting reload is another app's")) } else { Ok(()) }
    }

    /// The highest name among the callers who still wait for a verdict: a new caller's has to be higher.
    #[must_use]
    pub fn last_request(&self) -> Option<RequestId> {
        let rollout = self.rollout.iter().flat_map(|rollout| &rollout.requests);
        let waiters = self.waiters.iter().flat_map(|waiter| &waiter.requests);
        let ending = self.ending.iter().flat_map(|ending| &ending.requests);
        let places = self.places.values().filter_map(|place| place.replacement.as_ref());
        let places = places.flat_map(|replacement| &replacement.requests);
        let queued = self.queue.iter().flat_map(|queued| match queued {
            Queued::Rollout { requests, .. } => requests.as_slice(),
            Queued::Scale { request, .. } => std::slice::from_ref(request),
        });
        rollout.chain(waiters).chain(ending).chain(places).chain(queued).max().copied()
    }
}
