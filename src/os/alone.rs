//! For tests that change their whole process (limits, children of anybody): they run in one of their own.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::unistd::geteuid;

const VARIABLE: &str = "GANGER_TEST_ALONE";

/// Who the process of its own is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Ourselves,
    /// Nobody, where we are root: limits do not bind root.
    Nobody,
}

/// Runs `body` in a process of its own, which runs the test `name` alone; returns what came of it, or `None` in
/// that process itself.
pub(super) fn alone(name: &str, who: As, body: impl FnOnce()) -> Option<Output> {
    if std::env::var_os(VARIABLE).is_some_and(|running| running == name) {
        body();
        return None;
    }
    let mut command = Command::new("/proc/self/exe");
    command.args([&format!("os::{name}"), "--exact", "--test-threads=1", "--nocapture"]).env(VARIABLE, name);
    if who == As::Nobody && geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    Some(command.output().unwrap())
}

/// [`alone`], and the test passes there.
pub(super) fn passes_alone(name: &str, who: As, body: impl FnOnce()) {
    if let Some(output) = alone(name, who, body) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}\n{output:?}");
    }
}
