//! The journal: who wrote what, what ganger says of itself, and that a journald in trouble costs nothing.

use crate::site;
use harness::{Host, both};

/// Prints to both of its streams, then a numbered line each 10 ms, and says that it is ready.
const WORKER: &str = r#"#!/usr/bin/python3
import os, signal, socket, sys, time
print("to stdout", flush=True)
print("<3>to stderr", file=sys.stderr, flush=True)
going = True
def stop(*_):
    global going
    going = False
signal.signal(signal.SIGTERM, stop)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
number = 0
while going:
    print("line %d of %d" % (number, os.getpid()), flush=True)
    number += 1
    time.sleep(0.01)
print("last line %d of %d" % (number - 1, os.getpid()), flush=True)
"#;

fn up(host: &Host) {
    site::install(host);
    host.put("/usr/lib/ganger/printer", WORKER);
    host.put(
        "/etc/ganger/myapp.toml",
        "command = '/usr/lib/ganger/printer'\nworkers = 2\n[ready]\nwhen = 'notify'\n",
    );
    host.ok("systemctl start myapp.socket myapp.service");
    site::wait_for_status(host, "2/2 workers ready, generation 1");
}

/// The journal's records of these matches, oldest first.
fn records(host: &Host, matches: &str) -> Vec<serde_json::Value> {
    let lines = host.ok(&format!("journalctl --sync; journalctl -q -b -o json --no-pager {matches}"));
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The worker's pid in a slot.
fn pid_of(host: &Host, slot: usize) -> u64 {
    let status = site::status(host);
    let workers = status["workers"].as_array().expect("workers");
    let worker = workers.iter().find(|worker| worker["slot"] == slot).expect("a worker in the slot");
    worker["pid"].as_u64().expect("a pid")
}

#[test]
fn why_there_is_no_supervisor_is_an_error_of_the_app() {
    for host in both("a record of a fatal end") {
        site::install(&host);
        for (config, reason) in [
            ("comand = '/bin/true'\n", "the configuration is not valid\n"),
            ("command = '/no/such'\n[restart.limit]\nburst = 1\n", "/no/such"),
        ] {
            host.put("/etc/ganger/myapp.toml", config);
            assert_ne!(host.run("systemctl start myapp.service").code, 0, "{}", host.title());
            host.ok("systemctl stop myapp.socket myapp.service");
            host.ok("systemctl reset-failed");
            let says = |line: &serde_json::Value| {
                line["MESSAGE"].as_str().is_some_and(|message| message.contains(reason))
            };
            let as_error = records(&host, "-p err GANGER_APP=myapp");
            assert!(as_error.iter().any(says), "{}: {reason:?} is not among {as_error:?}", host.title());
            let untold = records(&host, "_TRANSPORT=stdout SYSLOG_IDENTIFIER=ganger");
            assert!(!untold.iter().any(says), "{}: told twice: {untold:?}", host.title());
        }
    }
}

#[test]
fn each_workers_lines_are_its_own_in_the_journal() {
    for host in both("streams") {
        up(&host);
        for slot in [0, 1] {
            let pid = pid_of(&host, slot).to_string();
            let lines = records(&host, &format!("-u myapp.service -t 'myapp[{slot}]'"));
            let find = |text: &str| {
                let found = lines.iter().find(|line| line["MESSAGE"] == text);
                found.unwrap_or_else(|| panic!("{}: {text} is not among {lines:?}", host.title()))
            };
            for (text, priority) in [("to stdout", "6"), ("to stderr", "3")] {
                let line = find(text);
                assert_eq!(line["_PID"], pid.as_str(), "{}: {line}", host.title());
                assert_eq!(line["PRIORITY"], priority, "{}: {line}", host.title());
                assert_eq!(line["_SYSTEMD_UNIT"], "myapp.service", "{}: {line}", host.title());
            }
        }
        let errors = host.ok("journalctl -q -b -o cat -u myapp.service -t 'myapp[0]' -p err");
        assert_eq!(errors, "to stderr");
    }
}

#[test]
fn gangers_own_records_carry_fields_that_a_machine_can_match() {
    for host in both("own records") {
        up(&host);
        // The ids are in ganger(1): a worker was started; the pool was ready.
        let started =
            records(&host, "-u myapp.service MESSAGE_ID=dd3a21b9db274a0abcf24a7dc77a04cd GANGER_WORKER=1");
        let [started] = started.as_slice() else { panic!("{}: {started:?}", host.title()) };
        assert_eq!(started["GANGER_APP"], "myapp");
        assert_eq!(started["GANGER_GENERATION"], "1");
        assert_eq!(started["_PID"], host.property("myapp.service", "MainPID").as_str());
        let text = started["MESSAGE"].as_str().expect("a message");
        assert!(text.starts_with("worker 1 started"), "{text}");
        let ready = records(&host, "GANGER_APP=myapp MESSAGE_ID=aad35d5843c5446ab03da6a0a0a1b584");
        assert_eq!(ready.len(), 1, "{}: {ready:?}", host.title());
    }
}

#[test]
fn ganger_logs_shows_the_lines_of_one_slot_and_of_an_app() {
    for host in both("ganger logs") {
        up(&host);
        let (own, other) = (pid_of(&host, 0), pid_of(&host, 1));
        host.wait_for_log("myapp.service", &format!("line 20 of {own}"));
        let slot = host.ok("ganger logs myapp:0 -n 5");
        assert_eq!(slot.lines().count(), 5, "{}: {slot}", host.title());
        assert!(slot.contains(&format!("of {own}")) && !slot.contains(&format!("of {other}")), "{slot}");
        let app = host.ok("ganger logs myapp -n all");
        assert!(app.contains(&format!("of {own}")) && app.contains(&format!("of {other}")), "{app}");
        assert!(app.contains("worker 0 started"), "{app}");
    }
}

/// Every line of a worker up to the `last line` is there, in order.
fn assert_complete(host: &Host, slot: usize, pid: u64) {
    let text = host.ok(&format!(
        "journalctl --sync; journalctl -q -b -o cat _PID={pid} SYSLOG_IDENTIFIER='myapp[{slot}]'"
    ));
    let numbers: Vec<u64> =
        text.lines().filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse().ok()).collect();
    let last: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("last line ")?.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{}: its last line is lost", host.title()));
    assert_eq!(numbers, (0..=last).collect::<Vec<u64>>(), "{}", host.title());
}

#[test]
fn f34_no_line_is_lost_when_journald_is_restarted_or_killed() {
    for host in both("journald restarted") {
        up(&host);
        let pids = [pid_of(&host, 0), pid_of(&host, 1)];
        host.ok("systemctl restart systemd-journald");
        host.wait_for_log("myapp.service", &format!("line 60 of {}", pids[0]));
        host.ok("systemctl kill -s KILL systemd-journald");
        host.wait_for_log("myapp.service", &format!("line 120 of {}", pids[0]));
        let old = host.property("myapp.service", "MainPID");
        host.ok("systemctl reload myapp.service");
        for (slot, pid) in pids.into_iter().enumerate() {
            assert_complete(&host, slot, pid);
        }
        // ganger's own voice is heard by the new journald.
        host.wait_for_log("myapp.service", "reloaded: generation 2");
        assert_eq!(host.property("myapp.service", "MainPID"), old);
    }
}

#[test]
fn f34_a_journald_that_is_stopped_does_not_stop_the_supervisor() {
    for host in both("journald stopped") {
        up(&host);
        let journald = host.property("systemd-journald.service", "MainPID");
        let before = site::workers(&host);
        host.ok(&format!("kill -STOP {journald}"));
        for pid in &before {
            host.ok(&format!("kill -KILL {pid}"));
        }
        host.wait_for("two new workers", || {
            let now = site::workers(&host);
            now.len() == 2 && now.is_disjoint(&before) && site::status(&host)["ready"] == 2
        });
        host.ok("ganger reload --wait myapp");
        host.ok(&format!("kill -CONT {journald}"));
        host.wait_for_log("myapp.service", "reloaded: generation 2");
        assert_eq!(host.property("myapp.service", "NRestarts"), "0");
    }
}
