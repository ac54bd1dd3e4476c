//! What a birth that fails leaves behind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::checking::Checks;
use super::super::measuring::Meter;
use super::super::output::Output;
use super::super::subjects::Subjects;
use super::super::world::World;
use crate::os::{clock, files, pipes};
use crate::plan::{Plan, Protocol};
use crate::pool::{Event, GenerationId, ReadySign, Slot, WorkerId, fixture};

const GENERATION: GenerationId = GenerationId(1);
const SLOT: Slot = Slot(0);

/// A world without sockets and control groups, for Node workers of this command.
fn world(folder: &Path, command: &[&str]) -> World {
    let mut world = World {
        app: "app".to_owned(),
        listeners: Vec::new(),
        bound: Vec::new(),
        socket_files: Vec::new(),
        meter: Meter::default(),
        checks: Checks::default(),
        subjects: Subjects::new().unwrap(),
        generations: BTreeMap::new(),
        processes: BTreeMap::new(),
        by_pid: BTreeMap::new(),
        notify: pipes::token().unwrap(),
        notify_path: folder.join("notify"),
        groups: None,
        leftovers: Vec::new(),
        output: Output::here(false),
        null: files::open_null().unwrap(),
        open_files: None,
        sweep_again: None,
        unsettled: None,
        facts: VecDeque::new(),
        node: None,
        messages: None,
        said: BTreeSet::new(),
    };
    let mut plan: Plan = fixture::plan(1);
    plan.protocol = Protocol::Node;
    plan.command.argv = command.iter().map(Into::into).collect();
    world.prepare(GENERATION, SLOT, &Arc::new(plan)).unwrap();
    world
}

/// Tries a birth until it is known that it failed; whether the worker had a channel for a time.
fn fails(world: &mut World, worker: WorkerId) -> bool {
    world.spawn(clock::now(), worker, SLOT, GENERATION);
    let had = world.heard(worker).is_some();
    while world.facts.is_empty() {
        poll(&mut [PollFd::new(world.subjects.poller().as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)
            .unwrap();
        world.start_decided(worker);
    }
    let fact = world.facts.pop_front().unwrap();
    assert!(matches!(fact, Event::SpawnFailed { .. }), "{fact:?}");
    had
}

#[test]
fn workers_whose_program_cannot_be_run_leave_no_channel() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(folder.path(), &["/missing/node", "server.js"]);
    for id in (1..=20).map(WorkerId) {
        assert!(fails(&mut world, id), "it had a channel while it was being born");
        assert_eq!(world.heard(id), None);
    }
}

#[test]
fn workers_that_never_became_a_process_leave_no_channel() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(folder.path(), &["/missing/node", "server.js"]);
    world.generations.get_mut(&GENERATION).unwrap().templates.clear();
    for id in (1..=20).map(WorkerId) {
        fails(&mut world, id);
        assert_eq!(world.heard(id), None);
    }
}

#[test]
fn what_a_worker_says_comes_after_its_start_though_it_was_seen_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(folder.path(), &["/bin/sleep", "60"]);
    let worker = WorkerId(1);
    world.spawn(clock::now(), worker, SLOT, GENERATION);
    poll(&mut [PollFd::new(world.subjects.poller().as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
    world.brought(worker, Event::BecameReady { worker, sign: ReadySign::Notify });
    world.kill(worker);
    let facts: Vec<Event> = world.facts.drain(..).collect();
    let is_in_order = matches!(facts[..], [Event::Spawned { .. }, Event::BecameReady { .. }]);
    assert!(is_in_order, "{facts:?}");
}
