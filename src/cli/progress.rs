//! The live lines of a reload: `worker 2 started … ready 1.4s … old drained 0.6s`.
//!
//! Built from what happens, a line for each new worker; nothing is measured here that the supervisor did not say.
//! Others may reload, scale and restart at the same time: what is not part of one's own wish makes no line.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::print::harmless;
use super::state::Happening;
use crate::time::{Monotonic, format_span};

/// So many workers are followed at a time.
const MAX_LINES: usize = 64;

/// A line that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its text up to now.
    pub(crate) text: String,
    /// Nothing more will be added.
    pub(crate) complete: bool,
}

/// Which workers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Follow {
    /// All that start.
    #[default]
    All,
    /// Those of one slot.
    Slot(u32),
    /// Those of the rollout that was asked for, once it begins: until then others may have their turn.
    NextRollout,
    /// Those of the rollout to this generation.
    Rollout(u64),
    /// The rollout to this generation is taken back: also the old ones that come again.
    WayBack(u64),
}

/// The line of one new worker.
#[derive(Debug)]
struct WorkerLine {
    slot: u32,
    generation: Option<u64>,
    text: String,
    /// The one that it takes the place of, once that is asked to leave.
    old: Option<Old>,
}

/// A worker that is leaving.
#[derive(Debug)]
struct Old {
    worker: u64,
    since: Monotonic,
    killed: bool,
}

/// The lines of one wish.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    follow: Follow,
    /// By the new worker's number.
    lines: BTreeMap<u64, WorkerLine>,
}

impl Progress {
    /// Nothing has happened yet.
    pub(crate) fn new(follow: Follow) -> Self {
        Self { follow, lines: BTreeMap::new() }
    }

    /// Something happened; the line that changed by it.
    pub(crate) fn happened(&mut self, happening: &Happening, now: Monotonic) -> Option<Line> {
        let (Some(slot), Some(worker)) = (happening.slot, happening.worker) else {
            self.rollout_happened(happening);
            return None;
        };
        let is_new = self.lines.contains_key(&worker);
        match happening.event.as_str() {
            "worker-started" if self.follows(happening) && self.lines.len() < MAX_LINES => {
                let text = format!("worker {slot} started");
                self.lines.insert(
                    worker,
                    WorkerLine { slot, generation: happening.generation, text: text.clone(), old: None },
                );
                Some(Line { text, complete: false })
            }
            "worker-ready" if is_new => {
                let took = happening.took_usec.map(Duration::from_micros);
                let took = took.map_or_else(String::new, |took| format!(" {}", format_span(took)));
                self.add(worker, &format!("ready{took}"), false)
            }
            "worker-exited" if is_new => {
                let reason = harmless(happening.reason.as_deref().unwrap_or("left"));
                self.add(worker, &reason, true)
            }
            "worker-draining" if !is_new => {
                // The latest newcomer of its slot takes its place.
                let line = self.lines.values_mut().rev().find(|line| line.slot == slot)?;
                line.old.get_or_insert(Old { worker, since: now, killed: false });
                None
            }
            "worker-killed" => {
                self.old(worker)?.1.killed = true;
                None
            }
            "worker-stuck" => {
                let (newcomer, _) = self.old(worker)?;
                self.add(newcomer, "old one killed, held by the kernel", true)
            }
            "worker-exited" => {
                let (newcomer, old) = self.old(worker)?;
                let took = format_span(now.since(old.since));
                let words = match &happening.ended {
                    Some(ended) => match happening.ended_signal.and_then(|it| Signal::try_from(it).ok()) {
                        Some(signal) => format!("old crashed ({signal})"),
                        None => format!("old {}", harmless(ended)),
                    },
                    None if old.killed => format!("old killed after {took}"),
                    None => format!("old drained {took}"),
                };
                self.add(newcomer, &words, true)
            }
            _ => None,
        }
    }

    /// Takes note of where the rollout stands that is followed.
    fn rollout_happened(&mut self, happening: &Happening) {
        let Some(generation) = happening.generation else { return };
        self.follow = match (self.follow, happening.event.as_str()) {
            (Follow::NextRollout, "reload-started") => Follow::Rollout(generation),
            (Follow::Rollout(own), "reload-aborting") if own == generation => Follow::WayBack(own),
            // It ended and no verdict came: it was another's, which began before one's own was heard.
            (Follow::Rollout(own) | Follow::WayBack(own), "reload-finished") if own == generation => {
                Follow::NextRollout
            }
            (follow, _) => follow,
        };
    }

    /// Whether a worker that starts is part of one's own wish.
    fn follows(&self, started: &Happening) -> bool {
        match self.follow {
            Follow::All | Follow::WayBack(_) => true,
            Follow::Slot(slot) => started.slot == Some(slot),
            Follow::NextRollout => false,
            Follow::Rollout(generation) => started.generation == Some(generation),
        }
    }

    /// A worker that is leaving, with the number of the one that takes its place.
    fn old(&mut self, worker: u64) -> Option<(u64, &mut Old)> {
        self.lines.iter_mut().find_map(|(newcomer, line)| {
            let old = line.old.as_mut().filter(|old| old.worker == worker)?;
            Some((*newcomer, old))
        })
    }

    fn add(&mut self, worker: u64, words: &str, complete: bool) -> Option<Line> {
        let line = self.lines.get_mut(&worker)?;
        line.text = format!("{} … {words}", line.text);
        let text = line.text.clone();
        if complete {
            self.lines.remove(&worker);
        }
        Some(Line { text, complete })
    }

    /// The lines to which nothing was added at the end. `last`: the generation that one's own rollout led to; workers of
    /// later ones are another's, whose rollout began before one's own verdict was heard.
    pub(crate) fn rest(self, last: Option<u64>) -> impl Iterator<Item = String> {
        let is_own =
            move |line: &WorkerLine| last.is_none_or(|last| line.generation.is_none_or(|it| it <= last));
        self.lines.into_values().filter(is_own).map(|line| line.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, worker: u64, took_ms: Option<u64>) -> Happening {
        Happening {
            event: event.into(),
            worker: Some(worker),
            slot: Some(2),
            took_usec: took_ms.map(|ms| ms * 1000),
            ..Happening::default()
        }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_slot_that_went_well_is_one_line() {
        let mut progress = Progress::default();
        let started = progress.happened(&event("worker-started", 9, None), at(0)).unwrap();
        assert_eq!(started, Line { text: "worker 2 started".into(), complete: false });
        progress.happened(&event("worker-ready", 9, Some(1400)), at(1400)).unwrap();
        assert_eq!(progress.happened(&event("worker-draining", 2, None), at(1400)), None);
        let done = progress.happened(&event("worker-exited", 2, None), at(2000)).unwrap();
        let text = "worker 2 started … ready 1.4s … old drained 600ms".to_owned();
        assert_eq!(done, Line { text, complete: true });
        assert_eq!(progress.rest(None).count(), 0);
    }

    #[test]
    fn a_worker_that_failed_says_why() {
        let mut progress = Progress::default();
        progress.happened(&event("worker-started", 9, None), at(0));
        let exit =
            Happening { reason: Some("exited with status 1".into()), ..event("worker-exited", 9, None) };
        let line = progress.happened(&exit, at(10)).unwrap();
        assert_eq!(line, Line { text: "worker 2 started … exited with status 1".into(), complete: true });
    }

    #[test]
    fn a_line_that_was_not_finished_is_not_lost() {
        let mut progress = Progress::default();
        progress.happened(&event("worker-started", 9, None), at(0));
        assert_eq!(progress.rest(None).collect::<Vec<_>>(), ["worker 2 started"]);
    }

    fn of_generation(generation: u64, happening: Happening) -> Happening {
        Happening { generation: Some(generation), ..happening }
    }

    fn rollout(event: &str, generation: u64) -> Happening {
        Happening { event: event.into(), generation: Some(generation), ..Happening::default() }
    }

    /// The end of a line whose old worker drained from 0 to 2000 ms and ended so.
    fn old_one(killed: bool, ended: Option<&str>, ended_signal: Option<i32>) -> String {
        let mut progress = Progress::default();
        progress.happened(&event("worker-started", 9, None), at(0));
        progress.happened(&event("worker-draining", 2, None), at(0));
        if killed {
            assert_eq!(progress.happened(&event("worker-killed", 2, None), at(2000)), None);
        }
        let exit =
            Happening { ended: ended.map(str::to_owned), ended_signal, ..event("worker-exited", 2, None) };
        progress.happened(&exit, at(2000)).unwrap().text
    }

    #[test]
    fn an_old_worker_that_was_killed_or_crashed_did_not_drain() {
        let told = |killed, ended, signal| {
            let line = old_one(killed, ended, signal);
            line.strip_prefix("worker 2 started … old ").unwrap().to_owned()
        };
        assert_eq!(told(true, None, None), "killed after 2s");
        // The words are for people: what kind of end it was stands beside them.
        assert_eq!(told(false, Some("whatever"), Some(6)), "crashed (SIGABRT)");
        assert_eq!(told(false, Some("exited with status 1"), None), "exited with status 1");
        assert_eq!(told(false, Some("killed by signal 64"), Some(64)), "killed by signal 64");
    }

    #[test]
    fn of_two_reloads_at_once_each_shows_its_own_workers() {
        let mut progress = Progress::new(Follow::NextRollout);
        // The other's is under way when this one is asked for.
        for (happening, ms) in [
            (of_generation(2, event("worker-started", 5, None)), 0),
            (of_generation(2, event("worker-ready", 5, Some(100))), 100),
            (of_generation(1, event("worker-draining", 1, None)), 100),
            (rollout("reload-finished", 2), 200),
            (rollout("reload-started", 3), 200),
            // The first worker of all takes its time; its end is not that of the one replaced now.
            (of_generation(1, event("worker-exited", 1, None)), 350),
        ] {
            assert_eq!(progress.happened(&happening, at(ms)), None, "{happening:?}");
        }
        progress.happened(&of_generation(3, event("worker-started", 7, None)), at(300)).unwrap();
        assert_eq!(progress.happened(&of_generation(2, event("worker-draining", 5, None)), at(400)), None);
        assert_eq!(progress.happened(&of_generation(1, event("worker-exited", 1, None)), at(450)), None);
        let done = progress.happened(&of_generation(2, event("worker-exited", 5, None)), at(500)).unwrap();
        assert_eq!(done, Line { text: "worker 2 started … old drained 100ms".into(), complete: true });
    }

    #[test]
    fn a_worker_that_the_next_reload_replaces_keeps_its_own_line() {
        let mut progress = Progress::default();
        progress.happened(&event("worker-started", 5, None), at(0)).unwrap();
        progress.happened(&event("worker-started", 7, None), at(100)).unwrap();
        progress.happened(&event("worker-ready", 7, Some(10)), at(110)).unwrap();
        let replaced = Happening {
            reason: Some("was replaced by a new generation".into()),
            ..event("worker-exited", 5, None)
        };
        let line = progress.happened(&replaced, at(200)).unwrap();
        assert_eq!(line.text, "worker 2 started … was replaced by a new generation");
        assert_eq!(progress.rest(None).collect::<Vec<_>>(), ["worker 2 started … ready 10ms"]);
    }

    #[test]
    fn a_reload_that_is_taken_back_shows_the_old_ones_that_come_again() {
        let mut progress = Progress::new(Follow::NextRollout);
        progress.happened(&rollout("reload-started", 2), at(0));
        assert_eq!(progress.happened(&of_generation(1, event("worker-started", 3, None)), at(0)), None);
        progress.happened(&rollout("reload-aborting", 2), at(10));
        assert!(progress.happened(&of_generation(1, event("worker-started", 4, None)), at(20)).is_some());
        progress.happened(&rollout("reload-finished", 2), at(30));
        assert_eq!(progress.happened(&of_generation(2, event("worker-started", 5, None)), at(40)), None);
    }
}
