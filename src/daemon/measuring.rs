//! What the workers use: processor time, memory, connections, and how many clients wait for one. Looked at when
//! somebody wants to know, never otherwise, and beside the event loop: a large worker, or many, take a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::dbus::{Usage, Used};
use crate::os::cgroup::WorkerGroup;
use crate::os::procfs::{self, Memory};
use crate::os::sock_diag::{self, Connections, Queue};
use crate::os::{clock, kin};
use crate::plan::Address;
use crate::pool::WorkerId;

use super::world::{Process, ProcessState, World};

/// A look is good for so long at least …
const GOOD_FOR: Duration = Duration::from_millis(250);
/// … and for so many times what it took: however many want to know, looking costs a twentieth of one CPU …
const PAUSE: u32 = 20;
/// … but not for longer than this.
const GOOD_FOR_AT_MOST: Duration = Duration::from_secs(40);
/// Workers that were not reached by then are not seen in this look.
const BUDGET: Duration = Duration::from_secs(2);
/// Room for the stack of who looks.
const STACK: usize = 256 * 1024;

/// Where looks are put, and who takes one.
#[derive(Debug)]
pub(super) struct Meter {
    seen: Arc<watch::Sender<Arc<Usage>>>,
    /// A thread of its own, which nobody waits for: the kernel may hold it up for as long as it holds a worker.
    looking: Option<JoinHandle<()>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { seen: Arc::new(watch::channel(Arc::default()).0), looking: None }
    }
}

impl Meter {
    /// Where looks are found.
    pub(super) fn seen(&self) -> watch::Receiver<Arc<Usage>> {
        self.seen.subscribe()
    }
}

/// What tells the processes of one worker from others.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// Its main process, until it is reaped.
    pub(super) pid: Option<u32>,
    pub(super) group: Option<Arc<WorkerGroup>>,
}

impl Body {
    /// All processes of the worker, as far as they can be told: those in its control group, else its main process
    /// and what descends from it, down to the last; [`kin::MAX_TREE`] at most.
    pub(super) fn pids(&self) -> Vec<u32> {
        match (&self.group, self.pid) {
            (Some(group), _) => {
                let mut pids = group.pids();
                pids.truncate(kin::MAX_TREE);
                pids
            }
            (None, Some(pid)) => kin::tree(pid),
            // The number of one that was reaped is anybody's.
            (None, None) => Vec::new(),
        }
    }

    /// Memory in bytes: its control group's, else the PSS of its processes.
    pub(super) fn memory(&self, pids: &[u32]) -> Option<u64> {
        let by_group = self.group.as_ref().and_then(|group| group.memory_current());
        let each = pids.iter().filter_map(|pid| procfs::memory(*pid)).map(Memory::best);
        by_group.or_else(|| each.reduce(u64::saturating_add))
    }

    /// Processor time since the worker's start: its control group's, else that of its processes, and of those that
    /// they have waited for.
    fn cpu(&self, pids: &[u32]) -> Option<Duration> {
        let by_group = self.group.as_ref().and_then(|group| group.cpu_usage());
        let each = pids.iter().filter_map(|pid| procfs::stat(*pid)).map(|stat| stat.cpu);
        by_group.or_else(|| each.reduce(Duration::saturating_add))
    }

    /// Beside the event loop a process may be reaped at any time: a number is believed while it is a child of ours.
    fn is_ours(&self) -> bool {
        let child_of_ours = |pid| procfs::stat(pid).is_some_and(|stat| stat.parent == std::process::id());
        self.group.is_some() || self.pid.is_some_and(child_of_ours)
    }

    fn used(&self, connections: &Connections) -> Used {
        if !self.is_ours() {
            return Used::default();
        }
        let pids = self.pids();
        let inodes = procfs::socket_inodes(&pids);
        // A worker holds a listening socket at least: nothing seen is nothing allowed to be seen.
        let count = (!inodes.is_empty()).then(|| connections.among(&inodes));
        Used {
            cpu: self.cpu(&pids),
            memory: self.memory(&pids),
            connections: count.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        }
    }
}

impl Process {
    /// What tells its processes from others.
    pub(super) fn body(&self) -> Body {
        Body {
            pid: self.child().map(|_| self.pid),
            group: self.group.as_ref().map(|group| Arc::clone(&group.handle)),
        }
    }
}

/// A look to be taken.
#[derive(Debug)]
struct Look {
    workers: Vec<(WorkerId, Body)>,
    addresses: Vec<Address>,
    queues: Vec<Option<Queue>>,
}

impl Look {
    fn take(self) -> Usage {
        let began = clock::now();
        let connections = Connections::to(&self.addresses);
        let in_time = self.workers.into_iter().take_while(|_| clock::now().since(began) < BUDGET);
        let workers: BTreeMap<_, _> =
            in_time.map(|(worker, body)| (worker, body.used(&connections))).collect();
        let taken = clock::now();
        let good_for = taken.since(began).saturating_mul(PAUSE).clamp(GOOD_FOR, GOOD_FOR_AT_MOST);
        Usage { taken, good_until: taken + good_for, workers, queues: self.queues }
    }
}

impl World {
    /// Has a look taken at what the workers use, unless one is being taken.
    pub(super) fn look_at_usage(&mut self) {
        let is_looking = self.meter.looking.as_ref().is_some_and(|looking| !looking.is_finished());
        // Who asked when a look was all but over has it by now.
        if is_looking || clock::now() < self.meter.seen.borrow().good_until {
            return;
        }
        let running = |process: &Process| matches!(process.state, ProcessState::Running(_));
        let workers = self.processes.iter().filter(|(_, process)| running(process));
        let look = Look {
            workers: workers.map(|(worker, process)| (*worker, process.body())).collect(),
            addresses: self.listeners.iter().filter_map(|listener| listener.address.clone()).collect(),
            queues: self.listeners.iter().map(|it| sock_diag::queue(&it.fd).ok().flatten()).collect(),
        };
        let seen = Arc::clone(&self.meter.seen);
        let thread = std::thread::Builder::new().name("looking".into()).stack_size(STACK);
        self.meter.looking = thread.spawn(move || drop(seen.send_replace(Arc::new(look.take())))).ok();
        if self.meter.looking.is_none() {
            // No room for a thread: who waits is told so at once.
            let good_until = clock::now() + GOOD_FOR;
            self.meter.seen.send_replace(Arc::new(Usage { good_until, ..Usage::default() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pid: u32, addresses: Vec<Address>) -> Used {
        let body = Body { pid: Some(pid), group: None };
        let usage = Look { workers: vec![(WorkerId(1), body)], addresses, queues: Vec::new() }.take();
        assert!(usage.good_until >= usage.taken + GOOD_FOR);
        usage.workers[&WorkerId(1)]
    }

    #[test]
    fn a_childs_time_memory_and_connections_are_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = "import os,signal,socket\n\
             s=[socket.fromfd(0,socket.AF_INET,socket.SOCK_STREAM).accept() for _ in range(2)]\n\
             while os.times().user+os.times().system < 0.1: pass\n\
             print(flush=True); signal.pause()";
        let stdio = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let mut command = std::process::Command::new("python3");
        command.args(["-c", script]).stdin(stdio).stdout(std::process::Stdio::piped());
        let clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut child = command.spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let used = look(child.id(), vec![Address::Inet(address)]);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(clients);
        assert_eq!(used.connections, Some(2), "{used:?}");
        assert!(used.cpu.is_some_and(|cpu| cpu >= Duration::from_millis(80)), "{used:?}");
        assert!(used.memory.is_some_and(|bytes| (1 << 20..1 << 28).contains(&bytes)), "{used:?}");
    }

    #[test]
    fn a_process_that_is_no_child_of_ours_is_not_looked_at() {
        assert_eq!(look(1, Vec::new()), Used::default());
    }
}
