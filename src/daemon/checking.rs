//! Health checks by command: started like a worker but without its sockets, reaped like one, killed when it
//! takes too long.

use std::ffi::OsString;
use std::os::fd::AsFd;

use crate::os::pidfd::{Child, ExitStatus};
use crate::os::process::{Launch, Program, SpawnError, Template};
use crate::plan::HealthCheck;
use crate::pool::{Event, WorkerId};
use crate::time::{Monotonic, format_span};

use super::environment;
use super::world::World;

/// One command that is asking.
#[derive(Debug)]
pub(super) struct Check {
    worker: WorkerId,
    child: Child,
    /// When it is killed.
    deadline: Monotonic,
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
        match self.start_check(worker, argv) {
            Ok(child) => {
                let check = Check { worker, child, deadline: now + health.timeout };
                self.checks.insert(check.child.pid(), check);
            }
            // That ganger has no room for the command says nothing about the worker.
            Err(NotAsked::Shortage(reason)) => {
                self.warn_once(format!("workers' health is not asked for: {reason}"));
                self.happened(Event::Probed { worker, outcome: Ok(()) });
            }
            Err(NotAsked::Broken(reason)) => self.happened(Event::Probed { worker, outcome: Err(reason) }),
        }
        true
    }

    fn start_check(&self, worker: WorkerId, argv: &[OsString]) -> Result<Child, NotAsked> {
        let gone = || NotAsked::Broken("it is gone".to_owned());
        let process = self.processes.get(&worker).ok_or_else(gone)?;
        let plan = self.plan_of(worker).ok_or_else(gone)?;
        let identity = crate::os::users::resolve(plan.command.user.as_deref(), plan.command.group.as_deref())
            .map_err(|error| NotAsked::because(&error, error.is_shortage()))?;
        let mut env = environment::shared(std::env::vars_os(), &plan);
        env.insert("GANGER_APP".into(), self.app.clone().into());
        env.insert("GANGER_WORKER".into(), process.slot.to_string().into());
        env.insert("GANGER_PID".into(), process.pid.to_string().into());
        let program = Program {
            argv,
            env: &env,
            directory: plan.command.directory.as_deref(),
            identity: identity.as_ref(),
            open_files: self.open_files,
        };
        let failed = |error: SpawnError| NotAsked::because(&error, error.is_shortage());
        let template = Template::new(&program).map_err(failed)?;
        let null = self.null.as_fd();
        let spawning = template
            .spawn(&Launch {
                stdio: [null, null, null],
                fds: &[],
                env: &[],
                pid_variables: &[],
                cgroup: None,
                new_session: true,
            })
            .map_err(failed)?;
        spawning.go().map_err(|error| NotAsked::because(&error, error.is_shortage()))?;
        Ok(spawning.into_child())
    }

    /// A command that asked has ended.
    pub(super) fn check_ended(&mut self, pid: u32) {
        let Some(check) = self.checks.get(&pid) else {
            return;
        };
        let outcome = match check.child.try_wait() {
            Ok(None) => return,
            Ok(Some(ExitStatus::Code(0))) => Ok(()),
            Ok(Some(ExitStatus::Code(code))) => Err(format!("the health check exited with status {code}")),
            Ok(Some(ExitStatus::Signal(signal))) => {
                Err(format!("the health check was killed by {}", crate::os::signals::name(signal)))
            }
            Err(error) => Err(format!("failed to {error}")),
        };
        let worker = check.worker;
        self.checks.remove(&pid);
        self.happened(Event::Probed { worker, outcome });
    }

    /// Kills commands that take too long.
    pub(super) fn end_late_checks(&mut self, now: Monotonic) {
        let late: Vec<u32> =
            self.checks.iter().filter(|(_, check)| check.deadline <= now).map(|(pid, _)| *pid).collect();
        for pid in late {
            let Some(check) = self.checks.remove(&pid) else {
                continue;
            };
            // Its process is reaped as an orphan. Its group is its own: it leads a session.
            let _ = crate::os::procfs::signal_group(pid, nix::libc::SIGKILL);
            let timeout = self.plan_of(check.worker).and_then(|plan| Some(plan.health.as_ref()?.timeout));
            let limit =
                timeout.map_or_else(String::new, |timeout| format!(" within {}", format_span(timeout)));
            let outcome = Err(format!("the health check did not end{limit}"));
            self.happened(Event::Probed { worker: check.worker, outcome });
        }
    }

    /// When the next command has taken too long.
    pub(super) fn next_late_check(&self) -> Option<Monotonic> {
        self.checks.values().map(|check| check.deadline).min()
    }
}
