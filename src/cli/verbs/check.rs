//! `ganger check FILE|APP`: every error of a configuration at once, or the configuration as it counts.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::discover::config_dirs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::grammar::FlagId;
use crate::cli::print::{Style, harmless};
use crate::cli::table::{Column, Table};
use crate::config::{Diagnostics, Flags, Loaded, Request, Severity, Subject, load};
use crate::os::users;

/// Checks one configuration.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let Some(operand) = context.typed.operands.first() else {
        return Err(Failure::usage("check needs APP|FILE"));
    };
    let subject = Subject::from_arg(operand).map_err(|error| {
        let operand = harmless(&operand.to_string_lossy());
        Failure::usage(format!("\"{operand}\" is no app and no file: expected {error}"))
    })?;
    let cpus = std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
    let request = Request {
        subject,
        dirs: config_dirs(context.user_mode),
        profile: context.typed.text(FlagId::Profile)?,
        cpus: cpus.unwrap_or(1),
        flags: Flags::default(),
    };
    Ok(match load(&request) {
        Ok(loaded) => accept(context, &with_users(loaded)),
        Err(diagnostics) => refuse(context, &diagnostics),
    })
}

/// Warns of a user and a group that this machine does not have: the file may be meant for another.
fn with_users(mut loaded: Loaded) -> Loaded {
    let command = loaded.plan.command.clone();
    let (user, group) = (command.user.as_deref(), command.group.as_deref());
    // A user without an entry may have a group that is named.
    let of_user = users::resolve(user, group.map(|_| "0"));
    for (key, found) in [("user", of_user), ("group", users::resolve(None, group))] {
        let Err(error) = found else { continue };
        let place = loaded.effective().iter().find(|it| it.key == key).map(|it| it.origin.clone());
        let hint = "no worker can be started before that is mended";
        loaded.warnings.warn(&place.unwrap_or_default(), format!("failed to {error}"), hint);
    }
    loaded
}

fn accept(context: &Context, loaded: &Loaded) -> Exit {
    let print = context.typed.has(FlagId::Print);
    if context.json() {
        let keys = loaded.effective().iter().map(|key| Key {
            key: &key.key,
            value: &key.value,
            origin: &key.origin,
        });
        let keys = print.then(|| keys.collect());
        let app = Some(loaded.plan.app.as_str());
        context.out.json(&Checked { ok: true, app, faults: faults(&loaded.warnings), keys }, true);
        return Exit::Done;
    }
    tell(context, &loaded.warnings);
    if print {
        context.out.text(&effective(context, loaded));
    } else {
        let files: Vec<String> = loaded.files.iter().map(|path| harmless(&path.to_string_lossy())).collect();
        let word = Style::Good.paint("ok", context.out.look().color);
        let workers = match loaded.plan.workers {
            1 => "1 worker".to_owned(),
            count => format!("{count} workers"),
        };
        context.out.line(&format!("{}: {word}, {workers} ({})", loaded.plan.app, files.join(", ")));
    }
    Exit::Done
}

fn refuse(context: &Context, diagnostics: &Diagnostics) -> Exit {
    let exit = if diagnostics.is_not_found() { Exit::NotFound } else { Exit::Usage };
    if context.json() {
        context.out.json(&Checked { ok: false, app: None, faults: faults(diagnostics), keys: None }, true);
        return exit;
    }
    tell(context, diagnostics);
    let errors = diagnostics.iter().filter(|fault| fault.severity == Severity::Error).count();
    context.out.failure(&Failure::new(
        exit,
        match errors {
            1 => "1 error".to_owned(),
            count => format!("{count} errors"),
        },
    ));
    exit
}

/// Diagnostics go to standard error, as a compiler's do.
fn tell(context: &Context, diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        context.out.note(diagnostics.render(context.out.error_color()).trim_end_matches('\n'));
    }
}

/// Every key with its value and where that comes from.
fn effective(context: &Context, loaded: &Loaded) -> String {
    let mut table = Table::new(vec![Column::text("KEY"), Column::text("VALUE"), Column::text("FROM")]);
    for key in loaded.effective() {
        table.row(vec![key.key.as_str().into(), key.value.as_str().into(), key.origin.as_str().into()]);
    }
    table.render(context.out.look())
}

/// The shape of `check --json`.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    ok: bool,
    app: Option<&'a str>,
    faults: Vec<Fault<'a>>,
    /// With `--print`.
    keys: Option<Vec<Key<'a>>>,
}

#[derive(Debug, Serialize)]
struct Fault<'a> {
    severity: &'static str,
    place: &'a str,
    message: &'a str,
    expected: Option<&'a str>,
    hint: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Key<'a> {
    key: &'a str,
    value: &'a str,
    origin: &'a str,
}

fn faults<'a>(diagnostics: &'a Diagnostics) -> Vec<Fault<'a>> {
    let fault = |fault: &'a crate::config::Diagnostic| {
        let crate::config::Diagnostic { severity, place, message, expected, hint, .. } = fault;
        Fault {
            severity: match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            place,
            message,
            expected: expected.as_deref(),
            hint: hint.as_deref(),
        }
    };
    diagnostics.iter().map(fault).collect()
}
