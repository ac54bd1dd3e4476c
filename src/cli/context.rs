//! What every verb is given, and how the trouble with a supervisor is told to a person.

use std::future::Future;
use std::time::Duration;

use super::discover::Places;
use super::exit::{Exit, Failure};
use super::grammar::FlagId;
use super::parse::Typed;
use super::print::Printer;
use super::supervisor::{Supervisor, Trouble};
use crate::plan::AppName;
use crate::time::{format_span, parse_span};

/// How long a supervisor may take to answer a question.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// What was typed.
    pub(crate) typed: Typed,
    /// Where to write.
    pub(crate) out: Printer,
    /// `--user`.
    pub(crate) user_mode: bool,
}

impl Context {
    /// `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.typed.has(FlagId::Json)
    }

    /// Where apps are looked for.
    pub(crate) fn places(&self) -> Places {
        Places::of_this_process(self.user_mode)
    }

    /// `--user`, or the app is one that only the user has.
    pub(crate) fn is_users_own(&self, app: &AppName) -> bool {
        Places::is_users_own(self.user_mode, app)
    }

    /// There is such an app, running or not.
    pub(crate) fn knows(&self, app: &AppName) -> bool {
        self.places().knows(app) || Places::of_app(self.user_mode, app).knows(app)
    }

    /// `--timeout`.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        let Some(text) = self.typed.text(FlagId::Timeout)? else { return Ok(None) };
        let span = parse_span(&text)
            .map_err(|error| Failure::usage(format!("--timeout expects {error}, not \"{text}\"")))?;
        Ok(Some(span))
    }

    /// Connects to the supervisor of `app`.
    pub(crate) async fn supervisor(&self, app: &AppName) -> Result<Supervisor, Failure> {
        let Some(socket) = Places::of_app(self.user_mode, app).socket_of(app) else {
            return Err(Failure::new(Exit::Unreachable, "XDG_RUNTIME_DIR is not set")
                .hint("log in through systemd (machinectl shell, ssh), or leave --user out"));
        };
        match Supervisor::queue_up(&socket, ANSWER_DEADLINE).await {
            Ok(supervisor) => Ok(supervisor),
            Err(Trouble::Absent(_)) if !self.knows(app) => Err(self.places().unknown(app)),
            Err(trouble) => Err(self.trouble(app, trouble)),
        }
    }

    /// Tells the trouble with the supervisor of `app`, and what to do about it.
    pub(crate) fn trouble(&self, app: &AppName, trouble: Trouble) -> Failure {
        let user = if self.user_mode { " --user" } else { "" };
        match trouble {
            Trouble::Absent(socket) => {
                let message = format!("{app} does not run: nobody listens on {}", socket.display());
                Failure::new(Exit::Unreachable, message).hint(format!("start it: ganger{user} start {app}"))
            }
            Trouble::Denied(reason) => {
                let verb = self.typed.verb.map_or("", |verb| verb.name);
                let reason = super::print::harmless(&reason);
                let failure = Failure::new(Exit::NotPermitted, format!("{verb} {app}: {reason}")).hint(
                    format!("try again as root or as the user that {app} runs as: sudo ganger {verb} ..."),
                );
                if verb == "reload" && !self.is_users_own(app) {
                    failure.hint(format!(
                        "or where polkit lets you: busctl --timeout=5min call {} /org/ganger1 org.ganger1.App Reload",
                        app.bus_name()
                    ))
                } else {
                    failure
                }
            }
            Trouble::Crowded => {
                let message =
                    format!("the supervisor of {app} runs, but takes no more connections from you now");
                Failure::new(Exit::Unreachable, message)
                    .hint("end some of your other ganger commands (events, top), or try again in a moment")
            }
            Trouble::Busy(reason) => {
                let reason = super::print::harmless(&reason);
                let message = format!("the supervisor of {app} has no room for this now: {reason}");
                Failure::new(Exit::Failed, message).hint("try again in a moment")
            }
            Trouble::Silent => {
                let span = format_span(ANSWER_DEADLINE);
                let message = format!("the supervisor of {app} did not answer within {span}");
                Failure::new(Exit::Unreachable, message)
                    .hint(format!("what it says: ganger{user} logs {app}"))
            }
            Trouble::Gone => {
                let message = format!("the supervisor of {app} went away");
                Failure::new(Exit::Unreachable, message)
                    .hint(format!("what it said last: ganger{user} logs {app}"))
            }
            Trouble::Unable(what) => {
                let what = super::print::harmless(&what);
                let message = format!(
                    "the supervisor of {app} cannot do this, it is of another version than {}: {what}",
                    env!("CARGO_PKG_VERSION")
                );
                let hint =
                    format!("start the one that is installed now: systemctl{user} restart {app}.service");
                Failure::new(Exit::Failed, message).hint(hint)
            }
            Trouble::Strange(what) => {
                let what = super::print::harmless(&what);
                Failure::new(Exit::Failed, format!("the supervisor of {app} does not accept this: {what}"))
            }
        }
    }
}

/// Runs one piece of waiting to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot wait for anything: {error}")))?;
    runtime.block_on(future)
}
