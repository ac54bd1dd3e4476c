//! What time it is. The only reader of clocks; what follows from the time is decided elsewhere.
//!
//! Deadlines live on [`now`]; [`wall`] and [`LocalTime`] are for people and for calendar expressions.

use std::time::Duration;

use nix::libc;
use nix::time::{ClockId, clock_gettime};

use crate::time::Monotonic;

fn read(clock: ClockId) -> Duration {
    // These clocks exist on every Linux: the call has no way to fail.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// The present instant of `CLOCK_MONOTONIC` (clock_gettime(2)).
#[must_use]
pub fn now() -> Monotonic {
    Monotonic::from_origin(read(ClockId::CLOCK_MONOTONIC))
}

/// Time since the Unix epoch (`CLOCK_REALTIME`): for display and calendars, never for deadlines.
#[must_use]
pub fn wall() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// A wall-clock moment in the machine's time zone (localtime(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime {
    /// Year of the common era.
    pub year: i32,
    /// 1 … 12.
    pub month: u32,
    /// 1 … 31.
    pub day: u32,
    /// 0 … 23.
    pub hour: u32,
    /// 0 … 59.
    pub minute: u32,
    /// 0 … 60.
    pub second: u32,
    /// 0 (Sunday) … 6; ignored by [`LocalTime::to_epoch`].
    pub weekday: u32,
}

impl LocalTime {
    /// The local time at `since_epoch`; `None` when the year does not fit.
    #[must_use]
    pub fn at(since_epoch: Duration) -> Option<Self> {
        let seconds = libc::time_t::try_from(since_epoch.as_secs()).ok()?;
        let mut parts = empty_tm();
        // SAFETY: both pointers are to live values of the right type; localtime_r keeps neither.
        let answer = unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
        if answer.is_null() {
            return None;
        }
        Some(Self {
            year: parts.tm_year.checked_add(1900)?,
            month: u32::try_from(parts.tm_mon.checked_add(1)?).ok()?,
            day: u32::try_from(parts.tm_mday).ok()?,
            hour: u32::try_from(parts.tm_hour).ok()?,
            minute: u32::try_from(parts.tm_min).ok()?,
            second: u32::try_from(parts.tm_sec).ok()?,
            weekday: u32::try_from(parts.tm_wday).ok()?,
        })
    }

    /// Time since the epoch of this local time (mktime(3) with daylight saving looked up); a day or an hour
    /// that does not exist is carried over. `None` before the epoch or when it does not fit.
    #[must_use]
    pub fn to_epoch(self) -> Option<Duration> {
        let mut parts = empty_tm();
        parts.tm_year = self.year.checked_sub(1900)?;
        parts.tm_mon = i32::try_from(self.month).ok()?.checked_sub(1)?;
        parts.tm_mday = i32::try_from(self.day).ok()?;
        parts.tm_hour = i32::try_from(self.hour).ok()?;
        parts.tm_min = i32::try_from(self.minute).ok()?;
        parts.tm_sec = i32::try_from(self.second).ok()?;
        parts.tm_isdst = -1;
        // SAFETY: `parts` is a live, initialised tm; mktime only reads and normalises it.
        let seconds = unsafe { libc::mktime(&raw mut parts) };
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }
}

fn empty_tm() -> libc::tm {
    // SAFETY: tm is plain numbers and a pointer that may be null; all zeroes is a value of it.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let first = now();
        let second = now();
        assert!(second >= first);
        assert!(first > Monotonic::ZERO);
    }

    #[test]
    fn local_time_and_epoch_are_inverse() {
        let moment = Duration::from_secs(1_795_000_000);
        let local = LocalTime::at(moment).unwrap();
        assert_eq!(local.to_epoch(), Some(moment));
        assert!((1..=12).contains(&local.month) && local.weekday <= 6 && local.year == 2026);
    }

    #[test]
    fn the_wall_clock_is_past_the_day_this_was_written() {
        assert!(wall() > Duration::from_secs(1_790_000_000));
    }
}
