//! What a worker left behind where no control group tells: orphans, which the kernel gave to us as their child
//! subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), known by a mark in their environment.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::pidfd::Child;

/// The most bytes of an environment that are looked at.
const MAX_ENVIRON: u64 = 1 << 20;
/// The most children that are looked at.
const MAX_CHILDREN: usize = 65_536;

/// Our own children, ended ones included (`/proc/PID/task/TID/children`, proc(5)). Those of one thread: ganger
/// forks and reaps in its first one.
#[must_use]
pub fn children() -> Vec<u32> {
    children_of(std::process::id())
}

/// The children of the first thread of `pid`.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let mut text = String::new();
    let read = File::open(format!("/proc/{pid}/task/{pid}/children"))
        .and_then(|file| file.take(MAX_ENVIRON).read_to_string(&mut text));
    match read {
        Ok(_) => text.split_whitespace().take(MAX_CHILDREN).filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => Vec::new(),
    }
}

/// Whether the environment that a process was started with has this `NAME=VALUE` in it.
#[must_use]
pub fn is_marked(pid: u32, mark: &str) -> bool {
    let mut environ = Vec::new();
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(MAX_ENVIRON).read_to_end(&mut environ));
    read.is_ok() && environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// SIGKILL to a child of ours. A child keeps its number until we reap it, so it cannot be somebody else.
pub fn kill_child(pid: u32) {
    if let Ok(child) = Child::open(pid) {
        // Gone already is what is wanted.
        let _ = child.send_signal(nix::libc::SIGKILL);
    }
}

/// Waits until a process has ended, for so long at most. One that cannot be held has ended already.
pub fn await_end(pid: u32, limit: Duration) {
    if let Ok(child) = Child::open(pid) {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        // Interrupted or not: who asks looks again at what is left.
        let _ = poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_known_by_the_mark_it_was_started_with() {
        let mut cat = Command::new("cat");
        let mut child = cat.env("MARK", "one").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // An echo proves that the program runs, and so has its environment.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert!(is_marked(child.id(), "MARK=one"));
        assert!(!is_marked(child.id(), "MARK=on"));
        kill_child(child.id());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    }
}
