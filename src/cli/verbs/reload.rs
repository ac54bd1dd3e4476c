//! `ganger reload APP`: what `ExecReload=` of a unit calls, and what a person types after a deploy.

use crate::cli::asking::{ROLLOUT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::target;
use crate::dbus::{Origin, Wish};

/// Asks for a reload and waits for its verdict.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let app = target::app(context.typed.operand(0)?)?;
    ask(context, &app, &Wish::Reload { origin: origin() }, ROLLOUT_DEADLINE)
}

/// systemd gives `$MAINPID` to what `ExecReload=` names (systemd.service(5)), and to nothing that a person
/// starts. The supervisor must know: it may not send `RELOADING=1` then.
fn origin() -> Origin {
    let by_manager = std::env::var_os("MAINPID").is_some() && std::env::var_os("INVOCATION_ID").is_some();
    if by_manager { Origin::ExecReload } else { Origin::Private }
}
