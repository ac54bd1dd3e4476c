//! When the service manager's watchdog is fed. Pure: it says when, and whether the supervisor is healthy
//! enough to be fed for is decided elsewhere.

use std::fmt;
use std::time::Duration;

use crate::time::Monotonic;

/// The shortest pause between two pings: a watchdog set tighter than twice this cannot be kept anyway.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Why `WATCHDOG_USEC` or `WATCHDOG_PID` cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogError {
    variable: &'static str,
    value: String,
}

impl fmt::Display for WatchdogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} is no number above 0; the watchdog is not fed", self.variable, self.value)
    }
}

impl std::error::Error for WatchdogError {}

/// The service manager's watchdog (`WatchdogSec=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    timeout: Duration,
    next: Monotonic,
}

impl Watchdog {
    /// A watchdog that bites after `timeout` without a ping; the first ping is due at once.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, next: Monotonic::ZERO }
    }

    /// What the environment asks for (sd_watchdog_enabled(3)); `None` when there is no watchdog, or it is for
    /// another process than `own_pid`.
    ///
    /// # Errors
    /// [`WatchdogError`] when a value is no number.
    pub fn from_variables(
        usec: Option<&str>,
        pid: Option<&str>,
        own_pid: u32,
    ) -> Result<Option<Self>, WatchdogError> {
        let Some(usec) = usec else { return Ok(None) };
        if let Some(pid) = pid
            && number("WATCHDOG_PID", pid)? != u64::from(own_pid)
        {
            return Ok(None);
        }
        let usec = number("WATCHDOG_USEC", usec)?;
        // USEC_INFINITY: a watchdog that never bites.
        Ok((usec != u64::MAX).then(|| Self::new(Duration::from_micros(usec))))
    }

    /// [`Watchdog::from_variables`] with ganger's own environment.
    ///
    /// # Errors
    /// As there.
    pub fn from_env() -> Result<Option<Self>, WatchdogError> {
        let read = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let (usec, pid) = (read("WATCHDOG_USEC"), read("WATCHDOG_PID"));
        Self::from_variables(usec.as_deref(), pid.as_deref(), std::process::id())
    }

    /// Silence after which the service manager bites.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Pause between two pings: half the timeout, as sd_watchdog_enabled(3) advises.
    #[must_use]
    pub fn pause(&self) -> Duration {
        (self.timeout / 2).max(SHORTEST_PAUSE)
    }

    /// When the next ping is due.
    #[must_use]
    pub fn next_ping(&self) -> Monotonic {
        self.next
    }

    /// Whether a ping is due. If so the next one is due a pause after `now`, not after the planned moment: a
    /// loop that came late does not ping twice. Whoever is not healthy sends nothing and asks again then.
    #[must_use]
    pub fn is_due(&mut self, now: Monotonic) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.pause();
        true
    }
}

fn number(variable: &'static str, value: &str) -> Result<u64, WatchdogError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| value.parse().ok()).flatten().filter(|number| *number > 0);
    number.ok_or_else(|| WatchdogError { variable, value: value.escape_debug().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_ping_is_due_at_once_and_then_every_half_timeout() {
        let mut watchdog = Watchdog::from_variables(Some("3000000"), Some("7"), 7).unwrap().unwrap();
        assert!(watchdog.is_due(at(100)));
        assert!(!watchdog.is_due(at(1599)));
        assert_eq!(watchdog.next_ping(), at(1600));
        assert!(watchdog.is_due(at(1600)));
        assert!(watchdog.is_due(at(9000)), "late");
        assert_eq!(watchdog.next_ping(), at(10_500));
    }

    #[test]
    fn no_watchdog_or_another_process_s_is_not_fed() {
        assert_eq!(Watchdog::from_variables(None, Some("7"), 7), Ok(None));
        assert_eq!(Watchdog::from_variables(Some("5"), Some("8"), 7), Ok(None));
        assert_eq!(Watchdog::from_variables(Some("18446744073709551615"), None, 7), Ok(None));
        assert!(Watchdog::from_variables(Some("5"), None, 7).unwrap().is_some());
    }

    #[test]
    fn a_value_that_is_no_number_is_an_error_not_silence() {
        for usec in ["", "0", "-1", "30s", "99999999999999999999"] {
            let error = Watchdog::from_variables(Some(usec), None, 7).unwrap_err().to_string();
            assert!(error.starts_with("WATCHDOG_USEC="), "{error}");
        }
        assert!(Watchdog::from_variables(Some("5"), Some("x"), 7).is_err());
    }

    #[test]
    fn a_watchdog_that_bites_at_once_does_not_make_a_storm() {
        assert_eq!(Watchdog::new(Duration::from_micros(1)).pause(), SHORTEST_PAUSE);
    }
}
