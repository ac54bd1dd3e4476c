//! Signal and reap exactly that process: by pidfd (pidfd_open(2)), never by number. Which process deserves it
//! is decided elsewhere.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use super::error::{Attempted, Result, SysError};

/// How a process ended (waitid(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// exit(2) with this status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

/// A process that is held by a pidfd: its number cannot be taken by another one behind our back.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    fd: OwnedFd,
}

impl Child {
    /// Takes over a pidfd that belongs to `pid`.
    #[must_use]
    pub fn from_parts(pid: u32, fd: OwnedFd) -> Self {
        Self { pid, fd }
    }

    /// Opens a pidfd for a process that is known to be `pid` now.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process.
    pub fn open(pid: u32) -> Result<Self> {
        let raw = i32::try_from(pid).ok().filter(|pid| *pid > 0);
        let raw = raw.ok_or_else(|| SysError::new(format!("open process {pid}"), Errno::ESRCH))?;
        // SAFETY: pidfd_open takes two numbers and returns a new close-on-exec descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, raw, 0) };
        let fd = Errno::result(fd).attempted(|| format!("open process {pid}"))?;
        let fd = RawFd::try_from(fd).map_err(|_| SysError::new("open a process", Errno::EBADF))?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The process id: a label to show.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal (pidfd_send_signal(2)). A process that is gone already is no error: `false`.
    ///
    /// # Errors
    /// `EPERM`, or `EINVAL` for a number that is no signal.
    pub fn send_signal(&self, signal: i32) -> Result<bool> {
        let null = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is ours and open; a null siginfo is allowed.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal, null, 0) };
        match Errno::result(sent) {
            Ok(_) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => {
                Err(SysError::new(format!("send {} to {}", super::signals::name(signal), self.pid), errno))
            }
        }
    }

    /// A copy of the descriptor that the process knows as `number` (pidfd_getfd(2)). It keeps what it stands for
    /// open: it is for a look, and to be closed at once.
    ///
    /// # Errors
    /// `EBADF` when the process has no such descriptor (any more); `EPERM` without the right to trace it.
    pub fn copy_of_fd(&self, number: RawFd) -> Result<OwnedFd> {
        // SAFETY: takes three numbers and returns a new close-on-exec descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.fd.as_raw_fd(), number, 0) };
        let attempt = || format!("look at descriptor {number} of process {}", self.pid);
        let fd = Errno::result(fd).attempted(attempt)?;
        let fd = RawFd::try_from(fd).map_err(|_| SysError::new(attempt(), Errno::EBADF))?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Reaps the process if it has ended; the descriptor is readable (`POLLIN`) from then on.
    ///
    /// # Errors
    /// `ECHILD` when it is not our child, or was reaped already.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        let fd = libc::id_t::try_from(self.fd.as_raw_fd()).unwrap_or(libc::id_t::MAX);
        let ended = wait_id(libc::P_PIDFD, fd, libc::WEXITED | libc::WNOHANG);
        Ok(ended.attempted(|| format!("reap process {}", self.pid))?.map(|(_, status)| status))
    }

    /// Whether the process has ended, without reaping it; a process that is not our child counts as ended when
    /// it cannot be signalled any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let fd = libc::id_t::try_from(self.fd.as_raw_fd()).unwrap_or(libc::id_t::MAX);
        match wait_id(libc::P_PIDFD, fd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
            Ok(ended) => ended.is_some(),
            Err(_) => !self.send_signal(0).unwrap_or(true),
        }
    }

    /// Gives up the pidfd itself (to keep it in a descriptor store, for instance).
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn wait_id(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> nix::Result<Option<(i32, ExitStatus)>> {
    loop {
        // SAFETY: siginfo_t is plain data; all zeroes is a value of it (and waitid's "nothing yet").
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is live for the call; waitid writes at most one siginfo_t.
        let answer = unsafe { libc::waitid(kind, id, &raw mut info, flags) };
        match Errno::result(answer) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => {
                // SAFETY: after a successful waitid the SIGCHLD members are the valid ones; zero means none.
                let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
                if pid == 0 {
                    return Ok(None);
                }
                let status = match info.si_code {
                    libc::CLD_EXITED => ExitStatus::Code(status),
                    _ => ExitStatus::Signal(status),
                };
                return Ok(Some((pid, status)));
            }
        }
    }
}

/// Whether a child of ours has ended, without reaping it; who is no child counts as ended.
#[must_use]
pub fn child_has_ended(pid: u32) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let id = libc::id_t::try_from(pid).unwrap_or(libc::id_t::MAX);
    wait_id(libc::P_PID, id, flags).map_or(true, |ended| ended.is_some())
}

/// The most orphans that one call of [`reap_orphans`] takes, so that a flood cannot hold up the event loop.
pub const MAX_ORPHANS_AT_ONCE: usize = 256;

/// What [`reap_orphans`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaped {
    /// Processes that nobody tracks, now reaped.
    pub orphans: Vec<(u32, ExitStatus)>,
    /// A tracked child that has ended: reap it by its pidfd, then call again.
    pub tracked: Option<u32>,
    /// There may be more: call again.
    pub more: bool,
}

/// Reaps ended children that `is_tracked` does not know: orphans that were reparented to us as PID 1 or child
/// subreaper. A tracked child is never taken; it is reported, because the kernel shows ended children one by one.
///
/// # Errors
/// None is expected; "no children at all" is an empty answer.
pub fn reap_orphans(is_tracked: impl Fn(u32) -> bool) -> Result<Reaped> {
    let mut reaped = Reaped::default();
    while reaped.orphans.len() < MAX_ORPHANS_AT_ONCE {
        let seen = match wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
            Ok(None) | Err(Errno::ECHILD) => return Ok(reaped),
            Ok(Some((pid, _))) => pid,
            Err(errno) => return Err(SysError::new("look for ended children", errno)),
        };
        let pid = u32::try_from(seen).unwrap_or(0);
        if is_tracked(pid) {
            reaped.tracked = Some(pid);
            return Ok(reaped);
        }
        let id = libc::id_t::try_from(seen).unwrap_or(0);
        match wait_id(libc::P_PID, id, libc::WEXITED | libc::WNOHANG) {
            Ok(Some((_, status))) => reaped.orphans.push((pid, status)),
            Ok(None) | Err(Errno::ECHILD) => {}
            Err(errno) => return Err(SysError::new(format!("reap process {pid}"), errno)),
        }
    }
    reaped.more = true;
    Ok(reaped)
}

/// Makes orphaned descendants our children (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
///
/// # Errors
/// None on any kernel that runs ganger.
pub fn set_child_subreaper() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).attempted(|| "become a child subreaper")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::alone::{As, passes_alone};
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::collections::BTreeSet;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    fn sleeper() -> Child {
        Child::open(Command::new("sleep").arg("1000").stderr(Stdio::null()).spawn().unwrap().id()).unwrap()
    }

    fn wait(child: &Child) -> ExitStatus {
        let mut polled = [PollFd::new(child.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut polled, PollTimeout::from(20_000u16)).unwrap(), 1);
        child.try_wait().unwrap().unwrap()
    }

    #[test]
    fn a_signal_ends_exactly_that_process_and_its_status_says_so() {
        let child = sleeper();
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(!child.has_ended());
        assert_eq!(child.send_signal(9999).unwrap_err().errno(), libc::EINVAL);
        assert!(child.send_signal(libc::SIGTERM).unwrap());
        assert_eq!(wait(&child), ExitStatus::Signal(libc::SIGTERM));
        assert!(!child.send_signal(libc::SIGTERM).unwrap(), "a reaped process is no error");
        assert!(child.has_ended());
        assert_eq!(child.try_wait().unwrap_err().errno(), libc::ECHILD);
    }

    #[test]
    fn there_is_no_process_of_number_zero() {
        for pid in [0, u32::MAX, 0x7fff_ffff] {
            assert_eq!(Child::open(pid).unwrap_err().errno(), libc::ESRCH);
        }
    }

    #[test]
    fn orphans_are_reaped_and_tracked_children_are_left_alone() {
        passes_alone(
            "pidfd::tests::orphans_are_reaped_and_tracked_children_are_left_alone",
            As::Ourselves,
            || {
                set_child_subreaper().unwrap();
                assert_eq!(reap_orphans(|_| false).unwrap(), Reaped::default());
                let tracked = sleeper();
                // Leaves three orphans, which wait for the end of its input, says their pids, and is gone.
                let script =
                    "exec 3<&0; for n in 1 2 3; do sh -c 'read x; exit 5' <&3 >/dev/null & echo $!; done";
                let mut parent = Command::new("sh");
                parent.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut parent = parent.spawn().unwrap();
                let input = parent.stdin.take();
                let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
                let mut expected: BTreeSet<u32> = lines.map(|line| line.unwrap().parse().unwrap()).collect();
                assert!(parent.wait().unwrap().success());
                drop(input);
                tracked.send_signal(libc::SIGKILL).unwrap();
                let mut status = None;
                while !expected.is_empty() || status.is_none() {
                    let reaped = reap_orphans(|pid| pid == tracked.pid()).unwrap();
                    for (pid, status) in reaped.orphans {
                        assert!(expected.remove(&pid), "{pid} was not one of them");
                        assert_eq!(status, ExitStatus::Code(5));
                    }
                    if reaped.tracked.is_some() {
                        assert_eq!(reaped.tracked, Some(tracked.pid()));
                        status = tracked.try_wait().unwrap();
                    }
                }
                assert_eq!(status, Some(ExitStatus::Signal(libc::SIGKILL)));
            },
        );
    }
}
