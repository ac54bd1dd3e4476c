//! What a call is answered that only looks: introspection, properties, the objects there are. Answered at once and
//! of what is known; whether that is fresh enough is decided at the desk.

use std::collections::BTreeMap;

use zbus::message::Header;
use zbus::{Message, ObjectPath};

use super::calls::{self, Fault, UNKNOWN_METHOD};
use super::members::{APP, Interface, OBJECT_MANAGER, Object, PROPERTIES, Told, WORKER, worker_path};
use super::properties::{self, Dict, Row};
use super::{Hub, Usage, introspect};
use crate::pool::{Slot, View};

/// The object that a call is made on, and the interface that its method is of.
pub(super) fn find(view: &View, header: &Header<'_>) -> Result<(Object, &'static Interface), Fault> {
    let path = header.path().map_or("", |path| path.as_str());
    let object = Object::at(path).filter(|object| match object {
        Object::Worker(slot) => Row::of(view, *slot).is_some(),
        Object::App | Object::Way(_) => true,
    });
    let object = object.ok_or_else(|| {
        Fault::new("org.freedesktop.DBus.Error.UnknownObject", format!("there is no object {path}"))
    })?;
    let asked = header.interface().map(|interface| interface.as_str());
    let member = header.member().map_or("", |member| member.as_str());
    Ok((object, find_interface(object, asked, member)?))
}

fn find_interface(object: Object, asked: Option<&str>, member: &str) -> Result<&'static Interface, Fault> {
    let has = object.interfaces();
    let found = match asked {
        Some(name) => Some(has.iter().find(|interface| interface.name == name).ok_or_else(|| {
            Fault::new(
                "org.freedesktop.DBus.Error.UnknownInterface",
                format!("there is no interface {name} here"),
            )
        })?),
        None => has.iter().find(|interface| interface.method(member).is_some()),
    };
    found
        .filter(|interface| interface.method(member).is_some())
        .copied()
        .ok_or_else(|| Fault::new(UNKNOWN_METHOD, format!("there is no method {member}")))
}

/// Whether the answer has something in it that is measured: a call that makes no sense has not.
pub(super) fn needs_usage(call: &Message) -> bool {
    let header = call.header();
    let is_of = |known: &Interface, member: &str| {
        header.interface().is_none_or(|interface| interface.as_str() == known.name)
            && header.member().is_some_and(|asked| asked.as_str() == member)
    };
    let is_measured = |(interface, name): (String, String)| {
        let own = [&APP, &WORKER].into_iter().filter(|own| interface.is_empty() || own.name == interface);
        // What is told of workers as a whole has what they use in it.
        own.filter_map(|own| own.property(&name))
            .any(|known| known.told == Told::Measured || known.name == "Workers")
    };
    if is_of(&PROPERTIES, "Get") {
        calls::arguments(call).is_ok_and(is_measured)
    } else if is_of(&PROPERTIES, "GetAll") {
        calls::arguments(call).is_ok_and(|interface: String| {
            interface.is_empty() || interface == APP.name || interface == WORKER.name
        })
    } else {
        is_of(&OBJECT_MANAGER, "GetManagedObjects")
    }
}

/// Answers a call that only looks.
pub(super) fn answer(hub: &Hub, call: &Message, header: &Header<'_>) -> Result<Message, Fault> {
    let view = hub.view();
    let (object, _) = find(&view, header)?;
    let member = header.member().map_or("", |member| member.as_str());
    let reply = Message::method_return(header);
    let reply = match member {
        "Introspect" => reply.build(&introspect::object_xml(object, &view)),
        "Ping" | "GetMachineId" => return peer(member, header),
        "Get" => {
            let (interface, name) = calls::arguments::<(String, String)>(call)?;
            reply.build(&property(hub, &view, object, &interface, &name)?)
        }
        "GetAll" => {
            let interface = calls::arguments::<String>(call)?;
            reply.build(&all_properties(hub, &view, object, &interface)?)
        }
        "Set" => {
            let text = "every property can only be read";
            return Err(Fault::new("org.freedesktop.DBus.Error.PropertyReadOnly", text));
        }
        "GetManagedObjects" => {
            let (mut objects, usage) = (BTreeMap::new(), hub.gauge.last());
            for slot in &view.slots {
                objects.extend(managed(slot.slot, &view, &usage)?);
            }
            reply.build(&objects)
        }
        _ => return Err(Fault::new(UNKNOWN_METHOD, format!("there is no method {member}"))),
    };
    reply.map_err(Fault::broken)
}

/// Whether the properties that are asked for are ganger's own.
fn are_own(object: Object, interface: &str) -> Result<bool, Fault> {
    let known = object.interfaces().iter().any(|known| known.name == interface) || interface.is_empty();
    if !known {
        let text = format!("there is no interface {interface}");
        return Err(Fault::new("org.freedesktop.DBus.Error.UnknownInterface", text));
    }
    Ok(interface.is_empty() || interface.starts_with("org.ganger1."))
}

fn property(
    hub: &Hub,
    view: &View,
    object: Object,
    interface: &str,
    name: &str,
) -> Result<zbus::Variant<'static>, Fault> {
    let own = are_own(object, interface)?;
    let usage = hub.gauge.last();
    let value = match object {
        Object::App if own => properties::app(name, &hub.identity, view, hub.missed(), &usage),
        Object::Worker(slot) if own => {
            Row::of(view, slot).and_then(|row| properties::worker(name, row, &usage))
        }
        Object::App | Object::Worker(_) | Object::Way(_) => None,
    };
    value.ok_or_else(|| {
        Fault::new("org.freedesktop.DBus.Error.UnknownProperty", format!("there is no property {name}"))
    })
}

fn all_properties(hub: &Hub, view: &View, object: Object, interface: &str) -> Result<Dict, Fault> {
    let own = are_own(object, interface)?;
    let usage = hub.gauge.last();
    Ok(match object {
        Object::App if own => properties::all_of_app(&hub.identity, view, hub.missed(), &usage),
        Object::Worker(slot) if own => {
            Row::of(view, slot).map(|row| properties::all_of_worker(row, &usage)).unwrap_or_default()
        }
        Object::App | Object::Worker(_) | Object::Way(_) => Dict::new(),
    })
}

/// What a slot's object is in `GetManagedObjects` and `InterfacesAdded`.
pub(super) type Managed = (ObjectPath<'static>, BTreeMap<&'static str, Dict>);

/// The entry of a slot's object; none when there is no such slot.
pub(super) fn managed(slot: Slot, view: &View, usage: &Usage) -> Result<Option<Managed>, Fault> {
    let Some(row) = Row::of(view, slot) else { return Ok(None) };
    let path = ObjectPath::try_from(worker_path(slot)).map_err(Fault::broken)?;
    Ok(Some((path, BTreeMap::from([(WORKER.name, properties::all_of_worker(row, usage))]))))
}

/// Answers `org.freedesktop.DBus.Peer`, on whatever path.
pub(super) fn peer(member: &str, header: &Header<'_>) -> Result<Message, Fault> {
    let reply = Message::method_return(header);
    match member {
        "Ping" => reply.build(&()).map_err(Fault::broken),
        "GetMachineId" => {
            let id = std::fs::read_to_string("/etc/machine-id").map_err(Fault::broken)?;
            reply.build(&id.trim()).map_err(Fault::broken)
        }
        _ => Err(Fault::new(UNKNOWN_METHOD, format!("there is no method {member}"))),
    }
}
