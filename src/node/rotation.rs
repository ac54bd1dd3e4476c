//! Who gets the next connection of one listener. Of the workers with room it is the one with the fewest
//! connections on their way, among equals the one that had fewest of late, and then the one whose last turn is longest
//! ago: exactly even while all keep up, even again soon after one did not, and past a worker that does not answer for
//! as long as another does.
//!
//! A worker has at most [`WINDOW`] connections on their way; so a stuck one delays so many, not a queue. What a
//! dead worker had not answered goes to others, before all that came later.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConnectionId, HANDLE_RETRY, REFUSAL_REST, REFUSAL_REST_MAX, UniqueId, WINDOW};
use crate::time::Monotonic;

/// A worker that did not keep up gets so many back at most: what it missed in an hour must not come in a minute.
const MAX_LAG: u64 = 64;

/// The turn-taking of one listener.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    members: BTreeMap<UniqueId, Member>,
    /// In the order in which they came, so that what came back from a worker is first.
    waiting: BTreeSet<ConnectionId>,
    turns: u64,
}

#[derive(Debug, Default)]
struct Member {
    /// Takes connections. One that does not may still answer for those on their way.
    subscribed: bool,
    on_their_way: BTreeSet<ConnectionId>,
    last_turn: u64,
    /// So many connections it had, give or take what is beyond [`MAX_LAG`].
    had: u64,
    resting: Option<Monotonic>,
    /// In a row.
    refusals: u32,
}

impl Member {
    /// So many connections can be sent to it now. One that has just refused is asked with a single one first.
    fn room(&self) -> usize {
        let window = if self.refusals > 0 { 1 } else { WINDOW };
        let takes = self.subscribed && self.resting.is_none();
        if takes { window.saturating_sub(self.on_their_way.len()) } else { 0 }
    }

    fn unsubscribe(&mut self) {
        self.subscribed = false;
        self.resting = None;
        self.refusals = 0;
    }
}

impl Rotation {
    pub(super) fn subscribe(&mut self, worker: UniqueId) {
        let most = self.most();
        let member = self.members.entry(worker).or_default();
        if !member.subscribed {
            member.subscribed = true;
            member.had = most;
            // As if it had just had a turn: behind those who wait for theirs.
            self.turns = self.turns.saturating_add(1);
            member.last_turn = self.turns;
        }
    }

    /// No further connection for this worker. What is on its way may still be taken or refused.
    pub(super) fn unsubscribe(&mut self, worker: UniqueId) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.unsubscribe();
            self.forget_idle(worker);
        }
    }

    /// The worker is gone. What was on its way waits for another.
    pub(super) fn gone(&mut self, worker: UniqueId) {
        if let Some(member) = self.members.remove(&worker) {
            self.waiting.extend(member.on_their_way);
        }
    }

    /// A new connection.
    pub(super) fn offer(&mut self, connection: ConnectionId) {
        self.waiting.insert(connection);
    }

    /// So many connections can be handed out at once.
    pub(super) fn room(&self) -> usize {
        let room: usize = self.members.values().map(Member::room).sum();
        room.saturating_sub(self.waiting.len())
    }

    /// The next hand-over.
    pub(super) fn next(&mut self) -> Option<(UniqueId, ConnectionId)> {
        let connection = *self.waiting.first()?;
        let least = self.most().saturating_sub(MAX_LAG);
        let with_room = self.members.iter_mut().filter(|(_, member)| member.room() > 0);
        let (worker, member) = with_room
            .min_by_key(|(_, member)| (member.on_their_way.len(), member.had.max(least), member.last_turn))?;
        self.waiting.remove(&connection);
        self.turns = self.turns.saturating_add(1);
        member.last_turn = self.turns;
        member.had = member.had.max(least).saturating_add(1);
        member.on_their_way.insert(connection);
        Some((*worker, connection))
    }

    /// What the worker had that had most.
    fn most(&self) -> u64 {
        self.members.values().map(|member| member.had).max().unwrap_or(0)
    }

    /// The worker took a connection.
    pub(super) fn taken(&mut self, worker: UniqueId, connection: ConnectionId) {
        if let Some(member) = self.members.get_mut(&worker)
            && member.on_their_way.remove(&connection)
        {
            member.refusals = 0;
            self.forget_idle(worker);
        }
    }

    /// The worker has no room (`maxConnections`), or its server is closed: it rests, ever longer.
    pub(super) fn refused(&mut self, now: Monotonic, worker: UniqueId, connection: ConnectionId) {
        self.come_back(worker, connection, |member| {
            let rest = REFUSAL_REST.saturating_mul(1 << member.refusals.min(16)).min(REFUSAL_REST_MAX);
            member.refusals = member.refusals.saturating_add(1);
            now + rest
        });
    }

    /// The descriptor did not arrive (the worker has none free): it rests.
    pub(super) fn not_arrived(&mut self, now: Monotonic, worker: UniqueId, connection: ConnectionId) {
        self.come_back(worker, connection, |_| now + HANDLE_RETRY);
    }

    fn come_back(
        &mut self,
        worker: UniqueId,
        connection: ConnectionId,
        rest: impl FnOnce(&mut Member) -> Monotonic,
    ) {
        let Some(member) = self.members.get_mut(&worker) else { return };
        if !member.on_their_way.remove(&connection) {
            return;
        }
        self.waiting.insert(connection);
        member.had = member.had.saturating_sub(1);
        // All of a window that come back together are one refusal.
        if member.subscribed && member.resting.is_none() {
            member.resting = Some(rest(member));
        }
        self.forget_idle(worker);
    }

    fn forget_idle(&mut self, worker: UniqueId) {
        if self
            .members
            .get(&worker)
            .is_some_and(|member| !member.subscribed && member.on_their_way.is_empty())
        {
            self.members.remove(&worker);
        }
    }

    /// Who has rested enough takes turns again.
    pub(super) fn wake(&mut self, now: Monotonic) {
        for member in self.members.values_mut() {
            member.resting.take_if(|until| *until <= now);
        }
    }

    /// When somebody has rested enough.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.members.values().filter_map(|member| member.resting).min()
    }

    /// Connections that nobody took.
    pub(super) fn abandon(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.waiting).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn worker(id: u64) -> UniqueId {
        UniqueId::new(id).unwrap()
    }

    fn connection(id: usize) -> ConnectionId {
        ConnectionId(id.try_into().unwrap())
    }

    fn rotation(workers: u64) -> Rotation {
        let mut rotation = Rotation::default();
        (1..=workers).for_each(|id| rotation.subscribe(worker(id)));
        rotation
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::ZERO + Duration::from_millis(ms)
    }

    /// Hands out all that can be handed out; the workers in their order.
    fn handed(rotation: &mut Rotation) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| rotation.next())
            .map(|(worker, connection)| (worker.get(), connection.0))
            .collect()
    }

    #[test]
    fn workers_take_turns_and_each_has_a_window_of_connections_on_their_way() {
        let mut rotation = rotation(2);
        assert_eq!(rotation.room(), 2 * WINDOW);
        (0..2 * WINDOW + 1).for_each(|id| rotation.offer(connection(id)));
        let all = handed(&mut rotation);
        assert!(all.chunks(2).all(|pair| matches!(pair, [(1, _), (2, _)])), "{all:?}");
        assert_eq!((all.len(), rotation.room()), (2 * WINDOW, 0));
        rotation.taken(worker(2), connection(1));
        assert_eq!(handed(&mut rotation), [(2, 2 * WINDOW as u64)]);
    }

    #[test]
    fn workers_that_answer_get_exactly_the_same_number_whatever_their_number() {
        for workers in [2, 3, 4] {
            let mut rotation = rotation(workers);
            let mut counts = BTreeMap::new();
            for id in 0..100 * workers {
                rotation.offer(ConnectionId(id));
                let (worker, connection) = rotation.next().unwrap();
                *counts.entry(worker).or_insert(0) += 1;
                rotation.taken(worker, connection);
            }
            assert!(counts.values().all(|count| *count == 100), "{counts:?}");
        }
    }

    #[test]
    fn a_worker_that_does_not_answer_gets_no_second_one_while_another_answers() {
        let mut rotation = rotation(2);
        for id in 0..100 {
            rotation.offer(connection(id));
            let (taker, connection) = rotation.next().unwrap();
            if taker == worker(2) {
                rotation.taken(taker, connection);
            } else {
                assert_eq!(connection, ConnectionId(0));
            }
        }
    }

    #[test]
    fn a_worker_that_did_not_keep_up_gets_back_what_it_missed_but_not_all_of_a_long_time() {
        let sequential = |rotation: &mut Rotation, ids: std::ops::Range<usize>| {
            ids.map(|id| {
                rotation.offer(connection(id));
                let (worker, connection) = rotation.next().unwrap();
                rotation.taken(worker, connection);
                worker.get()
            })
            .collect::<Vec<_>>()
        };
        for (missed, back) in [(10, 9), (1000, MAX_LAG as usize)] {
            let mut rotation = rotation(2);
            rotation.offer(connection(0));
            let (slow, first) = rotation.next().unwrap();
            assert!(sequential(&mut rotation, 1..missed + 1).iter().all(|worker| *worker == 2));
            rotation.taken(slow, first);
            let later = sequential(&mut rotation, missed + 1..missed + 201);
            let streak = later.iter().take_while(|worker| **worker == 1).count();
            assert!((back..=back + 1).contains(&streak), "{missed}: {streak}");
            let (_, rest) = later.split_at(streak);
            assert_eq!(rest.iter().filter(|worker| **worker == 1).count(), rest.len() / 2, "{missed}");
        }
    }

    #[test]
    fn what_a_dead_worker_had_not_answered_goes_to_others_before_all_that_came_later() {
        let mut rotation = rotation(2);
        (0..2 * WINDOW + 1).for_each(|id| rotation.offer(connection(id)));
        handed(&mut rotation);
        rotation.taken(worker(1), connection(2));
        rotation.gone(worker(1));
        (0..WINDOW).for_each(|id| rotation.taken(worker(2), connection(2 * id + 1)));
        let expected: Vec<u64> = (0..WINDOW as u64).filter(|id| *id != 1).map(|id| 2 * id).collect();
        let again = handed(&mut rotation);
        assert_eq!(again.len(), WINDOW);
        assert_eq!(again.iter().map(|(_, id)| *id).take(WINDOW - 1).collect::<Vec<_>>(), expected);
        assert!(again.iter().all(|(worker, _)| *worker == 2));
    }

    #[test]
    fn a_worker_that_joins_waits_for_its_turn() {
        let mut rotation = rotation(2);
        rotation.offer(connection(0));
        assert_eq!(rotation.next(), Some((worker(1), connection(0))));
        rotation.taken(worker(1), connection(0));
        rotation.subscribe(worker(3));
        (1..4).for_each(|id| rotation.offer(connection(id)));
        assert_eq!(handed(&mut rotation), [(2, 1), (1, 2), (3, 3)]);
    }

    #[test]
    fn a_worker_that_refuses_rests_ever_longer_while_another_takes_the_connection() {
        let mut rotation = rotation(2);
        rotation.offer(connection(1));
        rotation.next();
        rotation.refused(at(0), worker(1), connection(1));
        assert_eq!(rotation.next(), Some((worker(2), connection(1))));
        assert_eq!(rotation.next_deadline(), Some(at(10)));
        rotation.wake(at(10));
        rotation.offer(connection(2));
        assert_eq!(rotation.next(), Some((worker(1), connection(2))));
        rotation.refused(at(10), worker(1), connection(2));
        assert_eq!(rotation.next_deadline(), Some(at(30)));
    }

    #[test]
    fn a_window_that_comes_back_is_one_refusal_and_the_next_question_is_a_single_connection() {
        let mut rotation = rotation(1);
        (0..WINDOW).for_each(|id| rotation.offer(connection(id)));
        handed(&mut rotation);
        (0..WINDOW).for_each(|id| rotation.refused(at(0), worker(1), connection(id)));
        assert_eq!((rotation.next_deadline(), rotation.room()), (Some(at(10)), 0));
        rotation.wake(at(10));
        assert_eq!(handed(&mut rotation), [(1, 0)]);
        rotation.taken(worker(1), connection(0));
        assert_eq!(handed(&mut rotation).len(), WINDOW - 1);
    }

    #[test]
    fn a_lone_worker_at_its_limit_is_asked_at_most_once_a_second() {
        let mut rotation = rotation(1);
        (0..WINDOW).for_each(|id| rotation.offer(connection(id)));
        let (mut now, mut asked) = (at(0), 0);
        while now < at(10_000) {
            rotation.wake(now);
            let again = handed(&mut rotation);
            asked += again.len();
            again.iter().for_each(|(_, id)| rotation.refused(now, worker(1), ConnectionId(*id)));
            now = rotation.next_deadline().unwrap();
        }
        assert!(asked < 20 + WINDOW, "{asked}");
    }

    #[test]
    fn a_worker_that_closed_its_server_gets_nothing_more() {
        let mut rotation = rotation(1);
        rotation.offer(connection(1));
        rotation.next();
        rotation.unsubscribe(worker(1));
        rotation.refused(at(0), worker(1), connection(1));
        assert_eq!((rotation.next(), rotation.next_deadline()), (None, None));
        assert_eq!(rotation.abandon(), [connection(1)]);
        assert!(rotation.members.is_empty());
    }

    #[test]
    fn an_answer_for_what_is_not_on_its_way_changes_nothing() {
        let mut rotation = rotation(1);
        rotation.taken(worker(1), connection(9));
        rotation.refused(at(0), worker(1), connection(9));
        rotation.not_arrived(at(0), worker(2), connection(9));
        assert_eq!((rotation.room(), rotation.next_deadline(), rotation.abandon()), (WINDOW, None, vec![]));
    }

    #[test]
    fn nobody_there_means_no_room() {
        assert_eq!(rotation(0).room(), 0);
    }
}
