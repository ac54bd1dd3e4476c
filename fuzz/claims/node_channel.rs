//! What holds whatever workers say and whenever they die. Used by the fuzzer and, on its corpus and on made-up
//! scripts, by `cargo test`.
//!
//! A script is a list of four-byte steps: what happens, to which worker, and two numbers for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ganger::node::{
    Action, ConnectionId, Farewell, Handle, Inherited, ListenerId, Policy, Primary, Report, Trust, UniqueId,
    WINDOW,
};
use ganger::plan::{Address, Balance, SocketKind, Unmatched};
use ganger::proto::node::{Frame, Outcome, Seq, ToWorker};
use ganger::time::Monotonic;

/// Fails when one of the claims does not hold.
pub(crate) fn check(script: &[u8]) {
    let mut world = World::new();
    for step in script.chunks_exact(4).take(4096) {
        if let [what, who, a, b] = step {
            world.step(*what, u64::from(who % 6) + 1, *a, *b);
        }
    }
}

struct World {
    primary: Primary,
    now: Monotonic,
    next_worker: u64,
    /// Places 1…6 in the script hold workers that are never the same twice.
    places: BTreeMap<u64, Peer>,
    /// Accepted and not closed again.
    connections: BTreeSet<ConnectionId>,
    next_connection: u64,
    unbound: BTreeSet<ListenerId>,
    bound: BTreeSet<ListenerId>,
    /// A worker got the TCP socket by its own port or number.
    named: bool,
}

/// What a query was for, as far as a claim depends on it.
#[derive(Clone, Copy)]
struct Asked {
    /// The TCP socket's own port, or its number.
    own: bool,
    loopback: bool,
    /// Nobody had named the TCP socket when this was asked.
    free: bool,
}

struct Peer {
    id: UniqueId,
    open: bool,
    drained: bool,
    last_seq: Option<Seq>,
    next_seq: Seq,
    /// Queries without an answer.
    asked: BTreeMap<Seq, Asked>,
    keys: BTreeMap<String, bool>,
    /// It has been given an inherited socket, or may have been.
    may_be_ready: bool,
    /// Connections that the peer has been sent and has not answered, with the handle that they are for.
    unanswered: BTreeMap<Seq, (String, ConnectionId)>,
    /// Handles without an acknowledgement, in order.
    passed: VecDeque<Seq>,
}

impl World {
    fn new() -> Self {
        let inherited =
            |kind, address: &str| Inherited { kind, address: Address::Inet(address.parse().unwrap()) };
        let sockets = vec![
            inherited(SocketKind::Stream, "[::]:80"),
            inherited(SocketKind::Datagram, "0.0.0.0:53"),
            inherited(SocketKind::Stream, "[::]:80"),
        ];
        Self {
            primary: Primary::new(sockets),
            now: Monotonic::ZERO,
            next_worker: 1,
            places: BTreeMap::new(),
            connections: BTreeSet::new(),
            next_connection: 0,
            unbound: BTreeSet::new(),
            bound: BTreeSet::new(),
            named: false,
        }
    }

    fn step(&mut self, what: u8, place: u64, a: u8, b: u8) {
        match what % 12 {
            0 => self.open(place, a, b),
            1 | 2 => self.query(place, a, b),
            3 => self.accept(a),
            4 => self.reply(place, !a.is_multiple_of(4), a > 128),
            5 => self.acknowledge(place, true),
            6 => self.acknowledge(place, false),
            7 => self.close_key(place, a),
            8 => self.drain(place, a),
            9 => self.end(place, a),
            10 => self.bind(!a.is_multiple_of(3)),
            _ => self.other(place, a, b),
        }
        self.pass(u64::from(b % 4) * 40);
        assert!(
            self.primary.next_deadline().is_none_or(|deadline| deadline > self.now),
            "no deadline is left behind"
        );
    }

    fn open(&mut self, place: u64, a: u8, b: u8) {
        if self.places.contains_key(&place) {
            return;
        }
        let id = UniqueId::new(self.next_worker).unwrap();
        self.next_worker += 1;
        let policy = Policy {
            balance: if a.is_multiple_of(4) { Balance::Shared } else { Balance::RoundRobin },
            unmatched: [Unmatched::Adopt, Unmatched::Bind, Unmatched::Refuse][usize::from(b % 3)],
            trust: if b > 128 { Trust::Lesser } else { Trust::Same },
        };
        self.primary.open(id, u32::try_from(place).unwrap(), u64::from(a % 3), policy);
        let peer = Peer {
            id,
            open: true,
            drained: false,
            last_seq: None,
            next_seq: 0,
            asked: BTreeMap::new(),
            keys: BTreeMap::new(),
            may_be_ready: false,
            unanswered: BTreeMap::new(),
            passed: VecDeque::new(),
        };
        self.places.insert(place, peer);
    }

    fn query(&mut self, place: u64, a: u8, b: u8) {
        let port = [80, 0, 81, 8080, 443, 70000, -1][usize::from(a % 7)];
        let kind = ["4", "4", "6", "\"udp4\"", "-1", "null"][usize::from(b % 6)];
        let address = ["null", "\"::\"", "\"127.0.0.1\"", "\"/run/x\"", "\"/a\\u0000b\""][usize::from(b % 5)];
        let fd = if b == 255 { r#","fd":3"# } else { "" };
        let own = b == 255 || (port == 80 && ["4", "6"].contains(&kind));
        let asked = Asked { own, loopback: address == "\"127.0.0.1\"", free: !self.named };
        let Some(peer) = self.places.get_mut(&place) else { return };
        let seq = peer.next_seq;
        peer.next_seq += 1;
        if peer.open && !peer.drained {
            peer.asked.insert(seq, asked);
        }
        self.hear(place, &format!(
            r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":{a},"address":{address},"port":{port},"addressType":{kind},"data":{{"x":{a}}},"seq":{seq}{fd}}}"#
        ));
    }

    fn accept(&mut self, a: u8) {
        let open: Vec<_> = self.primary.accepting().filter(|(_, room)| *room > 0).collect();
        let listener = match open.get(usize::from(a) % open.len().max(1)) {
            Some((listener, _)) => *listener,
            None => ListenerId(u32::from(a)),
        };
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(connection);
        let actions = self.primary.accepted(listener, connection);
        self.obey(actions);
    }

    /// `arrived`: the preload's, which stands for the descriptor as well.
    fn reply(&mut self, place: u64, accepted: bool, arrived: bool) {
        let Some(peer) = self.places.get_mut(&place) else { return };
        let Some((ack, _)) = peer.unanswered.pop_first() else { return };
        if arrived && peer.passed.front() == Some(&ack) {
            peer.passed.pop_front();
        }
        let ack = if arrived { format!("\"+{ack}\"") } else { ack.to_string() };
        self.hear(place, &format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":{accepted},"seq":0}}"#));
    }

    fn acknowledge(&mut self, place: u64, arrived: bool) {
        let Some(peer) = self.places.get_mut(&place) else { return };
        let seq = peer.passed.pop_front();
        if !arrived {
            seq.map(|seq| peer.unanswered.remove(&seq));
        }
        let word = if arrived { "ACK" } else { "NACK" };
        self.hear(place, &format!(r#"{{"cmd":"NODE_HANDLE_{word}"}}"#));
    }

    fn close_key(&mut self, place: u64, a: u8) {
        let Some(peer) = self.places.get_mut(&place) else { return };
        let key = peer.keys.keys().nth(usize::from(a)).cloned().unwrap_or_else(|| "nonsense".to_owned());
        peer.keys.insert(key.clone(), false);
        self.hear(place, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{key}","seq":0}}"#));
    }

    fn drain(&mut self, place: u64, a: u8) {
        let Some(peer) = self.places.get_mut(&place) else { return };
        peer.drained = true;
        let farewell = Farewell {
            message: None,
            signal: Some(15),
            timeout: Duration::from_millis(u64::from(a)),
            is_last: a % 2 == 1,
        };
        let actions = self.primary.drain(self.now, peer.id, farewell);
        self.obey(actions);
    }

    fn end(&mut self, place: u64, a: u8) {
        let Some(peer) = self.places.get_mut(&place) else { return };
        peer.open = false;
        peer.unanswered.clear();
        peer.passed.clear();
        let id = peer.id;
        let actions = if a.is_multiple_of(2) {
            self.places.remove(&place);
            self.primary.exited(self.now, id)
        } else {
            self.primary.closed(self.now, id)
        };
        self.obey(actions);
    }

    fn bind(&mut self, good: bool) {
        let Some(listener) = self.unbound.pop_first() else { return };
        if good {
            self.bound.insert(listener);
        }
        let outcome = if good { Ok(Address::Inet("[::]:81".parse().unwrap())) } else { Err(98) };
        let actions = self.primary.bound(listener, outcome);
        self.obey(actions);
    }

    fn other(&mut self, place: u64, a: u8, b: u8) {
        match a % 6 {
            0 => self
                .hear(place, r#"{"cmd":"NODE_CLUSTER","act":"listening","port":80,"addressType":4,"seq":0}"#),
            1 => {
                self.hear(place, r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":0}"#);
                if let Some(peer) = self.places.get_mut(&place) {
                    peer.drained = true;
                }
            }
            2 => self.hear(place, &format!(r#"{{"cmd":"NODE_CLUSTER","ack":{b},"accepted":false}}"#)),
            3 => self.hear(place, r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{}}"#),
            4 => {
                let actions = self.primary.retire(u64::from(b % 3));
                self.obey(actions);
            }
            _ => self.pass(u64::from(b) * 10),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        let actions = self.primary.time_passed(self.now);
        self.obey(actions);
    }

    fn hear(&mut self, place: u64, line: &str) {
        let frame = Frame::parse(line.as_bytes()).unwrap_or(Frame::Unknown);
        if let Frame::Reply { ack, .. } = &frame
            && let Some(peer) = self.places.get_mut(&place)
        {
            peer.unanswered.remove(ack);
        }
        let Some(id) = self.places.get(&place).map(|peer| peer.id) else { return };
        let actions = self.primary.frame(self.now, id, frame, false);
        self.obey(actions);
    }

    fn obey(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { worker, message, handle } => self.sent(worker, &message, handle),
                Action::Bind { listener, .. } => assert!(self.unbound.insert(listener), "bound once"),
                Action::Relisten { listener } => {
                    assert!([0, 2].contains(&listener.0) || self.bound.contains(&listener))
                }
                Action::CloseListener { listener } => {
                    assert!(self.bound.remove(&listener), "only what was bound")
                }
                Action::CloseConnection { connection } => {
                    assert!(self.connections.remove(&connection), "a connection is closed once");
                }
                Action::Report(Report::SignalDue { worker }) => {
                    let peer = self.places.values().find(|peer| peer.id == worker);
                    assert!(peer.is_some_and(|peer| peer.drained), "only who is told to leave");
                }
                Action::Report(Report::Listening { worker, .. }) => {
                    let peer = self.places.values().find(|peer| peer.id == worker);
                    assert!(peer.is_some_and(|peer| peer.may_be_ready), "only with an inherited socket");
                }
                Action::Report(_) => {}
            }
        }
    }

    fn sent(&mut self, worker: UniqueId, message: &ToWorker, handle: Option<Handle>) {
        assert_eq!(message.carries_handle(), handle.is_some());
        let text = String::from_utf8(message.encode(false)).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "one line");
        let peer = self.places.values_mut().find(|peer| peer.id == worker).unwrap();
        assert!(peer.open, "nothing is said to who is not there");
        match message {
            ToWorker::Answer { ack, key, outcome, seq, .. } => {
                peer.count(*seq);
                let asked = peer.asked.remove(ack);
                let again = asked.is_none();
                if let (Some(asked), false) = (asked, matches!(outcome, Outcome::Refused(_))) {
                    self.named |= asked.own;
                    peer.may_be_ready |=
                        !matches!(handle, Some(Handle::Listener(listener)) if listener.0 > 2);
                    if !asked.own && matches!(handle, Some(Handle::Listener(ListenerId(0 | 2)))) {
                        assert!(asked.free, "a socket that was named is adopted by no other port");
                        assert!(!asked.loopback, "loopback is not widened");
                    }
                }
                assert!(!again || handle.is_some() || matches!(outcome, Outcome::Refused(_)));
                if handle.is_some() {
                    peer.passed.push_back(*seq);
                }
                if !matches!(outcome, Outcome::Refused(_)) {
                    peer.keys.entry(key.0.clone()).or_insert(true);
                }
            }
            ToWorker::NewConnection { key, seq } => {
                peer.count(*seq);
                assert!(!peer.drained, "who leaves gets no connection");
                assert_eq!(peer.keys.get(&key.0), Some(&true), "for a handle that the worker holds");
                let Some(Handle::Connection(connection)) = handle else { panic!("no connection") };
                assert!(self.connections.contains(&connection), "a closed connection is not handed out");
                peer.unanswered.insert(*seq, (key.0.clone(), connection));
                peer.passed.push_back(*seq);
                let window = peer.unanswered.values().filter(|(other, _)| *other == key.0).count();
                assert!(window <= WINDOW, "no more than a window");
                let holders = self.places.values().flat_map(|peer| peer.unanswered.values());
                assert!(holders.filter(|(_, held)| *held == connection).count() == 1, "one at a time");
            }
            ToWorker::Disconnect { seq } | ToWorker::Ack { seq, .. } => peer.count(*seq),
            ToWorker::HandleAck | ToWorker::HandleNack | ToWorker::Leave { .. } | ToWorker::User(_) => {}
        }
    }
}

impl Peer {
    fn count(&mut self, seq: Seq) {
        assert!(self.last_seq.is_none_or(|last| last < seq), "numbers grow");
        self.last_seq = Some(seq);
    }
}
