//! What ready workers listen on: what the next worker of a slot must listen on before it is ready as well.
//!
//! It goes by slots, since workers of one app need not be alike: many open their metrics in slot 0 alone. A slot
//! that never had a ready worker asks for nothing, for its worker takes nobody's place.

use std::collections::{BTreeMap, BTreeSet};

use super::{ListenerId, UniqueId};

/// The memory of one app. It never holds a socket that no living worker has served.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// Workers that are or were ready, until their process is gone.
    workers: BTreeMap<UniqueId, Server>,
    /// What the last ready worker of a slot listened on, which may be gone.
    slots: BTreeMap<u32, BTreeSet<ListenerId>>,
}

#[derive(Debug)]
struct Server {
    slot: u32,
    generation: u64,
    sockets: BTreeSet<ListenerId>,
}

impl Served {
    /// A ready worker listens on these. Without any it is about to leave, and what it served is not forgotten yet.
    pub(super) fn serves(
        &mut self,
        worker: UniqueId,
        slot: u32,
        generation: u64,
        sockets: BTreeSet<ListenerId>,
    ) {
        if sockets.is_empty() {
            return;
        }
        let is_last = !self.workers.iter().any(|(other, server)| *other > worker && server.slot == slot);
        if is_last {
            self.slots.insert(slot, sockets.clone());
        }
        self.workers.insert(worker, Server { slot, generation, sockets });
        self.forget();
    }

    /// The worker's process is gone.
    pub(super) fn gone(&mut self, worker: UniqueId) {
        if self.workers.remove(&worker).is_some() {
            self.forget();
        }
    }

    /// A socket that a worker of this slot must listen on besides these, and the youngest generation that does.
    pub(super) fn missing(
        &self,
        worker: UniqueId,
        slot: u32,
        sockets: &BTreeSet<ListenerId>,
    ) -> Option<(ListenerId, u64)> {
        let others = self.workers.iter().filter(|(other, server)| **other != worker && server.slot == slot);
        let wanted = others.flat_map(|(_, server)| &server.sockets);
        let wanted = wanted.chain(self.slots.get(&slot).into_iter().flatten());
        let socket = *wanted.filter(|socket| !sockets.contains(socket)).min()?;
        let serve = self.workers.values().filter(|server| server.sockets.contains(&socket));
        Some((socket, serve.map(|server| server.generation).max()?))
    }

    /// A socket that nobody serves is asked of nobody: no app is locked out for ever.
    fn forget(&mut self) {
        let workers = &self.workers;
        let is_served = |socket: &ListenerId| workers.values().any(|server| server.sockets.contains(socket));
        self.slots.retain(|_, sockets| {
            sockets.retain(is_served);
            !sockets.is_empty()
        });
    }
}
