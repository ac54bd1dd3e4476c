//! Numbers of processes that are given out again at once: who has the pid of a dead worker is not that worker.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::app::{App, now, soaking};

/// Set in the process that has a pid namespace of its own.
const INSIDE: &str = "GANGER_TEST_PID_NAMESPACE";
/// Bystanders that live at the same time.
const BYSTANDERS: usize = 40;

/// Workers of slots 0 and 1 end at once, the one of slot 2 leaves a daemon, and the one of slot 3 has to be killed.
fn short_lives() -> String {
    let script =
        "case $GANGER_WORKER in 2) setsid -f sleep 1000;; 3) trap '' TERM; sleep 1000 & wait;; esac; exit 1";
    format!(
        "command = {}\nworkers = 4\n[ready]\nwhen = \"started\"\n[stop]\ntimeout = \"10ms\"\n[restart]\n\
         min-uptime = \"0s\"\nlimit.interval = \"off\"\nbackoff = {{ initial = \"1ms\", max = \"1ms\" }}",
        serde_json::to_string(&["sh", "-c", script]).unwrap()
    )
}

/// The pids that ganger named in its log, read on and on.
struct WorkersSoFar {
    log: BufReader<File>,
    pids: BTreeSet<u32>,
}

impl WorkersSoFar {
    fn read_on(&mut self) -> &BTreeSet<u32> {
        let mut line = String::new();
        while self.log.read_line(&mut line).is_ok_and(|read| read > 0) {
            let pid = line.split("(pid ").nth(1).and_then(|rest| rest.split(')').next()?.parse::<u32>().ok());
            self.pids.extend(pid);
            line.clear();
        }
        &self.pids
    }
}

/// A process that is nothing to ganger, leads a session and a group, and ends with its input.
fn bystander() -> Child {
    // The lowest number that is free comes next: that of whoever was reaped last, as a rule.
    fs::write("/proc/sys/kernel/ns_last_pid", "1").unwrap();
    let mut command = Command::new("setsid");
    command.arg("cat").env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Ends it; whoever signalled it before is found out.
#[track_caller]
fn dismiss(mut bystander: Child) {
    let ended = bystander.try_wait().unwrap();
    assert!(ended.is_none(), "a bystander is gone, {}: {ended:?}", bystander.id());
    drop(bystander.stdin.take());
    let ended = bystander.wait().unwrap();
    assert!(ended.success(), "a bystander was hit, {}: {ended}", bystander.id());
}

/// Bystanders come and go until told to stop; tells how many had the number of a worker that was gone.
fn take_over_pids(mut workers: WorkersSoFar, stop: &AtomicBool) -> (usize, usize) {
    let (mut living, mut all, mut taken_over) = (VecDeque::new(), 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let new = bystander();
        taken_over += usize::from(workers.read_on().contains(&new.id()));
        all += 1;
        living.push_back(new);
        if living.len() > BYSTANDERS {
            dismiss(living.pop_front().unwrap());
        }
    }
    living.into_iter().for_each(dismiss);
    (all, taken_over)
}

/// The claim itself, in a pid namespace of its own.
fn among_reused_pids() {
    let (wanted, limit) = if soaking() { (100_000, 1_200) } else { (3_000, 10) };
    let end = now() + Duration::from_secs(limit);
    let app = App::launch(&short_lives(), &[]);
    let log = BufReader::new(File::open(app.path("log")).unwrap());
    let stop = AtomicBool::new(false);
    let (all, taken_over, restarts) = std::thread::scope(|scope| {
        let workers = WorkersSoFar { log, pids: BTreeSet::new() };
        let taking = scope.spawn(|| take_over_pids(workers, &stop));
        let mut restarts = 0;
        while restarts < wanted && now() < end && !taking.is_finished() {
            app.ask("restart", &[":3"]).done();
            restarts = app.status()["restarts"].as_u64().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let (all, taken_over) = taking.join().unwrap();
        (all, taken_over, restarts)
    });
    eprintln!("{restarts} restarts; of {all} bystanders {taken_over} had the pid of a worker that was gone");
    assert!(restarts >= 50 && taken_over >= 20, "hardly any pid was taken over");
    app.stop();
}

#[test]
fn f25_whoever_takes_over_the_pid_of_a_dead_worker_is_never_signalled() {
    const NAME: &str = "faults::f25_whoever_takes_over_the_pid_of_a_dead_worker_is_never_signalled";
    if std::env::var_os(INSIDE).is_some() {
        return among_reused_pids();
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not shown without root: pids that are reused at once");
        return;
    }
    let mut command = Command::new("timeout");
    let patience = if soaking() { "3000" } else { "120" };
    command.args([patience, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    command.arg(std::env::current_exe().unwrap());
    let output = command.args([NAME, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said.lines().filter(|line| line.contains("bystanders")).for_each(|line| eprintln!("{line}"));
}
