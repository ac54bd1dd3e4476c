//! What a ready worker is watched for: its watchdog, its health, its memory and its age. It decides when something is
//! due, not what follows from it.

use std::time::Duration;

use super::Cause;
use super::worker::Due;
use crate::time::Monotonic;

/// Memory is measured so often that a leak of this many bytes a second is seen before limit × 1.2.
const FASTEST_LEAK: u64 = 50 * 1_048_576;
/// Bounds of the time between two measurements.
const MEASURE_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a ready worker is watched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) since: Monotonic,
    pub(super) watchdog: Option<Watch>,
    pub(super) checks: Option<Checks>,
    pub(super) retire_at: Option<Monotonic>,
    pub(super) measure_at: Option<Monotonic>,
}

/// An armed watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) interval: Duration,
    pub(super) deadline: Monotonic,
}

/// Health checks under way: a probe is out while `next` is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checks {
    pub(super) next: Option<Monotonic>,
    pub(super) failures: u32,
}

impl Standing {
    /// What is due at `now`; each thing is reported once.
    pub(super) fn due(&mut self, now: Monotonic, due: &mut Vec<Due>) {
        if self.watchdog.is_some_and(|watch| watch.deadline <= now) {
            self.watchdog = None;
            due.push(Due::Replace(Cause::Watchdog));
        }
        if let Some(checks) = &mut self.checks
            && checks.next.is_some_and(|next| next <= now)
        {
            checks.next = None;
            due.push(Due::Probe);
        }
        if self.measure_at.is_some_and(|at| at <= now) {
            self.measure_at = None;
            due.push(Due::Measure);
        }
        if self.retire_at.is_some_and(|at| at <= now) {
            self.retire_at = None;
            due.push(Due::Replace(Cause::Age));
        }
    }

    /// When `due` will next have something to say, and why.
    pub(super) fn next_due(&self) -> Option<(Monotonic, &'static str)> {
        [
            self.watchdog.map(|watch| (watch.deadline, "worker watchdog")),
            self.checks.and_then(|checks| checks.next).map(|at| (at, "health check")),
            self.measure_at.map(|at| (at, "memory measurement")),
            self.retire_at.map(|at| (at, "lifetime")),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Half the time in which the fastest leak would fill what is left of `limit`, within bounds.
pub(super) fn next_measure(limit: u64, used: u64) -> Duration {
    let left = limit.saturating_sub(used);
    let millis = left.saturating_mul(500) / FASTEST_LEAK;
    Duration::from_millis(millis).clamp(MEASURE_BOUNDS.0, MEASURE_BOUNDS.1)
}
