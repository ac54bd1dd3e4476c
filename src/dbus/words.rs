//! The words of `org.ganger1`: how states and verdicts are spelled for people and programs, and the one-line
//! status. It decides no state, only its name.

use crate::pool::{Outcome, Phase, PoolPhase, SlotPhase, View};

/// The pool's state in a word.
#[must_use]
pub const fn pool_word(phase: PoolPhase) -> &'static str {
    match phase {
        PoolPhase::Starting => "starting",
        PoolPhase::Serving => "serving",
        PoolPhase::Degraded => "degraded",
        PoolPhase::Down => "down",
        PoolPhase::Reloading => "reloading",
        PoolPhase::Stopping => "stopping",
    }
}

/// A slot's state in a word.
#[must_use]
pub const fn slot_word(phase: SlotPhase) -> &'static str {
    match phase {
        SlotPhase::Starting => "starting",
        SlotPhase::Ready => "ready",
        SlotPhase::Waiting => "waiting",
        SlotPhase::Failed => "failed",
        SlotPhase::Finished => "finished",
        SlotPhase::Leaving => "leaving",
        SlotPhase::Stopped => "stopped",
    }
}

/// A worker's phase in a word.
#[must_use]
pub const fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Draining => "draining",
        Phase::Stopping => "stopping",
        Phase::Stuck => "stuck",
    }
}

const OUTCOMES: [(Outcome, &str, &str); 7] = [
    (Outcome::Done, "done", "org.ganger1.Error.Done"),
    (Outcome::Failed, "failed", "org.ganger1.Error.Failed"),
    (Outcome::Partly, "partly", "org.ganger1.Error.Partly"),
    (Outcome::NotFound, "not-found", "org.ganger1.Error.NotFound"),
    (Outcome::Superseded, "superseded", "org.ganger1.Error.Superseded"),
    (Outcome::Refused, "refused", "org.ganger1.Error.Refused"),
    (Outcome::Stopped, "stopped", "org.ganger1.Error.Stopped"),
];

/// What came of a wish, in a word.
#[must_use]
pub fn outcome_word(outcome: Outcome) -> &'static str {
    OUTCOMES.iter().find(|(known, _, _)| *known == outcome).map_or("failed", |(_, word, _)| word)
}

/// The D-Bus error that carries an outcome other than `Done`.
pub(super) fn outcome_error(outcome: Outcome) -> &'static str {
    OUTCOMES.iter().find(|(known, _, _)| *known == outcome).map_or("", |(_, _, error)| error)
}

/// The outcome that a D-Bus error carries.
pub(super) fn outcome_of_error(name: &str) -> Option<Outcome> {
    OUTCOMES.iter().find(|(_, _, error)| *error == name).map(|(outcome, _, _)| *outcome)
}

/// The outcome that a word means.
pub(super) fn outcome_of_word(word: &str) -> Option<Outcome> {
    OUTCOMES.iter().find(|(_, known, _)| *known == word).map(|(outcome, _, _)| *outcome)
}

/// The pool in one line, for the `Status` property and `STATUS=`: `4/4 workers ready, generation 2`.
#[must_use]
pub fn status_line(view: &View) -> String {
    let workers = format!("{}/{} workers ready, generation {}", view.ready, view.wanted, view.generation);
    let so_many = |phase, word| match view.slots.iter().filter(|slot| slot.phase == phase).count() {
        0 => String::new(),
        count => format!(", {count} {word}"),
    };
    let (failed, stopped) = (so_many(SlotPhase::Failed, "failed"), so_many(SlotPhase::Stopped, "stopped"));
    let now = match (&view.reload, view.phase) {
        (_, PoolPhase::Stopping) => ", stopping".to_owned(),
        (Some(reload), _) if reload.aborting => {
            format!(", taking back generation {}", reload.generation)
        }
        (Some(reload), _) => {
            format!(", reloading to generation {}: {}/{}", reload.generation, reload.done, reload.total)
        }
        (None, _) => String::new(),
    };
    format!("{workers}{failed}{stopped}{now}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbus::diff::samples;

    #[test]
    fn the_status_says_how_many_are_ready_and_what_is_under_way() {
        let mut view = samples::view();
        assert_eq!(status_line(&view), "2/2 workers ready, generation 1, reloading to generation 2: 1/2");
        if let Some(reload) = &mut view.reload {
            reload.aborting = true;
        }
        assert_eq!(status_line(&view), "2/2 workers ready, generation 1, taking back generation 2");
        view.reload = None;
        view.slots[0].phase = SlotPhase::Failed;
        assert_eq!(status_line(&view), "2/2 workers ready, generation 1, 1 failed");
        (view.ready, view.slots[1].phase) = (1, SlotPhase::Stopped);
        assert_eq!(status_line(&view), "1/2 workers ready, generation 1, 1 failed, 1 stopped");
        view.phase = PoolPhase::Stopping;
        assert_eq!(status_line(&view), "1/2 workers ready, generation 1, 1 failed, 1 stopped, stopping");
    }

    #[test]
    fn each_outcome_has_a_word_and_an_error_of_its_own() {
        for (outcome, word, name) in OUTCOMES {
            assert_eq!((outcome_of_word(word), outcome_of_error(name)), (Some(outcome), Some(outcome)));
            assert_eq!((outcome_word(outcome), outcome_error(outcome)), (word, name));
        }
        assert_eq!(outcome_of_error("org.freedesktop.DBus.Error.Failed"), None);
    }
}
