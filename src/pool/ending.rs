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
        Some(ended) => format!("{cause}, and {}", how_it_ended(ended)),
    }
}

/// `exited with status 1`, `was killed by signal 6 (ABRT)`.
pub(super) fn how_it_ended(ended: &Cause) -> String {
    if matches!(ended, Cause::Exit(Exit::Code(_))) { ended.to_string() } else { format!("was {ended}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_says_why_and_how_where_that_is_worth_a_word() {
        let words = |ended: &Cause| farewell(&Cause::Restarted, Some(ended));
        for (ended, how) in [
            (Cause::Exit(Exit::Signal(6)), "was killed by signal 6 (ABRT)"),
            (Cause::Exit(Exit::Code(1)), "exited with status 1"),
        ] {
            assert_eq!(words(&ended), format!("was restarted by request, and {how}"));
        }
        assert_eq!(farewell(&Cause::Age, None), "reached its lifetime");
    }
}
