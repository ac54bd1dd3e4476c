//! The system bus: what `busctl` shows and may do, who may do it, and that nothing depends on the bus.

use crate::site;
use harness::{Host, both};

const NAME: &str = "org.ganger1.myapp";
/// A worker's object and interface.
const WORKER: &str = "org.ganger1.myapp /org/ganger1/worker/0 org.ganger1.Worker";
/// All methods, with arguments that they would take.
const CHANGES_OF_APPS: &[&str] = &[
    "Reload",
    "ReloadByManager",
    "Restart i -1",
    "Scale s 3",
    "Signal is -1 USR1",
    "Reset i -1",
    "Send is -1 {}",
    "StartSlot u 0",
    "StopSlot u 0",
    "Stop",
];
const CHANGES_OF_WORKERS: &[&str] = &["Restart", "Signal s USR1", "Reset", "Send s {}", "Start", "Stop"];

/// The pair with two workers, on the bus.
fn up(host: &Host) {
    site::install_scripted(host, "--notify", "workers = 2\n");
    site::first_request(host);
    site::wait_for_status(host, "2/2 workers ready, generation 1");
    on_the_bus(host);
}

fn on_the_bus(host: &Host) {
    let asked = format!("busctl status {NAME}");
    host.wait_for("the name is taken", || host.run(&asked).code == 0);
}

/// Runs a command as a user who owns nothing.
fn as_nobody(line: &str) -> String {
    format!("setpriv --reuid=nobody --regid=nogroup --clear-groups {line}")
}

/// What org.ganger1(5) prints that begins so, for this app instead of the one there.
fn printed(begin: &str) -> String {
    let manual = include_str!("../../man/org.ganger1.5.scd");
    let mut blocks = manual.split("```\n").skip(1).step_by(2);
    let block = blocks.find(|block| block.starts_with(begin)).expect("the manual prints it");
    block.replace("\"api\"", "\"myapp\"").replace("org.ganger1.api", NAME)
}

#[test]
fn busctl_shows_an_app_to_everyone() {
    for host in both("reading on the bus") {
        up(&host);
        for as_whom in [|line: &str| line.to_owned(), as_nobody] {
            let ask = |line: &str| host.ok(&as_whom(&format!("busctl {line}")));
            assert_eq!(
                ask(&format!("get-property {} State Ready Wanted", site::APP)),
                "s \"serving\"\nu 2\nu 2"
            );
            assert_eq!(
                ask(&format!("get-property {} Status", site::APP)),
                "s \"2/2 workers ready, generation 1\""
            );
            let tree = ask(&format!("tree --list {NAME}"));
            for path in ["/org/ganger1", "/org/ganger1/worker/0", "/org/ganger1/worker/1"] {
                assert!(tree.lines().any(|line| line == path), "{}: {tree}", host.title());
            }
            let members = ask(&format!("introspect {}", site::APP));
            for member in [".Reload", ".Scale", ".Ready", ".Workers", ".ReloadFinished"] {
                assert!(members.contains(member), "{}: {member} is missing: {members}", host.title());
            }
            let slot =
                ask(&format!("get-property {NAME} /org/ganger1/worker/1 org.ganger1.Worker State PID"));
            let pid: u64 = slot.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
            assert!(slot.starts_with("s \"ready\"") && site::workers(&host).contains(&pid), "{slot}");
            let used = ask(&format!(
                "get-property {NAME} /org/ganger1/worker/1 org.ganger1.Worker CPUUsageNSec Memory Connections"
            ));
            let used: Vec<u64> =
                used.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
            let [cpu, memory, 0] = used[..] else { panic!("{}: {used:?}", host.title()) };
            assert!(cpu < 60_000_000_000, "{}: {cpu} ns", host.title());
            assert!((100_000..1 << 30).contains(&memory), "{}: {memory} bytes", host.title());
            let queues = ask(&format!("get-property {} AcceptQueues", site::APP));
            assert!(queues.starts_with("a(ssuu) ") && queues != "a(ssuu) 0", "{}: {queues}", host.title());
            let status = host.ok(&as_whom("ganger status --json myapp"));
            assert!(!status.contains("\"memory\": null") && status.contains("\"backlog\""), "{status}");
        }
    }
}

#[test]
fn busctl_monitor_sees_the_signals_and_changed_properties_of_a_reload() {
    for host in both("monitor") {
        up(&host);
        let monitor = host.start(&format!("exec busctl monitor --json=short {NAME}"));
        let seen = host.start(&format!(
            "sleep 0.3; while ! busctl --timeout=30 call {} Reload; do sleep 0.2; done",
            site::APP
        ));
        let mut wanted =
            vec!["ReloadStarted", "WorkerStarted", "WorkerReady", "PropertiesChanged", "ReloadFinished"];
        let last = monitor.wait_for_line(move |line| {
            wanted.retain(|member| !line.contains(&format!("\"member\":\"{member}\"")));
            wanted.is_empty()
        });
        assert!(last.is_some(), "{}: not all was seen", host.title());
        assert_eq!(seen.finish().code, 0);
    }
}

#[test]
fn root_may_change_an_app_over_the_bus_and_others_only_where_polkit_lets_them() {
    for host in both("changing on the bus") {
        up(&host);
        let reload = format!("busctl --timeout=30 call {} Reload", site::APP);
        let done = host.ok(&reload);
        assert!(done.contains("\"done\""), "{done}");

        for (what, changes) in [(site::APP, CHANGES_OF_APPS), (WORKER, CHANGES_OF_WORKERS)] {
            for change in changes {
                // The dashes: or else -1 were an option.
                let refused = host.run(&as_nobody(&format!("busctl -- call {what} {change}")));
                assert_ne!(refused.code, 0, "{}: {change} was not refused", host.title());
                assert!(refused.stderr.contains("Access denied"), "{}: {change}: {refused}", host.title());
            }
            let methods = host.ok(&format!("busctl introspect {what}"));
            let methods = methods.lines().filter(|line| line.split_whitespace().nth(1) == Some("method"));
            assert_eq!(methods.count(), changes.len(), "{}: {what}: all were tried", host.title());
        }
        assert_eq!(site::status(&host)["generation"], 2);
        assert_eq!(site::status(&host)["wanted"], 2);

        // What a refused caller is told to do, and the manual's steps that make it work.
        let refused = host.run(&as_nobody("ganger reload myapp"));
        let told = refused.stderr.lines().find_map(|line| line.split_once("polkit lets you: "));
        let (_, way) = told.unwrap_or_else(|| panic!("{}: no way is named: {refused}", host.title()));
        assert_eq!(refused.code, 4, "{}: {refused}", host.title());
        host.ok("groupadd deploy && usermod --append --groups deploy nobody");
        host.put("/etc/polkit-1/rules.d/50-ganger.rules", printed("polkit.addRule("));
        host.put("/root/owner", printed("cd /usr/share/polkit-1/actions"));
        host.ok("sh -e /root/owner");
        // With the groups of a new login: newer polkits go by those of the process.
        let allowed = host.run(&as_nobody(way).replace("--clear-groups", "--init-groups"));
        assert_eq!(allowed.code, 0, "{}: {way}: {allowed}", host.title());
        assert_eq!(site::status(&host)["generation"], 3);
        let scaled = host.run(&as_nobody(&format!("busctl call {} Scale s 3", site::APP)));
        assert_ne!(scaled.code, 0, "{}: the rule lets reload alone: {scaled}", host.title());
    }
}

#[test]
fn the_policy_file_of_the_manual_gives_an_app_its_name_and_nothing_waits_for_it() {
    for host in both("the bus policy by hand") {
        site::install_scripted(&host, "--notify", "workers = 2\n");
        host.ok("rm /run/ganger/dbus-1.d/myapp.conf");
        host.ok("busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig");
        site::first_request(&host);
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        let said = host.wait_for_log("myapp.service", "D-Bus is off");
        assert!(said.contains("AccessDenied"), "{}: {said}", host.title());
        assert_eq!(host.run("ganger reload --wait myapp").code, 0, "{}", host.title());
        host.put("/etc/dbus-1/system.d/org.ganger1.myapp.conf", printed("<!DOCTYPE busconfig"));
        on_the_bus(&host);
        assert_eq!(host.property("myapp.service", "NRestarts"), "0");
    }
}

#[test]
fn an_apps_user_owns_exactly_its_own_name() {
    for host in both("names") {
        up(&host);
        let own = |name: &str| {
            format!(
                "setpriv --reuid=www-data --regid=www-data --clear-groups busctl call org.freedesktop.DBus \
                 /org/freedesktop/DBus org.freedesktop.DBus RequestName su {name} 4"
            )
        };
        // 3: the name is taken, by the supervisor; not to be queued for.
        assert_eq!(host.ok(&own(NAME)), "u 3", "{}", host.title());
        for name in ["org.ganger1.other", "org.ganger1.myapp.more", "org.ganger1"] {
            let refused = host.run(&own(name));
            assert!(refused.stderr.contains("Access denied"), "{}: {name}: {refused}", host.title());
        }
        let owner = host.ok(&format!("busctl status {NAME} | sed -n 's/^PID=//p'"));
        assert_eq!(owner, host.property("myapp.service", "MainPID"));
    }
}

#[test]
fn workers_do_not_notice_that_the_bus_goes_and_comes_and_the_commands_work_without_it() {
    for host in both("the bus goes") {
        up(&host);
        let workers = site::workers(&host);
        host.ok("systemctl stop dbus.socket dbus.service");
        host.wait_for_log("myapp.service", "the system bus is gone");
        assert_eq!(site::workers(&host), workers);
        let status = host.ok("ganger status myapp");
        assert!(status.contains("serving"), "{status}");
        let reload = host.run("ganger reload --wait myapp");
        assert_eq!(reload.code, 0, "{}: {reload}", host.title());
        let workers = site::workers(&host);

        host.ok("systemctl start dbus.socket");
        on_the_bus(&host);
        assert_eq!(host.ok(&format!("busctl get-property {} Generation", site::APP)), "t 2");
        assert_eq!(site::workers(&host), workers, "{}: the bus came back, and a worker went", host.title());
        assert_eq!(host.property("myapp.service", "NRestarts"), "0");
    }
}

#[test]
fn an_app_that_starts_without_a_bus_says_so_once_and_takes_its_name_when_there_is_one() {
    for host in both("no bus at start") {
        site::install_scripted(&host, "--notify", "workers = 2\n");
        host.ok("systemctl stop dbus.socket dbus.service");
        site::first_request(&host);
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        host.wait_for_log("myapp.service", "D-Bus is off");
        let reload = host.run("systemctl reload myapp.service");
        assert_eq!(reload.code, 0, "{}: {reload}", host.title());
        let workers = site::workers(&host);
        host.ok("systemctl start dbus.socket");
        on_the_bus(&host);
        assert_eq!(site::workers(&host), workers, "{}", host.title());
        let journal = host.journal("myapp.service");
        assert_eq!(journal.matches("D-Bus is off").count(), 1, "{}: {journal}", host.title());
    }
}

#[test]
fn busctl_reaches_the_private_socket_as_the_manual_shows() {
    for host in both("busctl on the private socket") {
        up(&host);
        let private = "busctl --address=unix:path=/run/ganger/myapp/private";
        let members =
            host.ok(&format!("{private} introspect {}", site::APP.rsplit_once(' ').expect("words").0));
        assert!(members.contains("org.ganger1.App"), "{}: {members}", host.title());
        assert_eq!(host.ok(&format!("{private} get-property {} Ready", site::APP)), "u 2");
    }
}

#[test]
fn commands_end_with_the_exit_code_that_the_manual_promises() {
    for host in both("exit codes") {
        up(&host);
        for (line, code) in [
            ("ganger status myapp", 0),
            ("ganger status nosuchapp", 3),
            ("ganger reload nosuchapp", 3),
            ("ganger restart myapp:7", 3),
            ("ganger reload myapp --frobnicate", 2),
        ] {
            let out = host.run(line);
            assert_eq!(out.code, code, "{}: {line}: {out}", host.title());
        }
        let refused = host.run(&as_nobody("ganger reload --wait myapp"));
        assert_eq!(refused.code, 4, "{}: {refused}", host.title());
        host.ok("ganger stop myapp");
        for line in ["ganger status myapp", "ganger reload --wait myapp"] {
            let gone = host.run(line);
            assert_eq!(gone.code, 5, "{}: {line}: {gone}", host.title());
            assert!(gone.stderr.contains("ganger start myapp"), "{gone}");
        }
    }
}
