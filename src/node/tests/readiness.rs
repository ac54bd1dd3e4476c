//! When a worker that listens is ready by that.

use super::*;

const METRICS: &str = r#""port":18802,"addressType":4"#;
const APP: &str = r#""port":18801,"addressType":4"#;

fn metrics_and_app() -> Vec<Inherited> {
    vec![tcp("127.0.0.1:18802"), tcp("127.0.0.1:18801")]
}

fn is_ready(actions: &[Action], id: u64) -> bool {
    let is_listening =
        |report: &Report| matches!(report, Report::Listening { worker: who, .. } if *who == worker(id));
    actions.iter().filter_map(reported).any(is_listening)
}

impl World {
    /// Asks, and listens; whether the worker is ready by that.
    fn serve(&mut self, id: u64, what: &str) -> bool {
        let asked = self.listen(id, what);
        for action in asked {
            if let Action::Bind { listener, .. } = action {
                let address = Address::Inet("[::]:9090".parse().unwrap());
                let _ = self.primary.bound(listener, Ok(address));
            }
        }
        self.listens(id, what)
    }

    fn listens(&mut self, id: u64, what: &str) -> bool {
        let line = format!(r#"{{"cmd":"NODE_CLUSTER","act":"listening","index":0,{what},"seq":2}}"#);
        is_ready(&self.hear(id, &line), id)
    }

    fn successor(&mut self, id: u64, in_slot: u32, generation: u64, policy: Policy) {
        self.primary.open(worker(id), in_slot, generation, policy);
    }
}

#[test]
fn a_release_that_leaves_a_served_socket_alone_is_not_ready() {
    for policy in [SHARED, ROUND_ROBIN] {
        let mut world = World::new(metrics_and_app(), policy, 1);
        assert!(world.serve(1, METRICS), "one is enough for the first");
        assert!(world.serve(1, APP));
        world.successor(2, 0, 2, policy);
        assert!(!world.serve(2, METRICS));
        let lacking = world.primary.lacking(worker(2)).unwrap();
        assert_eq!(lacking.to_string(), "it never listened on 127.0.0.1:18801, which generation 1 serves");
        assert!(world.serve(2, APP));
        assert_eq!(world.primary.lacking(worker(2)), None);
    }
}

#[test]
fn asking_is_not_listening() {
    let mut world = World::new(metrics_and_app(), SHARED, 1);
    world.serve(1, METRICS);
    world.serve(1, APP);
    world.successor(2, 0, 2, SHARED);
    world.listen(2, APP);
    world.listen(2, METRICS);
    assert!(!world.listens(2, METRICS));
    assert!(world.listens(2, APP));
}

#[test]
fn a_listen_on_what_ganger_bound_is_no_sign_unless_nothing_was_inherited() {
    let bind = Policy { unmatched: Unmatched::Bind, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:80")], bind, 1);
    assert!(!world.serve(1, PORT_3000));
    let lacking = world.primary.lacking(worker(1)).unwrap().to_string();
    assert!(lacking.starts_with("it never listened on an inherited socket"), "{lacking}");
    assert!(world.serve(1, r#""port":80,"addressType":4"#));
    let mut world = World::new(Vec::new(), bind, 1);
    assert!(world.serve(1, PORT_3000));
}

#[test]
fn an_adopted_socket_counts_by_whichever_port_the_app_sees() {
    for (policy, seen) in [(SHARED, r#""port":80,"addressType":4"#), (ROUND_ROBIN, PORT_3000)] {
        let mut world = World::new(vec![tcp("[::]:80")], policy, 1);
        world.listen(1, PORT_3000);
        world.listen(1, r#""port":9090,"addressType":4"#);
        let _ = world.primary.bound(ListenerId(1), Ok(Address::Inet("[::]:9090".parse().unwrap())));
        assert!(!world.listens(1, r#""port":9090,"addressType":4"#));
        assert!(world.listens(1, seen));
    }
}

#[test]
fn a_served_udp_socket_counts() {
    let udp = Inherited { kind: SocketKind::Datagram, address: Address::Inet("0.0.0.0:53".parse().unwrap()) };
    let mut world = World::new(vec![tcp("[::]:80"), udp], ROUND_ROBIN, 1);
    let (web, names) = (r#""port":80,"addressType":4"#, r#""port":53,"addressType":"udp4","fd":-1"#);
    world.serve(1, web);
    world.serve(1, names);
    world.successor(2, 0, 2, ROUND_ROBIN);
    assert!(!world.serve(2, web));
    assert!(world.serve(2, names));
}

#[test]
fn a_socket_that_one_slot_alone_serves_is_asked_of_that_slot_alone() {
    let mut world = World::new(metrics_and_app(), SHARED, 2);
    world.serve(1, METRICS);
    world.serve(1, APP);
    assert!(world.serve(2, APP));
    world.successor(4, 1, 2, SHARED);
    assert!(world.serve(4, APP), "slot 1 never had the metrics");
    world.successor(3, 0, 2, SHARED);
    assert!(!world.serve(3, APP));
    assert!(world.serve(3, METRICS));
}

#[test]
fn who_replaces_a_crashed_worker_serves_what_that_served_while_others_do() {
    let mut world = World::new(metrics_and_app(), SHARED, 2);
    for id in [1, 2] {
        world.serve(id, METRICS);
        world.serve(id, APP);
    }
    let _ = world.primary.exited(world.now, worker(1));
    world.successor(3, 0, 1, SHARED);
    assert!(!world.serve(3, METRICS));
    let last = world.primary.exited(world.now, worker(2));
    assert!(is_ready(&last, 3), "nobody serves it any more: {last:?}");
}

#[test]
fn what_a_leaving_worker_served_counts_until_it_is_gone() {
    let mut world = World::new(metrics_and_app(), SHARED, 1);
    world.serve(1, METRICS);
    world.serve(1, APP);
    world.drain(1);
    for key in ["g0", "g1"] {
        world.hear(1, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{key}","seq":2}}"#));
    }
    let _ = world.primary.closed(world.now, worker(1));
    world.successor(2, 0, 2, SHARED);
    assert!(!world.serve(2, METRICS));
    assert!(is_ready(&world.primary.exited(world.now, worker(1)), 2));
}

#[test]
fn a_socket_that_the_app_closed_is_not_asked_of_the_next() {
    let mut world = World::new(metrics_and_app(), SHARED, 1);
    world.serve(1, METRICS);
    world.serve(1, APP);
    world.successor(2, 0, 2, SHARED);
    assert!(!world.serve(2, APP));
    let closed = world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"g0","seq":2}"#);
    assert!(is_ready(&closed, 2), "{closed:?}");
}

#[test]
fn one_socket_of_a_group_is_as_good_as_another() {
    let mut world = World::new(vec![tcp("[::]:80"), tcp("[::]:80")], SHARED, 1);
    let call = r#""port":80,"addressType":4"#;
    assert!(world.serve(1, call));
    world.successor(2, 0, 2, SHARED);
    assert!(world.serve(2, r#""fd":4"#));
}

#[test]
fn what_the_app_says_of_itself_is_reported_whatever_it_listens_on() {
    let mut world = World::new(metrics_and_app(), SHARED, 1);
    world.serve(1, METRICS);
    world.serve(1, APP);
    world.successor(2, 0, 2, SHARED);
    world.serve(2, METRICS);
    let said = world.primary.frame(world.now, worker(2), Frame::User("\"ready\"".into()), false);
    assert_eq!(said, [Action::Report(Report::Ready { worker: worker(2) })]);
}
