//! Why a worker did not become ready, as far as it can be seen from outside: said in the log, one sentence
//! a worker. It decides nothing about the worker.

use std::collections::BTreeSet;

use tracing::warn;

use crate::config;
use crate::node::Heard;
use crate::os::kin;
use crate::os::procfs::{self, Held};
use crate::plan::{Plan, Protocol, ReadyWhen};
use crate::pool::{Announcement, Cause, Effect, Slot, WorkerId};

use super::deeds::mark;
use super::world::{Process, World};

/// So many processes are named in one line.
const MAX_NAMED: usize = 4;

/// Which of a worker's processes hold an inherited socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// None of them.
    Nobody,
    /// Only one that has started others, and none of those: what npm and its like look like.
    OnlyParents,
    /// One that has started no other, or there is but one.
    Somebody,
}

impl World {
    /// Looks at workers that were not ready in time before the orders about them are carried out: one that is
    /// asked to leave closes what shows the reason.
    pub(super) fn explain(&mut self, orders: &[Effect]) {
        for order in orders {
            if let Effect::Announce(Announcement::WorkerDraining { worker, cause: Cause::ReadyTimeout(_) }) =
                order
            {
                self.explain_timeout(*worker);
            }
        }
    }

    /// A worker is ready by its own word: does it hold what it was given?
    pub(super) fn check_claim(&mut self, worker: WorkerId) {
        let (Some(plan), Some(process)) = (self.plan_of(worker), self.processes.get(&worker)) else {
            return;
        };
        // By any other sign than its word it was seen at work, or serves somewhere else on purpose.
        let by_word =
            matches!(plan.ready.when, ReadyWhen::Auto | ReadyWhen::Notify) && plan.ready.http.is_none();
        if by_word && plan.protocol != Protocol::Node && self.holding(process) == Some(Holding::Nobody) {
            let text = closed(process.slot);
            self.warn_of(worker, &format!("{text}; it says that it is ready all the same"));
        }
    }

    fn explain_timeout(&mut self, worker: WorkerId) {
        let (Some(plan), Some(process)) = (self.plan_of(worker), self.processes.get(&worker)) else {
            return;
        };
        let slot = process.slot;
        let reason = if plan.protocol == Protocol::Node {
            self.heard(worker).map(|heard| match heard {
                Heard::Listening => match self.lacking(worker) {
                    Some(lacking) if matches!(plan.ready.when, ReadyWhen::Auto | ReadyWhen::Listening) => {
                        format!("worker {slot} listens, but {lacking}")
                    }
                    Some(_) | None => {
                        format!("worker {slot} listens, but that is not the sign that {}", wanted(&plan))
                    }
                },
                Heard::Nothing | Heard::Online | Heard::Asked => {
                    let why = self.waits_for_debugger(&plan, heard).unwrap_or_else(|| heard.to_string());
                    format!("worker {slot} does not listen: {why}")
                }
            })
        } else {
            self.holding(process).map(|holding| match holding {
                Holding::Nobody => closed(slot),
                Holding::OnlyParents => format!(
                    "what worker {slot} started does not hold any of the sockets that it was given: a wrapper such as \
                     npm passes no inherited descriptors on; name the program itself in command"
                ),
                Holding::Somebody => format!(
                    "worker {slot} holds the sockets that it was given, but did not give the sign that {}",
                    wanted(&plan)
                ),
            })
        };
        if let Some(reason) = reason {
            self.warn_of(worker, &reason);
        }
        self.name_the_protocol(worker);
    }

    /// Node behind a program that ganger does not see through does not look for its sockets where they are: its
    /// workers bind a port of their own, and all but one find it in use and leave before they are ready.
    pub(super) fn name_the_protocol(&mut self, worker: WorkerId) {
        let (Some(plan), Some(process)) = (self.plan_of(worker), self.processes.get(&worker)) else {
            return;
        };
        let is_behind = plan.protocol == Protocol::ListenFds && !config::is_node_command(&plan.command.argv);
        if is_behind && process.saw_node {
            self.warn_once(
                "command runs Node.js behind another program, and its sockets are descriptors from 3 on: set \
                 protocol = \"node\" for an app that calls listen() with a port or a path"
                    .to_owned(),
            );
        }
    }

    /// What keeps the processes of a worker from ending that were killed, in words.
    pub(super) fn what_holds(&self, worker: WorkerId) -> String {
        let Some(process) = self.processes.get(&worker) else {
            return "it is not known what of it is left".to_owned();
        };
        let mut pids = process.pids();
        if process.child().is_none() && process.group.is_none() {
            pids = kin::children().unwrap_or_default();
            let mark = mark(worker);
            pids.retain(|pid| !self.by_pid.contains_key(pid) && kin::is_marked(*pid, &mark));
        }
        // One that sleeps where no signal reaches it comes first.
        let held =
            pids.iter().filter_map(|pid| procfs::held(*pid).map(|held| (held.state != 'D', *pid, held)));
        let mut held: Vec<_> = held.collect();
        held.sort_by_key(|(is_other, pid, _)| (*is_other, *pid));
        let named: Vec<String> = held
            .iter()
            .take(MAX_NAMED)
            .map(|(_, pid, Held { state, function })| {
                let place = function.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
                let how = if *state == 'D' { "sleeps uninterruptibly" } else { "does not end" };
                format!("process {pid} {how}{place} (state {state})")
            })
            .collect();
        match held.len().saturating_sub(MAX_NAMED) {
            0 if named.is_empty() => "it is not seen what of it is left".to_owned(),
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    /// Who of the worker holds an inherited socket; `None` when that cannot be seen.
    fn holding(&self, process: &Process) -> Option<Holding> {
        process.child()?;
        let (mut parents, mut holders, mut seen) = (BTreeSet::new(), Vec::new(), false);
        for pid in process.pids() {
            // One that has just ended holds nothing, which says nothing.
            let Some(stat) = procfs::stat(pid).filter(|stat| stat.state != 'Z') else {
                continue;
            };
            parents.insert(stat.parent);
            let mut holds = false;
            for listener in &self.listeners {
                // One that may not be looked at may hold it: nothing can be said any more.
                holds |= procfs::holds_socket(pid, listener.inode)?;
            }
            seen = true;
            holders.extend(holds.then_some(pid));
        }
        if holders.is_empty() {
            return seen.then_some(Holding::Nobody);
        }
        let only_parents = holders.iter().all(|pid| parents.contains(pid));
        Some(if only_parents { Holding::OnlyParents } else { Holding::Somebody })
    }

    fn warn_of(&self, worker: WorkerId, text: &str) {
        let process = self.processes.get(&worker);
        warn!(
            ganger_worker = process.map(|process| process.slot.0),
            ganger_generation = process.map(|process| process.generation.0),
            "{text}"
        );
    }
}

fn closed(slot: Slot) -> String {
    format!(
        "worker {slot} does not hold any of the sockets that it was given: a wrapper such as npm closes inherited \
         descriptors; name the program itself in command"
    )
}

/// What was waited for, as the end of "the sign that …".
fn wanted(plan: &Plan) -> &'static str {
    match plan.ready.when {
        ReadyWhen::Auto => {
            "ready.when = \"auto\" waits for: to wait on a socket, READY=1 or process.send('ready')"
        }
        ReadyWhen::Notify => "ready.when = \"notify\" waits for: READY=1 on NOTIFY_SOCKET",
        ReadyWhen::Listening => {
            "ready.when = \"listening\" waits for: to wait for connections on one of them"
        }
        ReadyWhen::Message => "ready.when = \"message\" waits for: process.send('ready')",
        ReadyWhen::Fd => "ready.when = \"fd\" waits for: a newline on the descriptor GANGER_READY_FD",
        ReadyWhen::Http => "ready.http waits for: a good answer",
        ReadyWhen::Started => "ready.when = \"started\" waits for",
    }
}
