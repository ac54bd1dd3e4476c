//! Which environment a worker gets: ganger's own less what speaks for ganger alone, then the plan's, then what
//! is this worker's own. It decides names and values; [`crate::os::process`] carries them over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::plan::Plan;

/// Variables that speak for ganger alone, or that each worker gets anew: a worker never inherits them.
const OWN: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "SYSTEMD_EXEC_PID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "EINHORN_FD_COUNT",
    "SERVER_STARTER_PORT",
    "GANGER_APP",
    "GANGER_WORKER",
    "GANGER_WORKER_ID",
    "GANGER_GENERATION",
    "GANGER_READY_FD",
    "GANGER_PID",
    "GANGER_CHECK_ID",
    "GANGER_ATTACH",
    "GANGER_DRAIN",
];

/// The environment that all workers of a generation share: `own` is ganger's.
pub(super) fn shared(
    own: impl Iterator<Item = (OsString, OsString)>,
    plan: &Plan,
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> =
        own.filter(|(name, _)| !OWN.iter().any(|own| OsStr::new(own) == name)).collect();
    env.retain(|name, _| !name.as_bytes().starts_with(b"EINHORN_FD_"));
    env.extend(plan.command.env.clone());
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::fixture;

    #[test]
    fn what_speaks_for_ganger_alone_is_not_inherited() {
        let own = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "EINHORN_FD_0", "PATH"];
        let own = own.into_iter().map(|name| (OsString::from(name), OsString::from("x")));
        let env = shared(own, &fixture::plan(1));
        assert_eq!(env.into_keys().collect::<Vec<_>>(), ["PATH"]);
    }

    #[test]
    fn the_plan_overrides_what_is_inherited() {
        let mut plan = fixture::plan(1);
        plan.command.env.insert("MODE".into(), "production".into());
        let env = shared(std::iter::once(("MODE".into(), "test".into())), &plan);
        assert_eq!(env.get(OsStr::new("MODE")), Some(&OsString::from("production")));
    }
}
