//! What is written about the interface: its golden introspection and the man page that explains it.

use std::path::{Path, PathBuf};

use ganger::dbus::{actions, interface_xml, interfaces};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_introspection_is_the_golden_one() {
    for name in interfaces() {
        let xml = interface_xml(name).unwrap();
        let golden = here(&format!("tests/golden/dbus/{name}.xml"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &xml).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), xml, "UPDATE=1 rewrites {golden:?}");
    }
}

#[test]
fn the_man_page_names_every_member_and_argument() {
    let page = std::fs::read_to_string(here("man/org.ganger1.5.scd")).unwrap().replace('\\', "");
    for name in interfaces() {
        let xml = interface_xml(name).unwrap();
        let names = xml.split("name=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names.filter(|name| !name.starts_with("org.")) {
            let member = name.starts_with(|first: char| first.is_ascii_uppercase());
            let told = if member {
                page.contains(&format!("*{name}*"))
            } else {
                page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
            };
            assert!(told, "org.ganger1(5) does not name {name}");
        }
    }
}

#[test]
fn every_permission_is_shipped_to_polkit_and_explained() {
    let policy = here("packaging/root/usr/share/polkit-1/actions/org.ganger1.policy");
    let policy = std::fs::read_to_string(policy).unwrap();
    let page = std::fs::read_to_string(here("man/org.ganger1.5.scd")).unwrap();
    for action in actions() {
        assert!(policy.contains(&format!("<action id=\"{action}\">")), "polkit does not know {action}");
        assert!(page.contains(&format!("*{action}*")), "org.ganger1(5) does not name {action}");
    }
    assert_eq!(policy.matches("<action id=").count(), actions().len());
}
