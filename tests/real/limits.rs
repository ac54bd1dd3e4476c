//! Where a kernel has the controllers: each worker's own limits, an OOM kill that concerns one worker, and a
//! delegation that survives the supervisor's death. One boot for each Debian.

use harness::{Debian, Outcome, Vm, example, ganger};
use std::sync::LazyLock;

const CONFIG: &str = "\
command = '/usr/lib/ganger/worker --notify'
workers = 2
[limit]
memory = '64M'
tasks = 40
cpu = '150%'
";

/// Waits, in a VM's shell, until a line succeeds. A check that never does is ended by the VM.
fn until(line: &str) -> String {
    format!("until {line}; do sleep 0.3; done\n")
}

fn ready(old: &str) -> String {
    until(&format!(
        "[ \"$(systemctl show -P MainPID myapp.service)\" != \"{old}\" ] && \
         systemctl show -P StatusText myapp.service | grep -q '^2/2 workers ready'"
    ))
}

fn boot(debian: Debian, claim: &str, unit: &str) -> Option<Outcome> {
    let read = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(name);
        std::fs::read(&path).unwrap_or_else(|err| panic!("failed to read {}: {err}", path.display()))
    };
    let group = "cd /sys/fs/cgroup/system.slice/myapp.service\n";
    Vm::new(debian, claim)
        .put_file("/usr/bin/ganger", ganger())
        .put_file("/usr/lib/ganger/worker", example("worker"))
        .put("/etc/systemd/system/myapp.socket", read("myapp.socket"))
        .put("/etc/systemd/system/myapp.service", read("myapp.service"))
        .put("/etc/systemd/system/myapp.service.d/more.conf", unit)
        .put("/etc/ganger/myapp.toml", CONFIG)
        .check(
            "up",
            &format!(
                "systemctl daemon-reload\nsystemctl start myapp.socket\ncurl -sS http://127.0.0.1:8080/slot\n{}",
                ready("0")
            ),
        )
        .check("place", "cut -d: -f3 \"/proc/$(systemctl show -P MainPID myapp.service)/cgroup\"")
        .check("limits", &format!("{group}for w in w*; do cat $w/memory.max $w/pids.max $w/cpu.max; done"))
        .check("before", "ganger status --json myapp")
        .check(
            "oom",
            &format!(
                "curl -sS --max-time 60 http://127.0.0.1:8080/leak/200 || echo lost\n{}",
                until("ganger status --json myapp | grep -q '\"restarts\": *1' ") + &ready("0")
            ),
        )
        .check("after", "ganger status --json myapp")
        .check(
            "killed",
            &format!(
                "old=$(systemctl show -P MainPID myapp.service)\n\
                 systemctl kill -s KILL --kill-whom=main myapp.service\n{}\
                 curl -sS --max-time 60 http://127.0.0.1:8080/slot\n{group}cat w*/memory.max",
                ready("$old")
            ),
        )
        .check(
            "stopped",
            "systemctl stop myapp.socket myapp.service\ntest ! -e /sys/fs/cgroup/system.slice/myapp.service\n\
             systemctl show -P ActiveState myapp.service",
        )
        .boot()
}

/// Both, where they could be booted; one after the other, as emulation takes a whole processor.
static VMS: LazyLock<Vec<Outcome>> = LazyLock::new(|| {
    let boots =
        [(Debian::Bookworm, "[Service]\n"), (Debian::Trixie, "[Service]\nDelegateSubgroup=supervisor\n")];
    boots.into_iter().filter_map(|(debian, unit)| boot(debian, "limits", unit)).collect()
});

fn json(vm: &Outcome, check: &str) -> serde_json::Value {
    serde_json::from_str(vm.ok(check)).unwrap_or_else(|err| panic!("{check}: {err}: {}", vm.of(check)))
}

#[test]
fn each_worker_has_its_limits_and_ganger_is_beside_them_whoever_moved_it() {
    for vm in VMS.iter() {
        vm.ok("up");
        assert_eq!(vm.ok("place"), "/system.slice/myapp.service/supervisor");
        let one = ["67108864", "40", "150000 100000"];
        assert_eq!(vm.ok("limits").lines().collect::<Vec<_>>(), [one, one].concat());
    }
}

#[test]
fn an_oom_kill_restarts_the_worker_that_was_too_big_and_touches_no_sibling() {
    for vm in VMS.iter() {
        vm.ok("oom");
        let (before, after) = (json(vm, "before"), json(vm, "after"));
        assert_eq!(after["restarts"], 1, "{after}");
        assert_eq!((&after["pid"], &after["ready"]), (&before["pid"], &before["ready"]));
        let failed: Vec<usize> = (0..2).filter(|&slot| after["slots"][slot]["restarts"] == 1).collect();
        let [failed] = failed.as_slice() else { panic!("one slot was restarted: {after}") };
        let pid = |status: &serde_json::Value, slot: usize| status["workers"][slot]["pid"].clone();
        assert_ne!(pid(&before, *failed), pid(&after, *failed));
        assert_eq!(pid(&before, 1 - failed), pid(&after, 1 - failed), "the sibling was touched");
        let reason = after["slots"][*failed]["last_failure"].as_str().unwrap_or_default();
        assert!(reason.contains("memory"), "{reason}");
    }
}

#[test]
fn a_killed_supervisor_comes_back_into_its_delegated_group_with_the_limits() {
    for vm in VMS.iter() {
        let killed = vm.ok("killed");
        assert!(killed.ends_with("67108864\n67108864"), "{killed}");
        assert_eq!(vm.ok("stopped"), "inactive");
    }
}
