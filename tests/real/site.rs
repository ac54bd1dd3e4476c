//! What the claims are made about: the example pair of `units/` as a person installs it, with the example
//! worker or with the scripted one, and how to look at it from outside. It claims nothing itself.

use harness::load::{Load, Target};
use harness::{Host, example};
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) const APP: &str = "org.ganger1.myapp /org/ganger1 org.ganger1.App";

/// Where a load from the machine reaches the pair, see [`load`].
const SHARED_SOCKET: &str = "/share/app.sock";

/// What gives the app's user the app's name on the system bus.
const BUS_NAME: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy user="www-data"><allow own="org.ganger1.myapp"/></policy></busconfig>
"#;

fn checkout(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("failed to read {}: {err}", path.display()))
}

/// The pair with its own configuration and its own worker, the bus policy too; nothing is started.
pub(crate) fn install(host: &Host) {
    host.put("/etc/ganger/myapp.toml", checkout("units/myapp.toml"));
    host.put_file("/usr/lib/ganger/hello", example("hello"));
    install_units(host);
}

/// The pair with the scripted worker: `arguments` are the worker's, `settings` further lines of the
/// configuration. Also listens on a unix socket for [`load`].
pub(crate) fn install_scripted(host: &Host, arguments: &str, settings: &str) {
    host.put_file("/usr/lib/ganger/worker", example("worker"));
    configure(host, arguments, settings);
    install_units(host);
    let socket = format!("[Socket]\nListenStream={SHARED_SOCKET}\n");
    host.put("/etc/systemd/system/myapp.socket.d/load.conf", socket);
    host.ok("systemctl daemon-reload");
}

/// Writes the configuration of the scripted worker anew.
pub(crate) fn configure(host: &Host, arguments: &str, settings: &str) {
    let config = format!("command = \"/usr/lib/ganger/worker {arguments}\"\n{settings}");
    host.put("/etc/ganger/myapp.toml", config);
}

fn install_units(host: &Host) {
    for (path, from) in [
        ("/etc/systemd/system/myapp.socket", "units/myapp.socket"),
        ("/etc/systemd/system/myapp.service", "units/myapp.service"),
        ("/usr/lib/tmpfiles.d/ganger.conf", "packaging/root/usr/lib/tmpfiles.d/ganger.conf"),
        (
            "/usr/share/dbus-1/system.d/org.ganger1.conf",
            "packaging/root/usr/share/dbus-1/system.d/org.ganger1.conf",
        ),
        (
            "/usr/share/polkit-1/actions/org.ganger1.policy",
            "packaging/root/usr/share/polkit-1/actions/org.ganger1.policy",
        ),
    ] {
        host.put(path, checkout(from));
    }
    host.ok("systemd-tmpfiles --create ganger.conf && systemctl daemon-reload");
    host.put("/run/ganger/dbus-1.d/myapp.conf", BUS_NAME);
    // As the package does: the bus has to learn of the directory once.
    host.ok("busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig");
}

/// Settings of the service for this host alone, a `[Service]` drop-in.
pub(crate) fn adjust(host: &Host, service: &str) {
    host.put("/etc/systemd/system/myapp.service.d/adjust.conf", format!("[Service]\n{service}"));
    host.ok("systemctl daemon-reload");
}

/// Opens the port, and starts the service by its first request.
pub(crate) fn first_request(host: &Host) -> String {
    host.ok("systemctl start myapp.socket");
    host.ok("curl -sS --max-time 30 http://127.0.0.1:8080/")
}

/// A load on the pair's unix socket, from outside of the container.
pub(crate) fn load(host: &Host) -> Load {
    Load::new(Target::Unix(host.share().join("app.sock")))
}

/// What `ganger status --json` says.
pub(crate) fn status(host: &Host) -> serde_json::Value {
    serde_json::from_str(&host.ok("ganger status --json myapp")).expect("it is JSON")
}

/// The pids of the workers, none of them draining.
pub(crate) fn workers(host: &Host) -> BTreeSet<u64> {
    let status = status(host);
    let workers = status["workers"].as_array().expect("workers");
    workers.iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

/// Waits until the status shown by `systemctl status` is this.
pub(crate) fn wait_for_status(host: &Host, text: &str) {
    host.wait_for_property("myapp.service", "StatusText", text);
}

/// The unit serves, with nothing else going on.
pub(crate) fn is_active(host: &Host) -> bool {
    host.property("myapp.service", "ActiveState") == "active"
        && host.property("myapp.service", "SubState") == "running"
}

/// Every process of these programs that is left anywhere in the container.
pub(crate) fn processes(host: &Host, pattern: &str) -> String {
    host.run(&format!("pgrep -a '{pattern}'")).stdout
}

/// Nothing of the app runs, and its control group is gone.
#[track_caller]
pub(crate) fn assert_nothing_left(host: &Host) {
    assert_eq!(host.property("myapp.service", "ActiveState"), "inactive", "{}", host.title());
    let left =
        host.run("find /sys/fs/cgroup -path '*myapp.service*' -name cgroup.procs -exec cat {} +").stdout;
    assert_eq!(left, "", "{}: processes are left in the unit's control group", host.title());
    assert_eq!(processes(host, "hello|worker|ganger|sleep"), "", "{}", host.title());
}
