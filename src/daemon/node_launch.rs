//! What a Node worker is started with: its command, and the port of its inspector. What the words mean is
//! decided in [`crate::node`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use tracing::info;

use crate::node::{self, Inspector, Launch, Setting};
use crate::os::files;
use crate::plan::Plan;
use crate::pool::{Slot, WorkerId};

use super::world::World;

/// The longest package.json that is read, in bytes.
const MAX_PACKAGE: u64 = 1 << 20;

/// What is particular about a Node worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// It attaches itself to its channel.
    pub(super) attach: bool,
    /// It is Deno, which never accepts on a socket that it was given.
    pub(super) deno: bool,
    /// Where its inspector may listen, and what `NODE_OPTIONS` says besides.
    pub(super) inspector: Option<(Inspector, OsString)>,
}

/// What a Node worker is started with in place of its plan's command.
#[derive(Debug, Default)]
pub(super) struct NodeLaunch {
    pub(super) argv: Vec<OsString>,
    pub(super) path_first: Option<PathBuf>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) node_options: OsString,
    pub(super) manner: Manner,
}

impl NodeLaunch {
    /// Puts what the launch needs into a worker's environment; what the plan says goes before it.
    pub(super) fn add_to(
        &self,
        env: &mut BTreeMap<OsString, OsString>,
        configured: &BTreeMap<OsString, OsString>,
    ) {
        for (name, value) in &self.env {
            if !configured.contains_key(name) {
                env.insert(name.clone(), value.clone());
            }
        }
        if let Some(first) = &self.path_first {
            let path = env.get(OsStr::new("PATH")).cloned().unwrap_or_default();
            env.insert("PATH".into(), [first.as_os_str().to_owned(), path].join(OsStr::new(":")));
        }
        if !self.node_options.is_empty() {
            env.insert("NODE_OPTIONS".into(), self.node_options.clone());
        }
        for name in node::REMOVED {
            env.remove(OsStr::new(name));
        }
    }
}

impl World {
    /// The command that a Node worker in `slot` is started with; notes are logged for slot 0 only.
    pub(super) fn node_launch(&self, plan: &Plan, slot: Slot) -> Result<NodeLaunch, String> {
        let own = || std::env::current_dir().unwrap_or_default();
        let directory = plan.command.directory.clone().unwrap_or_else(own);
        let package = read_package(&directory);
        let own_options = std::env::var_os("NODE_OPTIONS");
        let side = self.node.as_ref();
        let setting = Setting {
            preload: side.and_then(|side| side.drain.as_deref()).filter(|_| plan.node.drain),
            attach: side.and_then(|side| side.attach.as_deref()),
            directory: &directory,
            package: package.as_deref(),
            plug_and_play: directory.join(".pnp.cjs").exists(),
            node_options: plan.command.env.get(OsStr::new("NODE_OPTIONS")).map(OsString::as_os_str),
            own_options: own_options.as_deref(),
        };
        let launch = node::launch(&plan.command.argv, &setting).map_err(|error| error.to_string())?;
        if slot.0 == 0 {
            launch.notes.iter().for_each(|note| info!("{note}"));
        }
        let Launch { argv, path_first, env, node_options, attach, inspector, .. } = launch;
        let deno = argv.first().is_some_and(|program| node::is_deno(program));
        let inspector = inspector.map(|inspector| (inspector, node_options.clone()));
        let manner = Manner { attach, deno, inspector };
        Ok(NodeLaunch { argv, path_first, env, node_options, manner })
    }

    /// `NODE_OPTIONS` of a worker that may have an inspector: with a port that no living worker has.
    pub(super) fn inspector(
        &mut self,
        id: WorkerId,
        slot: Slot,
        plan: &Plan,
        manner: &Manner,
    ) -> Option<OsString> {
        let (inspector, options) = manner.inspector.as_ref()?;
        let (side, processes) = (self.node.as_mut()?, &self.processes);
        side.inspectors.retain(|id, _| processes.get(id).is_some_and(|process| process.child().is_some()));
        let taken = side.inspectors.values().copied().collect();
        // Workers may be more, by `ganger scale`.
        let slots = processes.values().map(|process| process.slot.0.saturating_add(1)).max().unwrap_or(0);
        let port = inspector.port(slot.0, slots.max(plan.workers), &taken);
        side.inspectors.insert(id, port);
        Some(node::with_option(options, &inspector.option(port)))
    }
}

/// The text of a directory's package.json.
pub(super) fn read_package(directory: &Path) -> Option<String> {
    let bytes = files::read_bounded(&directory.join("package.json"), MAX_PACKAGE).ok()?;
    String::from_utf8(bytes).ok()
}
