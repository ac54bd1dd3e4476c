//! What a method call wishes: its arguments, checked, as a [`Wish`]. It decides neither who may call nor what
//! comes of it.

use std::str::FromStr;

use nix::sys::signal::Signal;
use zbus::Message;

use super::access::{ACCESS_DENIED, Action};
use super::members::Object;
use super::{MAX_JSON_BYTES, Origin, Wish};
use crate::pool::{Command, ScaleTo, Slot};

pub(super) const INVALID_ARGS: &str = "org.freedesktop.DBus.Error.InvalidArgs";
/// The answer to one wish too many.
pub(super) const LIMITS_EXCEEDED: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
pub(super) const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";

/// Why a call is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }

    /// Something that should have worked did not.
    pub(super) fn broken(error: impl std::fmt::Display) -> Self {
        Self::new("org.freedesktop.DBus.Error.Failed", error.to_string())
    }
}

/// Reads the arguments of `member`, a method that changes something, and says which permission it needs.
/// `door` is how it came in.
pub(super) fn wish(
    object: Object,
    member: &str,
    call: &Message,
    door: Origin,
) -> Result<(Wish, Action), Fault> {
    let own = match object {
        Object::Worker(slot) => Some(slot),
        Object::App | Object::Way(_) => None,
    };
    let slot_and_text = || -> Result<(Option<Slot>, String), Fault> {
        if own.is_some() {
            return Ok((own, arguments::<String>(call)?));
        }
        let (number, text) = arguments::<(i32, String)>(call)?;
        Ok((slot(number)?, text))
    };
    let only_slot = || -> Result<Option<Slot>, Fault> {
        if own.is_some() {
            return no_arguments(call).map(|()| own);
        }
        slot(arguments::<i32>(call)?)
    };
    let command = |command, action| (Wish::Command(command), action);
    if let ("Start", Some(slot)) = (member, own) {
        return no_arguments(call).map(|()| command(Command::StartSlot { slot }, Action::Manage));
    }
    Ok(match member {
        "Reload" => {
            no_arguments(call)?;
            (Wish::Reload { origin: door }, Action::Reload)
        }
        "ReloadByManager" => {
            no_arguments(call)?;
            if door != Origin::Private {
                return Err(Fault::new(
                    ACCESS_DENIED,
                    "only ExecReload= of ganger's unit may ask in this way",
                ));
            }
            (Wish::Reload { origin: Origin::ExecReload }, Action::Reload)
        }
        "Restart" => command(Command::Restart { slot: only_slot()? }, Action::Manage),
        "Scale" => command(Command::Scale { to: scale(&arguments::<String>(call)?)? }, Action::Manage),
        "Reset" => command(Command::Reset { slot: only_slot()? }, Action::Manage),
        "StartSlot" => command(Command::StartSlot { slot: Slot(arguments::<u32>(call)?) }, Action::Manage),
        "StopSlot" => command(Command::StopSlot { slot: Slot(arguments::<u32>(call)?) }, Action::Manage),
        "Stop" => {
            no_arguments(call)?;
            // At a slot's object only that slot is meant.
            command(own.map_or(Command::Stop, |slot| Command::StopSlot { slot }), Action::Manage)
        }
        "Signal" => {
            let (slot, name) = slot_and_text()?;
            command(Command::Signal { slot, signal: signal(&name)? }, Action::Signal)
        }
        "Send" => {
            let (slot, json) = slot_and_text()?;
            if json.len() > MAX_JSON_BYTES {
                return Err(Fault::new(LIMITS_EXCEEDED, format!("a message of over {MAX_JSON_BYTES} bytes")));
            }
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&json) {
                return Err(Fault::new(INVALID_ARGS, format!("expected a JSON value: {error}")));
            }
            (Wish::Send { slot, json }, Action::Signal)
        }
        _ => return Err(Fault::new(UNKNOWN_METHOD, format!("there is no method {member}"))),
    })
}

fn no_arguments(call: &Message) -> Result<(), Fault> {
    if call.body().is_empty() { Ok(()) } else { Err(Fault::new(INVALID_ARGS, "expected no argument")) }
}

/// The call's arguments as `T`.
pub(super) fn arguments<T>(call: &Message) -> Result<T, Fault>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
    let body = call.body();
    let expected = T::SIGNATURE.to_string_no_parens();
    if body.signature().to_string_no_parens() != expected {
        return Err(Fault::new(INVALID_ARGS, format!("expected arguments of type \"{expected}\"")));
    }
    body.deserialize::<T>().map_err(|error| Fault::new(INVALID_ARGS, error.to_string()))
}

/// -1 is every slot.
fn slot(number: i32) -> Result<Option<Slot>, Fault> {
    match u32::try_from(number) {
        Ok(number) => Ok(Some(Slot(number))),
        Err(_) if number == -1 => Ok(None),
        Err(_) => Err(Fault::new(INVALID_ARGS, format!("expected a slot, or -1 for all, not {number}"))),
    }
}

/// `4`, `+1`, `-1`.
fn scale(text: &str) -> Result<ScaleTo, Fault> {
    let (make, digits): (fn(u32) -> ScaleTo, &str) = match text.as_bytes() {
        [b'+', ..] => (ScaleTo::Up, text.trim_start_matches('+')),
        [b'-', ..] => (ScaleTo::Down, text.trim_start_matches('-')),
        _ => (ScaleTo::Exactly, text),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .filter(|_| text.len() - digits.len() <= 1)
        .and_then(|number| number.parse().ok())
        .map(make)
        .ok_or_else(|| Fault::new(INVALID_ARGS, "expected a number of workers such as 4, +1 or -1"))
}

/// `HUP`, `SIGHUP`, `1`, `RTMIN+3` (signal(7)).
fn signal(text: &str) -> Result<i32, Fault> {
    let expected = || Fault::new(INVALID_ARGS, "expected a signal such as HUP, SIGUSR2, RTMIN+1 or 10");
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let (first, last) = (nix::libc::SIGRTMIN(), nix::libc::SIGRTMAX());
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset: i32 = if rest.is_empty() { Ok(0) } else { rest.parse() }.map_err(|_| expected())?;
        offset.checked_add(first).filter(|number| (first..=last).contains(number))
    } else if let Ok(number) = name.parse::<i32>() {
        (1..=last).contains(&number).then_some(number)
    } else {
        Signal::from_str(&format!("SIG{name}")).ok().map(|signal| signal as i32)
    };
    number.ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(member: &str, body: &(impl serde::Serialize + zbus::DynamicType)) -> Message {
        Message::method_call("/org/ganger1", member).unwrap_build(body)
    }

    trait UnwrapBuild {
        fn unwrap_build(self, body: &(impl serde::Serialize + zbus::DynamicType)) -> Message;
    }

    impl UnwrapBuild for zbus::message::Builder<'_> {
        fn unwrap_build(self, body: &(impl serde::Serialize + zbus::DynamicType)) -> Message {
            self.build(body).unwrap()
        }
    }

    #[test]
    fn the_number_of_workers_is_absolute_or_relative() {
        for (text, to) in [("4", ScaleTo::Exactly(4)), ("+2", ScaleTo::Up(2)), ("-1", ScaleTo::Down(1))] {
            assert_eq!(scale(text), Ok(to));
        }
        for bad in ["", "+", "-", "--1", "+-1", "4x", " 4", "99999999999", "٣"] {
            assert!(scale(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn a_signal_is_a_name_or_a_number() {
        for (text, number) in [("HUP", 1), ("SIGUSR2", 12), ("sigterm", 15), ("9", 9), ("RTMIN", 34)] {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for bad in ["", "0", "65", "-1", "SIG", "NOPE", "RTMIN+99", "RTMIN+2147483647"] {
            assert!(signal(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn each_method_asks_for_its_own_permission() {
        let calls = [
            ("Reload", call("Reload", &()), Action::Reload),
            ("Restart", call("Restart", &-1i32), Action::Manage),
            ("Scale", call("Scale", &"+1"), Action::Manage),
            ("Reset", call("Reset", &-1i32), Action::Manage),
            ("Stop", call("Stop", &()), Action::Manage),
            ("StartSlot", call("StartSlot", &0u32), Action::Manage),
            ("StopSlot", call("StopSlot", &0u32), Action::Manage),
            ("Signal", call("Signal", &(-1i32, "HUP")), Action::Signal),
            ("Send", call("Send", &(-1i32, "1")), Action::Signal),
        ];
        for (member, call, action) in calls {
            let asked = wish(Object::App, member, &call, Origin::Bus).map(|(_, action)| action);
            assert_eq!(asked, Ok(action), "{member}");
        }
    }

    #[test]
    fn a_slots_own_object_takes_no_slot_as_an_argument() {
        let on =
            |object, call: &Message, member| wish(object, member, call, Origin::Bus).map(|(wish, _)| wish);
        let restart = |slot| Ok(Wish::Command(Command::Restart { slot }));
        assert_eq!(on(Object::App, &call("Restart", &-1i32), "Restart"), restart(None));
        assert_eq!(on(Object::App, &call("Restart", &3i32), "Restart"), restart(Some(Slot(3))));
        assert_eq!(on(Object::Worker(Slot(2)), &call("Restart", &()), "Restart"), restart(Some(Slot(2))));
        assert!(on(Object::App, &call("Restart", &()), "Restart").is_err());
        assert!(on(Object::App, &call("Restart", &-2i32), "Restart").is_err());
        assert!(on(Object::Worker(Slot(2)), &call("Restart", &1i32), "Restart").is_err());
    }

    #[test]
    fn a_slot_is_stopped_at_its_own_object_and_the_pool_only_at_the_apps() {
        let on = |object, call: &Message, member| {
            wish(object, member, call, Origin::Bus).map(|(wish, action)| {
                assert_eq!(action, Action::Manage, "{member}");
                wish
            })
        };
        let slot = Slot(2);
        let stop_slot = Ok(Wish::Command(Command::StopSlot { slot }));
        assert_eq!(on(Object::Worker(slot), &call("Stop", &()), "Stop"), stop_slot);
        assert_eq!(on(Object::App, &call("StopSlot", &2u32), "StopSlot"), stop_slot);
        let start_slot = Ok(Wish::Command(Command::StartSlot { slot }));
        assert_eq!(on(Object::Worker(slot), &call("Start", &()), "Start"), start_slot);
        assert_eq!(on(Object::App, &call("StartSlot", &2u32), "StartSlot"), start_slot);
        assert_eq!(on(Object::App, &call("Stop", &()), "Stop"), Ok(Wish::Command(Command::Stop)));
        for (member, call) in [("StopSlot", call("StopSlot", &-1i32)), ("Stop", call("Stop", &2u32))] {
            assert!(on(Object::App, &call, member).is_err(), "{member}");
            assert!(on(Object::Worker(slot), &call, member).is_err(), "{member}");
        }
    }

    #[test]
    fn arguments_of_another_type_are_refused_for_every_method() {
        let methods = ["Reload", "ReloadByManager", "Restart", "Scale", "Signal", "Reset", "Send", "Stop"];
        for member in methods.into_iter().chain(["StartSlot", "StopSlot"]) {
            let odd = call(member, &(1u8, vec!["x"], 2.5f64));
            let fault = wish(Object::App, member, &odd, Origin::Private).unwrap_err();
            assert_eq!(fault.name, INVALID_ARGS, "{member}");
        }
    }

    #[test]
    fn a_message_for_a_worker_must_be_json_and_short() {
        let send = |json: &str| wish(Object::App, "Send", &call("Send", &(0i32, json)), Origin::Bus);
        assert!(send("{\"a\": [1, null]}").is_ok());
        assert_eq!(send("{").unwrap_err().name, INVALID_ARGS);
        assert_eq!(send(&"[".repeat(10_000)).unwrap_err().name, INVALID_ARGS);
        assert_eq!(send(&"1".repeat(MAX_JSON_BYTES + 1)).unwrap_err().name, LIMITS_EXCEEDED);
    }

    #[test]
    fn only_the_private_socket_takes_the_managers_reload() {
        let reload = |door| wish(Object::App, "ReloadByManager", &call("ReloadByManager", &()), door);
        let wish = reload(Origin::Private).map(|(wish, _)| wish);
        assert_eq!(wish, Ok(Wish::Reload { origin: Origin::ExecReload }));
        assert_eq!(reload(Origin::Bus).unwrap_err().name, ACCESS_DENIED);
    }
}
