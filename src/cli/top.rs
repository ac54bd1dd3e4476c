//! What `ganger top` knows, and what its keys mean. How it looks is [`draw`]'s; neither sees a terminal.

pub(crate) mod draw;
mod history;

use std::collections::BTreeMap;
use std::time::Duration;

use self::history::{History, Sample};
use super::print::harmless_head;
use super::rows;
use super::screen::Key;
use super::state::AppState;
use super::verbs::list::Entry;
use crate::dbus::Wish;
use crate::pool::{Command, ScaleTo, Slot};
use crate::time::Monotonic;

/// How often all apps are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// So many lines of the journal are read; as many are shown as there is room for.
pub(crate) const LOG_LINES: usize = 40;
/// So many lines are a page: less than what fits 80x24, so that some of the last one stays in sight.
const PAGE: usize = 15;

/// What a line of the table stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    /// The app.
    pub(crate) app: String,
    /// One of its slots.
    pub(crate) slot: Option<u32>,
    /// The worker in it.
    pub(crate) worker: Option<u64>,
}

impl Selected {
    fn app(app: &str) -> Self {
        Self { app: app.to_owned(), slot: None, worker: None }
    }

    /// `api`, `api:2`.
    fn name(&self) -> String {
        self.slot.map_or_else(|| self.app.clone(), |slot| format!("{}:{slot}", self.app))
    }
}

/// What is to be done after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing but drawing again.
    Draw,
    /// The journal of the selected line is wanted.
    ReadLogs,
    /// A supervisor is to be asked.
    Ask(String, Wish),
    /// Leave.
    Leave,
}

/// A wish that waits for a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    text: String,
    app: String,
    wish: Wish,
}

/// Processor time of a worker when it was seen.
#[derive(Debug, Clone, Copy)]
struct Reading {
    seen: Monotonic,
    /// Microseconds.
    cpu: u64,
    /// Thousandths of a CPU since the reading before.
    rate: Option<u64>,
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Top {
    entries: Vec<Entry>,
    /// The line that is selected, counted from the first app.
    line: usize,
    question: Option<Question>,
    message: String,
    /// Processor time of each worker at the last look.
    used: BTreeMap<(String, u64), Reading>,
    /// Of each app, and of each of its workers.
    histories: BTreeMap<(String, Option<u64>), History>,
    /// The journal is not to be shown.
    quiet: bool,
    /// The last lines of a selected line's journal.
    logs: Option<(Selected, Vec<String>)>,
}

impl Top {
    /// Takes a new look at all apps in: what workers used since the last one becomes their processor time.
    pub(crate) fn looked(&mut self, mut entries: Vec<Entry>, now: Monotonic) {
        let selected = self.selected();
        self.measure(&mut entries, now);
        self.remember(&entries);
        self.entries = entries;
        self.select(selected);
    }

    fn measure(&mut self, entries: &mut [Entry], now: Monotonic) {
        let mut used = BTreeMap::new();
        for entry in entries {
            let Entry::Answered(app) = entry else { continue };
            for worker in &mut app.workers {
                let Some(cpu) = worker.cpu_usec else { continue };
                let key = (app.app.clone(), worker.worker);
                let mut reading =
                    Reading { seen: worker.measured.unwrap_or(now), cpu, rate: worker.cpu_permille };
                if let Some(last) = self.used.get(&key) {
                    let span = u64::try_from(reading.seen.since(last.seen).as_micros()).unwrap_or(u64::MAX);
                    let spent = cpu.saturating_sub(last.cpu).saturating_mul(1000);
                    // What was not looked at anew is as it was.
                    reading.rate = spent.checked_div(span).or(last.rate);
                    worker.cpu_permille = reading.rate;
                }
                used.insert(key, reading);
            }
        }
        self.used = used;
    }

    /// Adds this look to the histories; those of apps and workers that are gone go.
    fn remember(&mut self, entries: &[Entry]) {
        let mut histories = BTreeMap::new();
        for entry in entries {
            let Entry::Answered(app) = entry else { continue };
            let workers = app.workers.iter().map(|it| (Some(it.worker), Sample::of_worker(it)));
            for (worker, sample) in std::iter::once((None, Sample::of_app(app))).chain(workers) {
                let key = (app.app.clone(), worker);
                let mut history = self.histories.remove(&key).unwrap_or_default();
                history.add(sample);
                histories.insert(key, history);
            }
        }
        self.histories = histories;
    }

    /// The selection stays with what was selected: with its worker, its slot, or at least its app.
    fn select(&mut self, wanted: Option<Selected>) {
        let lines = self.lines();
        let last = lines.len().saturating_sub(1);
        let found = wanted.and_then(|wanted| {
            let slot = |line: &Selected| line.app == wanted.app && line.slot == wanted.slot;
            lines
                .iter()
                .position(|line| *line == wanted)
                .or_else(|| lines.iter().position(slot))
                .or_else(|| lines.iter().position(|line| line.app == wanted.app))
        });
        self.line = found.unwrap_or(self.line).min(last);
    }

    /// Something to tell at the foot.
    pub(crate) fn tell(&mut self, message: &str) {
        self.message = harmless_head(message);
    }

    /// The last lines of the journal of what is or was selected.
    pub(crate) fn read(&mut self, of: Selected, lines: Vec<String>) {
        self.logs = Some((of, lines));
    }

    /// The journal is shown.
    pub(crate) fn shows_logs(&self) -> bool {
        !self.quiet
    }

    /// What is selected.
    pub(crate) fn selected(&self) -> Option<Selected> {
        self.lines().into_iter().nth(self.line)
    }

    /// What each line of the table stands for: in the order of its rows.
    fn lines(&self) -> Vec<Selected> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Other { app, .. } => lines.push(Selected::app(app)),
                Entry::Answered(app) => {
                    lines.push(Selected::app(&app.app));
                    let rows = rows::order_of_rows(app).into_iter();
                    let of_row = |(slot, worker)| Selected { app: app.app.clone(), slot: Some(slot), worker };
                    lines.extend(rows.map(of_row));
                }
            }
        }
        lines
    }

    /// The apps that answered.
    fn running(&self) -> impl Iterator<Item = &AppState> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Answered(app) => Some(&**app),
            Entry::Other { .. } => None,
        })
    }

    /// What a key does.
    pub(crate) fn key(&mut self, key: Key) -> Action {
        if key == Key::Quit {
            return Action::Leave;
        }
        if let Some(question) = self.question.take() {
            return match key {
                Key::Char('y' | 'Y') => {
                    self.message = format!("{}: asked", question.text);
                    Action::Ask(question.app, question.wish)
                }
                Key::Resized | Key::Suspend => {
                    self.question = Some(question);
                    Action::Draw
                }
                Key::Char(_)
                | Key::Up
                | Key::Down
                | Key::PageUp
                | Key::PageDown
                | Key::Home
                | Key::End
                | Key::Escape
                | Key::Enter
                | Key::Quit => {
                    self.message = format!("{}: not done", question.text);
                    Action::Draw
                }
            };
        }
        if !matches!(key, Key::Resized | Key::Suspend) {
            self.message.clear();
        }
        let last = self.lines().len().saturating_sub(1);
        match key {
            Key::Char('q') | Key::Quit => return Action::Leave,
            Key::Up | Key::Char('k') => self.line = self.line.saturating_sub(1),
            Key::Down | Key::Char('j') => self.line = (self.line + 1).min(last),
            Key::PageUp => self.line = self.line.saturating_sub(PAGE),
            Key::PageDown => self.line = (self.line + PAGE).min(last),
            Key::Home => self.line = 0,
            Key::End => self.line = last,
            Key::Char('l') => self.quiet = !self.quiet,
            Key::Char(letter) => self.ask_about(letter),
            Key::Escape | Key::Enter | Key::Resized | Key::Suspend => {}
        }
        if self.shows_logs() { Action::ReadLogs } else { Action::Draw }
    }

    /// Keys that change something ask first.
    fn ask_about(&mut self, letter: char) {
        let Some(selected) = self.selected() else { return };
        let name = selected.name();
        let Selected { app, slot, .. } = selected;
        let (text, wish) = match letter {
            'r' => {
                let origin = crate::dbus::Origin::Private;
                (format!("reload {app}"), Wish::Reload { origin })
            }
            's' => (format!("restart {name}"), Wish::Command(Command::Restart { slot: slot.map(Slot) })),
            'x' => (format!("reset {name}"), Wish::Command(Command::Reset { slot: slot.map(Slot) })),
            '+' => (format!("scale {app} +1"), Wish::Command(Command::Scale { to: ScaleTo::Up(1) })),
            '-' => (format!("scale {app} -1"), Wish::Command(Command::Scale { to: ScaleTo::Down(1) })),
            _ => return,
        };
        self.question = Some(Question { text, app, wish });
    }
}

#[cfg(test)]
mod tests {
    use super::history::Curve;
    use super::*;
    use crate::cli::rows::samples;

    fn top() -> Top {
        let mut top = Top::default();
        let mut web = samples::degraded();
        web.app = "web".into();
        let other = Entry::Other { app: "mail".into(), state: "inactive", configured: true };
        let entries =
            vec![Entry::Answered(Box::new(samples::reloading())), other, Entry::Answered(Box::new(web))];
        top.looked(entries, samples::now());
        top
    }

    #[test]
    fn pages_and_ends_are_reached_at_once() {
        let mut top = top();
        let last = top.lines().len() - 1;
        top.key(Key::End);
        assert_eq!(top.line, last);
        top.key(Key::PageUp);
        assert_eq!(top.line, last.saturating_sub(PAGE));
        top.key(Key::Home);
        assert_eq!(top.line, 0);
        top.key(Key::PageDown);
        assert_eq!(top.line, last.min(PAGE));
    }

    #[test]
    fn nothing_is_changed_without_a_yes() {
        let mut top = top();
        assert_eq!(top.key(Key::Char('r')), Action::ReadLogs);
        assert_eq!(top.question.as_ref().unwrap().text, "reload api");
        assert_eq!(top.key(Key::Enter), Action::Draw);
        top.key(Key::Down);
        top.key(Key::Char('s'));
        let wish = Wish::Command(Command::Restart { slot: Some(Slot(0)) });
        assert_eq!(top.key(Key::Char('y')), Action::Ask("api".into(), wish));
    }

    #[test]
    fn a_verdict_stands_until_the_next_key() {
        let mut top = top();
        top.tell("api: failed: not valid\nline 2");
        top.key(Key::Resized);
        assert_eq!(top.message, "api: failed: not valid …");
        top.key(Key::Down);
        assert_eq!(top.message, "");
    }

    #[test]
    fn the_selection_stays_with_its_worker_then_with_its_slot_then_with_its_app() {
        let with = |change: fn(&mut AppState)| {
            let mut app = samples::reloading();
            change(&mut app);
            let first = Entry::Other { app: "a".into(), state: "inactive", configured: true };
            vec![first, Entry::Answered(Box::new(app))]
        };
        let mut top = top();
        (0..3).for_each(|_| drop(top.key(Key::Down)));
        let drains = Selected { app: "api".into(), slot: Some(1), worker: Some(1) };
        assert_eq!(top.selected(), Some(drains.clone()));
        top.looked(with(|_| {}), samples::now());
        assert_eq!(top.selected(), Some(drains));
        top.looked(with(|app| app.workers.retain(|it| it.worker != 1)), samples::now());
        assert_eq!(top.selected().unwrap().worker, Some(5));
        top.looked(with(|app| (app.workers.clear(), app.slots.clear()).0), samples::now());
        assert_eq!(top.selected(), Some(Selected::app("api")));
        top.looked(Vec::new(), samples::now());
        assert_eq!(top.selected(), None);
    }

    #[test]
    fn histories_go_with_their_workers() {
        let mut top = top();
        let keys = |top: &Top| top.histories.keys().filter(|(app, _)| app == "api").count();
        assert_eq!(keys(&top), 6);
        let mut app = samples::reloading();
        app.workers.truncate(1);
        top.looked(vec![Entry::Answered(Box::new(app))], samples::now());
        assert_eq!((keys(&top), top.histories.len()), (2, 2));
    }

    #[test]
    fn the_journal_is_read_until_it_is_not_to_be_shown() {
        let mut top = top();
        assert_eq!(top.key(Key::Down), Action::ReadLogs);
        assert_eq!(top.key(Key::Char('l')), Action::Draw);
        assert_eq!(top.key(Key::Char('l')), Action::ReadLogs);
    }

    #[test]
    fn ctrl_c_leaves_even_from_a_question() {
        let mut top = top();
        top.key(Key::Char('r'));
        assert_eq!(top.key(Key::Quit), Action::Leave);
    }

    #[test]
    fn processor_time_is_that_since_the_last_look() {
        let mut top = Top::default();
        let at = |cpu_usec| {
            let mut app = samples::serving();
            app.workers.truncate(1);
            app.workers[0].cpu_usec = Some(cpu_usec);
            vec![Entry::Answered(Box::new(app))]
        };
        top.looked(at(1_000_000), samples::now());
        top.looked(at(1_500_000), samples::now() + Duration::from_secs(1));
        let rate = |top: &Top| match &top.entries[0] {
            Entry::Answered(app) => app.workers[0].cpu_permille,
            Entry::Other { .. } => None,
        };
        assert_eq!(rate(&top), Some(500));
        let of_app = &top.histories[&("api".to_owned(), None)];
        assert_eq!(of_app.values(Curve::Cpu).collect::<Vec<_>>(), [Some(500), Some(100)]);
        // The supervisor looked half a second ago, and then not again.
        for _ in 0..2 {
            let mut entries = at(1_600_000);
            if let Entry::Answered(app) = &mut entries[0] {
                app.workers[0].measured = Some(samples::now() + Duration::from_millis(1500));
            }
            top.looked(entries, samples::now() + Duration::from_secs(2));
            assert_eq!(rate(&top), Some(200));
        }
    }
}
