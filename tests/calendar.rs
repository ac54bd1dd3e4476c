//! A calendar expression means to ganger what it means to systemd: systemd-analyze(1) is asked about each.

#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::process::{Command, Output};

use ganger::plan::{Calendar, CivilTime};

/// Monday, 15 February 2027.
const BASE: CivilTime = CivilTime { year: 2027, month: 2, day: 15, hour: 4, minute: 30, second: 15 };
const ITERATIONS: usize = 5;

/// Forms of each field; every combination of some of them is compared.
const WEEKDAYS: &[&str] = &["", "Mon ", "Sat,Sun ", "Mon..Fri ", "Tue,Thu..Sat ", "wednesday, "];
const DATES: &[&str] = &[
    "",
    "*-*-* ",
    "*-* ",
    "*-02-29 ",
    "*-*-31 ",
    "*-*~1 ",
    "*-02~03 ",
    "*-*~7/1 ",
    "*-*~2..5 ",
    "*-*~1..9/3 ",
    "*-*~8/3 ",
    "*-1,4/3-1 ",
    "2028-02-28..31 ",
    "2026..2036/2-*-1/10 ",
    "*-05~07/1 ",
    "2~28 ",
    "1970/7-6-15 ",
    "*-*-10..20/4,25 ",
    "2027-2-15 ",
];
const TIMES: &[&str] = &[
    "",
    "04:30",
    "04:30:15",
    "*:*",
    "*:*:*",
    "*:0/15",
    "8..18/2:00",
    "*:*:30",
    "23:59:59",
    "4:5:6",
    "0/6:30:00",
    "04:30:10..20/5",
    "1,13:15,45",
];
const ACCEPTED: &[&str] = &[
    "minutely",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "biannually",
    "yearly",
    "annually",
    "Daily",
    "weekly UTC",
    "Fri *-*-13",
    "Mon",
    "Mon,",
    "*-*-5..5",
    "*-*-1/30",
    "00001-01",
];
const REFUSED: &[&str] = &[
    "",
    "UTC",
    "every day",
    "0 4 * * *",
    "25:00",
    "04:60",
    "04:00:60",
    "*-13-01",
    "Foo 04:00",
    "04",
    "*:*/15",
    "*:0/60",
    "*:59/1",
    "*-*~29",
    "*-*~3..1",
    "2026~11~1",
    "*-*-1/31",
    "2199/1-1-1",
    "Fri..Mon",
    "Mon,,Tue",
    ",Mon",
    "Mon Tue",
    "+1-1",
    "*-1,*-3",
    "1969-01-01",
    "2200-01-01",
    "*:1..",
    "04:00 Mon",
    "*-*-0",
];

fn analyze(expressions: &[&str]) -> Output {
    Command::new("systemd-analyze")
        .args(["calendar", "--iterations=5", "--base-time=2027-02-15 04:30:15 UTC", "--"])
        .args(expressions)
        .env_clear()
        .envs([("TZ", "UTC"), ("LC_ALL", "C"), ("PATH", "/usr/bin:/bin")])
        .output()
        .unwrap()
}

/// What systemd says about each expression: the moments to come, as it writes them.
fn by_systemd(expressions: &[&str]) -> Vec<Vec<String>> {
    let output = analyze(expressions);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut answers: Vec<Vec<String>> = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        // An expression that is its own normalized form is not repeated as the original one.
        if line.trim_start().starts_with("Normalized form:") {
            answers.push(Vec::new());
        }
        if let Some((what, moment)) = line.split_once(": ")
            && (what.ends_with("Next elapse") || what.contains("Iter. #"))
            && moment != "never"
        {
            // "Mon 2027-02-15 04:30:15 UTC" without the day's name and the zone.
            answers.last_mut().unwrap().push(moment[4..23].to_owned());
        }
    }
    answers
}

fn by_ganger(expression: &str) -> Vec<String> {
    let calendar = Calendar::parse(expression);
    assert!(calendar.is_ok(), "{expression:?} was refused");
    let calendar = calendar.unwrap();
    let mut at = BASE;
    let mut moments = Vec::new();
    while let Some(next) = calendar.next_after(at).filter(|_| moments.len() < ITERATIONS) {
        let CivilTime { year, month, day, hour, minute, second } = next;
        moments.push(format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"));
        at = next;
    }
    moments
}

#[test]
fn every_expression_elapses_when_systemd_says() {
    let mut expressions: Vec<String> = ACCEPTED.iter().map(|text| (*text).to_owned()).collect();
    for (w, weekdays) in WEEKDAYS.iter().enumerate() {
        for (d, date) in DATES.iter().enumerate() {
            for (t, time) in TIMES.iter().enumerate() {
                let text = format!("{weekdays}{date}{time}");
                if (w + d + t).is_multiple_of(2) && !text.trim().is_empty() {
                    expressions.push(text.trim().to_owned());
                }
            }
        }
    }
    let texts: Vec<&str> = expressions.iter().map(String::as_str).collect();
    let answers = by_systemd(&texts);
    assert_eq!(answers.len(), texts.len());
    for (text, answer) in texts.iter().zip(&answers) {
        assert_eq!(&by_ganger(text), answer, "{text:?}");
    }
}

#[test]
fn what_is_refused_is_refused_by_systemd_too() {
    for text in REFUSED {
        assert!(Calendar::parse(text).is_err(), "{text:?} was accepted");
        assert!(!analyze(&[text]).status.success(), "systemd accepts {text:?}");
    }
}
