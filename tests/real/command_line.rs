//! The command line as a person meets it on a booted system: the example pair from its first start to its last
//! stop, as root, as the app's own user and as a user who owns nothing.

use harness::{Host, Output, both, example};
use std::path::Path;

/// Knows one host, on which the rest of the line is run, and one that nobody reaches.
const SSH: &str = r#"#!/bin/sh
shift 2
case $1 in
web1) exec sh -c "$2" ;;
*) echo "ssh: connect to host $1 port 22: Connection refused" >&2; exit 255 ;;
esac
"#;

fn install(host: &Host) {
    let file = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read(path).expect("a file of the checkout")
    };
    host.put("/etc/ganger/myapp.toml", file("units/myapp.toml"));
    host.put_file("/usr/lib/ganger/hello", example("hello"));
    host.put("/etc/systemd/system/myapp.socket", file("units/myapp.socket"));
    host.put("/etc/systemd/system/myapp.service", file("units/myapp.service"));
    host.put("/usr/bin/ssh", SSH);
    host.ok("systemctl daemon-reload");
}

/// Runs `ganger WORDS` as `user`, and sees that it ends with `code`; both texts of its output.
#[track_caller]
fn ganger(host: &Host, user: &str, words: &str, code: i32) -> String {
    let Output { stdout, stderr, code: ended } =
        host.run(&format!("setpriv --reuid={user} --regid={user} --clear-groups ganger {words}"));
    assert_eq!(ended, code, "{}: ganger {words} as {user}\n{stdout}\n{stderr}", host.title());
    stdout + &stderr
}

/// It is said.
#[track_caller]
fn says(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "\"{wanted}\" is missing in:\n{text}");
    }
}

/// A view that follows ends with its reader.
fn follows(host: &Host) {
    for words in ["events myapp", "logs -f myapp", "logs -f myapp:0"] {
        let out = host.run(&format!("timeout 20 sh -c 'ganger {words} | head -n0'"));
        assert_eq!(out.code, 0, "{}: {words}: {out}", host.title());
    }
}

const ROOT: &str = "root";
const OWNER: &str = "www-data";
/// A user who owns nothing and has a group of the same name.
const STRANGER: &str = "games";

fn before_the_start(host: &Host) {
    says(&ganger(host, STRANGER, "list", 0), &["myapp  inactive", "not running"]);
    says(
        &ganger(host, ROOT, "status myapp", 5),
        &["myapp does not run: nobody listens on /run/ganger/myapp/private", "start it: ganger start myapp"],
    );
    says(&ganger(host, ROOT, "reload mapp", 3), &["there is no app \"mapp\"", "did you mean myapp?"]);
    says(&ganger(host, ROOT, "start nosuch", 3), &["there is no app \"nosuch\""]);
    ganger(host, STRANGER, "start myapp", 4);
    ganger(host, STRANGER, "enable myapp", 4);
    ganger(host, ROOT, "check myapp", 0);
    ganger(host, ROOT, "check nosuch", 3);
    ganger(host, ROOT, "run nosuch", 3);
}

fn started_and_enabled(host: &Host) {
    ganger(host, ROOT, "start myapp", 0);
    for unit in ["myapp.socket", "myapp.service"] {
        assert_eq!(host.property(unit, "ActiveState"), "active", "{}: {unit}", host.title());
    }
    ganger(host, ROOT, "enable myapp", 0);
    assert_eq!(host.ok("systemctl is-enabled myapp.socket myapp.service"), "enabled\nenabled");
    ganger(host, ROOT, "disable myapp", 0);
    assert_eq!(host.run("systemctl is-enabled myapp.socket").stdout, "disabled\n");
}

fn looked_at(host: &Host) {
    for user in [ROOT, OWNER, STRANGER] {
        says(&ganger(host, user, "list", 0), &["myapp  serving  2/2", "127.0.0.1:8080"]);
        says(&ganger(host, user, "status myapp", 0), &["├─ 0   ready", "└─ 1   ready", "pid "]);
    }
    let status: serde_json::Value =
        serde_json::from_str(&ganger(host, ROOT, "status --json myapp", 0)).expect("JSON");
    let number = |place: &str| status.pointer(place).and_then(serde_json::Value::as_u64);
    assert_eq!(number("/queues/0/waiting"), Some(0), "{status}");
    assert_eq!(number("/workers/1/connections"), Some(0), "{status}");
    assert!(number("/workers/0/memory").is_some_and(|bytes| bytes > 0), "{status}");
}

fn changed(host: &Host) {
    for user in [ROOT, OWNER] {
        says(&ganger(host, user, "reload myapp", 0), &["worker 0 started", "reload myapp: done: generation"]);
    }
    says(&ganger(host, ROOT, "scale myapp +1", 0), &["scaled from 2 to 3 workers"]);
    says(&ganger(host, ROOT, "scale myapp 2", 0), &["scaled from 3 to 2 workers"]);
    says(&ganger(host, ROOT, "restart myapp:1", 0), &["slot 1 was restarted"]);
    says(&ganger(host, ROOT, "signal myapp CONT", 0), &["was sent to 2 workers"]);
    says(&ganger(host, ROOT, "reset myapp", 0), &["failures are forgotten"]);
    says(&ganger(host, ROOT, "restart myapp:9", 3), &["there is no slot 9"]);
    for words in [
        "reload myapp",
        "restart myapp",
        "scale myapp 9",
        "signal myapp:0 KILL",
        "reset myapp",
        "send myapp 1",
    ] {
        says(&ganger(host, STRANGER, words, 4), &["only root and the app's own user", "try again as root"]);
    }
    ganger(host, STRANGER, "stop myapp", 4);
    let events = host.start("exec ganger events myapp");
    let again = host.start("while :; do ganger restart myapp:0; done >/dev/null 2>&1");
    let mut wanted = vec!["worker-started", "worker-ready", "worker-draining", "worker-exited"];
    let last = events.wait_for_line(move |line| {
        wanted.retain(|event| !line.starts_with(event));
        wanted.is_empty()
    });
    assert!(last.is_some(), "{}: not all events came", host.title());
    drop(again);
}

/// The journal has what the workers and ganger wrote, and the matches find neither more nor less.
fn read_in_the_journal(host: &Host) {
    let config = "command = [\"/bin/sh\", \"-c\", \"echo slot $GANGER_WORKER speaks; exec /usr/lib/ganger/hello\"]\n\
                  workers = 2\n";
    host.put("/etc/ganger/myapp.toml", config);
    ganger(host, ROOT, "reload myapp", 0);
    host.wait_for_log("myapp.service", "slot 1 speaks");
    says(&ganger(host, ROOT, "logs myapp", 0), &["slot 0 speaks", "slot 1 speaks", "worker 0 is ready"]);
    let slot = ganger(host, ROOT, "logs myapp:1", 0);
    says(&slot, &["slot 1 speaks", "worker 1 is ready"]);
    assert!(!slot.contains("slot 0 speaks") && !slot.contains("worker 0 "), "{slot}");
    let last = ganger(host, ROOT, "logs myapp -n 1 --json", 0);
    let record: serde_json::Value = serde_json::from_str(last.trim()).expect("one record");
    assert!(record.get("MESSAGE").is_some_and(serde_json::Value::is_string), "{record}");
    assert_eq!(ganger(host, ROOT, "logs myapp --until=-1h", 0).trim(), "-- No entries --");
    says(&ganger(host, ROOT, "logs nosuch", 3), &["there is no app \"nosuch\""]);
    says(&ganger(host, ROOT, "logs myapp:9", 3), &["there is no slot 9 of myapp", "the slots are 0 to 1"]);
    says(&ganger(host, ROOT, "logs myapp:2", 0), &["worker 2 is ready"]);
    // Who may not read the journal is told so by journalctl, and sees nothing.
    let stranger = ganger(host, STRANGER, "logs myapp", 1);
    says(&stranger, &["insufficient permissions"]);
    assert!(!stranger.contains("speaks"), "{stranger}");
}

/// What keeps a reload from being done is shown where it was asked for.
fn failed(host: &Host) {
    let config = "command = [\"/bin/sh\", \"-c\", \"echo no database >&2; exit 3\"]\nworkers = 2\n";
    host.put("/etc/ganger/myapp.toml", config);
    says(
        &ganger(host, ROOT, "reload myapp", 1),
        &["exited with status 3", "last words of myapp:0:\n  no database", "more of it: ganger logs myapp:0"],
    );
    says(&ganger(host, STRANGER, "status myapp", 0), &["2/2", "last reload: failed"]);
    host.put("/etc/ganger/myapp.toml", "command = [\"/usr/lib/ganger/hello\"]\nworkerz = 2\n");
    says(
        &ganger(host, ROOT, "reload myapp", 1),
        &["nothing is changed\n", "\n/etc/ganger/myapp.toml:2:1: error", "did you mean `workers`?"],
    );
}

fn on_another_machine(host: &Host) {
    says(&ganger(host, ROOT, "-H root@web1 list", 5), &["ssh could not run ganger on root@web1"]);
    says(&ganger(host, ROOT, "status -H web1 myapp", 0), &["serving"]);
    ganger(host, ROOT, "--host=web1 restart myapp:9", 3);
    says(&ganger(host, ROOT, "-H web2 list", 5), &["Connection refused", "ssh could not run ganger on web2"]);
}

#[test]
fn the_command_line_steers_an_app_from_its_first_start_to_its_last_stop() {
    for host in both("the command line") {
        install(&host);
        before_the_start(&host);
        started_and_enabled(&host);
        looked_at(&host);
        changed(&host);
        read_in_the_journal(&host);
        follows(&host);
        failed(&host);
        on_another_machine(&host);
        ganger(&host, ROOT, "stop myapp", 0);
        for unit in ["myapp.socket", "myapp.service"] {
            assert_eq!(host.property(unit, "ActiveState"), "inactive", "{}: {unit}", host.title());
        }
        ganger(&host, ROOT, "scale myapp 3", 5);
        says(&ganger(&host, ROOT, "list", 0), &["myapp  inactive"]);
    }
}
