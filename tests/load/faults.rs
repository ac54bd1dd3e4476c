//! Numbers of processes that are given out again at once, and nonsense at every door.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::app::{App, is_alive, now, pid_of, send, soaking};

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

/// Runs `body` in a process with namespaces of its own for pids and the network, which runs the test `name` alone.
fn in_a_pid_namespace(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not shown without root: pids that are reused at once");
        return;
    }
    let mut command = Command::new("timeout");
    let patience = if soaking() { "3000" } else { "120" };
    command.args([patience, "unshare", "--pid", "--net", "--fork", "--mount-proc", "--kill-child"]);
    command.args(["sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().unwrap());
    let name = format!("faults::{name}");
    let output = command.args([&name, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said.lines().filter(|line| line.contains("pid of")).for_each(|line| eprintln!("{line}"));
}

#[test]
fn f25_whoever_takes_over_the_pid_of_a_dead_worker_is_never_signalled() {
    let name = "f25_whoever_takes_over_the_pid_of_a_dead_worker_is_never_signalled";
    in_a_pid_namespace(name, among_reused_pids);
}

/// Every other worker fills the notify socket, when told to, and ends; the others say nothing.
const LAST_WORDS: &str = "
import os, socket, time
if int(os.environ['GANGER_WORKER_ID']) % 2 == 0: time.sleep(1000)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
s.send(b'READY=1')
while not os.path.exists(os.environ['RUN'] + '/go'): time.sleep(0.01)
s.setblocking(False)
try:
    while True: s.send(b'STATUS=last words')
except BlockingIOError: pass
";

fn last_words() {
    // As systemd sets it; it counts for sockets made from now on.
    fs::write("/proc/sys/net/unix/max_dgram_qlen", "512").unwrap();
    let command = serde_json::to_string(&["python3", "-c", LAST_WORDS]).unwrap();
    let app = App::launch(
        &format!(
            "command = {command}\nworkers = 1\nready.when = \"notify\"\n[restart]\nmin-uptime = \"1ms\"\n\
             limit.interval = \"off\"\nbackoff = {{ initial = \"1ms\", max = \"1ms\" }}"
        ),
        &[],
    );
    // Whether ganger hears first of the words or of the death is chance.
    for round in 1..=8 {
        app.wait_for_log("worker 0 is ready", round);
        let pid = pid_of(&app.status()["workers"][0]);
        send(app.pid(), Signal::SIGSTOP);
        fs::write(app.path("go"), "").unwrap();
        assert!(harness::wait_until(|| !is_alive(pid)));
        fs::remove_file(app.path("go")).unwrap();
        // Once it is reaped, its number is the next one.
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        send(app.pid(), Signal::SIGCONT);
        app.wait_for_log("worker 0 started", 2 * round);
        let status = app.status();
        assert_eq!(pid_of(&status["workers"][0]), pid, "{status:#}");
        assert!(!app.status().to_string().contains("last words"), "{status:#}");
        send(pid, Signal::SIGKILL);
    }
    app.stop();
}

#[test]
fn f25_what_a_dead_worker_said_is_not_taken_for_the_words_of_the_next_with_its_pid() {
    let name = "f25_what_a_dead_worker_said_is_not_taken_for_the_words_of_the_next_with_its_pid";
    in_a_pid_namespace(name, last_words);
}

/// A worker that serves nobody and says whatever comes to its mind, for ever.
const BABBLER: &str = "
import os, random, socket
random.seed(int(os.environ['GANGER_WORKER']))
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
words = [b'READY=1', b'STATUS=', b'WATCHDOG=1', b'WATCHDOG_USEC=', b'EXTEND_TIMEOUT_USEC=', b'MAINPID=', b'\\n', b'=',
         b'STOPPING=0', b'RELOADING=', b'FDSTORE=1', b'BARRIER=1', b'99999999999999999999', b'-1', b'\\0', b'\\xff\\xfe']
s.send(b'READY=1')
while True:
    said = b''.join(random.choice(words) for _ in range(random.randrange(1, 30)))
    if random.random() < 0.3: said += random.randbytes(random.randrange(1, 2000))
    if random.random() < 0.01: said += b'x' * random.randrange(1, 150000)
    try: s.send(said)
    except OSError: pass
";

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    /// `text` with some bytes changed, doubled or left out.
    fn spoil(&mut self, text: &[u8]) -> Vec<u8> {
        let mut spoilt = text.to_vec();
        for _ in 0..1 + self.next(8) {
            let place = self.next(spoilt.len().max(1));
            match self.next(4) {
                0 => spoilt.insert(place.min(spoilt.len()), u8::try_from(self.next(256)).unwrap()),
                1 => drop(spoilt.drain(place.min(spoilt.len())..)),
                2 => spoilt.extend_from_within(..place.min(spoilt.len())),
                _ => spoilt.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << (self.0 % 8)),
            }
            spoilt.truncate(1 << 16);
        }
        spoilt
    }
}

/// The beginning of a D-Bus conversation, as far as nonsense gets with it.
const GREETING: &[u8] =
    b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\nl\x01\0\x01\0\0\0\0\x01\0\0\0\x6e\0\0\0\x01\x01o\0\x0c\0\0\0";

/// One go at every door; what is refused is what is meant.
fn pester(app: &App, random: &mut Random, config: &[u8]) {
    for _ in 0..20 {
        if let Ok(mut stream) = UnixStream::connect(app.path("ganger/app/private")) {
            let _ = stream.write_all(&random.spoil(GREETING));
        }
    }
    let stranger = UnixDatagram::unbound().unwrap();
    let _ = stranger.send_to(&random.spoil(b"READY=1\nMAINPID=1"), app.path("ganger/app/notify"));
    fs::write(app.path("app.toml"), random.spoil(config)).unwrap();
    app.ask("reload", &[]);
    for words in [["--json", ""], ["999999999", "--json"], [":77", "x"], ["\u{fffd}\n", "--json"]] {
        app.ask(["scale", "send", "signal", "restart"][random.next(4)], &words);
    }
}

#[test]
fn f38_nonsense_at_every_door_ends_no_supervisor_and_takes_no_room() {
    let command = serde_json::to_string(&["python3", "-c", BABBLER]).unwrap();
    let config = format!(
        "command = {command}\nworkers = 2\n[ready]\nwhen = \"notify\"\ntimeout = \"2s\"\n[stop]\ntimeout = \"1s\"\n\
         [restart]\nlimit.interval = \"off\"\nbackoff = {{ initial = \"10ms\", max = \"50ms\" }}\n[reload]\nbake = \"0s\""
    );
    let app = App::start(&config);
    let mut random = Random(38);
    (0..5).for_each(|_| pester(&app, &mut random, config.as_bytes()));
    let (before, seconds) = (app.memory_kib("VmRSS"), if soaking() { 600 } else { 6 });
    let (end, mut rounds) = (now() + Duration::from_secs(seconds), 0);
    while now() < end {
        pester(&app, &mut random, config.as_bytes());
        rounds += 1;
    }
    let after = app.memory_kib("VmRSS");
    eprintln!("{rounds} rounds of nonsense: {before} KiB before, {after} KiB after");
    assert!(after <= before + 2048, "memory grows: {before} KiB, {after} KiB");
    assert_eq!(app.log().matches("panicked").count(), 0, "{}", app.log());
    app.configure(&config);
    app.ask("reload", &[]).done();
    app.stop();
}
