//! Introspection: the table of members as the XML that `busctl introspect` reads. It decides the spelling only.

use std::fmt::Write;

use super::members::{APP, Interface, Object, Told, Typed, WORKER, WORKER_PATH};
use crate::pool::View;

const DOCTYPE: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
                       \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";
const EMITS: &str = "org.freedesktop.DBus.Property.EmitsChangedSignal";

/// The XML of an object that exists in `view`.
pub(super) fn object_xml(object: Object, view: &View) -> String {
    let mut xml = String::from(DOCTYPE);
    xml.push_str("<node>\n");
    for interface in object.interfaces() {
        write_interface(&mut xml, interface);
    }
    let child = match object {
        Object::App => WORKER_PATH.rsplit('/').next(),
        Object::Way(child) => child,
        Object::Worker(_) => None,
    };
    if let Some(child) = child {
        let _ = writeln!(xml, " <node name=\"{child}\"/>");
    } else if object == Object::Way(None) {
        for slot in &view.slots {
            let _ = writeln!(xml, " <node name=\"{}\"/>", slot.slot);
        }
    }
    xml.push_str("</node>\n");
    xml
}

/// The names of ganger's own interfaces.
#[must_use]
pub fn interfaces() -> [&'static str; 2] {
    [APP.name, WORKER.name]
}

/// One of ganger's own interfaces as XML: what is documented in `org.ganger1(5)`.
#[must_use]
pub fn interface_xml(name: &str) -> Option<String> {
    let interface = [&APP, &WORKER].into_iter().find(|interface| interface.name == name)?;
    let mut xml = String::new();
    write_interface(&mut xml, interface);
    Some(xml)
}

fn write_interface(xml: &mut String, interface: &Interface) {
    let _ = writeln!(xml, " <interface name=\"{}\">", interface.name);
    for method in interface.methods {
        let arguments = |typed: &[Typed], way| {
            typed.iter().fold(String::new(), |mut all, (name, kind)| {
                let _ = writeln!(all, "   <arg name=\"{name}\" type=\"{kind}\" direction=\"{way}\"/>");
                all
            })
        };
        let inner = arguments(method.takes, "in") + &arguments(method.gives, "out");
        write_element(xml, "method", method.name, &inner);
    }
    for signal in interface.signals {
        let inner = signal.carries.iter().fold(String::new(), |mut all, (name, kind)| {
            let _ = writeln!(all, "   <arg name=\"{name}\" type=\"{kind}\"/>");
            all
        });
        write_element(xml, "signal", signal.name, &inner);
    }
    for property in interface.properties {
        let (name, kind) = (property.name, property.signature);
        let told = match property.told {
            Told::Value => None,
            Told::Never => Some("const"),
            Told::Stale => Some("invalidates"),
            Told::Not | Told::Measured => Some("false"),
        };
        let start = format!("  <property name=\"{name}\" type=\"{kind}\" access=\"read\"");
        let _ = match told {
            None => writeln!(xml, "{start}/>"),
            Some(told) => {
                writeln!(xml, "{start}>\n   <annotation name=\"{EMITS}\" value=\"{told}\"/>\n  </property>")
            }
        };
    }
    xml.push_str(" </interface>\n");
}

fn write_element(xml: &mut String, element: &str, name: &str, inner: &str) {
    let _ = if inner.is_empty() {
        writeln!(xml, "  <{element} name=\"{name}\"/>")
    } else {
        writeln!(xml, "  <{element} name=\"{name}\">\n{inner}  </{element}>")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbus::diff::samples;
    use crate::pool::Slot;

    #[test]
    fn the_tree_leads_from_the_root_to_every_slot() {
        let view = samples::view();
        for (path, child) in [("/", "org"), ("/org", "ganger1"), ("/org/ganger1", "worker")] {
            let xml = object_xml(Object::at(path).unwrap(), &view);
            assert!(xml.contains(&format!("<node name=\"{child}\"/>")), "{xml}");
        }
        let slots = object_xml(Object::at("/org/ganger1/worker").unwrap(), &view);
        assert!(slots.contains("<node name=\"0\"/>\n <node name=\"1\"/>"), "{slots}");
        assert!(!object_xml(Object::Worker(Slot(0)), &view).contains("<node name"));
    }
}
