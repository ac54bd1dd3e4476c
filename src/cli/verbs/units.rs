//! `ganger start`, `stop`, `enable` and `disable`: thin words for systemctl, which know that an app is two units.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::grammar::FlagId;
use crate::cli::target;
use crate::plan::AppName;

/// systemctl's exit statuses for "not permitted" and "no such unit" (systemctl(1)).
const DENIED: i32 = 4;
const NO_UNIT: i32 = 5;
/// What the manager's refusals say (sd-bus-errors(3)); they are not translated.
const SAYS_DENIED: [&str; 3] = ["Interactive authentication required", "Access denied", "Permission denied"];

/// Calls `systemctl WORD` on the units of the apps.
pub(crate) fn run(context: &Context, word: &str) -> Result<Exit, Failure> {
    let apps: Vec<AppName> = (0..context.typed.operands.len())
        .map(|index| target::app(context.typed.operand(index)?))
        .collect::<Result<_, _>>()?;
    let mut units = Vec::new();
    for app in &apps {
        let found =
            units_of(app, context.user_mode).map_err(|failure| failure.hint(instead(word, app.as_str())))?;
        if found.is_empty() {
            return Err(missing(context, word, app));
        }
        units.extend(found);
    }
    let now = context.typed.has(FlagId::Now);
    let mut command = systemctl(context.user_mode);
    command.arg(word).args(now.then_some("--now")).arg("--").args(&units);
    let (code, denied) = told(command, context).map_err(|error| {
        no_systemctl(&error).hint(instead(word, apps.first().map_or("APP", AppName::as_str)))
    })?;
    match code {
        Some(0) => Ok(Exit::Done),
        // systemctl has said why.
        Some(DENIED) => Ok(Exit::NotPermitted),
        Some(NO_UNIT) => Ok(Exit::NotFound),
        Some(_) | None if denied => Ok(Exit::NotPermitted),
        Some(_) | None => Ok(Exit::Failed),
    }
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
    let places = context.places();
    let Some(found) = places.apps().remove(app) else { return places.unknown(app) };
    if !found.configured {
        return Failure::new(Exit::NotFound, format!("{app} runs, but systemd has no unit of it"))
            .hint(instead(word, app.as_str()));
    }
    let user = if context.user_mode { " --user" } else { "" };
    Failure::new(Exit::NotFound, format!("{app} has a configuration, but no unit"))
        .hint(format!("systemctl{user} daemon-reload makes units of new configurations"))
}
