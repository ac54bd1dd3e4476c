//! The kernel's process events (`linux/cn_proc.h`): every fork, exec and exit with its CLOCK_MONOTONIC.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, send, setsockopt, sockopt};

/// `CN_IDX_PROC`, also `CN_VAL_PROC`.
const PROCESSES: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// Of `struct nlmsghdr` and `struct cn_msg`.
const HEADERS: usize = 16 + 20;
/// Room for the events of a busy machine.
const BUFFER: usize = 8 << 20;

pub(crate) enum What {
    Fork,
    Exec,
    Exit,
}

/// Something happened to a process.
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) pid: u32,
    pub(crate) at: Duration,
}

pub(crate) struct Events(OwnedFd);

impl Events {
    /// From now on; `None` without the right to (CAP_NET_ADMIN) or without the kernel's support.
    pub(crate) fn listen() -> Option<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes three numbers; the descriptor is new and nobody else's.
        #[expect(unsafe_code, reason = "nix does not know this protocol of netlink")]
        let socket = unsafe {
            let socket = Errno::result(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR)).ok()?;
            OwnedFd::from_raw_fd(socket)
        };
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, PROCESSES)).ok()?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).ok()?;
        let length = u32::try_from(HEADERS + 4).ok()?;
        let done = u16::try_from(libc::NLMSG_DONE).ok()?;
        let mut message = Vec::new();
        message.extend(length.to_ne_bytes());
        message.extend(done.to_ne_bytes());
        message.extend([0; 2 + 4 + 4]);
        message.extend([PROCESSES, PROCESSES, 0, 0].map(u32::to_ne_bytes).concat());
        message.extend([4u16, 0].map(u16::to_ne_bytes).concat());
        message.extend(LISTEN.to_ne_bytes());
        send(socket.as_raw_fd(), &message, MsgFlags::empty()).ok()?;
        let events = Self(socket);
        // Whoever may not listen is never told anything.
        std::process::Command::new("true").status().ok()?;
        (!events.read().is_empty()).then_some(events)
    }

    /// What happened since the last time.
    pub(crate) fn read(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            events.extend(buffer.get(HEADERS..length).and_then(parse));
        }
        events
    }
}

/// `struct proc_event`: what, which CPU, when, and whose numbers.
fn parse(event: &[u8]) -> Option<Event> {
    let number = |at: usize| Some(u32::from_ne_bytes(event.get(at..at + 4)?.try_into().ok()?));
    let at = u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?);
    let (what, pid, thread_of) = match number(0)? {
        // The parent's two numbers come first; a new thread is no new process.
        1 => (What::Fork, number(24)?, number(28)?),
        2 => (What::Exec, number(16)?, number(20)?),
        0x8000_0000 => (What::Exit, number(16)?, number(20)?),
        _ => return None,
    };
    (pid == thread_of).then_some(Event { what, pid, at: Duration::from_nanos(at) })
}
