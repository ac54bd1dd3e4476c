//! The primary's answers, message by message.

use std::net::SocketAddr;
use std::time::Duration;

mod adopting;
mod readiness;
mod silence;

use super::*;
use crate::plan::{Address, Balance, SocketKind, Unmatched};
use crate::proto::node::{Data, Frame, FrameError, Key, Outcome, SockName, ToWorker, UserText};
use crate::time::Monotonic;

const SHARED: Policy = Policy { balance: Balance::Shared, unmatched: Unmatched::Adopt, trust: Trust::Same };
const ROUND_ROBIN: Policy = Policy { balance: Balance::RoundRobin, ..SHARED };

struct World {
    primary: Primary,
    now: Monotonic,
}

fn tcp(address: &str) -> Inherited {
    Inherited { kind: SocketKind::Stream, address: Address::Inet(address.parse::<SocketAddr>().unwrap()) }
}

fn worker(id: u64) -> UniqueId {
    UniqueId::new(id).unwrap()
}

fn slot(number: u64) -> u32 {
    u32::try_from(number).unwrap()
}

impl World {
    fn new(inherited: Vec<Inherited>, policy: Policy, workers: u64) -> Self {
        let mut primary = Primary::new(inherited);
        (1..=workers).for_each(|id| primary.open(worker(id), slot(id - 1), 1, policy));
        Self { primary, now: Monotonic::ZERO }
    }

    fn hear(&mut self, id: u64, line: &str) -> Vec<Action> {
        let frame = Frame::parse(line.as_bytes()).unwrap();
        self.primary.frame(self.now, worker(id), frame, false)
    }

    fn listen(&mut self, id: u64, what: &str) -> Vec<Action> {
        self.hear(id, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,{what},"seq":1}}"#))
    }

    fn outcome(&mut self, id: u64, what: &str) -> Outcome {
        outcome(&self.listen(id, what))
    }

    fn pass(&mut self, ms: u64) -> Vec<Action> {
        self.now = self.now + Duration::from_millis(ms);
        self.primary.time_passed(self.now)
    }

    fn drain(&mut self, id: u64) -> Vec<Action> {
        let farewell =
            Farewell { message: None, signal: Some(15), timeout: Duration::from_secs(30), is_last: false };
        self.primary.drain(self.now, worker(id), farewell)
    }
}

fn outcome(actions: &[Action]) -> Outcome {
    actions.iter().find_map(answer).unwrap_or_else(|| panic!("no answer in {actions:?}"))
}

fn reported(action: &Action) -> Option<&Report> {
    match action {
        Action::Report(report) => Some(report),
        Action::Send { .. }
        | Action::Bind { .. }
        | Action::Relisten { .. }
        | Action::CloseListener { .. }
        | Action::CloseConnection { .. } => None,
    }
}

fn answer(action: &Action) -> Option<Outcome> {
    match action {
        Action::Send { message: ToWorker::Answer { outcome, .. }, .. } => Some(outcome.clone()),
        Action::Send { .. }
        | Action::Bind { .. }
        | Action::Relisten { .. }
        | Action::CloseListener { .. }
        | Action::CloseConnection { .. }
        | Action::Report(_) => None,
    }
}

fn say(id: u64, message: ToWorker) -> Action {
    Action::Send { worker: worker(id), message, handle: None }
}

fn new_connection(id: u64, key: &str, seq: u64, connection: u64) -> Action {
    let message = ToWorker::NewConnection { key: Key(key.into()), seq };
    Action::Send { worker: worker(id), message, handle: Some(Handle::Connection(ConnectionId(connection))) }
}

const PORT_3000: &str = r#""port":3000,"addressType":4"#;

#[test]
fn the_inherited_port_is_answered_with_the_shared_socket() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
    let message = ToWorker::Answer {
        ack: 1,
        key: Key("g0".into()),
        outcome: Outcome::Handle { check_port: true },
        data: Data::default(),
        seq: 0,
    };
    let handle = Some(Handle::Listener(ListenerId(0)));
    assert_eq!(world.listen(1, PORT_3000), [Action::Send { worker: worker(1), message, handle }]);
}

#[test]
fn in_round_robin_the_worker_is_told_where_it_listens() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 1);
    let name = SockName { address: "::".into(), v6: true, port: 3000 };
    assert_eq!(world.outcome(1, PORT_3000), Outcome::RoundRobin(Some(name)));
    assert_eq!(world.primary.accepting().collect::<Vec<_>>(), [(ListenerId(0), WINDOW)]);
}

#[test]
fn the_same_address_wins_over_a_wildcard_and_a_wildcard_over_another_address() {
    let sockets = vec![tcp("10.0.0.1:80"), tcp("0.0.0.0:80"), tcp("127.0.0.1:80")];
    let mut world = World::new(sockets, SHARED, 4);
    let mut given = |id, address: &str| {
        given(&world.listen(id, &format!(r#""address":"{address}","port":80,"addressType":4"#)))
    };
    assert_eq!(given(1, "127.0.0.1"), Some(Handle::Listener(ListenerId(2))));
    assert_eq!(given(2, "::"), Some(Handle::Listener(ListenerId(1))));
    assert_eq!(given(3, "192.168.0.1"), Some(Handle::Listener(ListenerId(1))));
}

#[test]
fn an_adopted_socket_is_given_without_the_port_check_and_noted() {
    let mut world = World::new(vec![tcp("[::]:80")], SHARED, 1);
    let actions = world.listen(1, PORT_3000);
    assert_eq!(outcome(&actions), Outcome::Handle { check_port: false });
    let note = Note::Inexact { wanted: "port 3000".into(), got: "[::]:80".into(), fit: Fit::Adopted };
    assert!(actions.contains(&Action::Report(Report::Noted { worker: worker(1), note })));
}

fn given(actions: &[Action]) -> Option<Handle> {
    actions.iter().find_map(|action| match action {
        Action::Send { handle, .. } => *handle,
        Action::Bind { .. }
        | Action::Relisten { .. }
        | Action::CloseListener { .. }
        | Action::CloseConnection { .. }
        | Action::Report(_) => None,
    })
}

#[test]
fn of_a_group_on_one_address_each_slot_has_a_socket_whichever_of_its_workers_listens_first() {
    let group = || vec![tcp("[::]:3000"), tcp("[::]:3000"), tcp("[::]:4000")];
    let socket = |id| Some(Handle::Listener(ListenerId(id)));
    let mut world = World::new(group(), SHARED, 2);
    assert_eq!(given(&world.listen(2, PORT_3000)), socket(1));
    assert_eq!(given(&world.listen(1, PORT_3000)), socket(0));
    assert_eq!(world.outcome(2, PORT_3000), Outcome::Refused(98));
    for (successor, slot, numbered) in [(3, 0, 0), (4, 1, 1), (5, 1, 1), (6, 2, 0)] {
        world.primary.open(worker(successor), slot, 2, SHARED);
        assert_eq!(given(&world.listen(successor, PORT_3000)), socket(numbered), "slot {slot}");
    }
    world.primary.open(worker(7), 0, 2, SHARED);
    assert_eq!(given(&world.listen(7, r#""fd":4"#)), socket(1), "a number means that very socket");
}

#[test]
fn in_round_robin_a_group_is_accepted_from_as_one() {
    let mut world = World::new(vec![tcp("[::]:3000"), tcp("[::]:3000")], ROUND_ROBIN, 2);
    world.listen(1, PORT_3000);
    world.listen(2, PORT_3000);
    let room = 2 * WINDOW;
    assert_eq!(world.primary.accepting().collect::<Vec<_>>(), [(ListenerId(0), room), (ListenerId(1), room)]);
    assert_eq!(world.primary.accepted(ListenerId(1), ConnectionId(7)), [new_connection(1, "g0", 1, 7)]);
    assert_eq!(world.primary.accepted(ListenerId(0), ConnectionId(8)), [new_connection(2, "g1", 1, 8)]);
    assert_eq!(world.primary.accepting().map(|(_, room)| room).collect::<Vec<_>>(), [room - 2, room - 2]);
}

#[test]
fn policy_refuses_what_was_not_inherited() {
    let refuse = Policy { unmatched: Unmatched::Refuse, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:80")], refuse, 1);
    assert_eq!(world.outcome(1, PORT_3000), Outcome::Refused(13));
    let lesser = Policy { unmatched: Unmatched::Bind, trust: Trust::Lesser, ..SHARED };
    let mut world = World::new(vec![tcp("[::]:80")], lesser, 1);
    let path = r#""address":"/etc/passwd","port":-1,"addressType":-1"#;
    assert_eq!(world.outcome(1, path), Outcome::Refused(13));
    assert_eq!(world.outcome(1, r#""port":443,"addressType":4"#), Outcome::Refused(13));
}

#[test]
fn a_second_listen_on_a_socket_that_the_worker_holds_is_address_in_use() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
    world.listen(1, PORT_3000);
    assert_eq!(world.outcome(1, PORT_3000), Outcome::Refused(98));
    world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"g0","seq":2}"#);
    assert_eq!(world.outcome(1, PORT_3000), Outcome::Handle { check_port: true });
}

#[test]
fn the_first_workers_ticket_keys_go_to_all() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 2);
    let keyed = |keys: &str| format!(r#"{PORT_3000},"data":{{"ticketKeys":"{keys}"}}"#);
    let first = world.listen(1, &keyed("aa"));
    let second = world.listen(2, &keyed("bb"));
    let data = |actions: &[Action]| match actions {
        [Action::Send { message: ToWorker::Answer { data, .. }, .. }] => data.to_json().to_string(),
        _ => panic!("{actions:?}"),
    };
    assert_eq!((data(&first), data(&second)), (data(&first), data(&first)));
    assert!(!format!("{second:?}").contains("aa"), "key material is shown");
}

#[test]
fn a_socket_to_bind_is_made_once_and_answers_everybody_who_asked() {
    let mut world = World::new(Vec::new(), SHARED, 2);
    assert!(matches!(world.listen(1, PORT_3000).as_slice(), [Action::Bind { listener: ListenerId(0), .. }]));
    assert_eq!(world.listen(2, PORT_3000), []);
    let actions = world.primary.bound(ListenerId(0), Ok(Address::Inet("[::]:3000".parse().unwrap())));
    assert_eq!(actions.iter().filter_map(answer).count(), 2);
    world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"g0","seq":2}"#);
    let last = world.hear(2, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"g1","seq":2}"#);
    assert_eq!(last, [Action::CloseListener { listener: ListenerId(0) }]);
}

#[test]
fn a_bind_that_fails_is_the_apps_error_and_is_tried_anew_next_time() {
    let mut world = World::new(Vec::new(), SHARED, 1);
    world.listen(1, PORT_3000);
    assert_eq!(outcome(&world.primary.bound(ListenerId(0), Err(98))), Outcome::Refused(98));
    assert!(matches!(world.listen(1, PORT_3000).as_slice(), [Action::Bind { listener: ListenerId(1), .. }]));
}

#[test]
fn a_socket_that_ganger_bound_outlives_a_drain_and_goes_with_its_generation() {
    let mut world = World::new(Vec::new(), SHARED, 1);
    world.listen(1, PORT_3000);
    let _ = world.primary.bound(ListenerId(0), Ok(Address::Inet("[::]:3000".parse().unwrap())));
    world.drain(1);
    assert_eq!(world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"g0","seq":2}"#), []);
    let _ = world.primary.exited(world.now, worker(1));
    assert_eq!(world.primary.retire(1), [Action::CloseListener { listener: ListenerId(0) }]);
}

#[test]
fn a_connection_waits_for_the_workers_word_and_is_closed_then() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 1);
    world.listen(1, PORT_3000);
    let handed = world.primary.accepted(ListenerId(0), ConnectionId(7));
    assert_eq!(handed, [new_connection(1, "g0", 1, 7)]);
    assert_eq!(world.primary.accepting().collect::<Vec<_>>(), [(ListenerId(0), WINDOW - 1)]);
    world.hear(1, r#"{"cmd":"NODE_HANDLE_ACK"}"#);
    let taken = world.hear(1, r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":3}"#);
    assert_eq!(taken, [Action::CloseConnection { connection: ConnectionId(7) }]);
    assert_eq!(world.primary.accepting().collect::<Vec<_>>(), [(ListenerId(0), WINDOW)]);
}

#[test]
fn a_word_for_a_connection_may_stand_for_its_descriptor_too_and_then_the_next_one_is_the_oldest() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 1);
    world.listen(1, PORT_3000);
    (7..10).for_each(|id| drop(world.primary.accepted(ListenerId(0), ConnectionId(id))));
    let closed = |id| [Action::CloseConnection { connection: ConnectionId(id) }];
    let taken = world.hear(1, r#"{"cmd":"NODE_CLUSTER","ack":"+1","accepted":true,"seq":3}"#);
    assert_eq!(taken, closed(7));
    // Not the oldest, so this was no honest plus: it says nothing of a descriptor.
    assert_eq!(world.hear(1, r#"{"cmd":"NODE_CLUSTER","ack":"+3","accepted":true,"seq":4}"#), closed(9));
    assert_eq!(world.hear(1, r#"{"cmd":"NODE_HANDLE_NACK"}"#), []);
    assert_eq!(world.pass(100), [new_connection(1, "g0", 4, 8)]);
}

#[test]
fn a_connection_on_its_way_to_a_worker_that_dies_or_refuses_goes_to_another() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 2);
    world.listen(1, PORT_3000);
    world.listen(2, PORT_3000);
    let _ = world.primary.accepted(ListenerId(0), ConnectionId(7));
    let gone = world.primary.closed(world.now, worker(1));
    let report = Action::Report(Report::Disconnected { worker: worker(1) });
    assert_eq!(gone, [report, new_connection(2, "g1", 1, 7)]);
    let refused = world.hear(2, r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":false,"seq":3}"#);
    assert_eq!(refused, []);
    assert_eq!(world.primary.next_deadline(), Some(world.now + REFUSAL_REST));
    assert_eq!(world.pass(10), [new_connection(2, "g1", 2, 7)]);
}

#[test]
fn a_worker_that_dies_with_a_window_on_its_way_loses_none_of_it() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 2);
    world.listen(1, PORT_3000);
    let connections = 0..WINDOW as u64;
    for id in connections.clone() {
        assert_eq!(world.primary.accepted(ListenerId(0), ConnectionId(id)).len(), 1);
    }
    world.hear(1, r#"{"cmd":"NODE_HANDLE_ACK"}"#);
    let taken = world.hear(1, r#"{"cmd":"NODE_CLUSTER","ack":3,"accepted":true,"seq":3}"#);
    assert_eq!(taken, [Action::CloseConnection { connection: ConnectionId(2) }]);
    world.listen(2, PORT_3000);
    let mut gone = world.primary.closed(world.now, worker(1));
    assert_eq!(gone.remove(0), Action::Report(Report::Disconnected { worker: worker(1) }));
    let left: Vec<u64> = connections.filter(|id| *id != 2).collect();
    let again: Vec<Action> =
        left.iter().zip(1..).map(|(id, seq)| new_connection(2, "g1", seq, *id)).collect();
    assert_eq!(gone, again);
}

#[test]
fn a_connection_on_its_way_from_a_listener_that_was_closed_is_closed_when_it_does_not_arrive() {
    for dies in [false, true] {
        let mut world = World::new(Vec::new(), ROUND_ROBIN, 1);
        world.listen(1, PORT_3000);
        let _ = world.primary.bound(ListenerId(0), Ok(Address::Inet("[::]:3000".parse().unwrap())));
        assert_eq!(world.primary.accepted(ListenerId(0), ConnectionId(7)), [new_connection(1, "g0", 1, 7)]);
        let closed = world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"g0","seq":2}"#);
        assert_eq!(closed, [Action::CloseListener { listener: ListenerId(0) }]);
        let end = Action::CloseConnection { connection: ConnectionId(7) };
        if dies {
            assert_eq!(world.primary.exited(world.now, worker(1)).first(), Some(&end));
        } else {
            assert_eq!(world.hear(1, r#"{"cmd":"NODE_HANDLE_NACK"}"#), [end]);
        }
    }
}

#[test]
fn a_handle_that_did_not_arrive_is_sent_again_and_given_up_after_some_tries() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
    world.listen(1, PORT_3000);
    for _ in 0..MAX_HANDLE_TRIES {
        assert_eq!(world.hear(1, r#"{"cmd":"NODE_HANDLE_NACK"}"#), []);
        assert_eq!(outcome(&world.pass(100)), Outcome::Handle { check_port: true });
    }
    let last = world.hear(1, r#"{"cmd":"NODE_HANDLE_NACK"}"#);
    assert_eq!(outcome(&last), Outcome::Refused(24));
}

#[test]
fn a_drain_is_message_disconnect_end_and_the_stop_signal_for_who_stays() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 1);
    let message = UserText::from_text("shutdown");
    let farewell = Farewell {
        message: Some(message.clone()),
        signal: Some(15),
        timeout: Duration::from_secs(30),
        is_last: false,
    };
    let begun = world.primary.drain(world.now, worker(1), farewell);
    let said = say(1, ToWorker::User(message));
    // A quarter of the 28 seconds before the stop signal is left to requests that come last.
    let leave = say(1, ToWorker::Leave { idle: Duration::from_secs(21), signal: None });
    assert_eq!(begun, [leave, said, say(1, ToWorker::Disconnect { seq: 0 })]);
    assert_eq!(world.drain(1), [], "once is enough");
    assert_eq!(world.listen(1, PORT_3000), [], "a worker that leaves opens nothing more");
    let ended = world.primary.closed(world.now, worker(1));
    assert_eq!(ended, [Action::Report(Report::Drained { worker: worker(1) })]);
    // The message asked it to end, and that takes its time.
    assert_eq!(world.pass(27_999), []);
    assert_eq!(world.pass(1), [Action::Report(Report::SignalDue { worker: worker(1) })]);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
}

#[test]
fn a_drained_worker_that_stays_without_a_message_gets_its_stop_signal_soon_and_once() {
    let mut world = World::new(vec![tcp("[::]:3000")], SHARED, 2);
    let begun = world.drain(1);
    assert!(
        begun.contains(&say(1, ToWorker::Leave { idle: Duration::from_secs(21), signal: Some(15) })),
        "{begun:?}"
    );
    let _ = world.primary.closed(world.now, worker(1));
    assert_eq!(world.pass(499), []);
    assert_eq!(world.pass(1), [Action::Report(Report::SignalDue { worker: worker(1) })]);
    assert_eq!((world.pass(60_000), world.primary.next_deadline()), (vec![], None));
    world.drain(2);
    assert_eq!(world.pass(28_000), [Action::Report(Report::SignalDue { worker: worker(2) })]);
    let _ = world.primary.closed(world.now, worker(2));
    assert_eq!(world.pass(60_000), [], "a handler that closes connections goes on undisturbed");
}

#[test]
fn workers_that_are_leaving_hear_that_the_whole_pool_ends() {
    let mut world = World::new(Vec::new(), SHARED, 3);
    world.drain(1);
    world.drain(2);
    let _ = world.primary.closed(world.now, worker(2));
    let leave = ToWorker::Leave { idle: Duration::from_secs(1), signal: None };
    assert_eq!(world.primary.hasten(), [say(1, leave)]);
}

#[test]
fn a_worker_that_cannot_drain_gets_its_stop_signal_two_seconds_before_the_end() {
    let mut world = World::new(Vec::new(), SHARED, 1);
    world.drain(1);
    assert_eq!(world.pass(27_999), []);
    assert_eq!(world.pass(1), [Action::Report(Report::SignalDue { worker: worker(1) })]);
}

#[test]
fn a_worker_that_leaves_by_itself_is_answered() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 1);
    world.listen(1, PORT_3000);
    let actions = world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":5}"#);
    let report = Action::Report(Report::Leaving { worker: worker(1) });
    assert_eq!(actions, [say(1, ToWorker::Ack { ack: 5, seq: 1 }), report]);
    assert_eq!(world.primary.accepting().collect::<Vec<_>>(), [(ListenerId(0), 0)]);
}

#[test]
fn what_is_said_of_a_worker_that_is_not_there_does_nothing() {
    let mut world = World::new(vec![tcp("[::]:3000")], ROUND_ROBIN, 0);
    assert_eq!(world.listen(9, PORT_3000), []);
    assert_eq!(world.drain(9), []);
    assert_eq!(world.primary.closed(world.now, worker(9)), []);
    assert_eq!(world.primary.exited(world.now, worker(9)), []);
    assert_eq!(world.primary.bound(ListenerId(4), Err(1)), []);
    let closes = [Action::CloseConnection { connection: ConnectionId(1) }];
    assert_eq!(world.primary.accepted(ListenerId(0), ConnectionId(1)), closes);
}

#[test]
fn a_worker_that_ends_before_it_listened_is_explained() {
    let mut world = World::new(Vec::new(), SHARED, 1);
    world.hear(1, r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#);
    let note = Note::NeverListened(Heard::Online);
    let noted = Action::Report(Report::Noted { worker: worker(1), note });
    assert_eq!(world.primary.exited(world.now, worker(1)), [noted]);
}

#[test]
fn a_flood_of_nonsense_is_noted_a_hundred_times_and_no_more() {
    let mut world = World::new(Vec::new(), SHARED, 1);
    let notes: usize =
        (0..1000).map(|_| world.primary.malformed(worker(1), FrameError::Field("seq")).len()).sum();
    assert_eq!(notes, 100);
}

#[test]
fn claims_are_bounded() {
    let mut world = World::new(Vec::new(), SHARED, 1);
    let asked = |port: u64| format!(r#""port":{port},"addressType":4"#);
    let binds = (1..=1000).filter(|port| {
        let actions = world.listen(1, &asked(*port));
        actions.iter().any(|action| matches!(action, Action::Bind { .. }))
    });
    assert_eq!(binds.count(), MAX_BOUND);
}
