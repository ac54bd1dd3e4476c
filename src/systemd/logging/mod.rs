//! Where ganger's own records go, and how they get there without the supervisor ever waiting for it.
//!
//! journald's socket (tracing-journald opens it blocking), a pipe and a terminal all stop their writer when
//! the reader stops. So one thread of its own does the writing, behind a queue of [`MAX_QUEUED`] records: a
//! record that finds the queue full is dropped and counted, and the count is the first thing told when the
//! reader is back. The thread sleeps while there is nothing to write, and has every signal blocked, so that
//! signals go where they are waited for. A made-up deadline of the caller's ends [`Logging::flush`].
//!
//! Records are made with tracing's macros; a field `ganger_worker = slot` arrives as `GANGER_WORKER`, likewise
//! `ganger_generation`, and `message_id` is one of [`message_id`]'s. Workers' output does not pass here.

mod journal;
pub mod message_id;
mod record;
mod stream;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use journal::Journal;
use record::Record;
use stream::{Dress, Stream};

/// The most records that wait for a reader that does not read.
pub const MAX_QUEUED: usize = 256;

/// The writer's stack; it formats one record at a time.
const STACK_BYTES: usize = 128 * 1024;

/// How long the last records may take when [`Logging`] is dropped.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// Into the journal when standard error is a stream into it (`JOURNAL_STREAM`), else to standard error.
    #[default]
    Auto,
    /// Into the journal; to standard error when there is none.
    Journal,
    /// To standard error.
    Stderr,
}

/// What is recorded, and where it goes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `GANGER_APP` of every record.
    pub app: String,
    /// What is less important is not recorded; of other crates, only warnings and errors are.
    pub level: Level,
    /// Where records go.
    pub target: Target,
}

/// Why nothing can be recorded.
#[derive(Debug)]
pub enum LoggingError {
    /// The writer's thread cannot be started.
    Thread(io::Error),
    /// Recording was set up before.
    Twice,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "start the log writer: {error}"),
            Self::Twice => f.write_str("logging was set up before"),
        }
    }
}

impl std::error::Error for LoggingError {}

/// Recording is under way. Dropped, it gives the last records a moment to be written.
#[derive(Debug)]
pub struct Logging {
    queue: SyncSender<Item>,
}

#[derive(Debug)]
enum Item {
    Record(Record),
    Flushed(SyncSender<()>),
}

/// Starts recording, for the whole process.
///
/// # Errors
/// [`LoggingError`]; then nothing is recorded, and nothing else is affected.
pub fn start(settings: Settings) -> Result<Logging, LoggingError> {
    let level = settings.level;
    let (logging, collector) = begin(level, move || Sink::open(&settings))?;
    tracing::subscriber::set_global_default(collector).map_err(|_| LoggingError::Twice)?;
    Ok(logging)
}

/// Whether our own output goes into the journal: `JOURNAL_STREAM` names what descriptor 1 or 2 really is. What a
/// shell in somebody's service left in the environment is not believed (systemd.exec(5)).
#[must_use]
pub fn streams_to_journal() -> bool {
    libsystemd::logging::connected_to_journal()
}

fn begin(
    level: Level,
    open: impl FnOnce() -> Sink + Send + 'static,
) -> Result<(Logging, Collector), LoggingError> {
    let (queue, records) = sync_channel(MAX_QUEUED);
    let dropped = Arc::new(AtomicU64::new(0));
    let collector = Collector { level, queue: queue.clone(), dropped: Arc::clone(&dropped) };
    spawn(move || write_all(&records, &dropped, open())).map_err(LoggingError::Thread)?;
    Ok((Logging { queue }, collector))
}

/// A thread inherits the mask of signals of the one that starts it.
fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let thread = thread::Builder::new().name("ganger-log".to_owned()).stack_size(STACK_BYTES).spawn(body);
    mask.thread_set_mask()?;
    thread.map(drop)
}

impl Logging {
    /// Waits until everything recorded so far is written, at most `patience`; `false`: it was not.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, written) = sync_channel(1);
        // A full queue means a reader that does not read: it is not waited for.
        self.queue.try_send(Item::Flushed(done)).is_ok() && written.recv_timeout(patience).is_ok()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush(LAST_WORDS);
    }
}

/// The writer's life; it ends with the last sender.
fn write_all(records: &Receiver<Item>, dropped: &AtomicU64, mut sink: Sink) {
    for item in records {
        match item {
            Item::Record(record) => sink.write(&record),
            Item::Flushed(done) => drop(done.try_send(())),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0
            && let Some(record) = announcement(lost)
        {
            sink.write(&record);
        }
    }
}

/// A record made by the writer itself: it cannot go through the queue, which may be full.
fn announcement(lost: u64) -> Option<Record> {
    let (queue, own) = sync_channel(1);
    let collector = Collector { level: Level::WARN, queue, dropped: Arc::default() };
    tracing::dispatcher::with_default(&Dispatch::new(collector), || {
        tracing::warn!(
            message_id = message_id::RECORDS_LOST,
            "{lost} log records were dropped while they could not be written"
        );
    });
    match own.try_recv() {
        Ok(Item::Record(record)) => Some(record),
        Ok(Item::Flushed(_)) | Err(_) => None,
    }
}

/// Where the writer writes.
enum Sink {
    Journal(Journal),
    Stream(Stream),
}

impl Sink {
    fn open(settings: &Settings) -> Self {
        let streams_to_journal = streams_to_journal();
        let wants_journal = match settings.target {
            Target::Auto => streams_to_journal,
            Target::Journal => true,
            Target::Stderr => false,
        };
        if wants_journal && let Ok(journal) = Journal::open(&settings.app, settings.level) {
            return Self::Journal(journal);
        }
        let dress = if streams_to_journal {
            Dress::Priority
        } else if wants_colour() {
            Dress::Coloured
        } else {
            Dress::Plain
        };
        Self::Stream(Stream::new(Box::new(io::stderr()), dress))
    }

    fn write(&mut self, record: &Record) {
        match self {
            Self::Journal(journal) => journal.write(record),
            Self::Stream(stream) => stream.write(record),
        }
    }
}

/// Colour on a terminal that can, unless the person said no (<https://no-color.org>).
fn wants_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

/// Takes records where they are made, and never waits.
struct Collector {
    level: Level,
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        let level = if ours { self.level } else { self.level.min(Level::WARN) };
        metadata.is_event() && *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn event(&self, event: &Event<'_>) {
        match self.queue.try_send(Item::Record(Record::of(event))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests;
