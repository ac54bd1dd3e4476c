//! Which `listen()` gets the only inherited socket by another port.

use super::*;

const ADOPTED: Outcome = Outcome::Handle { check_port: false };
const PORT_9090: &str = r#""port":9090,"addressType":4"#;
const PORT_80: &str = r#""port":80,"addressType":4"#;

/// What the log is told of a call that is answered with a socket of its own.
fn kept(actions: &[Action]) -> Option<Kept> {
    assert!(actions.iter().any(|action| matches!(action, Action::Bind { .. })), "{actions:?}");
    actions.iter().filter_map(reported).find_map(|report| {
        if let Report::Noted { note: Note::Kept { why, .. }, .. } = report { Some(why.clone()) } else { None }
    })
}

#[test]
fn what_is_meant_for_this_machine_alone_does_not_adopt_what_others_reach() {
    for public in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
        for (host, family) in [("127.0.0.1", 4), ("127.1.2.3", 4), ("::1", 6), ("::ffff:127.0.0.1", 6)] {
            let mut world = World::new(vec![tcp(public)], SHARED, 1);
            let call = format!(r#""address":"{host}","port":9393,"addressType":{family}"#);
            assert_eq!(kept(&world.listen(1, &call)), Some(Kept::Loopback), "{host} on {public}");
            assert_eq!(world.outcome(1, PORT_3000), ADOPTED, "the app's own server has it");
        }
    }
    let mut world = World::new(vec![tcp("127.0.0.1:80")], SHARED, 1);
    let call = r#""address":"::1","port":9393,"addressType":6"#;
    assert_eq!(world.outcome(1, call), ADOPTED, "no wider than what was asked for");
}

#[test]
fn a_loopback_call_does_not_adopt_a_unix_socket_and_any_other_does() {
    let unix = || Inherited { kind: SocketKind::Stream, address: Address::Unix("/run/a.sock".into()) };
    let mut world = World::new(vec![unix()], SHARED, 1);
    let call = r#""address":"127.0.0.1","port":3000,"addressType":4"#;
    assert_eq!(kept(&world.listen(1, call)), Some(Kept::Loopback));
    let mut world = World::new(vec![unix()], SHARED, 1);
    assert_eq!(world.outcome(1, PORT_3000), ADOPTED);
}

#[test]
fn once_its_own_port_is_asked_for_nobody_adopts_a_socket_by_another() {
    let mut world = World::new(vec![tcp("[::]:80")], SHARED, 2);
    assert_eq!(world.outcome(1, PORT_9090), ADOPTED);
    assert_eq!(world.outcome(1, PORT_80), Outcome::Refused(98));
    // The other worker, the successor of the first and a later generation: none of them adopts.
    assert_eq!(kept(&world.listen(2, PORT_9090)), Some(Kept::OwnPort));
    assert_eq!(world.outcome(2, PORT_80), Outcome::Handle { check_port: true });
    for id in [1, 2] {
        let _ = world.primary.exited(world.now, worker(id));
    }
    world.primary.open(worker(3), 0, 2, SHARED);
    assert_eq!(kept(&world.listen(3, r#""port":9191,"addressType":4"#)), Some(Kept::OwnPort));
    assert_eq!(world.outcome(3, PORT_80), Outcome::Handle { check_port: true });
}

#[test]
fn a_socket_that_was_asked_for_by_number_is_adopted_by_no_port() {
    let mut world = World::new(vec![tcp("[::]:80"), tcp("[::]:80")], SHARED, 1);
    world.listen(1, r#""fd":4"#);
    assert_eq!(kept(&world.listen(1, PORT_9090)), Some(Kept::OwnPort));
}

#[test]
fn only_one_listen_of_a_generation_adopts() {
    let mut world = World::new(vec![tcp("[::]:80")], SHARED, 2);
    assert_eq!(world.outcome(1, PORT_3000), ADOPTED);
    assert_eq!(kept(&world.listen(2, PORT_9090)), Some(Kept::Adopted("port 3000".into())));
    let same_port = r#""address":"::","port":3000,"addressType":6"#;
    assert_eq!(kept(&world.listen(2, same_port)), Some(Kept::Adopted("port 3000".into())));
    assert_eq!(world.outcome(2, PORT_3000), ADOPTED, "the same call is answered alike");
}

#[test]
fn a_new_generation_adopts_by_the_port_of_the_old_one_while_that_lives() {
    let mut world = World::new(vec![tcp("[::]:80")], SHARED, 1);
    assert_eq!(world.outcome(1, PORT_3000), ADOPTED);
    world.primary.open(worker(2), 0, 2, SHARED);
    assert_eq!(kept(&world.listen(2, PORT_9090)), Some(Kept::Adopted("port 3000".into())));
    let on_any = r#""address":"0.0.0.0","port":3000,"addressType":4"#;
    assert_eq!(world.outcome(2, on_any), ADOPTED, "the address does not matter");
    // Told to leave, it still has the socket for a while.
    world.drain(2);
    let _ = world.primary.exited(world.now, worker(1));
    world.primary.open(worker(3), 0, 3, SHARED);
    assert!(kept(&world.listen(3, r#""port":4000,"addressType":4"#)).is_some());
    let _ = world.primary.exited(world.now, worker(2));
    let _ = world.primary.exited(world.now, worker(3));
    world.primary.open(worker(4), 0, 3, SHARED);
    assert_eq!(world.outcome(4, r#""port":5000,"addressType":4"#), ADOPTED, "nobody has it any more");
}

#[test]
fn the_log_names_the_call_that_has_the_socket_and_the_way_out() {
    let mut world = World::new(vec![tcp("0.0.0.0:80")], SHARED, 1);
    world.listen(1, PORT_3000);
    let actions = world.listen(1, PORT_9090);
    let [Action::Report(Report::Noted { note, .. }), Action::Bind { .. }] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert_eq!(
        note.to_string(),
        "the app asked to listen on port 9090 and does not get the inherited 0.0.0.0:80: workers have it that \
         asked for port 3000 (let the app read PORT; or restart the unit, if its port has changed)"
    );
}

#[test]
fn a_port_that_came_to_nothing_adopts_when_nobody_has_the_socket_any_more() {
    let mut world = World::new(vec![tcp("[::]:80")], SHARED, 1);
    assert_eq!(world.outcome(1, PORT_3000), ADOPTED);
    world.primary.open(worker(2), 0, 2, SHARED);
    assert!(kept(&world.listen(2, PORT_9090)).is_some());
    let bound = ListenerId(1);
    let _ = world.primary.bound(bound, Ok(Address::Inet("[::]:9090".parse().unwrap())));
    world.hear(2, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"listening","index":0,{PORT_9090},"seq":2}}"#));
    world.drain(2);
    let gone = world.primary.exited(world.now, worker(2));
    assert_eq!(gone, [Action::CloseListener { listener: bound }], "the release was not ready");
    let _ = world.primary.exited(world.now, worker(1));
    world.primary.open(worker(3), 0, 1, SHARED);
    assert_eq!(world.outcome(3, PORT_9090), ADOPTED, "the new code is not locked out");
}

#[test]
fn a_port_of_its_own_that_a_ready_worker_had_stays_bound_while_all_workers_are_gone() {
    let mut world = World::new(vec![tcp("[::]:80")], SHARED, 1);
    assert_eq!(world.outcome(1, PORT_3000), ADOPTED);
    world.listen(1, PORT_9090);
    let _ = world.primary.bound(ListenerId(1), Ok(Address::Inet("[::]:9090".parse().unwrap())));
    world.hear(1, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"listening","index":0,{PORT_80},"seq":2}}"#));
    assert_eq!(world.primary.exited(world.now, worker(1)), []);
    world.primary.open(worker(2), 0, 1, SHARED);
    assert_eq!(world.outcome(2, PORT_9090), Outcome::Handle { check_port: true }, "as before");
    assert_eq!(world.outcome(2, PORT_3000), ADOPTED);
}
