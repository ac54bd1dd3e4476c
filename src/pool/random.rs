//! A small generator for jitter: seeded by the daemon, so that the same seed gives the same effects.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, good enough to spread restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `span`, lengthened by a random part of at most `percent` percent.
    pub(super) fn lengthen(&mut self, span: Duration, percent: u32) -> Duration {
        if percent == 0 {
            return span;
        }
        // 0 … 1023 of 1024 parts of the percentage.
        let parts = u32::try_from(self.next() >> 54).unwrap_or(0);
        let extra = span.saturating_mul(percent.min(1000)) / 100;
        span.saturating_add(extra.saturating_mul(parts) / 1024)
    }
}
