//! Groups of the running kernel where we may make some, directories that look like groups otherwise.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// A group for one test; `None` where this user may make none (the kernel's answer is then what is tested
/// elsewhere).
struct Playground(PathBuf);

impl Playground {
    fn new(name: &str) -> Option<Self> {
        let path = own().unwrap()?.join(format!("ganger-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).ok().map(|()| Self(path))
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        for group in Delegated::at(&self.0).workers() {
            let _ = group.kill();
            while group.is_populated().unwrap_or(false) {
                std::thread::yield_now();
            }
            let _ = group.remove();
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// A process tree of three in `group`: the shell, and two sleepers, one in a session of its own.
fn populate(group: &WorkerGroup) -> std::process::Child {
    use std::io::BufRead;
    let script = "sleep 1000 & setsid sleep 1000 & echo up; wait";
    let mut shell = Command::new("sh");
    let procs = group.path().join("cgroup.procs");
    let wrapped = format!("echo $$ > {}; {script}", procs.display());
    let mut child = shell
        .args(["-c", &wrapped])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    child
}

fn wait_empty(group: &WorkerGroup) {
    let events = group.events().unwrap();
    while group.is_populated().unwrap() {
        let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        assert_eq!(poll(&mut polled, PollTimeout::from(20_000u16)).unwrap(), 1, "the group never emptied");
    }
}

#[test]
fn killing_a_group_takes_every_process_and_its_events_say_so() {
    let Some(playground) = Playground::new("kill") else { return };
    let delegated = Delegated::at(&playground.0);
    for one_by_one in [false, true] {
        let group = delegated.worker(if one_by_one { 8 } else { 7 }).unwrap();
        assert!(!group.is_populated().unwrap());
        let mut child = populate(&group);
        assert!(group.is_populated().unwrap());
        assert!(group.pids().contains(&child.id()));
        assert_eq!(delegated.worker_of(child.id()), Some(group.number()));
        assert!(!group.remove().unwrap(), "removed under a living process");
        if one_by_one {
            group.kill_each().unwrap()
        } else {
            group.kill().unwrap()
        }
        wait_empty(&group);
        child.wait().unwrap();
        assert_eq!(group.pids(), [0u32; 0]);
        assert!(group.remove().unwrap());
        assert!(group.remove().unwrap(), "gone already is no error");
        assert!(!group.is_populated().unwrap());
    }
}

#[test]
fn groups_that_a_worker_made_in_its_own_go_with_it() {
    let Some(playground) = Playground::new("nested") else { return };
    let delegated = Delegated::at(&playground.0);
    let group = delegated.worker(1).unwrap();
    fs::create_dir_all(group.path().join("a/b")).unwrap();
    fs::create_dir(group.path().join("c")).unwrap();
    assert!(group.remove().unwrap());
    assert!(!group.path().exists());
}

#[test]
fn what_a_former_supervisor_left_is_listed_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["w10", "w9", "c7", "supervisor", "wx", "w", "other"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let numbers = |groups: Vec<WorkerGroup>| groups.iter().map(WorkerGroup::number).collect::<Vec<_>>();
    assert_eq!(numbers(Delegated::at(directory.path()).workers()), [9, 10]);
    assert_eq!(numbers(Delegated::at(directory.path()).checks()), [7]);
}

#[test]
fn limits_are_written_in_the_kernels_words() {
    let directory = tempfile::tempdir().unwrap();
    let group = Delegated::at(directory.path()).worker(3).unwrap();
    for file in ["memory.max", "memory.high", "memory.oom.group", "cpu.max", "pids.max"] {
        fs::write(group.path().join(file), "").unwrap();
    }
    let limits =
        Limits { memory: Some(1000), memory_high: Some(900), cpu_percent: Some(150), tasks: Some(64) };
    assert_eq!(group.limit(&limits), Enforced::default());
    let content = |file: &str| fs::read_to_string(group.path().join(file)).unwrap();
    assert_eq!(content("memory.max"), "1000");
    assert_eq!(content("memory.high"), "900");
    assert_eq!(content("memory.oom.group"), "1");
    assert_eq!(content("cpu.max"), "150000 100000");
    assert_eq!(content("pids.max"), "64");
}

#[test]
fn what_is_not_offered_is_absent_and_never_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let group = Delegated::at(directory.path()).worker(3).unwrap();
    assert_eq!((group.memory_current(), group.cpu_usage(), group.oom_kills()), (None, None, None));
    let enforced = group.limit(&Limits { memory: Some(1), ..Limits::default() });
    assert_eq!(
        enforced.missing,
        ["memory.max: no such controller here", "memory.oom.group: no such controller here"]
    );
    assert_eq!(group.limit(&Limits::default()), Enforced::default());
}

#[test]
fn usage_is_read_from_flat_files() {
    let directory = tempfile::tempdir().unwrap();
    let group = Delegated::at(directory.path()).worker(3).unwrap();
    let put = |file: &str, text: &str| fs::write(group.path().join(file), text).unwrap();
    put("memory.current", "4096\n");
    put("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
    put("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n");
    assert_eq!(group.memory_current(), Some(4096));
    assert_eq!(group.cpu_usage(), Some(std::time::Duration::from_micros(1500)));
    assert_eq!(group.oom_kills(), Some(2));
    put("cgroup.procs", "0\n17\n0\n");
    assert_eq!(group.pids(), [17], "0 is a process of another namespace");
}

#[test]
fn root_alone_does_not_make_a_group_delegated() {
    let found = Delegated::find().unwrap();
    if std::process::id() != 1 && nix::unistd::geteuid().is_root() {
        let marked = own().unwrap().is_some_and(|path| locate::is_delegated(&path));
        assert_eq!(found.is_some(), marked);
    } else {
        assert!(found.is_none_or(|group| group.path().is_dir()));
    }
}
