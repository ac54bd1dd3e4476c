//! `ganger check FILE|APP`: every error of a configuration at once, or the configuration as it counts.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Checks one configuration.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let _ = super::run::target(context.typed.operand(0)?)?;
    Err(Failure::new(Exit::Failed, "not yet"))
}
