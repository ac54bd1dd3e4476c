//! What a worker left behind where no control group tells: orphans, which the kernel gave to us as their child
//! subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), known by a mark in their environment.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pidfd::{self, Child};

/// The most bytes of an environment that are looked at.
const MAX_ENVIRON: u64 = 1 << 20;
/// The most children that are looked at.
const MAX_CHILDREN: usize = 65_536;

/// How long is slept at a time where a process's end cannot be waited for.
const NAP: Duration = Duration::from_millis(2);

/// Our own list of children, open for good: it must be there when no descriptor is left to open it with.
static OWN: OnceLock<File> = OnceLock::new();

/// Opens what [`children`] reads, so that it can be read when descriptors have run out. Where that is refused (or the
/// kernel is without `CONFIG_PROC_CHILDREN`), it is tried each time.
pub fn keep_open() {
    if let Ok(file) = File::open(list_of(std::process::id())) {
        // Kept already: it is the same list.
        let _ = OWN.set(file);
    }
}

fn list_of(pid: u32) -> String {
    format!("/proc/{pid}/task/{pid}/children")
}

/// Our own children, ended ones included (`/proc/PID/task/TID/children`, proc(5)). Those of one thread: ganger
/// forks and reaps in its first one.
#[must_use]
pub fn children() -> Vec<u32> {
    let Some(mut own) = OWN.get() else { return children_of(std::process::id()) };
    match own.seek(SeekFrom::Start(0)) {
        Ok(_) => listed(own),
        Err(_) => Vec::new(),
    }
}

/// The children of the first thread of `pid`.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    File::open(list_of(pid)).map_or_else(|_| Vec::new(), listed)
}

fn listed(list: impl Read) -> Vec<u32> {
    let mut text = String::new();
    match list.take(MAX_ENVIRON).read_to_string(&mut text) {
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
    match Child::open(pid) {
        // Gone already is what is wanted.
        Ok(child) => drop(child.send_signal(nix::libc::SIGKILL)),
        Err(error) if error.is_shortage() => {
            if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        Err(_) => {}
    }
}

/// Waits until a child of ours has ended, for so long at most; it is not reaped.
pub fn await_end(pid: u32, limit: Duration) {
    match Child::open(pid) {
        Ok(child) => {
            let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
            // Interrupted or not: who asks looks again at what is left.
            let _ = poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], timeout);
        }
        // Without a descriptor to wait on, it is looked at again and again.
        Err(error) if error.is_shortage() => {
            let end = super::clock::now() + limit;
            while !pidfd::child_has_ended(pid) && super::clock::now() < end {
                let _ = poll(&mut [], PollTimeout::try_from(NAP).unwrap_or(PollTimeout::ZERO));
            }
        }
        // One that cannot be held has ended already.
        Err(_) => {}
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
