//! The pure heart: facts come in, orders go out.
//!
//! The pool decides which worker is started, asked to leave, killed or replaced, and when. It reads no clock
//! (time is an argument), owns no descriptor, starts no process and writes no log. The daemon turns what
//! happens into an [`Event`], calls `Pool::handle`, and carries out the [`Effect`]s in order.

mod command;
mod effect;
mod ending;
mod event;
mod facts;
mod ids;
mod loss;
mod machine;
mod queue;
mod random;
mod rollout;
mod settle;
mod slot;
mod snapshot;
mod standing;
mod stopping;
mod verdict;
mod view;
mod worker;

pub use command::{Command, ScaleTo};
pub use effect::{Announcement, Effect, Warning};
pub use ending::farewell;
pub use event::{Event, Exit, Notification, ReadySign, SpawnFailure};
pub use ids::{GenerationId, RequestId, Slot, WorkerId};
pub use machine::Pool;
pub use rollout::{Purpose, workers_in_words};
pub use snapshot::RestoreError;
pub use verdict::{Cause, Outcome, Verdict, WorkerFailure};
pub use view::{LastReload, Phase, PoolPhase, ReloadView, SlotPhase, SlotView, View, WorkerView};

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "tests pick out the one effect they speak of")]
pub(crate) mod fixture;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a game has a rule for what it knows and none for the rest"
)]
mod simulation;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
