//! The shape of a calendar expression (systemd.time(7)); when it elapses is not decided here.

/// Expressions of one word.
pub(super) const WORDS: &[&str] =
    &["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly"];

const DAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: &[&str] = &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The longest expression.
const MAX_LEN: usize = 256;

/// Whether `text` is `[weekdays] [date] [time] [UTC]` or one of [`WORDS`].
pub(super) fn is_expression(text: &str) -> bool {
    if text.len() > MAX_LEN {
        return false;
    }
    let mut parts: Vec<&str> = text.split_ascii_whitespace().collect();
    if parts.last() == Some(&"UTC") {
        parts.pop();
    }
    if let [word] = parts.as_slice()
        && WORDS.contains(word)
    {
        return true;
    }
    let mut rest = parts.as_slice();
    let before = rest.len();
    for is_part in [is_weekdays, is_date, is_time] {
        if let Some((first, others)) = rest.split_first()
            && is_part(first)
        {
            rest = others;
        }
    }
    rest.is_empty() && before > 0
}

fn is_weekdays(text: &str) -> bool {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        DAYS.contains(&name.as_str()) || LONG_DAYS.contains(&name.as_str())
    };
    text.trim_end_matches(',').split(',').all(|part| match part.split_once("..") {
        Some((from, to)) => day(from) && day(to),
        None => day(part),
    })
}

fn is_date(text: &str) -> bool {
    let (date, last) = match text.split_once('~') {
        Some((date, day)) => (date, Some(day)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').chain(last).collect();
    match parts.as_slice() {
        [year, month, day] => is_field(year, 1970, 2199) && is_field(month, 1, 12) && is_field(day, 1, 31),
        [month, day] => is_field(month, 1, 12) && is_field(day, 1, 31),
        _ => false,
    }
}

fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [hour, minute] => is_field(hour, 0, 23) && is_field(minute, 0, 59),
        [hour, minute, second] => is_field(hour, 0, 23) && is_field(minute, 0, 59) && is_field(second, 0, 59),
        _ => false,
    }
}

/// `*`, `5`, `1..5`, `*/15`, `0/15`, and lists of these.
fn is_field(text: &str, min: u32, max: u32) -> bool {
    let number = |text: &str| {
        !text.is_empty()
            && text.len() <= 4
            && text.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
    };
    text.split(',').all(|part| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let step_is_good =
            step.is_none_or(|step| step.parse().is_ok_and(|step: u32| (1..=max).contains(&step)));
        let range_is_good = range == "*"
            || match range.split_once("..") {
                Some((from, to)) => number(from) && number(to),
                None => number(range),
            };
        step_is_good && range_is_good
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_manual_are_accepted() {
        for text in [
            "daily",
            "04:00",
            "*-*-* 04:00:00",
            "Mon..Fri 04:30",
            "Sat,Sun 12:00 UTC",
            "*:0/15",
            "2027-01-01",
            "*-02~03",
            "Mon *-05~07/1",
            "mon,fri *-1/2-1,3 *:30:45",
        ] {
            assert!(is_expression(text), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "UTC",
            "every day",
            "0 4 * * *",
            "25:00",
            "04:60",
            "*-13-01",
            "Foo 04:00",
            "04",
            "04:00 04:00",
        ] {
            assert!(!is_expression(text), "{text} was accepted");
        }
    }
}
