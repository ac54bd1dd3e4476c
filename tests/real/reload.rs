//! F11: whatever becomes of a reload, its verdict is true and the unit is not left `reloading`.

use crate::site;
use harness::{Host, both};
use nix::sys::signal::Signal;
use std::time::Duration;

/// New workers take this long, so that a reload can be met in its middle.
const SLOW: &str = "workers = 2\n[stop]\ntimeout = '2s'\n";

/// How long systemd may take to see that a killed supervisor is gone, on a machine that is busy.
const RECOVERY: Duration = Duration::from_secs(15);

/// The pair, up, with workers that are ready after `ms`.
fn up(host: &Host, ms: u32) {
    site::install_scripted(host, &format!("--ready-after {ms}"), SLOW);
    site::first_request(host);
    site::wait_for_status(host, "2/2 workers ready, generation 1");
}

fn settled(host: &Host, status: &str) {
    site::wait_for_status(host, status);
    host.wait_for("the unit is active", || site::is_active(host));
}

#[test]
fn f11_a_unit_is_active_again_after_a_reload_whose_client_was_killed() {
    for host in both("a killed client") {
        up(&host, 700);
        let systemctl = host.start("exec systemctl reload myapp.service");
        host.wait_for_property("myapp.service", "ActiveState", "reloading");
        systemctl.signal(Signal::SIGKILL);
        // The reload goes on, and ends well.
        settled(&host, "2/2 workers ready, generation 2");

        let systemctl = host.start("exec systemctl reload myapp.service");
        host.wait_for_log("myapp.service", "reloading to generation 3");
        host.ok("kill -9 $(systemctl show -P ControlPID myapp.service)");
        assert_ne!(systemctl.finish().code, 0, "{}", host.title());
        settled(&host, "2/2 workers ready, generation 3");

        let client = host.start("exec ganger reload --wait myapp");
        host.wait_for_property("myapp.service", "ActiveState", "reloading");
        client.signal(Signal::SIGKILL);
        settled(&host, "2/2 workers ready, generation 4");
        assert_eq!(host.property("myapp.service", "NRestarts"), "0");
    }
}

#[test]
fn a_stop_in_the_middle_of_a_reload_leaves_no_failed_unit() {
    for host in both("a stop in a reload") {
        up(&host, 5_000);
        let systemctl = host.start("exec systemctl reload myapp.service");
        host.wait_for_log("myapp.service", "reloading to generation 2");
        host.ok("systemctl stop myapp.socket myapp.service");
        assert_eq!(host.property("myapp.service", "ActiveState"), "inactive", "{}", host.title());
        assert_eq!(host.property("myapp.service", "Result"), "success", "{}", host.title());
        assert_ne!(systemctl.finish().code, 0, "{}", host.title());
    }
}

#[test]
fn a_reload_that_a_signal_to_ganger_ends_has_failed() {
    for host in both("a signal in a reload") {
        // Workers that leave at once, and some that have to be killed.
        for manner in ["", " --ignore-term"] {
            site::install_scripted(&host, &format!("--ready-after 2000{manner}"), SLOW);
            site::first_request(&host);
            site::wait_for_status(&host, "2/2 workers ready, generation 1");
            let systemctl = host.start("exec systemctl reload myapp.service");
            host.wait_for("a reload under way", || {
                host.property("myapp.service", "StatusText").contains("reloading to generation 2")
            });
            host.ok("systemctl kill -s TERM --kill-whom=main myapp.service");
            let out = systemctl.finish();
            assert_ne!(out.code, 0, "{}:{manner} {out}", host.title());
            // Restart=always.
            settled(&host, "2/2 workers ready, generation 1");
            host.ok("systemctl stop myapp.socket myapp.service");
        }
    }
}

#[test]
fn f11_a_second_reload_waits_for_the_first_and_both_learn_their_verdict() {
    for host in both("two reloads") {
        up(&host, 500);
        let first = host.start("exec ganger reload --wait myapp");
        host.wait_for_log("myapp.service", "reloading to generation 2");
        let second = host.start("exec ganger reload --wait myapp");
        let third = host.start("exec systemctl reload myapp.service");
        for (name, client) in [("first", first), ("second", second), ("third", third)] {
            let out = client.finish();
            assert_eq!(out.code, 0, "{}: {name}: {out}", host.title());
        }
        host.wait_for("the unit is active", || site::is_active(&host));
        assert!(site::status(&host)["generation"].as_u64().is_some_and(|generation| generation >= 3));
    }
}

#[test]
fn f11_a_supervisor_killed_in_a_reload_is_back_within_seconds() {
    for host in both("ganger killed in a reload") {
        up(&host, 600);
        for (generation, command) in ["systemctl reload myapp.service", "ganger reload --wait myapp"]
            .into_iter()
            .enumerate()
            .map(|(index, command)| (index + 1, command))
        {
            let client = host.start(&format!("exec {command}"));
            host.wait_for("a reload under way", || {
                host.property("myapp.service", "StatusText").contains("reloading to generation 2")
            });
            host.ok("systemctl kill -s KILL --kill-whom=main myapp.service");
            // Seconds: not the minutes of a start timeout, which is what a unit stuck in `reload-notify` waits for.
            let restarted = format!("[ \"$(systemctl show -P NRestarts myapp.service)\" = {generation} ]");
            host.run_within(&format!("until {restarted}; do sleep 0.1; done"), RECOVERY);
            assert_ne!(client.finish().code, 0, "{}: {command}", host.title());
            settled(&host, "2/2 workers ready, generation 1");
        }
    }
}

#[test]
fn a_reload_by_signal_and_one_by_bus_show_reloading_and_then_active() {
    for host in both("reloads from elsewhere") {
        up(&host, 500);
        host.ok("systemctl kill -s HUP --kill-whom=main myapp.service");
        host.wait_for_property("myapp.service", "ActiveState", "reloading");
        settled(&host, "2/2 workers ready, generation 2");

        let call = host.start(&format!("exec busctl call {} Reload", site::APP));
        host.wait_for_property("myapp.service", "ActiveState", "reloading");
        let verdict = call.finish();
        assert_eq!(verdict.code, 0, "{}: {verdict}", host.title());
        assert!(verdict.stdout.contains("\"done\""), "{verdict}");
        settled(&host, "2/2 workers ready, generation 3");

        site::configure(&host, "--crash-before-ready", SLOW);
        let call = host.run(&format!("busctl call {} Reload", site::APP));
        assert_ne!(call.code, 0, "{}: {call}", host.title());
        host.wait_for("the unit is active", || site::is_active(&host));
        assert_eq!(host.ok(&format!("busctl get-property {} Generation Ready", site::APP)), "t 3\nu 2");
    }
}
