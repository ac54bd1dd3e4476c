//! A user's own manager (`systemctl --user`, with linger): the same pair without an administrator.

use harness::{Boot, Debian, Host, example};

const SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8090
FileDescriptorName=web
TriggerLimitIntervalSec=0
";

const SERVICE: &str = "\
[Unit]
Requires=mine.socket
After=mine.socket
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=main
NonBlocking=yes
RuntimeDirectory=ganger/mine
RuntimeDirectoryPreserve=restart
ExecStart=/usr/bin/ganger run --user mine
ExecReload=/usr/bin/ganger --user reload --wait mine
Restart=always
RestartSec=100ms
KillMode=mixed
WatchdogSec=30
Delegate=yes
";

const HOME: &str = "/srv/bob";

/// Runs a line as bob, as his login shell would.
fn as_bob(line: &str) -> String {
    format!(
        "setpriv --reuid=bob --regid=bob --init-groups env HOME={HOME} XDG_RUNTIME_DIR=/run/user/4711 \
         DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/4711/bus {line}"
    )
}

fn up(host: &Host) {
    host.ok(&format!("useradd --uid 4711 --home-dir {HOME} --create-home bob && systemd-run -q --wait loginctl enable-linger bob"));
    host.wait_for_property("user@4711.service", "ActiveState", "active");
    host.put(&format!("{HOME}/.config/systemd/user/mine.socket"), SOCKET);
    host.put(&format!("{HOME}/.config/systemd/user/mine.service"), SERVICE);
    host.put(&format!("{HOME}/.config/ganger/mine.toml"), "command = '/usr/lib/ganger/hello'\nworkers = 2\n");
    host.put_file("/usr/lib/ganger/hello", example("hello"));
    host.ok(&format!("chown -R bob: {HOME}"));
    host.ok(&as_bob("systemctl --user daemon-reload"));
    host.ok(&as_bob("systemctl --user start mine.socket"));
}

#[test]
fn a_user_has_the_pair_and_its_reload_and_its_name_on_the_bus() {
    for debian in [Debian::Bookworm, Debian::Trixie] {
        let boot = Boot::debian(debian, "the user's manager").packages(&["dbus-user-session"]);
        let Some(host) = boot.start() else { return };
        up(&host);
        steered(&host);
        without_a_flag(&host);
    }
}

fn steered(host: &Host) {
    let said = host.ok("curl -sS --max-time 30 http://127.0.0.1:8090/");
    assert!(said.starts_with("hello from Rust"), "{said}");
    let property = |name: &str| host.ok(&as_bob(&format!("systemctl --user show -P {name} mine.service")));
    host.wait_for("two workers", || property("StatusText") == "2/2 workers ready, generation 1");

    let reload = host.run(&as_bob("systemctl --user reload mine.service"));
    assert_eq!(reload.code, 0, "{reload}");
    host.wait_for("a new generation", || property("StatusText") == "2/2 workers ready, generation 2");
    let status = host.ok(&as_bob("ganger --user status mine"));
    assert!(status.contains("serving"), "{status}");

    let generation =
        as_bob("busctl --user get-property org.ganger1.mine /org/ganger1 org.ganger1.App Generation");
    host.wait_for("the name on the session bus", || host.run(&generation).code == 0);
    assert_eq!(host.ok(&generation), "t 2");
    let reload =
        as_bob("busctl --user --timeout=60 call org.ganger1.mine /org/ganger1 org.ganger1.App Reload");
    let verdict = host.ok(&reload);
    assert!(verdict.contains("\"done\""), "{verdict}");

    host.put(&format!("{HOME}/.config/ganger/mine.toml"), "command = '/bin/false'\n");
    assert_ne!(host.run(&as_bob("systemctl --user reload mine.service")).code, 0);
    assert_eq!(property("ActiveState"), "active");
    let stopped = host.run(&as_bob("ganger --user stop mine"));
    assert_eq!(stopped.code, 0, "{stopped}");
    assert_eq!(host.run("pgrep -a 'ganger|hello'").stdout, "");
}

/// An app that only bob has is his without a flag, stopped or running.
fn without_a_flag(host: &Host) {
    host.put(&format!("{HOME}/.config/ganger/mine.toml"), "command = '/usr/lib/ganger/hello'\n");
    for (line, shown) in
        [("ganger start mine", ""), ("ganger status mine", "serving"), ("ganger logs mine", "is ready")]
    {
        let out = host.run(&as_bob(line));
        assert!(out.code == 0 && out.stdout.contains(shown), "{line}: {out}");
    }
    let stopped = host.run(&as_bob("ganger stop mine"));
    assert_eq!(stopped.code, 0, "{stopped}");
    assert_eq!(host.run("pgrep -a 'ganger|hello'").stdout, "");
}
