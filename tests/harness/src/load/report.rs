//! What a load came to: a count for each class, latencies, which worker answered how much.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a request ended. All but [`Class::Ok`] are a request lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A whole answer with a 2xx status, from a generation that was allowed.
    Ok,
    /// No connection: refused, no such socket, or a unix socket's queue full.
    Refused,
    /// Reset on a connection's first request, before any byte of the answer.
    ResetFresh,
    /// Likewise on a connection that had served before.
    ResetReused,
    /// End of file on a connection's first request, before any byte of the answer.
    EofFresh,
    /// Likewise on a connection that had served before.
    EofReused,
    /// The answer broke off.
    Truncated,
    /// A whole answer from a generation older than expected.
    WrongGeneration,
    /// A whole answer with another status than 2xx.
    Status,
    /// Not HTTP.
    Malformed,
    /// Nothing, or not all, within the time allowed.
    Timeout,
}

impl Class {
    /// All of them, in the order they are printed.
    pub const ALL: [Class; 11] = [
        Class::Ok,
        Class::Refused,
        Class::ResetFresh,
        Class::ResetReused,
        Class::EofFresh,
        Class::EofReused,
        Class::Truncated,
        Class::WrongGeneration,
        Class::Status,
        Class::Malformed,
        Class::Timeout,
    ];

    /// Its name in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::Refused => "refused",
            Class::ResetFresh => "reset-fresh",
            Class::ResetReused => "reset-reused",
            Class::EofFresh => "eof-fresh",
            Class::EofReused => "eof-reused",
            Class::Truncated => "truncated",
            Class::WrongGeneration => "wrong-generation",
            Class::Status => "status",
            Class::Malformed => "malformed",
            Class::Timeout => "timeout",
        }
    }
}

/// What a load came to. Printed, it is one line of `key=value`.
#[derive(Clone, Default)]
pub struct Report {
    /// Requests sent.
    pub sent: u64,
    /// Connections opened for them.
    pub connections: u64,
    /// Keep-alive connections that the server closed while no request was on them: no loss.
    pub idle_closed: u64,
    /// Answers by `X-Worker` header: `SLOT/GENERATION/PID`.
    pub workers: BTreeMap<String, u64>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    counts: BTreeMap<Class, u64>,
    latencies: BTreeMap<u32, u64>,
    slowest: Duration,
}

impl Report {
    pub(crate) fn count(&mut self, class: Class) {
        *self.counts.entry(class).or_default() += 1;
    }

    pub(crate) fn latency(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        *self.latencies.entry(bucket(us)).or_default() += 1;
        self.slowest = self.slowest.max(latency);
    }

    /// How many requests ended so.
    pub fn of(&self, class: Class) -> u64 {
        self.counts.get(&class).copied().unwrap_or(0)
    }

    /// How many were answered well.
    pub fn ok(&self) -> u64 {
        self.of(Class::Ok)
    }

    /// How many were not.
    pub fn lost(&self) -> u64 {
        self.sent - self.ok()
    }

    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate is a rounded number")]
        let ok = self.ok() as f64;
        ok / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that `permille` of the good answers stayed within, to 2 %; the slowest at 1000.
    pub fn within(&self, permille: u64) -> Duration {
        let wanted = (self.ok() * permille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in &self.latencies {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(upper(*bucket)).min(self.slowest);
            }
        }
        self.slowest
    }

    /// How many different workers answered.
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Fails unless every request, and at least `least`, was answered well.
    ///
    /// # Panics
    /// With the summary.
    #[track_caller]
    pub fn assert_nothing_lost(&self, least: u64) {
        assert!(
            self.lost() == 0 && self.ok() >= least,
            "lost {} (at least {least} wanted): {self}",
            self.lost()
        );
    }

    /// One line for each worker: `worker SLOT/GENERATION/PID ANSWERS`.
    pub fn by_worker(&self) -> String {
        self.workers.iter().map(|(worker, count)| format!("worker {worker} {count}\n")).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load: sent={} lost={}", self.sent, self.lost())?;
        for class in Class::ALL {
            write!(f, " {}={}", class.name(), self.of(class))?;
        }
        write!(f, " idle-closed={} connections={}", self.idle_closed, self.connections)?;
        write!(f, " seconds={:.3} rate={:.0}", self.elapsed.as_secs_f64(), self.rate())?;
        for (name, permille) in [("p50", 500), ("p99", 990), ("p999", 999), ("max", 1000)] {
            write!(f, " {name}_us={}", self.within(permille).as_micros())?;
        }
        write!(f, " workers={}", self.worker_count())
    }
}

/// As it is printed, without the classes of which there is none: the thousand latencies would hide the rest.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.to_string();
        let told: Vec<&str> = line.split(' ').filter(|word| !word.ends_with("=0")).collect();
        f.write_str(&told.join(" "))
    }
}

/// Latencies fall into buckets 1/64 wide: 6 bits after the leading one, and where that one is.
fn bucket(us: u64) -> u32 {
    let shift = (64 - us.leading_zeros()).saturating_sub(7);
    (shift << 7) | u32::try_from(us >> shift).unwrap_or(127)
}

fn upper(bucket: u32) -> u64 {
    (u64::from(bucket & 127) + 1) << (bucket >> 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_within_two_percent_of_its_bucket_and_buckets_are_in_order() {
        let mut last = 0;
        for us in (0..2000).chain([10_000, 123_456, 9_999_999]) {
            let found = bucket(us);
            assert!(found >= last && upper(found) > us, "{us}");
            assert!(upper(found) - 1 <= us + us / 50, "{us} {}", upper(found));
            last = found;
        }
    }
}
