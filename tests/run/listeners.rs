//! What workers do to the sockets that they share, and workers that do not even hold them.

use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use ganger::os::pidfd::Child;
use nix::sys::socket::{SockaddrIn, getsockname, getsockopt, sockopt};

use crate::stage::{Run, Stage};

/// Slot 0 runs this, slot 1 serves.
fn beside_a_server(script: &str, listen: &str) -> Run {
    let config = format!(
        "command = ['sh', '-c', 'test $GANGER_WORKER = 1 && exec @WORKER@ --notify; exec python3 @DIR@/bad.py']\n\
         listen = ['{listen}']\nworkers = 2\n[restart]\nbackoff.initial = '1h'\nbackoff.max = '1h'"
    );
    let stage = Stage::new(&config);
    std::fs::write(stage.path("bad.py"), script).unwrap();
    let run = stage.start();
    run.said("worker 1 is ready");
    run
}

const SHUT_DOWN: &str = "import socket; socket.socket(fileno=3).shutdown(socket.SHUT_RDWR)";

#[test]
fn f23_a_listener_that_a_worker_shut_down_listens_again_where_it_was() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for listen in ["127.0.0.1:0".to_owned(), free.to_string()] {
        let run = beside_a_server(SHUT_DOWN, &listen);
        run.said("a worker shut down the shared listener app; it listens again");
        run.said("worker 0 exited");
        assert_eq!(run.get("/slot"), "1");
        run.stop();
    }
}

#[test]
fn f23_a_unix_listener_that_a_worker_shut_down_is_lost_and_that_is_said_once() {
    let run = beside_a_server(SHUT_DOWN, "@DIR@/web");
    let line = run.said("a worker shut down the shared listener app");
    assert!(line.contains("nobody can connect any more"), "{line}");
    run.stop();
    assert_eq!(run.count("shut down the shared"), 1);
}

#[test]
fn f24_a_socket_file_that_a_worker_unlinked_is_announced() {
    let run =
        beside_a_server("import os, socket\nos.unlink(socket.socket(fileno=3).getsockname())", "@DIR@/web");
    let line = run.said("was removed or replaced");
    assert!(line.contains(run.path("web").to_str().unwrap()), "{line}");
    run.stop();
}

#[test]
fn f24_a_socket_file_that_a_worker_unlinked_before_it_listened_is_announced_once() {
    let script = "import os, select, socket\ns = socket.socket(fileno=3)\nos.unlink(s.getsockname())\n\
                  poll = select.epoll()\npoll.register(s)\npoll.poll()";
    let stage = Stage::new(
        "command = ['python3', '@DIR@/bad.py']\nlisten = ['@DIR@/web']\nworkers = 1\nready.when = 'listening'",
    );
    std::fs::write(stage.path("bad.py"), script).unwrap();
    let run = stage.start();
    run.said("worker 0 is ready");
    let line = run.said("was removed or replaced");
    assert!(line.contains(run.path("web").to_str().unwrap()), "{line}");
    assert!(line.contains("nobody can connect any more") && line.ends_with("start ganger anew"), "{line}");
    run.stop();
    assert_eq!(run.count("was removed or replaced"), 1);
}

#[test]
fn f24_a_socket_file_of_ganger_goes_with_it_and_that_of_another_stays() {
    let run = beside_a_server("", "@DIR@/web");
    let path = run.path("web");
    assert!(path.exists());
    run.stop();
    assert!(!path.exists());

    let run = beside_a_server("", "@DIR@/web");
    let path = run.path("web");
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    run.stop();
    assert!(path.exists(), "it is another's by now");
}

#[test]
fn a_socket_file_that_a_killed_supervisor_left_is_replaced() {
    let config = "command = ['@WORKER@', '--notify']\nlisten = ['@DIR@/web']\nworkers = 1";
    let stage = Stage::new(config);
    drop(std::os::unix::net::UnixListener::bind(stage.path("web")).unwrap());
    let run = stage.start();
    run.said("info: ready");
    assert_eq!(run.get("/slot"), "0");
    run.stop();
}

#[test]
fn f21_a_worker_that_is_ready_but_holds_no_socket_is_explained() {
    // As npm does: the sockets are closed before the program starts.
    let script = r#"import os, socket, time
os.closerange(3, 100)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)"#;
    let run = beside_a_server(script, "127.0.0.1:0");
    let line = run.said("does not hold any of the sockets");
    assert!(line.contains("worker 0") && line.contains("npm"), "{line}");
    assert_eq!(run.count("does not hold any of the sockets"), 1);
    run.stop();
}

#[test]
fn f21_a_wrapper_whose_child_holds_the_sockets_is_no_cause_for_a_warning() {
    let config = "command = ['sh', '-c', '@WORKER@ --listen unix:@DIR@/own --notify; true']\n\
         listen = ['127.0.0.1:0']\nworkers = 1\nready.when = 'notify'";
    let run = Stage::new(config).start();
    run.said("worker 0 is ready");
    run.stop();
    assert_eq!(run.count("does not hold any"), 0);
}

#[test]
fn f04_the_supervisor_accepts_nothing_itself() {
    let run =
        Stage::new("command = ['@WORKER@', '--never-ready']\nlisten = ['127.0.0.1:0']\nworkers = 1").start();
    run.said("worker 0 started");
    let _waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(run.address()).unwrap()).collect();
    assert!(run.client(&["status", "app"]).status.success());
    let sockets = |pid: u32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        fds.filter(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket"))
        })
        .count()
    };
    assert!(sockets(run.pid()) < 15, "{} sockets", sockets(run.pid()));
    run.stop();
}

#[test]
fn f06_all_workers_share_one_queue_and_no_listener_is_one_of_several() {
    let config = "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 3";
    let run = Stage::new(config).start();
    run.said("info: ready");
    let mut listening = Vec::new();
    for pid in [run.worker_pids(), vec![run.pid()]].concat() {
        let process = Child::open(pid).unwrap();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let entry = entry.unwrap();
            let socket = std::fs::read_link(entry.path()).unwrap_or_default();
            let fd = entry.file_name().to_str().unwrap().parse().unwrap();
            let Ok(copy) = process.copy_of_fd(fd) else { continue };
            let is_inet = getsockname::<SockaddrIn>(copy.as_raw_fd()).is_ok();
            if is_inet && getsockopt(&copy, sockopt::AcceptConn) == Ok(true) {
                assert_eq!(getsockopt(&copy, sockopt::ReusePort), Ok(false), "{pid} {socket:?}");
                listening.push(socket);
            }
        }
    }
    assert_eq!(listening.len(), 4, "three workers and ganger: {listening:?}");
    listening.dedup();
    assert_eq!(listening.len(), 1, "one socket for all: {listening:?}");
    run.stop();
}
