//! What the benches share: a supervisor of their own, the workers it starts (the bench itself, started again),
//! clocks, medians, and the table in which a figure stands beside its aim.
//!
//! A busy machine makes every duration longer. So figures are medians of many rounds, durations are given beside
//! the same work done without ganger in the same run, and CPU time is given where it can be: it does not grow
//! when others run.

pub(crate) mod supervisor;
pub(crate) mod worker;

use std::fmt::Display;
use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: the same for all processes.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock").into()
}

/// Waits; what is waited for has no event.
#[expect(clippy::disallowed_methods, reason = "a bench lets time pass")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// The value below which a share of all lies; `values` need not be sorted.
pub(crate) fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a place in a short list"
    )]
    let place = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

pub(crate) fn median(values: &[Duration]) -> Duration {
    percentile(values, 0.5)
}

/// Milliseconds with three places.
pub(crate) fn ms(span: Duration) -> String {
    format!("{:.3} ms", span.as_secs_f64() * 1000.0)
}

/// One kilobyte figure of `/proc/PID/smaps_rollup`.
pub(crate) fn smaps(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps of the supervisor");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("a figure in kB")
}

/// CPU time of all threads so far, to the nanosecond (`schedstat`).
pub(crate) fn cpu(pid: u32) -> Duration {
    threads(pid)
        .iter()
        .filter_map(|tid| fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// Context switches of all threads so far, voluntary or not: each is a time that the process ran.
pub(crate) fn switches(pid: u32) -> u64 {
    let of = |tid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    threads(pid).iter().map(of).sum()
}

fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).expect("the supervisor lives");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Says on what the figures were taken.
pub(crate) fn title(what: &str) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("\n{what} ({cpus} CPUs, load {load})");
}

/// One line: the figure, its aim, and whether it was met.
pub(crate) fn row(what: &str, figure: impl Display, aim: impl Display, met: Option<bool>) {
    let met = match met {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "",
    };
    println!("  {what:<52} {figure:>16}  {aim:<22} {met}");
}
