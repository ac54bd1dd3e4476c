//! Which journalctl call shows what: the matches for an app, for one of its slots, and for the last lines of a
//! worker that failed. Reading happens with the caller's own rights.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::{Group, geteuid, getgroups};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::state::FailedWorker;
use super::target::AppSlot;
use crate::os::tied;
use crate::time::Monotonic;

/// So many last lines of a failed worker are shown.
const LAST_LINES: usize = 10;
/// The journal may have a line a little earlier or later than ganger saw the deed.
const SLACK: Duration = Duration::from_secs(1);
/// The journal is waited for so long; a live view asks again later.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many bytes of the journal are taken in at once.
const MOST_TOLD: usize = 256 * 1024;
/// So many bytes of why there is nothing to read.
const MOST_REFUSED: usize = 4 * 1024;
/// How long is slept at a time until a journalctl that has said all has ended.
const NAP: Duration = Duration::from_millis(2);

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

/// The journalctl that tells so many last lines as they were written.
fn last_lines(lines: usize) -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat"]).arg(format!("--lines={lines}"));
    command
}

/// The last lines of these matches, or in one line why there are none. Dropped on its way, it ends its journalctl.
pub(crate) async fn tail_or_why(matches: &[String], lines: usize) -> Vec<String> {
    let mut command = last_lines(lines);
    command.args(matches);
    let why = match tokio::time::timeout(DEADLINE, answer(command)).await {
        Err(_) => format!("the journal did not answer in {} s", DEADLINE.as_secs()),
        Ok(Err(error)) => format!("journalctl cannot be run: {error}"),
        Ok(Ok(Answer::Refused(said))) => format!("journalctl: {}", said.trim().replace('\n', " ")),
        Ok(Ok(Answer::Told(text))) if text.is_empty() => no_lines(reads_all()).to_owned(),
        Ok(Ok(Answer::Told(text))) => return text.lines().map(str::to_owned).collect(),
    };
    vec![why]
}

/// Who may read all of it knows that there is nothing.
const fn no_lines(reads_all: bool) -> &'static str {
    if reads_all {
        "no lines yet"
    } else {
        "no lines that you may read (groups adm and systemd-journal read all)"
    }
}

/// Root may read every line, and so may these groups (systemd-journald.service(8), "Access Control").
fn reads_all() -> bool {
    let ours = getgroups().unwrap_or_default();
    let is_ours = |name| Group::from_name(name).ok().flatten().is_some_and(|group| ours.contains(&group.gid));
    geteuid().is_root() || ["systemd-journal", "adm", "wheel"].into_iter().any(is_ours)
}

/// What a journalctl said.
enum Answer {
    Told(String),
    Refused(String),
}

async fn answer(mut command: Command) -> io::Result<Answer> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tied::dies_with_us(&mut command).spawn()?;
    let pipes = (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
    let mut running = Running(Some(child));
    let told = said(pipes.0, MOST_TOLD).await?;
    if told.is_cut {
        // One that goes on for ever is ended here.
        return Ok(Answer::Told(told.text));
    }
    let refused = said(pipes.1, MOST_REFUSED).await?;
    Ok(if running.ended().await?.success() { Answer::Told(told.text) } else { Answer::Refused(refused.text) })
}

/// What came out of a pipe.
struct Said {
    text: String,
    /// There may be more.
    is_cut: bool,
}

/// All that comes out of a pipe, up to so many bytes.
async fn said(pipe: Option<OwnedFd>, most: usize) -> io::Result<Said> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        Receiver::from_owned_fd(pipe)?.take(most as u64).read_to_end(&mut bytes).await?;
    }
    Ok(Said { text: String::from_utf8_lossy(&bytes).into_owned(), is_cut: bytes.len() == most })
}

/// A journalctl that does not outlive the wish for its answer.
struct Running(Option<Child>);

impl Running {
    /// Waits for the end of one that has closed its output: it is near.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.0 else { return Ok(ExitStatus::default()) };
        loop {
            if let Some(status) = child.try_wait()? {
                self.0 = None;
                return Ok(status);
            }
            tokio::time::sleep(NAP).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let _ = child.kill();
        // A disk that hangs holds even a killed one; nobody waits for this thread.
        let _ = std::thread::Builder::new().name("journal".into()).spawn(move || child.wait());
    }
}

/// What the failed worker wrote last; nothing where the journal cannot be read, or not in time.
pub(crate) async fn last_words(worker: &FailedWorker, now: Monotonic) -> Vec<String> {
    let Some(pid) = worker.pid else { return Vec::new() };
    let mut command = last_lines(LAST_LINES);
    command
        .arg(format!("--since=-{}s", now.since(worker.started).saturating_add(SLACK).as_secs() + 1))
        .arg(format!("_PID={pid}"));
    let until = now.since(worker.ended).saturating_sub(SLACK).as_secs();
    if until > 0 {
        // Later processes of the same pid are somebody else.
        command.arg(format!("--until=-{until}s"));
    }
    let Ok(Ok(Answer::Told(text))) = tokio::time::timeout(DEADLINE, answer(command)).await else {
        return Vec::new();
    };
    text.lines().map(str::to_owned).collect()
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
    fn an_empty_journal_blames_no_rights_of_who_reads_all_and_fits_in_eighty_columns() {
        assert_eq!(no_lines(true), "no lines yet");
        assert!(no_lines(false).contains("groups adm and systemd-journal") && no_lines(false).len() < 80);
        assert!(reads_all() || !geteuid().is_root());
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
