//! Signals as a descriptor, and their names. What a signal means is decided elsewhere.
//!
//! [`Signals`] blocks its signals in the calling thread and reads them from a signalfd(2). Make it before any
//! other thread exists, so that every thread inherits the mask. A worker starts with an empty mask and default
//! dispositions ([`crate::os::process`]).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::{Attempted, Result};

/// The signals that a supervisor listens to, besides those that the kernel keeps for itself.
pub const SUPERVISOR: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGQUIT,
    Signal::SIGCHLD,
];

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub signal: i32,
    /// Who sent it (0: the kernel or a process of another pid namespace).
    pub sender_pid: u32,
    /// The sender's real user.
    pub sender_uid: u32,
}

/// Blocked signals, read from a pollable descriptor. Dropping it restores the mask of before.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    mask: SigSet,
    before: SigSet,
}

impl Signals {
    /// Blocks `wanted` in this thread and opens a non-blocking descriptor for them.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn block(wanted: &[Signal]) -> Result<Self> {
        let mut mask = SigSet::empty();
        wanted.iter().for_each(|signal| mask.add(*signal));
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before))
            .attempted(|| "block signals")?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .attempted(|| "open a signal descriptor")?;
        Ok(Self { fd, mask, before })
    }

    /// Leaves the signals blocked for as long as the process lives, also when this value is dropped.
    #[must_use]
    pub fn for_good(mut self) -> Self {
        self.before = self.before | self.mask;
        self
    }

    /// The next signal; `None` when there is none now.
    ///
    /// # Errors
    /// Only when the descriptor is broken.
    pub fn next(&self) -> Result<Option<Arrived>> {
        let info = self.fd.read_signal().attempted(|| "read a signal")?;
        Ok(info.map(|info| Arrived {
            signal: i32::try_from(info.ssi_signo).unwrap_or(0),
            sender_pid: info.ssi_pid,
            sender_uid: info.ssi_uid,
        }))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and none is documented for a mask that was once in force.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The number of `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN`, `RTMIN+1` or `RTMAX-1` (signal(7)); `None` for
/// anything else.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    let text = text.trim();
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    if let Ok(number) = text.parse::<i32>() {
        let known = Signal::try_from(number).is_ok() || (first..=last).contains(&number);
        return known.then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(offset, '+', |n| first.checked_add(n));
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(offset, '-', |n| last.checked_sub(n));
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        other => other,
    };
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

fn real_time(offset: &str, sign: char, apply: impl Fn(i32) -> Option<i32>) -> Option<i32> {
    let offset = match offset {
        "" => 0,
        signed => signed.strip_prefix(sign)?.parse::<u8>().ok()?.into(),
    };
    apply(offset).filter(|number| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(number))
}

/// The name of a signal, as `SIGTERM` or `SIGRTMIN+1`; `signal N` when it has none.
#[must_use]
pub fn name(number: i32) -> String {
    if let Ok(signal) = Signal::try_from(number) {
        return signal.as_str().to_owned();
    }
    let first = libc::SIGRTMIN();
    if number == first {
        "SIGRTMIN".to_owned()
    } else if (first..=libc::SIGRTMAX()).contains(&number) {
        format!("SIGRTMIN+{}", number.saturating_sub(first))
    } else {
        format!("signal {number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::unistd::gettid;

    #[test]
    fn names_and_numbers_meet() {
        for (text, number) in [("TERM", 15), ("SIGTERM", 15), ("sigterm", 15), ("15", 15), ("SIGCLD", 17)] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        let first = libc::SIGRTMIN();
        assert_eq!(parse("RTMIN+1"), Some(first + 1));
        assert_eq!(parse("SIGRTMIN"), Some(first));
        assert_eq!(parse("RTMAX-0"), Some(libc::SIGRTMAX()));
        for number in 1..=libc::SIGRTMAX() {
            // 32 and 33 belong to the C library.
            if let Some(back) = parse(&name(number)) {
                assert_eq!(back, number);
            } else {
                assert!((32..first).contains(&number), "{number} has no name");
            }
        }
    }

    #[test]
    fn other_texts_are_no_signals() {
        for text in
            ["", "0", "-1", "33", "65", "TERMINATE", "RTMIN+40", "RTMIN-1", "RTMAX+1", "RTMIN+", "SIG"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_blocked_signal_arrives_on_the_descriptor_and_only_there() {
        let signals = Signals::block(&[Signal::SIGUSR2]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // SAFETY: tgkill to our own thread has no memory effects.
        let sent =
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), gettid().as_raw(), libc::SIGUSR2) };
        assert_eq!(sent, 0);
        let mut polled = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::from(5000u16)).unwrap();
        let arrived = signals.next().unwrap().unwrap();
        assert_eq!(arrived.signal, libc::SIGUSR2);
        assert_eq!(arrived.sender_pid, std::process::id());
    }

    #[test]
    fn dropping_it_restores_the_mask() {
        let masked = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1);
        let before = masked();
        let signals = Signals::block(&[Signal::SIGUSR1]).unwrap();
        assert!(masked());
        drop(signals);
        assert_eq!(masked(), before);
    }
}
