//! `ganger logs APP[:SLOT]`: becomes journalctl with the right matches.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cli::complete;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::grammar::FlagId;
use crate::cli::journal;
use crate::cli::parse::Typed;
use crate::cli::target::{self, AppSlot};

/// Becomes journalctl; returns only when that is impossible.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let target = target::app_slot(context.typed.operand(0)?)?;
    let users_own = context.is_users_own(&target.app);
    let app = AppSlot { app: target.app.clone(), slot: None };
    if !context.knows(&target.app) && !has_logs(&app, users_own) {
        return Err(context.places().unknown(&target.app));
    }
    if let Some(slot) = target.slot {
        has_slot(context, &target, slot)?;
    }
    context.out.check()?;
    let error = Command::new("journalctl").args(words(&context.typed, &target, users_own)?).exec();
    Err(Failure::new(Exit::Failed, format!("cannot run journalctl: {error}"))
        .hint("without systemd, an app writes to the terminal that it was started on"))
}

/// An app that runs says which slots it has; of one that it had, lines may be there still.
fn has_slot(context: &Context, target: &AppSlot, slot: u32) -> Result<(), Failure> {
    let app = &target.app;
    let slots = complete::slots(context.user_mode, app.as_str());
    let (Some(first), Some(last)) = (slots.iter().min(), slots.iter().max()) else { return Ok(()) };
    if slots.contains(&slot) || has_logs(target, context.is_users_own(app)) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NotFound,
        format!("there is no slot {slot} of {app}, and the journal has no lines of one"),
    )
    .hint(format!("the slots are {first} to {last}")))
}

/// The app may have been removed since, or the slot, and the lines be there still.
fn has_logs(target: &AppSlot, user_mode: bool) -> bool {
    let mut command = Command::new("journalctl");
    command
        .args(["--quiet", "--no-pager", "--output=cat", "--lines=1"])
        .args(journal::matches(target, user_mode));
    command.output().is_ok_and(|output| !output.stdout.is_empty())
}

fn words(typed: &Typed, target: &AppSlot, user_mode: bool) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    if typed.has(FlagId::Follow) {
        words.push("--follow".to_owned());
    }
    if let Some(lines) = typed.text(FlagId::Lines)? {
        if lines != "all" && lines.parse::<u32>().is_err() {
            return Err(Failure::usage(format!("--lines expects a number or all, not \"{lines}\"")));
        }
        words.push(format!("--lines={lines}"));
    }
    for (flag, name) in [(FlagId::Since, "since"), (FlagId::Until, "until")] {
        words.extend(typed.text(flag)?.map(|time| format!("--{name}={time}")));
    }
    if typed.has(FlagId::Json) {
        words.extend(["--output=json".to_owned(), "--no-pager".to_owned()]);
    }
    words.extend(journal::matches(target, user_mode));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::parse;
    use std::ffi::OsString;

    fn journalctl(line: &str) -> Result<Vec<String>, Failure> {
        let typed = parse(line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap();
        let target = target::app_slot(typed.operand(0).unwrap()).unwrap();
        words(&typed, &target, false)
    }

    #[test]
    fn flags_become_those_of_journalctl() {
        let words = journalctl("logs -f -n 20 --since=-1h --json api").unwrap();
        let expected =
            ["--follow", "--lines=20", "--since=-1h", "--output=json", "--no-pager", "--unit=api.service"];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_number_of_lines_is_checked_before_journalctl_sees_it() {
        assert!(journalctl("logs api -n all").is_ok());
        assert!(journalctl("logs api -n many").is_err());
    }
}
