//! What the workers use, seen from outside: processor time and memory from `/proc`, connections and accept queues
//! from the kernel's tables, for what the supervisor did not measure itself. So looking costs the one who looks.
//!
//! A pid is only believed while its parent is the supervisor: another pid namespace, or a process that took the
//! number over, is somebody else.

use super::state::{AppState, QueueState};
use crate::os::{procfs, sock_diag};
use crate::plan::Address;
use crate::time::Monotonic;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What costs next to nothing.
    Glance,
    /// Memory, too, for which the kernel walks each worker's page tables; connections and queues, for which it
    /// walks its sockets.
    Measure,
}

/// Adds what the workers use to `app`.
pub(crate) fn add(app: &mut AppState, depth: Depth, now: Monotonic) {
    let Some(supervisor) = app.pid else { return };
    let mut ours = Vec::new();
    for worker in &mut app.workers {
        let Some((pid, stat)) = worker.pid.and_then(|pid| Some((pid, procfs::stat(pid)?))) else { continue };
        if stat.parent != supervisor {
            continue;
        }
        ours.push(worker.worker);
        let life = now.since(worker.started).as_millis();
        worker.cpu_usec = u64::try_from(stat.cpu.as_micros()).ok();
        let used = stat.cpu.as_millis().saturating_mul(1000).checked_div(life);
        worker.cpu_permille = used.and_then(|used| u64::try_from(used).ok());
        if depth == Depth::Measure && worker.memory.is_none() {
            worker.memory = procfs::memory(pid).map(procfs::Memory::best);
        }
    }
    if depth == Depth::Measure {
        add_sockets(app, &ours);
    }
}

/// Connections of the workers in `ours`, and the queues before them. Who may not see a worker's descriptors sees no
/// connections (proc(5): ptrace access).
fn add_sockets(app: &mut AppState, ours: &[u64]) {
    let listeners: Vec<Address> = app.listen.iter().filter_map(|text| address(text)).collect();
    app.queues = app
        .listen
        .iter()
        .filter_map(|listen| {
            let queue = sock_diag::queue_at(&address(listen)?)?;
            Some(QueueState { listen: listen.clone(), waiting: queue.waiting, backlog: queue.backlog })
        })
        .collect();
    let mut unknown: Vec<_> = app
        .workers
        .iter_mut()
        .filter(|worker| worker.connections.is_none() && ours.contains(&worker.worker))
        .filter_map(|worker| Some((procfs::socket_inodes(&[worker.pid?]), worker)))
        // A worker holds a listening socket at least: nothing seen is nothing allowed to be seen.
        .filter(|(inodes, _)| !inodes.is_empty())
        .collect();
    let inodes: Vec<_> = unknown.iter_mut().map(|(inodes, _)| std::mem::take(inodes)).collect();
    for (count, (_, worker)) in sock_diag::connections_of_each(&listeners, &inodes).into_iter().zip(unknown) {
        worker.connections = u32::try_from(count).ok();
    }
}

/// An address as [`Address`] is shown.
fn address(text: &str) -> Option<Address> {
    match text.as_bytes() {
        [b'/', ..] => Some(Address::Unix(text.into())),
        [b'@', name @ ..] => Some(Address::Abstract(name.to_vec())),
        _ => text.parse().ok().map(Address::Inet),
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
    fn addresses_are_read_as_they_are_shown() {
        for text in ["127.0.0.1:3000", "[::]:80", "/run/a b.sock", "@name"] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        assert_eq!(address("nonsense"), None);
    }

    #[test]
    fn connections_and_queues_are_seen_from_outside() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let _served = listener.accept().unwrap();
        let worker = WorkerState { pid: Some(std::process::id()), ..WorkerState::default() };
        let parent = Some(std::os::unix::process::parent_id());
        let listen = vec![address.to_string()];
        let mut app = AppState { pid: parent, workers: vec![worker], listen, ..AppState::default() };
        add(&mut app, Depth::Measure, crate::os::clock::now());
        assert_eq!(app.workers[0].connections, Some(1));
        assert_eq!(app.queues.iter().map(|queue| queue.waiting).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn somebody_elses_process_is_not() {
        assert_eq!(of(Some(1_000_000)).workers[0].memory, None);
        assert_eq!(of(None).workers[0].cpu_permille, None);
    }
}
