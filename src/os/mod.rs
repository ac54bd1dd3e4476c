//! How the kernel is asked: the only room with unsafe code. It decides nothing about the pool.
//!
//! Every descriptor made here is close-on-exec, every descriptor meant for the event loop is non-blocking,
//! every loop and every buffer has a named limit. A worker gets its descriptors by number and nothing else.
//!
//! | submodule | what is asked |
//! | --- | --- |
//! | [`clock`] | what time it is |
//! | [`process`] | start a worker: template, launch, go, and whether its program runs |
//! | [`pidfd`] | signal and reap exactly that process; orphans for PID 1 |
//! | [`signals`] | signals as a descriptor, names ↔ numbers |
//! | [`sockets`] | bind, look at inherited sockets, check them |
//! | [`messages`] | datagrams and bytes with credentials and descriptors |
//! | [`sock_diag`] | connections and accept queues, by netlink |
//! | [`procfs`] | what /proc says of a process: its wait, its memory, its kin |
//! | [`cgroup`] | control groups of workers below a delegated one |
//! | [`users`] | names → ids |
//! | [`journal_stream`] | a stream into the journal for a worker's output |
//! | [`memory`] | give back what only the start needed |
//! | [`tied`] | let a child not outlive us |
//! | [`timer`] | a deadline as a descriptor |
//! | [`rlimit`] | the limit of open files |
//! | [`stdio`] | whether there is a standard output |
//! | [`terminal`] | how wide a terminal is |
//! | [`files`] | append logs, memfds, /dev/null |
//!
//! Errors are [`SysError`] (an attempt and its errno) or, for a worker that does not come to run,
//! [`process::SpawnError`].

#![expect(unsafe_code, reason = "the one room that may: system calls without a safe wrapper")]

#[cfg(test)]
mod alone;
pub mod cgroup;
pub mod clock;
mod error;
pub mod files;
pub mod journal_stream;
pub mod kin;
pub mod memory;
pub mod messages;
pub mod pidfd;
pub mod pipes;
pub mod poller;
pub mod process;
pub mod procfs;
pub mod rlimit;
pub mod signals;
pub mod sock_diag;
pub mod sockets;
pub mod stdio;
pub mod terminal;
pub mod tied;
pub mod timer;
pub mod users;
pub mod watched;

pub use error::{Result, SysError};
