//! The live lines of a reload: `worker 2 started … ready 1.4s … old drained 0.6s`.
//!
//! Built from what happens, a line for each slot; nothing is measured here that the supervisor did not say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::print::harmless;
use super::state::Happening;
use crate::time::{Monotonic, format_span};

/// So many slots are followed at a time.
const MAX_SLOTS: usize = 64;

/// A line that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its text up to now.
    pub(crate) text: String,
    /// Nothing more will be added.
    pub(crate) complete: bool,
}

#[derive(Debug, Default)]
struct SlotLine {
    text: String,
    draining_since: Option<Monotonic>,
}

/// The lines of one reload or restart.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    slots: BTreeMap<u32, SlotLine>,
    /// The slot of each worker that was seen; the word for its end needs it.
    newcomers: BTreeMap<u64, u32>,
}

impl Progress {
    /// Something happened; the line that changed by it.
    pub(crate) fn happened(&mut self, happening: &Happening, now: Monotonic) -> Option<Line> {
        let slot = happening.slot?;
        let worker = happening.worker?;
        if self.slots.len() >= MAX_SLOTS && !self.slots.contains_key(&slot) {
            return None;
        }
        let known = self.newcomers.get(&worker) == Some(&slot);
        match happening.event.as_str() {
            "worker-started" => {
                self.newcomers.insert(worker, slot);
                let before = self.slots.insert(slot, SlotLine::default());
                let line = self.slots.entry(slot).or_default();
                line.text = format!("worker {slot} started");
                line.draining_since = before.and_then(|before| before.draining_since);
                Some(Line { text: line.text.clone(), complete: false })
            }
            "worker-ready" if known => {
                let took = happening.took_usec.map(Duration::from_micros);
                let took = took.map_or_else(String::new, |took| format!(" {}", format_span(took)));
                self.add(slot, &format!("ready{took}"), false)
            }
            "worker-draining" if !known => {
                self.slots.entry(slot).or_default().draining_since = Some(now);
                None
            }
            "worker-stuck" if !known => self.add(slot, "old one killed, held by the kernel", true),
            "worker-exited" if known => {
                let reason = harmless(happening.reason.as_deref().unwrap_or("left"));
                self.newcomers.remove(&worker);
                self.add(slot, &reason, true)
            }
            "worker-exited" => {
                let since = self.slots.get(&slot).and_then(|line| line.draining_since);
                let took =
                    since.map_or_else(String::new, |since| format!(" {}", format_span(now.since(since))));
                self.add(slot, &format!("old drained{took}"), true)
            }
            _ => None,
        }
    }

    fn add(&mut self, slot: u32, words: &str, complete: bool) -> Option<Line> {
        let line = self.slots.get_mut(&slot).filter(|line| !line.text.is_empty())?;
        line.text = format!("{} … {words}", line.text);
        let text = line.text.clone();
        if complete {
            self.slots.remove(&slot);
        }
        Some(Line { text, complete })
    }

    /// The lines to which nothing was added at the end.
    pub(crate) fn rest(self) -> impl Iterator<Item = String> {
        self.slots.into_values().map(|line| line.text).filter(|text| !text.is_empty())
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
        assert_eq!(progress.rest().count(), 0);
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
        assert_eq!(progress.rest().collect::<Vec<_>>(), ["worker 2 started"]);
    }
}
