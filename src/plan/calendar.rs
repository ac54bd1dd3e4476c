//! Calendar expressions (systemd.time(7)): what an expression means, and which moment comes next.
//!
//! Pure arithmetic on civil dates: which moment it is now, and in which time zone, is told from outside. The
//! grammar is systemd's without fractions of a second, time zones other than `UTC`, and what systemd takes
//! only for old times' sake (`Mon-Fri`, years of two digits).

mod civil;
mod field;

use std::fmt;

pub use civil::CivilTime;
use field::{Days, Field, weekdays};

/// The longest expression, in bytes.
const MAX_LEN: usize = 256;
/// The years that an expression may speak of.
const YEARS: (u32, u32) = (1970, 2199);

/// Expressions of one word, and what they stand for.
const WORDS: [(&str, &str); 11] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
];

/// A checked calendar expression. `Debug` is the text that it was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Calendar {
    source: String,
    utc: bool,
    weekdays: Field,
    years: Field,
    months: Field,
    days: Days,
    hours: Field,
    minutes: Field,
    seconds: Field,
}

/// Why a text is no calendar expression; a fragment for "expected …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarError;

impl fmt::Display for CalendarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a calendar expression such as \"daily\" or \"Mon..Fri 04:00\"")
    }
}

impl std::error::Error for CalendarError {}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Calendar {
    /// The expressions of one word.
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(word, _)| *word)
    }

    /// Reads `[weekdays] [date] [time] [UTC]`, or one of [`Calendar::words`].
    ///
    /// # Errors
    /// When systemd would not take the text either, or when it speaks of what is left out here.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        if text.len() > MAX_LEN {
            return Err(CalendarError);
        }
        let mut parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let utc = parts.len() > 1 && parts.last().is_some_and(|last| last.eq_ignore_ascii_case("UTC"));
        if utc {
            parts.pop();
        }
        if let [only] = parts.as_slice()
            && let Some((_, meaning)) = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(only))
        {
            parts = meaning.split(' ').collect();
        }
        let mut calendar = Self {
            source: text.to_owned(),
            utc,
            weekdays: Field::ANY,
            years: Field::ANY,
            months: Field::ANY,
            days: Days::FromStart(Field::ANY),
            hours: Field::only(0),
            minutes: Field::only(0),
            seconds: Field::only(0),
        };
        calendar.fill(&parts).ok_or(CalendarError)?;
        Ok(calendar)
    }

    /// Takes in weekdays, date and time, of which any may be missing, but not all.
    fn fill(&mut self, parts: &[&str]) -> Option<()> {
        let mut rest = parts;
        let is_time = |text: &str| text.contains(':');
        if let Some((first, others)) = rest.split_first()
            && first.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            self.weekdays = weekdays(first)?;
            rest = others;
        }
        if let Some((first, others)) = rest.split_first()
            && !is_time(first)
        {
            self.set_date(first)?;
            rest = others;
        }
        if let Some((first, others)) = rest.split_first() {
            self.set_time(first)?;
            rest = others;
        }
        (rest.is_empty() && !parts.is_empty()).then_some(())
    }

    /// `YEAR-MONTH-DAY`, `MONTH-DAY`; `~DAY` counts from the month's last day.
    fn set_date(&mut self, text: &str) -> Option<()> {
        let (front, from_end) = match text.split_once('~') {
            Some((front, day)) => (front, Some(day)),
            None => (text, None),
        };
        let parts: Vec<&str> = front.split('-').chain(from_end).collect();
        let (year, month, day) = match parts.as_slice() {
            [year, month, day] => (Some(*year), *month, *day),
            [month, day] => (None, *month, *day),
            _ => return None,
        };
        if let Some(year) = year {
            self.years = Field::parse(year, YEARS.0, YEARS.1)?;
        }
        self.months = Field::parse(month, 1, 12)?;
        self.days = match from_end {
            Some(_) => Days::FromEnd(Field::parse_from_end(day)?),
            None => Days::FromStart(Field::parse(day, 1, 31)?),
        };
        Some(())
    }

    /// `HOUR:MINUTE` or `HOUR:MINUTE:SECOND`.
    fn set_time(&mut self, text: &str) -> Option<()> {
        let parts: Vec<&str> = text.split(':').collect();
        let (hour, minute, second) = match parts.as_slice() {
            [hour, minute] => (*hour, *minute, "0"),
            [hour, minute, second] => (*hour, *minute, *second),
            _ => return None,
        };
        self.hours = Field::parse(hour, 0, 23)?;
        self.minutes = Field::parse(minute, 0, 59)?;
        self.seconds = Field::parse(second, 0, 59)?;
        Some(())
    }

    /// The text that the expression was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// It speaks of UTC; otherwise of the machine's time zone.
    #[must_use]
    pub fn is_utc(&self) -> bool {
        self.utc
    }

    /// The first moment after `at` that the expression names; `None`: there is none before the year 2200.
    #[must_use]
    pub fn next_after(&self, at: CivilTime) -> Option<CivilTime> {
        for year in at.year.max(YEARS.0)..=YEARS.1 {
            if !self.years.has(year) {
                continue;
            }
            for month in (1..=12).filter(|month| self.months.has(*month)) {
                if (year, month) < (at.year, at.month) {
                    continue;
                }
                for day in 1..=civil::days_in(year, month) {
                    if let Some(next) = self.next_on(CivilTime::midnight(year, month, day), at) {
                        return Some(next);
                    }
                }
            }
        }
        None
    }

    /// The first moment of the day that begins with `midnight` and that is after `at`.
    fn next_on(&self, midnight: CivilTime, at: CivilTime) -> Option<CivilTime> {
        let same_day = (at.year, at.month, at.day) == (midnight.year, midnight.month, midnight.day);
        if (midnight < at && !same_day)
            || !self.weekdays.has(midnight.weekday())
            || !self.days.has(midnight.day, civil::days_in(midnight.year, midnight.month))
        {
            return None;
        }
        let first_hour = if same_day { at.hour } else { 0 };
        for hour in (first_hour..24).filter(|hour| self.hours.has(*hour)) {
            let same_hour = same_day && hour == at.hour;
            let first_minute = if same_hour { at.minute } else { 0 };
            for minute in (first_minute..60).filter(|minute| self.minutes.has(*minute)) {
                let same_minute = same_hour && minute == at.minute;
                let first_second = if same_minute { at.second.saturating_add(1) } else { 0 };
                let second = (first_second..60).find(|second| self.seconds.has(*second));
                if let Some(second) = second {
                    return Some(CivilTime { hour, minute, second, ..midnight });
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
