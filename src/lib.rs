//! ganger: the worker pool that systemd lacks.
//!
//! A pure pool decides; a thin daemon obeys. Rooms import only rooms of a lower level:
//!
//! | level | room | what it decides |
//! | --- | --- | --- |
//! | 0 | [`time`] | instants, spans and sizes as values |
//! | 1 | [`plan`] | the checked desired state |
//! | 1 | [`proto`] | the grammars that cross a border |
//! | 1 | [`os`] | how the kernel is asked: the only unsafe code |
//! | 2 | [`pool`] | what to do next: events in, effects out; what is left of it in a [`proto::state`] document |
//! | 2 | [`systemd`] | how the service manager and the journal are spoken to |
//! | 2 | [`config`] | how text becomes a plan |
//! | 3 | [`node`] | the primary's side of Node's cluster protocol |
//! | 4 | [`dbus`] | how a pool is asked and steered from outside |
//! | 5 | [`daemon`] | the one event loop: facts become events, effects become deeds |
//! | 6 | [`cli`] | what a person types and reads |
//!
//! Invariants, held by `tests/tidy.rs`: the pure rooms (`time`, `plan`, `proto`, `pool`) see no clock,
//! descriptor, process, environment, log or future; unsafe code lives in `os` only; `dbus` and `cli` know
//! `View` and `Command`, never `Pool`; there is one `select!`, whose arms only build an `Event`.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod dbus;
pub mod node;
pub mod os;
pub mod plan;
pub mod pool;
pub mod proto;
pub mod systemd;
pub mod time;
