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
fn a_worker_that_never_listened_on_an_inherited_socket_has_closed_none() {
    let bind = Policy { unmatched: Unmatched::Bind, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:3000")], bind, 2);
    world.opens(1, APP);
    let (key, _) = world.opens(2, OWN);
    world.hear(2, "\"ready\"");
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None), "it serves its own");
    world.closes(2, &key);
    assert_eq!(world.pass(5_000), [silent(2, true, false)], "it serves nothing at all");
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

const WEB: &str = r#""port":3000,"addressType":4"#;
const ADMIN: &str = r#""port":3001,"addressType":4"#;

fn unserved(is_first: bool) -> Action {
    Action::Report(Report::Unserved { listener: ListenerId(1), is_first })
}

fn served_again(is_first: bool) -> Action {
    Action::Report(Report::ServedAgain { listener: ListenerId(1), is_first })
}

/// Both workers serve both sockets; what they close the second one by.
fn two_sockets(policy: Policy) -> (World, [Key; 2]) {
    let mut world = World::new(vec![tcp("[::]:3000"), tcp("[::]:3001")], policy, 2);
    let keys = [1, 2].map(|id| {
        world.opens(id, WEB);
        world.opens(id, ADMIN).0
    });
    (world, keys)
}

#[test]
fn a_socket_that_all_workers_have_closed_is_told_of_once_while_they_serve_others() {
    for policy in [SHARED, ROUND_ROBIN] {
        let (mut world, keys) = two_sockets(policy);
        world.closes(1, &keys[0]);
        assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None), "one serves it");
        world.closes(2, &keys[1]);
        assert_eq!(world.pass(4_999), []);
        assert_eq!(world.pass(1), [unserved(true)]);
        assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
        let (key, actions) = world.opens(2, ADMIN);
        assert!(actions.contains(&served_again(true)), "{actions:?}");
        world.closes(2, &key);
        assert_eq!(world.pass(5_000), [unserved(false)]);
        assert!(world.opens(1, ADMIN).1.contains(&served_again(false)));
    }
}

#[test]
fn a_socket_that_is_listened_on_again_at_once_or_never_was_is_not_told_of() {
    let (mut world, keys) = two_sockets(SHARED);
    for (id, key) in [1, 2].into_iter().zip(&keys) {
        world.closes(id, key);
    }
    world.pass(4_000);
    world.opens(1, ADMIN);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
    let mut world = World::new(vec![tcp("[::]:3000"), tcp("[::]:3001")], SHARED, 1);
    world.opens(1, WEB);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
}

#[test]
fn a_socket_is_not_told_of_while_a_worker_starts_or_when_none_that_could_serve_it_stays() {
    let (mut world, keys) = two_sockets(SHARED);
    for (id, key) in [1, 2].into_iter().zip(&keys) {
        world.closes(id, key);
    }
    world.primary.open(worker(3), 0, 2, SHARED);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None), "it may serve it");
    world.opens(3, WEB);
    assert_eq!(world.pass(5_000), [unserved(true)], "it does not");
    let (mut world, keys) = two_sockets(SHARED);
    for (id, key) in [1, 2].into_iter().zip(&keys) {
        world.closes(id, key);
        world.drain(id);
    }
    assert!(!world.pass(60_000).contains(&unserved(true)), "all leave");
}

#[test]
fn a_socket_whose_only_server_is_gone_has_a_minute_for_the_next_one() {
    let gone = || {
        let mut world = World::new(vec![tcp("[::]:3000"), tcp("[::]:3001")], SHARED, 2);
        for (id, what) in [(1, WEB), (2, WEB), (2, ADMIN)] {
            world.opens(id, what);
        }
        let _ = world.primary.exited(world.now, worker(2));
        world
    };
    let mut world = gone();
    assert_eq!(world.pass(59_999), []);
    world.primary.open(worker(3), 1, 1, SHARED);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
    let mut world = gone();
    assert_eq!(world.pass(60_000), [unserved(true)]);
}

#[test]
fn that_nobody_serves_anything_is_not_told_once_more_of_each_socket() {
    let (mut world, _) = two_sockets(SHARED);
    let keys: Vec<(u64, Key)> =
        [(1, "g0"), (1, "g1"), (2, "g2"), (2, "g3")].map(|(id, key)| (id, Key(key.into()))).into();
    for (id, key) in &keys {
        world.closes(*id, key);
    }
    assert_eq!(world.pass(5_000), [silent(1, true, true), silent(2, true, true)]);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
    // One of them is back, for the one socket: the other still waits.
    assert!(world.opens(1, WEB).1.contains(&over(1, true)));
    assert_eq!(world.pass(5_000), [unserved(true)]);
}
