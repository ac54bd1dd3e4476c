//! Adoption as a service meets it: this test starts itself as a child with sockets from descriptor 3 on, and
//! the child adopts them.

#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use ganger::os::files::open_null;
use ganger::os::process::{Launch, Program, Template};
use ganger::systemd::activation;

const CHILD: &str = "GANGER_TEST_ADOPT";

/// Starts this test binary as the child and returns what it reports, one line a listener.
fn adopt_in_child(names: &str, fds: &[BorrowedFd<'_>], pid_variables: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().unwrap().into_os_string();
    let only = ["the_child_adopts", "--exact", "--nocapture", "-q"].map(OsString::from);
    let argv: Vec<OsString> = std::iter::once(program).chain(only).collect();
    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let mut env: BTreeMap<_, _> = [
        variable(CHILD, "1"),
        variable("LISTEN_FDS", &fds.len().to_string()),
        variable("LISTEN_FDNAMES", names),
    ]
    .into();
    if pid_variables.is_empty() {
        env.insert("LISTEN_PID".into(), "1".into());
    }
    let template =
        Template::new(&Program { argv: &argv, env: &env, directory: None, identity: None, open_files: None });
    let template = template.unwrap();

    let null = open_null().unwrap();
    let (mut report, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let numbered: Vec<(RawFd, BorrowedFd<'_>)> = (3..).zip(fds.iter().copied()).collect();
    let launch = Launch {
        stdio: [null.as_fd(), writer.as_fd(), null.as_fd()],
        fds: &numbered,
        env: &[],
        pid_variables,
        cgroup: None,
        new_session: true,
    };
    let spawning = template.spawn(&launch).unwrap();
    spawning.go().unwrap();
    drop(writer);
    let mut text = String::new();
    report.read_to_string(&mut text).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("adopt: ")).map(str::to_owned).collect()
}

/// The child's part; without its variable this is the parent's run of all tests, and nothing is to be done.
#[test]
fn the_child_adopts() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    println!();
    match activation::adopt() {
        Ok(adopted) => {
            for one in &adopted.listeners {
                println!("adopt: {} {:?} {}", one.name, one.kind, one.address_text());
            }
            for one in &adopted.kept {
                println!("adopt: kept {}", one.name);
            }
            // Everything is owned now: whoever asks again would close it twice.
            println!("adopt: again {}", activation::adopt().is_err());
        }
        Err(error) => println!("adopt: error {error}"),
    }
}

#[test]
fn sockets_are_adopted_by_name_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let (web, web2) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let log = UnixDatagram::bind(&path).unwrap();
    let kept = open_null().unwrap();
    let fds = [web.as_fd(), log.as_fd(), web2.as_fd(), kept.as_fd()];
    let reported = adopt_in_child("web:log:web:ganger/state", &fds, &["LISTEN_PID"]);
    let address = |socket: &TcpListener| socket.local_addr().unwrap().to_string();
    assert_eq!(
        reported,
        [
            format!("log Datagram {}", path.display()),
            format!("web Stream {}", address(&web)),
            format!("web Stream {}", address(&web2)),
            "kept ganger/state".to_owned(),
            "again true".to_owned(),
        ]
    );
}

#[test]
fn what_cannot_be_adopted_is_explained() {
    let null = open_null().unwrap();
    let reported = adopt_in_child("web", &[null.as_fd()], &["LISTEN_PID"]);
    assert!(reported.concat().starts_with("error socket \"web\" (descriptor 3) is a device"), "{reported:?}");
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let reported = adopt_in_child("web", &[web.as_fd()], &[]);
    assert!(reported.concat().starts_with("error LISTEN_PID names process 1,"), "{reported:?}");
}
