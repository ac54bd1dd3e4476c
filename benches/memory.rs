//! The supervisor's memory with 2, 16 and 100 workers: its proportional share (PSS), and what is its alone.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures, and fails by panicking"
)]

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

use rig::supervisor::Setup;
use rig::{row, smaps, title};

/// Workers, and what the supervisor may take with them, in kB.
const POOLS: [usize; 3] = [2, 16, 100];
const AT_TWO: u64 = 2560;
const PER_WORKER: f64 = 4.0;

fn main() {
    rig::worker::unless_started_as_one();
    title("memory of the supervisor");
    let mut private = Vec::new();
    for workers in POOLS {
        let mut supervisor = Setup::new(workers, "sleep").start();
        supervisor.ready();
        // What came with the last worker is done when nothing has run for a while.
        rig::pause(std::time::Duration::from_millis(500));
        let figure = |name| smaps(supervisor.pid(), name);
        let (pss, dirty) = (figure("Pss"), figure("Private_Dirty"));
        let aim = if workers == 2 { format!("≤ {AT_TWO} kB") } else { String::new() };
        row(
            &format!("{workers} workers: PSS"),
            format!("{pss} kB"),
            aim,
            (workers == 2).then_some(pss <= AT_TWO),
        );
        let detail = format!("{} anonymous, {} resident", figure("Anonymous"), figure("Rss"));
        row(&format!("{workers} workers: private dirty ({detail})"), format!("{dirty} kB"), "", None);
        private.push((workers, pss, dirty));
        supervisor.stop();
    }
    if let (Some(few), Some(many)) = (private.first(), private.last()) {
        let each = |few: u64, many: u64, workers: usize| {
            let more = i64::try_from(many).unwrap_or(0) - i64::try_from(few).unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let each = more as f64 / workers as f64;
            each
        };
        let (dirty, pss) = (each(few.2, many.2, many.0 - few.0), each(few.1, many.1, many.0 - few.0));
        row(
            "more for each further worker: PSS",
            format!("{pss:.2} kB"),
            format!("≤ {PER_WORKER} kB"),
            Some(pss <= PER_WORKER),
        );
        row(
            "more for each further worker: private dirty",
            format!("{dirty:.2} kB"),
            format!("≤ {PER_WORKER} kB"),
            Some(dirty <= PER_WORKER),
        );
    }
}
