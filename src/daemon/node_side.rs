//! Node workers: their channels, and what they report.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use tracing::warn;

use crate::node::{
    self, ATTACH_FD, CHANNEL_FD, Farewell, Heard, Hub, InheritedSocket, Lacking, Note, Policy, Report, Trust,
    UniqueId, Way,
};
use crate::os::poller::Interest;
use crate::os::{clock, pipes, sock_diag};
use crate::plan::{Address, Balance, Plan, SocketKind};
use crate::pool::{Event, Exit, Notification, ReadySign, Slot, WorkerId};
use crate::proto::node::UserText;
use crate::systemd::activation::Listener;
use crate::time::Monotonic;

use super::mail::Drops;
use super::node_launch::Manner;
use super::subjects::{Subject, Token};
use super::world::World;

/// The preloads as they are shipped, with their names in the runtime directory, where every worker can read them.
const DRAIN: (&str, &str) = ("drain.cjs", include_str!("../../share/node/drain.cjs"));
const ATTACH: (&str, &str) = ("attach.cjs", include_str!("../../share/node/attach.cjs"));
/// So many turns of the hub before other things get theirs.
const MAX_TURNS: usize = 64;

/// The primary's side.
#[derive(Debug)]
pub(super) struct NodeSide {
    hub: Hub,
    token: Token,
    /// The preloads' paths; `None` when one could not be written.
    pub(super) drain: Option<PathBuf>,
    pub(super) attach: Option<PathBuf>,
    /// The ports of workers' inspectors.
    pub(super) inspectors: BTreeMap<WorkerId, u16>,
    /// What workers said that did not arrive.
    drops: Drops,
    /// Workers that leave have heard that the whole pool ends.
    hastened: bool,
}

/// Variables of one worker.
type Variables = Vec<(&'static str, OsString)>;
/// Descriptors of one worker and their numbers there.
pub(super) type Descriptors = Vec<(RawFd, OwnedFd)>;

fn unique(worker: WorkerId) -> Option<UniqueId> {
    UniqueId::new(worker.0)
}

fn worker(unique: UniqueId) -> WorkerId {
    WorkerId(unique.get())
}

impl World {
    /// Makes the primary's side, if there is none yet.
    pub(super) fn prepare_node(&mut self) -> Result<(), String> {
        if self.node.is_some() {
            return Ok(());
        }
        let inherited: Result<Vec<InheritedSocket>, _> = self
            .listeners
            .iter()
            .map(|listener| {
                pipes::duplicate(&listener.fd).map(|fd| InheritedSocket { fd, backlog: backlog(listener) })
            })
            .collect();
        let hub =
            Hub::new(inherited.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let token = self
            .subjects
            .watch(&hub, Subject::Node, Interest::Read)
            .map_err(|error| format!("cannot watch the channels: {error}"))?;
        let write = |(name, text): (&str, &str), without: &str| {
            let path = self.notify_path.with_file_name(name);
            match std::fs::write(&path, text) {
                Ok(()) => Some(path),
                Err(error) => {
                    warn!("{without}: failed to write {}: {error}", path.display());
                    None
                }
            }
        };
        let drain = write(DRAIN, "workers drain without ganger's help");
        let attach = write(ATTACH, "launchers cannot be run as they are");
        let (inspectors, drops) = (BTreeMap::new(), Drops::default());
        self.node = Some(NodeSide { hub, token, drain, attach, inspectors, drops, hastened: false });
        Ok(())
    }

    /// Opens a worker's channel; gives what becomes its descriptors, and its variables.
    pub(super) fn open_channel(
        &mut self,
        id: WorkerId,
        slot: Slot,
        generation: u64,
        plan: &Plan,
        manner: &Manner,
    ) -> Result<(Descriptors, Variables), String> {
        let port = self.only_port().filter(|_| !plan.command.env.contains_key(OsStr::new("PORT")));
        let Some(unique) = unique(id) else {
            return Err("there is no channel for Node workers".to_owned());
        };
        let trust = if plan.command.user.is_some() { Trust::Lesser } else { Trust::Same };
        let balance = if manner.deno { Balance::RoundRobin } else { plan.node.balance };
        let policy = Policy { balance, unmatched: plan.node.unmatched, trust };
        if balance == Balance::Shared {
            let sockets = self.listeners.iter().filter_map(|it| Some((it.kind, it.address.as_ref()?)));
            short_of_workers(sockets, plan.workers).into_iter().for_each(|doubt| self.warn_once(doubt));
        }
        let inspector = self.inspector(id, slot, plan, manner);
        let Some(side) = &mut self.node else {
            return Err("there is no channel for Node workers".to_owned());
        };
        let channel = side.hub.open(unique, slot.0, generation, policy).map_err(|error| error.to_string())?;
        let (way, descriptors) = if manner.attach {
            let token = pipes::token().map_err(|error| error.to_string())?;
            // One that is asked to end by a message sends itself none.
            let signal = plan.stop.signal.filter(|_| plan.stop.message.is_none()).unwrap_or_default();
            let way = Way::Attach { signal, supervisor: std::process::id() };
            (way, vec![(ATTACH_FD, channel), (ATTACH_FD + 1, token)])
        } else {
            (Way::Direct, vec![(CHANNEL_FD, channel)])
        };
        let mut variables = node::environment(unique, way, port);
        variables.extend(inspector.map(|options| ("NODE_OPTIONS", options)));
        Ok((descriptors, variables))
    }

    /// The port of the inherited TCP sockets, when they have but one.
    fn only_port(&self) -> Option<u16> {
        let mut ports = self.listeners.iter().filter_map(|listener| match &listener.address {
            Some(Address::Inet(address)) => Some(address.port()),
            Some(Address::Unix(_) | Address::Abstract(_)) | None => None,
        });
        let first = ports.next()?;
        ports.all(|port| port == first).then_some(first)
    }

    /// The whole pool ends; Node workers that are leaving already hear of it, once.
    pub(super) fn hasten_node(&mut self) {
        if let Some(side) = self.node.as_mut().filter(|side| !side.hastened) {
            side.hastened = true;
            let reports = side.hub.hasten(clock::now());
            self.node_reported(reports);
        }
    }

    /// Asks a Node worker to leave; `false`: it is none, or its channel is closed.
    pub(super) fn drain_node(&mut self, id: WorkerId, plan: &Plan, is_last: bool) -> bool {
        let Some(unique) = unique(id) else {
            return false;
        };
        // A message that is no JSON value is meant as a string (PM2's `shutdown`).
        let text = |message: &String| {
            UserText::from_json(message)
                .or_else(|_| UserText::from_json(&serde_json::Value::from(message.as_str()).to_string()))
        };
        let message = plan.stop.message.as_ref().and_then(|message| text(message).ok());
        let farewell = Farewell { message, signal: plan.stop.signal, timeout: plan.stop.timeout, is_last };
        let Some(side) = &mut self.node else {
            return false;
        };
        // Something that never spoke (a shell that runs no Node, a wrapper) would not hear either.
        if matches!(side.hub.heard(unique), None | Some(Heard::Nothing)) {
            return false;
        }
        let reports = side.hub.drain(clock::now(), unique, farewell);
        self.node_reported(reports);
        true
    }

    /// A Node worker's process is gone; this is how it ended.
    pub(super) fn node_ended(&mut self, id: WorkerId, exit: Exit) {
        if let (Some(side), Some(unique)) = (&mut self.node, unique(id)) {
            for report in side.hub.exited(clock::now(), unique) {
                if let Report::Noted { note: Note::NeverListened(heard), .. } = report {
                    self.never_listened(id, heard, exit);
                } else {
                    self.node_report(report);
                }
            }
        }
    }

    /// No worker of this generation will be born any more.
    pub(super) fn node_retired(&mut self, generation: u64) {
        if let Some(side) = &mut self.node {
            let reports = side.hub.retire(clock::now(), generation);
            self.node_reported(reports);
        }
    }

    /// Channels or listeners have something to say, or a time of theirs has come.
    pub(super) fn node_turn(&mut self, now: Monotonic) {
        for _ in 0..MAX_TURNS {
            let Some(side) = &mut self.node else {
                return;
            };
            let turn = side.hub.turn(now);
            self.node_reported(turn.reports);
            if !turn.more {
                return;
            }
        }
    }

    /// When the channels want a turn although nothing comes.
    pub(super) fn next_node_turn(&self) -> Option<Monotonic> {
        self.node.as_ref().and_then(|side| side.hub.next_deadline())
    }

    /// A message for one worker's app.
    pub(super) fn send_message(&mut self, id: WorkerId, text: &UserText) -> Result<(), String> {
        let (Some(side), Some(unique)) = (&mut self.node, unique(id)) else {
            return Err("it takes no messages".to_owned());
        };
        let reports = side.hub.send(clock::now(), unique, text.clone()).map_err(|error| error.to_string())?;
        self.node_reported(reports);
        Ok(())
    }

    /// How far a Node worker came with listening.
    pub(super) fn heard(&self, id: WorkerId) -> Option<Heard> {
        self.node.as_ref().and_then(|side| side.hub.heard(unique(id)?))
    }

    /// What workers said that did not arrive.
    pub(super) fn drops(&mut self) -> Option<&mut Drops> {
        self.node.as_mut().map(|side| &mut side.drops)
    }

    /// A worker has so much to read that others should leave it alone.
    pub(super) fn is_behind(&self, id: WorkerId) -> bool {
        let (Some(side), Some(unique)) = (&self.node, unique(id)) else {
            return false;
        };
        side.hub.is_behind(unique)
    }

    /// Why a Node worker that listens is not ready by that.
    pub(super) fn lacking(&self, id: WorkerId) -> Option<Lacking> {
        self.node.as_ref().and_then(|side| side.hub.lacking(unique(id)?))
    }

    fn node_reported(&mut self, reports: Vec<Report>) {
        for report in reports {
            self.node_report(report);
        }
    }

    fn node_report(&mut self, report: Report) {
        match report {
            Report::Online { .. } => {}
            Report::Listening { worker: id, address } => {
                tracing::debug!("worker id {id} listens on {address}");
                let id = worker(id);
                self.brought(id, Event::BecameReady { worker: id, sign: ReadySign::Listening });
            }
            Report::Ready { worker: id } => {
                let id = worker(id);
                self.brought(id, Event::BecameReady { worker: id, sign: ReadySign::Message });
            }
            Report::Message { worker: id, json } => self.app_said(worker(id), json),
            Report::Leaving { worker: id } => {
                let id = worker(id);
                self.brought(id, Event::Notified { worker: id, notification: Notification::Stopping });
            }
            Report::Drained { worker: id } => self.happened(Event::Drained { worker: worker(id) }),
            Report::Disconnected { .. } => {}
            Report::SignalDue { worker: id } => {
                let id = worker(id);
                if let Some(signal) = self.plan_of(id).and_then(|plan| plan.stop.signal) {
                    self.signal(id, signal);
                }
            }
            Report::Broken { worker: id, reason } => self.lost_its_channel(worker(id), &reason),
            Report::Silent { worker: id, is_first, is_last } => {
                self.fell_silent(worker(id), is_first, is_last);
            }
            Report::SilenceOver { worker: id, is_first } => self.serves_again(worker(id), is_first),
            Report::Unserved { listener, is_first } => self.nobody_serves(listener.0, is_first),
            Report::ServedAgain { listener, is_first } => self.is_served_again(listener.0, is_first),
            Report::AcceptPaused { reason } => warn!("connections wait: {reason}"),
            Report::Noted { worker: id, note } => {
                let text = note.to_string();
                match self.processes.get(&worker(id)).map(|process| process.slot) {
                    // Every worker says the same: once is enough.
                    Some(_) => self.say_once(text),
                    None => tracing::debug!("{text}"),
                }
            }
        }
    }

    /// Stops watching the channels; at the very end.
    pub(super) fn close_node(&mut self) {
        if let Some(side) = self.node.take() {
            self.subjects.forget(&side.hub, side.token);
            for preload in side.drain.iter().chain(&side.attach) {
                let _ = std::fs::remove_file(preload);
            }
        }
    }
}

/// What is wrong when a group of sockets on one address (systemd's `ReusePort=`), of which each worker has one, has more
/// sockets than there are workers.
fn short_of_workers<'a>(
    sockets: impl Iterator<Item = (SocketKind, &'a Address)>,
    workers: u32,
) -> Vec<String> {
    let inet: Vec<_> = sockets.filter(|(_, address)| matches!(address, Address::Inet(_))).collect();
    let mut doubts = Vec::new();
    for (place, socket) in inet.iter().enumerate() {
        let count = inet.iter().filter(|other| *other == socket).count();
        let is_first = inet.iter().position(|other| other == socket) == Some(place);
        if is_first && count > 1 && usize::try_from(workers).is_ok_and(|workers| workers < count) {
            let address = socket.1;
            doubts.push(format!(
                "{count} sockets share {address} and the number of workers is {workers}: what comes to a socket that \
                 no worker has waits for ever; have as many workers as sockets, or node.balance = \"round-robin\""
            ));
        }
    }
    doubts
}

/// The backlog that the listener came with; each worker sets its own, and ganger sets it back.
fn backlog(listener: &Listener) -> Option<u32> {
    sock_diag::queue(&listener.fd).ok().flatten().map(|queue| queue.backlog)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sockets_on_one_address_than_workers_is_said_of_that_address() {
        let inet = |text: &str| Address::Inet(text.parse().unwrap());
        let (web, other) = (inet("[::]:80"), inet("[::]:81"));
        let stream = |address| (SocketKind::Stream, address);
        let group = [stream(&web), stream(&other), stream(&web), (SocketKind::Datagram, &web)];
        assert_eq!(short_of_workers(group.into_iter(), 2), Vec::<String>::new());
        let said = short_of_workers(group.into_iter(), 1);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("2 sockets share [::]:80 and the number of workers is 1"), "{said:?}");
    }
}
