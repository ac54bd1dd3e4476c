//! Who gets the next connection of one listener, in turn. A worker has at most one connection on its way;
//! the next one goes to it when it has answered. So a stuck worker delays one connection, not a queue, and
//! what a dead worker had not answered goes to another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{ConnectionId, HANDLE_RETRY, REFUSAL_REST, REFUSAL_REST_MAX, UniqueId};
use crate::time::Monotonic;

/// The turn-taking of one listener.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    subscribers: BTreeSet<UniqueId>,
    /// In the order of their turns.
    free: VecDeque<UniqueId>,
    /// One connection on its way to each.
    busy: BTreeMap<UniqueId, ConnectionId>,
    resting: BTreeMap<UniqueId, Monotonic>,
    refusals: BTreeMap<UniqueId, u32>,
    /// Came back from a worker; before all new ones.
    waiting: VecDeque<ConnectionId>,
}

impl Rotation {
    pub(super) fn subscribe(&mut self, worker: UniqueId) {
        if self.subscribers.insert(worker) && !self.busy.contains_key(&worker) {
            self.free.push_back(worker);
        }
    }

    /// No further connection for this worker. What is on its way may still be taken or refused.
    pub(super) fn unsubscribe(&mut self, worker: UniqueId) {
        self.subscribers.remove(&worker);
        self.free.retain(|free| *free != worker);
        self.resting.remove(&worker);
        self.refusals.remove(&worker);
    }

    /// The worker is gone. What was on its way waits for another.
    pub(super) fn gone(&mut self, worker: UniqueId) {
        self.unsubscribe(worker);
        if let Some(connection) = self.busy.remove(&worker) {
            self.waiting.push_front(connection);
        }
    }

    /// A new connection.
    pub(super) fn offer(&mut self, connection: ConnectionId) {
        self.waiting.push_back(connection);
    }

    /// So many connections can be handed out at once.
    pub(super) fn room(&self) -> usize {
        self.free.len().saturating_sub(self.waiting.len())
    }

    /// The next hand-over.
    pub(super) fn next(&mut self) -> Option<(UniqueId, ConnectionId)> {
        if self.waiting.is_empty() {
            return None;
        }
        let worker = self.free.pop_front()?;
        let connection = self.waiting.pop_front()?;
        self.busy.insert(worker, connection);
        Some((worker, connection))
    }

    /// The worker took its connection.
    pub(super) fn taken(&mut self, worker: UniqueId) -> Option<ConnectionId> {
        let connection = self.busy.remove(&worker)?;
        self.refusals.remove(&worker);
        if self.subscribers.contains(&worker) {
            self.free.push_back(worker);
        }
        Some(connection)
    }

    /// The worker has no room (`maxConnections`), or its server is closed: it rests, ever longer.
    pub(super) fn refused(&mut self, now: Monotonic, worker: UniqueId) {
        let refusals = self.refusals.get(&worker).copied().unwrap_or(0);
        let rest = REFUSAL_REST.saturating_mul(1 << refusals.min(16)).min(REFUSAL_REST_MAX);
        self.come_back(now, worker, rest);
        if self.subscribers.contains(&worker) {
            self.refusals.insert(worker, refusals.saturating_add(1));
        }
    }

    /// The descriptor did not arrive (the worker has none free): it rests.
    pub(super) fn not_arrived(&mut self, now: Monotonic, worker: UniqueId) {
        self.come_back(now, worker, HANDLE_RETRY);
    }

    fn come_back(&mut self, now: Monotonic, worker: UniqueId, rest: Duration) {
        if let Some(connection) = self.busy.remove(&worker) {
            self.waiting.push_front(connection);
        }
        if self.subscribers.contains(&worker) {
            self.resting.insert(worker, now + rest);
        }
    }

    /// Who has rested enough takes turns again.
    pub(super) fn wake(&mut self, now: Monotonic) {
        let rested: Vec<_> =
            self.resting.iter().filter(|(_, until)| **until <= now).map(|(worker, _)| *worker).collect();
        for worker in rested {
            self.resting.remove(&worker);
            self.free.push_back(worker);
        }
    }

    /// When somebody has rested enough.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.resting.values().min().copied()
    }

    /// Connections that nobody took.
    pub(super) fn abandon(&mut self) -> Vec<ConnectionId> {
        self.waiting.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: u64) -> UniqueId {
        UniqueId::new(id).unwrap()
    }

    fn rotation(workers: u64) -> Rotation {
        let mut rotation = Rotation::default();
        (1..=workers).for_each(|id| rotation.subscribe(worker(id)));
        rotation
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn workers_take_turns_and_each_has_one_connection_on_its_way() {
        let mut rotation = rotation(2);
        assert_eq!(rotation.room(), 2);
        (1..=3).for_each(|id| rotation.offer(ConnectionId(id)));
        assert_eq!(rotation.next(), Some((worker(1), ConnectionId(1))));
        assert_eq!(rotation.next(), Some((worker(2), ConnectionId(2))));
        assert_eq!((rotation.next(), rotation.room()), (None, 0));
        assert_eq!(rotation.taken(worker(1)), Some(ConnectionId(1)));
        assert_eq!(rotation.next(), Some((worker(1), ConnectionId(3))));
    }

    #[test]
    fn what_a_dead_worker_had_not_answered_goes_to_the_next_before_all_others() {
        let mut rotation = rotation(2);
        (1..=3).for_each(|id| rotation.offer(ConnectionId(id)));
        rotation.next();
        rotation.next();
        rotation.gone(worker(1));
        rotation.taken(worker(2));
        assert_eq!(rotation.next(), Some((worker(2), ConnectionId(1))));
    }

    #[test]
    fn a_worker_that_refuses_rests_ever_longer_while_another_takes_the_connection() {
        let mut rotation = rotation(2);
        rotation.offer(ConnectionId(1));
        rotation.next();
        rotation.refused(at(0), worker(1));
        assert_eq!(rotation.next(), Some((worker(2), ConnectionId(1))));
        assert_eq!(rotation.next_deadline(), Some(at(10)));
        rotation.wake(at(10));
        rotation.offer(ConnectionId(2));
        rotation.next();
        rotation.refused(at(10), worker(1));
        assert_eq!(rotation.next_deadline(), Some(at(30)));
    }

    #[test]
    fn a_lone_worker_at_its_limit_is_asked_at_most_once_a_second() {
        let mut rotation = rotation(1);
        rotation.offer(ConnectionId(1));
        let (mut now, mut asked) = (at(0), 0);
        while now < at(10_000) {
            rotation.wake(now);
            rotation.next().unwrap();
            asked += 1;
            rotation.refused(now, worker(1));
            now = rotation.next_deadline().unwrap();
        }
        assert!(asked < 20, "{asked}");
    }

    #[test]
    fn a_worker_that_closed_its_server_gets_nothing_more() {
        let mut rotation = rotation(1);
        rotation.offer(ConnectionId(1));
        rotation.next();
        rotation.unsubscribe(worker(1));
        rotation.refused(at(0), worker(1));
        assert_eq!((rotation.next(), rotation.next_deadline()), (None, None));
        assert_eq!(rotation.abandon(), [ConnectionId(1)]);
    }

    #[test]
    fn nobody_there_means_no_room() {
        assert_eq!(rotation(0).room(), 0);
    }
}
