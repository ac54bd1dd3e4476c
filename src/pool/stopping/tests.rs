//! What stopping and starting one slot promises, one claim a test, on simulated time.

use super::super::fixture::{Bench, plan, secs};
use super::super::*;
use crate::plan::{AllFailed, RestartPolicy};

const SLOT: Slot = Slot(1);
const STOP: Command = Command::StopSlot { slot: SLOT };
const START: Command = Command::StartSlot { slot: SLOT };

fn serving(workers: u32) -> Bench {
    let mut bench = Bench::new(plan(workers));
    bench.run(secs(5));
    assert_eq!(bench.pool.view().phase, PoolPhase::Serving);
    bench
}

/// Three slots, of which the middle one is stopped.
fn stopped() -> Bench {
    let mut bench = serving(3);
    bench.ask(STOP);
    bench.run(secs(1));
    assert_eq!(phase(&bench), SlotPhase::Stopped);
    bench
}

fn phase(bench: &Bench) -> SlotPhase {
    bench.pool.view().slots[1].phase
}

fn told(bench: &Bench, request: RequestId) -> (Outcome, &str) {
    let verdict = bench.verdict(request).expect("there is no verdict");
    (verdict.outcome, verdict.message.as_str())
}

fn has_left(bench: &Bench) -> bool {
    bench.effects.iter().any(|effect| matches!(effect, Effect::Leave { .. }))
}

fn in_slot(bench: &Bench) -> usize {
    bench.pool.view().workers.iter().filter(|worker| worker.slot == SLOT).count()
}

#[test]
fn a_stop_is_answered_when_the_worker_is_gone_and_the_slot_stays_empty() {
    let mut bench = serving(3);
    let worker = bench.holder(1);
    let request = bench.ask(STOP);
    let cause = Cause::SlotStopped;
    let draining = Effect::Announce(Announcement::WorkerDraining { worker, cause });
    assert!(bench.effects.contains(&Effect::Drain { worker }) && bench.effects.contains(&draining));
    assert_eq!(phase(&bench), SlotPhase::Leaving);
    bench.feed(Event::Exited { worker, exit: Exit::Code(0), oom: false });
    assert_eq!(bench.verdict(request), None, "something of the worker may still run");
    bench.feed(Event::Vacated { worker });
    assert_eq!(told(&bench, request), (Outcome::Done, "slot 1 is stopped"));
    bench.feed(Event::CalendarElapsed);
    bench.run(secs(100_000));
    let view = bench.pool.view();
    assert_eq!((view.ready, view.wanted, view.phase), (2, 3, PoolPhase::Degraded));
    assert_eq!((phase(&bench), in_slot(&bench), view.restarts), (SlotPhase::Stopped, 0, 0));
}

/// What the verdict says of a worker that ends so after it was asked to leave.
fn verdict_after(end: impl FnOnce(&mut Bench, WorkerId)) -> (Outcome, String) {
    let mut bench = serving(3);
    let worker = bench.holder(1);
    let request = bench.ask(STOP);
    end(&mut bench, worker);
    let (outcome, message) = told(&bench, request);
    (outcome, message.to_owned())
}

#[test]
fn the_verdict_tells_how_the_worker_came_to_its_end() {
    let killed = verdict_after(|bench, worker| {
        bench.pass(secs(10));
        bench.exit(worker, Exit::Signal(9));
    });
    let in_time = "slot 1 is stopped; its worker did not leave in time and was killed";
    assert_eq!(killed, (Outcome::Done, in_time.to_owned()));
    let crashed = verdict_after(|bench, worker| bench.exit(worker, Exit::Signal(6)));
    assert_eq!(crashed.1, "slot 1 is stopped; its worker was killed by signal 6 (ABRT)");
    let failed = verdict_after(|bench, worker| bench.exit(worker, Exit::Code(3)));
    assert_eq!(failed, (Outcome::Done, "slot 1 is stopped; its worker exited with status 3".to_owned()));
    let (outcome, message) = verdict_after(|bench, _| bench.pass(secs(30)));
    assert_eq!(outcome, Outcome::Partly, "{message}");
    assert!(
        message.ends_with("killed, but held by the kernel: worker 1 of generation 1, pid 1002"),
        "{message}"
    );
}

#[test]
fn stopping_the_last_one_that_serves_ends_nothing() {
    let mut bench = serving(1);
    let request = bench.ask(Command::StopSlot { slot: Slot(0) });
    bench.run(secs(100_000));
    let message = "slot 0 is stopped; no worker is ready now";
    assert_eq!(told(&bench, request), (Outcome::Done, message));
    assert_eq!(bench.pool.view().phase, PoolPhase::Down);
    assert!(!has_left(&bench));
    assert_eq!(bench.pool.next_deadline(), None);
    bench.ask(Command::StartSlot { slot: Slot(0) });
    bench.run(secs(5));
    assert_eq!(bench.pool.view().phase, PoolPhase::Serving);
}

#[test]
fn a_pool_does_not_end_by_itself_while_a_slot_can_be_started() {
    for (policy, exit) in [(RestartPolicy::Never, Exit::Code(0)), (RestartPolicy::Always, Exit::Code(1))] {
        let mut plan = plan(2);
        plan.restart.policy = policy;
        (plan.restart.all_failed, plan.restart.limit.burst) = (AllFailed::Exit, 0);
        let mut bench = Bench::new(plan);
        bench.run(secs(5));
        let other = bench.holder(0);
        bench.ask(STOP);
        bench.run(secs(5));
        bench.exit(other, exit);
        bench.run(secs(5));
        assert!(!has_left(&bench), "{policy:?}");
        let first = bench.pool.view().slots[0].phase;
        assert!(matches!(first, SlotPhase::Finished | SlotPhase::Failed), "{first:?}");
    }
}

#[test]
fn a_second_stop_is_answered_and_changes_nothing() {
    let mut bench = serving(3);
    let (first, second) = (bench.ask(STOP), bench.ask(STOP));
    assert_eq!(bench.verdict(second), None);
    bench.obey_drains();
    assert_eq!(told(&bench, first), (Outcome::Done, "slot 1 is stopped"));
    assert_eq!(told(&bench, second), (Outcome::Done, "slot 1 is stopped"));
    let third = bench.ask(STOP);
    assert_eq!(told(&bench, third), (Outcome::Done, "slot 1 is stopped already"));
}

#[test]
fn a_slot_that_does_not_exist_is_neither_stopped_nor_started() {
    let mut bench = serving(3);
    for command in [Command::StopSlot { slot: Slot(3) }, Command::StartSlot { slot: Slot(3) }] {
        let request = bench.ask(command);
        assert_eq!(told(&bench, request), (Outcome::NotFound, "there is no slot 3: the slots are 0 to 2"));
    }
}

#[test]
fn a_stopped_slot_is_started_by_whoever_names_it() {
    let restart = Command::Restart { slot: Some(SLOT) };
    for command in [START, restart] {
        let mut bench = stopped();
        let request = bench.ask(command);
        assert_eq!((phase(&bench), bench.verdict(request)), (SlotPhase::Starting, None));
        bench.obey_spawns();
        assert_eq!(told(&bench, request), (Outcome::Done, "slot 1 was started"));
    }
    let mut bench = stopped();
    bench.ask(Command::Reset { slot: Some(SLOT) });
    bench.run(secs(1));
    assert_eq!(phase(&bench), SlotPhase::Ready);
    let request = bench.ask(START);
    assert_eq!(told(&bench, request), (Outcome::Done, "slot 1 runs already"));
}

#[test]
fn what_is_asked_of_all_slots_leaves_a_stopped_one_stopped() {
    let mut bench = stopped();
    bench.ask(Command::Reset { slot: None });
    bench.run(secs(5));
    assert_eq!(phase(&bench), SlotPhase::Stopped);
    let restart = bench.ask(Command::Restart { slot: None });
    bench.run(secs(60));
    let (outcome, message) = told(&bench, restart);
    assert_eq!(outcome, Outcome::Done);
    assert!(message.contains("generation 2 serves with 2 workers"), "{message}");
    assert!(message.ends_with("; slot 1 stays stopped"), "{message}");
    let reload = bench.reload(plan(3));
    assert_eq!(bench.pool.view().reload.map(|reload| (reload.done, reload.total)), Some((0, 2)));
    bench.run(secs(60));
    assert!(told(&bench, reload).1.ends_with("; slot 1 stays stopped"));
    assert_eq!((phase(&bench), in_slot(&bench)), (SlotPhase::Stopped, 0));
    assert_eq!(bench.pool.generations.len(), 1, "a stopped slot keeps an old plan");
    bench.ask(START);
    bench.run(secs(5));
    assert_eq!(bench.pool.workers[&bench.holder(1)].generation, GenerationId(3));
}

#[test]
fn a_slot_is_stopped_in_the_middle_of_a_reload_which_goes_on_without_it() {
    let mut bench = serving(3);
    let reload = bench.reload(plan(3));
    // Slot 0 is moved, slot 1 has both its old worker and the new one.
    while in_slot(&bench) < 2 {
        bench.obey_spawns();
        bench.obey_drains();
        bench.pass(secs(1));
    }
    let stop = bench.ask(STOP);
    bench.run(secs(60));
    assert_eq!(told(&bench, stop), (Outcome::Done, "slot 1 is stopped"));
    let (outcome, message) = told(&bench, reload);
    assert_eq!(outcome, Outcome::Done);
    assert!(message.ends_with("; slot 1 stays stopped"), "{message}");
    assert_eq!((bench.pool.view().ready, in_slot(&bench)), (2, 0));
}

#[test]
fn a_reload_that_is_taken_back_leaves_a_slot_that_was_stopped_meanwhile_stopped() {
    let mut bench = serving(3);
    let reload = bench.reload(plan(3));
    while bench.pool.view().reload.is_some_and(|reload| reload.done < 2) {
        bench.obey_spawns();
        bench.obey_drains();
        bench.pass(secs(1));
    }
    bench.ask(STOP);
    bench.obey_drains();
    let (last, ..) = bench.unspawned()[0];
    bench.spawned(last);
    bench.exit(last, Exit::Code(1));
    bench.run(secs(60));
    assert_eq!(told(&bench, reload).0, Outcome::Failed);
    let view = bench.pool.view();
    assert_eq!((view.ready, phase(&bench), in_slot(&bench)), (2, SlotPhase::Stopped, 0));
    assert!(view.workers.iter().all(|worker| worker.generation == GenerationId(1)));
}

#[test]
fn a_slot_that_is_started_in_the_middle_of_a_reload_is_moved_with_the_others() {
    let mut bench = stopped();
    let reload = bench.reload(plan(3));
    let start = bench.ask(START);
    bench.run(secs(60));
    assert_eq!(told(&bench, start).0, Outcome::Done);
    assert_eq!(told(&bench, reload).0, Outcome::Done);
    let view = bench.pool.view();
    assert!(view.ready == 3 && view.workers.iter().all(|worker| worker.generation == GenerationId(2)));
}

#[test]
fn the_later_of_two_wishes_counts_and_whoever_had_the_earlier_hears_so() {
    let mut bench = serving(3);
    let restart = bench.ask(Command::Restart { slot: Some(SLOT) });
    let stop = bench.ask(STOP);
    let superseded = |message| (Outcome::Superseded, message);
    assert_eq!(told(&bench, restart), superseded("a later request stopped slot 1"));
    let start = bench.ask(START);
    assert_eq!(told(&bench, stop), superseded("a later request started slot 1"));
    let again = bench.ask(STOP);
    assert_eq!(told(&bench, start), superseded("a later request stopped slot 1"));
    bench.run(secs(60));
    assert_eq!(told(&bench, again).0, Outcome::Done);
    assert_eq!((phase(&bench), in_slot(&bench)), (SlotPhase::Stopped, 0));
}

#[test]
fn a_slot_that_waits_or_gave_up_is_stopped_at_once_and_not_tried_again() {
    let mut bench = serving(3);
    let worker = bench.holder(1);
    bench.exit(worker, Exit::Code(1));
    let (fresh, ..) = bench.unspawned()[0];
    bench.spawned(fresh);
    bench.exit(fresh, Exit::Code(1));
    assert_eq!(phase(&bench), SlotPhase::Waiting);
    let request = bench.ask(STOP);
    assert_eq!(told(&bench, request), (Outcome::Done, "slot 1 is stopped"));
    bench.run(secs(1_000));
    assert_eq!((phase(&bench), in_slot(&bench)), (SlotPhase::Stopped, 0));
}

#[test]
fn a_worker_that_was_ordered_and_cannot_be_started_is_no_failure_of_a_stopped_slot() {
    let mut bench = serving(3);
    let worker = bench.holder(1);
    bench.exit(worker, Exit::Code(1));
    let (fresh, ..) = bench.unspawned()[0];
    let request = bench.ask(STOP);
    let failure = SpawnFailure::Resources("EAGAIN".into());
    bench.feed(Event::SpawnFailed { worker: fresh, failure });
    assert_eq!(told(&bench, request), (Outcome::Done, "slot 1 is stopped"));
    assert_eq!(phase(&bench), SlotPhase::Stopped);
}

#[test]
fn scaling_counts_a_stopped_slot_and_what_is_scaled_away_comes_back_running() {
    let mut bench = stopped();
    let request = bench.ask(Command::Scale { to: ScaleTo::Up(1) });
    bench.run(secs(5));
    let message = "scaled from 3 to 4 workers; slot 1 stays stopped";
    assert_eq!(told(&bench, request), (Outcome::Done, message));
    assert_eq!(bench.pool.view().ready, 3);
    bench.ask(Command::Scale { to: ScaleTo::Exactly(1) });
    bench.run(secs(5));
    assert_eq!(bench.pool.view().ready, 1);
    let request = bench.ask(Command::Scale { to: ScaleTo::Exactly(2) });
    bench.run(secs(5));
    assert_eq!(told(&bench, request), (Outcome::Done, "scaled from 1 to 2 workers"));
    assert_eq!((bench.pool.view().ready, phase(&bench)), (2, SlotPhase::Ready));
}

#[test]
fn whoever_waits_for_a_stop_of_a_slot_that_is_scaled_away_does_not_hear_that_it_is_stopped() {
    let mut bench = serving(3);
    let request = bench.ask(STOP);
    bench.ask(Command::Scale { to: ScaleTo::Exactly(1) });
    let message = "a later request set the pool to 1 worker";
    assert_eq!(told(&bench, request), (Outcome::Superseded, message));
}

#[test]
fn a_scaling_stands_though_one_of_its_slots_is_stopped_meanwhile() {
    let mut bench = serving(1);
    let scaling = bench.ask(Command::Scale { to: ScaleTo::Exactly(3) });
    bench.ask(STOP);
    bench.run(secs(5));
    let message = "scaled from 1 to 3 workers; slot 1 was stopped meanwhile";
    assert_eq!(told(&bench, scaling), (Outcome::Done, message));
}

#[test]
fn who_starts_a_slot_that_its_policy_gives_up_does_not_hear_that_it_is_tried_again() {
    let mut plan = plan(1);
    plan.restart.policy = RestartPolicy::Never;
    let mut bench = Bench::new(plan);
    let request = bench.ask(Command::StartSlot { slot: Slot(0) });
    let (worker, ..) = bench.unspawned()[0];
    bench.spawned(worker);
    bench.feed(Event::Exited { worker, exit: Exit::Code(5), oom: false });
    bench.feed(Event::Vacated { worker });
    let message = "the worker in slot 0 exited with status 5; by restart.policy it is not started again";
    assert_eq!(told(&bench, request), (Outcome::Partly, message));
}

#[test]
fn a_slot_that_is_stopped_before_it_was_ready_holds_the_first_start_up_no_longer() {
    let said = |bench: &Bench| bench.effects.contains(&Effect::Announce(Announcement::PoolReady));
    let mut bench = Bench::new(plan(2));
    let (first, ..) = bench.unspawned()[0];
    bench.spawned(first);
    bench.feed(Event::BecameReady { worker: first, sign: ReadySign::Notify });
    assert!(!said(&bench));
    bench.ask(STOP);
    assert!(said(&bench));

    let mut bench = Bench::new(plan(2));
    bench.ask(STOP);
    bench.ask(Command::StopSlot { slot: Slot(0) });
    assert!(said(&bench) && !has_left(&bench), "nobody is meant to run");
}

#[test]
fn a_first_start_fails_by_the_slots_that_are_meant_to_run() {
    let mut bench = Bench::new(plan(2));
    bench.ask(STOP);
    for (worker, ..) in bench.unspawned() {
        let failure = SpawnFailure::Program("/usr/bin/app: no such file".into());
        bench.feed(Event::SpawnFailed { worker, failure });
    }
    assert!(has_left(&bench));
}

#[test]
fn a_pool_that_ends_answers_whoever_waits_for_a_stop() {
    let mut bench = serving(3);
    let request = bench.ask(STOP);
    bench.ask(Command::Stop);
    assert_eq!(told(&bench, request).0, Outcome::Stopped);
    bench.run(secs(60));
    assert!(has_left(&bench));
}

#[test]
fn so_many_callers_wait_for_a_stop_and_no_more() {
    let mut bench = serving(3);
    for _ in 0..super::MAX_CALLERS {
        bench.ask(STOP);
    }
    let one_more = bench.ask(STOP);
    assert_eq!(told(&bench, one_more), (Outcome::Refused, "too many requests are waiting"));
}
