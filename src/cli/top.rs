//! What `ganger top` knows, what its keys mean, and what it draws: all of it without a terminal.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::print::{Look, Style, harmless, harmless_head};
use super::rows;
use super::screen::Key;
use super::state::AppState;
use super::table::cut;
use super::verbs::list::Entry;
use crate::dbus::Wish;
use crate::pool::{Command, ScaleTo, Slot};
use crate::time::Monotonic;

/// So many samples of processor time are kept for each app.
const SAMPLES: usize = 30;
/// So many lines of the journal are shown.
pub(crate) const LOG_LINES: usize = 6;
/// So many lines are a page: less than what fits 80x24, so that some of the last one stays in sight.
const PAGE: usize = 15;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a line of the table stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    /// The app.
    pub(crate) app: String,
    /// One of its slots.
    pub(crate) slot: Option<u32>,
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

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Top {
    entries: Vec<Entry>,
    /// The line that is selected, counted from the first app.
    line: usize,
    question: Option<Question>,
    message: String,
    /// Processor time of each worker at the last look.
    used: BTreeMap<(String, u64), (Monotonic, u64)>,
    /// Thousandths of a CPU of each app, the latest last.
    history: BTreeMap<String, VecDeque<u64>>,
    logs: Option<Vec<String>>,
}

impl Top {
    /// Takes a new look at all apps in: what workers used since the last one becomes their processor time.
    pub(crate) fn looked(&mut self, mut entries: Vec<Entry>, now: Monotonic) {
        let mut used = BTreeMap::new();
        let mut history = BTreeMap::new();
        for entry in &mut entries {
            let Entry::Answered(app) = entry else { continue };
            for worker in &mut app.workers {
                let Some(cpu) = worker.cpu_usec else { continue };
                let key = (app.app.clone(), worker.worker);
                if let Some((then, before)) = self.used.get(&key) {
                    let span = u64::try_from(now.since(*then).as_micros()).unwrap_or(u64::MAX);
                    let spent = cpu.saturating_sub(*before).saturating_mul(1000);
                    worker.cpu_permille = spent.checked_div(span).or(worker.cpu_permille);
                }
                used.insert(key, (now, cpu));
            }
            let mut samples = self.history.remove(&app.app).unwrap_or_default();
            samples.push_back(app.workers.iter().filter_map(|worker| worker.cpu_permille).sum());
            if samples.len() > SAMPLES {
                samples.pop_front();
            }
            history.insert(app.app.clone(), samples);
        }
        (self.used, self.history, self.entries) = (used, history, entries);
        self.line = self.line.min(self.lines().len().saturating_sub(1));
    }

    /// Something to tell at the foot.
    pub(crate) fn tell(&mut self, message: &str) {
        self.message = harmless_head(message);
    }

    /// The last lines of the selected line's journal, while they are shown.
    pub(crate) fn read(&mut self, lines: Vec<String>) {
        if self.logs.is_some() {
            self.logs = Some(lines);
        }
    }

    /// The journal is shown.
    pub(crate) fn shows_logs(&self) -> bool {
        self.logs.is_some()
    }

    /// What is selected.
    pub(crate) fn selected(&self) -> Option<Selected> {
        self.lines().into_iter().nth(self.line)
    }

    /// What each line of the table stands for: in the order of [`rows::app_row`] and [`rows::worker_rows`].
    fn lines(&self) -> Vec<Selected> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Other { app, .. } => lines.push(Selected { app: app.clone(), slot: None }),
                Entry::Answered(app) => {
                    lines.push(Selected { app: app.app.clone(), slot: None });
                    let slots = rows::slots_of_rows(app);
                    lines.extend(
                        slots.into_iter().map(|slot| Selected { app: app.app.clone(), slot: Some(slot) }),
                    );
                }
            }
        }
        lines
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
                Key::Resized => {
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
        if key != Key::Resized {
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
            Key::Char('l') => {
                self.logs = if self.logs.is_some() { None } else { Some(Vec::new()) };
            }
            Key::Char(letter) => self.ask_about(letter),
            Key::Escape | Key::Enter | Key::Resized => {}
        }
        if self.logs.is_some() { Action::ReadLogs } else { Action::Draw }
    }

    /// Keys that change something ask first.
    fn ask_about(&mut self, letter: char) {
        let Some(Selected { app, slot }) = self.selected() else { return };
        let name = slot.map_or_else(|| app.clone(), |slot| format!("{app}:{slot}"));
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

    /// The screen, a text for each of its `height` lines at most.
    pub(crate) fn frame(&self, now: Monotonic, look: Look, height: usize) -> Vec<String> {
        let width = look.width.unwrap_or(80);
        let mut foot = self.foot(width, look.color);
        let mut body = self.body(now, look);
        let mut lines = self.head(width, look.color);
        let room = height.saturating_sub(foot.len() + lines.len());
        // The selected line stays in sight: the heading is one line, the table follows.
        let first = (self.line + 2).saturating_sub(room.max(2));
        let heading: Vec<String> = body.drain(..1.min(body.len())).collect();
        lines.extend(heading);
        lines.extend(body.into_iter().skip(first).take(room.saturating_sub(1)));
        while lines.len() + foot.len() < height {
            lines.push(String::new());
        }
        lines.append(&mut foot);
        lines.truncate(height);
        lines
    }

    /// How many run, and a line about the selected app.
    fn head(&self, width: usize, color: bool) -> Vec<String> {
        let running = self.entries.iter().filter(|entry| matches!(entry, Entry::Answered(_))).count();
        let count = format!("ganger: {running} of {} apps run", self.entries.len());
        let mut lines = vec![Style::Heading.paint(&cut(&count, width), color)];
        let selected = self.selected().map(|selected| selected.app).unwrap_or_default();
        let app = self.entries.iter().find_map(|entry| match entry {
            Entry::Answered(app) if app.app == selected => Some(app),
            Entry::Answered(_) | Entry::Other { .. } => None,
        });
        lines.extend(app.map(|app| cut(&self.about(app), width)));
        lines
    }

    /// `api: connections 12   waiting 0 of 4096   cpu ▁▂▄█`.
    fn about(&self, app: &AppState) -> String {
        let mut parts = Vec::new();
        let connections = app.workers.iter().filter_map(|worker| worker.connections);
        parts.extend(connections.reduce(u32::saturating_add).map(|count| format!("connections {count}")));
        parts.extend(app.queues.iter().map(|queue| {
            let place = if app.queues.len() > 1 { format!(" {}", queue.listen) } else { String::new() };
            format!("waiting{place} {} of {}", queue.waiting, queue.backlog)
        }));
        let bars = self.history.get(&app.app).map(sparkline).unwrap_or_default();
        parts.push(format!("cpu {bars}"));
        harmless(&format!("{}: {}", app.app, parts.join("   ")))
    }

    fn body(&self, now: Monotonic, look: Look) -> Vec<String> {
        let mut table = rows::table();
        for entry in &self.entries {
            match entry {
                Entry::Answered(app) => answered(&mut table, app, now),
                Entry::Other { app, state, .. } => rows::silent_row(&mut table, app, state, ""),
            }
        }
        let plain = Look { color: false, ..look };
        let (text, other) = (table.render(look), table.render(plain));
        text.lines()
            .zip(other.lines())
            .enumerate()
            .map(|(index, (line, plain))| {
                let selected = index == self.line + 1;
                match (selected, look.color) {
                    // Without colour the line is marked where it ends.
                    (true, true) => format!("\x1b[7m{plain}\x1b[0m"),
                    (true, false) => format!("{} ◀", cut(plain, look.width.unwrap_or(80).saturating_sub(2))),
                    (false, _) => line.to_owned(),
                }
            })
            .collect()
    }

    fn foot(&self, width: usize, color: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(logs) = &self.logs {
            let name = self.selected().map(|selected| match selected.slot {
                Some(slot) => format!("{}:{slot}", selected.app),
                None => selected.app,
            });
            lines.push(
                Style::Heading.paint(&cut(&format!("logs of {}", name.unwrap_or_default()), width), color),
            );
            let skip = logs.len().saturating_sub(LOG_LINES);
            lines.extend(logs.iter().skip(skip).map(|line| cut(&harmless(line), width)));
        }
        let last = match &self.question {
            Some(question) => {
                Style::Warn.paint(&cut(&format!("{}? y: yes, other key: no", question.text), width), color)
            }
            None if self.message.is_empty() => {
                let keys = "q quit  ↑↓ select  r reload  s restart  + - scale  x reset  l logs";
                Style::Dim.paint(&cut(keys, width), color)
            }
            None => cut(&self.message, width),
        };
        lines.push(last);
        lines
    }
}

fn answered(table: &mut super::table::Table, app: &AppState, now: Monotonic) {
    rows::app_row(table, app, now);
    rows::worker_rows(table, app, now);
}

/// Samples as bars, the highest one being full; a whole CPU at least.
fn sparkline(samples: &VecDeque<u64>) -> String {
    let full = samples.iter().copied().max().unwrap_or(0).max(1000);
    samples
        .iter()
        .filter_map(|sample| {
            let index = usize::try_from(sample.saturating_mul(7) / full).unwrap_or(7);
            BARS.get(index.min(7))
        })
        .collect()
}

/// How often all apps are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::super::rows::samples;
    use super::*;

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

    fn screen(top: &Top, width: usize, height: usize) -> String {
        top.frame(samples::now(), Look { color: false, width: Some(width) }, height).join("\n")
    }

    #[test]
    fn the_screen_fits_eighty_by_twenty_four() {
        let screen = screen(&top(), 80, 24);
        assert_eq!(screen.lines().count(), 24);
        golden::compare("top-80x24.txt", &screen);
    }

    #[test]
    fn no_line_leaves_the_screen_whatever_its_size() {
        let mut top = top();
        top.key(Key::Char('l'));
        top.read(vec!["a very long line of a journal that goes on and on \x1b[2J".repeat(4); 20]);
        for (width, height) in [(40, 5), (60, 10), (80, 24), (200, 60)] {
            let screen = screen(&top, width, height);
            assert!(screen.lines().count() <= height, "{width}x{height}\n{screen}");
            assert!(screen.lines().all(|line| line.chars().count() <= width), "{width}x{height}\n{screen}");
        }
    }

    #[test]
    fn the_selected_line_stays_in_sight() {
        let mut top = top();
        (0..20).for_each(|_| drop(top.key(Key::Down)));
        assert_eq!(top.selected(), Some(Selected { app: "web".into(), slot: Some(3) }));
        assert!(screen(&top, 80, 8).contains("◀"));
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
        assert_eq!(top.key(Key::Char('r')), Action::Draw);
        assert!(screen(&top, 80, 24).contains("reload api? y: yes"));
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
        assert!(screen(&top, 80, 24).ends_with("api: failed: not valid …"));
        top.key(Key::Down);
        assert!(screen(&top, 80, 24).contains("q quit"));
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
        assert!(matches!(&top.entries[0], Entry::Answered(app) if app.workers[0].cpu_permille == Some(500)));
        assert_eq!(sparkline(&top.history["api"]), "▁▄");
    }
}
