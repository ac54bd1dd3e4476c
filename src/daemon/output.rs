//! Where workers' output goes: a journal stream of each worker's own, the terminal with a prefix, a file, or
//! ganger's own descriptors. Under systemd no line passes through ganger.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::os::{SysError, files, journal_stream, pipes};
use crate::plan::{Log, Sink};
use crate::pool::Slot;
use crate::systemd::logging;

/// Priority of lines without a `<N>` prefix: info (syslog(3)).
const INFO: u8 = 6;
/// A line on the terminal is cut here, so that one endless line cannot eat all memory.
const MAX_LINE: u64 = 64 * 1024;
/// Colours of the prefixes, by slot (ECMA-48 SGR).
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// What [`Sink::Auto`] means in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// Journal streams.
    Journal,
    /// Lines with a prefix on ganger's stdout, in colour or not.
    Terminal { colour: bool },
    /// ganger's own descriptors.
    Inherit,
}

/// Descriptors 1 and 2 of one worker.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// `JOURNAL_STREAM` of stderr, when it is one.
    pub(super) journal_stream: Option<String>,
}

impl Output {
    /// What fits where ganger runs: the journal when its own stderr is a journal stream, else the terminal,
    /// else what ganger has.
    pub(super) fn here(colour: bool) -> Self {
        if logging::streams_to_journal() && !std::io::stdout().is_terminal() {
            Self::Journal
        } else if std::io::stdout().is_terminal() {
            Self::Terminal { colour }
        } else {
            Self::Inherit
        }
    }

    /// Opens what one worker writes to.
    pub(super) fn open(self, app: &str, slot: Slot, log: &Log, null: &OwnedFd) -> Result<Sinks, SysError> {
        let stderr = self.sink(app, slot, &log.stderr, null, &std::io::stderr())?;
        // One stream for both keeps their lines in order.
        if log.stdout == log.stderr && !matches!(self.resolved(&log.stdout), Sink::Inherit) {
            let stdout = duplicate(&stderr.0)?;
            return Ok(Sinks { stdout, stderr: stderr.0, journal_stream: stderr.1 });
        }
        let stdout = self.sink(app, slot, &log.stdout, null, &std::io::stdout())?;
        Ok(Sinks { stdout: stdout.0, stderr: stderr.0, journal_stream: stderr.1 })
    }

    fn resolved(self, sink: &Sink) -> Sink {
        match (sink, self) {
            (Sink::Auto, Self::Journal) => Sink::Journal,
            (Sink::Auto, Self::Inherit) => Sink::Inherit,
            (
                Sink::Auto | Sink::Journal | Sink::Inherit | Sink::Null | Sink::File(_),
                Self::Journal | Self::Inherit | Self::Terminal { .. },
            ) => sink.clone(),
        }
    }

    fn sink(
        self,
        app: &str,
        slot: Slot,
        sink: &Sink,
        null: &OwnedFd,
        own: &impl AsFd,
    ) -> Result<(OwnedFd, Option<String>), SysError> {
        match self.resolved(sink) {
            Sink::Journal => match journal_stream::open(&format!("{app}[{slot}]"), INFO) {
                Ok(stream) => Ok((stream.fd, Some(stream.variable))),
                // A worker without a log is better than no worker; ganger's own stderr is the next best place.
                Err(error) => {
                    tracing::warn!("slot {slot} logs to ganger's own stderr: failed to {error}");
                    Ok((duplicate(own)?, None))
                }
            },
            Sink::Inherit => Ok((duplicate(own)?, None)),
            Sink::Null => Ok((duplicate(null)?, None)),
            Sink::File(path) => Ok((files::open_append(&path)?, None)),
            Sink::Auto => {
                let colour = self == Self::Terminal { colour: true };
                Ok((prefixed(app, slot, colour)?, None))
            }
        }
    }
}

fn duplicate(fd: &impl AsFd) -> Result<OwnedFd, SysError> {
    pipes::duplicate(fd)
}

/// A pipe whose lines come out on the terminal behind `APP[SLOT]`. A thread of its own copies them: a terminal
/// that is stopped (^S) must not stop the supervisor.
fn prefixed(app: &str, slot: Slot, colour: bool) -> Result<OwnedFd, SysError> {
    let (ours, theirs) = pipes::between_threads()?;
    let prefix = if colour {
        let index = usize::try_from(slot.0).unwrap_or(0) % COLOURS.len();
        let code = COLOURS.get(index).copied().unwrap_or(0);
        format!("\x1b[{code}m{app}[{slot}]\x1b[0m ")
    } else {
        format!("{app}[{slot}] ")
    };
    let copier = std::thread::Builder::new().name("terminal".into()).stack_size(64 * 1024);
    let copy = move || {
        copy_lines(std::fs::File::from(ours), &prefix);
        *copiers() -= 1;
        COPIERS.1.notify_all();
    };
    *copiers() += 1;
    copier.spawn(copy).map_err(|error| {
        *copiers() -= 1;
        SysError::from_io("start a thread for the terminal", &error)
    })?;
    Ok(theirs)
}

/// How many threads copy lines to the terminal, and word of each that ends.
static COPIERS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

fn copiers() -> MutexGuard<'static, usize> {
    COPIERS.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the last lines of workers that are gone are on the terminal, for so long at most.
pub(super) fn await_last_lines(limit: Duration) {
    // Too late or not: what is shown is shown.
    drop(COPIERS.1.wait_timeout_while(copiers(), limit, |running| *running > 0));
}

fn copy_lines(from: std::fs::File, prefix: &str) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        let mut out = std::io::stdout().lock();
        if out.write_all(prefix.as_bytes()).and_then(|()| out.write_all(&line)).is_err() {
            return;
        }
    }
}
