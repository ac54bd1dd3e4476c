//! What the service manager is told, datagram by datagram, and what it is never told.

use nix::sys::signal::Signal;

use crate::stage::{From, Run, Stage};

const WORKERS: &str =
    "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\nreload.bake = '0s'\n";

/// The states in the order in which they were told; what is said about patience and in passing left out.
fn states(run: &Run) -> Vec<&'static str> {
    let words = ["READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "EXIT_STATUS="];
    let told = run.all(From::Manager);
    told.iter().filter_map(|text| words.into_iter().find(|word| text.contains(word))).collect()
}

/// How often something was told so far.
fn times(run: &Run, text: &str) -> usize {
    run.all(From::Manager).iter().filter(|told| told.contains(text)).count()
}

/// Each datagram is ganger's own, and no descriptor came along.
#[track_caller]
fn all_are_gangers(run: &Run) {
    let told = run.all(From::Manager);
    assert!(!told.iter().any(|text| text.starts_with('[')), "{told:#?}");
}

#[test]
fn f08_ready_is_told_once_and_only_after_every_worker_is_ready() {
    let config = "command = ['sh', '-c', 'test $GANGER_WORKER = 0 || read line <@DIR@/gate; exec @WORKER@ --notify']\n\
         listen = ['127.0.0.1:0']\nworkers = 2";
    let stage = Stage::new(config);
    nix::unistd::mkfifo(&stage.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = stage.managed().start();
    run.told("STATUS=1/2 workers ready, generation 1");
    assert_eq!(states(&run), [] as [&str; 0]);
    assert_eq!(run.get("/slot"), "0", "who is ready serves");
    std::fs::write(run.path("gate"), "go\n").unwrap();
    assert_eq!(run.told("READY=1"), "READY=1\nSTATUS=2/2 workers ready, generation 1");
    run.stop();
    assert_eq!(states(&run), ["READY=1", "STOPPING=1"]);
    all_are_gangers(&run);
}

#[test]
fn ready_is_told_although_a_worker_fails_if_another_serves() {
    let config = "command = ['sh', '-c', 'test $GANGER_WORKER = 0 || exit 1; exec @WORKER@ --notify']\n\
         listen = ['127.0.0.1:0']\nworkers = 2";
    let run = Stage::new(config).managed().start();
    let ready = run.told("READY=1");
    assert!(ready.contains("STATUS=1/2 workers ready"), "{ready}");
    run.stop();
}

#[test]
fn a_slow_start_asks_for_the_time_that_it_may_take() {
    let run = Stage::new(&format!("{WORKERS}ready.timeout = '200s'")).managed().start();
    let text = run.told("EXTEND_TIMEOUT_USEC=");
    let micros: u64 = text.trim_start_matches("EXTEND_TIMEOUT_USEC=").parse().unwrap();
    assert!((200_000_000..=206_000_000).contains(&micros), "{text}");
    run.told("READY=1");
    run.stop();
}

#[test]
fn a_stop_asks_for_the_time_that_it_may_take() {
    let config = WORKERS.replace("'--notify'", "'--notify', '--ignore-term'");
    let run = Stage::new(&format!("{config}stop.timeout = '500ms'")).managed().start();
    run.told("READY=1");
    run.stop();
    let told = run.all(From::Manager);
    let stopping = told.iter().position(|text| text.starts_with("STOPPING=1")).unwrap();
    let extension = told.get(stopping + 1..).unwrap().iter();
    let micros = extension.filter_map(|text| text.strip_prefix("EXTEND_TIMEOUT_USEC=")).next();
    let micros: u64 = micros.unwrap().parse().unwrap();
    assert!((5_400_000..=5_500_000).contains(&micros), "{micros}");
}

#[test]
fn a_reload_by_signal_is_told_with_its_time() {
    let run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    run.signal(Signal::SIGHUP);
    let reloading = run.told("RELOADING=1");
    let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let now = now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000;
    let ago = now - at.parse::<i64>().unwrap();
    assert!((0..60_000_000).contains(&ago), "{ago} µs ago");
    run.told("READY=1\nSTATUS=2/2 workers ready, generation 2");
    run.stop();
    assert_eq!(states(&run), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

#[test]
fn a_reload_by_a_client_is_told() {
    let run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    let out = run.client(&["reload", "--wait", "app"]);
    assert!(out.status.success(), "{out:?}");
    run.stop();
    assert_eq!(states(&run), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

#[test]
fn f11_a_reload_that_the_manager_waits_for_itself_is_not_told_as_one() {
    let run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    let mut client = run.client_command(&["reload", "--wait", "app"]);
    client.env("MAINPID", run.pid().to_string()).env("INVOCATION_ID", "0123456789abcdef0123456789abcdef");
    let out = client.output().unwrap();
    assert!(out.status.success(), "{out:?}");
    run.told("STATUS=2/2 workers ready, generation 2");
    run.stop();
    assert_eq!(states(&run), ["READY=1", "STOPPING=1"]);
    assert!(times(&run, "EXTEND_TIMEOUT_USEC=") >= 2, "{:#?}", run.all(From::Manager));
}

#[test]
fn f11_a_reload_that_fails_ends_in_ready_too() {
    let mut run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    run.configure(&WORKERS.replace("'--notify'", "'--notify', '--crash-before-ready'"));
    run.signal(Signal::SIGHUP);
    run.said("error: reload failed");
    run.said("generation 2 is taken back");
    let last = run.told_times(2, "READY=1");
    assert!(
        last.contains("2/2 workers ready, generation 1") && last.contains("exited with status 1"),
        "{last}"
    );
    run.stop();
    assert_eq!(states(&run), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

#[test]
fn f11_a_reload_by_signal_that_is_refused_is_told_with_its_end() {
    let mut run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    run.configure(&WORKERS.replace("workers = 2", "workers = 'two'"));
    run.signal(Signal::SIGHUP);
    let last = run.told_times(2, "READY=1");
    assert!(last.contains("2/2 workers ready, generation 1") && last.contains("app.toml"), "{last}");
    run.stop();
    assert_eq!(states(&run), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

#[test]
fn f11_a_stop_during_a_reload_is_told_as_a_stop() {
    let mut run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    run.configure(&WORKERS.replace("'--notify'", "'--notify', '--never-ready'"));
    run.signal(Signal::SIGHUP);
    run.told("RELOADING=1");
    run.said_times(3, "started");
    run.stop();
    assert_eq!(states(&run), ["READY=1", "RELOADING=1", "STOPPING=1"]);
}

#[test]
fn the_watchdog_is_fed_at_half_of_its_time_while_nothing_happens() {
    let run = Stage::new(WORKERS).managed().env("WATCHDOG_USEC", "200000").start();
    run.told("READY=1");
    run.told_times(5, "WATCHDOG=1");
    run.stop();
}

#[test]
fn a_watchdog_for_another_process_is_not_fed() {
    let stage = Stage::new(WORKERS).managed().env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");
    let run = stage.start();
    run.told("READY=1");
    let out = run.client(&["reload", "app"]);
    assert!(out.status.success(), "{out:?}");
    run.stop();
    assert_eq!(times(&run, "WATCHDOG=1"), 0);
}

#[test]
fn an_end_that_is_a_failure_is_told_with_its_reason() {
    let run = Stage::empty().args(&["run", "@DIR@/missing.toml"]).managed().start();
    assert_eq!(run.ended(), "exit 3");
    let told = run.told("EXIT_STATUS=3");
    assert!(told.contains("missing.toml"), "{told}");
}

#[test]
fn of_a_configuration_with_doubts_and_errors_the_manager_is_told_the_error() {
    let run = Stage::new("command = ['true']\nlisten = ['127.0.0.1:0']\nworkers = 0").managed().start();
    assert_eq!(run.ended(), "exit 2");
    let told = run.told("EXIT_STATUS=2");
    assert!(told.contains("app.toml:3:11: ") && told.contains("workers"), "{told}");
}

#[test]
fn a_doubt_about_the_configuration_is_one_line_of_the_log() {
    let run = Stage::new(WORKERS).start();
    run.said("info: ready");
    run.stop();
    let doubts: Vec<String> =
        run.all(From::Log).into_iter().filter(|line| line.starts_with("warning: ")).collect();
    let path = run.path("app.toml").display().to_string();
    assert_eq!(doubts, [format!("warning: {path}:2:11: port 0: the port is another one at every start")]);
}

/// A worker that says everything that it should not, from itself and from a grandchild, then READY.
const HOSTILE: &str = r#"
import array, os, socket, sys, time
where = os.environ["NOTIFY_SOCKET"]
def say(text, fds=()):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        s.sendmsg([text], rights, 0, where)
    except OSError as error:
        print("refused:", error, file=sys.stderr, flush=True)
    s.close()
def shout():
    for text in [b"STOPPING=1", b"RELOADING=1\nMONOTONIC_USEC=1", b"MAINPID=1", b"WATCHDOG_USEC=1", b"BUSERROR=org.x.Y",
                 b"ERRNO=5\nEXIT_STATUS=6", b"EXTEND_TIMEOUT_USEC=99999999999999999999999", b"NOTIFYACCESS=all",
                 b"FDSTOREREMOVE=1\nFDNAME=app", b"", b"\0\xff\xfe=\n\n=", b"STATUS=\xff\xfe\x1b[31m", b"X" * (1 << 20),
                 b"READY=1" * 9000, b"STATUS=" + b"y" * 100000, b"READY=0\nREADY=2"]:
        say(text)
    say(b"FDSTORE=1\nFDNAME=evil", [0, 1, 2])
    say(b"BARRIER=1", [0])
    say(b"FDSTORE=1", [0] * 200)
"#;

/// `after` is what the worker does behind its shouting.
fn hostile(after: &str) -> Run {
    let stage = Stage::new(
        "command = ['python3', '@DIR@/hostile.py']\nlisten = ['127.0.0.1:0']\nworkers = 1\nready.when = 'notify'",
    );
    std::fs::write(stage.path("hostile.py"), format!("{HOSTILE}\n{after}")).unwrap();
    stage.managed().start()
}

#[test]
fn f09_nothing_that_a_worker_or_its_grandchild_says_reaches_the_manager() {
    let run = hostile(
        "if os.fork() == 0:\n    if os.fork() == 0:\n        shout()\n        say(b'READY=1')\n    time.sleep(1000)\ntime.sleep(1000)",
    );
    run.said("worker 0 is ready");
    run.told("READY=1");
    run.stop();
    all_are_gangers(&run);
    for text in run.all(From::Manager) {
        for word in
            ["MAINPID", "FDSTORE", "BUSERROR", "WATCHDOG", "RELOADING", "ERRNO", "NOTIFYACCESS", "yy", "XX"]
        {
            assert!(!text.replace("ready", "").contains(word), "{text}");
        }
    }
    assert_eq!(states(&run), ["READY=1", "STOPPING=1"]);
}

#[test]
fn f09_descriptors_that_come_along_are_closed() {
    let run = hostile("for _ in range(50):\n    shout()\nsay(b'READY=1')\ntime.sleep(1000)");
    run.said("worker 0 is ready");
    let held = std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count();
    assert!(held < 40, "{held} descriptors");
    run.stop();
}

#[test]
fn f09_a_flood_keeps_nobody_from_being_heard() {
    let config = "command = ['python3', '@DIR@/flood.py']\nlisten = ['127.0.0.1:0']\nworkers = 1\nready.when = 'notify'\nstop.timeout = '1s'";
    let stage = Stage::new(config);
    let flood = r#"
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
for _ in range(3):
    os.fork()
n = 0
while True:
    n += 1
    s.send(b"STATUS=%d\nWATCHDOG=1" % n)
"#;
    std::fs::write(stage.path("flood.py"), flood).unwrap();
    let run = stage.managed().start();
    run.told("READY=1");
    for _ in 0..3 {
        let out = run.client(&["status", "app"]);
        assert!(out.status.success(), "{out:?}");
    }
    run.stop();
    // A status that changes all the time is told ten times a second, not each time.
    assert!(run.all(From::Manager).len() < 500);
}

#[test]
fn f09_a_stranger_with_access_to_the_socket_is_ignored() {
    let run = Stage::new(&WORKERS.replace("--notify", "--never-ready")).managed().start();
    run.said_times(2, "started");
    let stranger = std::os::unix::net::UnixDatagram::unbound().unwrap();
    stranger.send_to(b"READY=1", run.path("ganger/app/notify")).unwrap();
    run.said(&format!("ignored a notify message of process {}", std::process::id()));
    assert_eq!(run.count("is ready"), 0);
    run.stop();
}

#[test]
fn what_a_worker_says_before_it_leaves_is_known_to_be_its_own() {
    let run = Stage::new(WORKERS).start();
    run.said("info: ready");
    for _ in 0..5 {
        // Each worker says STOPPING=1 and is gone at once.
        assert!(run.client(&["reload", "app"]).status.success());
    }
    run.stop();
    assert_eq!(run.count("belongs to no worker"), 0);
}

/// As a service manager starts it, which names the process that it has started (systemd.exec(5)).
fn as_a_service(stage: Stage) -> Stage {
    stage
        .wrapped(&["sh", "-c", "SYSTEMD_EXEC_PID=$$ exec \"$@\"", "sh"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=@DIR@/none")
}

#[test]
fn a_service_without_a_control_group_to_divide_says_what_that_costs_and_the_way_out() {
    let run = as_a_service(Stage::new(WORKERS)).managed().start();
    let line =
        run.said("a worker's daemon that clears its environment may outlive it until the service stops");
    assert!(
        line.starts_with("info: ") && line.contains("Delegate=yes") || line.contains("version 2"),
        "{line}"
    );
    run.told("READY=1");
    run.stop();
    assert_eq!(run.count("may outlive it"), 1);
}

#[test]
fn at_a_terminal_nobody_could_delegate_and_nothing_is_said_of_it() {
    let run = Stage::new(WORKERS).managed().start();
    run.told("READY=1");
    run.stop();
    assert_eq!(run.count("may outlive it"), 0);
}
