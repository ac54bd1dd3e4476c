//! When `recycle.calendar` comes round, on the clock that deadlines live on. What is done then is the pool's
//! to decide; what the expression means is the plan's.
//!
//! The expression speaks of the wall clock, which may be set while ganger waits, or stand still in a suspend as far as
//! ganger can tell. So the next moment is computed anew whenever it seems to have come, when the clock was set, and at
//! least every hour (for a new time zone, of which nobody tells). A clock that is put right by hours does not make
//! workers older: moments that it jumped over, or comes to again, are no reason to replace them all.

use std::time::Duration;

use crate::os::clock::LocalTime;
use crate::plan::{Calendar, CivilTime};
use crate::time::Monotonic;

/// The wall clock is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// A clock that is set by less than this is put right: a moment that it jumps over counts, and one that it comes to
/// again does not. By more, it is another time.
const PUT_RIGHT: Duration = Duration::from_secs(3600);
/// So many moments of the wall clock's second time through an hour are passed over (end of daylight saving).
const MAX_REPEATED: usize = 7200;

/// The calendar that counts now, and when it is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    calendar: Option<Calendar>,
    /// The next moment, since the epoch; `None`: there is none.
    due: Option<Duration>,
    /// The last moment that came round, since the epoch.
    last: Option<Duration>,
    /// When the wall clock is looked at again.
    look_at: Option<Monotonic>,
}

impl Schedule {
    /// Lets the calendar of another plan count from now on.
    pub(super) fn follow(&mut self, calendar: Option<&Calendar>, now: Monotonic, wall: Duration) {
        if self.calendar.as_ref() != calendar {
            self.calendar = calendar.cloned();
            self.last = None;
            self.plan_ahead(now, wall);
        }
    }

    /// When [`Schedule::has_elapsed`] wants to be asked next.
    pub(super) fn next_look(&self) -> Option<Monotonic> {
        self.look_at
    }

    /// Whether the calendar came round. However long ago that was, it is said once.
    pub(super) fn has_elapsed(&mut self, now: Monotonic, wall: Duration) -> bool {
        if self.look_at.is_none_or(|at| now < at) {
            return false;
        }
        self.clock_was_set(now, wall)
    }

    /// The wall clock may show anything now. Whether the calendar came round with that.
    pub(super) fn clock_was_set(&mut self, now: Monotonic, wall: Duration) -> bool {
        let elapsed = self.due.filter(|due| *due <= wall && wall.saturating_sub(*due) < PUT_RIGHT);
        self.last = elapsed.or(self.last);
        self.plan_ahead(now, wall);
        elapsed.is_some()
    }

    fn plan_ahead(&mut self, now: Monotonic, wall: Duration) {
        let again = self.last.filter(|last| *last > wall && last.saturating_sub(wall) < PUT_RIGHT);
        let from = again.unwrap_or(wall);
        self.due = self.calendar.as_ref().and_then(|calendar| next_moment(calendar, from));
        self.look_at = self.calendar.as_ref().map(|_| {
            let wait = self.due.map_or(LOOK_AGAIN, |due| due.saturating_sub(wall));
            now + wait.min(LOOK_AGAIN)
        });
    }
}

/// The first moment of the calendar after `wall`, both since the epoch. A moment that daylight saving skips
/// comes as much later as the clocks were moved; one that it repeats comes once.
fn next_moment(calendar: &Calendar, wall: Duration) -> Option<Duration> {
    if calendar.is_utc() {
        return calendar.next_after(CivilTime::utc(wall))?.utc_since_epoch();
    }
    let mut at = civil(LocalTime::at(wall)?)?;
    for _ in 0..MAX_REPEATED {
        at = calendar.next_after(at)?;
        let moment = local(at)?.to_epoch()?;
        if moment > wall {
            return Some(moment);
        }
    }
    None
}

fn civil(local: LocalTime) -> Option<CivilTime> {
    let LocalTime { year, month, day, hour, minute, second, weekday: _ } = local;
    Some(CivilTime { year: u32::try_from(year).ok()?, month, day, hour, minute, second })
}

fn local(civil: CivilTime) -> Option<LocalTime> {
    let CivilTime { year, month, day, hour, minute, second } = civil;
    Some(LocalTime { year: i32::try_from(year).ok()?, month, day, hour, minute, second, weekday: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    /// 12:00 of some day, UTC.
    const NOON: Duration = Duration::from_secs(20_775 * 86_400 + 12 * 3_600);

    fn following(text: &str, wall: Duration) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.follow(Some(&Calendar::parse(text).unwrap()), Monotonic::ZERO, wall);
        schedule
    }

    fn at(span: Duration) -> Monotonic {
        Monotonic::from_origin(span)
    }

    #[test]
    fn the_calendar_comes_round_once_at_its_time() {
        let mut schedule = following("12:30 UTC", NOON);
        assert_eq!(schedule.next_look(), Some(at(30 * MINUTE)));
        assert!(!schedule.has_elapsed(at(29 * MINUTE), NOON + 29 * MINUTE));
        assert!(schedule.has_elapsed(at(30 * MINUTE), NOON + 30 * MINUTE));
        assert!(!schedule.has_elapsed(at(30 * MINUTE), NOON + 30 * MINUTE));
        assert_eq!(schedule.next_look(), Some(at(90 * MINUTE)), "the wall clock is looked at every hour");
    }

    #[test]
    fn f37_a_clock_set_by_hours_reschedules_and_replaces_nobody() {
        for jump in [DAY, 10 * HOUR, 400 * DAY] {
            let mut schedule = following("16:00 UTC", NOON);
            assert!(!schedule.clock_was_set(at(MINUTE), NOON + jump + MINUTE), "{jump:?} forth");
            assert!(schedule.next_look() <= Some(at(HOUR + MINUTE)));
            assert!(!schedule.clock_was_set(at(2 * MINUTE), NOON + 2 * MINUTE), "{jump:?} back");
            assert!(!schedule.has_elapsed(at(3 * HOUR), NOON + 3 * HOUR));
            assert!(schedule.has_elapsed(at(4 * HOUR), NOON + 4 * HOUR), "it comes at its own time");
        }
        // Nobody told of it, and it is found out by the next look.
        let mut schedule = following("16:00 UTC", NOON);
        assert!(!schedule.has_elapsed(at(HOUR), NOON + 10 * HOUR));
        assert!(!schedule.has_elapsed(at(2 * HOUR), NOON + 11 * HOUR));
    }

    #[test]
    fn f37_a_clock_set_to_just_before_the_calendars_time_makes_it_come_then() {
        let mut schedule = following("16:00 UTC", NOON);
        assert!(!schedule.clock_was_set(at(MINUTE), NOON + 4 * HOUR - MINUTE));
        assert_eq!(schedule.next_look(), Some(at(2 * MINUTE)));
        assert!(schedule.has_elapsed(at(2 * MINUTE), NOON + 4 * HOUR));
    }

    #[test]
    fn f37_a_clock_put_right_by_seconds_neither_skips_the_calendar_nor_repeats_it() {
        let second = Duration::from_secs(1);
        let mut schedule = following("12:30 UTC", NOON);
        assert!(schedule.clock_was_set(at(29 * MINUTE), NOON + 30 * MINUTE + second), "jumped over");
        assert!(!schedule.clock_was_set(at(29 * MINUTE), NOON + 30 * MINUTE - second), "set back a little");
        assert!(!schedule.has_elapsed(at(89 * MINUTE), NOON + 90 * MINUTE));
        let mut schedule = following("12:30 UTC", NOON);
        assert!(schedule.has_elapsed(at(30 * MINUTE), NOON + 30 * MINUTE));
        assert!(!schedule.clock_was_set(at(31 * MINUTE), NOON + 29 * MINUTE));
        assert_ne!(schedule.next_look(), Some(at(32 * MINUTE)), "once was enough");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_it_wait_for_its_time() {
        let mut schedule = following("12:30 UTC", NOON);
        assert!(!schedule.has_elapsed(at(30 * MINUTE), NOON - 15 * MINUTE));
        assert_eq!(schedule.next_look(), Some(at(75 * MINUTE)));
        assert!(schedule.has_elapsed(at(75 * MINUTE), NOON + 30 * MINUTE));
    }

    #[test]
    fn another_plans_calendar_counts_from_then_on_and_none_wakes_nobody() {
        let mut schedule = following("12:30 UTC", NOON);
        schedule.follow(Some(&Calendar::parse("12:10 UTC").unwrap()), at(MINUTE), NOON + MINUTE);
        assert_eq!(schedule.next_look(), Some(at(10 * MINUTE)));
        schedule.follow(None, at(MINUTE), NOON + MINUTE);
        assert_eq!(schedule.next_look(), None);
        assert!(!schedule.has_elapsed(at(DAY), NOON + DAY));
    }

    #[test]
    fn a_calendar_that_never_comes_round_is_looked_at_every_hour_only() {
        let mut schedule = following("*-02-30", NOON);
        assert_eq!(schedule.next_look(), Some(at(HOUR)));
        assert!(!schedule.has_elapsed(at(HOUR), NOON + HOUR));
        assert_eq!(schedule.next_look(), Some(at(2 * HOUR)));
    }

    #[test]
    fn a_local_moment_is_the_one_that_the_local_clock_shows() {
        let calendar = Calendar::parse("04:00").unwrap();
        let moment = next_moment(&calendar, NOON).unwrap();
        let shown = LocalTime::at(moment).unwrap();
        assert_eq!((shown.hour, shown.minute, shown.second), (4, 0, 0));
        assert!(moment > NOON && moment <= NOON + DAY + HOUR);
    }
}
