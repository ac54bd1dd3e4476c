//! The pool as a document, and a pool from one: nothing is lost on the way, and nothing is believed that
//! does not fit together.
//!
//! A document comes from outside. `save` writes every field; `restore` checks every name in it (of a worker,
//! a place, a generation) before a pool is made, so that no later event meets a pool that cannot be.
//! What a pool does with it is not decided here: a restored pool does what the saved one would have done.

mod check;
mod people;
mod plans;
mod workers;

use std::fmt;
use std::sync::Arc;

use super::random::Random;
use super::{GenerationId, Pool};
use crate::proto::state::{self, Span};
use crate::time::Monotonic;

/// Why a document is no pool; a fragment for "failed to …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreError {
    /// It was saved later than now: the machine was started anew meanwhile, and all instants in it are void.
    OtherBoot,
    /// What it says cannot be; in words, with the worker, place or generation that it is about.
    Impossible(String),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherBoot => f.write_str("go on with the saved state: it was saved before the last boot"),
            Self::Impossible(what) => write!(f, "go on with the saved state: {what}"),
        }
    }
}

impl std::error::Error for RestoreError {}

pub(super) fn impossible(what: impl Into<String>) -> RestoreError {
    RestoreError::Impossible(what.into())
}

pub(super) fn span_of(instant: Monotonic) -> Span {
    Span(instant.since_origin())
}

pub(super) fn instant_of(span: Span) -> Monotonic {
    Monotonic::from_origin(span.0)
}

impl Pool {
    /// Everything that the pool knows, for another ganger to go on with.
    #[must_use]
    pub fn save(&self) -> state::State {
        // Taken apart, so that a field of tomorrow cannot be forgotten here. `present` is the serving
        // generation's plan once more.
        let Self {
            app,
            since,
            wanted,
            generation,
            generations,
            present: _,
            places,
            workers,
            rollout,
            queue,
            waiters,
            ending,
            announced_ready,
            next_worker,
            next_generation,
            restarts,
            last_reload,
            random: Random(random),
            settled_at,
        } = self;
        state::State {
            version: state::VERSION,
            app: app.clone(),
            since: span_of(*since),
            settled_at: span_of(*settled_at),
            wanted: *wanted,
            generation: generation.0,
            generations: generations
                .iter()
                .map(|(id, plan)| state::Generation { generation: id.0, plan: plans::save(plan) })
                .collect(),
            places: places.iter().map(|(slot, place)| workers::save_place(*slot, place)).collect(),
            workers: workers.values().map(workers::save_worker).collect(),
            rollout: rollout.as_ref().map(workers::save_rollout),
            queue: queue.iter().map(people::save_queued).collect(),
            waiters: waiters.iter().map(people::save_waiter).collect(),
            ending: ending.as_ref().map(workers::save_ending),
            announced_ready: *announced_ready,
            next_worker: *next_worker,
            next_generation: *next_generation,
            restarts: *restarts,
            last_reload: last_reload.as_ref().map(people::save_last_reload),
            random: *random,
        }
    }

    /// The pool that was saved. It goes on as the saved one would have: what became due meanwhile is done at
    /// the next event. Callers keep their names ([`super::RequestId`]): new ones must not be called the same,
    /// see [`Pool::last_request`].
    ///
    /// # Errors
    /// When the state was saved later than `now` (before the last boot), or when it cannot be a pool's.
    pub fn restore(state: state::State, now: Monotonic) -> Result<Self, RestoreError> {
        if instant_of(state.settled_at) > now {
            return Err(RestoreError::OtherBoot);
        }
        let mut generations = std::collections::BTreeMap::new();
        for state::Generation { generation, plan } in state.generations {
            let plan = plans::restore(plan)
                .map_err(|what| impossible(format!("the plan of generation {generation}: {what}")))?;
            if generations.insert(GenerationId(generation), Arc::new(plan)).is_some() {
                return Err(impossible(format!("generation {generation} is there twice")));
            }
        }
        let generation = GenerationId(state.generation);
        let Some(present) = generations.get(&generation).map(Arc::clone) else {
            return Err(impossible(format!("the serving generation {generation} has no plan")));
        };
        let pool = Self {
            app: state.app,
            since: instant_of(state.since),
            wanted: state.wanted,
            generation,
            generations,
            present,
            places: workers::restore_places(state.places)?,
            workers: workers::restore_workers(state.workers)?,
            rollout: state.rollout.map(workers::restore_rollout),
            queue: people::restore_queue(state.queue)?,
            waiters: state.waiters.into_iter().map(people::restore_waiter).collect(),
            ending: state.ending.map(workers::restore_ending),
            announced_ready: state.announced_ready,
            next_worker: state.next_worker,
            next_generation: state.next_generation,
            restarts: state.restarts,
            last_reload: state.last_reload.map(people::restore_last_reload),
            random: Random(state.random),
            settled_at: instant_of(state.settled_at),
        };
        pool.fits_together()?;
        Ok(pool)
    }
}

#[cfg(test)]
mod tests;
