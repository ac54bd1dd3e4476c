//! A deadline as a descriptor, readable once it has passed, and word of a wall clock that was set
//! (timerfd_create(2)). What is due then is decided elsewhere.
//!
//! The runtime's own timers keep their time in a wheel: on the way to a far deadline they wake the process several
//! times, and they round to milliseconds. This one wakes it once, on time.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::error::{Attempted, Result};
use crate::time::Monotonic;

/// A moment of the wall clock that no timer lives to see, some thousand years ahead.
const NEVER: Duration = Duration::from_secs(1 << 37);

/// One deadline on the clock of [`super::clock::now`].
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
    set: Option<Monotonic>,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).attempted(|| "make a timer")?;
        Ok(Self { fd, set: None })
    }

    /// Sets the deadline; one that has passed makes the timer readable at once, `None` never. To set what is set
    /// already costs nothing, unless it [has elapsed](Self::elapsed).
    ///
    /// # Errors
    /// None that a caller can mend (timerfd_settime(2)).
    pub fn set(&mut self, deadline: Option<Monotonic>) -> Result<()> {
        if deadline == self.set {
            return Ok(());
        }
        let done = match deadline {
            Some(at) => {
                // Zero would unset it.
                let at = at.since_origin().max(Duration::from_nanos(1));
                let at = Expiration::OneShot(TimeSpec::from_duration(at));
                self.fd.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => self.fd.unset(),
        };
        done.attempted(|| "set a timer")?;
        self.set = deadline;
        Ok(())
    }

    /// It was seen to be readable: the same deadline, set again, makes it so again.
    pub fn elapsed(&mut self) {
        self.set = None;
    }
}

/// Becomes readable whenever the wall clock is set, or set right after a suspend (`TFD_TIMER_CANCEL_ON_SET`).
#[derive(Debug)]
pub struct ClockWatch {
    fd: TimerFd,
}

impl ClockWatch {
    /// A watch that is on.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Self> {
        const ATTEMPT: &str = "watch the wall clock";
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let fd = TimerFd::new(ClockId::CLOCK_REALTIME, flags).attempted(|| ATTEMPT)?;
        let never = Expiration::OneShot(TimeSpec::from_duration(NEVER));
        let how = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        match fd.set(never, how) {
            // Set between the two calls: it is on, and there is nothing yet that could be stale.
            Ok(()) | Err(Errno::ECANCELED) => Ok(Self { fd }),
            Err(errno) => Err(errno).attempted(|| ATTEMPT),
        }
    }

    /// It was seen to be readable: from now on the next time counts.
    pub fn heard(&mut self) {
        // ECANCELED is the word itself, anything else no word at all.
        let _ = nix::unistd::read(&self.fd, &mut [0; 8]);
    }
}

impl AsFd for ClockWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn is_readable(timer: &impl AsFd, patience: PollTimeout) -> bool {
        poll(&mut [PollFd::new(timer.as_fd(), PollFlags::POLLIN)], patience).unwrap() == 1
    }

    #[test]
    fn it_is_readable_at_its_deadline_and_not_before() {
        let mut timer = Timer::new().unwrap();
        assert!(!is_readable(&timer, PollTimeout::ZERO));
        let deadline = clock::now() + Duration::from_millis(20);
        timer.set(Some(deadline)).unwrap();
        assert!(is_readable(&timer, PollTimeout::NONE));
        assert!(clock::now() >= deadline);
    }

    #[test]
    fn a_deadline_that_has_passed_can_be_set_again_and_again() {
        let mut timer = Timer::new().unwrap();
        for _ in 0..3 {
            timer.set(Some(Monotonic::ZERO)).unwrap();
            assert!(is_readable(&timer, PollTimeout::NONE));
            timer.elapsed();
        }
    }

    #[test]
    fn without_a_deadline_it_is_quiet_again() {
        let mut timer = Timer::new().unwrap();
        timer.set(Some(Monotonic::ZERO)).unwrap();
        assert!(is_readable(&timer, PollTimeout::NONE));
        timer.set(None).unwrap();
        assert!(!is_readable(&timer, PollTimeout::ZERO));
    }

    #[test]
    fn f37_a_wall_clock_that_is_set_is_heard_of_each_time() {
        // By a nanosecond: this machine's clock is everybody's (adjtimex(2)).
        let set_by_a_nanosecond = || {
            // SAFETY: timex is plain numbers, and adjtimex reads and writes just this one.
            let mut change: nix::libc::timex = unsafe { std::mem::zeroed() };
            change.modes = nix::libc::ADJ_SETOFFSET | nix::libc::ADJ_NANO;
            change.time.tv_usec = 1;
            // SAFETY: see above.
            Errno::result(unsafe { nix::libc::adjtimex(&raw mut change) })
        };
        let mut watch = ClockWatch::new().unwrap();
        assert!(!is_readable(&watch, PollTimeout::ZERO));
        for _ in 0..3 {
            if set_by_a_nanosecond().is_err() {
                println!("not shown without the right to set the clock: that it is heard of");
                return;
            }
            assert!(is_readable(&watch, PollTimeout::from(20_000u16)));
            watch.heard();
            assert!(!is_readable(&watch, PollTimeout::ZERO));
        }
    }
}
