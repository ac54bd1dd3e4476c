//! What an expression means. That it means the same to systemd is shown by `tests/calendar.rs`.

use super::*;

fn moment(year: u32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> CivilTime {
    CivilTime { year, month, day, hour, minute, second }
}

/// The first moment after Sunday, 22 November 2026, 12:34:56.
fn next(text: &str) -> Option<CivilTime> {
    Calendar::parse(text).unwrap().next_after(moment(2026, 11, 22, 12, 34, 56))
}

#[test]
fn the_next_moment_is_the_first_one_after_now() {
    for (text, expected) in [
        ("daily", moment(2026, 11, 23, 0, 0, 0)),
        ("hourly", moment(2026, 11, 22, 13, 0, 0)),
        ("*:*:56", moment(2026, 11, 22, 12, 35, 56)),
        ("12:34:57", moment(2026, 11, 22, 12, 34, 57)),
        ("12:34:56", moment(2026, 11, 23, 12, 34, 56)),
        ("Mon..Fri 04:00", moment(2026, 11, 23, 4, 0, 0)),
        ("Sun 12:00", moment(2026, 11, 29, 12, 0, 0)),
        ("*-02-29", moment(2028, 2, 29, 0, 0, 0)),
        ("*-02~1", moment(2027, 2, 28, 0, 0, 0)),
        ("Mon *-05~7/1", moment(2027, 5, 31, 0, 0, 0)),
        ("Fri *-*-13 13:13", moment(2027, 8, 13, 13, 13, 0)),
        ("yearly", moment(2027, 1, 1, 0, 0, 0)),
        ("*:0/15", moment(2026, 11, 22, 12, 45, 0)),
        ("2199-12-31 23:59:59", moment(2199, 12, 31, 23, 59, 59)),
    ] {
        assert_eq!(next(text), Some(expected), "{text}");
    }
}

#[test]
fn an_expression_may_be_over_or_never_come() {
    for text in ["*-02-30", "2020-01-01", "2026-11-22 12:34:56", "Mon 2026-11-22", "*-04,06-31"] {
        assert_eq!(next(text), None, "{text}");
    }
}

#[test]
fn a_leap_second_and_a_late_year_lead_on() {
    let calendar = Calendar::parse("*:*").unwrap();
    let leap = moment(2026, 12, 31, 23, 59, 60);
    assert_eq!(calendar.next_after(leap), Some(moment(2027, 1, 1, 0, 0, 0)));
    assert_eq!(calendar.next_after(moment(9999, 1, 1, 0, 0, 0)), None);
}

#[test]
fn utc_is_told_apart_and_the_source_is_kept() {
    for (text, utc) in [("Mon 04:00 UTC", true), ("daily utc", true), ("daily", false)] {
        let calendar = Calendar::parse(text).unwrap();
        assert_eq!((calendar.is_utc(), calendar.source()), (utc, text));
    }
    assert_eq!(next("daily UTC"), next("daily"), "the zone is the caller's business");
}

#[test]
fn other_text_is_refused() {
    let long = format!("*:{}", ["0"; 200].join(","));
    for text in [
        "",
        " ",
        "UTC",
        "every day",
        "0 4 * * *",
        "25:00",
        "04:60",
        "*-13-01",
        "Foo 04:00",
        "04",
        "+4:00",
        "04:00 04:00",
        "*:*/15",
        "*:0/60",
        "*:59/1",
        "*-*-0",
        "*-*~0",
        "*-*~29",
        "*-*~3..1",
        "2026~11~1",
        "5..1:00",
        "*:1..",
        "*:,1",
        "*:1,,2",
        "04:00:",
        ":04",
        "*-*-1/0",
        "1969-01-01",
        "2200-01-01",
        "Mon,,Tue",
        "Fri..Mon",
        "M 04:00",
        "4294967296:00",
        "04:00 Mon",
        "é",
        long.as_str(),
    ] {
        assert_eq!(Calendar::parse(text), Err(CalendarError), "{text:?} was accepted");
    }
}
