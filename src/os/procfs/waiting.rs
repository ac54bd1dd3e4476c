//! Does a process wait on a socket? The sign of readiness that asks nothing of the worker.
//!
//! A socket in an epoll set counts: servers add it when they are ready to accept. Otherwise a thread must be
//! blocked in accept, recv, poll or select on a descriptor that is the socket; its arguments are in
//! `/proc/PID/task/TID/syscall`, the lists of poll and select in its memory. Where that may not be read, the
//! kernel function that it sleeps in (`wchan`) tells accept at least.

use std::fs;

use nix::libc::{self, c_long};

use super::{MAX_THREADS, each_fd, read, socket_fds};

/// The most descriptors of one poll or select that are looked at.
const MAX_POLLED: usize = 4096;

/// How a process waits on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The socket is in one of its epoll sets, for reading.
    Epoll,
    /// A thread is blocked in accept(2), or in recv(2) and kin for datagrams.
    Blocked,
    /// A thread is blocked in poll(2) or select(2) with the socket among its descriptors.
    Polled,
}

/// Whether `pid` waits on the socket `inode`, and how.
#[must_use]
pub fn waits_on(pid: u32, inode: u64) -> Option<Wait> {
    let numbers = socket_fds(pid, inode);
    if numbers.is_empty() {
        return None;
    }
    if in_epoll_set(pid, inode, &numbers) {
        return Some(Wait::Epoll);
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.take(MAX_THREADS).flatten().find_map(|thread| {
        let tid = thread.file_name().to_str()?.parse::<u32>().ok()?;
        match read(&format!("/proc/{pid}/task/{tid}/syscall")) {
            Some(line) => blocked_on(pid, &line, &numbers),
            None => sleeps_in_accept(pid, tid).then_some(Wait::Blocked),
        }
    })
}

fn in_epoll_set(pid: u32, inode: u64, numbers: &[i32]) -> bool {
    let mut sets = Vec::new();
    each_fd(pid, |number, target| {
        if target == "anon_inode:[eventpoll]" {
            sets.push(number);
        }
    });
    sets.iter().any(|set| {
        let text = read(&format!("/proc/{pid}/fdinfo/{set}")).unwrap_or_default();
        text.lines().filter_map(parse_epoll_entry).any(|entry| {
            let same = entry.inode.map_or_else(|| numbers.contains(&entry.number), |found| found == inode);
            same && entry.events & (libc::EPOLLIN.unsigned_abs()) != 0
        })
    })
}

struct EpollEntry {
    number: i32,
    events: u32,
    /// Not told by kernels before 4.11.
    inode: Option<u64>,
}

/// `tfd:        7 events:       19 data:                7  pos:0 ino:1b5c sdev:8`
fn parse_epoll_entry(line: &str) -> Option<EpollEntry> {
    let mut number = None;
    let mut events = None;
    let mut inode = None;
    let spaced = line.replace(':', " ");
    let mut words = spaced.split_whitespace();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key {
            "tfd" => number = value.parse().ok(),
            "events" => events = u32::from_str_radix(value, 16).ok(),
            "ino" => inode = u64::from_str_radix(value, 16).ok(),
            _ => {}
        }
    }
    Some(EpollEntry { number: number?, events: events?, inode })
}

/// System calls whose first argument is the descriptor that they wait on.
const ON_ONE: &[c_long] = &[
    #[cfg(not(target_arch = "s390x"))]
    libc::SYS_accept,
    libc::SYS_accept4,
    #[cfg(not(target_arch = "x86"))]
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
];
#[cfg(target_arch = "x86_64")]
const POLL: &[c_long] = &[libc::SYS_poll, libc::SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const POLL: &[c_long] = &[libc::SYS_ppoll];
#[cfg(target_arch = "x86_64")]
const SELECT: &[c_long] = &[libc::SYS_select, libc::SYS_pselect6];
#[cfg(not(target_arch = "x86_64"))]
const SELECT: &[c_long] = &[libc::SYS_pselect6];

/// `line` is `NUMBER ARG0 … ARG5 SP PC`, or `running`, or `-1 SP PC`.
fn blocked_on(pid: u32, line: &str, numbers: &[i32]) -> Option<Wait> {
    let mut words = line.split_whitespace();
    let call: c_long = words.next()?.parse().ok()?;
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (first, second) = (argument()?, argument()?);
    if ON_ONE.contains(&call) {
        let number = i32::try_from(first & 0xffff_ffff).ok()?;
        return numbers.contains(&number).then_some(Wait::Blocked);
    }
    let polled = if POLL.contains(&call) {
        polled(pid, first, usize::try_from(second).ok()?, numbers)
    } else if SELECT.contains(&call) {
        selected(pid, usize::try_from(first & 0xffff_ffff).ok()?, second, numbers)
    } else {
        false
    };
    polled.then_some(Wait::Polled)
}

fn polled(pid: u32, list: u64, count: usize, numbers: &[i32]) -> bool {
    let mut bytes = vec![0u8; count.min(MAX_POLLED).saturating_mul(size_of::<libc::pollfd>())];
    let length = read_memory(pid, list, &mut bytes);
    let entries = bytes.get(..length).unwrap_or_default().chunks_exact(size_of::<libc::pollfd>());
    entries.into_iter().any(|entry| {
        let number = entry.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        let events = entry.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(i16::from_ne_bytes);
        number.is_some_and(|number| numbers.contains(&number))
            && events.is_some_and(|events| events & libc::POLLIN != 0)
    })
}

fn selected(pid: u32, highest: usize, set: u64, numbers: &[i32]) -> bool {
    if set == 0 {
        return false;
    }
    // A set of descriptors is an array of machine words.
    let bits = highest.min(MAX_POLLED);
    let word = size_of::<libc::c_ulong>();
    let mut bytes = vec![0u8; bits.div_ceil(word * 8).saturating_mul(word)];
    let length = read_memory(pid, set, &mut bytes);
    let words = bytes.get(..length).unwrap_or_default().chunks_exact(word);
    let words: Vec<_> =
        words.filter_map(|word| word.try_into().ok()).map(libc::c_ulong::from_ne_bytes).collect();
    numbers.iter().filter_map(|number| usize::try_from(*number).ok()).filter(|number| *number < bits).any(
        |number| words.get(number / (word * 8)).is_some_and(|bits| bits & (1 << (number % (word * 8))) != 0),
    )
}

/// Copies from another process's memory; returns how many bytes came.
fn read_memory(pid: u32, address: u64, into: &mut [u8]) -> usize {
    let (Ok(pid), Ok(address)) = (i32::try_from(pid), usize::try_from(address)) else { return 0 };
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: writes at most `into.len()` bytes into `into`; the remote address is the other process's and is
    // checked by the kernel.
    let copied = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied).unwrap_or(0)
}

fn sleeps_in_accept(pid: u32, tid: u32) -> bool {
    let function = read(&format!("/proc/{pid}/task/{tid}/wchan")).unwrap_or_default();
    matches!(function.trim(), "inet_csk_accept" | "inet_csk_wait_for_connect" | "unix_accept")
}
