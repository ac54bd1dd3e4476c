//! The example pair of `units/`, lived through as its README tells.

use crate::site;
use harness::both;

#[test]
fn the_example_pair_starts_at_its_first_request_and_reloads_and_stops_without_a_trace() {
    for host in both("the example pair") {
        site::install(&host);
        let verified =
            host.run("cd /etc/systemd/system && systemd-analyze verify --man=no myapp.socket myapp.service");
        assert_eq!((verified.code, verified.stderr.as_str()), (0, ""), "{}", host.title());

        host.ok("systemctl start myapp.socket");
        assert_eq!(host.property("myapp.service", "ActiveState"), "inactive");
        let said = host.ok("curl -sS --max-time 30 http://127.0.0.1:8080/");
        assert!(said.starts_with("hello from Rust, worker "), "{said}");
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        let status = host.ok("systemctl status myapp.service");
        assert!(status.contains("Status: \"2/2 workers ready, generation 1\""), "{status}");

        let before = site::workers(&host);
        let reload = host.run("systemctl reload myapp.service");
        assert_eq!(reload.code, 0, "{}: {reload}", host.title());
        // It has waited: the verdict is there the moment it returns.
        let after = site::workers(&host);
        assert_eq!((before.len(), after.len()), (2, 2), "{before:?} {after:?}");
        assert!(before.is_disjoint(&after), "{before:?} {after:?}");
        assert!(site::is_active(&host));
        site::wait_for_status(&host, "2/2 workers ready, generation 2");

        host.ok("systemctl stop myapp.socket myapp.service");
        site::assert_nothing_left(&host);
        assert_ne!(host.run("curl -sS --max-time 5 http://127.0.0.1:8080/").code, 0);
    }
}

#[test]
fn a_bad_reload_fails_in_systemctl_and_leaves_the_old_workers_and_an_active_unit() {
    for host in both("a bad reload") {
        site::install(&host);
        site::first_request(&host);
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        let good = host.ok("cat /etc/ganger/myapp.toml");
        let workers = site::workers(&host);
        for (config, told) in [
            ("command = [\n", "the configuration is not valid, nothing is changed"),
            ("command = ['/usr/lib/ganger/hello']\nwokers = 2\n", "wokers"),
            (
                "command = ['/bin/sh', '-c', 'echo no database >&2; exit 3']\nworkers = 2\n",
                "exited with status 3",
            ),
            ("command = ['/usr/lib/ganger/nowhere']\nworkers = 2\n", "/usr/lib/ganger/nowhere"),
        ] {
            host.put("/etc/ganger/myapp.toml", config);
            let reload = host.run("systemctl reload myapp.service");
            assert_ne!(reload.code, 0, "{}: {config}", host.title());
            assert!(site::is_active(&host), "{}: {config}", host.title());
            assert_eq!(site::workers(&host), workers, "{}: {config}", host.title());
            host.wait_for_log("myapp.service", told);
        }
        host.put("/etc/ganger/myapp.toml", good);
        host.ok("systemctl reload myapp.service");
        assert!(workers.is_disjoint(&site::workers(&host)));
    }
}

#[test]
fn stop_leaves_nothing_of_workers_that_ignore_signals_and_double_fork() {
    for host in both("stop") {
        let stop = "workers = 2\n[stop]\ntimeout = '500ms'\n";
        site::install_scripted(&host, "--ignore-term --double-fork", stop);
        for command in ["ganger stop myapp", "systemctl stop myapp.socket"] {
            site::first_request(&host);
            site::wait_for_status(&host, "2/2 workers ready, generation 1");
            host.wait_for("two grandchildren", || site::processes(&host, "sleep").lines().count() == 2);
            let stopped = host.run(command);
            assert_eq!(stopped.code, 0, "{}: {stopped}", host.title());
            host.wait_for_property("myapp.service", "ActiveState", "inactive");
            assert_eq!(host.property("myapp.service", "Result"), "success", "{}", host.title());
            site::assert_nothing_left(&host);
        }
    }
}

#[test]
fn only_a_service_without_delegation_says_what_it_misses() {
    for host in both("delegation") {
        site::install_scripted(&host, "--notify", "workers = 1\n");
        let said = || host.journal("myapp.service").matches("clears its environment may outlive it").count();
        site::first_request(&host);
        site::wait_for_status(&host, "1/1 workers ready, generation 1");
        assert_eq!(said(), 0, "{}", host.title());
        site::adjust(&host, "Delegate=no\n");
        host.ok("systemctl restart myapp.service");
        site::wait_for_status(&host, "1/1 workers ready, generation 1");
        let line = host.wait_for_log("myapp.service", "clears its environment may outlive it");
        assert!(line.contains("Delegate=yes"), "{line}");
        assert_eq!(said(), 1, "{}", host.title());
    }
}
