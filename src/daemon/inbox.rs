//! What workers say on their notify socket: who said it (as the kernel vouches), and which facts it makes.
//! Nothing of it is ever passed on as it is.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use tracing::{debug, warn};

use crate::os::{messages, procfs};
use crate::pool::{Event, Notification, ReadySign, WorkerId};
use crate::proto::notify::{self, Fact, MAX_DATAGRAM_BYTES};

use super::world::World;

/// So many datagrams are read before other things get their turn.
const MAX_AT_ONCE: usize = 256;
/// So many senders are named as strangers in the log; the others are only counted.
const MAX_STRANGERS: usize = 32;

/// Who was found out about while reading.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    strangers: BTreeSet<u32>,
}

impl Inbox {
    /// Reads what waits, turns it into facts of `world`.
    pub(super) fn read(&mut self, world: &mut World) {
        // One byte more than allowed shows that a datagram was too long.
        self.buffer.resize(MAX_DATAGRAM_BYTES.saturating_add(1), 0);
        for _ in 0..MAX_AT_ONCE {
            let received = match messages::receive(world.notify.as_fd(), &mut self.buffer) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                Err(error) => {
                    warn!("failed to {error}");
                    break;
                }
            };
            // Descriptors that came along are closed with `received`: that is all a barrier asks for.
            let sender = received.sender.map_or(0, |sender| sender.pid);
            let text = self.buffer.get(..received.len).unwrap_or_default();
            let Some(worker) = world.worker_of(sender) else {
                if self.strangers.len() < MAX_STRANGERS && self.strangers.insert(sender) {
                    warn!("ignored a notify message of process {sender}, which belongs to no worker");
                }
                continue;
            };
            match notify::read(text) {
                Ok(reading) => reading.facts.into_iter().for_each(|fact| world.said(worker, fact)),
                Err(refusal) => warn!("worker id {worker}: {refusal}"),
            }
        }
        // A quiet supervisor keeps no room for the loudest moment of its life.
        self.buffer = Vec::new();
    }
}

impl World {
    /// The worker that a process belongs to: it is its main process, in its control group, or its descendant.
    fn worker_of(&self, pid: u32) -> Option<WorkerId> {
        if pid == 0 {
            return None;
        }
        if let Some(worker) = self.by_pid.get(&pid) {
            return Some(*worker);
        }
        if let Some(groups) = &self.groups
            && let Some(number) = groups.worker_of(pid)
        {
            return Some(WorkerId(number)).filter(|worker| self.processes.contains_key(worker));
        }
        procfs::ancestors(pid).into_iter().find_map(|ancestor| self.by_pid.get(&ancestor).copied())
    }

    fn said(&mut self, worker: WorkerId, fact: Fact) {
        let notification = match fact {
            Fact::Ready => {
                self.happened(Event::BecameReady { worker, sign: ReadySign::Notify });
                return;
            }
            Fact::Stopping => Notification::Stopping,
            Fact::Reloading => Notification::Reloading,
            Fact::Status(text) => Notification::Status(text),
            Fact::WatchdogPing => Notification::WatchdogPing,
            Fact::WatchdogTrigger => Notification::WatchdogTrigger,
            Fact::WatchdogInterval(interval) => Notification::WatchdogInterval(interval),
            Fact::ExtendTimeout(span) => Notification::ExtendTimeout(span),
            Fact::SentAt(_) | Fact::Errno(_) | Fact::MainPid(_) | Fact::Barrier | Fact::Declined(_) => {
                debug!("worker id {worker}: {fact:?} is not followed");
                return;
            }
        };
        self.happened(Event::Notified { worker, notification });
    }
}
