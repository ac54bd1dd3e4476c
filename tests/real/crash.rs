//! F10, F18, F33: under load, whatever ends ganger costs the requests in flight and nothing else, and no worker
//! outlives its unit.

use crate::site;
use harness::load::{Class, Report};
use harness::{Host, both};
use std::fmt::Write as _;
use std::time::Duration;

/// So many connections the load has; more requests than these cannot be in flight.
const CONNECTIONS: u64 = 8;

fn up(host: &Host, arguments: &str, settings: &str) {
    site::install_scripted(host, arguments, settings);
    site::first_request(host);
    site::wait_for_status(host, "2/2 workers ready, generation 1");
}

/// A row of the table in docs/no-request-lost.md.
#[expect(clippy::print_stderr, reason = "a row for people")]
fn row(promise: &str, situation: &str, host: &Host, report: &Report) {
    let host = host.title().rsplit(", ").next().unwrap_or_default();
    eprintln!("| {promise} | {situation}, {host} | {} | {} |", report.sent, report.lost());
}

/// How often: few, or with `GANGER_SOAK` many.
fn times(few: u32, many: u32) -> u32 {
    if std::env::var_os("GANGER_SOAK").is_some() { many } else { few }
}

fn main_pid(host: &Host) -> String {
    host.property("myapp.service", "MainPID")
}

/// Waits until another supervisor than `old` says that its pool is ready.
fn wait_for_successor(host: &Host, old: &str) {
    host.wait_for("a new supervisor", || {
        let pid = main_pid(host);
        pid != old && pid != "0"
    });
    site::wait_for_status(host, "2/2 workers ready, generation 1");
}

/// Nobody was turned away at the door, whatever happened behind it. `killings` may each have cost what was
/// being answered at that moment.
fn assert_only_in_flight_lost(host: &Host, report: &Report, killings: u64) {
    let title = host.title();
    for class in [Class::Refused, Class::Timeout, Class::Truncated, Class::Malformed, Class::Status] {
        assert_eq!(report.of(class), 0, "{title}: {class:?}: {report}");
    }
    assert!(report.lost() <= killings * CONNECTIONS, "{title}: {report}");
    assert!(report.ok() > 100, "{title}: {report}");
}

fn assert_workers_are_the_units(host: &Host) {
    let running = site::processes(host, "worker").lines().count();
    assert_eq!(
        (running, site::workers(host).len()),
        (2, 2),
        "{}: workers outlived a supervisor",
        host.title()
    );
}

#[test]
fn f18_f33_restarts_of_the_service_lose_no_request() {
    for host in both("restart under load") {
        up(&host, "--notify --grace 300", "workers = 2\n[stop]\ntimeout = '5s'\n");
        let load = site::load(&host).connections(8).close_each().start();
        load.wait_for_answers(50);
        let restarts = times(3, 20);
        for _ in 0..restarts {
            let old = main_pid(&host);
            host.ok("systemctl restart myapp.service");
            wait_for_successor(&host, &old);
            load.wait_for_answers(50);
        }
        let report = load.stop();
        row("P4", &format!("{restarts} times `systemctl restart`"), &host, &report);
        report.assert_nothing_lost(200);
        assert_workers_are_the_units(&host);
    }
}

#[test]
fn f33_twenty_quick_restarts_neither_fail_the_unit_nor_close_the_port() {
    for host in both("quick restarts") {
        up(&host, "--notify --grace 100", "workers = 2\n[stop]\ntimeout = '5s'\n");
        let load = site::load(&host).connections(8).close_each().start();
        load.wait_for_answers(20);
        // Each one as soon as the last has returned, in the middle of whatever is going on.
        let count = times(20, 200);
        let restarts = format!("for i in $(seq {count}); do systemctl restart myapp.service || exit 1; done");
        let restarts = host.run_within(&restarts, Duration::from_secs(600));
        assert_eq!(restarts.code, 0, "{}: {restarts}", host.title());
        load.wait_for_answers(50);
        let report = load.stop();
        row("P4", &format!("{count} times `systemctl restart`, one after the other"), &host, &report);
        assert_eq!(report.lost(), 0, "{}: {report}", host.title());
        assert_eq!(host.property("myapp.socket", "ActiveState"), "active");
        assert_eq!(host.property("myapp.socket", "Result"), "success");
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        assert_workers_are_the_units(&host);
    }
}

#[test]
fn f18_a_killed_supervisor_costs_only_the_requests_in_flight() {
    for host in both("SIGKILL under load") {
        up(&host, "--notify", "workers = 2\n");
        let load = site::load(&host).connections(8).close_each().path("/sleep/20").start();
        let mut killings = 0;
        for whom in ["main", "all", "main"].iter().cycle().take(times(3, 21) as usize) {
            load.wait_for_answers(50);
            let old = main_pid(&host);
            host.ok(&format!("systemctl kill -s KILL --kill-whom={whom} myapp.service"));
            killings += 1;
            wait_for_successor(&host, &old);
            assert_workers_are_the_units(&host);
        }
        load.wait_for_answers(50);
        let report = load.stop();
        row("P4", &format!("ganger killed {killings} times, 8 requests in flight each time"), &host, &report);
        assert_only_in_flight_lost(&host, &report, killings);
        // What waited in the queue was answered: a connection that nobody had accepted cannot be reset.
        assert_eq!(host.property("myapp.service", "NRestarts"), killings.to_string());
    }
}

#[test]
fn f18_f33_a_crash_loop_of_the_supervisor_keeps_the_port_open() {
    for host in both("crash loop") {
        up(&host, "--notify", "workers = 2\n");
        let load = site::load(&host).connections(8).close_each().start();
        load.wait_for_answers(20);
        let mut kills = String::new();
        for _ in 0..12 {
            let _ = write!(kills, "systemctl kill -s KILL --kill-whom=main myapp.service; sleep 0.15;");
        }
        host.run(&kills);
        assert_eq!(host.property("myapp.socket", "ActiveState"), "active", "{}", host.title());
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        load.wait_for_answers(50);
        let report = load.stop();
        row("P4", "ganger killed 12 times within two seconds", &host, &report);
        assert_only_in_flight_lost(&host, &report, 12);
        assert_workers_are_the_units(&host);
    }
}

#[test]
fn f10_a_stopped_event_loop_is_killed_by_the_watchdog_with_its_stopped_worker_and_started_anew() {
    for host in both("watchdog") {
        up(&host, "--notify", "workers = 2\n");
        // The binary under test may be slow to start; a watchdog that short is for this test alone.
        site::adjust(&host, "WatchdogSec=2\nTimeoutAbortSec=2\n");
        host.ok("systemctl restart myapp.service");
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        let (old, workers) = (main_pid(&host), site::workers(&host));
        let stopped = workers.first().expect("a worker");
        host.ok(&format!("kill -STOP {stopped}; kill -STOP {old}"));
        host.wait_for_log("myapp.service", "Watchdog timeout");
        wait_for_successor(&host, &old);
        assert!(workers.is_disjoint(&site::workers(&host)), "{}", host.title());
        assert_workers_are_the_units(&host);
        assert!(host.ok("curl -sS --max-time 20 http://127.0.0.1:8080/pid").parse::<u64>().is_ok());
    }
}

#[test]
fn f10_the_watchdog_leaves_a_supervisor_alone_that_reloads_idles_or_cannot_start_workers() {
    for host in both("healthy under the watchdog") {
        site::install_scripted(&host, "--notify --ready-after 300", "workers = 2\n");
        site::adjust(&host, "WatchdogSec=2\n");
        site::first_request(&host);
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        let old = main_pid(&host);
        // A reload, then a reload that fails, then nothing at all: longer than the watchdog in sum and each.
        host.ok("systemctl reload myapp.service");
        site::configure(&host, "--never-ready", "workers = 2\n[ready]\ntimeout = '3s'\n");
        assert_ne!(host.run("systemctl reload myapp.service").code, 0);
        // Then no worker at all, and none to be had.
        host.ok("mv /usr/lib/ganger/worker /usr/lib/ganger/away");
        for pid in site::workers(&host) {
            host.ok(&format!("kill -KILL {pid}"));
        }
        host.wait_for("no worker is left", || site::status(&host)["ready"] == 0);
        host.ok("sleep 3");
        assert_eq!(main_pid(&host), old, "{}", host.title());
        assert_eq!(host.property("myapp.service", "NRestarts"), "0");
        host.ok("mv /usr/lib/ganger/away /usr/lib/ganger/worker && ganger reset myapp");
        host.wait_for("two workers", || site::status(&host)["ready"] == 2);
        assert_eq!(main_pid(&host), old, "{}", host.title());
    }
}

#[test]
fn f18_stop_leaves_nothing_though_supervisor_and_worker_are_stopped() {
    for host in both("stop of what is stopped") {
        up(&host, "--notify --double-fork", "workers = 2\n[stop]\ntimeout = '1s'\n");
        site::adjust(&host, "TimeoutStopSec=2\n");
        let workers = site::workers(&host);
        let stopped = workers.first().expect("a worker");
        host.ok(&format!("kill -STOP {stopped}; kill -STOP {}", main_pid(&host)));
        host.ok("systemctl stop myapp.socket myapp.service");
        host.wait_for("the unit is down", || {
            ["inactive", "failed"].contains(&host.property("myapp.service", "ActiveState").as_str())
        });
        assert_eq!(site::processes(&host, "worker|ganger|sleep"), "", "{}", host.title());
    }
}

#[test]
fn what_a_health_check_started_goes_with_it_and_so_does_its_control_group() {
    for host in both("control groups of health checks") {
        let asked = |check: &str| {
            format!(
                "workers = 1\n[health]\nexec = ['sh', '-c', '{check}']\ninterval = '100ms'\n\
                 timeout = '200ms'\nfailures = 1000\n"
            )
        };
        site::install_scripted(&host, "--notify", &asked("setsid sleep 4321 & sleep 4322"));
        site::first_request(&host);
        site::wait_for_status(&host, "1/1 workers ready, generation 1");
        let worker = site::workers(&host);
        let groups = format!("/sys/fs/cgroup{}", host.property("myapp.service", "ControlGroup"));
        let sleepers = || host.run("pgrep -x sleep").stdout.lines().count();
        let last_check = || {
            let names = host.run(&format!("ls {groups}")).stdout;
            names.lines().filter_map(|name| name.strip_prefix('c')?.parse::<u64>().ok()).max().unwrap_or(0)
        };
        host.wait_for("ten checks that take too long", || last_check() >= 10);
        let there = sleepers();
        assert!(there <= 4, "{}: {there} processes of checks", host.title());
        assert_eq!(site::workers(&host), worker, "{}", host.title());
        site::configure(&host, "--notify", &asked("setsid sleep 4323 & sleep 4324 & exit 0"));
        host.ok("systemctl reload myapp.service");
        let so_far = last_check();
        host.wait_for("ten good checks", || last_check() >= so_far + 10);
        let there = sleepers();
        assert!(there <= 4, "{}: {there} processes of checks", host.title());
        site::configure(&host, "--notify", "workers = 1\n");
        host.ok("systemctl reload myapp.service");
        host.wait_for("the end of all checks", || sleepers() == 0);
        host.ok("systemctl reload myapp.service");
        host.wait_for("the end of all their groups", || last_check() == 0);
        host.ok("systemctl stop myapp.service");
    }
}
