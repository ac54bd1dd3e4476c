//! Make a process: clone3(2) with a pidfd, straight into its control group; fork(2) where clone3 is not to be
//! had (old kernels, strict sandboxes).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;

use super::failure::{SpawnError, Stage};
use crate::os::pidfd::Child;

/// `CLONE_INTO_CGROUP` (linux/sched.h).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The best way that worked last: a refused system call is not tried for each worker again.
static WAY: AtomicU8 = AtomicU8::new(INTO_CGROUP);
const INTO_CGROUP: u8 = 0;
const CLONE3: u8 = 1;
const FORK: u8 = 2;

/// All signals are blocked while this exists, so that no handler of ours runs in the child.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> Self {
        // SAFETY: both sets are live; sigfillset initialises one, pthread_sigmask the other.
        unsafe {
            let mut every: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut every);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const every, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: restores the set that `all` found.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Forks; the child runs `body`, with all signals blocked at first, and exits if it ever returns.
///
/// # Safety
/// `body` may make async-signal-safe calls only: no allocation, no lock, no panic.
pub(super) unsafe fn fork(
    cgroup: Option<BorrowedFd<'_>>,
    mut body: impl FnMut(),
) -> Result<Child, SpawnError> {
    let refused = |errno| SpawnError::new(Stage::Fork, errno, "");
    let _blocked = Blocked::all();
    let mut way = WAY.load(Ordering::Relaxed);
    if way == INTO_CGROUP
        && let Some(group) = cgroup
    {
        // SAFETY: the caller's promise about `body`.
        match unsafe { clone3(Some(group), &mut body) } {
            Ok(child) => return Ok(child),
            // Older than 5.7: the flag or the longer argument is unknown. A group that takes no process
            // answers with other errors, and again below, where it gets its name.
            Err(Errno::E2BIG | Errno::EINVAL) => WAY.store(CLONE3, Ordering::Relaxed),
            Err(Errno::ENOSYS | Errno::EPERM) => {}
            Err(Errno::EBUSY | Errno::EACCES | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT) => {}
            Err(errno) => return Err(refused(errno)),
        }
        way = CLONE3;
    }
    let plain = if way == FORK {
        Err(Errno::ENOSYS)
    } else {
        // SAFETY: the caller's promise about `body`.
        unsafe { clone3(None, &mut body) }
    };
    let child = match plain {
        Ok(child) => child,
        Err(Errno::ENOSYS | Errno::EPERM) => {
            WAY.store(FORK, Ordering::Relaxed);
            // SAFETY: the caller's promise about `body`.
            unsafe { plain_fork(&mut body) }.map_err(refused)?
        }
        Err(errno) => return Err(refused(errno)),
    };
    match cgroup.map(|group| enter(group, child.pid())) {
        None | Some(Ok(())) => Ok(child),
        Some(Err(errno)) => {
            // It waits for its go, which never comes; it is nobody's worker, so it is reaped as an orphan.
            let _ = child.send_signal(libc::SIGKILL);
            Err(SpawnError::new(Stage::Cgroup, errno, ""))
        }
    }
}

unsafe fn clone3(cgroup: Option<BorrowedFd<'_>>, body: &mut impl FnMut()) -> nix::Result<Child> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain numbers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(libc::CLONE_PIDFD.unsigned_abs());
    arguments.pidfd = (&raw mut pidfd).addr() as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    // The size of the structure before it had `cgroup` in it: what 5.3 to 5.6 accept.
    let mut size = 80usize;
    if let Some(group) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(group.as_raw_fd()).unwrap_or(u64::MAX);
        size = 88;
    }
    // SAFETY: without CLONE_VM the child has its own copy of our memory and goes on, on its copy of this
    // stack, with `body` alone.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    if pid == 0 {
        body();
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(super::EXIT_NOT_STARTED) };
    }
    let pid = Errno::result(pid)?;
    // SAFETY: CLONE_PIDFD has put a new descriptor there, which nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child::from_parts(u32::try_from(pid).unwrap_or(0), fd))
}

unsafe fn plain_fork(body: &mut impl FnMut()) -> nix::Result<Child> {
    // SAFETY: the child makes async-signal-safe calls only (the caller's promise about `body`).
    let pid = Errno::result(unsafe { libc::fork() })?;
    if pid == 0 {
        body();
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(super::EXIT_NOT_STARTED) };
    }
    // Our own child, not reaped yet: the number cannot be another process's.
    Child::open(pid.unsigned_abs()).map_err(|error| {
        // SAFETY: signals and reaps the child that was just made; without a pidfd it is of no use.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        Errno::from_raw(error.errno())
    })
}

/// The way of before CLONE_INTO_CGROUP: the child waits for its go, so it is in its group before it execs.
fn enter(group: BorrowedFd<'_>, pid: u32) -> nix::Result<()> {
    let fd = openat(group, "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let written = File::from(fd).write_all(pid.to_string().as_bytes());
    written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
pub(super) fn pretend_clone3_is_refused() -> impl Drop {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            WAY.store(self.0, Ordering::Relaxed);
        }
    }
    Restore(WAY.swap(FORK, Ordering::Relaxed))
}
