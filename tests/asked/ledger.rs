//! What the supervisor itself says that it was asked for, in the order in which it took it in, played once more in
//! a model of a few lines; and the comparison of all that with what the clients were told.
//!
//! The log has a line for every wish that was taken in, with the process that it came from, and one for every
//! wish that was refused after that. Nothing else goes into the model: neither what clients meant to ask for, nor
//! what they were told.

use std::collections::BTreeMap;

use super::answer::{Call, Ending};

/// Asked for at the very end it changes nothing, and all that happened before stands before it in the log, which is
/// written a little later than it is answered.
pub(crate) const LAST_WORDS: &str = "scaling down by 0 workers";

/// A wish that was taken in.
#[derive(Debug, Clone)]
struct Entry {
    /// The line of the log.
    line: usize,
    words: String,
    /// None if the asker had died before the bus was asked who it was: dbus-daemon 1.16 tells no pid of the dead.
    pid: Option<u32>,
    refused: bool,
    /// What a scaling says when it is done.
    scaled: Option<String>,
}

/// What was taken in of one asker in the same words, and what that asker was told.
type Asker<'a> = (Vec<&'a Entry>, Vec<&'a Call>);

/// A rollout that was begun.
#[derive(Debug, Clone, Copy)]
struct Rollout {
    line: usize,
    generation: u64,
    /// It serves, or served.
    done: bool,
}

/// The log, read.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    rollouts: Vec<Rollout>,
    /// How many workers there are to be in the end.
    pub(crate) wanted: u32,
}

/// `4 workers` as 4.
fn count(text: &str) -> u32 {
    text.split(' ').next().expect("a number").parse().expect("a number")
}

fn in_words(count: u32) -> String {
    format!("{count} worker{}", if count == 1 { "" } else { "s" })
}

impl Ledger {
    /// Reads the lines of a log that begins with `wanted` workers of generation 1.
    pub(crate) fn read(log: &[String], wanted: u32) -> Self {
        let mut ledger = Self { entries: Vec::new(), rollouts: Vec::new(), wanted };
        for (line, text) in log.iter().enumerate() {
            ledger.take(line, text);
        }
        for entry in ledger.entries.iter_mut().filter(|entry| !entry.refused) {
            let before = ledger.wanted;
            ledger.wanted = if let Some(to) = entry.words.strip_prefix("scaling to ") {
                count(to)
            } else if let Some(more) = entry.words.strip_prefix("scaling up by ") {
                before + count(more)
            } else if let Some(fewer) = entry.words.strip_prefix("scaling down by ") {
                before.saturating_sub(count(fewer)).max(before.min(1))
            } else {
                continue;
            };
            let after = in_words(ledger.wanted);
            entry.scaled = Some(if ledger.wanted == before {
                format!("there {} {after} already", if before == 1 { "is" } else { "are" })
            } else {
                format!("scaled from {before} to {after}")
            });
        }
        ledger
    }

    fn take(&mut self, line: usize, text: &str) {
        if let Some((words, who)) = text.split_once(" was asked for by user ") {
            let pid = who.split_once(" (pid ").map(|(_, pid)| {
                let pid = pid.strip_suffix(')').and_then(|pid| pid.parse().ok());
                pid.unwrap_or_else(|| panic!("no pid: {text}"))
            });
            let words = words.trim_start_matches("info: ").to_owned();
            self.entries.push(Entry { line, words, pid, refused: false, scaled: None });
        } else if let Some((words, _)) = text.split_once(" was refused: ") {
            let words = words.trim_start_matches("warning: ");
            let entry = self.entries.last_mut().filter(|entry| entry.words == words && !entry.refused);
            entry.unwrap_or_else(|| panic!("nobody was refused this: {text}")).refused = true;
        } else if let Some((_, generation)) =
            text.split_once("reloading to generation ").or_else(|| text.split_once("workers, as generation "))
        {
            let generation = generation.trim().parse().expect("a number");
            let last = self.rollouts.last().map_or(1, |last| last.generation);
            assert_eq!(generation, last + 1, "a generation out of order: {text}");
            self.rollouts.push(Rollout { line, generation, done: false });
        } else if let Some((before, _)) = text.split_once(" serves with ") {
            let generation: u64 = before.rsplit(' ').next().expect("a number").parse().expect("a number");
            let last = self.rollouts.last_mut().filter(|last| last.generation == generation && !last.done);
            last.unwrap_or_else(|| panic!("nobody began this: {text}")).done = true;
        }
        assert!(!text.contains("records were"), "the log has a gap: {text}");
    }

    /// The generation that serves in the end.
    pub(crate) fn generation(&self) -> u64 {
        self.rollouts.iter().rev().find(|rollout| rollout.done).map_or(1, |rollout| rollout.generation)
    }

    /// How many wishes were taken in.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What every client was told is what was taken in and done; nothing was taken in that nobody asked for, but
    /// for what is in `besides`.
    pub(crate) fn compare(&self, calls: &[Call], besides: &[&str]) {
        let mut by_asker: BTreeMap<(u32, String), Asker<'_>> = BTreeMap::new();
        let mut of_the_dead: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| !besides.contains(&entry.words.as_str())) {
            match entry.pid {
                Some(pid) => by_asker.entry((pid, entry.words.clone())).or_default().0.push(entry),
                None => *of_the_dead.entry(&entry.words).or_default() += 1,
            }
        }
        for call in calls.iter().filter(|call| !call.wish.only_looks()) {
            by_asker.entry((call.pid, call.wish.logged())).or_default().1.push(call);
        }
        for (asker, (entries, calls)) in &by_asker {
            let told = calls.iter().filter(|call| matches!(call.ending, Ending::Verdict { .. })).count();
            let gone = calls.iter().filter(|call| matches!(call.ending, Ending::Gone)).count();
            assert!(
                (told..=told + gone).contains(&entries.len()),
                "{asker:?}: {} were taken in, {told} were answered, {gone} left before: {entries:?} {calls:?}",
                entries.len()
            );
            if let Some(dead) = of_the_dead.get_mut(asker.1.as_str()) {
                *dead = dead.saturating_sub(told + gone - entries.len());
            }
            let mut left: Vec<&Entry> = entries.clone();
            // First those that name their wish: the others may be any of what is left.
            let exact =
                |call: &&Call| matches!(&call.ending, Ending::Verdict { outcome, .. } if outcome == "done");
            let (named, others): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| exact(call));
            for call in named.into_iter().chain(others) {
                if let Ending::Verdict { outcome, message, generation } = &call.ending {
                    self.judge(call, outcome, message, *generation, &mut left);
                }
            }
        }
        of_the_dead.retain(|_, left| *left > 0);
        assert!(of_the_dead.is_empty(), "taken in of nobody who left: {of_the_dead:?}");
    }

    /// One verdict against the wishes of its asker that nothing was said of yet.
    fn judge(
        &self,
        call: &Call,
        outcome: &str,
        message: &str,
        generation: Option<u64>,
        left: &mut Vec<&Entry>,
    ) {
        let refused = message.contains("too many requests are waiting");
        let is_scaling = call.wish.verb() == "scale";
        // What follows names the slots that were stopped then: their wishes are not played.
        let scaled = message.split_once("; ").map_or(message, |(scaled, _)| scaled);
        let place = left.iter().position(|entry| {
            entry.refused == refused
                && (!is_scaling || outcome != "done" || entry.scaled.as_deref() == Some(scaled))
        });
        let place = place.unwrap_or_else(|| panic!("{call:?} is of no wish that was taken in: {left:?}"));
        let entry = left.remove(place);
        // Of a process of this test's own it is not known which of its wishes this one is.
        let is_one_of_many = call.pid == std::process::id();
        // Scalings take their turns; a slot may be restarted ahead of those that wait.
        let number = message.strip_prefix("a later request set the pool to ").filter(|_| is_scaling);
        if let Some(number) = number {
            let later = |other: &Entry| {
                let set = other.scaled.as_deref().is_some_and(|scaled| scaled.contains(number));
                set && (is_one_of_many || other.line > entry.line)
            };
            assert!(self.entries.iter().any(later), "{call:?}: there was no later one");
        }
        let Some(generation) = generation.filter(|_| outcome == "done" && message.contains(" serves with "))
        else {
            return;
        };
        let rollout = self.rollouts.iter().find(|rollout| rollout.generation == generation && rollout.done);
        let rollout = rollout.unwrap_or_else(|| panic!("{call:?}: no such generation was done"));
        assert!(is_one_of_many || rollout.line > entry.line, "{call:?}: begun before it was asked for");
    }
}
