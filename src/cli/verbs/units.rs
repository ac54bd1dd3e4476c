//! `ganger start`, `stop`, `enable` and `disable` of whole apps: thin words for systemctl, which know that an app is
//! two units.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::cli::context::Context;
use crate::cli::discover::Places;
use crate::cli::exit::{Exit, Failure};
use crate::cli::grammar::FlagId;
use crate::cli::target;
use crate::plan::AppName;

/// systemctl's exit statuses for "not permitted" and "no such unit" (systemctl(1)).
const DENIED: i32 = 4;
const NO_UNIT: i32 = 5;
/// What the manager's refusals say (sd-bus-errors(3)); they are not translated.
const SAYS_DENIED: [&str; 3] = ["Interactive authentication required", "Access denied", "Permission denied"];

/// Calls `systemctl WORD` on the units of the apps that were typed.
pub(crate) fn run_typed(context: &Context, word: &str) -> Result<Exit, Failure> {
    let apps: Vec<AppName> = (0..context.typed.operands.len())
        .map(|index| target::app(context.typed.operand(index)?))
        .collect::<Result<_, _>>()?;
    run(context, word, &apps)
}

/// Calls `systemctl WORD` on the units of the apps.
pub(crate) fn run(context: &Context, word: &str, apps: &[AppName]) -> Result<Exit, Failure> {
    // The system's units and the user's have a manager each.
    let mut units: BTreeMap<bool, Vec<String>> = BTreeMap::new();
    for app in apps {
        let users_own = context.is_users_own(app);
        let found = units_of(app, users_own).map_err(|failure| failure.hint(instead(word, app.as_str())))?;
        if found.is_empty() {
            return Err(missing(context, word, app));
        }
        units.entry(users_own).or_default().extend(found);
    }
    let mut worst = Exit::Done;
    for (users_own, units) in units {
        let ended = call(context, word, users_own, &units).map_err(|error| {
            no_systemctl(&error).hint(instead(word, apps.first().map_or("APP", AppName::as_str)))
        })?;
        worst = if worst == Exit::Done { ended } else { worst };
    }
    Ok(worst)
}

/// Calls one manager's systemctl on units of its own.
fn call(context: &Context, word: &str, users_own: bool, units: &[String]) -> std::io::Result<Exit> {
    let now = context.typed.has(FlagId::Now);
    let mut command = systemctl(users_own);
    command.arg(word).args(now.then_some("--now")).arg("--").args(units);
    Ok(match told(command, context)? {
        (Some(0), _) => Exit::Done,
        // systemctl has said why.
        (Some(DENIED), _) => Exit::NotPermitted,
        (Some(NO_UNIT), _) => Exit::NotFound,
        (Some(_) | None, true) => Exit::NotPermitted,
        (Some(_) | None, false) => Exit::Failed,
    })
}

/// Runs systemctl and passes on what it tells; its exit status, and whether it said that the caller may not: the
/// status itself is then just 1.
fn told(mut command: Command, context: &Context) -> std::io::Result<(Option<i32>, bool)> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut denied = false;
    if let Some(errors) = child.stderr.take() {
        for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            denied |= SAYS_DENIED.iter().any(|words| line.contains(words));
            context.out.note(&line);
        }
    }
    Ok((child.wait()?.code(), denied))
}

fn systemctl(user_mode: bool) -> Command {
    let mut command = Command::new("systemctl");
    command.args(user_mode.then_some("--user"));
    command
}

/// The units of an app that systemd knows: the socket first, so that it is stopped and started before the
/// service.
fn units_of(app: &AppName, user_mode: bool) -> Result<Vec<String>, Failure> {
    let mut units = Vec::new();
    for unit in [format!("{app}.socket"), format!("{app}.service")] {
        let output = systemctl(user_mode)
            .args(["show", "--property=LoadState", "--value", "--", &unit])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| no_systemctl(&error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::new(Exit::Unreachable, format!("systemd does not answer: {said}")));
        }
        if output.stdout.trim_ascii() != b"not-found" {
            units.push(unit);
        }
    }
    Ok(units)
}

fn no_systemctl(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("cannot run systemctl: {error}"))
}

/// What does the same without systemd.
fn instead(word: &str, app: &str) -> String {
    match word {
        "start" | "enable" => format!("without systemd: ganger run {app}"),
        _ => "without systemd: Ctrl-C where ganger run was typed, or SIGTERM to its process".to_owned(),
    }
}

/// No unit: no such app, or systemd has not read its configuration yet, or somebody runs it by hand.
fn missing(context: &Context, word: &str, app: &AppName) -> Failure {
    let users_own = context.is_users_own(app);
    let found = Places::of_app(context.user_mode, app).apps().remove(app);
    let Some(found) = found else { return context.places().unknown(app) };
    if !found.configured {
        return Failure::new(Exit::NotFound, format!("{app} runs, but systemd has no unit of it"))
            .hint(instead(word, app.as_str()));
    }
    let user = if users_own { " --user" } else { "" };
    Failure::new(Exit::NotFound, format!("{app} has a configuration, but no unit"))
        .hint(format!("systemctl{user} daemon-reload makes units of new configurations"))
}
