//! `ganger signal APP[:SLOT] SIGNAL`: a signal to the main process of each worker, or of one.

use nix::sys::signal::Signal;

use crate::cli::asking::{PROMPT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::harmless;
use crate::cli::supervisor::Wish;
use crate::cli::target;

/// Asks for it and waits for the verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let target = target::app_slot(context.typed.operand(0)?)?;
    let text = context.typed.operand(1)?;
    let signal = number(text).ok_or_else(|| {
        Failure::usage(format!(
            "\"{}\" is no signal: expected a name or a number, as HUP or 1",
            harmless(text)
        ))
    })?;
    ask(context, &target.app, Wish::Signal { slot: target.slot, signal }, PROMPT_DEADLINE)
}

fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    name.parse::<Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        for (text, wanted) in
            [("HUP", Some(1)), ("sigusr2", Some(12)), ("9", Some(9)), ("0", None), ("FOO", None)]
        {
            assert_eq!(number(text), wanted, "{text}");
        }
    }
}
