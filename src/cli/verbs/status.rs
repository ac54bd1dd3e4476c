//! `ganger status APP`: the app, its workers, its last reload, and what to do next.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::context::{Context, block_on};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Look, harmless, harmless_lines};
use crate::cli::rows::{self, style_of};
use crate::cli::state::AppState;
use crate::cli::target;
use crate::os::clock::now;
use crate::time::{Monotonic, format_span};

/// Shows one app.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let app = target::app(context.typed.operand(0)?)?;
    let state = block_on(async {
        let mut supervisor = context.supervisor(&app).await?;
        supervisor.state().await.map_err(|trouble| context.trouble(&app, trouble))
    })?;
    if context.json() {
        context.out.json(&state, true);
    } else {
        context.out.view(&render(&state, now(), context.user_mode, context.out.look()));
    }
    Ok(Exit::Done)
}

/// The page.
pub(crate) fn render(app: &AppState, now: Monotonic, user_mode: bool, look: Look) -> String {
    let mut table = rows::table();
    rows::app_row(&mut table, app, now);
    rows::worker_rows(&mut table, app, now);
    let mut page = table.render(look);
    let mut below = Vec::new();
    below.extend(reload_line(app, now));
    below.extend(last_reload_line(app, now, look));
    if !below.is_empty() {
        let _ = write!(page, "\n{}\n", below.join("\n"));
    }
    let hints = hints(app, if user_mode { " --user" } else { "" });
    if !hints.is_empty() {
        page.push('\n');
        for (command, reason) in hints {
            let _ = writeln!(page, "  {command:<32} {reason}");
        }
    }
    page
}

fn reload_line(app: &AppState, now: Monotonic) -> Option<String> {
    let reload = app.reload.as_ref()?;
    let since = format_span(now.since(reload.started));
    Some(if reload.aborting {
        format!("reload: generation {} failed and is taken back, since {since}", reload.generation)
    } else {
        let (done, total) = (reload.done, reload.total);
        format!(
            "reload: to generation {}, {done} of {total} workers replaced, since {since}",
            reload.generation
        )
    })
}

fn last_reload_line(app: &AppState, now: Monotonic, look: Look) -> Option<String> {
    let last = app.last_reload.as_ref()?;
    let word = style_of(&last.outcome).paint(&last.outcome, look.color);
    // What was refused was never begun.
    let took = match last.outcome.as_str() {
        "refused" => String::new(),
        _ => format!(", took {}", format_span(Duration::from_micros(last.took_usec))),
    };
    let ago = format_span(now.since(last.ended));
    Some(format!(
        "last reload: {word} {ago} ago{took}: {}",
        harmless_lines(&last.message).replace('\n', "\n  ")
    ))
}

/// Commands that help in this state, each with its reason.
fn hints(app: &AppState, user: &str) -> Vec<(String, &'static str)> {
    let mut hints = Vec::new();
    let name = harmless(&app.app);
    let failed = app.slots.iter().find(|slot| slot.state == "failed");
    let waiting = app.slots.iter().find(|slot| slot.state == "waiting");
    if let Some(slot) = failed.or(waiting) {
        hints.push((format!("ganger{user} logs {name}:{}", slot.slot), "what its workers said"));
        hints.push((format!("ganger{user} reset {name}"), "try again at once"));
    }
    if let Some(slot) = app.slots.iter().find(|slot| slot.state == "stopped") {
        hints.push((format!("ganger{user} start {name}:{}", slot.slot), "have it serve again"));
    }
    if app.reload.is_none()
        && app.last_reload.as_ref().is_some_and(|last| matches!(last.outcome.as_str(), "failed" | "refused"))
    {
        hints.push((format!("ganger{user} reload {name}"), "once the cause is mended"));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::golden;
    use crate::cli::rows::samples;

    fn page(app: &AppState) -> String {
        render(app, samples::now(), false, Look::PLAIN)
    }

    #[test]
    fn a_serving_app() {
        golden::compare("status-serving.txt", &page(&samples::serving()));
    }

    #[test]
    fn a_stopped_slot_says_by_whom_and_how_it_is_started() {
        let page = page(&samples::stopped());
        assert!(!page.contains("exited"), "an old failure is not why the slot is empty: {page}");
        golden::compare("status-stopped.txt", &page);
    }

    #[test]
    fn a_reload_under_way() {
        golden::compare("status-reloading.txt", &page(&samples::reloading()));
    }

    #[test]
    fn an_app_in_trouble_says_what_to_do() {
        let page = page(&samples::degraded());
        assert!(!page.contains('\x1b'), "a worker's status steers the terminal: {page:?}");
        golden::compare("status-degraded.txt", &page);
    }

    #[test]
    fn a_refused_reload_is_shown_with_its_reason_and_what_to_do() {
        let mut app = samples::serving();
        let last = app.last_reload.as_mut().unwrap();
        (last.outcome, last.took_usec) = ("refused".into(), 0);
        last.message = "the configuration is not valid, nothing is changed\napi.toml:3:1: unknown key".into();
        let page = page(&app);
        assert!(page.contains("last reload: refused 3d 2h ago: the configuration is not valid"), "{page}");
        assert!(
            page.contains("\n  api.toml:3:1: unknown key\n") && page.contains("ganger reload api"),
            "{page}"
        );
    }

    #[test]
    fn a_status_fits_eighty_columns() {
        let look = Look { color: false, width: Some(80) };
        let table = render(&samples::reloading(), samples::now(), false, look);
        let rows = table.lines().take_while(|line| !line.is_empty());
        assert!(rows.into_iter().all(|line| line.chars().count() <= 80), "{table}");
        golden::compare("status-80.txt", &table);
    }

    #[test]
    fn a_status_has_a_stable_shape_in_json() {
        golden::compare("status.json", &serde_json::to_string_pretty(&samples::reloading()).unwrap());
    }
}
