//! One field of a calendar expression: `*`, `5`, `1..5`, `0/15`, `10..20/5`, and lists of these.

/// The most parts of one list.
const MAX_PARTS: usize = 64;

/// The numbers that a field names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field(Option<Vec<Part>>);

/// `from`, `from + step`, … up to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u32,
    to: u32,
    step: u32,
}

/// The days that an expression names, counted from one end of the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    FromStart(Field),
    /// 1 is the last day.
    FromEnd(Field),
}

impl Days {
    /// Whether `day` of a month of `length` days is named.
    pub(super) fn has(&self, day: u32, length: u32) -> bool {
        match self {
            Self::FromStart(days) => days.has(day),
            Self::FromEnd(days) => days.has((length + 1).saturating_sub(day)),
        }
    }
}

/// A part as it is written.
struct Written {
    start: u32,
    stop: Option<u32>,
    repeat: Option<u32>,
}

impl Written {
    fn parse(text: &str) -> Option<Self> {
        let (range, repeat) = match text.split_once('/') {
            Some((range, repeat)) => (range, Some(number(repeat)?)),
            None => (text, None),
        };
        let (start, stop) = match range.split_once("..") {
            Some((start, stop)) => (number(start)?, Some(number(stop)?)),
            None => (number(range)?, None),
        };
        Some(Self { start, stop: stop.filter(|stop| *stop != start), repeat })
    }

    /// The step between two numbers; `None`: there is one number only.
    fn step(&self) -> Option<u32> {
        self.repeat.or(self.stop.map(|_| 1))
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

impl Field {
    /// Every number.
    pub(super) const ANY: Self = Self(None);

    /// This number and no other.
    pub(super) fn only(number: u32) -> Self {
        Self(Some(vec![Part { from: number, to: number, step: 1 }]))
    }

    /// Whether the number is named.
    pub(super) fn has(&self, number: u32) -> bool {
        self.0.as_ref().is_none_or(|parts| {
            parts.iter().any(|part| {
                (part.from..=part.to).contains(&number) && (number - part.from).is_multiple_of(part.step)
            })
        })
    }

    /// A field whose numbers are `min` to `max`. Like systemd it takes a step only when it leads somewhere.
    pub(super) fn parse(text: &str, min: u32, max: u32) -> Option<Self> {
        Self::list(text, |written| {
            let end = written.stop.unwrap_or(max);
            let in_bounds = written.start >= min && written.start <= end && end <= max;
            match written.step() {
                None => in_bounds.then_some(Part { from: written.start, to: written.start, step: 1 }),
                Some(step) => (in_bounds && step > 0 && written.start.checked_add(step)? <= end)
                    .then_some(Part { from: written.start, to: end, step }),
            }
        })
    }

    /// Days counted from the month's end: at most 28, so that every month has them. The steps of a range go
    /// from its first number; those of a single number go towards the month's end, to smaller numbers.
    pub(super) fn parse_from_end(text: &str) -> Option<Self> {
        Self::list(text, |written| {
            let (from, to) = match (written.stop, written.step()) {
                (Some(stop), _) => (written.start, stop),
                (None, Some(step)) => (1 + written.start.checked_sub(1)?.checked_rem(step)?, written.start),
                (None, None) => (written.start, written.start),
            };
            let in_bounds = from >= 1 && from <= to && to <= 28;
            match written.step() {
                None => in_bounds.then_some(Part { from, to, step: 1 }),
                Some(step) => {
                    let first = written.stop.map_or(1, |_| from);
                    let leads_on = step > 0 && first.checked_add(step)? <= to;
                    (in_bounds && leads_on).then_some(Part { from, to, step })
                }
            }
        })
    }

    fn list(text: &str, part: impl Fn(Written) -> Option<Part>) -> Option<Self> {
        if text == "*" {
            return Some(Self::ANY);
        }
        let parts: Vec<Part> =
            text.split(',').map(|text| part(Written::parse(text)?)).collect::<Option<_>>()?;
        (parts.len() <= MAX_PARTS).then_some(Self(Some(parts)))
    }
}

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// `Mon`, `Sat,Sun`, `Mon..Fri`; 0 is Monday. One comma may trail.
pub(super) fn weekdays(text: &str) -> Option<Field> {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        let is_day = |day: &str| *day == name || (name.len() == 3 && day.starts_with(&name));
        u32::try_from(DAYS.iter().position(|day| is_day(day))?).ok()
    };
    let text = text.strip_suffix(',').unwrap_or(text);
    let part = |text: &str| {
        let (from, to) = match text.split_once("..") {
            Some((from, to)) => (day(from)?, day(to)?),
            None => (day(text)?, day(text)?),
        };
        (from <= to).then_some(Part { from, to, step: 1 })
    };
    let parts: Vec<Part> = text.split(',').map(part).collect::<Option<_>>()?;
    Some(Field(Some(parts)))
}
