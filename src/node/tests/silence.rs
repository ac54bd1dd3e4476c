//! Ready workers that close the last of their servers.

use super::*;

const APP: &str = r#""port":3000,"addressType":4"#;
const OWN: &str = r#""port":9090,"addressType":4"#;

impl World {
    /// Asks for a socket and listens on it. What the worker closes it by, and what came of listening.
    fn opens(&mut self, id: u64, what: &str) -> (Key, Vec<Action>) {
        let mut actions = self.listen(id, what);
        if let Some(Action::Bind { listener, .. }) = actions.first() {
            let address = Address::Inet("[::]:9090".parse().unwrap());
            actions = self.primary.bound(*listener, Ok(address));
        }
        let key = actions.iter().find_map(|action| match action {
            Action::Send { message: ToWorker::Answer { key, .. }, .. } => Some(key.clone()),
            Action::Send { .. }
            | Action::Bind { .. }
            | Action::Relisten { .. }
            | Action::CloseListener { .. }
            | Action::CloseConnection { .. }
            | Action::Report(_) => None,
        });
        let line = format!(r#"{{"cmd":"NODE_CLUSTER","act":"listening","index":0,{what},"seq":2}}"#);
        (key.unwrap(), self.hear(id, &line))
    }

    fn closes(&mut self, id: u64, key: &Key) -> Vec<Action> {
        self.hear(id, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{}","seq":3}}"#, key.0))
    }
}

fn silent(id: u64, is_first: bool, is_last: bool) -> Action {
    Action::Report(Report::Silent { worker: worker(id), is_first, is_last })
}

fn over(id: u64, is_first: bool) -> Action {
    Action::Report(Report::SilenceOver { worker: worker(id), is_first })
}

#[test]
fn a_worker_that_closes_its_last_server_and_stays_is_told_of_once_its_time_is_over() {
    for policy in [SHARED, ROUND_ROBIN] {
        let mut world = World::new(vec![tcp("[::]:3000")], policy, 2);
        let keys = [1, 2].map(|id| world.opens(id, APP).0);
        assert_eq!(world.closes(1, &keys[0]), []);
        assert_eq!(world.primary.next_deadline(), Some(world.now + SILENCE));
        assert_eq!(world.pass(4_999), []);
        assert_eq!(world.pass(1), [silent(1, true, false)]);
        assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
        world.closes(2, &keys[1]);
        assert_eq!(world.pass(5_000), [silent(2, true, true)], "nobody serves");
        assert_eq!(world.primary.accepting().map(|(_, room)| room).sum::<usize>(), 0);
    }
}

#[test]
fn a_worker_that_listens_again_at_once_is_not_told_of() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
    let (key, _) = world.opens(1, APP);
    world.closes(1, &key);
    assert_eq!(world.pass(4_000), []);
    world.opens(1, APP);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
}

#[test]
fn the_end_of_a_silence_is_told_and_the_next_one_is_not_the_first() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
    let (mut key, first) = world.opens(1, APP);
    assert!(!first.contains(&over(1, true)));
    for is_first in [true, false] {
        world.closes(1, &key);
        assert_eq!(world.pass(5_000), [silent(1, is_first, true)]);
        let (next, actions) = world.opens(1, APP);
        assert!(actions.contains(&over(1, is_first)), "{actions:?}");
        key = next;
    }
}

#[test]
fn a_server_on_a_port_of_its_own_reaches_nobody_who_comes_to_the_inherited_one() {
    let bind = Policy { unmatched: Unmatched::Bind, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:3000")], bind, 1);
    let ((key, _), _) = (world.opens(1, APP), world.opens(1, OWN));
    world.closes(1, &key);
    assert_eq!(world.pass(5_000), [silent(1, true, true)]);
    // Where nothing was inherited it is the last one that counts.
    let mut world = World::new(Vec::new(), bind, 1);
    let (key, _) = world.opens(1, OWN);
    world.closes(1, &key);
    assert_eq!(world.pass(5_000), [silent(1, true, true)]);
}

#[test]
fn who_leaves_was_not_ready_or_never_listened_closes_what_it_likes() {
    for asked_first in [true, false] {
        let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
        let (key, _) = world.opens(1, APP);
        let leave = |world: &mut World| world.drain(1);
        if asked_first {
            leave(&mut world);
        }
        world.closes(1, &key);
        if !asked_first {
            leave(&mut world);
        }
        assert!(
            !world.pass(20_000).iter().any(|action| matches!(reported(action), Some(Report::Silent { .. })))
        );
    }
    let bind = Policy { unmatched: Unmatched::Bind, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:3000")], bind, 2);
    let (key, _) = world.opens(1, OWN);
    world.closes(1, &key);
    world.hear(2, "\"ready\"");
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
}

#[test]
fn a_worker_that_closes_before_it_says_that_it_is_ready_is_told_of_after_that() {
    let bind = Policy { unmatched: Unmatched::Bind, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:3000")], bind, 1);
    let (key, _) = world.opens(1, OWN);
    world.closes(1, &key);
    world.pass(60_000);
    world.hear(1, "\"ready\"");
    assert_eq!(world.pass(5_000), [silent(1, true, true)]);
}
