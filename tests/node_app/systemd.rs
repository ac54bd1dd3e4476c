//! Under real systemd: the socket unit's first connection starts ganger and an app that knows nothing of either.

use harness::{Boot, Debian, wait_until};

use crate::app::{newest, prepared};

const SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8080
FileDescriptorName=http
TriggerLimitIntervalSec=0
";

const SERVICE: &str = "\
[Unit]
Requires=shop.socket
After=shop.socket
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=main
NonBlocking=yes
RuntimeDirectory=ganger/shop
RuntimeDirectoryPreserve=restart
ExecStart=/usr/bin/ganger run shop
ExecReload=/usr/bin/ganger reload --wait shop
Restart=always
KillMode=mixed
Delegate=yes
User=nobody
";

const CONFIG: &str = "\
command = [\"/opt/node\", \"/srv/shop/server.js\"]
workers = 2
";

const SERVER: &str = "
require('http').createServer((_, response) => response.end(`shop ${process.env.NODE_APP_INSTANCE}`)).listen(3000);
";

#[test]
fn the_first_connection_to_the_socket_unit_is_answered_by_an_unmodified_app() {
    let boot = Boot::debian(Debian::Trixie, "a node app on a socket unit");
    let Some(host) = boot.bind_ro(prepared(&["node", &newest()]), "/opt/node").start() else {
        return;
    };
    host.put("/etc/systemd/system/shop.socket", SOCKET);
    host.put("/etc/systemd/system/shop.service", SERVICE);
    host.put("/etc/ganger/shop.toml", CONFIG);
    host.put("/srv/shop/server.js", SERVER);
    host.ok("systemctl daemon-reload && systemctl start shop.socket");
    let ask = "curl -sS --max-time 60 http://127.0.0.1:8080/";
    let first = host.ok(ask);
    assert!(first.starts_with("shop "), "{first}");
    host.wait_for_property("shop.service", "StatusText", "2/2 workers ready, generation 1");

    host.ok("systemctl reload shop.service");
    host.wait_for_property("shop.service", "StatusText", "2/2 workers ready, generation 2");
    assert!(host.ok(ask).starts_with("shop "));

    // A bad deploy: systemctl says so, and nothing else changes.
    host.put("/srv/shop/server.js", "const = ;");
    assert_ne!(host.run("systemctl reload shop.service").code, 0);
    assert!(host.ok(ask).starts_with("shop "));
    assert_eq!(host.property("shop.service", "ActiveState"), "active");

    host.ok("systemctl stop shop.socket shop.service");
    assert!(wait_until(|| host.run("pgrep -f '[s]hop/server.js'").code == 1), "a worker is left");
}
