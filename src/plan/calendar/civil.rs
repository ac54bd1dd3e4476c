//! Civil dates: which day of the week, how many days, and how far from the epoch (proleptic Gregorian).

use std::time::Duration;

const DAY_SECS: u64 = 86_400;

/// A moment on a wall clock and calendar, in whichever time zone the clock hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CivilTime {
    /// Year of the common era.
    pub year: u32,
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
}

/// Days from 1970-01-01 to this date. A year is taken to begin in March, so that the leap day is its last.
fn days_since_epoch(year: u32, month: u32, day: u32) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let march_year = if month < 3 { year - 1 } else { year };
    let march_month = (month + 9) % 12;
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    // 719468 days lie between 0000-03-01 and the epoch.
    march_year * 365 + leap_days + (march_month * 153 + 2) / 5 + day - 1 - 719_468
}

/// So many days the month has.
pub(super) fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

impl CivilTime {
    /// The first moment of a day.
    pub(super) fn midnight(year: u32, month: u32, day: u32) -> Self {
        Self { year, month, day, hour: 0, minute: 0, second: 0 }
    }

    /// 0 (Monday) … 6.
    pub(super) fn weekday(self) -> u32 {
        // The epoch was a Thursday.
        let since_monday = days_since_epoch(self.year, self.month, self.day) + 3;
        u32::try_from(since_monday.rem_euclid(7)).unwrap_or(0)
    }

    /// The UTC date and time, so long after the epoch; the fraction of a second is cut off. Beyond the year
    /// 9999 it is that year's last moment.
    #[must_use]
    pub fn utc(since_epoch: Duration) -> Self {
        let secs = since_epoch.as_secs();
        let days = i64::try_from(secs / DAY_SECS).unwrap_or(i64::MAX);
        let in_day = u32::try_from(secs % DAY_SECS).unwrap_or(0);
        // A guess that is never too late, and at most some years too early.
        let guess = 1970 + days / 366;
        let Some(mut year) = u32::try_from(guess).ok().filter(|year| *year < 9_999) else {
            return Self { hour: 23, minute: 59, second: 59, ..Self::midnight(9_999, 12, 31) };
        };
        while days_since_epoch(year + 1, 1, 1) <= days {
            year += 1;
        }
        let mut month = 1;
        while month < 12 && days_since_epoch(year, month + 1, 1) <= days {
            month += 1;
        }
        let day = u32::try_from(days - days_since_epoch(year, month, 1)).unwrap_or(0) + 1;
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        Self { year, month, day, hour, minute, second }
    }

    /// Time since the epoch, the moment being one of UTC; `None` before the epoch.
    #[must_use]
    pub fn utc_since_epoch(self) -> Option<Duration> {
        let days = u64::try_from(days_since_epoch(self.year, self.month, self.day)).ok()?;
        let in_day = u64::from(self.hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second);
        Some(Duration::from_secs(days * DAY_SECS + in_day))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        let mut weekday = CivilTime::midnight(1970, 1, 1).weekday();
        assert_eq!(weekday, 3, "the epoch was a Thursday");
        for day in 0..400 * 366 {
            let moment = Duration::from_secs(day * DAY_SECS + 86_399);
            let civil = CivilTime::utc(moment);
            assert_eq!(civil.utc_since_epoch(), Some(moment), "{civil:?}");
            assert_eq!(civil.weekday(), weekday);
            assert!((1..=days_in(civil.year, civil.month)).contains(&civil.day));
            weekday = (weekday + 1) % 7;
        }
        assert_eq!(CivilTime::utc(Duration::from_secs(951_782_400)), CivilTime::midnight(2000, 2, 29));
    }

    #[test]
    fn the_end_of_time_is_a_moment_too() {
        assert_eq!(CivilTime::utc(Duration::MAX).year, 9_999);
    }
}
