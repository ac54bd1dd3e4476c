//! When a worker counts as ready, and that nothing else makes it so.

use crate::stage::{From, Run, Stage};

/// One worker of this command, ready by this sign, given up after a short time.
fn start(command: &str, ready: &str) -> Run {
    Stage::new(&format!("command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 1\n[ready]\n{ready}"))
        .managed()
        .start()
}

#[track_caller]
fn becomes_ready(run: &Run) {
    run.said("worker 0 is ready");
    run.told("READY=1");
    run.stop();
}

/// It starts but never gives the sign: that is a failure, and the service manager never hears READY.
#[track_caller]
fn never_becomes_ready(run: &Run) {
    run.said("it was not ready within");
    assert_eq!(run.count("is ready"), 0);
    run.stop();
    assert!(!run.all(From::Manager).iter().any(|text| text.contains("READY=1")));
}

#[test]
fn notify_is_ready_by_its_datagram() {
    becomes_ready(&start("['@WORKER@', '--notify']", "when = 'notify'"));
}

#[test]
fn notify_is_not_ready_by_listening() {
    never_becomes_ready(&start("['@WORKER@']", "when = 'notify'\ntimeout = '500ms'"));
}

#[test]
fn listening_is_ready_when_it_waits_on_the_socket() {
    becomes_ready(&start("['@WORKER@']", "when = 'listening'"));
}

#[test]
fn listening_is_ready_when_it_blocks_in_accept() {
    let script = "import socket; s = socket.socket(fileno=3); s.setblocking(True); s.accept()";
    becomes_ready(&start(&format!("['python3', '-c', '{script}']"), "when = 'listening'"));
}

#[test]
fn listening_is_ready_when_what_a_wrapper_of_a_wrapper_started_waits_on_the_socket() {
    let script = "import socket; s = socket.socket(fileno=3); s.setblocking(True); s.accept()";
    let command = format!(r#"['sh', '-c', '(python3 -c "$0"; true); true', '{script}']"#);
    becomes_ready(&start(&command, "when = 'listening'"));
}

#[test]
fn listening_is_not_ready_while_it_only_holds_the_socket() {
    never_becomes_ready(&start("['sleep', '1000']", "when = 'listening'\ntimeout = '500ms'"));
}

#[test]
fn listening_is_not_ready_by_its_datagram() {
    let script = r#"import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)"#;
    never_becomes_ready(&start(
        &format!("['python3', '-c', '''{script}''']"),
        "when = 'listening'\ntimeout = '1s'",
    ));
}

#[test]
fn fd_is_ready_by_a_newline_on_the_descriptor() {
    let command = r#"['sh', '-c', 'echo half >&4; exec @WORKER@']"#;
    becomes_ready(&start(command, "when = 'fd'"));
}

#[test]
fn fd_is_not_ready_when_the_descriptor_only_closes() {
    let command = r#"['sh', '-c', 'exec 4>&-; exec @WORKER@']"#;
    never_becomes_ready(&start(command, "when = 'fd'\ntimeout = '500ms'"));
}

#[test]
fn fd_is_not_ready_by_half_a_line() {
    let command = r#"['sh', '-c', 'printf half >&4; exec @WORKER@']"#;
    never_becomes_ready(&start(command, "when = 'fd'\ntimeout = '500ms'"));
}

#[test]
fn http_is_ready_by_an_answer() {
    let command = "['@WORKER@', '--ready-after', '50', '--listen', 'unix:@DIR@/0.sock']";
    becomes_ready(&start(command, "http = 'unix:@DIR@/{slot}.sock:/healthz'"));
}

#[test]
fn http_is_not_ready_by_an_error() {
    let script = r#"import socket
s = socket.socket(socket.AF_UNIX)
s.bind("@DIR@/0.sock")
s.listen()
while True:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    c.close()"#;
    let command = format!("['python3', '-c', '''{script}''']");
    never_becomes_ready(&start(&command, "http = 'unix:@DIR@/{slot}.sock:/healthz'\ntimeout = '1s'"));
}

#[test]
fn started_is_ready_by_having_lived_for_the_shortest_uptime() {
    let run = Stage::new(
        "command = ['sleep', '1000']\nlisten = ['127.0.0.1:0']\nworkers = 1\n\
         [ready]\nwhen = 'started'\n[restart]\nmin-uptime = '200ms'",
    )
    .managed()
    .start();
    let line = run.said("worker 0 is ready after ");
    let took = line.split("after ").nth(1).and_then(|rest| rest.split("ms").next()).unwrap();
    assert!(took.parse::<u32>().map_or(line.contains("s (pid"), |ms| ms >= 200), "{line}");
    becomes_ready(&run);
}

#[test]
fn auto_takes_the_first_sign_of_a_worker_that_does_not_notify() {
    becomes_ready(&start("['@WORKER@', '--ready-after', '20']", ""));
}

#[test]
fn f02_auto_gives_up_on_a_worker_without_any_sign() {
    never_becomes_ready(&start("['@WORKER@', '--never-ready']", "timeout = '500ms'"));
}

const CLOSED: &str = "worker 0 does not hold any of the sockets that it was given: a wrapper such as npm closes \
                      inherited descriptors; name the program itself in command";
const SAYS_READY: &str = r#"import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)"#;

#[test]
fn f21_a_wrapper_that_closed_the_sockets_is_explained_when_its_time_is_over() {
    let run = start("['sh', '-c', 'exec sleep 1000 3>&-']", "timeout = '500ms'");
    run.said(CLOSED);
    never_becomes_ready(&run);
}

#[test]
fn f21_a_worker_that_is_ready_without_its_sockets_is_warned_about() {
    let command = format!("['sh', '-c', 'exec python3 -c \"$0\" 3>&-', '''{SAYS_READY}''']");
    let run = start(&command, "when = 'notify'");
    let line = run.said(CLOSED);
    assert!(line.ends_with("; it says that it is ready all the same"), "{line}");
    becomes_ready(&run);
    assert_eq!(run.count("does not hold"), 1);
}

#[test]
fn a_worker_whose_child_holds_the_sockets_is_not_warned_about() {
    let command = format!("['sh', '-c', 'python3 -c \"$0\" & exec 3>&-; wait', '''{SAYS_READY}''']");
    let run = start(&command, "when = 'notify'");
    becomes_ready(&run);
    assert_eq!(run.count("does not hold"), 0);
}

#[test]
fn a_worker_that_holds_its_sockets_and_gives_no_sign_is_told_which_one_is_waited_for() {
    let run = start("['sleep', '1000']", "when = 'notify'\ntimeout = '500ms'");
    let line = run.said("worker 0 holds the sockets that it was given");
    assert!(line.contains("READY=1 on NOTIFY_SOCKET"), "{line}");
    never_becomes_ready(&run);
}
