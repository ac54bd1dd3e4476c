//! What /proc says of a process: its kin, its memory, its sockets, and whether it waits on one (proc(5)).
//!
//! Every answer is a look, true when it was taken: a process may be gone the moment after. Lists have limits,
//! files are read to a limit; what is absent or forbidden is `None` or empty, because a process that went away
//! is no error.

mod census;
mod held;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

pub use census::{Census, Kin};
pub use held::{Held, held};
pub use waiting::{Wait, waits_on};

/// The most bytes that are read of one file.
const MAX_FILE: u64 = 1 << 20;
/// Room for what most files hold.
const FIRST_READ: usize = 1024;
/// The most descriptors of one process that are looked at.
pub const MAX_FDS: usize = 65_536;
/// The most threads of one process that are looked at.
const MAX_THREADS: usize = 512;
/// The longest chain of parents that is followed.
pub const MAX_ANCESTORS: usize = 64;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Parent.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// `Z` for a process that has ended and was not reaped.
    pub state: char,
    /// User and system time, of itself and of the children it waited for.
    pub cpu: Duration,
    /// When it started, in clock ticks since boot: tells two holders of one pid apart.
    pub start_ticks: u64,
}

fn read(path: &str) -> Option<String> {
    try_read(path).ok()
}

fn try_read(path: &str) -> io::Result<String> {
    // A file of /proc is made anew for each read: most fit into the first.
    let mut text = Vec::with_capacity(FIRST_READ);
    File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Looks at a process; `None` when there is none.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(&format!("/proc/{pid}/stat"))?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name stands in parentheses and may hold anything, parentheses as well.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let id = |place: usize| u32::try_from(number(place)?).ok();
    // Counted from the state, which is field 3 in proc(5).
    let ticks =
        number(11)?.saturating_add(number(12)?).saturating_add(number(13)?).saturating_add(number(14)?);
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: id(1)?,
        group: id(2)?,
        session: id(3)?,
        cpu: from_ticks(ticks),
        start_ticks: number(19)?,
    })
}

/// How many bytes the environment has that a process was started with (`env_start` and `env_end` of
/// `/proc/PID/stat`); none on its way into a program. `None`: the process has ended.
///
/// # Errors
/// `ENOENT` or `ESRCH` for one that was reaped; `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn environment_size(pid: u32) -> io::Result<Option<u64>> {
    Ok(parse_environment_size(&try_read(&format!("/proc/{pid}/stat"))?))
}

fn parse_environment_size(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if matches!(fields.first(), None | Some(&"Z" | &"X")) {
        return None;
    }
    // Fields 50 and 51, counted from the state, which is field 3.
    let place = |number: usize| fields.get(number)?.parse::<u64>().ok();
    Some(place(48)?.saturating_sub(place(47)?))
}

fn from_ticks(ticks: u64) -> Duration {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|hz| u64::try_from(hz).ok());
    let per_second = per_second.filter(|hz| *hz > 0).unwrap_or(100);
    Duration::from_millis(ticks.saturating_mul(1000).checked_div(per_second).unwrap_or(0))
}

/// The parents of `pid`, nearest first, up to PID 1 or [`MAX_ANCESTORS`]; each is looked for when it is asked for.
pub fn ancestors(pid: u32) -> impl Iterator<Item = u32> {
    let parent = |at: u32| stat(at).map(|stat| stat.parent).filter(|parent| *parent != 0);
    std::iter::successors(parent(pid), move |at| parent(*at)).take(MAX_ANCESTORS)
}

/// The memory of one process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Its fair share of what it shares with others; `None` where it may not be asked for.
    pub proportional: Option<u64>,
    /// All of its pages that are in memory.
    pub resident: u64,
}

impl Memory {
    /// The proportional size where it is known, else the resident one.
    #[must_use]
    pub fn best(self) -> u64 {
        self.proportional.unwrap_or(self.resident)
    }
}

/// Measures a process (`smaps_rollup`, `statm`). The kernel walks its page tables: not for every second.
#[must_use]
pub fn memory(pid: u32) -> Option<Memory> {
    let pages = read(&format!("/proc/{pid}/statm"))?.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    let proportional = read(&format!("/proc/{pid}/smaps_rollup")).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    Some(Memory { proportional, resident: pages.saturating_mul(page.unwrap_or(4096)) })
}

/// The numbers under which `pid` holds the socket `inode`. Empty when it holds none, or may not be looked at.
#[must_use]
pub fn socket_fds(pid: u32, inode: u64) -> Vec<i32> {
    let wanted = format!("socket:[{inode}]");
    let mut numbers = Vec::new();
    each_fd(pid, |number, target| {
        if target == wanted {
            numbers.push(number);
        }
    });
    numbers
}

/// Whether `pid` holds the socket `inode`; `None` when its descriptors may not be looked at.
#[must_use]
pub fn holds_socket(pid: u32, inode: u64) -> Option<bool> {
    let wanted = format!("socket:[{inode}]");
    let mut holds = false;
    each_fd(pid, |_, target| holds |= target == wanted).then_some(holds)
}

/// The file name of the program that `pid` runs; `None` when it may not be seen.
#[must_use]
pub fn program(pid: u32) -> Option<OsString> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()?.file_name().map(OsStr::to_owned)
}

/// The inodes of all sockets that these processes hold.
#[must_use]
pub fn socket_inodes(pids: &[u32]) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        each_fd(*pid, |_, target| inodes.extend(socket_inode(target)));
    }
    inodes
}

/// The numbers under which `pid` holds sockets, and their inodes; `None` when they may not be looked at.
#[must_use]
pub fn sockets_of(pid: u32) -> Option<Vec<(i32, u64)>> {
    let mut sockets = Vec::new();
    each_fd(pid, |number, target| {
        sockets.extend(socket_inode(target).map(|inode| (number, inode)));
    })
    .then_some(sockets)
}

/// `socket:[INODE]`
fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Calls `see` with each descriptor's number and what it leads to; `false` when the list may not be read.
fn each_fd(pid: u32, mut see: impl FnMut(i32, &str)) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    for entry in entries.take(MAX_FDS).flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(number), Ok(target)) = (number, fs::read_link(entry.path())) {
            see(number, &target.to_string_lossy());
        }
    }
    true
}

/// Signals every process of a process group, for workers without a control group. `false` when the group is
/// empty. Only sound while a member is known to be held (its leader is not reaped yet, or a [`Census`] has just
/// shown members): an empty group's number can be another's.
///
/// # Errors
/// `EPERM`; `EINVAL` for a number that would mean "everybody" or "ourselves".
pub fn signal_group(group: u32, signal: i32) -> super::Result<bool> {
    use super::error::SysError;
    use nix::errno::Errno;
    let attempt = || format!("send {} to process group {group}", super::signals::name(signal));
    let raw = i32::try_from(group).ok().filter(|raw| *raw > 1 && *raw != nix::unistd::getpgrp().as_raw());
    let raw = raw.ok_or_else(|| SysError::new(attempt(), Errno::EINVAL))?;
    // SAFETY: takes two numbers; the group is neither 0 nor 1 nor our own.
    match Errno::result(unsafe { nix::libc::killpg(raw, signal) }) {
        Ok(_) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(SysError::new(attempt(), errno)),
    }
}
