//! What a Node worker is started with: its environment beside the app's own.

use std::ffi::OsString;

use super::UniqueId;

/// The descriptor of the channel. It must be this one: Node marks low descriptors close-on-exec at its start,
/// and a channel that leaks into what the app spawns never ends.
pub const CHANNEL_FD: i32 = 3;

/// Variables that must not reach a Node worker: descriptor 3 is its channel, not a socket.
pub const REMOVED: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NODE_CLUSTER_SCHED_POLICY"];

/// The variables of a cluster worker. Node takes them out of `process.env` before the app runs. `port` is the
/// only inherited TCP port, for `process.env.PORT`; the app's own environment goes before it.
#[must_use]
pub fn environment(worker: UniqueId, port: Option<u16>) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        ("NODE_CHANNEL_FD", CHANNEL_FD.to_string().into()),
        ("NODE_CHANNEL_SERIALIZATION_MODE", "json".into()),
        ("NODE_UNIQUE_ID", worker.to_string().into()),
    ];
    variables.extend(port.map(|port| ("PORT", port.to_string().into())));
    variables
}
