//! Signals by name (signal(7)).

/// The names and Linux's numbers for them.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
    ("PWR", 30),
];

/// `SIGRTMIN` and `SIGRTMAX` as glibc, and with it systemd, counts them.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The names, for messages and completions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|(name, _)| *name)
}

/// The number of `TERM`, `SIGTERM`, `RTMIN+3` or `15`.
pub(super) fn number(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    if let Some(plus) = name.strip_prefix("RTMIN+") {
        return plus
            .parse()
            .ok()
            .and_then(|plus: i32| RTMIN.checked_add(plus))
            .filter(|n| (RTMIN..=RTMAX).contains(n));
    }
    text.parse().ok().filter(|number| (1..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_with_or_without_sig() {
        for (text, want) in [
            ("TERM", Some(15)),
            ("SIGTERM", Some(15)),
            ("SIGUSR2", Some(12)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMIN+30", Some(64)),
            ("RTMIN+31", None),
            ("RTMIN+-1", None),
            ("9", Some(9)),
            ("0", None),
            ("65", None),
            ("term", None),
            ("", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
    }
}
