//! Asking a supervisor for something and waiting for what comes of it: the same for every verb that changes an
//! app.
//!
//! Waiting has a deadline, and can be left with Ctrl-C; in both cases the work goes on. The last line is the
//! verdict; when a worker was the reason, its last words are shown from the journal with the caller's own
//! rights.

use std::io::IsTerminal;
use std::time::Duration;

use super::context::{Context, block_on};
use super::detach::{self, Called, Detach};
use super::exit::{Exit, Failure};
use super::grammar::FlagId;
use super::journal;
use super::print::{Style, harmless, harmless_lines};
use super::progress::{Follow, Line, Progress};
use super::rows::style_of;
use super::state::{Answer, FailedWorker, Happening};
use super::supervisor::Trouble;
use crate::dbus::{Origin, Wish};
use crate::os::clock::now;
use crate::plan::AppName;
use crate::pool::Command;
use crate::time::format_span;

/// How long the verdict of a rollout is waited for unless `--timeout` says otherwise.
pub(crate) const ROLLOUT_DEADLINE: Duration = Duration::from_secs(15 * 60);
/// How long the verdict of a wish that is done at once is waited for.
pub(crate) const PROMPT_DEADLINE: Duration = Duration::from_secs(30);
/// With `--no-wait`: a supervisor that refuses does so within this time.
const REFUSAL_DEADLINE: Duration = Duration::from_millis(200);

/// After SIGTERM, while systemd waits for this command: a supervisor that is being stopped says so within this time.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// How the waiting ended.
enum Ended {
    Answered(Answer),
    DeadlinePassed,
    /// It passed before the supervisor was there to be asked.
    NotAsked(Duration),
    Detached,
    /// By SIGTERM, while systemd waited for us; what the supervisor said by then. `None`: the supervisor is gone.
    Called(Option<Answer>),
    /// By SIGTERM, and the supervisor goes on as if nothing was.
    Killed,
}

/// Asks, waits, shows, and says how the command ends.
pub(crate) fn ask(
    context: &Context,
    app: &AppName,
    wish: &Wish,
    patience: Duration,
) -> Result<Exit, Failure> {
    let patience = context.timeout()?.unwrap_or(patience);
    let no_wait = context.typed.has(FlagId::NoWait);
    if no_wait && context.typed.has(FlagId::Wait) {
        return Err(Failure::usage("--wait and --no-wait exclude each other"));
    }
    let patience = if no_wait { REFUSAL_DEADLINE } else { patience };
    let ended = block_on(wait(context, app, wish, patience))?;
    let verb = context.typed.verb.map_or("", |verb| verb.name);
    let about = subject(app, wish);
    match ended {
        Ended::Answered(answer) => Ok(show(context, app, &answer)),
        Ended::DeadlinePassed if no_wait => {
            show_open(context, &about, "asked");
            Ok(Exit::Done)
        }
        Ended::DeadlinePassed => {
            let waited =
                format!("no verdict within {}: the {verb} of {about} goes on", format_span(patience));
            show_open(context, &about, &waited);
            Ok(Exit::InProgress)
        }
        Ended::NotAsked(patience) => {
            let span = format_span(patience);
            let message =
                format!("the supervisor of {app} did not answer within {span}: {verb} was not asked for");
            let user = if context.user_mode { " --user" } else { "" };
            Err(Failure::new(Exit::InProgress, message)
                .hint(format!("what it says: ganger{user} logs {app}")))
        }
        Ended::Detached => {
            show_open(context, &about, &format!("detached: the {verb} of {about} goes on"));
            Ok(Exit::InProgress)
        }
        // systemd takes a reload that fails because of its own stop for a failure of the service.
        Ended::Called(answer) => {
            match answer.filter(|it| !matches!(it.outcome.as_str(), "stopped" | "refused")) {
                Some(answer) => Ok(show(context, app, &answer)),
                None => {
                    context.out.line(&format!("{verb} {app}: stopped"));
                    Ok(Exit::Done)
                }
            }
        }
        Ended::Killed => {
            detach::end();
            Ok(Exit::Failed)
        }
    }
}

async fn wait(context: &Context, app: &AppName, wish: &Wish, patience: Duration) -> Result<Ended, Failure> {
    // Before anything else: systemd may stop the service while this command has only begun.
    let mut detach = Detach::new(matches!(wish, Wish::Reload { origin: Origin::ExecReload }));
    let began = now();
    let no_wait = context.typed.has(FlagId::NoWait);
    // A deadline may be shorter than what each answer may take; where none was given, that alone counts.
    let opening_patience = if no_wait { context.timeout()?.unwrap_or(ROLLOUT_DEADLINE) } else { patience };
    let opening = async {
        let mut supervisor = context.supervisor(app).await?;
        supervisor.watch().await.map_err(|trouble| context.trouble(app, trouble))?;
        Ok(supervisor)
    };
    let Ok(opened) = tokio::time::timeout(opening_patience, opening).await else {
        return Ok(Ended::NotAsked(opening_patience));
    };
    let mut supervisor = match opened {
        Err(_) if detach.called() == Some(Called::End) => return Ok(Ended::Called(None)),
        opened => opened?,
    };
    let patience = if no_wait { patience } else { patience.saturating_sub(now().since(began)) };
    let mut lines = Lines::new(context, follow(wish));
    let ended = {
        let told = |happening: &Happening| lines.happened(happening);
        let asked = tokio::time::timeout(patience, supervisor.ask(wish, told));
        // Whichever comes first; the verdict wins over a late Ctrl-C.
        let mut asked = std::pin::pin!(asked);
        let mut called = std::pin::pin!(detach.asked());
        let ended = std::future::poll_fn(|task| {
            if let std::task::Poll::Ready(answer) = asked.as_mut().poll(task) {
                return std::task::Poll::Ready(Ok(answer));
            }
            called.as_mut().poll(task).map(Err)
        })
        .await;
        match ended {
            Ok(Ok(Ok(answer))) => Ok(Ended::Answered(answer)),
            Ok(Ok(Err(trouble))) => Err(trouble),
            Ok(Err(_)) => Ok(Ended::DeadlinePassed),
            Err(Called::Leave) => Ok(Ended::Detached),
            Err(Called::End) => match tokio::time::timeout(STOP_PATIENCE, asked).await {
                Ok(Ok(Ok(answer))) => Ok(Ended::Called(Some(answer))),
                Ok(Ok(Err(Trouble::Gone))) => Ok(Ended::Called(None)),
                Ok(Ok(Err(_)) | Err(_)) | Err(_) => Ok(Ended::Killed),
            },
        }
    };
    let last = match &ended {
        Ok(Ended::Answered(answer)) if answer.outcome == "done" => answer.generation,
        Ok(_) | Err(_) => None,
    };
    lines.end(last);
    ended.map_err(|trouble| context.trouble(app, trouble))
}

/// Which workers the live lines of a wish are about.
fn follow(wish: &Wish) -> Follow {
    match wish {
        Wish::Reload { .. } | Wish::Command(Command::Restart { slot: None }) => Follow::NextRollout,
        Wish::Command(
            Command::Restart { slot: Some(slot) } | Command::StartSlot { slot } | Command::StopSlot { slot },
        ) => Follow::Slot(slot.0),
        Wish::Command(
            Command::Scale { .. } | Command::Signal { .. } | Command::Reset { .. } | Command::Stop,
        )
        | Wish::Send { .. } => Follow::All,
    }
}

/// The live lines on standard output.
struct Lines<'a> {
    context: &'a Context,
    progress: Progress,
    /// The last line can still change.
    open: bool,
    terminal: bool,
}

impl<'a> Lines<'a> {
    fn new(context: &'a Context, follow: Follow) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { context, progress: Progress::new(follow), open: false, terminal }
    }

    fn happened(&mut self, happening: &Happening) {
        if self.context.json() {
            return;
        }
        let Some(Line { text, complete }) = self.progress.happened(happening, now()) else { return };
        if self.terminal {
            let width = self.context.out.look().width.unwrap_or(usize::MAX);
            let text = super::table::cut(&text, width.saturating_sub(1));
            let back = if self.open { "\r\x1b[K" } else { "" };
            self.context.out.view(&format!("{back}{text}{}", if complete { "\n" } else { "" }));
            self.open = !complete;
        } else if complete {
            self.context.out.line(&text);
        }
    }

    /// `last`: the generation that a rollout which went well led to.
    fn end(self, last: Option<u64>) {
        if self.open {
            self.context.out.text("\r\x1b[K");
        }
        self.progress.rest(last).for_each(|line| self.context.out.line(&line));
    }
}

/// Shows an answer; how the command ends by it.
fn show(context: &Context, app: &AppName, answer: &Answer) -> Exit {
    let exit = exit_of(&answer.outcome);
    if context.json() {
        context.out.json(answer, true);
        return exit;
    }
    let color = context.out.look().color;
    let verb = context.typed.verb.map_or("", |verb| verb.name);
    let word = style_of(&answer.outcome).paint(&answer.outcome, color);
    let verdict = format!("{verb} {app}: {word}: {}", harmless_lines(&answer.message));
    if exit == Exit::Done {
        context.out.line(&verdict);
        return exit;
    }
    let shown = answer.failure.as_ref().is_some_and(|failure| last_words(context, app, failure));
    let failure = Failure::new(exit, verdict);
    let user = if context.user_mode { " --user" } else { "" };
    context.out.failure(&match (&answer.failure, exit) {
        (Some(worker), _) if shown => {
            failure.hint(format!("more of it: ganger{user} logs {app}:{}", worker.slot))
        }
        // In the foreground there is no journal, and some may not read it.
        (Some(worker), _) if worker.pid.is_some() => failure.hint(format!(
            "what it said: ganger{user} logs {app}:{}, or where ganger run writes",
            worker.slot
        )),
        (None, Exit::NotFound) => failure.hint(format!("its slots: ganger{user} status {app}")),
        // What never ran has said nothing.
        (Some(_) | None, _) => failure,
    });
    exit
}

/// The failing worker's last lines in the journal; `false`: there are none.
fn last_words(context: &Context, app: &AppName, worker: &FailedWorker) -> bool {
    let Ok(lines) = block_on(async { Ok(journal::last_words(worker, now()).await) }) else {
        return false;
    };
    if lines.is_empty() {
        return false;
    }
    context.out.note(&format!("last words of {app}:{}:", worker.slot));
    for line in lines {
        let line = Style::Dim.paint(&harmless(&line), context.out.look().color);
        context.out.note(&format!("  {line}"));
    }
    true
}

/// What it is about: the app, or one slot of it that is started or stopped.
fn subject(app: &AppName, wish: &Wish) -> String {
    match wish {
        Wish::Command(Command::StopSlot { slot } | Command::StartSlot { slot }) => format!("{app}:{slot}"),
        Wish::Command(_) | Wish::Reload { .. } | Wish::Send { .. } => app.to_string(),
    }
}

/// Says that something goes on.
fn show_open(context: &Context, subject: &str, message: &str) {
    if context.json() {
        let outcome = if message == "asked" { "asked" } else { Exit::InProgress.word() };
        let answer = Answer { outcome: outcome.into(), message: message.into(), ..Answer::default() };
        context.out.json(&answer, true);
    } else {
        let verb = context.typed.verb.map_or("", |verb| verb.name);
        context.out.line(&if message == "asked" {
            format!("{verb} {subject}: asked")
        } else {
            message.to_owned()
        });
    }
}

/// The exit code of an outcome.
fn exit_of(outcome: &str) -> Exit {
    match outcome {
        "done" => Exit::Done,
        "partly" => Exit::Partly,
        "not-found" => Exit::NotFound,
        // Also `failed`, `superseded` and `refused`: nothing was changed by this caller; and `stopped`.
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_exit_code() {
        let codes = ["done", "failed", "partly", "not-found", "superseded", "refused"]
            .map(|word| exit_of(word).code());
        assert_eq!(codes, [0, 1, 7, 3, 1, 1]);
    }
}
