//! `ganger reset APP[:SLOT]`: failures are forgotten, slots that wait start at once.

use crate::cli::asking::{PROMPT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::target;
use crate::dbus::Wish;
use crate::pool::{Command, Slot};

/// Asks for it and waits for the verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let target = target::app_slot(context.typed.operand(0)?)?;
    ask(context, &target.app, &Wish::Command(Command::Reset { slot: target.slot.map(Slot) }), PROMPT_DEADLINE)
}
