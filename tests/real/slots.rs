//! One slot of a real unit, stopped and started: by the command line, by `busctl`, and by nobody who may not.

use crate::site;
use harness::{Host, both};

const WORKER: &str = "org.ganger1.myapp /org/ganger1/worker/1 org.ganger1.Worker";

fn state_of_slot(host: &Host) -> String {
    host.ok(&format!("busctl get-property {WORKER} State"))
}

fn answers(host: &Host) {
    let said = host.run("curl -sS --max-time 20 http://127.0.0.1:8080/");
    assert_eq!(said.code, 0, "{}: {said}", host.title());
}

#[test]
fn a_slot_is_stopped_and_started_under_systemd_and_the_unit_stays_up() {
    for host in both("one slot") {
        site::install_scripted(&host, "--notify", "workers = 2\n");
        site::first_request(&host);
        site::wait_for_status(&host, "2/2 workers ready, generation 1");

        let stopped = host.ok("ganger stop myapp:1");
        assert!(stopped.contains("stop myapp: done: slot 1 is stopped"), "{}: {stopped}", host.title());
        assert_eq!(site::workers(&host).len(), 1, "{}", host.title());
        site::wait_for_status(&host, "1/2 workers ready, generation 1, 1 slot stopped");
        assert_eq!(state_of_slot(&host), "s \"stopped\"");
        answers(&host);

        host.ok("systemctl reload myapp.service");
        site::wait_for_status(&host, "1/2 workers ready, generation 2, 1 slot stopped");
        let started = host.ok(&format!("busctl --timeout=30 call {WORKER} Start"));
        assert!(started.contains("\"slot 1 was started\""), "{}: {started}", host.title());
        site::wait_for_status(&host, "2/2 workers ready, generation 2");

        for method in ["Stop", "Start"] {
            let nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups";
            let refused = host.run(&format!("{nobody} busctl call {WORKER} {method}"));
            assert!(refused.stderr.contains("Access denied"), "{}: {method}: {refused}", host.title());
        }
        let refused = host.run("setpriv --reuid=nobody --regid=nogroup --clear-groups ganger stop myapp:1");
        assert_eq!(refused.code, 4, "{}: {refused}", host.title());
        assert_eq!(site::workers(&host).len(), 2, "{}", host.title());

        for slot in ["0", "1"] {
            let worker = WORKER.replace("worker/1", &format!("worker/{slot}"));
            host.ok(&format!("busctl --timeout=30 call {worker} Stop"));
        }
        site::wait_for_status(&host, "0/2 workers ready, generation 2, 2 slots stopped");
        assert_eq!(host.property("myapp.service", "ActiveState"), "active", "{}", host.title());
        let waiting = host.start("exec curl -sS --max-time 60 http://127.0.0.1:8080/");
        host.ok("ganger start myapp:0");
        assert_eq!(waiting.finish().code, 0, "{}: who came meanwhile was not served", host.title());
        assert_eq!(host.property("myapp.service", "NRestarts"), "0", "{}", host.title());
        assert_eq!(host.ok("ganger stop myapp"), "");
    }
}
