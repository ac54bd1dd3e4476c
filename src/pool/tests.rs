//! What the pool promises, one claim a test, on simulated time.

use super::fixture::{Bench, plan, secs};
use super::*;
use crate::plan::{Plan, Recycle};
use std::time::Duration;

fn serving(workers: u32) -> Bench {
    let mut bench = Bench::new(plan(workers));
    bench.run(secs(5));
    assert_eq!(bench.pool.view().phase, PoolPhase::Serving);
    bench
}

#[test]
fn a_new_pool_starts_every_slot_and_says_ready_once() {
    let bench = serving(4);
    assert_eq!(bench.pool.view().ready, 4);
    let said = bench.effects.iter().filter(|e| **e == Effect::Announce(Announcement::PoolReady)).count();
    assert_eq!(said, 1);
}

#[test]
fn a_crashed_worker_is_replaced_at_once() {
    let mut bench = serving(2);
    let worker = bench.holder(0);
    let effects = bench.feed(Event::Exited { worker, exit: Exit::Signal(9), oom: false });
    assert!(effects.iter().any(|e| matches!(e, Effect::Spawn { slot: Slot(0), .. })), "{effects:?}");
}

#[test]
fn a_crash_loop_backs_off_and_ends_in_a_failed_slot_while_the_sibling_serves() {
    let mut bench = serving(2);
    for _ in 0..20 {
        bench.run(secs(0));
        bench.now = bench.now + Duration::from_millis(50);
        if bench.pool.view().slots[0].phase == SlotPhase::Ready {
            let worker = bench.holder(0);
            bench.exit(worker, Exit::Code(1));
        } else {
            bench.pass(Duration::from_secs(2));
        }
    }
    let view = bench.pool.view();
    assert_eq!(view.slots[0].phase, SlotPhase::Failed);
    assert_eq!(view.slots[1].phase, SlotPhase::Ready);
    assert_eq!(view.phase, PoolPhase::Degraded);
}

#[test]
fn a_reload_replaces_every_worker_with_never_more_than_one_extra() {
    let mut bench = serving(3);
    let request = bench.reload(plan(3));
    let mut most = 0;
    while bench.verdict(request).is_none() {
        most = most.max(bench.pool.view().workers.len());
        assert!(bench.pool.view().ready == 3, "fewer than three were ready");
        bench.obey_spawns();
        most = most.max(bench.pool.view().workers.len());
        bench.pass(secs(1));
        bench.obey_drains();
    }
    assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Done);
    assert_eq!(most, 4);
    assert!(bench.pool.view().workers.iter().all(|worker| worker.generation == GenerationId(2)));
}

#[test]
fn a_new_worker_that_exits_before_it_is_ready_takes_the_reload_back() {
    let mut bench = serving(3);
    let old: Vec<_> = bench.pool.view().workers.iter().map(|worker| worker.worker).collect();
    let request = bench.reload(plan(3));
    let (worker, ..) = bench.unspawned()[0];
    bench.spawned(worker);
    bench.exit(worker, Exit::Code(1));
    let verdict = bench.verdict(request).unwrap();
    assert_eq!(verdict.outcome, Outcome::Failed);
    assert_eq!(verdict.failure.as_ref().unwrap().cause, Cause::Exit(Exit::Code(1)));
    let now: Vec<_> = bench.pool.view().workers.iter().map(|worker| worker.worker).collect();
    assert_eq!(now, old, "the old workers were touched");
}

#[test]
fn a_reload_that_fails_says_whether_the_old_generation_serves_at_all() {
    let mut bench = serving(1);
    let request = bench.reload(plan(1));
    let (worker, ..) = bench.unspawned()[0];
    bench.spawned(worker);
    bench.exit(worker, Exit::Code(1));
    let message = &bench.verdict(request).unwrap().message;
    assert!(message.ends_with("; generation 1 goes on serving"), "{message}");
    let mut bench = Bench::new(plan(2));
    for _ in 0..2 {
        let (worker, ..) = bench.unspawned()[0];
        bench.spawned(worker);
        bench.exit(worker, Exit::Code(1));
    }
    let request = bench.reload(plan(2));
    let (worker, ..) = *bench.unspawned().last().unwrap();
    bench.spawned(worker);
    bench.exit(worker, Exit::Code(1));
    assert_eq!(bench.pool.view().ready, 0);
    let message = &bench.verdict(request).unwrap().message;
    assert!(message.ends_with("; generation 1 stays, without a ready worker"), "{message}");
}

#[test]
fn a_new_worker_that_dies_after_taking_over_brings_the_old_generation_back() {
    let mut bench = serving(2);
    let request = bench.reload(plan(2));
    bench.obey_spawns();
    bench.pass(secs(1));
    bench.obey_drains();
    assert_eq!(bench.pool.view().workers.iter().find(|w| w.slot == Slot(0)).unwrap().generation.0, 2);
    let worker = bench.holder(0);
    bench.exit(worker, Exit::Signal(11));
    bench.run(secs(20));
    assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Failed);
    assert!(bench.pool.view().workers.iter().all(|worker| worker.generation == GenerationId(1)));
    assert_eq!(bench.pool.view().phase, PoolPhase::Serving);
}

#[test]
fn an_old_worker_that_dies_during_a_reload_is_respawned_from_the_old_plan() {
    let mut bench = serving(2);
    bench.reload(plan(2));
    let worker = bench.holder(1);
    let effects = bench.feed(Event::Exited { worker, exit: Exit::Signal(9), oom: false });
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Spawn { slot: Slot(1), generation: GenerationId(1), .. }))
    );
}

#[test]
fn a_worker_that_ignores_the_request_to_leave_is_killed_at_the_deadline() {
    let mut bench = serving(1);
    let worker = bench.holder(0);
    let request = bench.ask(Command::Stop);
    bench.pass(secs(9));
    assert!(!bench.effects.contains(&Effect::Kill { worker }));
    bench.pass(secs(1));
    assert!(bench.effects.contains(&Effect::Kill { worker }));
    bench.exit(worker, Exit::Signal(9));
    assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Done);
    assert!(bench.effects.contains(&Effect::Leave { failure: None }));
}

#[test]
fn a_program_that_cannot_be_run_ends_a_pool_that_never_served() {
    let mut bench = Bench::new(plan(2));
    for (worker, ..) in bench.unspawned() {
        bench.feed(Event::SpawnFailed { worker, failure: SpawnFailure::Program("no such file".into()) });
    }
    let why = "every slot has failed; the worker in slot 0 could not be started: no such file";
    assert!(bench.effects.contains(&Effect::Leave { failure: Some(why.into()) }));
}

#[test]
fn scaling_up_and_down_ends_with_a_verdict_each() {
    let mut bench = serving(2);
    let up = bench.ask(Command::Scale { to: ScaleTo::Up(2) });
    bench.run(secs(1));
    assert_eq!(bench.verdict(up).unwrap().message, "scaled from 2 to 4 workers");
    let down = bench.ask(Command::Scale { to: ScaleTo::Exactly(1) });
    bench.run(secs(1));
    assert_eq!(bench.verdict(down).unwrap().outcome, Outcome::Done);
    assert_eq!(bench.pool.view().workers.len(), 1);
}

#[test]
fn a_second_reload_during_the_first_gets_its_own_verdict() {
    let mut bench = serving(2);
    let first = bench.reload(plan(2));
    let second = bench.reload(plan(3));
    let third = bench.reload(plan(4));
    bench.run(secs(60));
    for request in [first, second, third] {
        assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Done);
    }
    assert_eq!(bench.pool.view().workers.len(), 4);
    assert_eq!(bench.pool.generation(), GenerationId(3), "the waiting reloads were not merged");
}

#[test]
fn a_fact_about_an_unknown_worker_is_only_a_warning() {
    let mut bench = serving(1);
    let worker = WorkerId(999);
    let effects = bench.feed(Event::Vacated { worker });
    assert_eq!(effects, [Effect::Warn(Warning::UnknownWorker { worker, fact: "vacated" })]);
}

/// A pool of one worker with a watchdog of ten seconds, and that worker, ready.
fn watched() -> (Bench, WorkerId) {
    let mut plan = plan(1);
    plan.watchdog = Some(secs(10));
    let mut bench = Bench::new(plan);
    bench.run(secs(1));
    let worker = bench.holder(0);
    assert!(bench.pool.is_ready(worker));
    (bench, worker)
}

#[test]
fn a_worker_that_hangs_before_its_first_ping_misses_its_watchdog() {
    let (mut bench, worker) = watched();
    bench.run(secs(8));
    assert_eq!(bench.holder(0), worker);
    bench.run(secs(5));
    assert_ne!(bench.holder(0), worker);
}

#[test]
fn a_watchdog_interval_that_a_worker_sets_itself_outlives_its_pings() {
    use Notification::{WatchdogInterval, WatchdogPing};
    for (own, lives) in [(secs(60), true), (secs(2), false), (secs(0), true)] {
        let (mut bench, worker) = watched();
        bench.feed(Event::Notified { worker, notification: WatchdogInterval(own) });
        if !own.is_zero() {
            bench.feed(Event::Notified { worker, notification: WatchdogPing });
        }
        bench.run(secs(9));
        assert_eq!(bench.holder(0) == worker, lives, "own interval {own:?} after 9 s");
    }
}

/// A pool of two whose reload has moved slot 0 and is being taken back, slot 0's old worker on its way in.
fn going_back() -> Bench {
    let mut bench = serving(2);
    bench.reload(plan(2));
    bench.obey_spawns();
    bench.pass(secs(1));
    bench.obey_drains();
    let (worker, ..) = bench.unspawned()[0];
    bench.spawned(worker);
    bench.exit(worker, Exit::Code(1));
    assert!(bench.pool.view().reload.unwrap().aborting);
    bench
}

#[test]
fn a_given_up_generation_gets_no_worker_any_more() {
    let mut bench = going_back();
    let (coming, ..) = bench.unspawned()[0];
    let given_up = bench.holder(0);
    let effects = bench.feed(Event::Exited { worker: given_up, exit: Exit::Code(1), oom: false });
    assert!(!effects.iter().any(|it| matches!(it, Effect::Spawn { .. })), "{effects:?}");
    bench.feed(Event::Vacated { worker: given_up });
    assert_eq!(bench.holder(0), coming, "the old generation's worker has the place to itself");
    bench.run(secs(5));
    assert_eq!(bench.pool.view().last_reload.unwrap().verdict.outcome, Outcome::Failed);
    assert!(bench.pool.view().workers.iter().all(|worker| worker.generation == GenerationId(1)));
}

#[test]
fn a_reload_is_given_up_half_way_when_the_old_generation_does_not_come_back_three_times() {
    let mut bench = serving(3);
    let request = bench.reload(plan(3));
    for _ in 0..2 {
        bench.obey_spawns();
        bench.pass(secs(1));
        bench.obey_drains();
    }
    // Slots 0 and 1 are moved; slot 2's new worker fails, and so do the old ones that are to come back.
    let (worker, ..) = bench.unspawned()[0];
    bench.spawned(worker);
    bench.exit(worker, Exit::Code(1));
    for failures in 1..=3 {
        assert_eq!(bench.verdict(request), None, "given up after {failures} failures");
        let (old, _, generation) = bench.unspawned()[0];
        assert_eq!(generation, GenerationId(1));
        bench.spawned(old);
        bench.exit(old, Exit::Code(7));
    }
    let verdict = bench.verdict(request).unwrap();
    assert_eq!((verdict.outcome, verdict.generation), (Outcome::Partly, GenerationId(1)));
    let says = "generation 1 did not come back everywhere, part of generation 2 stays";
    assert!(verdict.message.ends_with(says), "{}", verdict.message);
    let generations: Vec<_> = bench.pool.view().workers.iter().map(|worker| worker.generation.0).collect();
    assert_eq!(generations, [2, 2, 1], "places were emptied");
}

#[test]
fn whoever_waits_for_a_slot_that_a_failed_reload_takes_away_is_told() {
    let mut bench = serving(1);
    bench.reload(plan(2));
    let restart = bench.ask(Command::Restart { slot: Some(Slot(1)) });
    let (worker, ..) = bench.unspawned()[0];
    bench.spawned(worker);
    bench.exit(worker, Exit::Code(1));
    bench.run(secs(20));
    assert_eq!(bench.verdict(restart).unwrap().outcome, Outcome::Failed);
}

#[test]
fn whoever_wished_to_replace_a_worker_that_a_failed_reload_takes_away_is_told() {
    let mut bench = serving(1);
    bench.reload(plan(3));
    // Slot 1, which the reload adds, gets its worker; then slot 2's fails.
    let (first, ..) = bench.unspawned().into_iter().find(|(_, slot, _)| *slot == Slot(1)).unwrap();
    bench.spawned(first);
    bench.feed(Event::BecameReady { worker: first, sign: ReadySign::Notify });
    bench.pass(secs(1));
    let restart = bench.ask(Command::Restart { slot: Some(Slot(1)) });
    assert_eq!(bench.verdict(restart), None);
    let (second, ..) = bench.unspawned().into_iter().find(|(_, slot, _)| *slot == Slot(2)).unwrap();
    bench.spawned(second);
    bench.exit(second, Exit::Code(1));
    bench.run(secs(20));
    assert_eq!(bench.verdict(restart).unwrap().outcome, Outcome::Failed);
}

#[test]
fn a_watchdog_interval_that_the_worker_chose_outlives_its_pings() {
    for (configured, chosen) in [(None, secs(3)), (Some(secs(5)), secs(60)), (Some(secs(60)), secs(5))] {
        let mut watched = plan(1);
        watched.watchdog = configured;
        let mut bench = Bench::new(watched);
        bench.run(secs(1));
        let worker = bench.holder(0);
        let said = |notification| Event::Notified { worker, notification };
        bench.feed(said(Notification::WatchdogInterval(secs(90))));
        bench.feed(said(Notification::WatchdogInterval(chosen)));
        bench.feed(said(Notification::WatchdogPing));
        assert_eq!(bench.pool.next_deadline(), Some((bench.now + chosen, "worker watchdog")));
    }
}

#[test]
fn a_pool_whose_workers_have_all_failed_waits_for_the_reload_that_may_help() {
    let mut strict = plan(1);
    strict.restart.all_failed = crate::plan::AllFailed::Exit;
    strict.restart.limit.burst = 0;
    let mut bench = Bench::new(strict.clone());
    bench.run(secs(5));
    let request = bench.reload(strict);
    let old = bench.holder(0);
    bench.exit(old, Exit::Code(1));
    assert!(bench.pool.view().slots.iter().all(|slot| slot.phase == SlotPhase::Failed));
    assert_eq!(bench.pool.view().phase, PoolPhase::Reloading);
    bench.run(secs(20));
    assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Done);
    assert_eq!(bench.pool.view().phase, PoolPhase::Serving);
}

#[test]
fn so_many_callers_wait_for_one_slot_and_no_more() {
    let mut bench = serving(1);
    for _ in 0..super::queue::MAX_CALLERS {
        let request = bench.ask(Command::Restart { slot: Some(Slot(0)) });
        assert_eq!(bench.verdict(request), None);
    }
    let request = bench.ask(Command::Restart { slot: Some(Slot(0)) });
    assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Refused);
}

#[test]
fn whoever_waits_when_the_pool_is_stopped_hears_just_that() {
    let mut bench = serving(2);
    let reload = bench.reload(plan(2));
    let (restart, scale) = (
        bench.ask(Command::Restart { slot: Some(Slot(0)) }),
        bench.ask(Command::Scale { to: ScaleTo::Exactly(3) }),
    );
    let stop = bench.ask(Command::Stop);
    for request in [reload, restart, scale] {
        assert_eq!(bench.verdict(request).unwrap().outcome, Outcome::Stopped);
    }
    let finished = bench.effects.iter().find_map(|effect| {
        let Effect::Announce(Announcement::ReloadFinished { generation, verdict, .. }) = effect else {
            return None;
        };
        Some((generation, verdict))
    });
    let (generation, verdict) = finished.expect("nobody was told of the reload's end");
    assert_eq!((*generation, verdict.outcome), (GenerationId(2), Outcome::Stopped));
    assert_eq!(bench.pool.view().last_reload.as_ref().map(|last| &last.verdict), Some(verdict));
    bench.run(secs(20));
    assert_eq!(bench.verdict(stop).unwrap().outcome, Outcome::Done);
}

#[test]
fn a_watchdog_interval_that_a_worker_sets_before_it_is_ready_holds_from_then_on() {
    for (configured, own, due) in [
        (None, secs(3), Some(secs(3))),
        (Some(secs(60)), secs(3), Some(secs(3))),
        (Some(secs(3)), secs(60), Some(secs(60))),
        (Some(secs(3)), secs(0), None),
    ] {
        let mut watched = plan(1);
        watched.watchdog = configured;
        let mut bench = Bench::new(watched);
        let (worker, ..) = bench.unspawned()[0];
        bench.spawned(worker);
        let said = |notification| Event::Notified { worker, notification };
        bench.feed(said(Notification::WatchdogInterval(own)));
        bench.now = bench.now + secs(10);
        bench.feed(Event::BecameReady { worker, sign: ReadySign::Notify });
        let deadline = due.map(|due| (bench.now + due, "worker watchdog"));
        assert_eq!(bench.pool.next_deadline(), deadline, "at readiness");
        bench.feed(said(Notification::WatchdogPing));
        assert_eq!(bench.pool.next_deadline(), deadline, "after a ping");
    }
}

#[test]
fn a_ping_does_not_take_back_a_pulled_trigger() {
    let (mut bench, worker) = watched();
    for notification in [Notification::WatchdogTrigger, Notification::WatchdogPing] {
        bench.feed(Event::Notified { worker, notification });
    }
    bench.run(secs(3));
    assert_ne!(bench.holder(0), worker);
}

/// The worker in slot 0 is asked to leave by a restart, does not, is killed, and does not end by that either.
fn restarted_and_stuck(bench: &mut Bench) -> (WorkerId, RequestId) {
    let (old, request) = (bench.holder(0), bench.ask(Command::Restart { slot: Some(Slot(0)) }));
    bench.obey_spawns();
    bench.pass(secs(10));
    assert!(bench.effects.contains(&Effect::Kill { worker: old }));
    assert_eq!(bench.verdict(request), None);
    bench.pass(secs(10));
    (old, request)
}

fn phase_of(bench: &Bench, id: WorkerId) -> Option<Phase> {
    bench.pool.view().workers.iter().find(|worker| worker.worker == id).map(|worker| worker.phase)
}

#[test]
fn a_killed_worker_that_does_not_end_is_stuck_and_nobody_waits_for_it() {
    let mut bench = serving(2);
    let (old, request) = restarted_and_stuck(&mut bench);
    let stuck = Effect::Announce(Announcement::WorkerStuck { worker: old, cause: Cause::Restarted });
    assert_eq!(bench.effects.iter().filter(|effect| **effect == stuck).count(), 1);
    assert_eq!(phase_of(&bench, old), Some(Phase::Stuck));
    let verdict = bench.verdict(request).unwrap();
    let message = "slot 0 was restarted; killed, but held by the kernel: worker 0 of generation 1, pid 1001";
    assert_eq!((verdict.outcome, verdict.message.as_str()), (Outcome::Done, message));
    assert_eq!(bench.pool.next_deadline(), None);
    // It ends after all: what it left is swept, and then it is gone.
    let effects = bench.feed(Event::Exited { worker: old, exit: Exit::Signal(9), oom: false });
    assert!(effects.contains(&Effect::Sweep { worker: old }));
    assert_eq!(phase_of(&bench, old), Some(Phase::Stuck));
    bench.pass(secs(60));
    bench.feed(Event::Vacated { worker: old });
    assert_eq!(phase_of(&bench, old), None);
    assert_eq!(bench.effects.iter().filter(|effect| **effect == stuck).count(), 1);
}

#[test]
fn what_a_worker_left_may_be_stuck_without_it() {
    let mut bench = serving(1);
    let old = bench.holder(0);
    bench.feed(Event::Exited { worker: old, exit: Exit::Code(1), oom: false });
    bench.obey_spawns();
    bench.pass(super::worker::KILL_PATIENCE);
    assert_eq!(phase_of(&bench, old), Some(Phase::Stuck));
    assert_eq!(bench.pool.view().phase, PoolPhase::Serving);
    let again = bench.feed(Event::Exited { worker: old, exit: Exit::Code(1), oom: false });
    assert_eq!(again, [Effect::Warn(Warning::OutOfPlace { worker: old, fact: "exited" })]);
    bench.feed(Event::Vacated { worker: old });
    assert_eq!(phase_of(&bench, old), None);
}

#[test]
fn a_reload_goes_on_and_ends_although_old_workers_are_stuck_and_names_them() {
    let mut bench = serving(6);
    let (request, begun) = (bench.reload(plan(6)), bench.now);
    // Nobody leaves when asked, nor when killed.
    while bench.verdict(request).is_none() {
        bench.obey_spawns();
        assert_eq!(bench.pool.view().ready, 6);
        let (at, _) = bench.pool.next_deadline().expect("the reload has no end");
        bench.now = bench.now.max(at);
        bench.feed(Event::TimePassed);
    }
    assert!(bench.now.since(begun) <= secs(6 * 21 + 1), "{:?}", bench.now.since(begun));
    let verdict = bench.verdict(request).unwrap();
    assert_eq!(verdict.outcome, Outcome::Done);
    assert!(verdict.message.contains("worker 3 of generation 1, pid 1004 and 2 more"), "{}", verdict.message);
    let view = bench.pool.view();
    assert_eq!(view.workers.iter().filter(|worker| worker.phase == Phase::Stuck).count(), 6);
    assert!(
        !bench.effects.iter().any(|effect| matches!(effect, Effect::Retire { .. })),
        "its plan is in use"
    );
}

#[test]
fn a_reload_that_is_taken_back_does_not_wait_for_a_stuck_new_worker() {
    let mut bench = serving(2);
    let request = bench.reload(plan(2));
    let (new, ..) = bench.unspawned()[0];
    bench.spawned(new);
    bench.pass(secs(30 + 10));
    assert!(bench.effects.contains(&Effect::Kill { worker: new }));
    assert_eq!(bench.verdict(request), None);
    bench.pass(super::worker::KILL_PATIENCE);
    let verdict = bench.verdict(request).unwrap();
    assert_eq!(verdict.outcome, Outcome::Failed);
    assert!(
        verdict.message.ends_with("held by the kernel: worker 0 of generation 2, pid 1003"),
        "{verdict:?}"
    );
}

#[test]
fn a_pool_that_ends_leaves_stuck_workers_behind_and_says_so() {
    let mut bench = serving(2);
    let (old, _) = restarted_and_stuck(&mut bench);
    let stop = bench.ask(Command::Stop);
    assert!(bench.pool.busy_until().is_some());
    bench.obey_drains();
    assert_eq!(phase_of(&bench, old), Some(Phase::Stuck));
    let verdict = bench.verdict(stop).unwrap();
    assert_eq!(verdict.outcome, Outcome::Partly);
    assert!(verdict.message.starts_with("stopped; killed, but held by the kernel: worker 0"), "{verdict:?}");
    assert!(bench.effects.contains(&Effect::Leave { failure: None }));
}

#[test]
fn the_time_that_a_killed_worker_is_given_is_asked_for_as_well() {
    let mut bench = serving(1);
    bench.ask(Command::Stop);
    assert_eq!(bench.pool.busy_until(), Some(bench.now + secs(10)));
    bench.pass(secs(10));
    assert_eq!(bench.pool.busy_until(), Some(bench.now + super::worker::KILL_PATIENCE));
}

#[test]
fn while_all_the_pool_has_is_stuck_once_workers_are_replaced_only_on_request() {
    let mut bench = serving(1);
    restarted_and_stuck(&mut bench);
    let effects = bench.feed(Event::CalendarElapsed);
    assert_eq!(effects, [], "one more would hang as well");
    bench.ask(Command::Restart { slot: Some(Slot(0)) });
    assert_eq!(bench.unspawned().len(), 1);
}

/// Nobody gets ready, nobody ends: for so long.
fn hang(bench: &mut Bench, span: Duration) {
    let end = bench.now + span;
    while bench.now < end {
        for (worker, ..) in bench.unspawned() {
            bench.spawned(worker);
        }
        bench.pass(secs(5));
    }
}

fn said(bench: &Bench, wanted: fn(&Announcement) -> bool) -> usize {
    let said = |effect: &&Effect| matches!(effect, Effect::Announce(announcement) if wanted(announcement));
    bench.effects.iter().filter(said).count()
}

#[test]
fn an_app_that_hangs_for_good_while_it_starts_does_not_add_a_process_with_each_attempt() {
    let mut bench = serving(2);
    for slot in 0..2 {
        let worker = bench.holder(slot);
        bench.exit(worker, Exit::Code(1));
    }
    hang(&mut bench, secs(2_000));
    let stuck = bench.pool.stuck();
    assert!((4..=6).contains(&stuck), "{stuck}");
    hang(&mut bench, secs(200_000));
    assert_eq!(
        (bench.pool.stuck(), bench.pool.workers.len()),
        (stuck, stuck),
        "each attempt leaves one more"
    );
    assert_eq!(bench.pool.next_deadline(), None, "it is woken for nothing");
    assert_eq!(said(&bench, |it| matches!(it, Announcement::Jammed { .. })), 1);
    assert!(bench.pool.view().slots.iter().all(|slot| slot.until.is_none()));
    // Some end: those that come now fare better.
    while bench.pool.is_jammed() {
        let worker = *bench.pool.workers.keys().next().unwrap();
        bench.exit(worker, Exit::Signal(9));
    }
    assert_eq!(said(&bench, |it| matches!(it, Announcement::Unjammed)), 1);
    bench.run(secs(5));
    assert_eq!(bench.pool.view().ready, 2);
}

#[test]
fn a_worker_that_is_lost_while_too_many_are_stuck_waits_for_these_and_whoever_asks_does_not() {
    for command in [
        Command::Reset { slot: None },
        Command::Restart { slot: Some(Slot(0)) },
        Command::Restart { slot: None },
        Command::Scale { to: ScaleTo::Up(1) },
    ] {
        let mut bench = serving(1);
        for _ in 0..2 {
            restarted_and_stuck(&mut bench);
        }
        assert!(bench.pool.is_jammed());
        let holder = bench.pool.places[&Slot(0)].holder().unwrap();
        bench.exit(holder, Exit::Code(1));
        assert_eq!(bench.unspawned(), []);
        assert_eq!(bench.pool.next_deadline(), None);
        bench.ask(command.clone());
        assert!(!bench.unspawned().is_empty(), "{command:?}");
    }
}

#[test]
fn a_refused_reload_is_the_last_one_and_changes_nothing() {
    let mut bench = serving(2);
    let (request, before) = (bench.request(), bench.pool.clone());
    let reason = "app.toml:1:1: unknown key".to_owned();
    let details = format!("{reason}\n  1 | colour = 1");
    bench.feed(Event::PlanRefused { request, reason: reason.clone(), details: details.clone() });
    let verdict = bench.verdict(request).unwrap().clone();
    assert_eq!((verdict.outcome, &verdict.message), (Outcome::Refused, &details));
    let news = Announcement::ReloadRefused { reason: reason.clone(), details };
    assert!(bench.effects.contains(&Effect::Announce(news)));
    let verdict = Verdict { message: reason, ..verdict };
    let last = LastReload { verdict, took: Duration::ZERO, ended: bench.now };
    assert_eq!(bench.pool.view(), View { last_reload: Some(last), ..before.view() });
}

#[test]
fn a_restart_of_all_workers_is_called_one() {
    let mut bench = serving(2);
    let old = bench.holder(0);
    let restart = bench.ask(Command::Restart { slot: None });
    bench.run(secs(20));
    let verdict = bench.verdict(restart).unwrap();
    let message = "all workers were restarted: generation 2 serves with 2 workers after 2s";
    assert_eq!((verdict.outcome, verdict.message.as_str()), (Outcome::Done, message));
    let left = Announcement::WorkerDraining { worker: old, cause: Cause::Restarted };
    assert!(bench.effects.contains(&Effect::Announce(left)));
    let begun = Announcement::ReloadStarted { generation: GenerationId(2), purpose: Purpose::Restart };
    assert!(bench.effects.contains(&Effect::Announce(begun)));
}

#[test]
fn a_restart_that_waits_next_to_a_reload_becomes_the_reload() {
    let mut bench = serving(1);
    bench.reload(plan(1));
    let restart = bench.ask(Command::Restart { slot: None });
    let reload = bench.reload(plan(1));
    bench.run(secs(20));
    for request in [restart, reload] {
        let message = &bench.verdict(request).unwrap().message;
        assert!(message.starts_with("generation 3 serves"), "{message}");
    }
}

#[test]
fn a_worker_that_misses_its_watchdog_is_killed_not_asked() {
    let (mut bench, worker) = watched();
    bench.pass(secs(10));
    bench.obey_spawns();
    assert!(bench.effects.contains(&Effect::Kill { worker }));
    assert!(!bench.effects.contains(&Effect::Drain { worker }));
}

#[test]
fn more_time_is_believed_up_to_an_hour_and_never_takes_time_away() {
    let mut bench = serving(1);
    let worker = bench.holder(0);
    bench.ask(Command::Stop);
    let mut deadline_after = |span| {
        bench.feed(Event::Notified { worker, notification: Notification::ExtendTimeout(span) });
        bench.pool.next_deadline().map(|(at, _)| at.since(bench.now))
    };
    assert_eq!(deadline_after(secs(3)), Some(secs(10)));
    assert_eq!(deadline_after(secs(30)), Some(secs(30)));
    assert_eq!(deadline_after(secs(100_000)), Some(secs(3600)));
}

#[test]
fn a_reload_keeps_the_scaled_number_unless_the_plans_was_changed() {
    let mut bench = serving(2);
    bench.ask(Command::Scale { to: ScaleTo::Exactly(3) });
    bench.run(secs(5));
    bench.reload(plan(2));
    let reload = bench.pool.view().reload.unwrap();
    assert_eq!((reload.done, reload.total), (0, 3));
    bench.run(secs(30));
    assert_eq!(bench.pool.view().wanted, 3);
    bench.reload(plan(1));
    bench.run(secs(30));
    assert_eq!(bench.pool.view().wanted, 1);
}

#[test]
fn a_reset_of_one_slot_leaves_the_pools_count() {
    let mut bench = serving(2);
    let worker = bench.holder(0);
    bench.exit(worker, Exit::Code(1));
    bench.ask(Command::Reset { slot: Some(Slot(0)) });
    assert_eq!(bench.pool.view().restarts, 1);
    bench.ask(Command::Reset { slot: None });
    assert_eq!(bench.pool.view().restarts, 0);
}

#[test]
fn a_pool_is_emptied_by_an_explicit_zero_only() {
    let mut bench = serving(2);
    bench.ask(Command::Scale { to: ScaleTo::Down(99) });
    bench.run(secs(1));
    assert_eq!(bench.pool.view().wanted, 1);
    bench.ask(Command::Scale { to: ScaleTo::Exactly(0) });
    bench.run(secs(1));
    assert_eq!(bench.pool.view().wanted, 0);
}

#[test]
fn whoever_waits_longest_is_replaced_next_however_slow_replacements_are() {
    let recycle = Recycle { lifetime: Some(secs(10)), ..Default::default() };
    let mut bench = Bench::new(Plan { recycle, ..plan(3) });
    bench.obey_spawns();
    let first: Vec<WorkerId> = (0..3).map(|slot| bench.holder(slot)).collect();
    for _ in 0..3 {
        // Longer than a lifetime: whoever was replaced is due again.
        bench.pass(secs(11));
        bench.obey_spawns();
        bench.pass(secs(1));
        bench.obey_drains();
    }
    let left = (0..3).filter(|slot| first.contains(&bench.holder(*slot)));
    assert_eq!(left.collect::<Vec<_>>(), [0; 0]);
}

#[test]
fn a_worker_whose_time_came_by_the_calendar_leaves_for_that_reason() {
    let mut bench = serving(1);
    let old = bench.holder(0);
    bench.feed(Event::CalendarElapsed);
    bench.obey_spawns();
    bench.pass(secs(1));
    let left = Announcement::WorkerDraining { worker: old, cause: Cause::Calendar };
    assert!(bench.effects.contains(&Effect::Announce(left)), "{:#?}", bench.effects);
}

#[test]
fn a_hung_worker_is_replaced_before_those_that_only_grew_old_and_is_killed() {
    let recycle = Recycle { lifetime: Some(secs(10)), ..Default::default() };
    let mut bench = Bench::new(Plan { recycle, ..plan(3) });
    bench.obey_spawns();
    let hung = bench.holder(2);
    // All three are due by now, and the first is being replaced.
    bench.pass(secs(10));
    bench.feed(Event::Notified { worker: hung, notification: Notification::WatchdogTrigger });
    for _ in 0..2 {
        bench.obey_spawns();
        bench.pass(secs(1));
        bench.obey_drains();
    }
    assert!(bench.effects.contains(&Effect::Kill { worker: hung }), "{:#?}", bench.pool.view());
    assert_ne!(bench.holder(2), hung);
}

/// How a worker with a stop signal of 15 that is restarted ends in the pool's words, by its exit; `killed`: only
/// after its time to leave has passed.
fn restarted_and_ended(exit: Exit, killed: bool, oom: bool) -> Option<Cause> {
    let mut bench = serving(1);
    let old = bench.holder(0);
    bench.ask(Command::Restart { slot: Some(Slot(0)) });
    bench.obey_spawns();
    bench.pass(secs(2));
    assert_eq!(phase_of(&bench, old), Some(Phase::Draining));
    if killed {
        bench.pass(secs(10));
        assert_eq!(phase_of(&bench, old), Some(Phase::Stopping));
    }
    let before = bench.pool.view().restarts;
    let effects = bench.feed(Event::Exited { worker: old, exit, oom });
    assert_eq!(bench.pool.view().restarts, before, "an end that was wished is no restart");
    effects
        .into_iter()
        .find_map(|effect| {
            let Effect::Announce(Announcement::WorkerExited { cause, expected, ended, .. }) = effect else {
                return None;
            };
            assert_eq!((cause, expected), (Cause::Restarted, true));
            Some(ended)
        })
        .unwrap()
}

#[test]
fn a_worker_that_drains_and_ends_otherwise_than_it_was_told_to_is_told_of() {
    for exit in [Exit::Signal(6), Exit::Signal(9), Exit::Code(1), Exit::Code(137)] {
        assert_eq!(restarted_and_ended(exit, false, false), Some(Cause::Exit(exit)), "{exit:?}");
    }
    assert_eq!(restarted_and_ended(Exit::Signal(9), false, true), Some(Cause::Oom));
    assert_eq!(restarted_and_ended(Exit::Signal(6), true, false), Some(Cause::Exit(Exit::Signal(6))));
}

#[test]
fn the_stop_signal_a_clean_exit_and_the_kill_after_the_timeout_are_no_news() {
    // 143 is 128 and the stop signal: what shells and the JVM make of it.
    for exit in [Exit::Signal(15), Exit::Code(0), Exit::Code(143), Exit::Unknown] {
        assert_eq!(restarted_and_ended(exit, false, false), None, "{exit:?}");
    }
    assert_eq!(restarted_and_ended(Exit::Signal(9), true, true), None);
}

#[test]
fn scaling_to_what_there_is_says_so_in_good_english() {
    for (workers, words) in [(1, "there is 1 worker already"), (2, "there are 2 workers already")] {
        let mut bench = serving(workers);
        let request = bench.ask(Command::Scale { to: ScaleTo::Exactly(workers) });
        assert_eq!(bench.verdict(request).unwrap().message, words);
    }
}

#[test]
fn a_first_start_that_cannot_succeed_ends_with_its_reason() {
    let mut never_ready = Bench::new(plan(2));
    for _ in 0..3 {
        for (worker, ..) in never_ready.unspawned() {
            never_ready.spawned(worker);
        }
        never_ready.pass(secs(30));
        never_ready.obey_drains();
        never_ready.pass(secs(2));
    }
    let left = |bench: &Bench| {
        bench
            .effects
            .iter()
            .find_map(|effect| if let Effect::Leave { failure } = effect { failure.clone() } else { None })
    };
    let reason = left(&never_ready).expect("it goes on for ever");
    assert!(reason.contains("was not ready within 30s"), "{reason}");

    let mut crashing = Bench::new(plan(2));
    while left(&crashing).is_none() && crashing.now < crate::time::Monotonic::ZERO + secs(60) {
        for (worker, ..) in crashing.unspawned() {
            crashing.spawned(worker);
            crashing.exit(worker, Exit::Code(1));
        }
        crashing.pass(Duration::from_millis(100));
    }
    let reason = left(&crashing).expect("it goes on for ever");
    assert!(reason.contains("exited with status 1"), "{reason}");
}

#[test]
fn workers_that_are_found_sick_count_as_restarts_and_are_replaced_only_so_often() {
    let mut bench = serving(1);
    let mut replaced = 0;
    let end = bench.now + secs(59);
    while bench.now < end {
        let worker = bench.holder(0);
        bench.feed(Event::Notified { worker, notification: Notification::WatchdogTrigger });
        bench.run(secs(2));
        if bench.effects.contains(&Effect::Kill { worker }) {
            bench.exit(worker, Exit::Signal(9));
            replaced += 1;
        }
    }
    let view = bench.pool.view();
    assert_eq!((replaced, view.slots[0].last_failure.clone()), (5, Some(Cause::Watchdog)));
    assert_eq!(view.slots[0].restarts, 6, "the last one is found sick as well, and waits");
    let worker = bench.holder(0);
    bench.run(secs(60));
    assert!(bench.effects.contains(&Effect::Kill { worker }), "it is tried again");
}
