//! `ganger signal APP[:SLOT] SIGNAL`: a signal to the main process of each worker, or of one.

use crate::cli::asking::{PROMPT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::harmless;
use crate::cli::target;
use crate::dbus::Wish;
use crate::os::signals;
use crate::pool::{Command, Slot};

/// Asks for it and waits for the verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let target = target::app_slot(context.typed.operand(0)?)?;
    let text = context.typed.operand(1)?;
    let signal = signals::parse(text).ok_or_else(|| {
        Failure::usage(format!(
            "\"{}\" is no signal: expected a name or a number, as HUP or 1",
            harmless(text)
        ))
    })?;
    ask(
        context,
        &target.app,
        &Wish::Command(Command::Signal { slot: target.slot.map(Slot), signal }),
        PROMPT_DEADLINE,
    )
}
