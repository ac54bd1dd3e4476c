//! How many connections a draining worker still holds: counted once a second while somebody drains, never
//! otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::os::{procfs, sock_diag};
use crate::plan::Address;
use crate::pool::{View, WorkerId};
use crate::time::Monotonic;

use super::world::{Process, ProcessState, World};

/// The pause between two counts.
const PAUSE: Duration = Duration::from_secs(1);
/// The first count, after a drain began: most workers are gone by then.
const FIRST: Duration = Duration::from_millis(250);

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    next: Option<Monotonic>,
    by_worker: BTreeMap<WorkerId, u32>,
}

impl World {
    /// A worker was asked to leave: what it still holds will be counted.
    pub(super) fn count_from(&mut self, now: Monotonic, worker: WorkerId) {
        if let Some(process) = self.processes.get_mut(&worker) {
            process.draining = true;
            self.counts.next.get_or_insert(now + FIRST);
        }
    }

    /// When to count next.
    pub(super) fn next_count(&self) -> Option<Monotonic> {
        self.counts.next
    }

    /// Counts, if it is time to.
    pub(super) fn count_connections(&mut self, now: Monotonic) {
        if self.counts.next.is_none_or(|next| next > now) {
            return;
        }
        let addresses: Vec<Address> =
            self.listeners.iter().filter_map(|listener| listener.address.clone()).collect();
        let leaving = self.processes.iter().filter(|(_, process)| process.draining && is_running(process));
        self.counts.by_worker = leaving
            .map(|(worker, process)| {
                let count = sock_diag::connections(&addresses, &procfs::socket_inodes(&process.pids()));
                (*worker, u32::try_from(count).unwrap_or(u32::MAX))
            })
            .collect();
        self.counts.next = (!self.counts.by_worker.is_empty()).then(|| now + PAUSE);
    }

    /// Puts what was counted into a view.
    pub(super) fn add_counts(&self, view: &mut View) {
        for worker in &mut view.workers {
            worker.connections = self.counts.by_worker.get(&worker.worker).copied();
        }
    }
}

fn is_running(process: &Process) -> bool {
    matches!(process.state, ProcessState::Running(_))
}
