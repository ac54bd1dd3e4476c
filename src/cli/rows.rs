//! How apps, workers and slots become rows of a table: for `list`, `status` and `top`.
//!
//! Everything here is a function of a state and of the present instant.

use std::time::Duration;

use super::print::{Style, harmless};
use super::state::{AppState, SlotState, WorkerState};
use super::table::{Cell, Column, Table};
use crate::time::{Monotonic, format_size, format_span};

/// Stands where there is nothing to say.
const NONE: &str = "–";
/// So much of an address or of `pid 4194304` is worth more to a live table than another column.
const LIVE_LAST_WIDTH: usize = 12;
/// `CONN` and `QUEUE` stand before so many cells of a row.
const BEHIND_LIVE: usize = 2;

/// The table that `list`, `status` and `top` share.
pub(crate) fn table() -> Table {
    Table::new(vec![
        Column::text("APP"),
        Column::text("STATE"),
        Column::text("READY"),
        Column::text("GEN").weight(3),
        Column::text("RESTARTS").weight(4),
        Column::text("CPU").weight(1),
        Column::text("MEM").weight(2),
        Column::text("UPTIME").weight(5),
        Column::text("LISTEN").weight(6),
    ])
}

/// The table of `top`: what changes from second to second stays longest where there is little room.
pub(crate) fn live_table() -> Table {
    Table::new(vec![
        Column::text("APP"),
        Column::text("STATE"),
        Column::text("READY").weight(5),
        Column::text("GEN").weight(2),
        Column::text("RESTARTS").weight(6),
        Column::text("CPU").weight(8),
        Column::text("MEM").weight(7),
        Column::text("CONN").weight(4),
        Column::text("QUEUE").weight(3),
        Column::text("UPTIME").weight(1),
        Column::text("LISTEN"),
    ])
    .last_width(LIVE_LAST_WIDTH)
}

/// What a state's word means.
pub(crate) fn style_of(state: &str) -> Style {
    match state {
        "serving" | "ready" | "done" => Style::Good,
        "starting" | "reloading" | "draining" | "stopping" | "waiting" | "leaving" | "superseded"
        | "stopped" => Style::Warn,
        "stuck" | "degraded" | "down" | "failed" | "partly" | "refused" | "not-found" | "unreachable"
        | "silent" | "crowded" => Style::Bad,
        "inactive" | "finished" | "denied" => Style::Dim,
        _ => Style::Plain,
    }
}

/// Adds the row of an app that answered.
pub(crate) fn app_row(table: &mut Table, app: &AppState, now: Monotonic) {
    table.row(app_cells(app, now));
}

/// Adds the row of an app that answered to a live table.
pub(crate) fn live_app_row(table: &mut Table, app: &AppState, now: Monotonic) {
    table.row(live(app_cells(app, now), connections(app), waiting(app)));
}

/// Connections of all workers, where any are known.
pub(crate) fn connections(app: &AppState) -> Option<u32> {
    app.workers.iter().filter_map(|worker| worker.connections).reduce(u32::saturating_add)
}

/// Connections that no worker has accepted yet, where that is known.
pub(crate) fn waiting(app: &AppState) -> Option<u32> {
    app.queues.iter().map(|queue| queue.waiting).reduce(u32::saturating_add)
}

/// The cells of a live table's row: with connections and queue before the uptime and the note.
fn live(mut cells: Vec<Cell>, connections: Option<u32>, waiting: Option<u32>) -> Vec<Cell> {
    let number = |count: Option<u32>| Cell::from(count.map_or_else(String::new, |count| count.to_string()));
    let mut rest = cells.split_off(cells.len().saturating_sub(BEHIND_LIVE));
    cells.extend([number(connections), number(waiting)]);
    cells.append(&mut rest);
    cells
}

fn app_cells(app: &AppState, now: Monotonic) -> Vec<Cell> {
    let cpu = app.workers.iter().filter_map(|worker| worker.cpu_permille).reduce(u64::saturating_add);
    let memory = app.workers.iter().filter_map(|worker| worker.memory).reduce(u64::saturating_add);
    vec![
        Cell::styled(harmless(&app.app), Style::Heading),
        Cell::styled(app.state.as_str(), style_of(&app.state)),
        format!("{}/{}", app.ready, app.wanted).into(),
        app.generation.to_string().into(),
        app.restarts.to_string().into(),
        cpu.map_or_else(String::new, percent).into(),
        memory.map_or_else(String::new, format_size).into(),
        short_span(now.since(app.since)).into(),
        harmless(&app.listen.join(", ")).into(),
    ]
}

/// Adds the row of an app that did not answer.
pub(crate) fn silent_row(table: &mut Table, app: &str, state: &str, note: &str) {
    let mut cells = vec![app.into(), Cell::styled(state, style_of(state))];
    cells.resize(8, Cell::from(""));
    cells.push(Cell::styled(harmless(note), Style::Dim));
    table.row(cells);
}

/// The slots that have no worker.
fn empty_slots(app: &AppState) -> impl Iterator<Item = &SlotState> {
    app.slots.iter().filter(|slot| !app.workers.iter().any(|worker| worker.slot == slot.slot))
}

/// Slot and worker of each row that [`worker_rows`] and [`live_worker_rows`] add.
pub(crate) fn order_of_rows(app: &AppState) -> Vec<(u32, Option<u64>)> {
    let workers = app.workers.iter().map(|worker| (worker.slot, Some(worker.worker)));
    let mut rows: Vec<_> = workers.chain(empty_slots(app).map(|slot| (slot.slot, None))).collect();
    // Stable: of one slot, the serving worker stays first.
    rows.sort_by_key(|(slot, _)| *slot);
    rows
}

/// Adds a row for each worker, and for each slot that has none.
pub(crate) fn worker_rows(table: &mut Table, app: &AppState, now: Monotonic) {
    let workers = app.workers.iter().map(|worker| {
        // None is news only of a worker that leaves.
        let news = |count: &u32| *count > 0 || worker.state == "draining";
        (worker.slot, worker_cells(app, worker, worker.connections.filter(news), now))
    });
    rows_by_slot(table, workers.chain(slot_rows(app, now)).collect());
}

/// As [`worker_rows`], for a live table.
pub(crate) fn live_worker_rows(table: &mut Table, app: &AppState, now: Monotonic) {
    let workers = app
        .workers
        .iter()
        .map(|worker| (worker.slot, live(worker_cells(app, worker, None, now), worker.connections, None)));
    let slots = slot_rows(app, now).map(|(slot, cells)| (slot, live(cells, None, None)));
    rows_by_slot(table, workers.chain(slots).collect());
}

fn slot_rows(app: &AppState, now: Monotonic) -> impl Iterator<Item = (u32, Vec<Cell>)> {
    empty_slots(app).map(move |slot| (slot.slot, slot_cells(slot, now)))
}

fn rows_by_slot(table: &mut Table, mut rows: Vec<(u32, Vec<Cell>)>) {
    // Stable, as in `order_of_rows`.
    rows.sort_by_key(|(slot, _)| *slot);
    let last = rows.len().saturating_sub(1);
    for (index, (slot, cells)) in rows.into_iter().enumerate() {
        let branch = if index == last { "└─" } else { "├─" };
        let mut row = vec![Cell::from(format!("{branch} {slot}"))];
        row.extend(cells);
        table.row(row);
    }
}

fn worker_cells(app: &AppState, worker: &WorkerState, connections: Option<u32>, now: Monotonic) -> Vec<Cell> {
    // A slot's restarts stand at its serving worker only: they are not those of the one that leaves.
    let serving = app.workers.iter().find(|other| other.slot == worker.slot);
    let restarts = serving
        .filter(|first| first.worker == worker.worker)
        .and_then(|_| app.slots.iter().find(|slot| slot.slot == worker.slot))
        .map_or_else(|| NONE.to_owned(), |slot| slot.restarts.to_string());
    vec![
        Cell::styled(worker.state.as_str(), style_of(&worker.state)),
        "".into(),
        worker.generation.to_string().into(),
        restarts.into(),
        worker.cpu_permille.map_or_else(String::new, percent).into(),
        worker.memory.map_or_else(String::new, format_size).into(),
        short_span(now.since(worker.started)).into(),
        worker_note(worker, connections, now).into(),
    ]
}

fn worker_note(worker: &WorkerState, connections: Option<u32>, now: Monotonic) -> String {
    let mut notes = Vec::new();
    notes.extend(worker.pid.map(|pid| format!("pid {pid}")));
    notes.extend(connections.map(connections_in_words));
    notes.extend(worker.deadline.map(|deadline| format!("{} left", format_span(deadline.since(now)))));
    notes.extend(worker.status.as_ref().map(|status| format!("\"{}\"", harmless(status))));
    notes.join(", ")
}

fn connections_in_words(count: u32) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

fn slot_cells(slot: &SlotState, now: Monotonic) -> Vec<Cell> {
    let mut notes = Vec::new();
    notes.extend(slot.until.map(|until| format!("next try in {}", format_span(until.since(now)))));
    if slot.state == "stopped" {
        notes.push("by request".to_owned());
    } else {
        notes.extend(slot.last_failure.as_ref().map(|cause| harmless(cause)));
    }
    vec![
        Cell::styled(slot.state.as_str(), style_of(&slot.state)),
        "".into(),
        NONE.into(),
        slot.restarts.to_string().into(),
        "".into(),
        "".into(),
        "".into(),
        notes.join("; ").into(),
    ]
}

/// Thousandths of a CPU as a percentage.
pub(crate) fn percent(permille: u64) -> String {
    match permille {
        0 => "0%".to_owned(),
        1..10 => format!("0.{permille}%"),
        _ => format!("{}%", permille.saturating_add(5) / 10),
    }
}

/// A span in its largest unit: `3d`, `12min`.
pub(crate) fn short_span(span: Duration) -> String {
    let whole = if span.as_secs() > 0 { Duration::from_secs(span.as_secs()) } else { span };
    format_span(whole).split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(crate) mod samples {
    //! Fixed states for golden tests.

    use super::*;
    use crate::cli::state::{LastReloadState, QueueState, ReloadState};

    /// The present instant of every sample.
    pub(crate) fn now() -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(1_000_000))
    }

    fn ago(span: Duration) -> Monotonic {
        now() - span
    }

    fn worker(number: u64, slot: u32, generation: u64, state: &str, age: Duration) -> WorkerState {
        WorkerState {
            worker: number,
            slot,
            generation,
            state: state.into(),
            pid: Some(2208 + u32::try_from(number).unwrap()),
            started: ago(age),
            ready_at: Some(ago(age) + Duration::from_millis(400)),
            memory: Some(150 << 20),
            connections: None,
            cpu_permille: Some(100),
            ..WorkerState::default()
        }
    }

    fn slot(slot: u32, state: &str, restarts: u64) -> SlotState {
        SlotState { slot, state: state.into(), restarts, ..SlotState::default() }
    }

    /// Four workers that serve.
    pub(crate) fn serving() -> AppState {
        let days = Duration::from_secs(3 * 86_400 + 7200);
        AppState {
            app: "api".into(),
            version: "0.1.0".into(),
            state: "serving".into(),
            ready: 4,
            wanted: 4,
            generation: 17,
            restarts: 2,
            since: ago(days * 2),
            pid: Some(2200),
            listen: vec!["[::]:3000".into()],
            queues: vec![QueueState { listen: "[::]:3000".into(), waiting: 3, backlog: 4096 }],
            slots: vec![slot(0, "ready", 0), slot(1, "ready", 2), slot(2, "ready", 0), slot(3, "ready", 0)],
            workers: (0..4).map(|n| worker(u64::from(n), n, 17, "ready", days)).collect(),
            reload: None,
            last_reload: Some(LastReloadState {
                outcome: "done".into(),
                message: "generation 17 serves".into(),
                generation: 17,
                failure: None,
                took_usec: 6_200_000,
                ended: ago(days),
            }),
        }
    }

    /// A reload under way: slot 0 is done, the old worker of slot 1 drains.
    pub(crate) fn reloading() -> AppState {
        let mut app = serving();
        app.state = "reloading".into();
        app.reload = Some(ReloadState {
            generation: 18,
            done: 1,
            total: 4,
            aborting: false,
            started: ago(Duration::from_secs(5)),
        });
        app.workers[0] = worker(4, 0, 18, "ready", Duration::from_secs(5));
        let mut old = app.workers.remove(1);
        old.state = "draining".into();
        old.deadline = Some(now() + Duration::from_secs(12));
        app.workers.insert(1, worker(5, 1, 18, "ready", Duration::from_secs(2)));
        app.workers.insert(2, old);
        app
    }

    /// One slot was stopped.
    pub(crate) fn stopped() -> AppState {
        let mut app = serving();
        (app.state, app.ready) = ("degraded".into(), 3);
        app.workers.remove(2);
        app.slots[2] =
            SlotState { last_failure: Some("exited with status 1".into()), ..slot(2, "stopped", 1) };
        app
    }

    /// One slot waits, one gave up, and a worker says something rude.
    pub(crate) fn degraded() -> AppState {
        let mut app = serving();
        app.state = "degraded".into();
        app.ready = 2;
        app.restarts = 14;
        app.workers.truncate(2);
        app.workers[0].status = Some("12 jobs\x1b[2J queued".into());
        app.slots[2] = SlotState {
            until: Some(now() + Duration::from_secs(4)),
            last_failure: Some("exited with status 1".into()),
            ..slot(2, "waiting", 4)
        };
        app.slots[3] =
            SlotState { last_failure: Some("killed by signal 11 (SEGV)".into()), ..slot(3, "failed", 8) };
        app.last_reload = Some(LastReloadState {
            outcome: "failed".into(),
            message: "worker 0 was not ready within 30s".into(),
            generation: 17,
            failure: None,
            took_usec: 30_400_000,
            ended: ago(Duration::from_secs(95)),
        });
        app
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_in_its_largest_unit() {
        for (secs, text) in [(0, "0ms"), (9, "9s"), (125, "2min"), (90_000, "1d")] {
            assert_eq!(short_span(Duration::from_secs(secs)), text);
        }
        assert_eq!(short_span(Duration::from_millis(1400)), "1s");
    }

    #[test]
    fn percentages_are_short() {
        for (permille, text) in [(0, "0%"), (4, "0.4%"), (96, "10%"), (1234, "123%")] {
            assert_eq!(percent(permille), text);
        }
    }
}
