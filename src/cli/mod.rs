//! What a person types and reads.
//!
//! Words become an invocation ([`parse`]) by the one table of verbs and flags ([`flags`]); the invocation is
//! carried out by a verb ([`verbs`]); how it ends is an exit code ([`exit`]). Only [`print`] writes. What a pool
//! does is decided elsewhere: this room asks a supervisor over its private socket ([`supervisor`]), or calls
//! systemctl and journalctl where these do the work.

mod ansi;
mod asking;
mod charset;
mod complete;
mod context;
mod detach;
mod discover;
mod exit;
mod flags;
#[cfg(test)]
mod golden;
mod grammar;
mod help;
mod journal;
mod nearest;
mod parse;
mod print;
mod progress;
mod reader;
mod remote;
mod rescue;
mod rows;
mod screen;
mod state;
mod supervisor;
mod table;
mod target;
mod top;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use context::Context;
use exit::{Exit, Failure};
use grammar::{FlagId, VerbId};
use print::{ColorWhen, Printer};

use crate::pool::Command;

/// The program's entry.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let typed = parse::parse(words.clone()).and_then(|typed| Ok((typed.color()?, typed)));
    let (color, typed) = match typed {
        Ok(parsed) => parsed,
        Err(failure) => {
            Printer::of_this_process(ColorWhen::Auto).failure(&failure);
            return failure.exit.into();
        }
    };
    let out = Printer::of_this_process(color);
    let user_mode = typed.has(FlagId::User);
    let context = Context { typed, out, user_mode };
    let answered = answer(&context, &words);
    let unwritten = context.out.broken();
    if let Some(failure) = &unwritten {
        context.out.failure(failure);
    }
    match (answered, unwritten) {
        // A look that nobody could see is no success; a deed is one.
        (Ok(_), Some(failure)) if !context.typed.verb.is_some_and(|verb| changes(verb.id)) => {
            failure.exit.into()
        }
        (Ok(code), _) => code,
        (Err(failure), _) => {
            context.out.failure(&failure);
            failure.exit.into()
        }
    }
}

/// What needs no verb, then the verb, here or on another machine.
fn answer(context: &Context, words: &[OsString]) -> Result<ExitCode, Failure> {
    let typed = &context.typed;
    let look = context.out.look();
    if typed.has(FlagId::Help) {
        context.out.text(&typed.verb.map_or_else(|| help::overview(look), |verb| help::of_verb(verb, look)));
        return Ok(Exit::Done.into());
    }
    if typed.has(FlagId::Version) {
        return Ok(version(context).into());
    }
    let Some(verb) = typed.verb else {
        return Err(Failure::usage("a verb is missing").hint("ganger --help shows the verbs there are"));
    };
    if let Some(host) = typed.value(FlagId::Host) {
        return remote::run(host, words, matches!(verb.id, VerbId::Top));
    }
    dispatch(verb.id, context)
}

/// The exit code of these tells what was done.
const fn changes(verb: VerbId) -> bool {
    match verb {
        VerbId::Run
        | VerbId::Start
        | VerbId::Stop
        | VerbId::Enable
        | VerbId::Disable
        | VerbId::Reload
        | VerbId::Restart
        | VerbId::Scale
        | VerbId::Signal
        | VerbId::Send
        | VerbId::Reset => true,
        VerbId::List
        | VerbId::Status
        | VerbId::Top
        | VerbId::Logs
        | VerbId::Events
        | VerbId::Check
        | VerbId::Init
        | VerbId::Completions
        | VerbId::Complete
        | VerbId::Help
        | VerbId::Version => false,
    }
}

fn dispatch(verb: VerbId, context: &Context) -> Result<ExitCode, Failure> {
    let exit = match verb {
        VerbId::Run => return verbs::run::run(context),
        VerbId::List => verbs::list::run(context),
        VerbId::Status => verbs::status::run(context),
        VerbId::Top => verbs::top::run(context),
        VerbId::Logs => verbs::logs::run(context),
        VerbId::Events => verbs::events::run(context),
        VerbId::Start => verbs::slots::run(context, "start", |slot| Command::StartSlot { slot }),
        VerbId::Stop => verbs::slots::run(context, "stop", |slot| Command::StopSlot { slot }),
        VerbId::Enable => verbs::units::run_typed(context, "enable"),
        VerbId::Disable => verbs::units::run_typed(context, "disable"),
        VerbId::Reload => verbs::reload::run(context),
        VerbId::Restart => verbs::restart::run(context),
        VerbId::Scale => verbs::scale::run(context),
        VerbId::Signal => verbs::signal::run(context),
        VerbId::Send => verbs::send::run(context),
        VerbId::Reset => verbs::reset::run(context),
        VerbId::Check => verbs::check::run(context),
        VerbId::Init => verbs::init::run(context),
        VerbId::Completions => verbs::completions::run(context),
        VerbId::Complete => Ok(verbs::completions::complete(context)),
        VerbId::Help => help_on(context),
        VerbId::Version => Ok(version(context)),
    };
    exit.map(ExitCode::from)
}

fn help_on(context: &Context) -> Result<Exit, Failure> {
    let look = context.out.look();
    let Some(word) = context.typed.operands.first() else {
        context.out.text(&help::overview(look));
        return Ok(Exit::Done);
    };
    let verb = parse::verb_named(word)?;
    context.out.text(&help::of_verb(verb, look));
    Ok(Exit::Done)
}

fn version(context: &Context) -> Exit {
    context.out.line(concat!("ganger ", env!("CARGO_PKG_VERSION")));
    Exit::Done
}
