//! Real processes, looked at from outside.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::os::sockets;

/// A process that is killed and reaped with its test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `script` in python with the socket as descriptor 0, and returns when it has said that it is about
/// to wait.
fn python(script: &str, socket: impl Into<OwnedFd>) -> Guarded {
    let script = format!("import socket,select,sys,os\ns=socket.socket(fileno=0)\n{script}");
    let mut command = Command::new("python3");
    command.arg("-c").arg(script).stdin(Stdio::from(socket.into())).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    Guarded(child)
}

/// The wait begins just after the process spoke: look until it shows, give up after 20 s of looking.
fn seen(pid: u32, inode: u64) -> Option<Wait> {
    let begin = crate::os::clock::now();
    while crate::os::clock::now().since(begin) < Duration::from_secs(20) {
        if let Some(wait) = waits_on(pid, inode) {
            return Some(wait);
        }
        std::thread::yield_now();
    }
    None
}

#[test]
fn each_way_to_wait_on_a_listening_socket_is_seen() {
    let cases = [
        ("print('up',flush=True); s.accept()", Wait::Blocked),
        ("print('up',flush=True); select.select([s],[],[])", Wait::Polled),
        ("p=select.poll(); p.register(0, select.POLLIN); print('up',flush=True); p.poll()", Wait::Polled),
        ("e=select.epoll(); e.register(0, select.EPOLLIN); print('up',flush=True); e.poll()", Wait::Epoll),
        (
            "import threading; threading.Thread(target=s.accept).start(); print('up',flush=True)",
            Wait::Blocked,
        ),
    ];
    for (script, expected) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = sockets::inode(&listener).unwrap();
        let child = python(script, listener.try_clone().unwrap());
        assert_eq!(seen(child.0.id(), inode), Some(expected), "{script}");
        assert_eq!(holds_socket(child.0.id(), inode), Some(true));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let inode = sockets::inode(&socket).unwrap();
    let child = python("print('up',flush=True); s.recvfrom(10)", socket);
    assert_eq!(seen(child.0.id(), inode), Some(Wait::Blocked));
}

#[test]
fn waiting_on_something_else_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = sockets::inode(&listener).unwrap();
    let other = "o=socket.socket(); o.bind(('127.0.0.1',0)); o.listen(); ";
    let cases =
        ["o.accept()", "select.select([o],[s],[])", "e=select.epoll(); e.register(o.fileno()); e.poll()"];
    for case in cases {
        let script = format!("{other}print('up',flush=True); {case}");
        let child = python(&script, listener.try_clone().unwrap());
        let pid = child.0.id();
        // It has its own socket: wait until it is seen to wait on that one.
        let own = |inode: &u64| seen_once(pid, *inode);
        while !socket_inodes(&[pid]).iter().filter(|found| **found != inode).any(own) {
            std::thread::yield_now();
        }
        assert_eq!(waits_on(pid, inode), None, "{case}");
        assert_eq!(holds_socket(pid, inode), Some(true));
    }
}

fn seen_once(pid: u32, inode: u64) -> bool {
    waits_on(pid, inode).is_some()
}

#[test]
fn a_process_without_the_socket_is_told_from_one_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = sockets::inode(&listener).unwrap();
    let mut child = Guarded(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap());
    let pid = child.0.id();
    assert_eq!(holds_socket(pid, inode), Some(false));
    assert_eq!(holds_socket(std::process::id(), inode), Some(true));
    assert_eq!(socket_fds(std::process::id(), inode), [listener.as_raw_fd()]);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert_eq!(holds_socket(pid, inode), None);
    assert_eq!((stat(pid), memory(pid), waits_on(pid, inode)), (None, None, None));
}

#[test]
fn kin_is_found_by_session_group_and_descent() {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command
        .args(["-c", "sleep 1000 & echo $!; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = Guarded(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (shell, sleep): (u32, u32) = (child.0.id(), line.trim().parse().unwrap());
    let census = Census::take();
    let mut both = vec![shell, sleep];
    both.sort_unstable();
    assert_eq!(census.living(Kin::Group(shell)), both);
    assert_eq!(census.living(Kin::Descendants(shell)), [sleep]);
    assert_eq!(census.get(sleep).unwrap().parent, shell);
    let session = census.get(shell).unwrap().session;
    assert!(both.iter().all(|pid| census.living(Kin::Session(session)).contains(pid)));
    assert_eq!(ancestors(sleep).next(), Some(shell));
    assert!(ancestors(sleep).any(|ancestor| ancestor == std::process::id()));
    assert!(signal_group(shell, nix::libc::SIGKILL).unwrap());
    child.0.wait().unwrap();
}

#[test]
fn nobody_is_signalled_by_mistake() {
    let own = u32::try_from(nix::unistd::getpgrp().as_raw()).unwrap();
    for group in [0, 1, own, u32::MAX] {
        assert_eq!(signal_group(group, 0).unwrap_err().errno(), nix::libc::EINVAL, "{group}");
    }
}

#[test]
fn a_name_with_parentheses_does_not_shift_the_fields() {
    let text = "7 (a) R 1 (b)) S 42 43 44 0 -1 4194560 1 2 3 4 100 50 25 25 20 0 1 0 998877 1 1";
    let stat = parse_stat(text).unwrap();
    assert_eq!((stat.state, stat.parent, stat.group, stat.session), ('S', 42, 43, 44));
    assert_eq!(stat.start_ticks, 998_877);
    assert_eq!(stat.cpu, from_ticks(200));
    for broken in ["", "7 (x)", "7 (x) S", "7 (x) S a b c"] {
        assert_eq!(parse_stat(broken), None);
    }
}

#[test]
fn memory_is_measured_in_bytes() {
    let block = vec![1u8; 32 << 20];
    let memory = memory(std::process::id()).unwrap();
    assert!(memory.resident > block.len() as u64, "{memory:?}");
    assert!(memory.best() > block.len() as u64 && memory.best() <= memory.resident * 2, "{memory:?}");
}
