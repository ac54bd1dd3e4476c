//! What the workers use, seen from outside: processor time and memory from `/proc`, for what the supervisor did
//! not measure itself.
//!
//! A pid is only believed while its parent is the supervisor: another pid namespace, or a process that took the
//! number over, is somebody else.

use super::state::AppState;
use crate::os::procfs;
use crate::time::Monotonic;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What costs next to nothing.
    Glance,
    /// Memory, too: the kernel walks each worker's page tables.
    Measure,
}

/// Adds what the workers use to `app`.
pub(crate) fn add(app: &mut AppState, depth: Depth, now: Monotonic) {
    let Some(supervisor) = app.pid else { return };
    for worker in &mut app.workers {
        let Some((pid, stat)) = worker.pid.and_then(|pid| Some((pid, procfs::stat(pid)?))) else { continue };
        if stat.parent != supervisor {
            continue;
        }
        let life = now.since(worker.started).as_millis();
        worker.cpu_usec = u64::try_from(stat.cpu.as_micros()).ok();
        let used = stat.cpu.as_millis().saturating_mul(1000).checked_div(life);
        worker.cpu_permille = used.and_then(|used| u64::try_from(used).ok());
        if depth == Depth::Measure && worker.memory.is_none() {
            worker.memory = procfs::memory(pid).map(procfs::Memory::best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::state::WorkerState;

    fn of(parent: Option<u32>) -> AppState {
        let worker = WorkerState { pid: Some(std::process::id()), ..WorkerState::default() };
        let mut app = AppState { pid: parent, workers: vec![worker], ..AppState::default() };
        add(&mut app, Depth::Measure, crate::os::clock::now());
        app
    }

    #[test]
    fn a_child_of_the_supervisor_is_measured() {
        let app = of(Some(std::os::unix::process::parent_id()));
        assert!(app.workers[0].memory.is_some_and(|bytes| bytes > 100_000));
        assert!(app.workers[0].cpu_permille.is_some());
    }

    #[test]
    fn somebody_elses_process_is_not() {
        assert_eq!(of(Some(1_000_000)).workers[0].memory, None);
        assert_eq!(of(None).workers[0].cpu_permille, None);
    }
}
