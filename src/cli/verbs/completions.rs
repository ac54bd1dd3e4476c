//! `ganger completions SHELL`, and the hidden verb that the scripts call.

use crate::cli::complete;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::flags::SHELLS;
use crate::cli::nearest::nearest;
use crate::cli::print::harmless;

/// Prints the script for a shell.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let shell = context.typed.operand(0)?;
    let Some(script) = complete::script(shell) else {
        let failure = Failure::usage(format!("there are no completions for \"{}\"", harmless(shell)));
        return Err(match nearest(shell, SHELLS.iter().copied()) {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure.hint(format!("shells are: {}", SHELLS.join(", "))),
        });
    };
    context.out.text(script);
    Ok(Exit::Done)
}

/// Prints what the last word can be completed to, a line each; always succeeds.
pub(crate) fn complete(context: &Context) -> Exit {
    let words: Vec<String> =
        context.typed.trailing.iter().flatten().map(|word| word.to_string_lossy().into_owned()).collect();
    let user_mode = words.iter().any(|word| word == "--user");
    let live =
        complete::Live { apps: &|| complete::apps(user_mode), slots: &|app| complete::slots(user_mode, app) };
    for candidate in complete::candidates(&words, &live) {
        context.out.line(&candidate.to_string());
    }
    Exit::Done
}
