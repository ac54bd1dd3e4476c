//! How a worker is born: its descriptors, its variables, its control group, and the go.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use tracing::warn;

use crate::node::ATTACH_FD;
use crate::os::cgroup::Limits;
use crate::os::poller::Interest;
use crate::os::process::{Launch, Outcome, Program, SpawnError, Spawning, Template};
use crate::os::users;
use crate::plan::{Limit, Plan, Protocol, ReadyWhen, SocketEnv};
use crate::pool::{Event, GenerationId, Slot, SpawnFailure, WorkerId};
use crate::proto::listen_fds::{self, FdName};
use crate::time::Monotonic;

use super::environment;
use super::node_launch::Manner;
use super::node_side::Descriptors;
use super::readiness::Lookout;
use super::subjects::Subject;
use super::world::{Born, Group, Process, ProcessState, World};

/// The first descriptor that sd_listen_fds(3) passes.
const LISTEN_FDS_START: RawFd = 3;

/// What one worker is told beyond its generation's environment.
#[derive(Debug, Default)]
struct Told {
    env: Vec<(OsString, OsString)>,
    /// Variables that carry the worker's own pid.
    pid_variables: Vec<&'static str>,
}

impl Told {
    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.env.push((name.into(), value.as_ref().to_owned()));
    }
}

impl World {
    /// Starts a worker; whatever comes of it is told as a fact.
    pub(super) fn spawn(&mut self, now: Monotonic, worker: WorkerId, slot: Slot, generation: GenerationId) {
        self.remove_leftovers();
        let mut group = None;
        if let Err(failure) = self.try_spawn(now, worker, slot, generation, &mut group) {
            if let Some(group) = group {
                self.remove_group(group);
            }
            self.node_exited(worker);
            self.happened(Event::SpawnFailed { worker, failure });
        }
    }

    /// Makes sure that workers can be born of `plan`.
    ///
    /// # Errors
    /// What about the plan cannot be had on this machine.
    pub(super) fn prepare(
        &mut self,
        generation: GenerationId,
        slot: Slot,
        plan: &Arc<Plan>,
    ) -> Result<(), SpawnFailure> {
        let key = (plan.protocol == Protocol::Node).then_some(slot);
        if self.generations.get(&generation).is_some_and(|born| born.templates.contains_key(&key)) {
            return Ok(());
        }
        let program = |reason: String| SpawnFailure::Program(reason);
        let identity =
            users::resolve(plan.command.user.as_deref(), plan.command.group.as_deref()).map_err(|error| {
                let reason = format!("failed to {error}");
                if error.is_shortage() { resources(reason) } else { program(reason) }
            })?;
        let mut env = environment::shared(std::env::vars_os(), plan);
        let mut argv = &plan.command.argv;
        let mut manner = Manner::default();
        let launch;
        if plan.protocol == Protocol::Node {
            self.prepare_node().map_err(program)?;
            launch = self.node_launch(plan, slot).map_err(program)?;
            launch.add_to(&mut env, &plan.command.env);
            argv = &launch.argv;
            manner = launch.manner;
        }
        let template = Template::new(&Program {
            argv,
            env: &env,
            directory: plan.command.directory.as_deref(),
            identity: identity.as_ref(),
            open_files: self.open_files,
        })
        .map_err(|error| failure(&error))?;
        let born = self.generations.entry(generation).or_insert_with(|| Born {
            plan: Arc::clone(plan),
            templates: BTreeMap::new(),
            manners: BTreeMap::new(),
        });
        born.templates.insert(key, template);
        born.manners.insert(slot, manner);
        Ok(())
    }

    fn try_spawn(
        &mut self,
        now: Monotonic,
        worker: WorkerId,
        slot: Slot,
        generation: GenerationId,
        group: &mut Option<Group>,
    ) -> Result<(), SpawnFailure> {
        let Some(born) = self.generations.get(&generation) else {
            return Err(SpawnFailure::Program(format!("generation {generation} has no plan")));
        };
        let (plan, manner) = (Arc::clone(&born.plan), born.manners.get(&slot).cloned().unwrap_or_default());
        let mut told = self.told(&plan, worker, slot, generation)?;
        let sinks = self.output.open(&self.app, slot, &plan.log, &self.null).map_err(resources)?;
        if let Some(stream) = &sinks.journal_stream {
            told.set("JOURNAL_STREAM", stream);
        }
        let ready_pipe = self.ready_pipe(&plan, &mut told)?;
        *group = self.make_group(worker, &plan);
        let channel = self.channel(worker, slot, generation, &plan, &manner, &mut told)?;
        let mut fds: Vec<(RawFd, BorrowedFd<'_>)> = Vec::new();
        let mut stdin = self.null.as_fd();
        match plan.protocol {
            Protocol::ListenFds => fds.extend(numbered(self.listeners.iter().map(|it| it.fd.as_fd()))),
            Protocol::Stdin => stdin = self.listeners.first().map_or(stdin, |first| first.fd.as_fd()),
            Protocol::Node => fds.extend(channel.iter().map(|(number, fd)| (*number, fd.as_fd()))),
        }
        if let Some((_, theirs, number)) = &ready_pipe {
            fds.push((*number, theirs.as_fd()));
        }
        let launch = Launch {
            stdio: [stdin, sinks.stdout.as_fd(), sinks.stderr.as_fd()],
            fds: &fds,
            env: &told.env,
            pid_variables: &told.pid_variables,
            cgroup: group.as_ref().map(|group| group.handle.as_fd()),
            new_session: true,
        };
        let Some(template) = self.generations.get(&generation).and_then(|born| born.template(slot)) else {
            return Err(SpawnFailure::Program(format!("generation {generation} has no plan")));
        };
        let spawning = template.spawn(&launch).map_err(|error| failure(&error))?;
        self.adopt_newborn(now, worker, slot, generation, &plan, spawning, group, ready_pipe)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one newborn, used once")]
    fn adopt_newborn(
        &mut self,
        now: Monotonic,
        worker: WorkerId,
        slot: Slot,
        generation: GenerationId,
        plan: &Plan,
        spawning: Spawning,
        group: &mut Option<Group>,
        ready_pipe: Option<(OwnedFd, OwnedFd, RawFd)>,
    ) -> Result<(), SpawnFailure> {
        let pid = spawning.child().pid();
        let token =
            self.subjects.watch(&spawning, Subject::Start(worker), Interest::Read).map_err(resources)?;
        let ready_fd = match ready_pipe {
            Some((ours, _, _)) => {
                let token = self.subjects.watch(&ours, Subject::ReadyFd(worker), Interest::Read);
                token.ok().map(|token| (ours, token))
            }
            None => None,
        };
        if let Err(error) = spawning.go() {
            warn!("worker {slot} (pid {pid}) left before it was let go: {error}");
        }
        let lookout = matches!(plan.ready.when, ReadyWhen::Auto | ReadyWhen::Listening)
            .then(|| Lookout::new(now))
            .filter(|_| plan.protocol != Protocol::Node);
        self.by_pid.insert(pid, worker);
        let state = ProcessState::Starting(spawning, token);
        let group = group.take();
        let process = Process {
            slot,
            generation,
            pid,
            state,
            group,
            ready_fd,
            lookout,
            saw_node: false,
            draining: false,
        };
        self.processes.insert(worker, process);
        Ok(())
    }

    /// Something that a worker's own process brought about. Its program runs, then: that comes first, whichever of
    /// the two was seen first.
    pub(super) fn brought(&mut self, worker: WorkerId, event: Event) {
        self.start_decided(worker);
        self.happened(event);
    }

    /// The outcome of a start can be read.
    pub(super) fn start_decided(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let (ProcessState::Starting(spawning, token), Some(born)) =
            (&process.state, self.generations.get(&process.generation))
        else {
            return;
        };
        let Some(template) = born.template(process.slot) else {
            return;
        };
        match spawning.outcome(template) {
            Outcome::Pending => {}
            Outcome::Running => {
                self.subjects.forget(spawning, *token);
                let state = std::mem::replace(&mut process.state, ProcessState::Reaped);
                if let ProcessState::Starting(spawning, _) = state {
                    process.state = ProcessState::Running(spawning.into_child());
                }
                let pid = process.pid;
                self.happened(Event::Spawned { worker, pid });
            }
            Outcome::Failed(error) => {
                let failure = failure(&error);
                self.abandon(worker);
                self.happened(Event::SpawnFailed { worker, failure });
            }
        }
    }

    /// Forgets a worker that never ran. Its process is reaped as an orphan.
    fn abandon(&mut self, worker: WorkerId) {
        if let Some(mut process) = self.processes.remove(&worker) {
            self.by_pid.remove(&process.pid);
            self.forget_descriptors(&mut process);
            if let Some(group) = process.group {
                self.remove_group(group);
            }
        }
        self.node_exited(worker);
    }

    fn told(
        &self,
        plan: &Plan,
        worker: WorkerId,
        slot: Slot,
        generation: GenerationId,
    ) -> Result<Told, SpawnFailure> {
        let mut told = Told::default();
        told.set("GANGER_APP", &self.app);
        told.set("GANGER_WORKER", slot.to_string());
        told.set("GANGER_GENERATION", generation.to_string());
        told.set("GANGER_WORKER_ID", worker.to_string());
        if !plan.command.instance_var.is_empty() {
            told.set(&plan.command.instance_var, slot.to_string());
        }
        told.set("NOTIFY_SOCKET", &self.notify_path);
        if let Some(interval) = plan.watchdog {
            told.set("WATCHDOG_USEC", interval.as_micros().to_string());
            told.pid_variables.push("WATCHDOG_PID");
        }
        if plan.protocol == Protocol::ListenFds {
            self.tell_listeners(plan, &mut told)?;
        }
        Ok(told)
    }

    /// `LISTEN_FDS` and its kin.
    fn tell_listeners(&self, plan: &Plan, told: &mut Told) -> Result<(), SpawnFailure> {
        let names: Vec<FdName> = self.listeners.iter().map(|listener| listener.name.clone()).collect();
        let bad = |error: listen_fds::WriteError| SpawnFailure::Program(error.to_string());
        for (name, value) in listen_fds::listen_fds(&names).map_err(bad)? {
            told.set(&name, value);
        }
        told.pid_variables.push("LISTEN_PID");
        for convention in &plan.socket_env {
            match convention {
                SocketEnv::Einhorn => {
                    for (name, value) in listen_fds::einhorn(names.len()).map_err(bad)? {
                        told.set(&name, value);
                    }
                }
                SocketEnv::ServerStarter => {
                    let addresses: Vec<String> = self
                        .listeners
                        .iter()
                        .map(|listener| {
                            listener.address.as_ref().map(ToString::to_string).unwrap_or_default()
                        })
                        .collect();
                    let sockets: Vec<_> = (LISTEN_FDS_START..)
                        .zip(&addresses)
                        .map(|(fd, address)| listen_fds::Passed { fd, address })
                        .collect();
                    let (name, value) = listen_fds::server_starter(&sockets).map_err(bad)?;
                    told.set(&name, value);
                }
            }
        }
        Ok(())
    }

    /// Our end, the worker's end and its number, for `ready.when = "fd"`.
    fn ready_pipe(
        &self,
        plan: &Plan,
        told: &mut Told,
    ) -> Result<Option<(OwnedFd, OwnedFd, RawFd)>, SpawnFailure> {
        if plan.ready.when != ReadyWhen::Fd {
            return Ok(None);
        }
        let sockets = match plan.protocol {
            Protocol::ListenFds => i32::try_from(self.listeners.len()).unwrap_or(RawFd::MAX),
            Protocol::Node => 1,
            Protocol::Stdin => 0,
        };
        let first_free = LISTEN_FDS_START.saturating_add(sockets);
        let number = plan.ready.fd.and_then(|fd| i32::try_from(fd).ok()).unwrap_or(first_free);
        if number < first_free || number == ATTACH_FD || number == ATTACH_FD + 1 {
            let reason = format!("ready.fd = {number} is taken: the first free descriptor is {first_free}");
            return Err(SpawnFailure::Program(reason));
        }
        let (ours, theirs) = crate::os::pipes::to_us().map_err(resources)?;
        told.set("GANGER_READY_FD", number.to_string());
        Ok(Some((ours, theirs, number)))
    }

    /// What a Node worker gets of its channel, with the numbers.
    fn channel(
        &mut self,
        worker: WorkerId,
        slot: Slot,
        generation: GenerationId,
        plan: &Plan,
        manner: &Manner,
        told: &mut Told,
    ) -> Result<Descriptors, SpawnFailure> {
        if plan.protocol != Protocol::Node {
            return Ok(Descriptors::new());
        }
        let (channel, variables) =
            self.open_channel(worker, slot, generation.0, plan, manner).map_err(SpawnFailure::Resources)?;
        variables.iter().for_each(|(name, value)| told.set(name, value));
        Ok(channel)
    }

    /// A control group for the worker. Without one it still runs, only less well fenced.
    fn make_group(&mut self, worker: WorkerId, plan: &Plan) -> Option<Group> {
        let handle = match self.groups.as_ref()?.worker(worker.0) {
            Ok(handle) => handle,
            Err(error) => {
                self.warn_once(format!("workers get no control groups of their own: failed to {error}"));
                return None;
            }
        };
        let Limit { memory, memory_high, cpu_percent, tasks } = plan.limit;
        let enforced = handle.limit(&Limits { memory, memory_high, cpu_percent, tasks });
        for missing in enforced.missing {
            self.warn_once(format!("a limit has no effect: {missing}"));
        }
        Some(Group { handle: Arc::new(handle), watch: None })
    }
}

fn numbered<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> impl Iterator<Item = (RawFd, BorrowedFd<'a>)> {
    (LISTEN_FDS_START..).zip(fds)
}

/// A start that failed, as the pool hears of it.
pub(super) fn failure(error: &SpawnError) -> SpawnFailure {
    let reason = format!("failed to {error}");
    if error.is_shortage() { SpawnFailure::Resources(reason) } else { SpawnFailure::Program(reason) }
}

fn resources(error: impl std::fmt::Display) -> SpawnFailure {
    SpawnFailure::Resources(error.to_string())
}

#[cfg(test)]
mod tests;
