//! `ganger list`: all apps, each asked at the same time, none waited for longer than its deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::cli::context::{Context, block_on};
use crate::cli::discover::Found;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Look;
use crate::cli::rows;
use crate::cli::state::AppState;
use crate::cli::supervisor::{Supervisor, Trouble};
use crate::os::clock::now;
use crate::plan::AppName;
use crate::time::Monotonic;

/// How long one app may hold up the list.
const DEADLINE: Duration = Duration::from_secs(2);

/// What is known of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    /// It answered.
    Answered(Box<AppState>),
    /// It did not.
    Other {
        /// Its name.
        app: String,
        /// `inactive`, `denied`, `crowded`, `silent` or `unreachable`.
        state: &'static str,
        /// It has a configuration.
        configured: bool,
    },
}

/// Lists every app.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let apps = context.places().apps();
    let entries = block_on(async { Ok(gather(apps, DEADLINE).await) })?;
    if context.json() {
        context.out.json(&entries, true);
    } else if entries.is_empty() {
        context.out.note("no apps: none is configured, and none runs");
    } else {
        context.out.view(&render(&entries, now(), context.out.look()));
    }
    Ok(Exit::Done)
}

/// Asks all apps at once.
pub(crate) async fn gather(apps: BTreeMap<AppName, Found>, deadline: Duration) -> Vec<Entry> {
    let mut tasks = JoinSet::new();
    for (app, found) in apps {
        tasks.spawn(async move { (app.clone(), one(&app, found, deadline).await) });
    }
    let mut entries = BTreeMap::new();
    while let Some(joined) = tasks.join_next().await {
        entries.extend(joined.ok());
    }
    entries.into_values().collect()
}

async fn one(app: &AppName, found: Found, deadline: Duration) -> Entry {
    let other = |state| Entry::Other { app: app.to_string(), state, configured: found.configured };
    let Some(socket) = found.socket else { return other("inactive") };
    let asked = async {
        let mut supervisor = Supervisor::connect(&socket, deadline).await?;
        supervisor.state().await
    };
    match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(state)) => Entry::Answered(Box::new(state)),
        Ok(Err(trouble)) => other(word(&trouble)),
        Err(_) => other("silent"),
    }
}

fn word(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Absent(_) | Trouble::Gone | Trouble::Unable(_) | Trouble::Strange(_) => "unreachable",
        Trouble::Denied(_) => "denied",
        Trouble::Crowded => "crowded",
        Trouble::Silent | Trouble::Busy(_) => "silent",
    }
}

/// What a person may want to know about an app that did not answer.
fn note(state: &str) -> &'static str {
    match state {
        "inactive" => "not running",
        "denied" => "you may not speak to it",
        "crowded" => "runs, but takes no more connections from you now",
        "silent" => "does not answer",
        _ => "nobody serves its socket",
    }
}

/// The table.
pub(crate) fn render(entries: &[Entry], now: Monotonic, look: Look) -> String {
    let mut table = rows::table();
    for entry in entries {
        match entry {
            Entry::Answered(state) => rows::app_row(&mut table, state, now),
            Entry::Other { app, state, configured: _ } => {
                rows::silent_row(&mut table, app, state, note(state))
            }
        }
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::golden;
    use crate::cli::rows::samples;

    fn entries() -> Vec<Entry> {
        let mut web = samples::degraded();
        web.app = "web-frontend".into();
        let other = |app: &str, state, configured| Entry::Other { app: app.into(), state, configured };
        vec![
            Entry::Answered(Box::new(samples::serving())),
            other("mail", "inactive", true),
            other("stuck", "silent", false),
            Entry::Answered(Box::new(web)),
        ]
    }

    #[test]
    fn the_list_shows_apps_that_answer_and_apps_that_do_not() {
        golden::compare("list.txt", &render(&entries(), samples::now(), Look::PLAIN));
    }

    #[test]
    fn the_list_fits_a_narrow_terminal() {
        let look = Look { color: false, width: Some(60) };
        golden::compare("list-60.txt", &render(&entries(), samples::now(), look));
    }

    #[test]
    fn the_list_is_coloured_by_meaning() {
        let look = Look { color: true, width: Some(100) };
        golden::compare("list-color.txt", &render(&entries(), samples::now(), look).replace('\x1b', "^["));
    }

    #[test]
    fn the_list_has_a_stable_shape_in_json() {
        golden::compare("list.json", &serde_json::to_string_pretty(&entries()).unwrap());
    }

    #[test]
    fn an_app_that_does_not_answer_holds_nobody_up() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("private");
        // It listens and never answers.
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = Found { configured: false, socket: Some(socket) };
        let apps = (0..3).map(|n| (AppName::new(&format!("a{n}")).unwrap(), found.clone())).collect();
        let entries = runtime.block_on(gather(apps, Duration::from_millis(100)));
        assert_eq!(entries.len(), 3);
        assert!(entries.iter().all(|entry| matches!(entry, Entry::Other { .. })));
    }
}
