//! What the workers use, as far as it was looked at lately. It decides when a look is too old, and how long a reader
//! waits for a new one; how a look is taken and for how long it is good is the daemon's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::os::clock;
use crate::os::sock_diag::Queue;
use crate::pool::WorkerId;
use crate::time::Monotonic;

/// How long a reader waits for a new look; then it gets what was seen last.
const PATIENCE: Duration = Duration::from_millis(500);
/// So long after it has become too old a look is still told where there is no newer one.
const KEPT: Duration = Duration::from_secs(10);

/// What one worker uses; `None` where it could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Processor time since its start, of all its processes.
    pub cpu: Option<Duration>,
    /// Bytes, of all its processes.
    pub memory: Option<u64>,
    /// Connections to the app's listeners that it holds.
    pub connections: Option<u32>,
}

/// One look at all workers and at the accept queues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// When it was taken; the origin, if none was.
    pub taken: Monotonic,
    /// Until then nobody looks again.
    pub good_until: Monotonic,
    /// What each worker uses; one that started later is missing.
    pub workers: BTreeMap<WorkerId, Used>,
    /// The accept queue of each of [`Identity::listeners`](super::Identity::listeners), in their order.
    pub queues: Vec<Option<Queue>>,
}

/// Where looks are asked for and found; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gauge {
    wanted: mpsc::Sender<()>,
    seen: watch::Receiver<Arc<Usage>>,
}

impl Gauge {
    /// Ties the ends together: a message on `wanted` (of capacity 1) asks for a look, which is put into `seen`,
    /// also if nothing could be seen.
    #[must_use]
    pub const fn new(wanted: mpsc::Sender<()>, seen: watch::Receiver<Arc<Usage>>) -> Self {
        Self { wanted, seen }
    }

    /// One that never sees anything.
    pub(super) fn blind() -> Self {
        Self::new(mpsc::channel(1).0, watch::channel(Arc::default()).1)
    }

    /// What was seen last; nothing rather than what is long past.
    pub(super) fn last(&self) -> Arc<Usage> {
        let last = Arc::clone(&self.seen.borrow());
        if clock::now() < last.good_until + KEPT { last } else { Arc::default() }
    }

    /// Whether a look would be a new one.
    pub(super) fn is_stale(&self) -> bool {
        clock::now() >= self.seen.borrow().good_until && !self.wanted.is_closed()
    }

    /// Has a new look taken, if the last one is too old, and waits for it.
    pub(super) async fn look(&self) {
        let mut seen = self.seen.clone();
        let good_until = seen.borrow_and_update().good_until;
        if clock::now() < good_until {
            return;
        }
        match self.wanted.try_send(()) {
            // Asked for already.
            Ok(()) | Err(TrySendError::Full(())) => {
                let _ = tokio::time::timeout(PATIENCE, seen.changed()).await;
            }
            Err(TrySendError::Closed(())) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gauge and the daemon's ends of it.
    fn gauge() -> (Gauge, mpsc::Receiver<()>, watch::Sender<Arc<Usage>>) {
        let (wanted, asked) = mpsc::channel(1);
        let (sender, seen) = watch::channel(Arc::default());
        (Gauge::new(wanted, seen), asked, sender)
    }

    fn usage(good_for: Duration) -> Arc<Usage> {
        let now = clock::now();
        Arc::new(Usage { taken: now, good_until: now + good_for, ..Usage::default() })
    }

    #[tokio::test]
    async fn a_thousand_readers_at_once_take_one_look() {
        let (gauge, mut asked, sender) = gauge();
        let readers: Vec<_> = (0..1000)
            .map(|_| {
                let gauge = gauge.clone();
                tokio::spawn(async move { gauge.look().await })
            })
            .collect();
        asked.recv().await.unwrap();
        let look = usage(Duration::from_secs(60));
        sender.send_replace(Arc::clone(&look));
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(gauge.last(), look);
        assert!(asked.try_recv().is_err(), "there was a second look");
        gauge.look().await;
        assert!(asked.try_recv().is_err(), "a fresh look was taken again");
    }

    #[tokio::test]
    async fn a_look_that_does_not_come_holds_nobody_up_for_ever() {
        let (gauge, _asked, sender) = gauge();
        let old = usage(Duration::ZERO);
        sender.send_replace(Arc::clone(&old));
        assert!(gauge.is_stale());
        gauge.look().await;
        assert_eq!(gauge.last(), old, "what was seen last is told");
    }

    #[tokio::test]
    async fn what_is_long_past_is_not_told() {
        let (gauge, _asked, sender) = gauge();
        let long_ago = clock::now() - KEPT;
        let queues = vec![None];
        sender.send_replace(Arc::new(Usage {
            taken: long_ago,
            good_until: long_ago,
            queues,
            ..Usage::default()
        }));
        assert_eq!(*gauge.last(), Usage::default());
    }

    #[tokio::test]
    async fn without_anybody_to_look_nothing_is_waited_for() {
        let gauge = Gauge::blind();
        assert!(!gauge.is_stale());
        gauge.look().await;
        assert_eq!(*gauge.last(), Usage::default());
    }
}
