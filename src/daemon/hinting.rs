//! What Node workers do that people should know of: said in the log, and in a worker's status. It decides nothing
//! about a worker.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tracing::{debug, info, warn};

use crate::node::{self, Heard};
use crate::plan::Plan;
use crate::pool::{Event, Exit, Notification, WorkerId};

use super::node_launch::read_package;
use super::world::World;

/// What `ganger status` shows of a worker that nobody reaches.
const SILENT: &str = "serves nobody: it has closed the last of its servers";

impl World {
    /// A ready worker has closed the last of its servers, and lives on. It is not replaced: an app may do so for a
    /// while, and what it does meanwhile is its own business. The log has it once for each worker.
    pub(super) fn fell_silent(&mut self, worker: WorkerId, is_first: bool, is_last: bool) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        let (slot, pid, generation) = (process.slot, process.pid, process.generation);
        if is_first {
            let others = if is_last { ", and no other worker does: who connects waits" } else { "" };
            warn!(
                ganger_worker = slot.0,
                ganger_generation = generation.0,
                "worker {slot} (pid {pid}) has closed the last of its servers and serves nobody{others}; it stays in its \
                 place until it ends or calls cluster.worker.disconnect()"
            );
        } else {
            debug!("worker {slot} (pid {pid}) serves nobody once more");
        }
        self.has_status(worker, SILENT);
    }

    /// It listens again.
    pub(super) fn serves_again(&mut self, worker: WorkerId, is_first: bool) {
        let Some(process) = self.processes.get(&worker) else {
            return;
        };
        if is_first {
            info!(
                ganger_worker = process.slot.0,
                ganger_generation = process.generation.0,
                "worker {} (pid {}) serves again",
                process.slot,
                process.pid
            );
        }
        self.has_status(worker, "");
    }

    /// All workers have closed this inherited socket, and live on. The log has it once for each.
    pub(super) fn nobody_serves(&self, number: u32, is_first: bool) {
        let Some(socket) = self.socket_in_words(number) else {
            return;
        };
        if is_first {
            warn!(
                "no worker listens on {socket} any more, though one did: what comes there waits until one does so again; \
                 to take the socket away from the app, restart the unit without it"
            );
        } else {
            debug!("once more, no worker listens on {socket}");
        }
    }

    /// One listens on it again.
    pub(super) fn is_served_again(&self, number: u32, is_first: bool) {
        if let Some(socket) = self.socket_in_words(number).filter(|_| is_first) {
            info!("a worker listens on {socket} again");
        }
    }

    /// An inherited socket, by its place: its address and its name.
    fn socket_in_words(&self, number: u32) -> Option<String> {
        let listener = self.listeners.get(usize::try_from(number).ok()?)?;
        Some(format!("{} ({})", listener.address.as_ref()?, listener.name))
    }

    /// The channel cannot go on, and without it the worker is no cluster worker any more.
    pub(super) fn lost_its_channel(&mut self, worker: WorkerId, reason: &str) {
        if let Some(process) = self.processes.get(&worker) {
            warn!(
                ganger_worker = process.slot.0,
                ganger_generation = process.generation.0,
                "worker {} (pid {}) is killed, since its channel is of no use any more: {reason}",
                process.slot,
                process.pid
            );
        }
        self.kill(worker);
    }

    /// A Node worker's process is gone, or never came to be.
    pub(super) fn node_exited(&mut self, worker: WorkerId) {
        self.node_ended(worker, Exit::Unknown);
    }

    /// A Node worker ended by itself before it listened.
    pub(super) fn never_listened(&mut self, worker: WorkerId, heard: Heard, exit: Exit) {
        let asked_to_leave = self.processes.get(&worker).is_none_or(|process| process.draining);
        let Some(plan) = self.plan_of(worker).filter(|_| !asked_to_leave) else {
            return;
        };
        let failed = !matches!(exit, Exit::Code(0) | Exit::Unknown);
        if let Some(reason) = cannot_run(&plan).filter(|_| failed && heard < Heard::Asked) {
            return self.warn_once(format!("it ended before it listened: {reason}"));
        }
        let why = match heard {
            Heard::Nothing if failed => {
                "it failed before Node came to the app, and its own output tells why; or the command is not node, or \
                 something in between (sudo, a task runner) closed its descriptors or dropped its variables"
                    .to_owned()
            }
            Heard::Online if failed => {
                "Node started, and the app failed before it asked to listen: its own output tells why. EADDRINUSE there \
                 is of an app that listens without asking (exclusive: true, reusePort: true) while ganger has the port, or \
                 of a launcher that is a Node program itself and took the channel: name the command that it runs"
                    .to_owned()
            }
            Heard::Nothing | Heard::Online | Heard::Asked | Heard::Listening => heard.to_string(),
        };
        self.say_once(format!("it ended before it listened: {why}"));
    }

    /// Why a worker says nothing that waits for a debugger.
    pub(super) fn waits_for_debugger(&self, plan: &Plan, heard: Heard) -> Option<String> {
        let own = std::env::var_os("NODE_OPTIONS");
        let options = plan.command.env.get(OsStr::new("NODE_OPTIONS")).or(own.as_ref());
        let option = node::waits_for_debugger(&plan.command.argv, options.map(AsRef::as_ref))?;
        (heard < Heard::Asked).then(|| {
            format!(
                "Node waits for a debugger ({option}) and runs nothing of the app before one has come: attach it sooner, \
                 set ready.timeout to what that may take, or use --inspect, which does not wait"
            )
        })
    }

    fn has_status(&mut self, worker: WorkerId, text: &str) {
        let notification = Notification::Status(text.to_owned());
        self.happened(Event::Notified { worker, notification });
    }
}

/// What Node does not find that the command needs: its script, or all packages. What it has found is not looked at.
fn cannot_run(plan: &Plan) -> Option<String> {
    let directory = plan.command.directory.clone().or_else(|| std::env::current_dir().ok())?;
    let mut from = directory.clone();
    if let Some(script) = node::script(&plan.command.argv).map(|script| directory.join(script)) {
        let Some(found) = found(&script) else {
            return Some(format!("there is no {}, which is what node was to run", script.display()));
        };
        // Node looks from where the file really is.
        let real = std::fs::canonicalize(found).ok();
        let real = real.as_deref();
        // A folder is a script, too (`node .`).
        let place = if real.is_some_and(Path::is_dir) { real } else { real.and_then(Path::parent) };
        from = place.unwrap_or(&directory).to_owned();
    }
    let package = from.ancestors().find(|above| above.join("package.json").exists())?;
    let installed =
        |above: &Path| may_exist(&above.join("node_modules")) || may_exist(&above.join(".pnp.cjs"));
    if from.ancestors().any(installed) || !wants_packages(package) {
        return None;
    }
    let package = package.display();
    Some(format!(
        "{package}/package.json wants packages, and there is no node_modules in {package} or above it: run npm ci there, or \
         what else installs them"
    ))
}

/// The file or folder that Node takes for the script of a command.
fn found(script: &Path) -> Option<PathBuf> {
    let with = |ending: &str| {
        let mut name = script.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    ["", ".js", ".json", ".node"].into_iter().map(with).find(|path| may_exist(path))
}

/// What may not be looked at may be there.
fn may_exist(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

fn wants_packages(directory: &Path) -> bool {
    let text = read_package(directory).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let wanted = package.get("dependencies").and_then(serde_json::Value::as_object);
    wanted.is_some_and(|wanted| !wanted.is_empty())
}
