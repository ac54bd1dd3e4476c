//! What workers say on their notify socket: who said it (as the kernel vouches), and which facts it makes.
//! Nothing of it is ever passed on as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use tracing::{debug, warn};

use crate::os::messages::{self, Received};
use crate::os::{SysError, procfs};
use crate::pool::{Event, Notification, ReadySign, WorkerId};
use crate::proto::notify::{self, Fact, MAX_DATAGRAM_BYTES};

use super::world::World;

/// So many datagrams are read before other things get their turn.
const MAX_AT_ONCE: usize = 64;
/// So often that is done before the dead are reaped: more than the kernel keeps for one socket (512 where systemd sets
/// `net.unix.max_dgram_qlen`).
const MAX_BEFORE_REAPING: usize = 16;
/// So many senders are named as strangers in the log; the others are only counted.
const MAX_STRANGERS: usize = 32;

/// Who was found out about while reading.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    strangers: BTreeSet<u32>,
}

impl Inbox {
    /// Reads all that waited when this was called. Once a process is reaped, what it said would be taken for the words
    /// of whoever has its number then.
    pub(super) fn read_before_reaping(&mut self, world: &mut World) {
        (0..MAX_BEFORE_REAPING).for_each(|_| self.read(world));
    }

    /// Reads what waits, turns it into facts of `world`.
    pub(super) fn read(&mut self, world: &mut World) {
        // Nobody is reaped in the meantime: who was found once is not looked for again.
        let mut senders = BTreeMap::new();
        for _ in 0..MAX_AT_ONCE {
            let (received, text) = match next(world) {
                Ok(Some(next)) => next,
                Ok(None) => return,
                Err(error) => {
                    warn!("failed to {error}");
                    return;
                }
            };
            // Descriptors that came along are closed with `received`: that is all a barrier asks for.
            let sender = received.sender.map_or(0, |sender| sender.pid);
            let Some(worker) = *senders.entry(sender).or_insert_with(|| world.worker_of(sender)) else {
                if self.strangers.len() < MAX_STRANGERS && self.strangers.insert(sender) {
                    warn!("ignored a notify message of process {sender}, which belongs to no worker");
                }
                continue;
            };
            match notify::read(&text) {
                Ok(reading) => reading.facts.into_iter().for_each(|fact| world.said(worker, fact)),
                Err(refusal) => warn!("worker id {worker}: {refusal}"),
            }
        }
    }
}

/// The next datagram and its text. It gets the room that it needs and no more: what most workers say is short,
/// and room for the longest would stay in memory for ever.
fn next(world: &World) -> Result<Option<(Received, Vec<u8>)>, SysError> {
    let socket = world.notify.as_fd();
    let Some(len) = messages::next_len(socket)? else {
        return Ok(None);
    };
    // One byte more than allowed shows that a datagram was too long.
    let mut text = vec![0; len.min(MAX_DATAGRAM_BYTES.saturating_add(1))];
    let received = messages::receive(socket, &mut text)?;
    Ok(received.map(|received| {
        text.truncate(received.len);
        (received, text)
    }))
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
        procfs::ancestors(pid).find_map(|ancestor| self.by_pid.get(&ancestor).copied())
    }

    fn said(&mut self, worker: WorkerId, fact: Fact) {
        let notification = match fact {
            Fact::Ready => {
                self.brought(worker, Event::BecameReady { worker, sign: ReadySign::Notify });
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
        self.brought(worker, Event::Notified { worker, notification });
    }
}
