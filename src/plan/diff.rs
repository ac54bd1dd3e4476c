//! What changed between two plans, in words that a person knows from the config file.

use super::Plan;

/// One difference between two plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The config key, for example `workers` or `env`.
    pub key: &'static str,
    /// The change waits for the next start of the service: the sockets are systemd's (or already bound).
    pub needs_restart: bool,
}

impl Plan {
    /// The keys in which `self` and `new` differ, in the order of the config file.
    #[must_use]
    pub fn diff(&self, new: &Self) -> Vec<Change> {
        let rows = [
            ("command", self.command.argv != new.command.argv, false),
            ("directory", self.command.directory != new.command.directory, false),
            ("env", self.command.env != new.command.env, false),
            ("user", self.command.user != new.command.user, false),
            ("group", self.command.group != new.command.group, false),
            ("instance-var", self.command.instance_var != new.command.instance_var, false),
            ("workers", self.workers != new.workers, false),
            ("listen", self.listen != new.listen, true),
            ("protocol", self.protocol != new.protocol, false),
            ("socket-env", self.socket_env != new.socket_env, false),
            ("ready", self.ready != new.ready, false),
            ("restart", self.restart != new.restart, false),
            ("stop", self.stop != new.stop, false),
            ("reload", self.reload != new.reload, false),
            ("recycle", self.recycle != new.recycle, false),
            ("limit", self.limit != new.limit, false),
            ("watchdog", self.watchdog != new.watchdog, false),
            ("health", self.health != new.health, false),
            ("log", self.log != new.log, false),
            ("node", self.node != new.node, false),
        ];
        rows.into_iter()
            .filter(|(_, differs, _)| *differs)
            .map(|(key, _, needs_restart)| Change { key, needs_restart })
            .collect()
    }
}
