//! How a pool is asked and steered from outside: the interface `org.ganger1` on a private socket and on the
//! bus, and the client that the command line uses.
//!
//! The room reads a [`View`] and sends an [`Ask`]; it never sees the pool. The daemon never waits for it: all
//! three ways between them are bounded channels, and whoever is slow on this side loses signals (counted in
//! `MissedSignals`), gets `LimitsExceeded`, or finds several changes of a property told as one. Who may change
//! something is decided here ([`access`]); what a change does is decided by the pool.

mod access;
mod asking;
mod bus;
mod calls;
pub mod client;
mod desk;
mod diff;
mod gate;
mod gauge;
mod herald;
mod introspect;
mod looks;
mod members;
mod notice;
mod private;
mod properties;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::plan::AppName;
use crate::pool::{Command, Slot, Verdict, View};

pub use access::actions;
pub use bus::Bus;
pub use gauge::{Gauge, Usage, Used};
pub use introspect::{interface_xml, interfaces};
pub use notice::{Notice, WorkerLabel};
pub use private::bind;
pub use words::{outcome_word, phase_word, pool_word, slot_word, status_line};

/// Wishes that wait for the daemon's attention; the next one is refused with `LimitsExceeded`.
pub const MAX_WAITING_ASKS: usize = 64;
/// Signals kept for a listener that is slow; older ones are counted as missed.
pub const MAX_WAITING_NOTICES: usize = 256;
/// Messages of apps kept for a listener that is slow; they have a queue of their own, so that a flood of them
/// hides no other signal.
pub const MAX_WAITING_MESSAGES: usize = 1024;
/// Length of the JSON text of a `Message` signal, in bytes; a longer message is not told.
pub const MAX_MESSAGE_BYTES: usize = MAX_JSON_BYTES;
/// Wishes without a verdict yet, over all callers.
pub const MAX_ASKS_IN_FLIGHT: usize = 128;
/// Wishes without a verdict yet, of one connection.
pub const MAX_ASKS_PER_CONNECTION: usize = 32;
/// Connections to the private socket.
pub const MAX_CONNECTIONS: usize = 128;
/// Connections to the private socket by users who may only look.
pub const MAX_STRANGERS: usize = 64;
/// Connections to the private socket by one user who may only look.
pub const MAX_PER_STRANGER: usize = 8;
/// Length of the JSON text of `Send`, in bytes.
pub const MAX_JSON_BYTES: usize = 64 * 1024;

/// What a caller wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Read the configuration again and replace the workers by ones of the new plan.
    Reload {
        /// How it was asked: systemd must be told differently (sd_notify(3), systemd.service(5)).
        origin: Origin,
    },
    /// Something for the pool.
    Command(Command),
    /// A message for a worker's `process.on('message')`.
    Send {
        /// Only this slot; all without.
        slot: Option<Slot>,
        /// The message, checked to be JSON by whoever sends it.
        json: String,
    },
}

/// How a reload was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By the `ExecReload=` of ganger's own unit: systemd knows already.
    ExecReload,
    /// Over the bus.
    Bus,
    /// Over the private socket.
    Private,
    /// By SIGHUP.
    Signal,
}

/// Who asked, as far as the kernel or the bus says; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller {
    /// The user.
    pub uid: Option<u32>,
    /// The process; it may be gone.
    pub pid: Option<u32>,
}

/// A wish and where its verdict goes. When nobody waits any more the wish is still carried out.
#[derive(Debug)]
pub struct Ask {
    /// What is wanted.
    pub wish: Wish,
    /// Takes the one verdict.
    pub reply: oneshot::Sender<Verdict>,
    /// Who asked.
    pub caller: Caller,
}

/// What of a supervisor never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The app.
    pub app: AppName,
    /// The supervisor's process.
    pub pid: u32,
    /// The supervisor's user: may change everything, as root may.
    pub uid: u32,
    /// Name and address of each listener.
    pub listeners: Vec<(String, String)>,
}

/// The channels between the daemon and everyone who asks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    identity: Arc<Identity>,
    view: watch::Receiver<Arc<View>>,
    asks: mpsc::Sender<Ask>,
    notices: broadcast::Sender<Notice>,
    /// Behind a pointer: room for the many that may wait is taken at once.
    messages: broadcast::Sender<Arc<Notice>>,
    gauge: Gauge,
    in_flight: Arc<Semaphore>,
    missed: Arc<AtomicU64>,
}

impl Hub {
    /// Ties the ends together. The daemon keeps the sender of `view`, the receiver of `asks` (of capacity
    /// [`MAX_WAITING_ASKS`]) and a clone of `notices` (of capacity [`MAX_WAITING_NOTICES`]).
    #[must_use]
    pub fn new(
        identity: Identity,
        view: watch::Receiver<Arc<View>>,
        asks: mpsc::Sender<Ask>,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        Self {
            identity: Arc::new(identity),
            view,
            asks,
            notices,
            messages: broadcast::channel(MAX_WAITING_MESSAGES).0,
            gauge: Gauge::blind(),
            in_flight: Arc::new(Semaphore::new(MAX_ASKS_IN_FLIGHT)),
            missed: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Where what the workers use is asked for and found; without one it is not known.
    #[must_use]
    pub fn measured_by(mut self, gauge: Gauge) -> Self {
        self.gauge = gauge;
        self
    }

    /// Where the daemon puts each [`Notice::Message`]: only listeners on the private socket who may change
    /// something get them. Without any there is no receiver.
    #[must_use]
    pub fn messages(&self) -> broadcast::Sender<Arc<Notice>> {
        self.messages.clone()
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Waits until every verdict that was given is written to its caller, at most for `grace`: called before
    /// the supervisor leaves, so that the caller of `Stop` learns what came of it.
    pub async fn settled(&self, grace: Duration) {
        let all = u32::try_from(MAX_ASKS_IN_FLIGHT).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(grace, self.in_flight.acquire_many(all)).await;
    }
}

/// A way in that is being served on tasks of its own; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the way in is closed when its server is dropped"]
pub struct Server(JoinHandle<()>);

impl Server {
    /// Serves the private socket: anyone who can reach it may look, root and the supervisor's own user may
    /// change. Must be called in a runtime of one thread.
    ///
    /// # Errors
    /// When the runtime cannot take the listener.
    pub fn private(listener: std::os::unix::net::UnixListener, hub: Hub) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        Ok(Self(tokio::spawn(private::serve(listener, hub))))
    }

    /// Serves the bus, now or whenever there is one. Must be called in a runtime of one thread.
    pub fn bus(bus: Bus, hub: Hub) -> Self {
        Self(tokio::spawn(bus::serve(bus, hub)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}
