//! How `ganger top` looks: the table, the curves of what is selected, the last lines of its journal.
//!
//! From top to bottom: all apps in a line, the table, the curves, the journal, and what the keys do. The table has
//! what it needs; of a low terminal the curves and the journal go first.

use ratatui_core::layout::{Constraint, Layout, Rect};
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Span};
use ratatui_widgets::block::Block;
use ratatui_widgets::borders::Borders;
use ratatui_widgets::sparkline::{RenderDirection, Sparkline};
use ratatui_widgets::table::{HighlightSpacing, Row, Table, TableState};

use super::Top;
use super::history::{Curve, History};
use crate::cli::print::{self, harmless};
use crate::cli::rows;
use crate::cli::state::AppState;
use crate::cli::table::{self, cut};
use crate::cli::verbs::list::Entry;
use crate::time::{Monotonic, format_size};

/// From so many lines on there is room for the journal.
const HEIGHT_WITH_LOGS: u16 = 12;
/// From so many lines on there is room for the curves, too.
const HEIGHT_WITH_CURVES: u16 = 18;
/// From so many lines on a curve has [`TALL`] lines.
const HEIGHT_WITH_TALL_CURVES: u16 = 40;
const TALL: u16 = 3;
/// The title and three lines.
const LEAST_LOGS: u16 = 4;
const CURVES: [(Curve, &str); 4] =
    [(Curve::Cpu, "cpu"), (Curve::Memory, "memory"), (Curve::Connections, "conn"), (Curve::Queue, "queue")];
/// Columns of a curve's name and value, and of the gap behind them.
const LABEL: u16 = 18;
/// Marks the selected line where there is no colour, and where there is.
const MARK: &str = "▶ ";
const KEYS: &str = "q quit  ↑↓ select  r reload  s restart  + - scale  x reset  l logs";

/// What stays from one screen to the next.
#[derive(Debug)]
pub(crate) struct Drawing {
    color: bool,
    table: TableState,
}

/// Where everything goes; what there is no room for is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    head: Rect,
    table: Rect,
    curves: Rect,
    logs: Rect,
    foot: Rect,
}

impl Places {
    /// Of a table with so many lines.
    fn of(area: Rect, lines: usize, with_logs: bool) -> Self {
        let height = area.height;
        let one = |from: u16| u16::from(height >= from);
        let curve = if height >= HEIGHT_WITH_TALL_CURVES { TALL } else { 1 };
        let curves = if height >= HEIGHT_WITH_CURVES { 1 + 4 * curve } else { 0 };
        let least = if with_logs && height >= HEIGHT_WITH_LOGS { LEAST_LOGS } else { 0 };
        let room = height.saturating_sub(one(3) + one(2) + curves + least);
        let wanted = u16::try_from(lines).unwrap_or(u16::MAX);
        let table = if least > 0 { wanted.min(room) } else { room };
        let [head, table, curves, logs, foot] = Layout::vertical([
            Constraint::Length(one(3)),
            Constraint::Length(table),
            Constraint::Length(curves),
            Constraint::Length(least + room.saturating_sub(table)),
            Constraint::Length(one(2)),
        ])
        .areas(area);
        Self { head, table, curves, logs, foot }
    }
}

impl Drawing {
    /// Without `color` everything is told by signs and words alone.
    pub(crate) fn new(color: bool) -> Self {
        Self { color, table: TableState::new() }
    }

    /// Draws all of it.
    pub(crate) fn draw(&mut self, top: &Top, now: Monotonic, frame: &mut Frame<'_>) {
        let area = frame.area();
        let width = usize::from(area.width);
        let fitted = live_table(top, now).fitted(width.saturating_sub(MARK.chars().count()));
        let places = Places::of(area, fitted.rows.len(), top.shows_logs());
        frame.render_widget(self.line(&totals(top), print::Style::Heading, width), places.head);
        self.table(top, &fitted, places.table, frame);
        if !places.curves.is_empty() {
            self.curves(top, places.curves, frame);
        }
        if !places.logs.is_empty() {
            self.logs(top, places.logs, frame);
        }
        frame.render_widget(self.foot(top, width), places.foot);
    }

    fn style(&self, meaning: print::Style) -> Style {
        let style = Style::new();
        if !self.color {
            return style;
        }
        match meaning {
            print::Style::Plain => style,
            print::Style::Heading => style.add_modifier(Modifier::BOLD),
            print::Style::Good => style.fg(Color::Green),
            print::Style::Warn => style.fg(Color::Yellow),
            print::Style::Bad => style.fg(Color::Red),
            print::Style::Dim => style.add_modifier(Modifier::DIM),
        }
    }

    fn line(&self, text: &str, meaning: print::Style, width: usize) -> Line<'static> {
        Line::styled(cut(text, width), self.style(meaning))
    }

    fn table(&mut self, top: &Top, fitted: &table::Fitted, area: Rect, frame: &mut Frame<'_>) {
        let row = |cells: &Vec<table::Cell>| {
            Row::new(cells.iter().map(|it| Span::styled(it.text().to_owned(), self.style(it.style()))))
        };
        let mut rows = fitted.rows.iter().map(row);
        let header = rows.next().unwrap_or_default();
        let widths = fitted.widths.iter().map(|width| u16::try_from(*width).unwrap_or(u16::MAX));
        let selected = if self.color {
            Style::new().fg(Color::Reset).add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        let table = Table::new(rows, widths)
            .header(header)
            .column_spacing(u16::try_from(table::GAP).unwrap_or(1))
            .row_highlight_style(selected)
            .highlight_symbol(MARK)
            .highlight_spacing(HighlightSpacing::Always);
        self.table.select(Some(top.line));
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    /// The curves of the selected worker beside those of its app, or those of the selected app alone.
    fn curves(&self, top: &Top, area: Rect, frame: &mut Frame<'_>) {
        let Some(selected) = top.selected() else { return };
        let app = top.running().find(|app| app.app == selected.app);
        let history = |worker| top.histories.get(&(selected.app.clone(), worker));
        let of_app = |area: Rect, frame: &mut Frame<'_>| {
            let title = app.map_or_else(|| selected.app.clone(), about);
            self.panel(&title, history(None), app, area, frame);
        };
        if selected.slot.is_none() {
            return of_app(area, frame);
        }
        let halves = [Constraint::Fill(1), Constraint::Fill(1)];
        let [left, right] = Layout::horizontal(halves).spacing(2).areas(area);
        let of_worker = selected.worker.and_then(|worker| history(Some(worker)));
        self.panel(&selected.name(), of_worker, None, left, frame);
        of_app(right, frame);
    }

    /// A title, and below it each curve that there are values for.
    fn panel(
        &self,
        title: &str,
        history: Option<&History>,
        app: Option<&AppState>,
        area: Rect,
        frame: &mut Frame<'_>,
    ) {
        let inner = self.titled(title, area, frame);
        let Some(history) = history else { return };
        let places: [Rect; 4] = Layout::vertical([Constraint::Fill(1); 4]).areas(inner);
        for ((curve, name), place) in CURVES.into_iter().zip(places) {
            let sums = app.filter(|_| curve == Curve::Queue);
            let Some(value) = history.latest().of(curve).map(|value| in_words(curve, value, sums)) else {
                continue;
            };
            let [label, bars] =
                Layout::horizontal([Constraint::Length(LABEL), Constraint::Fill(1)]).areas(place);
            let text = format!("{name:<6} {value:>9}");
            frame.render_widget(Line::raw(text), Rect { y: label.bottom().saturating_sub(1), ..label });
            let color = if self.color { Style::new().fg(Color::Cyan) } else { Style::new() };
            let sparkline = Sparkline::default()
                .data(history.values(curve))
                .max(history.full(curve, usize::from(bars.width)))
                // The present stands at the right edge.
                .direction(RenderDirection::RightToLeft)
                .absent_value_symbol(" ")
                .style(color);
            frame.render_widget(sparkline, bars);
        }
    }

    fn logs(&self, top: &Top, area: Rect, frame: &mut Frame<'_>) {
        let Some(selected) = top.selected() else { return };
        let inner = self.titled(&format!("logs of {}", selected.name()), area, frame);
        // Lines of what was selected before are nobody's here.
        let Some((_, lines)) = top.logs.as_ref().filter(|(of, _)| *of == selected) else { return };
        let skipped = lines.len().saturating_sub(usize::from(inner.height));
        for (line, place) in lines.iter().skip(skipped).zip(inner.rows()) {
            let line = cut(&harmless(line), usize::from(place.width));
            frame.render_widget(Line::raw(line), place);
        }
    }

    /// A rule with a title; what is below it.
    fn titled(&self, title: &str, area: Rect, frame: &mut Frame<'_>) -> Rect {
        let room = usize::from(area.width).saturating_sub(5);
        let title =
            Span::styled(format!(" {} ", cut(&harmless(title), room)), self.style(print::Style::Heading));
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(self.style(print::Style::Dim))
            .title(Line::from(vec![Span::styled("──", self.style(print::Style::Dim)), title]));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        inner
    }

    fn foot(&self, top: &Top, width: usize) -> Line<'static> {
        match &top.question {
            Some(question) => {
                let text = format!("{}? y: yes, other key: no", question.text);
                self.line(&text, print::Style::Warn, width)
            }
            None if top.message.is_empty() => self.line(KEYS, print::Style::Dim, width),
            None => self.line(&top.message, print::Style::Plain, width),
        }
    }
}

fn live_table(top: &Top, now: Monotonic) -> table::Table {
    let mut table = rows::live_table();
    for entry in &top.entries {
        match entry {
            Entry::Answered(app) => {
                rows::live_app_row(&mut table, app, now);
                rows::live_worker_rows(&mut table, app, now);
            }
            Entry::Other { app, state, .. } => rows::silent_row(&mut table, app, state, ""),
        }
    }
    table
}

/// `ganger: 2 of 3 apps run   6 workers   cpu 48%   memory 900M   connections 12`.
fn totals(top: &Top) -> String {
    let samples: Vec<_> = top
        .running()
        .filter_map(|app| top.histories.get(&(app.app.clone(), None)))
        .map(History::latest)
        .collect();
    let sum = |curve| samples.iter().filter_map(|it| it.of(curve)).reduce(u64::saturating_add);
    let workers: usize = top.running().map(|app| app.workers.len()).sum();
    let mut parts = vec![
        format!("ganger: {} of {} apps run", top.running().count(), top.entries.len()),
        format!("{workers} {}", if workers == 1 { "worker" } else { "workers" }),
    ];
    parts.extend(sum(Curve::Cpu).map(|cpu| format!("cpu {}", rows::percent(cpu))));
    parts.extend(sum(Curve::Memory).map(|bytes| format!("memory {}", format_size(bytes))));
    parts.extend(sum(Curve::Connections).map(|count| format!("connections {count}")));
    parts.join("   ")
}

/// An app, and the reload that it is in.
fn about(app: &AppState) -> String {
    match &app.reload {
        Some(reload) if reload.aborting => format!("{}: reload is taken back", app.app),
        Some(reload) => format!(
            "{}: reload to generation {}, {} of {}",
            app.app, reload.generation, reload.done, reload.total
        ),
        None => app.app.clone(),
    }
}

/// A curve's value; the queue's beside how many may wait.
fn in_words(curve: Curve, value: u64, app: Option<&AppState>) -> String {
    match curve {
        Curve::Cpu => rows::percent(value),
        Curve::Memory => format_size(value),
        Curve::Connections => value.to_string(),
        Curve::Queue => {
            let backlogs = app.into_iter().flat_map(|app| &app.queues).map(|queue| queue.backlog);
            let most = backlogs.reduce(u32::saturating_add).map(|most| format!("/{most}"));
            format!("{value}{}", most.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui_core::backend::TestBackend;
    use ratatui_core::buffer::Buffer;
    use ratatui_core::terminal::Terminal;

    use super::*;
    use crate::cli::golden;
    use crate::cli::rows::samples;
    use crate::cli::screen::Key;

    /// Two apps that run and one that does not, looked at for so many seconds.
    fn after(seconds: u32) -> Top {
        let mut top = Top::default();
        for second in 0..seconds {
            let mut api = samples::reloading();
            for (worker, more) in api.workers.iter_mut().zip(0..) {
                worker.cpu_permille = Some(u64::from((second * 7 + more * 3) % 10) * 100);
                worker.connections = Some((second + more) % 6);
                worker.memory = Some(u64::from(100 + second + more) << 20);
            }
            api.queues[0].waiting = second % 4;
            let mut web = samples::degraded();
            web.app = "web".into();
            let other = Entry::Other { app: "mail".into(), state: "inactive", configured: true };
            let entries = vec![Entry::Answered(Box::new(api)), other, Entry::Answered(Box::new(web))];
            top.looked(entries, samples::now() - Duration::from_secs(u64::from(seconds - 1 - second)));
        }
        top
    }

    fn read(top: &mut Top, lines: usize) {
        let of = top.selected().unwrap();
        let text = |line| format!("line {line} of {}\x1b[2J", of.name());
        let lines = (1..=lines).map(text).collect();
        top.read(of, lines);
    }

    fn buffer(drawing: &mut Drawing, top: &Top, width: u16, height: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drawing.draw(top, samples::now(), frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn screen(top: &Top, width: u16, height: u16) -> String {
        let buffer = buffer(&mut Drawing::new(false), top, width, height);
        let lines = buffer.content().chunks(usize::from(width));
        let text = |line: &[ratatui_core::buffer::Cell]| {
            line.iter().map(ratatui_core::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
        };
        lines.map(text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_screen_fits_eighty_by_twenty_four() {
        let mut top = after(30);
        (0..2).for_each(|_| drop(top.key(Key::Down)));
        read(&mut top, 20);
        let screen = screen(&top, 80, 24);
        assert_eq!(screen.lines().count(), 24);
        golden::compare("top-80x24.txt", &screen);
    }

    #[test]
    fn a_wide_screen_shows_more() {
        let mut top = after(90);
        read(&mut top, 30);
        golden::compare("top-160x50.txt", &screen(&top, 160, 50));
    }

    #[test]
    fn a_small_screen_keeps_the_table() {
        let mut top = after(3);
        top.key(Key::Char('r'));
        golden::compare("top-60x10.txt", &screen(&top, 60, 10));
    }

    #[test]
    fn every_size_is_drawn() {
        let mut top = after(5);
        read(&mut top, 50);
        for (width, height) in [(1, 1), (3, 2), (5, 50), (17, 3), (20, 12), (40, 18), (300, 100)] {
            for line in [Key::Home, Key::Down, Key::End] {
                top.key(line);
                screen(&top, width, height);
            }
        }
    }

    #[test]
    fn without_any_app_there_is_nothing_but_the_keys() {
        let shown = screen(&after(0), 80, 24);
        assert!(shown.starts_with("ganger: 0 of 0 apps run   0 workers\n"), "{shown}");
        assert_eq!(shown.lines().filter(|line| !line.is_empty()).count(), 3, "{shown}");
    }

    #[test]
    fn the_selected_line_stays_in_sight() {
        let mut top = after(2);
        top.key(Key::End);
        assert_eq!(top.selected().unwrap().name(), "web:3");
        let screen = screen(&top, 80, 6);
        assert!(screen.contains("▶ └─ 3  failed"), "{screen}");
    }

    #[test]
    fn lines_of_another_workers_journal_are_not_shown() {
        let mut top = after(2);
        read(&mut top, 3);
        assert!(screen(&top, 80, 24).contains("line 3 of api"));
        top.key(Key::Down);
        let screen = screen(&top, 80, 24);
        assert!(screen.contains("logs of api:0") && !screen.contains("line 3"), "{screen}");
    }

    #[test]
    fn without_colour_no_cell_looks_different_from_another() {
        let mut top = after(2);
        top.key(Key::Char('s'));
        let plain = |buffer: &Buffer| {
            buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.modifier.is_empty())
        };
        assert!(plain(&buffer(&mut Drawing::new(false), &top, 80, 24)));
        assert!(!plain(&buffer(&mut Drawing::new(true), &top, 80, 24)));
    }
}
