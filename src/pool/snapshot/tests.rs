//! The sample of the format, and documents that are no pool's. That a restored pool has the same future is
//! shown by the simulation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::super::fixture::{Bench, plan, secs};
use super::super::*;
use super::*;
use crate::plan::{
    Address, AllFailed, Balance, Calendar, Command as Program, Health, HealthCheck, HttpProbe, Limit, Listen,
    Plan, ProbeAddress, Protocol, Recycle, Sink, SlotTemplate, SocketEnv, SocketKind, Unmatched,
};
use crate::proto::state::State;

const SAMPLE: &[u8] = include_bytes!("../../../tests/golden/state/v1.json");

fn not_utf8(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

/// A plan with something in every field.
fn full_plan(workers: u32) -> Plan {
    let probe = HttpProbe {
        address: ProbeAddress::Inet(SlotTemplate::parse("127.0.0.1:{9100+slot}").unwrap()),
        path: "/healthz?full=1".into(),
        host: "localhost".into(),
    };
    let listen = [
        Address::Inet("[::1]:3000".parse().unwrap()),
        Address::Unix(PathBuf::from(not_utf8(b"/run/\xff.sock"))),
        Address::Abstract(b"\x00\xfe".to_vec()),
    ];
    let mut plan = plan(workers);
    plan.command = Program {
        argv: vec!["/usr/bin/app".into(), not_utf8(b"--title=\xfcber")],
        directory: Some(PathBuf::from("/srv/app")),
        env: BTreeMap::from([
            ("PASSWORD".into(), "hunter2".into()),
            (not_utf8(b"ODD\xff"), not_utf8(b"\x80")),
        ]),
        user: Some("app".into()),
        group: Some("www".into()),
        instance_var: "INSTANCE".into(),
    };
    plan.listen = listen
        .into_iter()
        .map(|address| Listen { kind: SocketKind::Stream, address, name: "web".into(), backlog: 511 })
        .collect();
    plan.protocol = Protocol::Stdin;
    plan.socket_env = vec![SocketEnv::Einhorn, SocketEnv::ServerStarter];
    plan.ready.http = Some(probe.clone());
    plan.ready.fd = Some(7);
    plan.restart.all_failed = AllFailed::Exit;
    plan.stop.message = Some("shutdown".into());
    plan.recycle = Recycle {
        memory: Some(500 << 20),
        lifetime: Some(secs(86_400)),
        jitter_percent: 10,
        calendar: Calendar::parse("Mon..Fri 04:00").ok(),
    };
    plan.limit = Limit {
        memory: Some(1 << 30),
        memory_high: Some(900 << 20),
        cpu_percent: Some(150),
        tasks: Some(64),
    };
    plan.watchdog = Some(Duration::from_millis(300_500));
    plan.health = Some(Health {
        check: HealthCheck::Http(probe),
        interval: secs(10),
        timeout: secs(2),
        failures: 3,
        grace: secs(30),
    });
    plan.log.stdout = Sink::File(PathBuf::from(not_utf8(b"/var/log/\xe9")));
    plan.log.stderr = Sink::Null;
    plan.node.balance = Balance::RoundRobin;
    plan.node.unmatched = Unmatched::Refuse;
    plan
}

/// A pool in the middle of everything.
fn busy_pool() -> (Pool, Monotonic) {
    let mut bench = Bench::new(full_plan(3));
    bench.run(secs(5));
    let (first, second) = (bench.holder(0), bench.holder(1));
    bench.feed(Event::Notified { worker: first, notification: Notification::WatchdogPing });
    bench.feed(Event::Notified { worker: second, notification: Notification::Status("busy".into()) });
    bench.feed(Event::Notified { worker: second, notification: Notification::WatchdogInterval(secs(400)) });
    bench.feed(Event::MemoryMeasured { worker: second, bytes: 600 << 20 });
    bench.run(secs(2));
    let last = bench.holder(2);
    bench.exit(last, Exit::Signal(11));
    bench.run(Duration::from_millis(1));
    let failed = bench.reload(full_plan(3));
    let (broken, ..) = bench.unspawned()[0];
    let failure = SpawnFailure::Program("/usr/bin/app: no such file".into());
    bench.feed(Event::SpawnFailed { worker: broken, failure });
    assert!(bench.verdict(failed).is_some());
    // The old worker of slot 0 is still leaving, and somebody waits for that.
    bench.ask(Command::Restart { slot: Some(Slot(0)) });
    bench.obey_spawns();
    let mut other = full_plan(4);
    if let Some(health) = &mut other.health {
        health.check = HealthCheck::Exec(vec!["check".into()]);
    }
    bench.reload(other);
    for (worker, ..) in bench.unspawned() {
        bench.spawned(worker);
    }
    bench.ask(Command::Restart { slot: Some(Slot(1)) });
    bench.ask(Command::Scale { to: ScaleTo::Up(2) });
    bench.reload(full_plan(2));
    (bench.pool, bench.now)
}

#[test]
fn every_field_of_a_pool_and_of_its_plans_survives() {
    let (pool, now) = busy_pool();
    let document = pool.save().write().unwrap();
    assert_eq!(Pool::restore(State::read(&document).unwrap(), now), Ok(pool));
}

/// A document of version 1 has to stay readable for as long as a ganger of today may be replaced by one of
/// tomorrow: the sample is never rewritten. A format that cannot read it is version 2.
#[test]
fn the_sample_of_version_1_is_still_a_pool() {
    let state = State::read(SAMPLE).unwrap();
    let pool = Pool::restore(state.clone(), instant_of(state.settled_at)).unwrap();
    assert_eq!(pool.save(), state, "something in the sample is not understood any more");
    let view = pool.view();
    assert_eq!((view.wanted, view.ready, view.phase), (3, 3, PoolPhase::Reloading));
    let plan = &pool.present.command;
    assert_eq!(plan.argv[1], not_utf8(b"--title=\xfcber"));
    assert_eq!(plan.env.get(&not_utf8(b"ODD\xff")), Some(&not_utf8(b"\x80")));
    assert_eq!(pool.last_request(), Some(RequestId(7)));
}

/// The same for what was added to version 1 since: an older ganger passes it over, a newer one still knows it.
#[test]
fn the_sample_of_what_was_added_to_version_1_is_still_a_pool() {
    let state = State::read(include_bytes!("../../../tests/golden/state/v1-added.json")).unwrap();
    let pool = Pool::restore(state.clone(), instant_of(state.settled_at)).unwrap();
    assert_eq!(pool.save(), state, "something in the sample is not understood any more");
    let view = pool.view();
    assert_eq!(view.workers.iter().filter(|worker| worker.phase == Phase::Stuck).count(), 2);
    assert_eq!(pool.workers[&view.workers[0].worker].own_watchdog, Some(secs(400)));
}

/// One worker that is stuck, one of which something is, and one that set its own watchdog.
#[test]
fn a_pool_with_stuck_workers_is_the_same_after_it_was_written_and_restored() {
    let mut bench = Bench::new(plan(2));
    bench.run(secs(5));
    let (first, second) = (bench.holder(0), bench.holder(1));
    bench.feed(Event::Exited { worker: first, exit: Exit::Code(1), oom: false });
    bench.feed(Event::Notified { worker: second, notification: Notification::Stopping });
    let (fresh, ..) = bench.unspawned()[0];
    bench.feed(Event::Notified { worker: fresh, notification: Notification::WatchdogInterval(secs(400)) });
    bench.obey_spawns();
    bench.pass(secs(20));
    let (pool, now) = (bench.pool, bench.now);
    let document = pool.save().write().unwrap();
    assert_eq!(Pool::restore(State::read(&document).unwrap(), now), Ok(pool));
}

/// A slot that is stopped, one that is being stopped, and somebody who waits for that.
fn stopped_pool() -> Bench {
    let mut bench = Bench::new(plan(3));
    bench.run(secs(5));
    bench.ask(Command::StopSlot { slot: Slot(1) });
    bench.run(secs(5));
    bench.ask(Command::StopSlot { slot: Slot(2) });
    bench
}

#[test]
fn a_stopped_slot_stays_one_after_it_was_written_and_restored() {
    let Bench { pool, now, .. } = stopped_pool();
    let document = pool.save().write().unwrap();
    assert_eq!(Pool::restore(State::read(&document).unwrap(), now), Ok(pool));
}

/// What was added to version 1 for stopped slots: an older ganger leaves such a place empty as well.
#[test]
fn the_sample_of_stopped_slots_is_still_a_pool() {
    let state = State::read(include_bytes!("../../../tests/golden/state/v1-stopped.json")).unwrap();
    let pool = Pool::restore(state.clone(), instant_of(state.settled_at)).unwrap();
    assert_eq!(pool.save(), state, "something in the sample is not understood any more");
    let phases: Vec<SlotPhase> = pool.view().slots.iter().map(|slot| slot.phase).collect();
    assert_eq!(phases, [SlotPhase::Ready, SlotPhase::Stopped, SlotPhase::Leaving]);
    assert_eq!(pool.waiters[0].stops, Some(Slot(2)));
    let mut successor = state;
    successor.places[1].successor = Some(successor.workers[0].worker);
    successor.workers[0].slot = 1;
    successor.places[0].holder = state::Holder::Vacant;
    let error = Pool::restore(successor, pool.settled_at).unwrap_err().to_string();
    assert!(error.contains("slot 1 is stopped, and a worker is to take it over"), "{error}");
}

#[test]
fn a_state_from_before_the_last_boot_is_refused() {
    let state = State::read(SAMPLE).unwrap();
    assert_eq!(Pool::restore(state, Monotonic::ZERO), Err(RestoreError::OtherBoot));
}

type Spoil = fn(&mut State);

/// Restoring the sample after `spoil`.
fn spoilt(spoil: Spoil) -> Result<Pool, RestoreError> {
    let mut state = State::read(SAMPLE).unwrap();
    let now = instant_of(state.settled_at);
    spoil(&mut state);
    Pool::restore(state, now)
}

#[test]
fn a_state_that_does_not_fit_together_is_refused_with_the_reason() {
    let spoils: [(&str, Spoil); 16] = [
        ("the serving generation 99 has no plan", |it| it.generation = 99),
        ("generation 1 is there twice", |it| it.generations.push(it.generations[0].clone())),
        ("slot 1 is there twice", |it| it.places.push(it.places[1].clone())),
        ("there are not 4 slots from 0 on", |it| it.places.truncate(1)),
        ("workers are wanted in a rollout", |it| it.wanted = 9),
        ("4000000000 workers are wanted", |it| it.wanted = 4_000_000_000),
        ("is of generation 77, which has no plan", |it| it.places[0].generation = 77),
        ("which is not there", |it| it.places[0].holder = state::Holder::Worker(4_000)),
        ("of slot 1", |it| it.places[0].holder = it.places[1].holder.clone()),
        ("is there twice", |it| it.workers.push(it.workers[0].clone())),
        ("is of generation 77, which has no plan", |it| it.workers[0].generation = 77),
        ("is not born yet", |it| it.next_worker = 1),
        ("is not born yet", |it| it.next_generation = 1),
        ("a rollout that cannot be under way", |it| it.rollout.as_mut().unwrap().target = 1),
        ("its command cannot be run", |it| it.generations[0].plan.command.argv.clear()),
        ("the app's name is not", |it| it.generations[0].plan.app = "../x".into()),
    ];
    for (number, (reason, spoil)) in spoils.into_iter().enumerate() {
        let error = spoilt(spoil).expect_err(reason).to_string();
        assert!(error.contains(reason), "{number}: {error:?} does not say {reason:?}");
    }
}

#[test]
fn a_state_with_one_value_garbled_is_an_error_or_a_pool_that_goes_on() {
    let document = String::from_utf8(SAMPLE.to_vec()).unwrap();
    let mut pools = 0;
    for (at, _) in document.match_indices(|c: char| c.is_ascii_digit()).step_by(5) {
        for digit in ["0", "7", "-", "99999999999"] {
            let garbled = format!("{}{digit}{}", &document[..at], &document[at + 1..]);
            let Ok(state) = State::read(garbled.as_bytes()) else { continue };
            let now = instant_of(state.settled_at);
            if let Ok(mut pool) = Pool::restore(state, now) {
                pools += 1;
                let later = now + secs(3_600);
                pool.handle(later, Event::TimePassed);
                pool.handle(later, Event::Interrupted);
                assert_eq!(pool.view().phase, PoolPhase::Stopping);
            }
        }
    }
    assert!(pools > 50, "{pools} garbled documents were pools: this test tests nothing");
}
