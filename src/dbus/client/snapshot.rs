//! What a client saw: the supervisor's state in plain types, read defensively (a newer or older supervisor may
//! know other keys; what is missing is empty). It decides no wording.

use std::collections::BTreeMap;
use std::time::Duration;

use zbus::{OwnedVariant, Variant};

use crate::time::Monotonic;

/// `a{sv}` as it comes.
pub(super) type Raw = BTreeMap<String, OwnedVariant>;

/// The state of one app at one moment. Instants are of the machine's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The app's name.
    pub app: String,
    /// The supervisor's version.
    pub version: String,
    /// The supervisor's process.
    pub main_pid: u32,
    /// Name and address of each listener.
    pub listeners: Vec<(String, String)>,
    /// The accept queue of each listener, where it is known.
    pub queues: Vec<AcceptQueue>,
    /// When the pool was made.
    pub since: Monotonic,
    /// `starting`, `serving`, `degraded`, `down`, `reloading` or `stopping`.
    pub state: String,
    /// One line for people.
    pub status: String,
    /// The generation that serves.
    pub generation: u64,
    /// How many workers are wanted.
    pub wanted: u32,
    /// How many slots have a ready worker.
    pub ready: u32,
    /// Workers started again after an unexpected end.
    pub restarts: u64,
    /// The rollout under way.
    pub reloading: Option<Reloading>,
    /// How the last rollout ended.
    pub last_reload: Option<LastReload>,
    /// Every slot, by number.
    pub slots: Vec<SlotState>,
    /// Every worker that is not gone: by slot, the serving one first.
    pub workers: Vec<WorkerState>,
    /// Signals that listeners missed since the supervisor's start.
    pub missed_signals: u64,
}

/// The accept queue of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcceptQueue {
    /// The listener's address.
    pub address: String,
    /// Connections that nobody has accepted yet.
    pub waiting: u32,
    /// How many may wait.
    pub backlog: u32,
}

/// A rollout under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloading {
    /// To which generation.
    pub generation: u64,
    /// Slots already on it.
    pub done: u32,
    /// Slots in all.
    pub total: u32,
    /// It failed and is being taken back.
    pub aborting: bool,
    /// When it began.
    pub started: Monotonic,
}

/// How the last rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastReload {
    /// `done`, `failed`, `partly` …
    pub outcome: String,
    /// For people.
    pub message: String,
    /// The generation that served after it.
    pub generation: u64,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub ended: Monotonic,
    /// The worker that was the reason.
    pub failure: Option<Failure>,
}

/// The worker that made a wish fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Its name.
    pub worker: u64,
    /// Its place.
    pub slot: u32,
    /// Its process, if it had one.
    pub pid: Option<u32>,
    /// One word, such as `exit`.
    pub cause: String,
    /// The cause in words.
    pub text: String,
    /// When it was started.
    pub started: Monotonic,
    /// When it failed.
    pub ended: Monotonic,
}

/// How a worker ended that was told to leave and ended in another way than it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// One word: `exit`, `signal` or `oom`.
    pub cause: String,
    /// The same in words.
    pub text: String,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its exit status.
    pub status: Option<i32>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotState {
    /// Its number.
    pub slot: u32,
    /// `starting`, `ready`, `waiting`, `failed`, `finished`, `leaving` or `stopped`.
    pub state: String,
    /// Unexpected ends of its workers.
    pub restarts: u64,
    /// When it will try again.
    pub next_start: Option<Monotonic>,
    /// Why its last worker left unexpectedly: the word and the words.
    pub last_failure: Option<(String, String)>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerState {
    /// Its name.
    pub worker: u64,
    /// Its place.
    pub slot: u32,
    /// Whose plan it has.
    pub generation: u64,
    /// `starting`, `ready`, `draining`, `stopping` or `stuck`.
    pub state: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// When it was started.
    pub started: Monotonic,
    /// When it became ready.
    pub ready: Option<Monotonic>,
    /// When it will be killed, while draining.
    pub deadline: Option<Monotonic>,
    /// What it said of itself.
    pub status: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Connections that it holds.
    pub connections: Option<u32>,
    /// Processor time since its start.
    pub cpu: Option<Duration>,
    /// When that was seen.
    pub measured: Option<Monotonic>,
}

/// The value itself, however often it is wrapped.
fn bare<'a>(value: &'a Variant<'a>) -> &'a Variant<'a> {
    let mut value = value;
    while let Variant::Variant(inner) = value {
        value = inner;
    }
    value
}

/// A dictionary that knows what to make of a missing key.
struct Keys<'a>(BTreeMap<&'a str, &'a Variant<'a>>);

impl<'a> Keys<'a> {
    fn of(value: &'a Variant<'a>) -> Self {
        let Variant::Dict(dict) = bare(value) else { return Self(BTreeMap::new()) };
        let text = |key: &'a Variant<'a>| <&str>::try_from(bare(key)).ok();
        Self(dict.iter().filter_map(|(key, value)| Some((text(key)?, bare(value)))).collect())
    }

    fn text(&self, key: &str) -> String {
        self.maybe_text(key).unwrap_or_default()
    }

    fn maybe_text(&self, key: &str) -> Option<String> {
        <&str>::try_from(*self.0.get(key)?).ok().map(str::to_owned)
    }

    fn u32(&self, key: &str) -> u32 {
        self.maybe_u32(key).unwrap_or(0)
    }

    fn maybe_u32(&self, key: &str) -> Option<u32> {
        u32::try_from(*self.0.get(key)?).ok()
    }

    fn maybe_u64(&self, key: &str) -> Option<u64> {
        u64::try_from(*self.0.get(key)?).ok()
    }

    fn u64(&self, key: &str) -> u64 {
        self.maybe_u64(key).unwrap_or(0)
    }

    fn bool(&self, key: &str) -> bool {
        self.0.get(key).and_then(|value| bool::try_from(*value).ok()).unwrap_or(false)
    }

    fn span(&self, key: &str) -> Duration {
        Duration::from_micros(self.u64(key))
    }

    fn instant(&self, key: &str) -> Monotonic {
        Monotonic::from_origin(self.span(key))
    }

    fn maybe_instant(&self, key: &str) -> Option<Monotonic> {
        self.maybe_u64(key).map(|micros| Monotonic::from_origin(Duration::from_micros(micros)))
    }

    fn pid(&self) -> Option<u32> {
        Some(self.u32("pid")).filter(|pid| *pid != 0)
    }

    fn failure(&self) -> Option<Failure> {
        (!self.0.is_empty()).then(|| Failure {
            worker: self.u64("worker"),
            slot: self.u32("slot"),
            pid: self.pid(),
            cause: self.text("cause"),
            text: self.text("text"),
            started: self.instant("started"),
            ended: self.instant("ended"),
        })
    }

    fn inner(&self, key: &str) -> Option<Keys<'a>> {
        self.0.get(key).map(|value| Keys::of(value)).filter(|keys| !keys.0.is_empty())
    }

    fn rows(&self, key: &str) -> Vec<Keys<'a>> {
        self.0.get(key).map(|value| rows(value)).unwrap_or_default()
    }
}

/// `aa{sv}`
fn rows<'a>(value: &'a Variant<'a>) -> Vec<Keys<'a>> {
    let Variant::Array(rows) = bare(value) else { return Vec::new() };
    rows.iter().map(Keys::of).collect()
}

fn keys(raw: &Raw) -> Keys<'_> {
    Keys(raw.iter().map(|(key, value)| (key.as_str(), bare(value))).collect())
}

/// The worker that a verdict names.
pub(super) fn failure(raw: &Raw) -> Option<Failure> {
    keys(raw).failure()
}

/// How a worker ended, if that is worth a word.
pub(super) fn ending(raw: &Raw) -> Option<Ending> {
    let keys = keys(raw);
    let number = |key| i32::try_from(*keys.0.get(key)?).ok();
    (!keys.0.is_empty()).then(|| Ending {
        cause: keys.text("cause"),
        text: keys.text("text"),
        signal: number("signal"),
        status: number("status"),
    })
}

/// Reads the property `Slots`.
pub(super) fn slot_numbers(slots: &OwnedVariant) -> Vec<u32> {
    rows(slots).iter().map(|keys| keys.u32("slot")).collect()
}

/// Reads `GetAll` of `org.ganger1.App`.
pub(super) fn snapshot(raw: &Raw) -> Snapshot {
    let app = keys(raw);
    let listeners = match app.0.get("Listeners") {
        Some(Variant::Array(pairs)) => pairs.iter().filter_map(|pair| pair.try_into().ok()).collect(),
        Some(_) | None => Vec::new(),
    };
    let queues = match app.0.get("AcceptQueues") {
        Some(Variant::Array(queues)) => queues.iter().filter_map(accept_queue).collect(),
        Some(_) | None => Vec::new(),
    };
    Snapshot {
        app: app.text("Name"),
        version: app.text("Version"),
        main_pid: app.u32("MainPID"),
        listeners,
        queues,
        since: app.instant("SinceUSec"),
        state: app.text("State"),
        status: app.text("Status"),
        generation: app.u64("Generation"),
        wanted: app.u32("Wanted"),
        ready: app.u32("Ready"),
        restarts: app.u64("Restarts"),
        reloading: app.inner("Reloading").map(|keys| Reloading {
            generation: keys.u64("generation"),
            done: keys.u32("done"),
            total: keys.u32("total"),
            aborting: keys.bool("aborting"),
            started: keys.instant("started"),
        }),
        last_reload: app.inner("LastReload").map(|keys| LastReload {
            outcome: keys.text("outcome"),
            message: keys.text("message"),
            generation: keys.u64("generation"),
            took: keys.span("took"),
            ended: keys.instant("ended"),
            failure: keys.inner("failure").and_then(|keys| keys.failure()),
        }),
        slots: app.rows("Slots").iter().map(slot).collect(),
        workers: app.rows("Workers").iter().map(worker).collect(),
        missed_signals: app.u64("MissedSignals"),
    }
}

fn accept_queue(value: &Variant<'_>) -> Option<AcceptQueue> {
    let (_, address, waiting, backlog) = <(String, String, u32, u32)>::try_from(value).ok()?;
    Some(AcceptQueue { address, waiting, backlog })
}

fn slot(keys: &Keys<'_>) -> SlotState {
    SlotState {
        slot: keys.u32("slot"),
        state: keys.text("state"),
        restarts: keys.u64("restarts"),
        next_start: keys.maybe_instant("next_start"),
        last_failure: keys.maybe_text("cause").map(|cause| (cause, keys.text("text"))),
    }
}

fn worker(keys: &Keys<'_>) -> WorkerState {
    WorkerState {
        worker: keys.u64("worker"),
        slot: keys.u32("slot"),
        generation: keys.u64("generation"),
        state: keys.text("state"),
        pid: keys.pid(),
        started: keys.instant("started"),
        ready: keys.maybe_instant("ready"),
        deadline: keys.maybe_instant("deadline"),
        status: keys.maybe_text("status"),
        memory: keys.maybe_u64("memory"),
        connections: keys.maybe_u32("connections"),
        cpu: keys.maybe_u64("cpu").map(Duration::from_micros),
        measured: keys.maybe_instant("measured"),
    }
}
