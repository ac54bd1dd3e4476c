//! How a worker that was told to leave came to its end: whether that is worth a word, and the words.
//!
//! Why it had to leave is told in any case; a drain that ends in a crash has cut off what was being answered, and
//! must not look like one that went well.

use super::worker::{Life, Remains, Worker};
use super::{Cause, Exit};
use crate::plan::Stop;

/// SIGKILL.
const KILL: i32 = 9;
/// A status above it is how shells and the JVM tell the signal that ended them (systemd.exec(5), exit status).
const SIGNAL_STATUS: i32 = 128;
/// Between why a worker is gone and how it ended.
const JOINT: &str = ", and ";

impl Worker {
    /// How it ended, if it was told to leave and ended in another way than it was told to.
    pub(super) fn odd_ending(&self, exit: Exit, oom: bool, stop: &Stop) -> Option<Cause> {
        let killed = match &self.life {
            Life::Draining(_) => false,
            Life::Killed(_) | Life::Stuck(_, Remains::Main) => true,
            Life::Starting { .. }
            | Life::Ready(_)
            | Life::Leftover(_)
            | Life::Stuck(_, Remains::Leftovers) => return None,
        };
        let as_told = match exit {
            Exit::Code(0) | Exit::Unknown => true,
            Exit::Code(code) => {
                stop.signal.is_some_and(|signal| code == SIGNAL_STATUS.saturating_add(signal))
            }
            Exit::Signal(signal) => stop.signal == Some(signal) || (killed && signal == KILL),
        };
        if as_told {
            None
        } else if oom {
            Some(Cause::Oom)
        } else {
            Some(Cause::Exit(exit))
        }
    }
}

/// Why a worker is gone, and how it ended where that is worth a word: `was restarted by request, and was killed by
/// signal 6 (ABRT)`.
#[must_use]
pub fn farewell(cause: &Cause, ended: Option<&Cause>) -> String {
    match ended {
        None => cause.to_string(),
        Some(ended) => format!("{cause}{JOINT}{}", how_it_ended(ended)),
    }
}

/// `exited with status 1`, `was killed by signal 6 (ABRT)`.
pub(super) fn how_it_ended(ended: &Cause) -> String {
    if matches!(ended, Cause::Exit(Exit::Code(_))) { ended.to_string() } else { format!("was {ended}") }
}

/// The two parts of a [`farewell`]: why, and how it ended.
#[must_use]
pub fn parts_of_farewell(words: &str) -> (&str, Option<&str>) {
    let whole = (words, None);
    let Some((cause, tail)) = words.rsplit_once(JOINT) else { return whole };
    let ended = tail.strip_prefix("was ").unwrap_or(tail);
    let known = ["exited with status ", "killed by "].iter().any(|start| ended.starts_with(start));
    if known { (cause, Some(ended)) } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_end_are_read_back_in_two_parts() {
        for ended in [Cause::Exit(Exit::Code(1)), Cause::Exit(Exit::Signal(6)), Cause::Oom] {
            let words = farewell(&Cause::Restarted, Some(&ended));
            let told = ended.to_string();
            assert_eq!(
                parts_of_farewell(&words),
                ("was restarted by request", Some(told.as_str())),
                "{words}"
            );
        }
        let words = farewell(&Cause::Restarted, Some(&Cause::Exit(Exit::Signal(6))));
        assert_eq!(words, "was restarted by request, and was killed by signal 6 (ABRT)");
        assert_eq!(parts_of_farewell(&farewell(&Cause::Age, None)), ("reached its lifetime", None));
        let sick = Cause::Unhealthy("no, and no again".into());
        assert_eq!(
            parts_of_farewell(&sick.to_string()),
            ("failed its health checks: no, and no again", None)
        );
    }
}
