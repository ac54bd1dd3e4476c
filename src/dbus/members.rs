//! Every member of `org.ganger1` as a table: introspection, `GetAll`, the differences that are told and the
//! check of the man page are made of it. It decides names and types, not values.

/// How a property's change is told (`org.freedesktop.DBus.Property.EmitsChangedSignal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It never changes.
    Never,
    /// With the new value.
    Value,
    /// Without the value, which is long.
    Stale,
    /// Not at all.
    Not,
    /// Not at all: it changes all the time, and is looked at when it is asked for.
    Measured,
}

/// A name and a type signature.
pub(super) type Typed = (&'static str, &'static str);

/// A method.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) takes: &'static [Typed],
    pub(super) gives: &'static [Typed],
}

/// A property; all can only be read.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) signature: &'static str,
    pub(super) told: Told,
}

/// A signal.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) name: &'static str,
    pub(super) carries: &'static [Typed],
}

/// An interface.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: &'static str,
    pub(super) methods: &'static [Method],
    pub(super) properties: &'static [Property],
    pub(super) signals: &'static [Signal],
}

const fn method(name: &'static str, takes: &'static [Typed], gives: &'static [Typed]) -> Method {
    Method { name, takes, gives }
}

const fn property(name: &'static str, signature: &'static str, told: Told) -> Property {
    Property { name, signature, told }
}

const fn signal(name: &'static str, carries: &'static [Typed]) -> Signal {
    Signal { name, carries }
}

/// The name of the app's interface.
pub(super) const APP_NAME: &str = "org.ganger1.App";
/// The name of a slot's interface.
pub(super) const WORKER_NAME: &str = "org.ganger1.Worker";
/// The app's object.
pub(super) const APP_PATH: &str = "/org/ganger1";
/// What every slot's object is below.
pub(super) const WORKER_PATH: &str = "/org/ganger1/worker";

/// What every method that changes something returns.
pub(super) const VERDICT: &[Typed] =
    &[("outcome", "s"), ("message", "s"), ("generation", "t"), ("failure", "a{sv}")];
/// Which slot a method is about; -1 for all.
const SLOT: Typed = ("slot", "i");

/// The one slot that a method is about.
const ONE_SLOT: Typed = ("slot", "u");

/// `org.ganger1.App`.
pub(super) static APP: Interface = Interface {
    name: APP_NAME,
    methods: &[
        method("Reload", &[], VERDICT),
        method("ReloadByManager", &[], VERDICT),
        method("Restart", &[SLOT], VERDICT),
        method("Scale", &[("workers", "s")], VERDICT),
        method("Signal", &[SLOT, ("signal", "s")], VERDICT),
        method("Reset", &[SLOT], VERDICT),
        method("Send", &[SLOT, ("json", "s")], VERDICT),
        method("StartSlot", &[ONE_SLOT], VERDICT),
        method("StopSlot", &[ONE_SLOT], VERDICT),
        method("Stop", &[], VERDICT),
    ],
    properties: &[
        property("Name", "s", Told::Never),
        property("Version", "s", Told::Never),
        property("MainPID", "u", Told::Never),
        property("Listeners", "a(ss)", Told::Never),
        property("AcceptQueues", "a(ssuu)", Told::Measured),
        property("SinceUSec", "t", Told::Never),
        property("State", "s", Told::Value),
        property("Status", "s", Told::Value),
        property("Generation", "t", Told::Value),
        property("Wanted", "u", Told::Value),
        property("Ready", "u", Told::Value),
        property("Restarts", "t", Told::Value),
        property("Reloading", "a{sv}", Told::Value),
        property("LastReload", "a{sv}", Told::Value),
        property("Slots", "aa{sv}", Told::Stale),
        property("Workers", "aa{sv}", Told::Stale),
        property("MissedSignals", "t", Told::Not),
    ],
    signals: &[
        signal("PoolReady", &[]),
        signal("WorkerStarted", WORKER_ARGS),
        signal(
            "WorkerReady",
            &[("slot", "u"), ("generation", "t"), ("pid", "u"), ("worker", "t"), ("took_usec", "t")],
        ),
        signal("WorkerDraining", WORKER_CAUSE),
        signal("WorkerKilled", WORKER_CAUSE),
        signal("WorkerStuck", WORKER_CAUSE),
        signal(
            "WorkerExited",
            &[
                ("slot", "u"),
                ("generation", "t"),
                ("pid", "u"),
                ("worker", "t"),
                ("cause", "s"),
                ("text", "s"),
                ("expected", "b"),
                ("ended", "a{sv}"),
            ],
        ),
        signal("SlotWaiting", &[("slot", "u"), ("delay_usec", "t")]),
        signal("SlotFailed", &[("slot", "u"), ("cause", "s"), ("text", "s")]),
        signal("ReloadStarted", &[("generation", "t")]),
        signal("ReloadRefused", &[("reason", "s")]),
        signal("ReloadAborting", &[("generation", "t"), ("reason", "s")]),
        signal("ReloadFinished", &[("generation", "t"), ("outcome", "s"), ("message", "s")]),
        signal("Stopping", &[]),
        signal(
            "Message",
            &[("slot", "u"), ("generation", "t"), ("pid", "u"), ("worker", "t"), ("json", "s")],
        ),
        signal("SignalsMissed", &[("count", "t")]),
    ],
};

const WORKER_ARGS: &[Typed] = &[("slot", "u"), ("generation", "t"), ("pid", "u"), ("worker", "t")];
const WORKER_CAUSE: &[Typed] =
    &[("slot", "u"), ("generation", "t"), ("pid", "u"), ("worker", "t"), ("cause", "s"), ("text", "s")];

/// `org.ganger1.Worker`: a slot and the worker that serves in it.
pub(super) static WORKER: Interface = Interface {
    name: WORKER_NAME,
    methods: &[
        method("Restart", &[], VERDICT),
        method("Signal", &[("signal", "s")], VERDICT),
        method("Reset", &[], VERDICT),
        method("Send", &[("json", "s")], VERDICT),
        method("Start", &[], VERDICT),
        method("Stop", &[], VERDICT),
    ],
    properties: &[
        property("Slot", "u", Told::Never),
        property("State", "s", Told::Value),
        property("Restarts", "t", Told::Value),
        property("NextStartUSec", "t", Told::Value),
        property("LastFailure", "(ss)", Told::Value),
        property("Worker", "t", Told::Value),
        property("WorkerState", "s", Told::Value),
        property("Generation", "t", Told::Value),
        property("PID", "u", Told::Value),
        property("StartedUSec", "t", Told::Value),
        property("ReadyUSec", "t", Told::Value),
        property("DeadlineUSec", "t", Told::Value),
        property("StatusText", "s", Told::Value),
        property("CPUUsageNSec", "t", Told::Measured),
        property("Memory", "t", Told::Measured),
        property("Connections", "u", Told::Measured),
        property("MeasuredUSec", "t", Told::Measured),
    ],
    signals: &[],
};

/// `org.freedesktop.DBus.Properties`.
pub(super) static PROPERTIES: Interface = Interface {
    name: "org.freedesktop.DBus.Properties",
    methods: &[
        method("Get", &[("interface_name", "s"), ("property_name", "s")], &[("value", "v")]),
        method("GetAll", &[("interface_name", "s")], &[("properties", "a{sv}")]),
        method("Set", &[("interface_name", "s"), ("property_name", "s"), ("value", "v")], &[]),
    ],
    properties: &[],
    signals: &[signal(
        "PropertiesChanged",
        &[("interface_name", "s"), ("changed_properties", "a{sv}"), ("invalidated_properties", "as")],
    )],
};

/// `org.freedesktop.DBus.Introspectable`.
pub(super) static INTROSPECTABLE: Interface = Interface {
    name: "org.freedesktop.DBus.Introspectable",
    methods: &[method("Introspect", &[], &[("xml_data", "s")])],
    properties: &[],
    signals: &[],
};

/// `org.freedesktop.DBus.Peer`.
pub(super) static PEER: Interface = Interface {
    name: "org.freedesktop.DBus.Peer",
    methods: &[method("Ping", &[], &[]), method("GetMachineId", &[], &[("machine_uuid", "s")])],
    properties: &[],
    signals: &[],
};

/// `org.freedesktop.DBus.ObjectManager`.
pub(super) static OBJECT_MANAGER: Interface = Interface {
    name: "org.freedesktop.DBus.ObjectManager",
    methods: &[method("GetManagedObjects", &[], &[("objects", "a{oa{sa{sv}}}")])],
    properties: &[],
    signals: &[
        signal("InterfacesAdded", &[("object", "o"), ("interfaces_and_properties", "a{sa{sv}}")]),
        signal("InterfacesRemoved", &[("object", "o"), ("interfaces", "as")]),
    ],
};

impl Interface {
    /// The property of that name.
    pub(super) fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The method of that name.
    pub(super) fn method(&self, name: &str) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// An object that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// `/org/ganger1`.
    App,
    /// `/org/ganger1/worker/N`.
    Worker(crate::pool::Slot),
    /// A node on the way: it can be introspected only. Holds its only child, but `/org/ganger1/worker`, whose
    /// children are the slots.
    Way(Option<&'static str>),
}

static OF_APP: [&Interface; 5] = [&APP, &INTROSPECTABLE, &OBJECT_MANAGER, &PEER, &PROPERTIES];
static OF_WORKER: [&Interface; 4] = [&WORKER, &INTROSPECTABLE, &PEER, &PROPERTIES];
static OF_WAY: [&Interface; 2] = [&INTROSPECTABLE, &PEER];

impl Object {
    /// The object at `path`, whether or not a slot of that number exists.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Way(Some("org"))),
            "/org" => Some(Self::Way(Some("ganger1"))),
            APP_PATH => Some(Self::App),
            WORKER_PATH => Some(Self::Way(None)),
            _ => {
                let number = path.strip_prefix(WORKER_PATH)?.strip_prefix('/')?;
                let slot: u32 = number.parse().ok()?;
                (slot.to_string() == number).then_some(Self::Worker(crate::pool::Slot(slot)))
            }
        }
    }

    /// The interfaces that it has.
    pub(super) fn interfaces(self) -> &'static [&'static Interface] {
        match self {
            Self::App => &OF_APP,
            Self::Worker(_) => &OF_WORKER,
            Self::Way(_) => &OF_WAY,
        }
    }
}

/// The path of a slot's object.
pub(super) fn worker_path(slot: crate::pool::Slot) -> String {
    format!("{WORKER_PATH}/{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Slot;

    #[test]
    fn a_path_names_at_most_one_object() {
        assert_eq!(Object::at("/org/ganger1"), Some(Object::App));
        assert_eq!(Object::at("/org/ganger1/worker/12"), Some(Object::Worker(Slot(12))));
        for none in ["/org/ganger1/worker/012", "/org/ganger1/worker/+1", "/org/ganger1/worker/1/2", "/com"] {
            assert_eq!(Object::at(none), None, "{none}");
        }
    }
}
