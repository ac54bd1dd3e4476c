//! What a worker meets: descriptors, environment, sockets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

use crate::stage::{From, Run, Stage, get};

/// Prints its descriptors; the last one is that of the folder that it reads.
const LS: &str = "'/bin/ls', '-U', '/proc/self/fd'";
/// What a program needs that only prints and leaves.
const ONCE: &str = "listen = ['127.0.0.1:0', '@DIR@/second']\nworkers = 1\n[restart]\npolicy = 'never'\n";

/// The numbers that a worker printed until it left.
fn numbers(run: &Run) -> Vec<u32> {
    let mut numbers: Vec<u32> = run.output().iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// The variables that a worker printed until it left.
fn variables(run: &Run) -> BTreeMap<String, String> {
    let pair = |line: &String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    run.output().iter().filter_map(pair).collect()
}

#[test]
fn f22_a_worker_has_its_standard_descriptors_and_sockets_and_no_other() {
    let run = Stage::new(&format!("command = [{LS}]\n{ONCE}")).start();
    assert_eq!(numbers(&run), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn f22_a_grandchild_has_no_descriptor_of_ganger_either() {
    let run = Stage::new(&format!("command = ['setsid', '-w', {LS}]\n{ONCE}")).start();
    assert_eq!(numbers(&run), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn f22_a_declared_ready_descriptor_is_the_only_further_one() {
    let run = Stage::new(&format!("command = [{LS}]\nready.fd = 7\n{ONCE}")).start();
    assert_eq!(numbers(&run), [0, 1, 2, 3, 4, 5, 7]);
}

#[test]
fn standard_input_is_nothing_and_the_output_is_gangers() {
    let run = Stage::new(&format!("command = ['/bin/ls', '-l', '/proc/self/fd']\n{ONCE}")).start();
    let out = run.output().join("\n");
    assert!(out.contains(" 0 -> /dev/null"), "{out}");
    assert_eq!(out.matches("-> pipe:").count(), 2, "{out}");
    assert_eq!(out.matches("-> socket:").count(), 2, "{out}");
}

#[test]
fn f22_a_worker_has_exactly_its_environment() {
    let run = Stage::new(&format!("command = ['/usr/bin/env']\nenv.COLOR = 'red'\n{ONCE}")).start();
    let found = variables(&run);
    let folder = run.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    let pid = run.said("worker 0 started").split("pid ").nth(1).unwrap().trim_end_matches(')').to_owned();
    let expected = [
        ("COLOR", "red"),
        ("GANGER_APP", "app"),
        ("GANGER_GENERATION", "1"),
        ("GANGER_TEST_MARK", folder),
        ("GANGER_WORKER", "0"),
        ("GANGER_WORKER_ID", "1"),
        ("LISTEN_FDNAMES", "app:app"),
        ("LISTEN_FDS", "2"),
        ("LISTEN_PID", &pid),
        ("NODE_APP_INSTANCE", "0"),
        ("NOTIFY_SOCKET", &format!("{folder}/ganger/app/notify")),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("RUNTIME_DIRECTORY", &format!("{folder}/ganger/app")),
    ];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn f22_nothing_that_speaks_for_ganger_alone_reaches_a_worker() {
    let own = [
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "FDSTORE",
        "SYSTEMD_EXEC_PID",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "MAINPID",
        "MANAGERPID",
        "EINHORN_FD_0",
        "EINHORN_FD_COUNT",
        "SERVER_STARTER_PORT",
        "NODE_CHANNEL_FD",
        "GANGER_READY_FD",
    ];
    let stage = Stage::new(&format!("command = ['setsid', '-w', '/usr/bin/env']\n{ONCE}")).managed();
    let manager = stage.path("manager").display().to_string();
    let run = own.iter().fold(stage, |stage, name| stage.env(name, "77")).start();
    let found = variables(&run);
    let leaked: Vec<&&str> = own.iter().filter(|name| found.contains_key(**name)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    assert_ne!(found.get("NOTIFY_SOCKET"), Some(&manager));
}

#[test]
fn listen_pid_is_the_workers_own_also_behind_an_exec_of_a_shell() {
    let config = "command = ['sh', '-c', 'exec @WORKER@ --notify']\nlisten = ['127.0.0.1:0']\nworkers = 2";
    let run = Stage::new(config).start();
    // The worker takes the sockets only when LISTEN_PID is its own.
    run.said("info: ready");
    let environment = run.get("/env");
    let pid = environment.lines().find_map(|line| line.strip_prefix("LISTEN_PID=")).unwrap();
    assert!(run.worker_pids().iter().any(|worker| worker.to_string() == pid), "{environment}");
    run.stop();
}

fn unix(kind: SockType, address: &UnixAddr) -> OwnedFd {
    use std::os::fd::AsRawFd as _;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), address).unwrap();
    if kind != SockType::Datagram {
        listen(&fd, Backlog::MAXCONN).unwrap();
    }
    fd
}

/// What a worker says of each of its sockets.
const SHOW: &str = r#"
import fcntl, os, socket
names = os.environ.get("LISTEN_FDNAMES", "stdin").split(":")
first = 3 if "LISTEN_FDS" in os.environ else 0
for fd, name in enumerate(names, first):
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    s = socket.socket(fileno=fd)
    listening = "listening" if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else "-"
    blocking = "non-blocking" if flags & os.O_NONBLOCK else "blocking"
    print(name, s.family.name, s.type.name, listening, blocking, s.getsockname(), flush=True)
"#;

fn show(config: &str) -> Stage {
    let stage = Stage::new(&format!(
        "command = ['python3', '@DIR@/show.py']\nworkers = 1\nrestart.policy = 'never'\n{config}"
    ));
    std::fs::write(stage.path("show.py"), SHOW).unwrap();
    stage
}

#[test]
fn sockets_of_every_kind_reach_a_worker_ordered_by_their_names() {
    let stage = show("");
    let (path, datagrams, packets) = (stage.path("path"), stage.path("datagrams"), stage.path("packets"));
    let hidden = format!("ganger-test-{}", std::process::id());
    let inet = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = inet.local_addr().unwrap().port();
    let sockets = vec![
        ("web", OwnedFd::from(inet)),
        ("path", UnixListener::bind(&path).unwrap().into()),
        ("datagrams", UnixDatagram::bind(&datagrams).unwrap().into()),
        ("packets", unix(SockType::SeqPacket, &UnixAddr::new(&packets).unwrap())),
        ("hidden", unix(SockType::Stream, &UnixAddr::new_abstract(hidden.as_bytes()).unwrap())),
    ];
    let run = stage.sockets(sockets).start();
    let expected = [
        format!("datagrams AF_UNIX SOCK_DGRAM - non-blocking {}", datagrams.display()),
        format!("hidden AF_UNIX SOCK_STREAM listening non-blocking b'\\x00{hidden}'"),
        format!("packets AF_UNIX SOCK_SEQPACKET listening non-blocking {}", packets.display()),
        format!("path AF_UNIX SOCK_STREAM listening non-blocking {}", path.display()),
        format!("web AF_INET SOCK_STREAM listening non-blocking ('127.0.0.1', {port})"),
    ];
    assert_eq!(run.output(), expected);
}

#[test]
fn with_protocol_stdin_accept_waits_however_the_socket_came() {
    for nonblocking in [false, true] {
        let stage = show("protocol = 'stdin'");
        let inet = TcpListener::bind("127.0.0.1:0").unwrap();
        inet.set_nonblocking(nonblocking).unwrap();
        let run = stage.sockets(vec![("web", inet.into())]).start();
        let out = run.output().concat();
        assert!(out.contains(" blocking "), "{out}");
    }
    let out = show("protocol = 'stdin'\nlisten = ['127.0.0.1:0']").start().output().concat();
    assert!(out.contains(" blocking "), "{out}");
}

#[test]
fn a_socket_that_was_passed_is_served_and_listen_is_left_alone() {
    let stage = Stage::new("command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:1']\nworkers = 2");
    let path = stage.path("passed");
    let run = stage.sockets(vec![("web", UnixListener::bind(&path).unwrap().into())]).start();
    run.said("passed by the service manager");
    run.said("info: ready");
    assert_eq!(get(path.to_str().unwrap(), "/gen"), "1");
    assert_eq!(run.count("listening on"), 0);
    run.stop();
    assert!(path.exists(), "the socket file belongs to the service manager");
}

#[test]
fn systemd_socket_activate_is_a_service_manager_too() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let run = Stage::new("command = ['@WORKER@', '--notify']\nworkers = 1")
        .wrapped(&[
            "systemd-socket-activate",
            "-E",
            "RUNTIME_DIRECTORY",
            "-E",
            "GANGER_TEST_MARK",
            "-l",
            &address,
        ])
        .start();
    run.until(From::Log, "Listening on", |line| line.contains("Listening on"));
    assert_eq!(get(&address, "/slot"), "0");
    run.stop();
}

#[test]
fn with_protocol_stdin_the_socket_is_descriptor_0() {
    let run = Stage::new(
        "command = ['@WORKER@', '--stdin', '--notify']\nprotocol = 'stdin'\nlisten = ['127.0.0.1:0']\nworkers = 2",
    )
    .start();
    run.said("info: ready");
    let descriptors = run.get("/fds");
    assert!(descriptors.starts_with("0 socket:"), "{descriptors}");
    assert!(!run.get("/env").contains("LISTEN_FDS"));
    run.stop();
}

#[test]
fn with_protocol_stdin_there_is_no_descriptor_3() {
    let run = Stage::new(&format!("command = [{LS}]\nprotocol = 'stdin'\n{ONCE}")).start();
    assert_eq!(numbers(&run), [0, 1, 2, 3], "3 is the folder that is read");
}

#[test]
fn other_conventions_tell_the_same_sockets() {
    let config = format!("command = ['/usr/bin/env']\nsocket-env = ['einhorn', 'server-starter']\n{ONCE}");
    let run = Stage::new(&config).start();
    let found = variables(&run);
    let address = run.address();
    let second = run.path("second").display().to_string();
    let of = |name: &str| found.get(name).map_or("", String::as_str);
    assert_eq!((of("EINHORN_FD_COUNT"), of("EINHORN_FD_0"), of("EINHORN_FD_1")), ("2", "3", "4"));
    assert_eq!(of("SERVER_STARTER_PORT"), format!("{address}=3;{second}=4"));
}

/// Refuses `timerfd_settime` with `TFD_TIMER_CANCEL_ON_SET`, as sandboxes and emulated kernels do (seccomp(2)).
const WITHOUT_CLOCK_WATCH: &str = r#"
import ctypes, os, struct, sys
number = int(sys.argv[1])
filters = [
    (0x20, 0, 0, 0),                # load the system call's number
    (0x15, 0, 3, number),           # another one: allow
    (0x20, 0, 0, 24),               # load the low half of its second argument
    (0x45, 0, 1, 2),                # without the flag: allow
    (0x06, 0, 0, 0x00050000 | 22),  # EINVAL
    (0x06, 0, 0, 0x7fff0000),       # allow
]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filters))
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
wanted = Program(len(filters), ctypes.addressof(program))
prctl = ctypes.CDLL(None, use_errno=True).prctl
zero = ctypes.c_ulong(0)
assert prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
assert prctl(22, ctypes.c_ulong(2), ctypes.byref(wanted), zero, zero) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn a_kernel_that_does_not_tell_when_its_clock_is_set_will_do() {
    let number = nix::libc::SYS_timerfd_settime.to_string();
    let wrapper = ["python3", "-c", WITHOUT_CLOCK_WATCH, &number];
    let config = "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 1";
    let run = Stage::new(config).wrapped(&wrapper).managed().start();
    run.said("failed to watch the wall clock: invalid argument");
    run.told("STATUS=1/1 workers ready");
    assert_eq!(run.get("/gen"), "1");
    run.stop();
}
