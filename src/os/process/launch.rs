//! One worker's start: what is its own, and what becomes of it.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::c_char;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::MAX_TARGET;
use super::child::{self, Move, Orders};
use super::clone;
use super::failure::{SpawnError, Stage};
use super::template::{Template, variable};
use crate::os::error::{Attempted, Result as SysResult};
use crate::os::pidfd::Child;
use crate::os::sockets::set_nonblocking;

/// Room for the decimal digits of a pid and a NUL.
pub(super) const PID_DIGITS: usize = 11;

/// What is one worker's own.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// Descriptors 0, 1 and 2.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Further descriptors by the number that they get (from 3); nothing else is inherited.
    pub fds: &'a [(RawFd, BorrowedFd<'a>)],
    /// Variables on top of the template's (the same name replaces).
    pub env: &'a [(OsString, OsString)],
    /// Variables that carry the worker's own pid: `LISTEN_PID`, `WATCHDOG_PID`.
    pub pid_variables: &'a [&'a str],
    /// Directory of the control group that the worker is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The worker leads a session (and a process group) of its own.
    pub new_session: bool,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// The program runs (or the child was killed before: its pidfd tells).
    Running,
    /// It never will; the child leaves with [`super::EXIT_NOT_STARTED`].
    Failed(SpawnError),
}

/// A child that waits for [`Spawning::go`] or is on its way to exec. Dropped before `go`, the child leaves.
#[derive(Debug)]
pub struct Spawning {
    child: Child,
    talk: OwnedFd,
}

impl Spawning {
    /// The process.
    #[must_use]
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Lets the child run its program. Never blocks; once is enough.
    ///
    /// # Errors
    /// `EPIPE` or `ECONNRESET` when the child is gone already: its outcome or its exit says why.
    pub fn go(&self) -> SysResult<()> {
        let sent = send(self.talk.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        sent.attempted(|| format!("let process {} go", self.child.pid())).map(|_| ())
    }

    /// What became of the start so far; `template` is the one that it was spawned from. Never blocks.
    #[must_use]
    pub fn outcome(&self, template: &Template) -> Outcome {
        let mut report = [0u8; 12];
        match recv(self.talk.as_raw_fd(), &mut report, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => Outcome::Pending,
            // A reset: the child went without reading its go, which only a kill explains.
            Ok(0) | Err(_) => Outcome::Running,
            Ok(_) => {
                let mut numbers =
                    report.chunks_exact(4).map(|bytes| bytes.try_into().map_or(u32::MAX, u32::from_ne_bytes));
                let mut next = || numbers.next().unwrap_or(u32::MAX);
                Outcome::Failed(SpawnError::from_report([next(), next(), next()], template))
            }
        }
    }

    /// The process alone, when the outcome is known.
    #[must_use]
    pub fn into_child(self) -> Child {
        self.child
    }

    /// The process, and the descriptor on which the outcome becomes readable.
    #[must_use]
    pub fn into_parts(self) -> (Child, OwnedFd) {
        (self.child, self.talk)
    }

    /// The reverse of [`Spawning::into_parts`].
    #[must_use]
    pub fn from_parts(child: Child, talk: OwnedFd) -> Self {
        Self { child, talk }
    }
}

impl AsFd for Spawning {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.talk.as_fd()
    }
}

impl AsRawFd for Spawning {
    fn as_raw_fd(&self) -> RawFd {
        self.talk.as_raw_fd()
    }
}

impl Template {
    /// Forks a child that is ready to exec and waits for [`Spawning::go`]. Takes about as long as one fork.
    ///
    /// # Errors
    /// A shortage (processes, descriptors, memory), a control group that does not take the child (which is
    /// killed, and left to [`crate::os::pidfd::reap_orphans`]), or descriptor numbers that contradict each
    /// other. What fails in the child is its [`Outcome`].
    pub fn spawn(&self, launch: &Launch<'_>) -> Result<Spawning, SpawnError> {
        let mut moves = moves(launch)?;
        let shortage = |errno| SpawnError::new(Stage::Fork, errno, "");
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(shortage)?;
        set_nonblocking(&ours, true).map_err(|error| shortage(Errno::from_raw(error.errno())))?;

        let mut environment = Environment::new(self, launch)?;
        let (envp, pid_places) = environment.pointers();
        let argv = pointers(&self.argv);
        let candidates: Vec<_> = self.candidates.iter().map(|path| path.as_ptr()).collect();
        let mut orders = Orders {
            high: moves.last().map_or(3, |last| last.target.saturating_add(1)),
            moves: &mut moves,
            talk: theirs.as_raw_fd(),
            directory: self.directory.as_ref().map(|directory| directory.fd.as_raw_fd()),
            identity: self.identity.as_ref().map(child::Ids::from),
            open_files: self.open_files,
            new_session: launch.new_session,
            pid_places: &pid_places,
            candidates: &candidates,
            argv: argv.as_ptr(),
            envp: envp.as_ptr(),
        };
        // SAFETY: every pointer in `orders` leads to memory that lives until this function returns, and
        // the child has its own copy of all of it; `run` makes async-signal-safe calls only.
        let child = unsafe { clone::fork(launch.cgroup, || child::run(&mut orders)) }?;
        Ok(Spawning { child, talk: ours })
    }
}

/// The moves of all descriptors, in the order of their targets, each target once.
fn moves(launch: &Launch<'_>) -> Result<Vec<Move>, SpawnError> {
    let bad = |target: RawFd| SpawnError::new(Stage::Descriptors, Errno::EINVAL, target.to_string());
    let stdio = (0..).zip(launch.stdio.iter());
    let stdio = stdio.map(|(target, source)| Move::new(source.as_raw_fd(), target));
    let further = launch.fds.iter().map(|(target, source)| Move::new(source.as_raw_fd(), *target));
    let mut moves: Vec<_> = stdio.chain(further).collect();
    moves.sort_by_key(|one| one.target);
    if let Some(odd) = moves.iter().find(|one| one.target < 0 || one.target > MAX_TARGET) {
        return Err(bad(odd.target));
    }
    match moves.windows(2).find(|two| matches!(two, [one, other] if one.target == other.target)) {
        Some(twice) => Err(bad(twice.first().map_or(-1, |one| one.target))),
        None => Ok(moves),
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The environment of one worker: the template's variables that it does not replace, its own, and those that
/// the child completes with its pid.
struct Environment<'a> {
    shared: Vec<&'a CString>,
    own: Vec<CString>,
    completed: Vec<Vec<u8>>,
}

impl<'a> Environment<'a> {
    fn new(template: &'a Template, launch: &Launch<'_>) -> Result<Self, SpawnError> {
        let replaced = |key: &OsStr| {
            launch.env.iter().any(|(own, _)| own == key) || launch.pid_variables.iter().any(|own| *own == key)
        };
        let shared = template.env.iter().filter(|(key, _)| !replaced(key)).map(|(_, text)| text).collect();
        let own = launch.env.iter().map(|(key, value)| variable(key, value)).collect::<Result<_, _>>()?;
        let mut completed = Vec::new();
        for key in launch.pid_variables {
            let mut text = variable(OsStr::new(key), OsStr::new(""))?.into_bytes();
            text.resize(text.len().saturating_add(PID_DIGITS), 0);
            completed.push(text);
        }
        Ok(Self { shared, own, completed })
    }

    /// The array for execve(2), and the places in it ([`PID_DIGITS`] bytes each) where the child writes its pid.
    fn pointers(&mut self) -> (Vec<*const c_char>, Vec<*mut u8>) {
        let shared = self.shared.iter().map(|text| text.as_ptr());
        let mut variables: Vec<_> = shared.chain(self.own.iter().map(|text| text.as_ptr())).collect();
        let mut places = Vec::new();
        for text in &mut self.completed {
            let start = text.as_mut_ptr();
            variables.push(start.cast_const().cast());
            places.push(start.wrapping_add(text.len().saturating_sub(PID_DIGITS)));
        }
        variables.push(ptr::null());
        (variables, places)
    }
}
