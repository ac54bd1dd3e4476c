//! `ganger start` and `ganger stop`: a whole app is a pair of units, and systemctl's; one slot of it is the supervisor's.

use super::units;
use crate::cli::asking::{ROLLOUT_DEADLINE, ask};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::flags::OF_A_VERDICT;
use crate::cli::target::{self, AppSlot};
use crate::dbus::Wish;
use crate::plan::AppName;
use crate::pool::{Command, Slot};

/// What was named.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Apps(Vec<AppName>),
    Slots(Vec<(AppName, Slot)>),
}

/// Calls `systemctl WORD` on whole apps, or asks for `command` of each slot, one after the other; the first that is not
/// done ends it.
pub(crate) fn run(context: &Context, word: &str, command: fn(Slot) -> Command) -> Result<Exit, Failure> {
    let targets: Vec<AppSlot> = (0..context.typed.operands.len())
        .map(|index| target::app_slot(context.typed.operand(index)?))
        .collect::<Result<_, _>>()?;
    let slots = match named(targets)? {
        Named::Slots(slots) => slots,
        Named::Apps(apps) => {
            if let Some(flag) = OF_A_VERDICT.iter().find(|flag| context.typed.has(flag.id)) {
                let message = format!("--{} is for slots, whose verdict ganger tells", flag.long);
                return Err(Failure::usage(message).hint("a whole app is systemctl's to start and to stop"));
            }
            return units::run(context, word, &apps);
        }
    };
    for (asked, (app, slot)) in (1..).zip(&slots) {
        let exit = ask(context, app, &Wish::Command(command(*slot)), ROLLOUT_DEADLINE);
        if !matches!(exit, Ok(Exit::Done)) {
            let left: Vec<String> =
                slots.iter().skip(asked).map(|(app, slot)| format!("{app}:{slot}")).collect();
            if !left.is_empty() {
                context.out.note(&format!("ganger: no {word} was asked for {}", left.join(", ")));
            }
            return exit;
        }
    }
    Ok(Exit::Done)
}

/// Whole apps or slots: both at once would be two commands with one exit code.
fn named(targets: Vec<AppSlot>) -> Result<Named, Failure> {
    let (mut apps, mut slots) = (Vec::new(), Vec::new());
    for AppSlot { app, slot } in targets {
        match slot {
            Some(slot) => slots.push((app, Slot(slot))),
            None => apps.push(app),
        }
    }
    match (apps.is_empty(), slots.is_empty()) {
        (_, true) => Ok(Named::Apps(apps)),
        (true, false) => Ok(Named::Slots(slots)),
        (false, false) => Err(Failure::usage("expected whole apps or slots of apps, not both")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(words: &str) -> Result<Named, Failure> {
        super::named(words.split(' ').map(|word| target::app_slot(word).unwrap()).collect())
    }

    #[test]
    fn whole_apps_are_systemctls_and_slots_the_supervisors() {
        let app = |name| AppName::new(name).unwrap();
        assert_eq!(named("api web.service").unwrap(), Named::Apps(vec![app("api"), app("web")]));
        let slots = vec![(app("api"), Slot(0)), (app("web"), Slot(3))];
        assert_eq!(named("api:0 web:3").unwrap(), Named::Slots(slots));
        assert_eq!(named("api web:3").unwrap_err().exit, Exit::Usage);
    }
}
