//! What the pool does in each state with each event, found out by asking it, and compared with the tables of
//! `docs/pool.md`. `UPDATE=1` writes them anew.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Bench, plan, secs};
use super::slot::Holder;
use super::*;
use crate::plan::{Health, HealthCheck, Plan, RestartPolicy};

const BEGIN: &str = "<!-- tables: written by a test, not by hand -->\n";

/// A row or column: its name and how it comes about.
type Named<T> = (&'static str, T);

fn watched_plan(workers: u32) -> Plan {
    let mut plan = plan(workers);
    plan.watchdog = Some(secs(3600));
    plan.recycle.memory = Some(100 << 20);
    plan.health = Some(Health {
        check: HealthCheck::Exec(vec!["true".into()]),
        interval: secs(10),
        timeout: secs(1),
        failures: 1,
        grace: secs(0),
    });
    plan
}

fn serving(workers: u32) -> Bench {
    let mut bench = Bench::new(watched_plan(workers));
    bench.obey_spawns();
    bench.now = bench.now + secs(2);
    bench
}

// ---- in words --------------------------------------------------------------------------------------------

/// `SLOT/GENERATION` of a worker.
fn worker_in_words(worker: WorkerId, pools: [&Pool; 2]) -> String {
    let known = pools.iter().find_map(|pool| pool.workers.get(&worker));
    known.map_or_else(|| "?".to_owned(), |known| format!("{}/{}", known.slot, known.generation))
}

/// One effect; `None` for what only tells, and for the watch over other workers than `about`.
fn effect_in_words(effect: &Effect, about: Option<WorkerId>, pools: [&Pool; 2]) -> Option<String> {
    let name = |worker: &WorkerId| worker_in_words(*worker, pools);
    Some(match effect {
        Effect::Spawn { slot, generation, .. } => format!("spawn {slot}/{generation}"),
        Effect::Drain { worker } => format!("drain {}", name(worker)),
        Effect::Kill { worker } => format!("kill {}", name(worker)),
        Effect::Sweep { worker } => format!("sweep {}", name(worker)),
        Effect::Signal { worker, .. } => format!("signal {}", name(worker)),
        Effect::Probe { worker } | Effect::Measure { worker } if Some(*worker) != about => return None,
        Effect::Probe { .. } => "probe it".to_owned(),
        Effect::Measure { .. } => "measure it".to_owned(),
        Effect::Reply { verdict, .. } => format!("reply *{:?}*", verdict.outcome).to_lowercase(),
        Effect::Retire { generation } => format!("retire generation {generation}"),
        Effect::Leave { .. } => "leave".to_owned(),
        Effect::Announce(Announcement::ReloadStarted { .. }) => "the reload begins".to_owned(),
        Effect::Announce(Announcement::ReloadRefused { .. }) => "the reload is refused".to_owned(),
        Effect::Announce(Announcement::ReloadAborting { .. }) => "the reload is taken back".to_owned(),
        Effect::Announce(Announcement::ReloadFinished { .. }) => "the reload ends".to_owned(),
        Effect::Announce(_) => return None,
        Effect::Warn(Warning::UnknownWorker { .. }) => "warn: unknown".to_owned(),
        Effect::Warn(Warning::OutOfPlace { .. }) => "warn: out of place".to_owned(),
    })
}

fn life_in_words(pool: &Pool, worker: WorkerId) -> &'static str {
    match pool.workers.get(&worker).map(|worker| &worker.life) {
        Some(worker::Life::Starting { .. }) => "starting",
        Some(worker::Life::Ready(_)) => "ready",
        Some(worker::Life::Draining(_)) => "draining",
        Some(worker::Life::Killed(_)) => "killed",
        Some(worker::Life::Leftover(_)) => "leftover",
        Some(worker::Life::Stuck(..)) => "stuck",
        None => "gone",
    }
}

fn place_in_words(pool: &Pool, slot: Slot) -> &'static str {
    match pool.places.get(&slot).map(|place| &place.holder) {
        Some(Holder::Worker(holder)) => life_in_words(pool, *holder),
        Some(Holder::Vacant) => "vacant",
        Some(Holder::Reserved) => "reserved",
        Some(Holder::Waiting { .. }) => "waiting",
        Some(Holder::Failed { .. }) => "failed",
        Some(Holder::Finished) => "finished",
        Some(Holder::Stopped) => "stopped",
        None => "removed",
    }
}

fn course_in_words(pool: &Pool) -> &'static str {
    match pool.rollout.as_ref().map(|rollout| &rollout.course) {
        Some(rollout::Course::Forward) => "forward",
        Some(rollout::Course::Committed) => "committed",
        Some(rollout::Course::Backward { .. }) => "backward",
        None => "none",
    }
}

/// Feeds `event`; says what became of what `state` looks at, and what was ordered.
fn cell(
    bench: &mut Bench,
    event: Event,
    about: Option<WorkerId>,
    state: impl Fn(&Pool) -> &'static str,
) -> String {
    let mut before = bench.pool.clone();
    let effects = bench.feed(event);
    let mut words: Vec<String> = Vec::new();
    if state(&before) != state(&bench.pool) {
        words.push(format!("**{}**", state(&bench.pool)));
    }
    words.extend(effects.iter().filter_map(|it| effect_in_words(it, about, [&bench.pool, &before])));
    before.settled_at = bench.pool.settled_at;
    match words.is_empty() {
        false => words.join(", "),
        true if before == bench.pool => "–".to_owned(),
        true => "noted".to_owned(),
    }
}

// ---- a worker and the facts about it ---------------------------------------------------------------------

fn worker_in(phase: &str) -> (Bench, WorkerId) {
    let mut bench = serving(2);
    let worker = bench.holder(0);
    match phase {
        "ordered" | "starting" => {
            bench.feed(Event::Exited { worker, exit: Exit::Code(1), oom: false });
            bench.feed(Event::Vacated { worker });
            let (fresh, ..) = bench.unspawned()[0];
            if phase == "starting" {
                bench.spawned(fresh);
            }
            return (bench, fresh);
        }
        "ready" => {}
        "draining" => {
            bench.feed(Event::Notified { worker, notification: Notification::Stopping });
            bench.obey_spawns();
        }
        "killed" | "stuck" => {
            bench.feed(Event::Notified { worker, notification: Notification::Stopping });
            bench.obey_spawns();
            bench.now = bench.now + secs(10);
            bench.feed(Event::TimePassed);
            if phase == "stuck" {
                bench.now = bench.now + worker::KILL_PATIENCE;
                bench.feed(Event::TimePassed);
            }
        }
        "leftover" => {
            bench.feed(Event::Exited { worker, exit: Exit::Code(1), oom: false });
            bench.obey_spawns();
        }
        _ => return (bench, WorkerId(99)),
    }
    (bench, worker)
}

const PHASES: [&str; 8] =
    ["ordered", "starting", "ready", "draining", "killed", "leftover", "stuck", "unknown"];

type Fact = fn(WorkerId) -> Event;

fn facts() -> Vec<Named<Fact>> {
    fn said(worker: WorkerId, notification: Notification) -> Event {
        Event::Notified { worker, notification }
    }
    vec![
        ("`Spawned`", |worker| Event::Spawned { worker, pid: 7 }),
        ("`SpawnFailed` (resources)", |worker| Event::SpawnFailed {
            worker,
            failure: SpawnFailure::Resources("EAGAIN".into()),
        }),
        ("`SpawnFailed` (program)", |worker| Event::SpawnFailed {
            worker,
            failure: SpawnFailure::Program("ENOENT".into()),
        }),
        ("`BecameReady`", |worker| Event::BecameReady { worker, sign: ReadySign::Listening }),
        ("`Notified` STOPPING", |worker| said(worker, Notification::Stopping)),
        ("`Notified` RELOADING", |worker| said(worker, Notification::Reloading)),
        ("`Notified` STATUS", |worker| said(worker, Notification::Status("busy".into()))),
        ("`Notified` WATCHDOG", |worker| said(worker, Notification::WatchdogPing)),
        ("`Notified` WATCHDOG=trigger", |worker| said(worker, Notification::WatchdogTrigger)),
        ("`Notified` WATCHDOG_USEC", |worker| said(worker, Notification::WatchdogInterval(secs(3)))),
        ("`Notified` EXTEND_TIMEOUT", |worker| said(worker, Notification::ExtendTimeout(secs(300)))),
        ("`Exited` (status 0)", |worker| Event::Exited { worker, exit: Exit::Code(0), oom: false }),
        ("`Exited` (oom)", |worker| Event::Exited { worker, exit: Exit::Signal(9), oom: true }),
        ("`Vacated`", |worker| Event::Vacated { worker }),
        ("`Drained`", |worker| Event::Drained { worker }),
        ("`Probed` (well)", |worker| Event::Probed { worker, outcome: Ok(()) }),
        ("`Probed` (sick)", |worker| Event::Probed { worker, outcome: Err("status 500".into()) }),
        ("`MemoryMeasured` (too much)", |worker| Event::MemoryMeasured { worker, bytes: 200 << 20 }),
        ("`TimePassed` (its deadline)", |_| Event::TimePassed),
    ]
}

fn worker_table() -> String {
    let mut rows = Vec::new();
    for (name, fact) in facts() {
        let mut cells = vec![name.to_owned()];
        for phase in PHASES {
            let (mut bench, worker) = worker_in(phase);
            let event = fact(worker);
            if event == Event::TimePassed {
                bench.now = match bench.pool.workers.get(&worker).map(|known| &known.life) {
                    Some(worker::Life::Starting { deadline, .. }) => *deadline,
                    Some(worker::Life::Draining(leaving)) => leaving.deadline,
                    Some(worker::Life::Killed(leaving) | worker::Life::Leftover(leaving)) => {
                        leaving.deadline + worker::KILL_PATIENCE
                    }
                    // The watch over a ready worker: its first measurement.
                    _ => bench.now + Duration::from_millis(100),
                };
            }
            cells.push(cell(&mut bench, event, Some(worker), |pool| life_in_words(pool, worker)));
        }
        rows.push(cells);
    }
    table("fact", &PHASES, &rows)
}

// ---- a place and wishes ----------------------------------------------------------------------------------

/// A pool of two slots (three for a reserved one), the last one being what is asked for.
fn place_with(holder: &str) -> (Bench, Slot) {
    let mut bench = serving(2);
    if holder == "finished" {
        bench = Bench::new({
            let mut plan = watched_plan(2);
            plan.restart.policy = RestartPolicy::OnFailure;
            plan
        });
        bench.obey_spawns();
        bench.now = bench.now + secs(2);
    }
    let worker = bench.holder(1);
    match holder {
        "starting" => bench.exit(worker, Exit::Code(1)),
        "finished" => bench.exit(worker, Exit::Code(0)),
        "waiting" | "failed" => loop {
            if place_in_words(&bench.pool, Slot(1)) == holder {
                break;
            }
            if let Some(until) = bench.pool.places[&Slot(1)].until() {
                bench.now = until;
                bench.feed(Event::TimePassed);
            }
            for (worker, ..) in bench.unspawned() {
                bench.spawned(worker);
            }
            let worker = bench.pool.places[&Slot(1)].holder().unwrap();
            bench.exit(worker, Exit::Code(1));
        },
        "stopped" => {
            bench.ask(Command::StopSlot { slot: Slot(1) });
            bench.obey_drains();
        }
        "reserved" => {
            bench.reload(watched_plan(3));
            return (bench, Slot(2));
        }
        _ => {}
    }
    (bench, Slot(1))
}

const HOLDERS: [&str; 7] = ["starting", "ready", "waiting", "failed", "finished", "stopped", "reserved"];

fn refused(bench: &mut Bench) -> Event {
    Event::PlanRefused {
        request: bench.request(),
        reason: "unknown key".into(),
        details: "colour = 1".into(),
    }
}

type Wish = fn(&mut Bench, Slot) -> Event;

fn asked(bench: &mut Bench, command: Command) -> Event {
    Event::Asked { request: bench.request(), command }
}

fn wishes() -> Vec<Named<Wish>> {
    vec![
        ("`Restart` of the slot", |bench, slot| asked(bench, Command::Restart { slot: Some(slot) })),
        ("`Restart` of all", |bench, _| asked(bench, Command::Restart { slot: None })),
        ("`PlanLoaded`", |bench, _| {
            let plan = Arc::new(watched_plan(bench.pool.wanted));
            Event::PlanLoaded { request: bench.request(), plan }
        }),
        ("`PlanRefused`", |bench, _| refused(bench)),
        ("`Scale` up by one", |bench, _| asked(bench, Command::Scale { to: ScaleTo::Up(1) })),
        ("`Scale` the slot away", |bench, slot| {
            asked(bench, Command::Scale { to: ScaleTo::Exactly(slot.0) })
        }),
        ("`Signal`", |bench, slot| asked(bench, Command::Signal { slot: Some(slot), signal: 10 })),
        ("`Reset` of the slot", |bench, slot| asked(bench, Command::Reset { slot: Some(slot) })),
        ("`Reset` of all", |bench, _| asked(bench, Command::Reset { slot: None })),
        ("`StopSlot`", |bench, slot| asked(bench, Command::StopSlot { slot })),
        ("`StartSlot`", |bench, slot| asked(bench, Command::StartSlot { slot })),
        ("`Stop`", |bench, _| asked(bench, Command::Stop)),
        ("`Interrupted`", |_, _| Event::Interrupted),
        ("`CalendarElapsed`", |_, _| Event::CalendarElapsed),
        ("`TimePassed` (its next try)", |bench, slot| {
            bench.now = bench.pool.places[&slot].until().unwrap_or(bench.now);
            Event::TimePassed
        }),
    ]
}

fn place_table() -> String {
    let mut rows = Vec::new();
    for (name, wish) in wishes() {
        let mut cells = vec![name.to_owned()];
        for holder in HOLDERS {
            let (mut bench, slot) = place_with(holder);
            assert_eq!(place_in_words(&bench.pool, slot), holder);
            let event = wish(&mut bench, slot);
            cells.push(cell(&mut bench, event, None, |pool| place_in_words(pool, slot)));
        }
        rows.push(cells);
    }
    table("wish", &HOLDERS, &rows)
}

// ---- a rollout -------------------------------------------------------------------------------------------

const COURSES: [&str; 4] = ["none", "forward", "committed", "backward"];

/// A pool of two slots. In every course but none, slot 0 has its new worker.
fn pool_in(course: &str) -> Bench {
    let mut bench = serving(2);
    if course == "none" {
        return bench;
    }
    bench.reload(watched_plan(2));
    bench.obey_spawns();
    bench.now = bench.now + secs(1);
    bench.feed(Event::TimePassed);
    match course {
        "committed" => {
            bench.obey_drains();
            bench.obey_spawns();
            bench.now = bench.now + secs(1);
            bench.feed(Event::TimePassed);
        }
        "backward" => {
            bench.obey_drains();
            let (worker, ..) = bench.unspawned()[0];
            bench.spawned(worker);
            bench.exit(worker, Exit::Code(1));
        }
        _ => bench.obey_drains(),
    }
    bench
}

fn of_place(bench: &Bench, slot: u32) -> WorkerId {
    bench.pool.places[&Slot(slot)].holder().unwrap()
}

/// The worker on its way in: in slot 1 forward, in slot 0 backward.
fn successor(bench: &Bench) -> WorkerId {
    bench.pool.places.values().find_map(|place| place.successor).unwrap_or(WorkerId(99))
}

type Happening = fn(&mut Bench) -> Event;

fn happenings() -> Vec<Named<Happening>> {
    fn exit(worker: WorkerId) -> Event {
        Event::Exited { worker, exit: Exit::Code(1), oom: false }
    }
    vec![
        ("the incoming worker is ready and has been so for `reload.bake`", |bench| {
            let worker = successor(bench);
            if bench.pool.workers.contains_key(&worker) {
                bench.spawned(worker);
            }
            let ready = Event::BecameReady { worker, sign: ReadySign::Notify };
            if course_in_words(&bench.pool) == "backward" {
                // An old worker need not prove itself.
                return ready;
            }
            bench.feed(ready);
            bench.now = bench.now + secs(1);
            Event::TimePassed
        }),
        ("the incoming worker exits", |bench| exit(successor(bench))),
        ("the worker in slot 0 exits", |bench| exit(of_place(bench, 0))),
        ("the worker in slot 1 exits", |bench| exit(of_place(bench, 1))),
        ("the worker in slot 0 is sick", |bench| Event::Probed {
            worker: of_place(bench, 0),
            outcome: Err("status 500".into()),
        }),
        ("the last leaving worker is gone", |bench| {
            let view = bench.pool.view();
            let is_leaving = |phase: Phase| matches!(phase, Phase::Draining | Phase::Stopping);
            let leaving = view.workers.iter().find(|it| is_leaving(it.phase)).map(|it| it.worker);
            let worker = leaving.unwrap_or(WorkerId(99));
            if bench.pool.workers.contains_key(&worker) {
                bench.feed(exit(worker));
            }
            Event::Vacated { worker }
        }),
        ("`PlanLoaded`", |bench| {
            let plan = Arc::new(watched_plan(2));
            Event::PlanLoaded { request: bench.request(), plan }
        }),
        ("`PlanRefused`", refused),
        ("`Restart` of slot 0", |bench| asked(bench, Command::Restart { slot: Some(Slot(0)) })),
        ("`StopSlot` of slot 0", |bench| asked(bench, Command::StopSlot { slot: Slot(0) })),
        ("`StopSlot` of slot 1", |bench| asked(bench, Command::StopSlot { slot: Slot(1) })),
        ("`Scale` to 3", |bench| asked(bench, Command::Scale { to: ScaleTo::Exactly(3) })),
        ("`CalendarElapsed`", |_| Event::CalendarElapsed),
        ("`Stop`", |bench| asked(bench, Command::Stop)),
        ("`Interrupted`", |_| Event::Interrupted),
    ]
}

fn rollout_table() -> String {
    let mut rows = Vec::new();
    for (name, happening) in happenings() {
        let mut cells = vec![name.to_owned()];
        for course in COURSES {
            let mut bench = pool_in(course);
            assert_eq!(course_in_words(&bench.pool), course);
            let event = happening(&mut bench);
            cells.push(cell(&mut bench, event, None, course_in_words));
        }
        rows.push(cells);
    }
    table("what happens", &COURSES, &rows)
}

// ---- the page --------------------------------------------------------------------------------------------

fn table(corner: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {corner} | {} |\n", columns.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(columns.len() + 1));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

#[test]
fn the_tables_of_the_manual_are_what_the_pool_does() {
    let tables = format!(
        "\n### A worker and the facts about it\n\n{}\n### A place and what people wish\n\n{}\n\
         ### A reload and what happens meanwhile\n\n{}",
        worker_table(),
        place_table(),
        rollout_table()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pool.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (prose, written) = page.split_once(BEGIN).expect("docs/pool.md has no tables");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{prose}{BEGIN}{tables}")).unwrap();
        return;
    }
    for (told, done) in written.lines().zip(tables.lines()) {
        assert_eq!(told, done, "docs/pool.md tells otherwise; UPDATE=1 writes what the pool does");
    }
    assert_eq!(written.len(), tables.len(), "docs/pool.md tells more or less than the pool does");
}
