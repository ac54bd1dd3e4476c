//! What holds for every datagram, whoever sent it. Used by the fuzzer and, on its corpus, by `tests/corpus.rs`.

use ganger::proto::notify::{Assignment, Fact, MAX_STATUS_CHARS, MAX_UPWARD_BYTES, read, status_text, write};

/// Fails when one of the claims does not hold for `datagram`.
pub(crate) fn check(datagram: &[u8]) {
    let Ok(reading) = read(datagram) else { return };
    for fact in &reading.facts {
        assert_eq!(reading.facts.iter().filter(|other| *other == fact).count(), 1, "{fact:?} twice");
        if let Fact::Status(text) = fact {
            assert!(!text.contains(char::is_control) && text.chars().count() <= MAX_STATUS_CHARS);
            assert_eq!(*text, status_text(text), "a clean text is not cleaned further");
        }
        if let Fact::MainPid(pid) = fact {
            assert!(*pid > 1);
        }
    }
    let written = write_again(&reading.facts);
    assert!(written.len() <= MAX_UPWARD_BYTES);
    let again = read(written.as_bytes()).unwrap();
    assert_eq!((again.unknown, again.malformed, again.repeated, again.unread), (0, 0, 0, 0));
    assert_eq!(again.facts, writable(&reading.facts));
}

/// The facts that have a counterpart in what ganger itself says.
fn writable(facts: &[Fact]) -> Vec<Fact> {
    facts.iter().filter(|fact| assignment(fact).is_some()).cloned().collect()
}

fn write_again(facts: &[Fact]) -> String {
    write(&facts.iter().filter_map(assignment).collect::<Vec<_>>())
}

fn assignment(fact: &Fact) -> Option<Assignment<'_>> {
    match fact {
        Fact::Ready => Some(Assignment::Ready),
        Fact::Stopping => Some(Assignment::Stopping),
        Fact::Status(text) => Some(Assignment::Status(text)),
        Fact::Errno(errno) => Some(Assignment::Errno(*errno)),
        Fact::WatchdogPing => Some(Assignment::Watchdog),
        Fact::ExtendTimeout(span) => Some(Assignment::ExtendTimeout(*span)),
        Fact::MainPid(pid) => Some(Assignment::MainPid(*pid)),
        Fact::Barrier => Some(Assignment::Barrier),
        Fact::Reloading
        | Fact::SentAt(_)
        | Fact::WatchdogTrigger
        | Fact::WatchdogInterval(_)
        | Fact::Declined(_) => None,
    }
}
