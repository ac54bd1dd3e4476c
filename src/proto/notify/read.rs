//! What one datagram says. Whoever sends it is not trusted: nothing here fails for a strange line, it counts.

use std::fmt;
use std::time::Duration;

use super::{MAX_DATAGRAM_BYTES, status_text};
use crate::time::Monotonic;

/// The most lines of one datagram that are looked at; the rest is counted in [`Reading::unread`].
const MAX_LINES: usize = 1024;

/// One thing that a datagram says (sd_notify(3)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// `READY=1`: start-up is finished, or a reload is.
    Ready,
    /// `STOPPING=1`: it began to leave.
    Stopping,
    /// `RELOADING=1`: it began to reload its configuration.
    Reloading,
    /// `MONOTONIC_USEC=`: when the message was made, on the sender's monotonic clock.
    SentAt(Monotonic),
    /// `STATUS=`: how it is, as harmless text ([`status_text`]); empty: nothing to tell any more.
    Status(String),
    /// `ERRNO=`: why it fails, as an errno(3) number.
    Errno(i32),
    /// `WATCHDOG=1`: it is alive.
    WatchdogPing,
    /// `WATCHDOG=trigger`: it asks to be treated as if it had gone silent.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=`: the silence after which it wants to count as hung.
    WatchdogInterval(Duration),
    /// `EXTEND_TIMEOUT_USEC=`: it will send a further message within this time, and asks to be let live.
    ExtendTimeout(Duration),
    /// `MAINPID=`: which process is to count as the main one.
    MainPid(u32),
    /// `BARRIER=1`: the passed descriptor is to be closed once everything before was taken note of.
    Barrier,
    /// A known word that is knowingly not followed here.
    Declined(Declined),
}

/// Words of sd_notify(3) that mean something to systemd only. Descriptors that come with them are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declined {
    /// `FDSTORE=1`, `FDSTOREREMOVE=1`, `FDNAME=`, `FDPOLL=`: a worker has no descriptor store.
    FdStore,
    /// `NOTIFYACCESS=`: who may speak is ganger's affair.
    NotifyAccess,
    /// `BUSERROR=`, `VARLINKERROR=`: names of errors.
    NamedError,
    /// `EXIT_STATUS=`: the kernel tells the truth about that.
    ExitStatus,
    /// `MAINPIDFD=1`, `MAINPIDFDID=`: `MAINPID=` is enough.
    MainPidFd,
    /// `RESTART_RESET=1`: backoff is ganger's affair.
    RestartReset,
}

/// What was found in one datagram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// What it says, in its order; of each kind at most one.
    pub facts: Vec<Fact>,
    /// Lines with a word that is not in sd_notify(3) (or no word at all), `X_…=` among them.
    pub unknown: u32,
    /// Lines with a known word whose value makes no sense.
    pub malformed: u32,
    /// Lines with a word that was there before: the first one counts, as for systemd.
    pub repeated: u32,
    /// Lines beyond the limit, not looked at.
    pub unread: u32,
}

/// Why a datagram is not read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is longer than [`MAX_DATAGRAM_BYTES`] (or was cut off at that length).
    TooLong {
        /// Its length, as far as known.
        bytes: usize,
    },
    /// It has a NUL before its end: other readers would see less of it than this one.
    InnerNul {
        /// Where.
        at: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "notify message of {bytes} bytes ignored, the limit is {MAX_DATAGRAM_BYTES}")
            }
            Self::InnerNul { at } => write!(f, "notify message with a NUL at byte {at} ignored"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads one datagram: lines of `WORD=VALUE`, ended by newlines, the last newline and one final NUL optional.
///
/// # Errors
/// [`Refusal`] when it cannot be read safely as a whole. A strange line is no error; it is counted.
pub fn read(datagram: &[u8]) -> Result<Reading, Refusal> {
    if datagram.len() > MAX_DATAGRAM_BYTES {
        return Err(Refusal::TooLong { bytes: datagram.len() });
    }
    let datagram = datagram.strip_suffix(b"\0").unwrap_or(datagram);
    if let Some(at) = datagram.iter().position(|byte| *byte == 0) {
        return Err(Refusal::InnerNul { at });
    }
    let mut reading = Reading::default();
    for (number, line) in datagram.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        if number >= MAX_LINES {
            reading.unread += 1;
        } else {
            reading.take(line);
        }
    }
    Ok(reading)
}

/// What one line turned out to be.
enum Line {
    Says(Fact),
    Unknown,
    Malformed,
}

impl Reading {
    fn take(&mut self, line: &[u8]) {
        match understand(line) {
            Line::Says(fact) if self.facts.iter().any(|known| same_word(known, &fact)) => self.repeated += 1,
            Line::Says(fact) => self.facts.push(fact),
            Line::Unknown => self.unknown += 1,
            Line::Malformed => self.malformed += 1,
        }
    }
}

/// Whether two facts come from the same word; `WATCHDOG=1` and `WATCHDOG=trigger` are two wishes.
fn same_word(one: &Fact, other: &Fact) -> bool {
    if let (Fact::Declined(one), Fact::Declined(other)) = (one, other) {
        return one == other;
    }
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn understand(line: &[u8]) -> Line {
    let Some(equals) = line.iter().position(|byte| *byte == b'=') else { return Line::Unknown };
    let (word, value) = line.split_at(equals);
    let value = value.strip_prefix(b"=").unwrap_or(value);
    let fact = match word {
        b"READY" => flag(value, Fact::Ready),
        b"STOPPING" => flag(value, Fact::Stopping),
        b"RELOADING" => flag(value, Fact::Reloading),
        b"BARRIER" => flag(value, Fact::Barrier),
        b"MONOTONIC_USEC" => micros(value).map(|since| Fact::SentAt(Monotonic::from_origin(since))),
        b"STATUS" => Some(Fact::Status(status_text(&String::from_utf8_lossy(value)))),
        b"ERRNO" => number(value).and_then(|n| i32::try_from(n).ok()).map(Fact::Errno),
        b"WATCHDOG" if value == b"trigger" => Some(Fact::WatchdogTrigger),
        b"WATCHDOG" => flag(value, Fact::WatchdogPing),
        b"WATCHDOG_USEC" => micros(value).map(Fact::WatchdogInterval),
        b"EXTEND_TIMEOUT_USEC" => micros(value).map(Fact::ExtendTimeout),
        b"MAINPID" => number(value).and_then(pid).map(Fact::MainPid),
        b"FDSTORE" | b"FDSTOREREMOVE" | b"FDNAME" | b"FDPOLL" => Some(Fact::Declined(Declined::FdStore)),
        b"NOTIFYACCESS" => Some(Fact::Declined(Declined::NotifyAccess)),
        b"BUSERROR" | b"VARLINKERROR" => Some(Fact::Declined(Declined::NamedError)),
        b"EXIT_STATUS" => Some(Fact::Declined(Declined::ExitStatus)),
        b"MAINPIDFD" | b"MAINPIDFDID" => Some(Fact::Declined(Declined::MainPidFd)),
        b"RESTART_RESET" => Some(Fact::Declined(Declined::RestartReset)),
        _ => return Line::Unknown,
    };
    fact.map_or(Line::Malformed, Line::Says)
}

fn flag(value: &[u8], fact: Fact) -> Option<Fact> {
    (value == b"1").then_some(fact)
}

/// A decimal number as systemd's tools write it: digits only, no sign, no space.
fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `USEC_INFINITY` is the largest number; it means "for ever" and is no span.
fn micros(value: &[u8]) -> Option<Duration> {
    number(value).filter(|micros| *micros != u64::MAX).map(Duration::from_micros)
}

/// 0 is "whoever sees it" and 1 is the service manager: neither is a worker's process.
fn pid(number: u64) -> Option<u32> {
    i32::try_from(number).ok().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(datagram: &[u8]) -> Vec<Fact> {
        read(datagram).unwrap().facts
    }

    #[test]
    fn every_word_that_is_followed_becomes_its_fact() {
        let text = b"READY=1\nSTOPPING=1\nRELOADING=1\nMONOTONIC_USEC=5\nSTATUS=up\nERRNO=2\nWATCHDOG=1\n\
            WATCHDOG=trigger\nWATCHDOG_USEC=1000\nEXTEND_TIMEOUT_USEC=7\nMAINPID=9\nBARRIER=1";
        assert_eq!(
            facts(text),
            [
                Fact::Ready,
                Fact::Stopping,
                Fact::Reloading,
                Fact::SentAt(Monotonic::from_origin(Duration::from_micros(5))),
                Fact::Status("up".into()),
                Fact::Errno(2),
                Fact::WatchdogPing,
                Fact::WatchdogTrigger,
                Fact::WatchdogInterval(Duration::from_millis(1)),
                Fact::ExtendTimeout(Duration::from_micros(7)),
                Fact::MainPid(9),
                Fact::Barrier,
            ]
        );
    }

    #[test]
    fn words_for_systemd_alone_are_known_and_declined() {
        let text = b"FDSTORE=1\nFDNAME=x\nNOTIFYACCESS=all\nBUSERROR=a.b\nEXIT_STATUS=3\nMAINPIDFD=1\nRESTART_RESET=1\n";
        let reading = read(text).unwrap();
        assert_eq!(
            reading.facts,
            [
                Fact::Declined(Declined::FdStore),
                Fact::Declined(Declined::NotifyAccess),
                Fact::Declined(Declined::NamedError),
                Fact::Declined(Declined::ExitStatus),
                Fact::Declined(Declined::MainPidFd),
                Fact::Declined(Declined::RestartReset),
            ]
        );
        assert_eq!((reading.unknown, reading.malformed), (0, 0));
    }

    #[test]
    fn strange_lines_are_counted_and_hide_nothing() {
        let reading = read(b"X_FOO=1\nnonsense\n=\nREADY=yes\nMAINPID=-4\nMAINPID=1\nERRNO=99999999999\n\xff\xfe=1\nREADY=1\n\n")
            .unwrap();
        assert_eq!(reading.facts, [Fact::Ready]);
        assert_eq!((reading.unknown, reading.malformed), (4, 4));
    }

    #[test]
    fn of_a_repeated_word_the_first_counts() {
        let reading = read(b"STATUS=one\nSTATUS=two\nREADY=1\nREADY=1\nMAINPID=5\nMAINPID=6").unwrap();
        assert_eq!(reading.facts, [Fact::Status("one".into()), Fact::Ready, Fact::MainPid(5)]);
        assert_eq!(reading.repeated, 3);
    }

    #[test]
    fn invalid_utf8_in_a_status_is_replaced() {
        assert_eq!(facts(b"STATUS=caf\xe9 open"), [Fact::Status("caf\u{fffd} open".into())]);
    }

    #[test]
    fn one_final_nul_is_allowed_and_an_inner_one_is_not() {
        assert_eq!(facts(b"READY=1\0"), [Fact::Ready]);
        assert_eq!(facts(b"READY=1\n\0"), [Fact::Ready]);
        assert_eq!(read(b"STATUS=a\0b\nREADY=1"), Err(Refusal::InnerNul { at: 8 }));
        assert_eq!(read(b"READY=1\0\0"), Err(Refusal::InnerNul { at: 7 }));
    }

    #[test]
    fn a_flood_in_one_datagram_is_bounded() {
        let long = vec![b'x'; MAX_DATAGRAM_BYTES + 1];
        assert_eq!(read(&long), Err(Refusal::TooLong { bytes: MAX_DATAGRAM_BYTES + 1 }));
        let lines = "A=1\n".repeat(MAX_LINES + 10) + "READY=1\n";
        let reading = read(lines.as_bytes()).unwrap();
        assert_eq!((reading.unknown as usize, reading.unread), (MAX_LINES, 11));
        assert_eq!(reading.facts, []);
    }

    #[test]
    fn an_endless_timeout_is_no_span() {
        assert_eq!(facts(b"EXTEND_TIMEOUT_USEC=18446744073709551615"), []);
    }
}
