//! Which journalctl call shows what: the matches for an app, for one of its slots, and for the last lines of a
//! worker that failed. Reading happens with the caller's own rights.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::state::FailedWorker;
use super::target::AppSlot;
use crate::time::Monotonic;

/// So many last lines of a failed worker are shown.
const LAST_LINES: &str = "10";
/// The journal may have a line a little earlier or later than ganger saw the deed.
const SLACK: Duration = Duration::from_secs(1);

/// The matches for an app or one of its slots.
///
/// An app is its unit with everything that the manager says about it. A slot is what its workers wrote (their
/// streams are named `NAME[SLOT]`) and what ganger wrote about it (`GANGER_WORKER=`).
pub(crate) fn matches(target: &AppSlot, user_mode: bool) -> Vec<String> {
    let app = &target.app;
    let Some(slot) = target.slot else {
        return match user_mode {
            true => vec!["--user".into(), format!("--user-unit={app}.service")],
            false => vec![format!("--unit={app}.service")],
        };
    };
    let unit = if user_mode { "_SYSTEMD_USER_UNIT" } else { "_SYSTEMD_UNIT" };
    let mut words: Vec<String> = if user_mode { vec!["--user".into()] } else { Vec::new() };
    words.extend([
        format!("{unit}={app}.service"),
        format!("SYSLOG_IDENTIFIER={app}[{slot}]"),
        "+".into(),
        format!("{unit}={app}.service"),
        format!("GANGER_WORKER={slot}"),
    ]);
    words
}

/// The last lines of these matches, or in one line why there are none.
pub(crate) fn tail_or_why(matches: &[String], lines: usize) -> Vec<String> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat"]).arg(format!("--lines={lines}")).args(matches);
    let why = match command.stdin(Stdio::null()).output() {
        Err(error) => format!("journalctl cannot be run: {error}"),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
            format!("journalctl: {said}")
        }
        Ok(output) if output.stdout.is_empty() => {
            "journalctl has nothing that you may read (groups adm and systemd-journal read all)".to_owned()
        }
        Ok(output) => return String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
    };
    vec![why]
}

/// What the failed worker wrote last; nothing where the journal cannot be read.
pub(crate) fn last_words(worker: &FailedWorker, now: Monotonic) -> Vec<String> {
    let Some(pid) = worker.pid else { return Vec::new() };
    let mut command = Command::new("journalctl");
    command
        .args(["--quiet", "--no-pager", "--output=cat", "--lines", LAST_LINES])
        .arg(format!("--since=-{}s", now.since(worker.started).saturating_add(SLACK).as_secs() + 1))
        .arg(format!("_PID={pid}"));
    let until = now.since(worker.ended).saturating_sub(SLACK).as_secs();
    if until > 0 {
        // Later processes of the same pid are somebody else.
        command.arg(format!("--until=-{until}s"));
    }
    read(command)
}

fn read(mut command: Command) -> Vec<String> {
    match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::app_slot;
    use super::*;

    #[test]
    fn an_app_is_its_unit() {
        let api = app_slot("api").unwrap();
        assert_eq!(matches(&api, false), ["--unit=api.service"]);
        assert_eq!(matches(&api, true), ["--user", "--user-unit=api.service"]);
    }

    #[test]
    fn a_slot_is_its_stream_and_what_ganger_says_of_it() {
        let slot = app_slot("api:2").unwrap();
        let expected = [
            "_SYSTEMD_UNIT=api.service",
            "SYSLOG_IDENTIFIER=api[2]",
            "+",
            "_SYSTEMD_UNIT=api.service",
            "GANGER_WORKER=2",
        ];
        assert_eq!(matches(&slot, false), expected);
    }
}
