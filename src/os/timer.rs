//! A deadline as a descriptor, readable once it has passed (timerfd_create(2)). What is due then is decided
//! elsewhere.
//!
//! The runtime's own timers keep their time in a wheel: on the way to a far deadline they wake the process several
//! times, and they round to milliseconds. This one wakes it once, on time.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::error::{Attempted, Result};
use crate::time::Monotonic;

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

    fn is_readable(timer: &Timer, patience: PollTimeout) -> bool {
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
}
