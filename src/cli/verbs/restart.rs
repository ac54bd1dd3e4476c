//! `ganger restart APP[:SLOT]`: fresh workers of the same configuration, one by one.

use crate::cli::asking::{ROLLOUT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::target;
use crate::dbus::Wish;
use crate::pool::{Command, Slot};

/// Asks for a restart and waits for its verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let target = target::app_slot(context.typed.operand(0)?)?;
    ask(
        context,
        &target.app,
        &Wish::Command(Command::Restart { slot: target.slot.map(Slot) }),
        ROLLOUT_DEADLINE,
    )
}
