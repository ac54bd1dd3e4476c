//! Looking at workers: does it listen, has it spoken on its readiness descriptor, how much memory has it, where
//! is it asked for its health.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use crate::config;
use crate::os::procfs;
use crate::os::sock_diag;
use crate::plan::{Address, HealthCheck, HttpProbe, ProbeAddress};
use crate::pool::{Event, ReadySign, WorkerId};
use crate::time::Monotonic;

use super::prober::{Question, Target};
use super::world::{Process, ProcessState, World};

/// How long a readiness probe may take.
const READY_PROBE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

impl World {
    /// When a starting worker is to be looked at next.
    pub(super) fn next_look(&self) -> Option<Monotonic> {
        self.processes.values().filter_map(|process| process.lookout.as_ref()).map(|it| it.next()).min()
    }

    /// Looks whether starting workers wait on an inherited socket by now, or have accepted from one: a server that
    /// is busy from its first moment on may never be seen to wait.
    pub(super) fn look_for_listeners(&mut self, now: Monotonic) {
        let inodes: Vec<u64> = self.listeners.iter().map(|listener| listener.inode).collect();
        let addresses: Vec<Address> = self.listeners.iter().filter_map(|it| it.address.clone()).collect();
        let mut listening = Vec::new();
        for (worker, process) in &mut self.processes {
            let Some(lookout) = process.lookout.as_mut() else {
                continue;
            };
            if !lookout.is_due(now) || !matches!(process.state, ProcessState::Running(_)) {
                continue;
            }
            // The worker's connections may be many: they are gone through only when looks have become rare.
            let is_rare = lookout.is_rare();
            let pids = process.pids();
            process.saw_node = runs_node(&pids);
            let up =
                waits_on_any(&pids, &inodes) || (is_rare && sock_diag::holds_accepted(&pids, &addresses));
            if up {
                process.lookout = None;
                process.saw_node = false;
                listening.push(*worker);
            }
        }
        for worker in listening {
            self.brought(worker, Event::BecameReady { worker, sign: ReadySign::Listening });
        }
    }

    /// A worker that is not starting any more need not be looked at.
    pub(super) fn stop_looking(&mut self, worker: WorkerId) {
        if let Some(process) = self.processes.get_mut(&worker) {
            process.lookout = None;
            process.saw_node = false;
        }
    }

    /// Something came on a readiness descriptor: a newline, or its end.
    pub(super) fn ready_fd_spoke(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let Some((fd, token)) = process.ready_fd.take() else {
            return;
        };
        let mut buffer = [0; 64];
        match nix::unistd::read(fd.as_fd(), &mut buffer) {
            Ok(count) if buffer.get(..count).is_some_and(|bytes| bytes.contains(&b'\n')) => {
                self.subjects.forget(&fd, token);
                self.brought(worker, Event::BecameReady { worker, sign: ReadySign::Fd });
            }
            // Something else was written: the newline may follow.
            Ok(count) if count > 0 => process.ready_fd = Some((fd, token)),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => process.ready_fd = Some((fd, token)),
            Ok(_) | Err(_) => self.subjects.forget(&fd, token),
        }
    }

    /// Measures a worker: its control group, else the PSS of its processes.
    pub(super) fn measure(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        let body = process.body();
        let bytes = body.memory(&body.pids()).unwrap_or(0);
        self.happened(Event::MemoryMeasured { worker, bytes });
    }

    /// How a worker is to be asked; `Err`: it cannot be.
    pub(super) fn question(&self, worker: WorkerId, is_ready: bool) -> Result<Question, String> {
        let (Some(plan), Some(process)) = (self.plan_of(worker), self.processes.get(&worker)) else {
            return Err("it is gone".to_owned());
        };
        let (probe, timeout): (&HttpProbe, _) = match (&plan.health, &plan.ready.http) {
            (_, Some(probe)) if !is_ready => (probe, READY_PROBE_TIMEOUT),
            (Some(health), _) => match &health.check {
                HealthCheck::Http(probe) => (probe, health.timeout),
                HealthCheck::Exec(_) => return Err("its health is asked by a command".to_owned()),
            },
            (None, _) => return Err("there is no probe".to_owned()),
        };
        let target = match &probe.address {
            ProbeAddress::Shared => self.shared_target(process)?,
            ProbeAddress::Inet(template) => {
                let address = template.render(process.slot.0);
                let parsed = address.parse().map_err(|_| format!("{address} is no address"))?;
                Target::Inet(parsed)
            }
            ProbeAddress::Unix(template) => Target::Unix(template.render(process.slot.0).into()),
        };
        Ok(Question { target, path: probe.path.clone(), host: probe.host.clone(), timeout, is_ready })
    }

    fn shared_target(&self, process: &Process) -> Result<Target, String> {
        let listener = self.listeners.first().ok_or_else(|| "there is no socket to ask".to_owned())?;
        match listener.address.clone() {
            Some(Address::Inet(address)) => Ok(Target::Shared(reachable(address), process.pids())),
            Some(Address::Unix(path)) => Ok(Target::Unix(path)),
            Some(Address::Abstract(_)) | None => Err("the first socket cannot be connected to".to_owned()),
        }
    }
}

/// One of the worker's processes (its main one, or one behind a wrapper or a prefork server) waits on a listener.
fn waits_on_any(pids: &[u32], inodes: &[u64]) -> bool {
    pids.iter().any(|pid| inodes.iter().any(|inode| procfs::waits_on(*pid, *inode).is_some()))
}

fn runs_node(pids: &[u32]) -> bool {
    pids.iter().any(|pid| procfs::program(*pid).is_some_and(|program| config::is_node_command(&[program])))
}

/// A wildcard address is reached over the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        }
    }
    address
}
