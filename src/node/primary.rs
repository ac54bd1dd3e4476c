//! The primary's side for all workers of an app, as a machine: frames and facts in, [`Action`]s out.

mod listens;
mod reach;

use std::collections::BTreeMap;

use self::reach::Sockets;
use super::channel::{Channel, Heard, Passed, Phase, Then};
use super::claims::{Claims, Inherited};
use super::rotation::Rotation;
use super::served::Served;
use super::{
    ConnectionId, HANDLE_RETRY, IDLE_AT_THE_END, LAST_CALL, ListenerId, MAX_HANDLE_TRIES, SIGNAL_AFTER_DRAIN,
    UniqueId, errno,
};
use crate::plan::Address;
use crate::proto::node::{Frame, FrameError, Outcome, Query, Seq, ToWorker, UserText};
use crate::time::Monotonic;

use super::report::{Action, Farewell, Handle, Note, Policy, Report};

/// All channels of an app, and what they share.
#[derive(Debug)]
pub struct Primary {
    claims: Claims,
    channels: BTreeMap<UniqueId, Channel>,
    rotations: BTreeMap<ListenerId, Rotation>,
    /// Queries that wait for a socket to be made.
    unbound: BTreeMap<ListenerId, Vec<(UniqueId, Query)>>,
    served: Served,
    sockets: Sockets,
    next_key: u64,
}

impl Primary {
    /// Begins with the sockets that ganger was given, in the order of `LISTEN_FDS`.
    #[must_use]
    pub fn new(inherited: Vec<Inherited>) -> Self {
        Self {
            claims: Claims::new(inherited),
            channels: BTreeMap::new(),
            rotations: BTreeMap::new(),
            unbound: BTreeMap::new(),
            served: Served::default(),
            sockets: Sockets::default(),
            next_key: 0,
        }
    }

    /// A worker is about to be started. It takes the place of those before it in its slot; `generation` grows from
    /// one plan to the next.
    pub fn open(&mut self, worker: UniqueId, slot: u32, generation: u64, policy: Policy) {
        self.channels.entry(worker).or_insert_with(|| Channel::new(slot, generation, policy));
    }

    /// A line came.
    pub fn frame(
        &mut self,
        now: Monotonic,
        worker: UniqueId,
        frame: Frame,
        with_handle: bool,
    ) -> Vec<Action> {
        let mut out = Vec::new();
        let Some(channel) = self.channels.get_mut(&worker).filter(|channel| !channel.is_closed()) else {
            return out;
        };
        match frame {
            Frame::Online => {
                channel.hears(Heard::Online);
                out.push(Action::Report(Report::Online { worker }));
            }
            // Node's own primary answers no query of a worker that leaves either.
            Frame::Query(query) if channel.is_open() => self.query(worker, query, &mut out),
            Frame::Query(_) | Frame::Unknown => {}
            Frame::Listening(listen) => {
                self.listening(worker, &listen, &mut out);
                self.look_at_reach(now, worker, &mut out);
            }
            Frame::Close { key } => {
                self.close(worker, &key, &mut out);
                self.look_at_reach(now, worker, &mut out);
            }
            Frame::ExitedAfterDisconnect { seq } => self.leaves(worker, seq, &mut out),
            Frame::Reply { ack, accepted, arrived } => {
                if arrived && channel.passed.front() == Some(&Passed::Connection { seq: ack }) {
                    channel.passed.pop_front();
                }
                self.reply(now, worker, ack, accepted, &mut out);
            }
            Frame::Handle => {
                let message = if with_handle { ToWorker::HandleAck } else { ToWorker::HandleNack };
                out.push(Action::Send { worker, message, handle: None });
                self.note(worker, Note::HandleDropped, &mut out);
            }
            Frame::OtherHandler(signal) => self.note(worker, Note::OtherHandler(signal), &mut out),
            Frame::HandleAck => {
                channel.passed.pop_front();
            }
            Frame::HandleNack => self.not_arrived(now, worker, &mut out),
            Frame::User(json) if json == "\"ready\"" => {
                self.stands(worker);
                out.push(Action::Report(Report::Ready { worker }));
                self.look_at_reach(now, worker, &mut out);
            }
            Frame::User(json) => out.push(Action::Report(Report::Message { worker, json })),
        }
        self.hand_out(&mut out);
        out
    }

    /// A line came that has no meaning; it is dropped.
    pub fn malformed(&mut self, worker: UniqueId, error: FrameError) -> Vec<Action> {
        let mut out = Vec::new();
        self.note(worker, Note::Malformed(error), &mut out);
        out
    }

    /// The socket of an [`Action::Bind`] was made, or could not be (errno).
    pub fn bound(&mut self, listener: ListenerId, outcome: Result<Address, i32>) -> Vec<Action> {
        let mut out = Vec::new();
        let mut asking = self.unbound.remove(&listener).unwrap_or_default();
        // Who has been told to leave meanwhile gets no answer, as from Node's own primary.
        asking.retain(|(worker, _)| self.channels.get(worker).is_some_and(Channel::is_open));
        match outcome {
            Ok(address) => {
                self.claims.bound(listener, address);
                for (worker, query) in asking {
                    self.grant(worker, query, listener, super::Fit::Bound, &mut out);
                }
            }
            Err(errno) => {
                self.claims.remove(listener);
                for (worker, query) in asking {
                    self.refuse(worker, query, errno, &mut out);
                }
            }
        }
        self.hand_out(&mut out);
        out
    }

    /// The worker is to leave.
    pub fn drain(&mut self, now: Monotonic, worker: UniqueId, farewell: Farewell) -> Vec<Action> {
        let mut out = Vec::new();
        let Some(channel) = self.channels.get_mut(&worker) else {
            return out;
        };
        let time = farewell.timeout.saturating_sub(LAST_CALL.min(farewell.timeout / 4));
        let last_call = Some(now + time);
        let then = if farewell.message.is_some() { Then::Wait } else { Then::Signal };
        // Idle connections are closed before the signal comes, which may end the app at once.
        let idle = if farewell.is_last { IDLE_AT_THE_END.min(time * 3 / 4) } else { time * 3 / 4 };
        match channel.phase {
            Phase::Closed { ref mut signal } => {
                signal.get_or_insert(now + SIGNAL_AFTER_DRAIN);
                return out;
            }
            Phase::Leaving { last_call: Some(_), .. } => return out,
            Phase::Open | Phase::Leaving { last_call: None, .. } => {
                channel.phase = Phase::Leaving { last_call, then };
            }
        }
        // The app may close its servers when it hears the message: the preload has to know before. One that is asked by
        // a message to end does not stay for a signal.
        let signal = farewell.signal.filter(|_| then == Then::Signal);
        let leave = ToWorker::Leave { idle, signal };
        let disconnect = ToWorker::Disconnect { seq: channel.seq() };
        let lines = [leave].into_iter().chain(farewell.message.map(ToWorker::User)).chain([disconnect]);
        out.extend(lines.map(|message| Action::Send { worker, message, handle: None }));
        self.unsubscribe(worker);
        out
    }

    /// The whole pool ends: workers that leave already have no more time for idle connections than those that follow.
    pub fn hasten(&mut self) -> Vec<Action> {
        let leaving = |channel: &Channel| matches!(channel.phase, Phase::Leaving { .. });
        let workers = self.channels.iter().filter(|(_, channel)| leaving(channel)).map(|(worker, _)| *worker);
        let message = ToWorker::Leave { idle: IDLE_AT_THE_END, signal: None };
        workers.map(|worker| Action::Send { worker, message: message.clone(), handle: None }).collect()
    }

    /// A message for the app; nothing happens when the worker's channel is closed.
    pub fn send(&mut self, worker: UniqueId, text: UserText) -> Vec<Action> {
        let open = self.channels.get(&worker).is_some_and(|channel| !channel.is_closed());
        let message = ToWorker::User(text);
        if open { vec![Action::Send { worker, message, handle: None }] } else { Vec::new() }
    }

    /// The channel ended: nothing will come from the worker any more.
    pub fn closed(&mut self, now: Monotonic, worker: UniqueId) -> Vec<Action> {
        let mut out = Vec::new();
        let Some(channel) = self.channels.get_mut(&worker) else {
            return out;
        };
        let (signal, report) = match channel.phase {
            Phase::Open => (None, Report::Disconnected { worker }),
            Phase::Leaving { last_call, then } => {
                let signal = match then {
                    Then::Signal => Some(now + SIGNAL_AFTER_DRAIN),
                    Then::Wait => last_call,
                };
                (signal, Report::Drained { worker })
            }
            Phase::Closed { .. } => return out,
        };
        channel.phase = Phase::Closed { signal };
        channel.grants.clear();
        channel.passed.clear();
        channel.again.clear();
        let on_their_way = std::mem::take(&mut channel.on_their_way);
        out.push(Action::Report(report));
        let homeless =
            on_their_way.into_values().filter(|(listener, _)| !self.rotations.contains_key(listener));
        out.extend(homeless.map(|(_, connection)| Action::CloseConnection { connection }));
        for rotation in self.rotations.values_mut() {
            rotation.gone(worker);
        }
        for asking in self.unbound.values_mut() {
            asking.retain(|(asker, _)| *asker != worker);
        }
        self.hand_out(&mut out);
        out
    }

    /// The worker's process is gone. Reports nothing of the channel's end; notes a worker that never listened.
    pub fn exited(&mut self, now: Monotonic, worker: UniqueId) -> Vec<Action> {
        let told = |channel: &Channel| matches!(channel.phase, Phase::Leaving { .. });
        let told = self.channels.get(&worker).is_some_and(told);
        let mut out = self.closed(now, worker);
        out.retain(|action| !matches!(action, Action::Report(_)));
        if let Some(heard) = self.heard(worker)
            && heard < Heard::Listening
            && !told
        {
            self.note(worker, Note::NeverListened(heard), &mut out);
        }
        self.forget(worker, &mut out);
        self.look_at_sockets(now, &mut out);
        out
    }

    /// How far the worker came with listening: what to tell when it does not become ready.
    #[must_use]
    pub fn heard(&self, worker: UniqueId) -> Option<Heard> {
        self.channels.get(&worker).map(|channel| channel.heard)
    }

    /// No worker of `generation` or an older one will be started any more: what was bound only for them goes.
    pub fn retire(&mut self, generation: u64) -> Vec<Action> {
        let mut out = Vec::new();
        for listener in self.claims.bound_up_to(generation) {
            self.close_unused(listener, &mut out);
        }
        out
    }

    /// Time passed.
    pub fn time_passed(&mut self, now: Monotonic) -> Vec<Action> {
        let mut out = Vec::new();
        let mut again = Vec::new();
        for (worker, channel) in &mut self.channels {
            if channel.take_signal(now) {
                out.push(Action::Report(Report::SignalDue { worker: *worker }));
            }
            again.extend(channel.take_again(now).into_iter().map(|answer| (*worker, answer)));
        }
        for (worker, answer) in again {
            self.give(worker, answer, &mut out);
        }
        self.tell_of_silence(now, &mut out);
        self.tell_of_sockets(now, &mut out);
        for rotation in self.rotations.values_mut() {
            rotation.wake(now);
        }
        self.hand_out(&mut out);
        out
    }

    /// When [`Self::time_passed`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let channels = self.channels.values().filter_map(Channel::next_deadline);
        let rotations = self.rotations.values().filter_map(Rotation::next_deadline);
        channels.chain(rotations).chain(self.sockets.next_deadline()).min()
    }

    /// How many connections of which listener ganger may accept now; a listener that is not named (or named
    /// with 0) must not be polled: its connections wait in the kernel.
    pub fn accepting(&self) -> impl Iterator<Item = (ListenerId, usize)> {
        self.rotations.iter().flat_map(move |(first, rotation)| {
            let members = self.claims.group(*first);
            let own = move |member: &ListenerId| member == first || !self.rotations.contains_key(member);
            let room = rotation.room();
            members.filter(own).map(move |member| (member, room))
        })
    }

    /// ganger accepted a connection.
    pub fn accepted(&mut self, listener: ListenerId, connection: ConnectionId) -> Vec<Action> {
        let mut out = Vec::new();
        let groups = self.rotations.keys().copied();
        let own = || groups.clone().find(|first| self.claims.group(*first).any(|member| member == listener));
        let first = if self.rotations.contains_key(&listener) { Some(listener) } else { own() };
        match first.and_then(|first| self.rotations.get_mut(&first)) {
            Some(rotation) => rotation.offer(connection),
            None => out.push(Action::CloseConnection { connection }),
        }
        self.hand_out(&mut out);
        out
    }

    fn leaves(&mut self, worker: UniqueId, ack: Seq, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        let message = ToWorker::Ack { ack, seq: channel.seq() };
        out.push(Action::Send { worker, message, handle: None });
        if channel.is_open() {
            channel.phase = Phase::Leaving { last_call: None, then: Then::Signal };
            out.push(Action::Report(Report::Leaving { worker }));
            self.unsubscribe(worker);
        }
    }

    fn unsubscribe(&mut self, worker: UniqueId) {
        for rotation in self.rotations.values_mut() {
            rotation.unsubscribe(worker);
        }
    }

    fn reply(&mut self, now: Monotonic, worker: UniqueId, ack: Seq, accepted: bool, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        let Some((listener, connection)) = channel.on_their_way.remove(&ack) else { return };
        match self.rotations.get_mut(&listener) {
            Some(rotation) if accepted => {
                rotation.taken(worker, connection);
                out.push(Action::CloseConnection { connection });
            }
            Some(rotation) => rotation.refused(now, worker, connection),
            None => out.push(Action::CloseConnection { connection }),
        }
    }

    fn not_arrived(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get_mut(&worker) else { return };
        match channel.passed.pop_front() {
            None => {}
            Some(Passed::Connection { seq }) => {
                if let Some((listener, connection)) = channel.on_their_way.remove(&seq) {
                    match self.rotations.get_mut(&listener) {
                        Some(rotation) => rotation.not_arrived(now, worker, connection),
                        // Its listener is gone meanwhile, and nobody else can take it.
                        None => out.push(Action::CloseConnection { connection }),
                    }
                }
            }
            Some(Passed::Answer(mut answer)) if answer.tries < MAX_HANDLE_TRIES => {
                answer.tries = answer.tries.saturating_add(1);
                channel.again.push((now + HANDLE_RETRY, answer));
            }
            Some(Passed::Answer(mut answer)) => {
                channel.grants.remove(&answer.key);
                answer.outcome = Outcome::Refused(errno::EMFILE);
                self.give(worker, answer, out);
            }
        }
    }

    fn hand_out(&mut self, out: &mut Vec<Action>) {
        for (listener, rotation) in &mut self.rotations {
            while let Some((worker, connection)) = rotation.next() {
                let channel = self.channels.get_mut(&worker);
                match channel.and_then(|channel| channel.new_connection(*listener, connection)) {
                    Some(message) => {
                        let handle = Some(Handle::Connection(connection));
                        out.push(Action::Send { worker, message, handle });
                    }
                    // A subscriber without a handle is none.
                    None => rotation.gone(worker),
                }
            }
        }
    }

    fn note(&mut self, worker: UniqueId, note: Note, out: &mut Vec<Action>) {
        if self.channels.get_mut(&worker).is_some_and(Channel::may_note) {
            out.push(Action::Report(Report::Noted { worker, note }));
        }
    }
}
