//! `ganger scale APP N|+N|-N`: more or fewer workers.

use crate::cli::asking::{ROLLOUT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::harmless;
use crate::cli::target;
use crate::dbus::Wish;
use crate::plan::MAX_WORKERS;
use crate::pool::{Command, ScaleTo};

/// Asks for it and waits for the verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let app = target::app(context.typed.operand(0)?)?;
    let to = scale_to(context.typed.operand(1)?)?;
    ask(context, &app, &Wish::Command(Command::Scale { to }), ROLLOUT_DEADLINE)
}

fn scale_to(text: &str) -> Result<ScaleTo, Failure> {
    let (digits, make): (&str, fn(u32) -> ScaleTo) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(digits), _) => (digits, ScaleTo::Up),
        (None, Some(digits)) => (digits, ScaleTo::Down),
        (None, None) => (text, ScaleTo::Exactly),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u32>().ok().filter(|number| plain && *number <= MAX_WORKERS);
    number.map(make).ok_or_else(|| {
        let text = harmless(text);
        Failure::usage(format!(
            "\"{text}\" is no number of workers: expected 4, +2 or -1, at most {MAX_WORKERS}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_be_absolute_or_relative() {
        assert_eq!(scale_to("4"), Ok(ScaleTo::Exactly(4)));
        assert_eq!(scale_to("+2"), Ok(ScaleTo::Up(2)));
        assert_eq!(scale_to("-1"), Ok(ScaleTo::Down(1)));
    }

    #[test]
    fn other_texts_are_no_numbers_of_workers() {
        for text in ["", "+", "-", "++1", "-+1", "4.5", "max", "4097", "99999999999"] {
            assert!(scale_to(text).is_err(), "{text}");
        }
    }
}
