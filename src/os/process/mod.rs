//! Start a worker by fork and exec, without ever waiting for it. Which worker, when, and what its failure means
//! is decided elsewhere.
//!
//! 1. A [`Template`] per generation holds what all its workers share: argv, the places where the program may be,
//!    the environment, the working directory *as a descriptor* (a moved symbolic link changes nothing), ids.
//! 2. [`Template::spawn`] forks with what is this worker's own ([`Launch`]): descriptors by number, variables,
//!    control group. It returns a [`Spawning`] at once; the child has its signals, session, descriptors, ids and
//!    directory in order and waits.
//! 3. [`Spawning::go`] lets it exec. A supervisor that dies before leaves nothing behind: the child reads end
//!    of file and leaves.
//! 4. The descriptor of a [`Spawning`] (`AsFd`) becomes readable when the outcome is known; [`Spawning::outcome`]
//!    tells it: the program runs, or a [`SpawnError`] says at which [`Stage`] which path failed and why.
//!
//! One socket pair carries go and outcome; both ends are close-on-exec, so that a successful exec is an end of
//! file. Between fork and exec the child makes system calls only: it does not allocate, lock or format.
//! A child whose outcome was an error exits with [`EXIT_NOT_STARTED`] and is reaped like any other.

mod child;
mod clone;
mod failure;
mod launch;
mod template;

#[cfg(test)]
mod tests;

pub use failure::{SpawnError, Stage};
pub use launch::{Launch, Outcome, Spawning};
pub use template::{Program, Template};

/// Exit status of a child that never came to run its program.
pub const EXIT_NOT_STARTED: i32 = 127;

/// The highest descriptor number that a worker may be given.
pub const MAX_TARGET: i32 = 16_384;
