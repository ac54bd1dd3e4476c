//! How often an idle supervisor runs: context switches of all its threads in ten seconds.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures, and fails by panicking"
)]

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

use std::time::Duration;

use rig::supervisor::Setup;
use rig::{row, switches, title};

/// How long nothing happens.
const SPAN: Duration = Duration::from_secs(10);
/// `WATCHDOG_USEC`: pinged at half of it.
const WATCHDOG: Duration = Duration::from_secs(4);
/// How often a thread runs for one ping: it wakes, and sleeps again.
const RUNS_PER_PING: u64 = 1;

fn main() {
    rig::worker::unless_started_as_one();
    title("wake-ups of an idle supervisor in 10 s, 16 workers");
    let mut plain = Setup::new(16, "sleep").start();
    let mut watched = Setup::new(16, "sleep");
    watched.env.push(("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()));
    let mut watched = watched.start();
    plain.ready();
    watched.ready();
    rig::pause(Duration::from_secs(1));
    let before = (switches(plain.pid()), switches(watched.pid()));
    rig::pause(SPAN);
    let after = (switches(plain.pid()), switches(watched.pid()));
    let woken = after.0 - before.0;
    row("without a watchdog", woken, "0", Some(woken == 0));
    let pings = SPAN.as_secs() / (WATCHDOG.as_secs() / 2);
    let woken = after.1 - before.1;
    let aim = (pings + 1) * RUNS_PER_PING;
    row("with WatchdogSec=4 (a ping every 2 s)", woken, format!("≤ {aim}: its pings"), Some(woken <= aim));
    plain.stop();
    watched.stop();
}
