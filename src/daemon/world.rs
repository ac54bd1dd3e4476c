//! What ganger holds of the outside: processes, sockets, control groups. It carries out the pool's orders and
//! keeps no opinion of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::dbus::Notice;
use crate::os::cgroup::{Delegated, WorkerGroup};
use crate::os::pidfd::Child;
use crate::os::process::{Spawning, Template};
use crate::os::rlimit::Limit;
use crate::os::sockets::SocketPath;
use crate::plan::Plan;
use crate::pool::{Event, GenerationId, Slot, WorkerId};
use crate::systemd::activation::Listener;
use crate::time::Monotonic;

use super::checking::Checks;
use super::measuring::Meter;
use super::node_launch::Manner;
use super::node_side::NodeSide;
use super::output::Output;
use super::readiness::Lookout;
use super::subjects::{Subjects, Token};

/// So many different things are said once; later ones are not said at all.
const MAX_SAID: usize = 64;

/// The outside, as far as ganger holds it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) app: String,
    pub(super) listeners: Vec<Listener>,
    /// Socket files that were made here, to be removed in the end.
    pub(super) bound: Vec<SocketPath>,
    /// The files of all unix listeners, inherited ones included.
    pub(super) socket_files: Vec<SocketPath>,
    pub(super) meter: Meter,
    pub(super) checks: Checks,
    pub(super) subjects: Subjects,
    /// What workers of each generation are born from.
    pub(super) generations: BTreeMap<GenerationId, Born>,
    pub(super) processes: BTreeMap<WorkerId, Process>,
    pub(super) by_pid: BTreeMap<u32, WorkerId>,
    /// The workers' notify socket, and where it is.
    pub(super) notify: OwnedFd,
    pub(super) notify_path: PathBuf,
    /// Where workers' control groups are made, when there is such a place.
    pub(super) groups: Option<Delegated>,
    /// Control groups of workers that are gone, still to be removed.
    pub(super) leftovers: Vec<Group>,
    pub(super) output: Output,
    pub(super) null: OwnedFd,
    pub(super) open_files: Option<Limit>,
    /// Orphans that were on their way into a program are looked at again then.
    pub(super) sweep_again: Option<Monotonic>,
    /// Since when there have been such.
    pub(super) unsettled: Option<Monotonic>,
    /// Facts that deeds led to at once; taken in after the present event.
    pub(super) facts: VecDeque<Event>,
    /// The primary's side of Node's cluster protocol, once a plan wants it.
    pub(super) node: Option<NodeSide>,
    /// Where what apps say goes, once there are ways to listen.
    pub(super) messages: Option<broadcast::Sender<Arc<Notice>>>,
    /// What was said and need not be said again.
    pub(super) said: BTreeSet<String>,
}

/// What workers of one generation are born from.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) plan: Arc<Plan>,
    /// By slot where the command differs per slot (Node), else one for all.
    pub(super) templates: BTreeMap<Option<Slot>, Template>,
    /// What is particular about the Node worker of a slot.
    pub(super) manners: BTreeMap<Slot, Manner>,
}

impl Born {
    /// What a worker in `slot` is born from.
    pub(super) fn template(&self, slot: Slot) -> Option<&Template> {
        self.templates.get(&Some(slot)).or_else(|| self.templates.get(&None))
    }
}

/// One worker's process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) slot: Slot,
    pub(super) generation: GenerationId,
    pub(super) pid: u32,
    pub(super) state: ProcessState,
    pub(super) group: Option<Group>,
    pub(super) ready_fd: Option<(OwnedFd, Token)>,
    pub(super) lookout: Option<Lookout>,
    /// One of its processes ran Node.js when it was looked at last, before it was ready.
    pub(super) saw_node: bool,
    /// It was asked to leave.
    pub(super) draining: bool,
}

/// How far a process has come.
#[derive(Debug)]
pub(super) enum ProcessState {
    /// On its way to its program.
    Starting(Spawning, Token),
    /// It runs its program.
    Running(Child),
    /// It was reaped.
    Reaped,
    /// It was reaped; orphans that it left are being removed.
    Swept,
}

/// A worker's control group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) handle: Arc<WorkerGroup>,
    /// Its events are watched: it is being emptied.
    pub(super) watch: Option<(OwnedFd, Token)>,
}

impl Process {
    /// The process, unless it was reaped.
    pub(super) fn child(&self) -> Option<&Child> {
        match &self.state {
            ProcessState::Starting(spawning, _) => Some(spawning.child()),
            ProcessState::Running(child) => Some(child),
            ProcessState::Reaped | ProcessState::Swept => None,
        }
    }
}

impl Process {
    /// All processes of the worker, as far as they can be told.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.body().pids()
    }
}

impl World {
    /// The plan of a worker's generation.
    pub(super) fn plan_of(&self, worker: WorkerId) -> Option<Arc<Plan>> {
        let generation = self.processes.get(&worker)?.generation;
        self.generations.get(&generation).map(|born| Arc::clone(&born.plan))
    }

    /// Says something that is worth saying once.
    pub(super) fn warn_once(&mut self, text: String) {
        if self.said.len() < MAX_SAID && !self.said.contains(&text) {
            tracing::warn!("{text}");
            self.said.insert(text);
        }
    }

    /// As [`World::warn_once`], for what is no fault.
    pub(super) fn say_once(&mut self, text: String) {
        if self.said.len() < MAX_SAID && !self.said.contains(&text) {
            tracing::info!("{text}");
            self.said.insert(text);
        }
    }

    /// Something happened as a consequence of a deed.
    pub(super) fn happened(&mut self, event: Event) {
        self.facts.push_back(event);
    }
}
