//! Faults of the machine that only a kernel of one's own can show: a wall clock that is set by days, an end to the
//! open files of all users together, no more tasks for the unit. One boot.

use harness::{Debian, Outcome, Vm, example, ganger};
use std::sync::LazyLock;

/// Slot 0 does not leave when asked, slot 1 does, slot 2 crashes and waits for an hour; all at noon.
const CONFIG: &str = "\
command = ['sh', '-c', 'case $GANGER_WORKER in 0) set -- --ignore-term;; 2) set -- --exit-after 50 --exit-code 3;; esac; \
           exec /usr/lib/ganger/worker --notify \"$@\"']
workers = 3
[restart]
min-uptime = '1min'
backoff = { initial = '1h', max = '1h' }
[stop]
timeout = '8s'
[recycle]
calendar = '04:00 UTC'
lifetime = '2h'
jitter = '0%'
";

/// Shell functions for all checks.
const WORDS: &str = r#"
until_() { for i in $(seq 150); do if eval "$1"; then return 0; fi; sleep 0.3; done; echo "never: $1"; ganger status myapp; \
           journalctl -u myapp.service -o cat | tail -n 30; return 1; }
pids() { ganger status --json myapp | tr ',' '\n' | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | sort -n \
         | grep -vx "$(systemctl show -P MainPID myapp.service)" | tr '\n' ' '; }
state() { ganger status --json myapp | tr -d '\n '; }
restarts() { state | grep -o '"restarts":[0-9]*' | tr '\n' ' '; }
ticks() { cut -d' ' -f14,15 "/proc/$(systemctl show -P MainPID myapp.service)/stat" | tr ' ' + | xargs -I{} sh -c 'echo $(({}))'; }
says() { journalctl -u myapp.service -o cat | grep -c "$1" || :; }
"#;

fn boot() -> Option<Outcome> {
    let read = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(name);
        std::fs::read(&path).unwrap_or_else(|err| panic!("failed to read {}: {err}", path.display()))
    };
    let check = |script: &str| format!(". /opt/words\n{script}");
    Vm::new(Debian::Trixie, "clock jumps and shortages")
        .put_file("/usr/bin/ganger", ganger())
        .put_file("/usr/lib/ganger/worker", example("worker"))
        .put("/etc/systemd/system/myapp.socket", read("myapp.socket"))
        .put("/etc/systemd/system/myapp.service", read("myapp.service"))
        .put("/etc/systemd/system/myapp.service.d/more.conf", "[Service]\nWatchdogSec=0\n")
        .put("/etc/ganger/myapp.toml", CONFIG)
        .put("/opt/words", WORDS)
        .check(
            "up",
            &check(
                "systemctl stop systemd-timesyncd 2>/dev/null || :\ndate -s '2026-11-22 12:00:00 UTC'\n\
                 systemctl daemon-reload\nsystemctl start myapp.socket\ncurl -sS --max-time 20 http://127.0.0.1:8080/slot\n\
                 until_ 'state | grep -q waiting'\nuntil_ '[ \"$(says \"is ready after\")\" -ge 3 ]'",
            ),
        )
        .check(
            "jumps",
            &check(
                "before=\"$(pids) $(restarts)\"; ticks=$(ticks)\n\
                 for jump in '+1 day' '-1 day' '+5 hours' '-400 days' '+3 years' '-1 hour'; do\n\
                 date -s \"$(date -d \"$jump\" '+%F %T')\" >/dev/null; sleep 0.5; curl -sS --max-time 20 http://127.0.0.1:8080/slot; done\n\
                 date -s '2026-11-22 12:01:00 UTC' >/dev/null; sleep 1\n\
                 used=$(( $(ticks) - ticks )); echo \"used $used ticks\"; [ $used -lt 200 ]\n\
                 after=\"$(pids) $(restarts)\"; echo \"$before\"; echo \"$after\"; [ \"$before\" = \"$after\" ]\n\
                 systemctl is-active myapp.service",
            ),
        )
        .check(
            "stop-timeout",
            &check(
                "ganger restart myapp:0 >/dev/null 2>&1 & until_ 'state | grep -q draining'\n\
                 date -s '2026-11-25 12:00:00 UTC' >/dev/null; sleep 0.5; state | grep -o draining | head -n1\n\
                 date -s '2026-11-22 12:00:00 UTC' >/dev/null; wait $!; says 'did not leave in time'",
            ),
        )
        .check(
            "calendar",
            &check(
                "before=$(pids); date -s '2026-11-23 03:59:57 UTC' >/dev/null\n\
                 until_ '[ \"$(says \"is asked to leave\")\" -ge 3 ]'\nuntil_ '! state | grep -q draining'\n\
                 after=$(pids); echo \"$before\"; echo \"$after\"\n\
                 for pid in $before; do case \" $after \" in *\" $pid \"*) echo \"$pid stayed\"; exit 1;; esac; done\n\
                 date; [ \"$(says 'was due by the calendar')\" -ge 3 ]",
            ),
        )
        .check(
            "no-files",
            &check(
                "before=$(pids); max=$(cat /proc/sys/fs/file-max)\n\
                 echo $(( $(cut -f1 /proc/sys/fs/file-nr) / 2 )) >/proc/sys/fs/file-max; kill -KILL \"$(echo $before | cut -d' ' -f1)\"\n\
                 systemctl kill -s HUP --kill-whom=main myapp.service\n\
                 until_ '[ \"$(says \"reload refused\")\" -ge 1 ]'\n\
                 kill -0 \"$(echo $before | cut -d' ' -f2)\"\n\
                 echo $max >/proc/sys/fs/file-max\n\
                 ganger reset myapp; until_ '[ \"$(pids | wc -w)\" -ge 2 ]'\n\
                 journalctl -u myapp.service -o cat | grep -m1 'open files in system'\n\
                 says panicked; systemctl show -P NRestarts myapp.service",
            ),
        )
        .check(
            "no-tasks",
            &check(
                "before=$(pids); systemctl set-property --runtime myapp.service TasksMax=1\n\
                 out=$(ganger restart myapp:1 2>&1) && exit 1; echo \"$out\" | grep -m1 'try again'\n\
                 [ \"$(pids)\" = \"$before\" ]; curl -sS --max-time 20 http://127.0.0.1:8080/slot\n\
                 systemctl set-property --runtime myapp.service TasksMax=infinity\n\
                 ganger restart myapp:1; cd /sys/fs/cgroup/system.slice/myapp.service\n\
                 until_ '[ \"$(ls -d w* | wc -l)\" = \"$(pids | wc -w)\" ]'\n\
                 says panicked; systemctl show -P NRestarts myapp.service",
            ),
        )
        .boot()
}

static VM: LazyLock<Option<Outcome>> = LazyLock::new(boot);

#[test]
fn f37_a_clock_set_by_days_forth_and_back_restarts_nobody() {
    let Some(vm) = VM.as_ref() else { return };
    vm.ok("up");
    assert!(vm.ok("jumps").ends_with("\nactive"), "{}", vm.ok("jumps"));
}

#[test]
fn f37_a_stop_timeout_is_not_over_because_the_clock_was_set() {
    let Some(vm) = VM.as_ref() else { return };
    assert_eq!(vm.ok("stop-timeout"), "draining\n1");
}

#[test]
fn f37_a_clock_set_to_just_before_the_calendars_time_brings_it_then() {
    let Some(vm) = VM.as_ref() else { return };
    vm.ok("calendar");
}

#[test]
fn f20_open_files_of_the_whole_machine_and_tasks_of_the_unit_may_run_out() {
    let Some(vm) = VM.as_ref() else { return };
    for check in ["no-files", "no-tasks"] {
        let out = vm.ok(check);
        assert!(out.ends_with("\n0\n0"), "{check}: {out}");
    }
}
