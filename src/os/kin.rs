//! What a worker left behind where no control group tells: orphans, which the kernel gave to us as their child
//! subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), known by a mark in their environment.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::is_shortage;
use super::pidfd::{self, Child};
use super::procfs;

/// The most bytes of an environment that are looked at.
const MAX_ENVIRON: u64 = 1 << 20;
/// The most children that are looked at.
const MAX_CHILDREN: usize = 65_536;
/// The most threads of one process that are asked for their children.
const MAX_THREADS: usize = 512;
/// The most processes of one tree that are told.
pub const MAX_TREE: usize = 1024;
/// So many times in a row an environment is read that came up behind our back.
const LOOKS: usize = 8;

/// How long is slept at a time where a process's end cannot be waited for.
const NAP: Duration = Duration::from_millis(2);

/// Our own list of children, open for good: it must be there when no descriptor is left to open it with.
static OWN: OnceLock<File> = OnceLock::new();

/// Opens what [`children`] reads, so that it can be read when descriptors have run out. Where that is refused (or the
/// kernel is without `CONFIG_PROC_CHILDREN`), it is tried each time.
pub fn keep_open() {
    let own = std::process::id();
    if let Ok(file) = File::open(list_of(own, own)) {
        // Kept already: it is the same list.
        let _ = OWN.set(file);
    }
}

fn list_of(pid: u32, thread: u32) -> String {
    format!("/proc/{pid}/task/{thread}/children")
}

/// Our own children, ended ones included (`/proc/PID/task/TID/children`, proc(5)). Those of one thread: ganger
/// forks and reaps in its first one. `None`: the kernel has no room for the look; there may be some.
#[must_use]
pub fn children() -> Option<Vec<u32>> {
    let own = std::process::id();
    let looked = match OWN.get() {
        Some(mut list) => list.seek(SeekFrom::Start(0)).and_then(|_| listed(list)),
        None => File::open(list_of(own, own)).and_then(listed),
    };
    match looked {
        Ok(children) => Some(children),
        Err(error) if is_for_want_of_room(&error) => None,
        // A kernel without such lists.
        Err(_) => Some(Vec::new()),
    }
}

fn children_of_thread(pid: u32, thread: u32) -> Vec<u32> {
    File::open(list_of(pid, thread)).and_then(listed).unwrap_or_default()
}

fn listed(list: impl Read) -> io::Result<Vec<u32>> {
    let mut text = String::new();
    list.take(MAX_ENVIRON).read_to_string(&mut text)?;
    Ok(text.split_whitespace().take(MAX_CHILDREN).filter_map(|pid| pid.parse().ok()).collect())
}

fn is_for_want_of_room(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| is_shortage(Errno::from_raw(errno)))
}

/// The children of all threads of `pid`.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let threads = threads.take(MAX_THREADS).flatten();
    let threads = threads.filter_map(|thread| thread.file_name().to_str()?.parse::<u32>().ok());
    threads.flat_map(|thread| children_of_thread(pid, thread)).collect()
}

/// `pid` and all that it started, and these in turn, as far as every parent on the way still lives: nearest first,
/// [`MAX_TREE`] at most.
#[must_use]
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied().filter(|_| found.len() < MAX_TREE) {
        for child in children_of(parent) {
            // A number that was given out again during the look makes no circle.
            if !found.contains(&child) {
                found.push(child);
            }
        }
        at = at.saturating_add(1);
    }
    found.truncate(MAX_TREE);
    found
}

/// What the environment that a process was started with says about a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is there.
    Present,
    /// It is not, or may not be looked for, or the process has ended.
    Absent,
    /// It cannot be said: the process is between two programs (execve(2)), where it has no environment. Look again,
    /// but not for ever: one that was started without any variable stays so.
    Unsettled,
    /// The kernel has no room for the look (descriptors, memory). Look again, for as long as that lasts.
    Unseen,
}

impl Mark {
    /// What a look says that failed.
    fn after(error: &io::Error) -> Self {
        if is_for_want_of_room(error) { Self::Unseen } else { Self::Absent }
    }
}

/// Looks for `NAME=VALUE` in the environment that a process was started with.
#[must_use]
pub fn mark(pid: u32, mark: &str) -> Mark {
    for _ in 0..LOOKS {
        let mut environ = Vec::new();
        let read = File::open(format!("/proc/{pid}/environ"))
            .and_then(|file| file.take(MAX_ENVIRON).read_to_end(&mut environ));
        if let Err(error) = read {
            return Mark::after(&error);
        }
        if environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            return Mark::Present;
        }
        // A process that goes on to another program ends the reading of its last environment anywhere.
        match procfs::environment_size(pid) {
            Err(error) => return Mark::after(&error),
            Ok(None) => return Mark::Absent,
            Ok(Some(0)) => return Mark::Unsettled,
            Ok(Some(size)) if environ.len() as u64 == size.min(MAX_ENVIRON) => {
                return Mark::Absent;
            }
            Ok(Some(_)) => {}
        }
    }
    Mark::Unsettled
}

/// Whether the mark is surely there.
#[must_use]
pub fn is_marked(pid: u32, text: &str) -> bool {
    mark(pid, text) == Mark::Present
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

    /// A child that is killed and reaped with its test.
    struct Guarded(std::process::Child);

    impl Drop for Guarded {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_that_goes_from_program_to_program_is_never_taken_for_an_unmarked_one() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("again");
        std::fs::write(&script, "exec sh \"$0\"\n").unwrap();
        let child = Guarded(Command::new("sh").arg(&script).env("MARK", "two").spawn().unwrap());
        while mark(child.0.id(), "MARK=two") != Mark::Present {
            std::thread::yield_now();
        }
        let looks: Vec<Mark> = (0..20_000).map(|_| mark(child.0.id(), "MARK=two")).collect();
        assert!(!looks.contains(&Mark::Absent), "one look of {} missed it", looks.len());
        assert!(looks.contains(&Mark::Present));
    }

    #[test]
    fn only_want_of_room_leaves_it_open_whether_a_process_is_marked() {
        for (errno, mark) in [
            (Errno::EMFILE, Mark::Unseen),
            (Errno::ENFILE, Mark::Unseen),
            (Errno::ENOMEM, Mark::Unseen),
            (Errno::ENOENT, Mark::Absent),
            (Errno::ESRCH, Mark::Absent),
            (Errno::EACCES, Mark::Absent),
        ] {
            assert_eq!(Mark::after(&io::Error::from(errno)), mark, "{errno}");
        }
    }

    #[test]
    fn a_process_without_any_variable_is_as_one_that_has_none_yet() {
        let mut command = Command::new("cat");
        let mut child = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let child = Guarded(child);
        assert_eq!(mark(child.0.id(), "MARK=three"), Mark::Unsettled);
    }

    #[test]
    fn a_tree_has_grandchildren_and_the_children_of_every_thread() {
        let script = "import subprocess,threading,sys\n\
             start=lambda: subprocess.Popen(['sh','-c','sleep 1000 & echo $$ $!; wait'])\n\
             thread=threading.Thread(target=lambda: (start(), threading.Event().wait()), daemon=True)\n\
             thread.start(); sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Guarded(command.spawn().unwrap());
        let mut told = String::new();
        let mut output = std::io::BufReader::new(child.0.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut told).unwrap();
        let mut expected = vec![child.0.id()];
        expected.extend(told.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        assert_eq!(tree(child.0.id()), expected);
        expected.iter().skip(1).for_each(|pid| {
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(*pid).unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            )
            .unwrap();
        });
    }
}
