//! What is known of one worker at the other end of its channel: how far it is, which handles it holds, what
//! is on its way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::report::{Handle, Policy};
use super::{ConnectionId, ListenerId};
use crate::proto::node::{Data, Key, Listen, Outcome, Seq, ToWorker};
use crate::time::Monotonic;

/// The most notes about one worker; a forger cannot fill the log.
const MAX_NOTES: u32 = 100;

/// How far the worker is. Whether it listens is not part of it: servers come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// From its start on.
    Open,
    /// It closes its servers: told to, or by itself (then without a last call).
    Leaving {
        /// When its stop signal is due although it has not drained; `None` once it was sent, too.
        last_call: Option<Monotonic>,
        /// What comes when it has drained and stays.
        then: Then,
    },
    /// The channel is closed, the process may still be there.
    Closed {
        /// When its stop signal is due.
        signal: Option<Monotonic>,
    },
}

/// What comes of a worker that has drained and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Its stop signal, soon: nobody asked the app to end.
    Signal,
    /// A message asked the app to end: its stop signal at the last call.
    Wait,
}

/// How far a worker came with listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Not a word came.
    Nothing,
    /// Node booted.
    Online,
    /// The app asked to listen.
    Asked,
    /// A server listened.
    Listening,
}

/// Whether clients can reach a worker that has been ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It listens, or has not been ready yet.
    Open,
    /// It has closed the last of its servers. To be told when it has not listened again by then.
    Closing(Monotonic),
    /// That was told.
    Closed,
}

/// A listening handle that the worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) listener: ListenerId,
    /// The worker has the descriptor itself.
    pub(super) shared: bool,
    /// What it was given for.
    pub(super) asked: Listen,
    /// The worker has said that it listens.
    pub(super) listens: bool,
}

/// A descriptor on its way; Node acknowledges them in order, without saying which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passed {
    Answer(Answer),
    Connection { seq: Seq },
}

/// The answer to a query, as often as it must be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) ack: Seq,
    pub(super) key: Key,
    pub(super) listener: ListenerId,
    pub(super) outcome: Outcome,
    pub(super) data: Data,
    pub(super) tries: u32,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) slot: u32,
    pub(super) generation: u64,
    pub(super) policy: Policy,
    pub(super) phase: Phase,
    pub(super) heard: Heard,
    pub(super) grants: BTreeMap<Key, Grant>,
    /// The sockets that it ever was given and that are still there, of each group the first.
    pub(super) had: BTreeSet<ListenerId>,
    /// It has given a sign of readiness.
    pub(super) stands: bool,
    /// It has listened on an inherited socket.
    pub(super) reached_clients: bool,
    pub(super) reach: Reach,
    /// So often it was told that nobody reaches it.
    pub(super) silences: u32,
    pub(super) passed: VecDeque<Passed>,
    /// Connections by the number of the message that carried them.
    pub(super) on_their_way: BTreeMap<Seq, (ListenerId, ConnectionId)>,
    /// Answers whose descriptor did not arrive.
    pub(super) again: Vec<(Monotonic, Answer)>,
    next_seq: Seq,
    notes: u32,
}

impl Channel {
    pub(super) fn new(slot: u32, generation: u64, policy: Policy) -> Self {
        Self {
            slot,
            generation,
            policy,
            phase: Phase::Open,
            heard: Heard::Nothing,
            grants: BTreeMap::new(),
            had: BTreeSet::new(),
            stands: false,
            reached_clients: false,
            reach: Reach::Open,
            silences: 0,
            passed: VecDeque::new(),
            on_their_way: BTreeMap::new(),
            again: Vec::new(),
            next_seq: 0,
            notes: 0,
        }
    }

    pub(super) fn seq(&mut self) -> Seq {
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        seq
    }

    /// Whether one more note may be made.
    pub(super) fn may_note(&mut self) -> bool {
        self.notes = self.notes.saturating_add(1);
        self.notes <= MAX_NOTES
    }

    pub(super) fn hears(&mut self, heard: Heard) {
        self.heard = self.heard.max(heard);
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn holds(&self, listener: ListenerId) -> bool {
        self.grants.values().any(|grant| grant.listener == listener)
    }

    /// A server listens. Its message does not name the handle: it is the query's, with the port that the server found
    /// itself on, which is the wanted one or the socket's (`real`).
    pub(super) fn listens(&mut self, listen: &Listen, real: impl Fn(ListenerId) -> Option<u16>) {
        let silent = self.grants.values_mut().filter(|grant| !grant.listens);
        let nearest = silent.min_by_key(|grant| {
            let asked = &grant.asked;
            let other_call = (&asked.address, asked.address_type, asked.fd)
                != (&listen.address, listen.address_type, listen.fd);
            let real = real(grant.listener).map(i64::from);
            (other_call, listen.port != asked.port && listen.port != real)
        });
        if let Some(grant) = nearest {
            grant.listens = true;
        }
    }

    /// The line for an answer, and what goes along.
    pub(super) fn answer(&mut self, answer: Answer) -> (ToWorker, Option<Handle>) {
        let seq = self.seq();
        let message = ToWorker::Answer {
            ack: answer.ack,
            key: answer.key.clone(),
            outcome: answer.outcome.clone(),
            data: answer.data.clone(),
            seq,
        };
        let handle = message.carries_handle().then_some(Handle::Listener(answer.listener));
        if handle.is_some() {
            self.passed.push_back(Passed::Answer(answer));
        }
        (message, handle)
    }

    /// The line for a connection.
    pub(super) fn new_connection(
        &mut self,
        listener: ListenerId,
        connection: ConnectionId,
    ) -> Option<ToWorker> {
        let (key, _) = self.grants.iter().find(|(_, grant)| grant.listener == listener)?;
        let key = key.clone();
        let seq = self.seq();
        self.on_their_way.insert(seq, (listener, connection));
        self.passed.push_back(Passed::Connection { seq });
        Some(ToWorker::NewConnection { key, seq })
    }

    /// The next moment at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let phase = match self.phase {
            Phase::Open => None,
            Phase::Leaving { last_call, .. } => last_call,
            Phase::Closed { signal } => signal,
        };
        let silent = match self.reach {
            Reach::Closing(when) if self.is_open() => Some(when),
            Reach::Open | Reach::Closing(_) | Reach::Closed => None,
        };
        self.again.iter().map(|(when, _)| *when).chain(phase).chain(silent).min()
    }

    /// Whether the stop signal is due; it is due once.
    pub(super) fn take_signal(&mut self, now: Monotonic) -> bool {
        let due = match &mut self.phase {
            Phase::Open => return false,
            Phase::Leaving { last_call, then } => {
                // It is due once, also when the worker drains later.
                if last_call.is_some_and(|when| when <= now) {
                    *then = Then::Wait;
                }
                last_call
            }
            Phase::Closed { signal } => signal,
        };
        due.take_if(|when| *when <= now).is_some()
    }

    /// Answers that are to be given again.
    pub(super) fn take_again(&mut self, now: Monotonic) -> Vec<Answer> {
        let (due, later) = std::mem::take(&mut self.again).into_iter().partition(|(when, _)| *when <= now);
        self.again = later;
        due.into_iter().map(|(_, answer): (Monotonic, Answer)| answer).collect()
    }
}
