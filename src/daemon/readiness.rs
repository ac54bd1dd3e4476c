//! When a starting worker is looked at to see whether it listens: soon at first, then ever more rarely.
//! The kernel has no event for "somebody waits on this socket", so this is the one thing that is polled, and
//! only while a worker starts.

use std::time::Duration;

use crate::time::Monotonic;

/// The first pause between two looks.
const FIRST: Duration = Duration::from_millis(2);
/// The longest pause.
const LONGEST: Duration = Duration::from_millis(100);

/// The schedule of looks at one starting worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lookout {
    next: Monotonic,
    pause: Duration,
}

impl Lookout {
    /// Begins at `now`.
    pub(super) fn new(now: Monotonic) -> Self {
        Self { next: now + FIRST, pause: FIRST }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Monotonic {
        self.next
    }

    /// The longest pause is reached: the worker takes long to come up, or is not easily seen.
    pub(super) fn is_rare(&self) -> bool {
        self.pause >= LONGEST
    }

    /// Whether to look at `now`; if so, the next look is set.
    pub(super) fn is_due(&mut self, now: Monotonic) -> bool {
        if self.next > now {
            return false;
        }
        self.pause = self.pause.saturating_mul(2).min(LONGEST);
        self.next = now + self.pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_up_to_ten_a_second() {
        let mut lookout = Lookout::new(Monotonic::ZERO);
        let mut looks = 0;
        let mut now = Monotonic::ZERO;
        while now < Monotonic::ZERO + Duration::from_secs(1) {
            now = lookout.next();
            assert!(!lookout.is_rare() || looks > 3);
            assert!(lookout.is_due(now));
            looks += 1;
        }
        assert!(lookout.is_rare());
        assert!((10..20).contains(&looks), "{looks} looks in the first second");
    }
}
