//! What a child does between fork and exec. System calls only: everything else was made ready by the parent.
//!
//! The C library's setuid(2) and kin are avoided on purpose: they signal the other threads, which the child
//! does not have.

use std::os::fd::RawFd;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_long};

use super::failure::Stage;
use super::launch::PID_DIGITS;
use crate::os::rlimit::Limit;
use crate::os::users::Identity;

#[cfg(any(target_arch = "x86", target_arch = "arm"))]
mod set_ids {
    pub(super) use nix::libc::{
        SYS_setgroups32 as GROUPS, SYS_setresgid32 as GROUP, SYS_setresuid32 as USER,
    };
}
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
mod set_ids {
    pub(super) use nix::libc::{SYS_setgroups as GROUPS, SYS_setresgid as GROUP, SYS_setresuid as USER};
}

/// A descriptor on its way from the supervisor's number to the worker's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) source: RawFd,
    pub(super) target: RawFd,
    /// A copy above every target, so that no target can fall on a source that is still needed.
    between: RawFd,
}

impl Move {
    pub(super) fn new(source: RawFd, target: RawFd) -> Self {
        Self { source, target, between: -1 }
    }
}

/// Ids as the kernel takes them.
pub(super) struct Ids<'a> {
    uid: u32,
    gid: u32,
    groups: &'a [u32],
}

impl<'a> From<&'a Identity> for Ids<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self { uid: identity.uid, gid: identity.gid, groups: &identity.groups }
    }
}

/// All that the child needs; made by the parent before the fork.
pub(super) struct Orders<'a> {
    /// Sorted by target.
    pub(super) moves: &'a mut [Move],
    /// The first number above all targets.
    pub(super) high: RawFd,
    /// The child's end of the socket pair.
    pub(super) talk: RawFd,
    pub(super) directory: Option<RawFd>,
    pub(super) identity: Option<Ids<'a>>,
    pub(super) open_files: Option<Limit>,
    pub(super) new_session: bool,
    pub(super) pid_places: &'a [*mut u8],
    pub(super) candidates: &'a [*const c_char],
    pub(super) argv: *const *const c_char,
    pub(super) envp: *const *const c_char,
}

struct Failed {
    stage: Stage,
    errno: i32,
    index: u32,
}

impl Failed {
    fn at(stage: Stage, index: RawFd) -> Self {
        Self { stage, errno: Errno::last_raw(), index: index.unsigned_abs() }
    }
}

/// Runs in the child: it becomes the program; or returns, to exit, when it has reported why not.
pub(super) fn run(orders: &mut Orders<'_>) {
    let failed = match prepare(orders) {
        Ok(()) if told_to_go(orders.talk) => exec(orders),
        // The supervisor is gone, or does not want us any more.
        Ok(()) => return,
        Err(failed) => failed,
    };
    let mut report = [0u8; 12];
    let numbers = [failed.stage.code(), failed.errno.unsigned_abs(), failed.index];
    for (place, number) in report.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    // SAFETY: sends from a live buffer; if nobody listens any more there is nobody to tell.
    unsafe { libc::send(orders.talk, report.as_ptr().cast(), report.len(), libc::MSG_NOSIGNAL) };
}

fn prepare(orders: &mut Orders<'_>) -> Result<(), Failed> {
    reset_signals();
    if orders.new_session {
        // SAFETY: no memory is involved. A fresh child leads no group, so it may.
        check(Stage::Session, 0, unsafe { libc::setsid() })?;
    }
    let directory = lay_out(orders)?;
    if let Some(limit) = orders.open_files {
        restore_limit(limit)?;
    }
    if let Some(ids) = &orders.identity {
        become_user(ids)?;
    }
    if let Some(directory) = directory {
        // SAFETY: no memory is involved.
        check(Stage::Directory, 0, unsafe { libc::fchdir(directory) })?;
    }
    write_pid(orders.pid_places);
    Ok(())
}

fn check(stage: Stage, index: RawFd, answer: i32) -> Result<i32, Failed> {
    if answer < 0 { Err(Failed::at(stage, index)) } else { Ok(answer) }
}

fn check_long(stage: Stage, answer: c_long) -> Result<(), Failed> {
    if answer < 0 { Err(Failed::at(stage, 0)) } else { Ok(()) }
}

/// Default dispositions first, then an empty mask: no handler of the supervisor's ever runs here. Asked of the
/// kernel itself, because the C library hides two signals, which may have been inherited ignored.
fn reset_signals() {
    /// Bytes in the kernel's signal set.
    const SET_SIZE: usize = 8;
    // All zeroes is the kernel's sigaction with SIG_DFL and no flags on every architecture, and an empty set.
    let zeroes = [0u64; 8];
    for signal in 1..=64 {
        // SAFETY: reads from `zeroes`, which is longer than any kernel's sigaction; writes nothing.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, zeroes.as_ptr(), ptr::null_mut::<u8>(), SET_SIZE)
        };
    }
    // SAFETY: reads one set from `zeroes`; writes nothing.
    unsafe {
        let (how, old) = (libc::SIG_SETMASK, ptr::null_mut::<u8>());
        libc::syscall(libc::SYS_rt_sigprocmask, how, zeroes.as_ptr(), old, SET_SIZE)
    };
}

/// Puts every descriptor at its number and closes all others but our two, which come to lie just above.
/// Returns the number of the working directory.
fn lay_out(orders: &mut Orders<'_>) -> Result<Option<RawFd>, Failed> {
    const STAGE: Stage = Stage::Descriptors;
    let high = orders.high;
    let (talk, directory, above) = (high, high.saturating_add(1), high.saturating_add(2));
    let lift = |fd: RawFd| {
        // SAFETY: here and below, descriptor calls on numbers; this process is about to exec and nothing in
        // it owns a descriptor any more.
        unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) }
    };
    for one in orders.moves.iter_mut() {
        one.between = check(STAGE, one.target, lift(one.source))?;
    }
    let talk_between = check(STAGE, talk, lift(orders.talk))?;
    orders.talk = talk_between;
    let directory_between = match orders.directory {
        Some(fd) => Some(check(STAGE, directory, lift(fd))?),
        None => None,
    };
    for one in orders.moves.iter() {
        // SAFETY: as above. dup2 leaves close-on-exec off.
        check(STAGE, one.target, unsafe { libc::dup2(one.between, one.target) })?;
    }
    // SAFETY: as above.
    check(STAGE, talk, unsafe { libc::dup3(talk_between, talk, libc::O_CLOEXEC) })?;
    orders.talk = talk;
    if let Some(between) = directory_between {
        // SAFETY: as above.
        check(STAGE, directory, unsafe { libc::dup3(between, directory, libc::O_CLOEXEC) })?;
    } else {
        close_range(directory, directory);
    }
    close_range(above, RawFd::MAX);
    let mut next = 0;
    for one in orders.moves.iter() {
        if next < one.target {
            close_range(next, one.target.saturating_sub(1));
        }
        next = one.target.saturating_add(1);
    }
    Ok(directory_between.map(|_| directory))
}

/// close_range(2), or one by one on kernels before 5.9.
fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: see `lay_out`.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives on this stack.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let end = RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX);
    let mut fd = first;
    while fd <= last && fd < end {
        // SAFETY: see `lay_out`.
        unsafe { libc::close(fd) };
        fd = fd.saturating_add(1);
    }
}

fn restore_limit(limit: Limit) -> Result<(), Failed> {
    let wanted = libc::rlimit { rlim_cur: limit.soft as libc::rlim_t, rlim_max: limit.hard as libc::rlim_t };
    // SAFETY: `wanted` lives on this stack.
    check(Stage::Limits, 0, unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) })?;
    Ok(())
}

fn become_user(ids: &Ids<'_>) -> Result<(), Failed> {
    // SAFETY: the list of groups is live and as long as is said; the other calls take numbers.
    unsafe {
        let groups = libc::syscall(set_ids::GROUPS, ids.groups.len(), ids.groups.as_ptr());
        check_long(Stage::Groups, groups)?;
        check_long(Stage::Group, libc::syscall(set_ids::GROUP, ids.gid, ids.gid, ids.gid))?;
        check_long(Stage::User, libc::syscall(set_ids::USER, ids.uid, ids.uid, ids.uid))
    }
}

/// Completes `LISTEN_PID=` and the like with our own pid, in decimal.
fn write_pid(places: &[*mut u8]) {
    // SAFETY: takes nothing, returns a number. Not getpid(3): some C libraries remember the parent's.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) };
    for place in places {
        let mut digits = 1;
        let mut rest = pid / 10;
        while rest > 0 {
            digits += 1;
            rest /= 10;
        }
        let mut left = pid;
        while digits > 0 && digits < PID_DIGITS {
            digits -= 1;
            let digit = b'0'.wrapping_add(u8::try_from(left % 10).unwrap_or(0));
            // SAFETY: each place has PID_DIGITS zeroed bytes, of which the last stays the terminating NUL.
            unsafe { place.add(digits).write(digit) };
            left /= 10;
        }
    }
}

fn told_to_go(talk: RawFd) -> bool {
    let mut byte = 0u8;
    loop {
        // SAFETY: reads at most one byte into a live one.
        match unsafe { libc::read(talk, (&raw mut byte).cast(), 1) } {
            1 => return true,
            -1 if Errno::last_raw() == libc::EINTR => {}
            _ => return false,
        }
    }
}

/// Tries each place where the program may be, as execvp(3) does, but never hands a text to a shell.
fn exec(orders: &Orders<'_>) -> Failed {
    let mut failed = Failed { stage: Stage::Exec, errno: libc::ENOENT, index: u32::MAX };
    let mut index = 0u32;
    for candidate in orders.candidates {
        // SAFETY: all three lead to NUL-terminated data that the parent made before the fork.
        unsafe { libc::execve(*candidate, orders.argv, orders.envp) };
        let errno = Errno::last_raw();
        match errno {
            libc::ENOENT | libc::ENOTDIR if orders.candidates.len() > 1 => {}
            // Remembered, but a later place may have a program that can be run.
            libc::EACCES if failed.errno != libc::EACCES => {
                failed = Failed { stage: Stage::Exec, errno, index }
            }
            libc::EACCES => {}
            _ => return Failed { stage: Stage::Exec, errno, index },
        }
        index = index.wrapping_add(1);
    }
    failed
}
