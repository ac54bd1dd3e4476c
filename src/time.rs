//! Instants, spans and sizes as values: no clock is read here.
//!
//! [`Monotonic`] is an instant of `CLOCK_MONOTONIC` (clock_gettime(2)): it never jumps with the wall clock
//! and does not advance while the machine sleeps. Spans follow systemd.time(7), sizes the suffixes of
//! systemd.resource-control(5) (`K`, `M`, `G`, `T`, base 1024).

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant on the monotonic clock. Tests start at [`Monotonic::ZERO`]; a supervisor that re-executes
/// itself goes on with the same clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The origin of the clock.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The instant `since_origin` after the clock's origin.
    #[must_use]
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// Time since the clock's origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Microseconds since the clock's origin, as `MONOTONIC_USEC=` wants them (sd_notify(3)).
    #[must_use]
    pub fn as_micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:?}", self.0)
    }
}

/// Why a span or a size could not be read; a fragment for "expected …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(pub String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

const UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("usec", 1),
    ("µs", 1),
    ("ms", 1_000),
    ("msec", 1_000),
    ("s", 1_000_000),
    ("sec", 1_000_000),
    ("second", 1_000_000),
    ("seconds", 1_000_000),
    ("m", 60_000_000),
    ("min", 60_000_000),
    ("minute", 60_000_000),
    ("minutes", 60_000_000),
    ("h", 3_600_000_000),
    ("hr", 3_600_000_000),
    ("hour", 3_600_000_000),
    ("hours", 3_600_000_000),
    ("d", 86_400_000_000),
    ("day", 86_400_000_000),
    ("days", 86_400_000_000),
    ("w", 604_800_000_000),
    ("week", 604_800_000_000),
    ("weeks", 604_800_000_000),
];

/// Reads a span such as `30s`, `1min 30s`, `500ms`, `1.5h` (systemd.time(7)); a bare number counts seconds.
///
/// # Errors
/// Says what was expected when the text is empty, has an unknown unit, or does not fit.
pub fn parse_span(text: &str) -> Result<Duration, ParseError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(ParseError("a time span such as \"30s\" or \"1min 30s\"".into()));
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| ParseError(format!("a number before \"{after}\"")))?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let micros = match unit {
            "" if after.is_empty() => 1_000_000,
            "" => return Err(ParseError(format!("a unit (us, ms, s, min, h, d, w) before \"{after}\""))),
            known => UNITS
                .iter()
                .find(|(name, _)| *name == known)
                .map(|(_, micros)| *micros)
                .ok_or_else(|| ParseError(format!("a unit (us, ms, s, min, h, d, w), not \"{known}\"")))?,
        };
        #[expect(clippy::cast_precision_loss, reason = "the unit table is far below 2^52")]
        let micros = micros as f64;
        total += number * micros;
        rest = after.trim_start();
    }
    // A century: far beyond any use, and safely inside every type that carries a span.
    if !total.is_finite() || total > 3.2e15 {
        return Err(ParseError("a span of less than a century".into()));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    Ok(Duration::from_micros(total.round() as u64))
}

/// Writes a span as a person reads it: `350ms`, `1.4s`, `2min 5s`, `3h 12min`, `4d 2h`.
#[must_use]
pub fn format_span(span: Duration) -> String {
    let millis = span.as_millis();
    let secs = span.as_secs();
    match secs {
        0 if millis == 0 && !span.is_zero() => format!("{}us", span.as_micros()),
        0 => format!("{millis}ms"),
        1..=9 => {
            let tenths = (millis % 1000) / 100;
            if tenths == 0 { format!("{secs}s") } else { format!("{secs}.{tenths}s") }
        }
        10..=59 => format!("{secs}s"),
        60..=3599 => two_units(secs, 60, "min", 1, "s"),
        3600..=86_399 => two_units(secs, 3600, "h", 60, "min"),
        _ => two_units(secs, 86_400, "d", 3600, "h"),
    }
}

fn two_units(secs: u64, big: u64, big_name: &str, small: u64, small_name: &str) -> String {
    let rest = (secs % big) / small;
    if rest == 0 {
        format!("{}{big_name}", secs / big)
    } else {
        format!("{}{big_name} {rest}{small_name}", secs / big)
    }
}

/// Reads a size in bytes such as `500M` or `1.5G` (base 1024; systemd.resource-control(5)).
///
/// # Errors
/// Says what was expected when the text is no size.
pub fn parse_size(text: &str) -> Result<u64, ParseError> {
    let expected = || ParseError("a size such as \"500M\" or \"1.5G\"".to_owned());
    let text = text.trim();
    let text = text.strip_suffix("iB").or_else(|| text.strip_suffix('B')).unwrap_or(text);
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let factor: f64 = match suffix.trim() {
        "" => 1.0,
        "K" | "k" => 1024.0,
        "M" | "m" => 1_048_576.0,
        "G" | "g" => 1_073_741_824.0,
        "T" | "t" => 1_099_511_627_776.0,
        _ => return Err(expected()),
    };
    let bytes = number * factor;
    if !bytes.is_finite() || bytes > 9.0e18 {
        return Err(expected());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    Ok(bytes as u64)
}

/// Writes a size as a person reads it: `812K`, `150M`, `1.5G`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1024 => return format!("{bytes}B"),
        1024..1_048_576 => (1024, "K"),
        1_048_576..1_073_741_824 => (1_048_576, "M"),
        1_073_741_824..1_099_511_627_776 => (1_073_741_824, "G"),
        _ => (1_099_511_627_776, "T"),
    };
    let tenths = bytes.saturating_mul(10) / unit;
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{}{name}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        for (text, millis) in
            [("30s", 30_000), ("1min 30s", 90_000), ("500ms", 500), ("5", 5_000), ("1.5h", 5_400_000)]
        {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5 parsecs", "1s x", "-1s", "1e400s", "99999999999w"] {
            assert!(parse_span(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn spans_are_written_with_at_most_two_units() {
        for (millis, text) in
            [(0, "0ms"), (350, "350ms"), (1_400, "1.4s"), (125_000, "2min 5s"), (11_520_000, "3h 12min")]
        {
            assert_eq!(format_span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn sizes_are_read_in_base_1024() {
        assert_eq!(parse_size("500M"), Ok(500 * 1_048_576));
        assert_eq!(parse_size("1.5G"), Ok(1_610_612_736));
        assert_eq!(parse_size("4096"), Ok(4096));
        for text in ["", "M", "5X", "-1", "1e99T"] {
            assert!(parse_size(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn sizes_are_written_short() {
        for (bytes, text) in [(0, "0B"), (2048, "2K"), (1_610_612_736, "1.5G"), (157_286_400, "150M")] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
