//! Ready workers that clients cannot reach any more, because they have closed their servers and live on; and inherited
//! sockets that all workers have closed. It is told, and nothing is done about it: whether the app comes back to listen
//! is known to nobody else.

use std::collections::{BTreeMap, BTreeSet};

use super::super::channel::{Channel, Heard, Reach};
use super::super::report::{Action, Report};
use super::super::{ABSENCE, ListenerId, SILENCE, UniqueId};
use super::Primary;
use crate::time::Monotonic;

/// The inherited sockets that ready workers have served, of each group the first.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<ListenerId, Known>);

#[derive(Debug, Default)]
struct Known {
    /// Where the workers are, or were, that served it last.
    slots: BTreeSet<u32>,
    gap: Gap,
    /// So often it was told that nobody serves it.
    gaps: u32,
}

/// Whether nobody serves a socket.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Somebody does, or may be about to.
    #[default]
    None,
    /// To be told when nobody does by `until`.
    Open {
        until: Monotonic,
        /// Nobody is in one of the places whose workers served it last: who takes it may be about to start.
        orphaned: bool,
    },
    /// That was told.
    Told,
    /// It was told that nobody serves anything.
    Implied,
}

/// What of all workers decides about a gap.
#[derive(Debug, Default)]
struct Present {
    /// Who listens on it, and is ready.
    serving: BTreeMap<ListenerId, BTreeSet<u32>>,
    /// The places of workers that do not leave.
    slots: BTreeSet<u32>,
    /// One of those is ready.
    ready: bool,
    /// One of those is not.
    starting: bool,
}

impl Sockets {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let due = |known: &Known| match known.gap {
            Gap::Open { until, .. } => Some(until),
            Gap::None | Gap::Told | Gap::Implied => None,
        };
        self.0.values().filter_map(due).min()
    }
}

impl Known {
    /// How it is now, if nothing was to be told.
    fn next(&self, now: Monotonic, present: &Present) -> Gap {
        let orphaned = self.slots.iter().any(|slot| !present.slots.contains(slot));
        match self.gap {
            Gap::Told => Gap::Told,
            Gap::Implied if present.serving.is_empty() => Gap::Implied,
            Gap::None | Gap::Open { .. } | Gap::Implied if present.starting || !present.ready => Gap::None,
            Gap::Open { orphaned: before, .. } if before == orphaned => self.gap,
            Gap::None | Gap::Open { .. } | Gap::Implied => {
                Gap::Open { until: now + if orphaned { ABSENCE } else { SILENCE }, orphaned }
            }
        }
    }
}

impl Primary {
    /// To be called whenever the worker may have begun or ceased to serve.
    pub(super) fn look_at_reach(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Action>) {
        self.look_at_worker(now, worker, out);
        self.look_at_sockets(now, out);
    }

    fn look_at_worker(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Action>) {
        let on_inherited = |channel: &Channel| !self.listens_on(channel).is_empty();
        if self.channels.get(&worker).is_some_and(on_inherited)
            && let Some(channel) = self.channels.get_mut(&worker)
        {
            channel.reached_clients = true;
        }
        let Some(channel) = self.channels.get(&worker).filter(|channel| channel.is_open() && channel.stands)
        else {
            return;
        };
        // One that never listened was ready by its word, and has nothing that it could have closed; nor did one that
        // never listened where the app's clients come close anything there.
        let elsewhere = !channel.reached_clients && channel.grants.values().any(|grant| grant.listens);
        let serves = channel.heard < Heard::Listening || elsewhere || self.serves(channel);
        let reach = match channel.reach {
            Reach::Open | Reach::Closing(_) if serves => Reach::Open,
            Reach::Closed if serves => {
                let is_first = channel.silences == 1;
                out.push(Action::Report(Report::SilenceOver { worker, is_first }));
                Reach::Open
            }
            Reach::Open => Reach::Closing(now + SILENCE),
            Reach::Closing(_) | Reach::Closed => return,
        };
        if let Some(channel) = self.channels.get_mut(&worker) {
            channel.reach = reach;
        }
    }

    /// Tells of those that have not listened again in time.
    pub(super) fn tell_of_silence(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let mut silent = Vec::new();
        for (worker, channel) in &mut self.channels {
            let is_due = matches!(channel.reach, Reach::Closing(when) if when <= now);
            if is_due && channel.is_open() {
                channel.reach = Reach::Closed;
                channel.silences = channel.silences.saturating_add(1);
                silent.push((*worker, channel.silences == 1));
            }
        }
        for (worker, is_first) in silent {
            let is_last = !self.channels.values().any(|channel| channel.is_open() && self.serves(channel));
            out.push(Action::Report(Report::Silent { worker, is_first, is_last }));
            let unserved = self.sockets.0.values_mut().filter(|known| is_last && known.gap != Gap::Told);
            unserved.for_each(|known| known.gap = Gap::Implied);
        }
    }

    /// To be called whenever an inherited socket may have begun or ceased to be served.
    pub(super) fn look_at_sockets(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let mut present = Present::default();
        let mut served = BTreeSet::new();
        for channel in self.channels.values().filter(|channel| channel.is_open()) {
            present.slots.insert(channel.slot);
            present.ready |= channel.stands;
            present.starting |= !channel.stands;
            for socket in self.listens_on(channel) {
                served.insert(socket);
                if channel.stands {
                    present.serving.entry(socket).or_default().insert(channel.slot);
                }
            }
        }
        for (socket, slots) in &present.serving {
            self.sockets.0.entry(*socket).or_default().slots.clone_from(slots);
        }
        for (socket, known) in &mut self.sockets.0 {
            if !served.contains(socket) {
                known.gap = known.next(now, &present);
                continue;
            }
            if known.gap == Gap::Told {
                let is_first = known.gaps == 1;
                out.push(Action::Report(Report::ServedAgain { listener: *socket, is_first }));
            }
            known.gap = Gap::None;
        }
    }

    /// Tells of sockets that nobody has served again in time.
    pub(super) fn tell_of_sockets(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.sockets.next_deadline().is_none_or(|first| first > now) {
            return;
        }
        // Workers may have been started or told to leave since.
        self.look_at_sockets(now, out);
        for (socket, known) in &mut self.sockets.0 {
            if matches!(known.gap, Gap::Open { until, .. } if until <= now) {
                known.gap = Gap::Told;
                known.gaps = known.gaps.saturating_add(1);
                out.push(Action::Report(Report::Unserved { listener: *socket, is_first: known.gaps == 1 }));
            }
        }
    }

    /// It listens where the app's clients come.
    fn serves(&self, channel: &Channel) -> bool {
        if self.claims.has_inherited() {
            return !self.listens_on(channel).is_empty();
        }
        channel.grants.values().any(|grant| grant.listens)
    }
}
