//! The grammar of inherited sockets in the environment: sd_listen_fds(3)'s `LISTEN_PID`, `LISTEN_FDS` and
//! `LISTEN_FDNAMES` read ([`read`]) and written ([`listen_fds`]), and two older conventions that are only
//! written ([`einhorn`], [`server_starter`]).
//!
//! Text only: whether a descriptor is open, and what it is, is found out by who holds it.

mod name;
mod read;
mod write;

pub use name::{FdName, FdNameError};
pub use read::{Inherited, ListenFdsError, Variables, read};
pub use write::{Passed, WriteError, einhorn, listen_fds, server_starter};

/// The first inherited descriptor (`SD_LISTEN_FDS_START`).
pub const FIRST_FD: i32 = 3;

/// The most descriptors that are taken or passed on by these variables.
pub const MAX_FDS: usize = 512;

/// The longest value of one environment variable that is written; execve(2) refuses a string of 128 KiB.
pub const MAX_VALUE_BYTES: usize = 96 * 1024;

/// `LISTEN_PID`: which process the descriptors are for.
pub const LISTEN_PID: &str = "LISTEN_PID";
/// `LISTEN_FDS`: how many descriptors there are.
pub const LISTEN_FDS: &str = "LISTEN_FDS";
/// `LISTEN_FDNAMES`: their names.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// `LISTEN_PIDFDID`: newer systemd's second, reuse-proof way to name the process; not read here.
pub const LISTEN_PIDFDID: &str = "LISTEN_PIDFDID";
