//! How a datagram is written. Values go in, one line each comes out: no value can add a line of its own.

use std::fmt::Write as _;
use std::time::Duration;

use super::{MAX_UPWARD_BYTES, status_text};
use crate::proto::listen_fds::FdName;
use crate::time::Monotonic;

/// One line of a datagram (sd_notify(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment<'a> {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1` and the `MONOTONIC_USEC=` that systemd wants with it.
    Reloading {
        /// Now.
        at: Monotonic,
    },
    /// `STOPPING=1`.
    Stopping,
    /// `STATUS=`, made harmless by [`status_text`].
    Status(&'a str),
    /// `ERRNO=`.
    Errno(i32),
    /// `EXIT_STATUS=`.
    ExitStatus(u8),
    /// `WATCHDOG=1`.
    Watchdog,
    /// `EXTEND_TIMEOUT_USEC=`.
    ExtendTimeout(Duration),
    /// `MAINPID=`.
    MainPid(u32),
    /// `FDSTORE=1` and `FDNAME=`; the descriptor travels beside the text.
    FdStore(&'a FdName),
    /// `FDPOLL=0`: what was stored is kept even when it reports an error.
    FdPollOff,
    /// `FDSTOREREMOVE=1` and `FDNAME=`.
    FdStoreRemove(&'a FdName),
    /// `BARRIER=1`; must stand alone, and one end of a pipe travels beside it.
    Barrier,
}

/// Writes `assignments` as one datagram, each on its line, in the order given.
///
/// A line that would make the datagram longer than [`MAX_UPWARD_BYTES`] is left out; with one status of at
/// most [`super::MAX_STATUS_CHARS`] characters and each other word once that cannot happen.
#[must_use]
pub fn write(assignments: &[Assignment<'_>]) -> String {
    let mut datagram = String::new();
    for assignment in assignments {
        let before = datagram.len();
        line(&mut datagram, *assignment);
        if datagram.len() > MAX_UPWARD_BYTES {
            datagram.truncate(before);
        }
    }
    datagram
}

fn line(out: &mut String, assignment: Assignment<'_>) {
    // Writing to a String cannot fail.
    let _ = match assignment {
        Assignment::Ready => writeln!(out, "READY=1"),
        Assignment::Reloading { at } => writeln!(out, "RELOADING=1\nMONOTONIC_USEC={}", at.as_micros()),
        Assignment::Stopping => writeln!(out, "STOPPING=1"),
        Assignment::Status(text) => writeln!(out, "STATUS={}", status_text(text)),
        Assignment::Errno(errno) => writeln!(out, "ERRNO={errno}"),
        Assignment::ExitStatus(status) => writeln!(out, "EXIT_STATUS={status}"),
        Assignment::Watchdog => writeln!(out, "WATCHDOG=1"),
        Assignment::ExtendTimeout(span) => writeln!(out, "EXTEND_TIMEOUT_USEC={}", micros(span)),
        Assignment::MainPid(pid) => writeln!(out, "MAINPID={pid}"),
        Assignment::FdStore(name) => writeln!(out, "FDSTORE=1\nFDNAME={name}"),
        Assignment::FdPollOff => writeln!(out, "FDPOLL=0"),
        Assignment::FdStoreRemove(name) => writeln!(out, "FDSTOREREMOVE=1\nFDNAME={name}"),
        Assignment::Barrier => writeln!(out, "BARRIER=1"),
    };
}

/// One less than `USEC_INFINITY` at most, which systemd would read as no number at all.
fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_written_as_systemd_reads_it() {
        let name = FdName::new("state").unwrap();
        let at = Monotonic::from_origin(Duration::from_secs(2));
        for (assignment, text) in [
            (Assignment::Ready, "READY=1\n"),
            (Assignment::Reloading { at }, "RELOADING=1\nMONOTONIC_USEC=2000000\n"),
            (Assignment::Stopping, "STOPPING=1\n"),
            (Assignment::Status("up"), "STATUS=up\n"),
            (Assignment::Errno(98), "ERRNO=98\n"),
            (Assignment::ExitStatus(1), "EXIT_STATUS=1\n"),
            (Assignment::Watchdog, "WATCHDOG=1\n"),
            (Assignment::ExtendTimeout(Duration::from_millis(3)), "EXTEND_TIMEOUT_USEC=3000\n"),
            (Assignment::MainPid(7), "MAINPID=7\n"),
            (Assignment::FdStore(&name), "FDSTORE=1\nFDNAME=state\n"),
            (Assignment::FdPollOff, "FDPOLL=0\n"),
            (Assignment::FdStoreRemove(&name), "FDSTOREREMOVE=1\nFDNAME=state\n"),
            (Assignment::Barrier, "BARRIER=1\n"),
        ] {
            assert_eq!(write(&[assignment]), text);
        }
    }

    #[test]
    fn no_status_can_add_a_line() {
        assert_eq!(
            write(&[Assignment::Status("ok\nREADY=1\r\n\0MAINPID=1")]),
            "STATUS=ok READY=1 MAINPID=1\n"
        );
    }

    #[test]
    fn a_datagram_never_exceeds_what_systemd_takes() {
        let status = "ü".repeat(500);
        let many = vec![Assignment::Status(&status); 50];
        let datagram = write(&many);
        assert!(datagram.len() <= MAX_UPWARD_BYTES && datagram.ends_with("…\n"));
    }

    #[test]
    fn an_endless_span_is_still_a_number() {
        assert_eq!(
            write(&[Assignment::ExtendTimeout(Duration::MAX)]),
            "EXTEND_TIMEOUT_USEC=18446744073709551614\n"
        );
    }
}
