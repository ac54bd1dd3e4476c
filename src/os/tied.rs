//! Children that do not outlive us. Which child that is meant for is decided elsewhere.

use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

/// The kernel kills what this command starts (SIGKILL) when the thread that starts it ends, however it does
/// (`PR_SET_PDEATHSIG`, prctl(2)): start it in the first thread. A program that changes its user is let go.
pub fn dies_with_us(command: &mut Command) -> &mut Command {
    let us = std::process::id();
    let tie = move || {
        let signal = libc::c_ulong::from(libc::SIGKILL.unsigned_abs());
        // SAFETY: no memory is involved.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Ended in between: no signal will come.
        if parent_id() == us { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec it makes two system calls, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(tie) }
}
