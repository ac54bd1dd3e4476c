//! The pure heart: facts come in, orders go out.
//!
//! The pool decides which worker is started, asked to leave, killed or replaced, and when. It reads no clock
//! (time is an argument), owns no descriptor, starts no process and writes no log. The daemon turns what
//! happens into an [`Event`], calls `Pool::handle`, and carries out the [`Effect`]s in order.

mod command;
mod effect;
mod event;
mod ids;
mod verdict;
mod view;

pub use command::{Command, ScaleTo};
pub use effect::{Announcement, Effect, Warning};
pub use event::{Event, Exit, Notification, ReadySign, SpawnFailure};
pub use ids::{GenerationId, RequestId, Slot, WorkerId};
pub use verdict::{Cause, Outcome, Verdict, WorkerFailure};
pub use view::{LastReload, Phase, PoolPhase, ReloadView, SlotPhase, SlotView, View, WorkerView};
