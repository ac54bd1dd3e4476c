//! Health checks by command: started like a worker but without its sockets, reaped like one, killed when it
//! takes too long. When it is over nothing of it is left: its control group goes, or the orphans with its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::libc;
use tracing::warn;

use crate::os::pidfd::{Child, ExitStatus};
use crate::os::process::{Launch, Program, SpawnError, Template};
use crate::os::procfs;
use crate::plan::HealthCheck;
use crate::pool::{Event, WorkerId};
use crate::time::{Monotonic, format_span};

use super::environment;
use super::world::{Group, World};

/// The most checks whose leftovers are looked for at a time, where no control group holds them.
const MAX_OVER: usize = 256;

/// Tells health checks by command apart, for as long as ganger runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct CheckId(u64);

impl CheckId {
    /// What marks every process of a check, wherever it wandered.
    pub(super) fn mark(self) -> String {
        format!("{MARK}={}", self.0)
    }
}

/// The variable that marks a check's processes.
const MARK: &str = "GANGER_CHECK_ID";

/// Health checks by command.
#[derive(Debug, Default)]
pub(super) struct Checks {
    last: CheckId,
    /// Whose command was not reaped yet, by pid.
    by_pid: BTreeMap<u32, Check>,
    /// Without control groups: whose command is gone, and may have left orphans.
    over: BTreeSet<CheckId>,
}

impl Checks {
    /// Whether `pid` is that of a command.
    pub(super) fn has(&self, pid: u32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// Those that may have left orphans.
    pub(super) fn over(&self) -> impl Iterator<Item = CheckId> {
        self.over.iter().copied()
    }

    /// No orphan of this one is left.
    pub(super) fn nothing_left(&mut self, check: CheckId) {
        self.over.remove(&check);
    }

    fn may_have_left(&mut self, check: CheckId) {
        self.over.insert(check);
        // The oldest is one whose orphans the kernel holds on to: killed they are.
        if self.over.len() > MAX_OVER {
            self.over.pop_first();
        }
    }
}

/// One command.
#[derive(Debug)]
struct Check {
    id: CheckId,
    worker: WorkerId,
    child: Child,
    group: Option<Group>,
    /// When it is killed; `None`: it was, and that was told.
    deadline: Option<Monotonic>,
}

impl Check {
    /// SIGKILL to all of it that can be told before its command is reaped: its group is its own, for it leads a
    /// session, and its number nobody else's.
    fn kill(&self) {
        if let Some(Err(error)) = self.group.as_ref().map(|group| group.handle.kill()) {
            warn!("failed to {error}");
        }
        let _ = procfs::signal_group(self.child.pid(), libc::SIGKILL);
    }
}

/// Why a command did not get to ask.
enum NotAsked {
    /// The machine has no room for it now.
    Shortage(String),
    /// It cannot be started as it stands.
    Broken(String),
}

impl NotAsked {
    fn because(error: &dyn std::fmt::Display, is_shortage: bool) -> Self {
        let reason = format!("the health check failed to {error}");
        if is_shortage { Self::Shortage(reason) } else { Self::Broken(reason) }
    }
}

impl World {
    /// Asks by command, if that is how the worker is asked; `false`: it is not.
    pub(super) fn check_by_command(&mut self, now: Monotonic, worker: WorkerId) -> bool {
        let Some(plan) = self.plan_of(worker) else {
            return false;
        };
        let Some(health) = &plan.health else {
            return false;
        };
        let HealthCheck::Exec(argv) = &health.check else {
            return false;
        };
        self.remove_leftovers();
        match self.start_check(now + health.timeout, worker, argv) {
            Ok(check) => drop(self.checks.by_pid.insert(check.child.pid(), check)),
            // That ganger has no room for the command says nothing about the worker.
            Err(NotAsked::Shortage(reason)) => {
                self.warn_once(format!("workers' health is not asked for: {reason}"));
                self.happened(Event::Probed { worker, outcome: Ok(()) });
            }
            Err(NotAsked::Broken(reason)) => self.happened(Event::Probed { worker, outcome: Err(reason) }),
        }
        true
    }

    fn start_check(
        &mut self,
        deadline: Monotonic,
        worker: WorkerId,
        argv: &[OsString],
    ) -> Result<Check, NotAsked> {
        if self.checks.by_pid.values().any(|check| check.worker == worker) {
            // Else they would pile up.
            return Err(NotAsked::Broken("the health check before was killed and has not ended".to_owned()));
        }
        let gone = || NotAsked::Broken("it is gone".to_owned());
        let process = self.processes.get(&worker).ok_or_else(gone)?;
        let plan = self.plan_of(worker).ok_or_else(gone)?;
        let identity = crate::os::users::resolve(plan.command.user.as_deref(), plan.command.group.as_deref())
            .map_err(|error| NotAsked::because(&error, error.is_shortage()))?;
        let mut env = environment::shared(std::env::vars_os(), &plan);
        env.insert("GANGER_APP".into(), self.app.clone().into());
        env.insert("GANGER_WORKER".into(), process.slot.to_string().into());
        env.insert("GANGER_PID".into(), process.pid.to_string().into());
        let id = CheckId(self.checks.last.0.wrapping_add(1));
        env.insert(MARK.into(), id.0.to_string().into());
        let program = Program {
            argv,
            env: &env,
            directory: plan.command.directory.as_deref(),
            identity: identity.as_ref(),
            open_files: self.open_files,
        };
        let failed = |error: SpawnError| NotAsked::because(&error, error.is_shortage());
        let template = Template::new(&program).map_err(failed)?;
        self.checks.last = id;
        let group = self.make_check_group(id);
        let null = self.null.as_fd();
        let spawned = template
            .spawn(&Launch {
                stdio: [null, null, null],
                fds: &[],
                env: &[],
                pid_variables: &[],
                cgroup: group.as_ref().map(|group| group.handle.as_fd()),
                new_session: true,
            })
            .map_err(failed)
            .and_then(|spawning| {
                spawning.go().map_err(|error| NotAsked::because(&error, error.is_shortage()))?;
                Ok(spawning.into_child())
            });
        match spawned {
            Ok(child) => Ok(Check { id, worker, child, group, deadline: Some(deadline) }),
            Err(reason) => {
                group.into_iter().for_each(|group| self.remove_group(group));
                Err(reason)
            }
        }
    }

    /// A control group for the check. Without one it still runs, only less well fenced.
    fn make_check_group(&mut self, id: CheckId) -> Option<Group> {
        match self.groups.as_ref()?.check(id.0) {
            Ok(handle) => Some(Group { handle: Arc::new(handle), watch: None }),
            Err(error) => {
                self.warn_once(format!(
                    "health checks get no control groups of their own: failed to {error}"
                ));
                None
            }
        }
    }

    /// A command that asked has ended: whatever it left goes too.
    pub(super) fn check_ended(&mut self, pid: u32) {
        let Some(check) = self.checks.by_pid.get(&pid) else {
            return;
        };
        check.kill();
        let outcome = match check.child.try_wait() {
            Ok(None) => return,
            Ok(Some(ExitStatus::Code(0))) => Ok(()),
            Ok(Some(ExitStatus::Code(code))) => Err(format!("the health check exited with status {code}")),
            Ok(Some(ExitStatus::Signal(signal))) => {
                Err(format!("the health check was killed by {}", crate::os::signals::name(signal)))
            }
            Err(error) => Err(format!("failed to {error}")),
        };
        let Some(Check { id, worker, group, deadline, .. }) = self.checks.by_pid.remove(&pid) else {
            return;
        };
        match group {
            Some(group) => self.remove_group(group),
            None => self.checks.may_have_left(id),
        }
        if deadline.is_some() {
            self.happened(Event::Probed { worker, outcome });
        }
    }

    /// Kills commands that take too long.
    pub(super) fn end_late_checks(&mut self, now: Monotonic) {
        let mut late = Vec::new();
        for check in self.checks.by_pid.values_mut() {
            if check.deadline.is_some_and(|deadline| deadline <= now) {
                check.deadline = None;
                check.kill();
                late.push(check.worker);
            }
        }
        for worker in late {
            let timeout = self.plan_of(worker).and_then(|plan| Some(plan.health.as_ref()?.timeout));
            let limit =
                timeout.map_or_else(String::new, |timeout| format!(" within {}", format_span(timeout)));
            let outcome = Err(format!("the health check did not end{limit}"));
            self.happened(Event::Probed { worker, outcome });
        }
    }

    /// At the very end: kills every command, and all of it where it has a control group.
    pub(super) fn kill_checks(&self) {
        self.checks.by_pid.values().for_each(Check::kill);
    }

    /// When the next command has taken too long.
    pub(super) fn next_late_check(&self) -> Option<Monotonic> {
        self.checks.by_pid.values().filter_map(|check| check.deadline).min()
    }
}
