//! Nothing is lost: rolling replacement under load, and workers that die with a connection on its way.
//!
//! `GANGER_TEST_REQUESTS` is the number of requests that each load must reach (default 5000).

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ganger::node::{Farewell, Policy, Report, UniqueId, WINDOW};
use ganger::os::sock_diag;
use ganger::proto::node::UserText;

use super::client::{self, Habit, Tally, load};
use super::pool::{Fact, Pool, ROUND_ROBIN, SHARED, Sockets, here, now, prepared, versions};

const ALL_HABITS: [Habit; 8] = [
    Habit::Busy,
    Habit::Busy,
    Habit::Busy,
    Habit::Thinking(Duration::from_millis(5)),
    Habit::Thinking(Duration::from_millis(80)),
    Habit::Thinking(Duration::from_millis(700)),
    Habit::Short,
    Habit::Short,
];

fn wanted_requests() -> u64 {
    std::env::var("GANGER_TEST_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000)
}

/// So many kills the test of them wants at least.
fn wanted_kills() -> u32 {
    if std::env::var_os("GANGER_SOAK").is_some() { 50 } else { 10 }
}

/// New worker up, old one out.
fn replace(pool: &mut Pool, old: UniqueId) -> UniqueId {
    pool.generation += 1;
    let new = pool.spawn();
    pool.listening(new);
    pool.drain(old, Duration::from_secs(30));
    assert_eq!(pool.exited(old), Some(0), "seen: {:#?}", pool.facts);
    new
}

/// Replaces two workers in turn until the clients have had enough.
fn roll(pool: &mut Pool, mut workers: Vec<UniqueId>, tally: &Tally) {
    let mut rounds = 0;
    while rounds < 3 || tally.served() < wanted_requests() {
        let served = tally.served();
        let old = workers.remove(0);
        workers.push(replace(pool, old));
        rounds += 1;
        assert!(tally.served() > served, "no load while a worker was replaced");
    }
}

fn pool(version: &str, policy: Policy, sockets: &Sockets) -> (Pool, Vec<UniqueId>) {
    let mut pool = Pool::new(version, policy, "work.cjs", sockets.all())
        .env("PORT", sockets.port())
        .env("FIXTURES", prepared(&["tls"]).display());
    let workers = vec![pool.spawn(), pool.spawn()];
    for worker in &workers {
        pool.listening(*worker);
    }
    (pool, workers)
}

fn finish(pool: &mut Pool, tally: &Arc<Tally>, threads: Vec<std::thread::JoinHandle<()>>) {
    tally.stop();
    pool.during(move || threads.into_iter().for_each(|thread| thread.join().unwrap()));
}

fn rolled(policy: Policy, path: &'static str) {
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, workers) = pool(&version, policy, &sockets);
        let (tally, threads) = load(sockets.address(), &ALL_HABITS, path);
        roll(&mut pool, workers, &tally);
        finish(&mut pool, &tally, threads);
        eprintln!(
            "node {version}, {:?}, {path}: {} served, {} lost",
            policy.balance,
            tally.served(),
            tally.lost()
        );
        assert_eq!(tally.lost(), 0, "on {version}");
    }
}

#[test]
fn a_rolling_replacement_loses_nothing_with_shared_sockets() {
    rolled(SHARED, "/fast");
}

#[test]
fn a_rolling_replacement_loses_nothing_with_round_robin() {
    rolled(ROUND_ROBIN, "/fast");
}

#[test]
fn a_rolling_replacement_under_https_loses_nothing() {
    for version in versions() {
        for policy in [SHARED, ROUND_ROBIN] {
            let sockets = Sockets::new();
            let mut pool = Pool::new(&version, policy, "work.cjs", sockets.all())
                .env("PORT", sockets.port())
                .env("TLS", 1)
                .env("FIXTURES", prepared(&["tls"]).display());
            let mut workers = vec![pool.spawn(), pool.spawn()];
            for worker in &workers {
                pool.listening(*worker);
            }
            let client = here().join("apps/load-client.cjs");
            let mut command = Command::new(prepared(&["node", &versions()[0]]));
            command.arg(client).env("PORT", sockets.port().to_string()).env("WANTED", "100");
            let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(client.stdout.take().unwrap());
            let (enough, mut said) = pool.during(move || {
                let mut line = String::new();
                said.read_line(&mut line).unwrap();
                (line, said)
            });
            assert_eq!(enough, "enough\n", "on {version}");
            for _ in 0..4 {
                let old = workers.remove(0);
                workers.push(replace(&mut pool, old));
            }
            drop(client.stdin.take());
            let rest = pool.during(move || {
                let mut rest = String::new();
                said.read_to_string(&mut rest).unwrap();
                client.wait().unwrap();
                rest
            });
            let tally: serde_json::Value = serde_json::from_str(&rest).unwrap();
            eprintln!("node {version}, {:?}, https: {tally}", policy.balance);
            assert_eq!(tally["lost"], 0, "on {version}");
        }
    }
}

#[test]
fn a_request_in_flight_is_finished_by_the_worker_that_has_it() {
    for version in versions() {
        for policy in [SHARED, ROUND_ROBIN] {
            let sockets = Sockets::new();
            let (mut pool, workers) = pool(&version, policy, &sockets);
            let address = sockets.address();
            let (tally, threads) =
                load(address, &[Habit::Busy, Habit::Busy, Habit::Busy, Habit::Busy], "/slow");
            pool.during(move || client::once(address, "/slow").unwrap());
            let mut left = workers;
            for _ in 0..2 {
                let old = left.remove(0);
                left.push(replace(&mut pool, old));
            }
            finish(&mut pool, &tally, threads);
            assert_eq!(tally.lost(), 0, "on {version}");
        }
    }
}

/// A connection that has not ended by then hangs. Two workers begin anew meanwhile, on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// How connections ended, each with one request.
#[derive(Debug, Default)]
struct Ends {
    answered: AtomicU64,
    /// The worker died with it.
    cut: AtomicU64,
    /// In neither way.
    others: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Ends {
    fn ended(&self) -> u64 {
        self.answered.load(Ordering::Relaxed) + self.cut.load(Ordering::Relaxed)
    }

    fn others(&self) -> Vec<String> {
        self.others.lock().unwrap().clone()
    }

    /// Connects again and again.
    fn client(&self, address: SocketAddr) {
        let other = |text| self.others.lock().unwrap().push(text);
        while !self.stop.load(Ordering::Relaxed) {
            let begun = now();
            let end = client::once(address, "/fast");
            let took = now().since(begun);
            match end.map_err(|error| error.kind()) {
                _ if took >= BOUND => other(format!("hung for {took:?}")),
                Ok(_) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                }
                Err(kind) => other(format!("{kind:?} after {took:?}")),
            }
        }
    }
}

/// Stops a worker, and lets connections come to it that it does not take any more.
fn with_connections_on_their_way(pool: &mut Pool, victim: UniqueId, ends: &Ends) {
    let pid = nix::unistd::Pid::from_raw(pool.workers[&victim].child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    // The workers take turns: of so many that were served some have gone to this one. With all clients there, nobody is
    // served any more.
    let (from, until) = (ends.ended(), now() + Duration::from_secs(1));
    while ends.ended() < from + 4 * CLIENTS && now() < until {
        pool.step(None, now() + Duration::from_millis(10));
    }
}

/// Connections at a time.
const CLIENTS: u64 = 8;

#[test]
fn a_worker_killed_with_a_connection_on_its_way_hangs_nobody() {
    let wanted = wanted_requests().max(1000);
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, mut workers) = pool(&version, ROUND_ROBIN, &sockets);
        let address = sockets.address();
        let ends = Arc::new(Ends::default());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let ends = Arc::clone(&ends);
                std::thread::spawn(move || ends.client(address))
            })
            .collect();
        let mut kills = 0;
        while ends.others().is_empty() && (kills < wanted_kills() || ends.ended() < wanted) {
            let victim = workers.remove(0);
            // Every other one is killed with connections that it certainly has not taken.
            if kills % 2 == 0 {
                with_connections_on_their_way(&mut pool, victim, &ends);
            }
            pool.kill(victim);
            workers.push(pool.spawn());
            pool.exited(victim);
            pool.listening(workers[1]);
            kills += 1;
        }
        ends.stop.store(true, Ordering::Relaxed);
        pool.during(move || clients.into_iter().for_each(|client| client.join().unwrap()));
        let others = ends.others();
        let (ended, cut) = (ends.ended(), ends.cut.load(Ordering::Relaxed));
        eprintln!("node {version}: {ended} connections, {cut} cut by {kills} kills, {} others", others.len());
        assert!(others.is_empty() && ended >= wanted, "on {version}, after {kills} kills: {others:?}");
        // No client has more than one at a time, and what was only on its way is lost to nobody.
        assert!(cut <= u64::from(kills) * CLIENTS, "on {version}: {cut} cut by {kills} kills");
    }
}

#[test]
fn a_stuck_worker_has_its_window_and_when_it_dies_others_get_all_of_it() {
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, workers) = pool(&version, ROUND_ROBIN, &sockets);
        let (stuck, other) = (workers[0], workers[1]);
        pool.kill(other);
        pool.exited(other);
        let pid = nix::unistd::Pid::from_raw(pool.workers[&stuck].child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let address = sockets.address();
        let ask = move |_| std::thread::spawn(move || client::once(address, "/fast").unwrap());
        let clients: Vec<_> = (0..3 * WINDOW).map(ask).collect();
        // The window is taken, the rest waits in the kernel, and it stays so.
        let beyond = u32::try_from(2 * WINDOW).unwrap();
        while sock_diag::queue(&sockets.tcp).unwrap().unwrap().waiting != beyond {
            pool.step(None, now() + Duration::from_millis(10));
        }
        assert_eq!(sock_diag::queue(&sockets.tcp).unwrap().unwrap().waiting, beyond);
        pool.kill(stuck);
        let next = pool.spawn();
        pool.exited(stuck);
        pool.listening(next);
        let answers =
            pool.during(move || clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>());
        assert!(answers.iter().all(|body| body.trim() == next.to_string()), "on {version}: {answers:?}");
    }
}

/// How much libuv reads from a channel at once (uv_read_start(), the suggested size).
const NODE_READS: usize = 64 * 1024;

#[test]
fn connections_behind_so_much_talk_that_node_reads_the_first_ones_line_in_two_are_all_served() {
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, workers) = pool(&version, ROUND_ROBIN, &sockets);
        let (worker, other) = (workers[0], workers[1]);
        pool.kill(other);
        pool.exited(other);
        let address = sockets.address();
        // Whatever was said before is read when this is answered.
        pool.during(move || client::once(address, "/fast").unwrap());
        let pid = nix::unistd::Pid::from_raw(pool.workers[&worker].child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let text = UserText::from_text(&"x".repeat(NODE_READS - 40));
        pool.hub.send(now(), worker, text).unwrap();
        let clients: Vec<_> = (0..WINDOW).map(|_| client::connect(address).unwrap()).collect();
        while sock_diag::queue(&sockets.tcp).unwrap().unwrap().waiting != 0 {
            pool.step(None, now() + Duration::from_millis(10));
        }
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
        let asking = clients
            .into_iter()
            .map(|mut stream| std::thread::spawn(move || client::ask(&mut stream, "/fast", "close")));
        let asking: Vec<_> = asking.collect();
        let answers =
            pool.during(move || asking.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>());
        assert!(answers.iter().all(Result::is_ok), "on {version}: {answers:?}");
    }
}

#[test]
fn round_robin_is_exactly_even_for_connections_in_sequence() {
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, _) = pool(&version, ROUND_ROBIN, &sockets);
        let address = sockets.address();
        let bodies = pool
            .during(move || (0..100).map(|_| client::once(address, "/fast").unwrap()).collect::<Vec<_>>());
        let first = bodies.iter().filter(|body| body.trim() == "1").count();
        assert_eq!(first, 50, "on {version}");
    }
}

#[test]
fn connections_beyond_max_connections_wait_and_are_served() {
    for version in versions() {
        let sockets = Sockets::new();
        let mut pool = Pool::new(&version, ROUND_ROBIN, "work.cjs", sockets.all())
            .env("PORT", sockets.port())
            .env("MAX_CONNECTIONS", 1);
        let worker = pool.spawn();
        pool.listening(worker);
        let (tally, threads) = load(sockets.address(), &[Habit::Short; 4], "/slow");
        let address = sockets.address();
        pool.during(move || (0..5).for_each(|_| drop(client::once(address, "/slow").unwrap())));
        finish(&mut pool, &tally, threads);
        assert_eq!(tally.lost(), 0, "on {version}");
    }
}

#[test]
fn without_workers_connections_wait_for_the_next_one() {
    let version = versions().pop().unwrap();
    for policy in [SHARED, ROUND_ROBIN] {
        let sockets = Sockets::new();
        let (mut pool, workers) = pool(&version, policy, &sockets);
        for worker in workers {
            pool.kill(worker);
            assert_eq!(pool.exited(worker), None);
        }
        let address = sockets.address();
        let waiting = std::thread::spawn(move || client::once(address, "/fast").unwrap());
        let worker = pool.spawn();
        pool.listening(worker);
        assert_eq!(pool.during(move || waiting.join().unwrap()).trim(), worker.to_string());
        assert!(!pool.facts.iter().any(|fact| matches!(fact, Fact::Report(Report::Broken { .. }))));
    }
}

/// A worker whose connections would stay for a minute; whether it drains within ten seconds.
/// It ends by itself: the stop signal, shortly before the timeout, would be another end.
fn drains_in_time(pool: &mut Pool, worker: UniqueId, what: &str) {
    let begun = now();
    pool.drain(worker, Duration::from_secs(4));
    assert_eq!(pool.exited(worker), Some(0), "{what}");
    eprintln!("{what}: drained in {:?}", now().since(begun));
}

fn keeping(version: &str, sockets: &Sockets, env: &[(&str, &str)]) -> (Pool, UniqueId) {
    let mut pool = Pool::new(version, SHARED, "work.cjs", sockets.all())
        .env("PORT", sockets.port())
        .env("KEEP_ALIVE", 60_000)
        .env("FIXTURES", prepared(&["tls"]).display());
    pool.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let worker = pool.spawn();
    pool.listening(worker);
    (pool, worker)
}

#[test]
fn idle_and_silent_connections_do_not_keep_a_worker() {
    for version in versions() {
        let sockets = Sockets::new();
        let address = sockets.address();
        let (mut pool, worker) = keeping(&version, &sockets, &[]);
        let _silent = pool.during(move || client::connect(address).unwrap());
        let _idle = pool.during(move || {
            let mut stream = client::connect(address).unwrap();
            client::ask(&mut stream, "/fast", "keep-alive").unwrap();
            stream
        });
        drains_in_time(&mut pool, worker, &format!("node {version}, http"));
    }
}

/// Drains a worker with an https connection that has brought a request, or only the session, or not even that. `tls` is
/// the kind of the server.
fn idle_https(version: &str, tls: &str, silent: &[(&str, &str)], connects: bool) {
    let sockets = Sockets::new();
    let address = sockets.address();
    let (mut pool, worker) = keeping(version, &sockets, &[("TLS", tls)]);
    let _raw = connects.then(|| pool.during(move || client::connect(address).unwrap()));
    let mut command = Command::new(prepared(&["node", &versions()[0]]));
    command.arg(here().join("apps/idle-client.cjs")).env("PORT", sockets.port().to_string());
    // Standard input ends with the test, and the client with it.
    command.envs(silent.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut output = client.stdout.take().unwrap();
    pool.during(move || output.read_exact(&mut [0; 4]).unwrap());
    drains_in_time(&mut pool, worker, &format!("node {version}, https ({tls}), {silent:?}"));
    drop(client.stdin.take());
    client.wait().unwrap();
}

#[test]
fn idle_https_connections_do_not_keep_a_worker() {
    for version in versions() {
        idle_https(&version, "1", &[], false);
    }
}

#[test]
fn https_connections_that_ask_nothing_do_not_keep_a_worker() {
    for version in versions() {
        idle_https(&version, "1", &[("SILENT", "1")], true);
    }
}

#[test]
fn http1_connections_of_an_http2_server_do_not_keep_a_worker() {
    // Node 18 has no list of them.
    for version in versions().into_iter().filter(|version| !version.starts_with("18.")) {
        idle_https(&version, "2", &[], false);
        idle_https(&version, "2", &[("SILENT", "1")], true);
    }
}

/// An idle connection of a worker; the thread says how long after its request it was closed.
fn idle_connection(pool: &mut Pool, address: SocketAddr) -> std::thread::JoinHandle<Duration> {
    let begun = now();
    let mut stream = pool.during(move || {
        let mut stream = client::connect(address).unwrap();
        client::ask(&mut stream, "/fast", "keep-alive").unwrap();
        stream
    });
    std::thread::spawn(move || {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed and no more");
        now().since(begun)
    })
}

#[test]
fn an_idle_connection_is_kept_for_as_long_as_its_server_has_promised() {
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, worker) = keeping(&version, &sockets, &[("KEEP_ALIVE", "2000")]);
        let idle = idle_connection(&mut pool, sockets.address());
        pool.drain(worker, Duration::from_secs(60));
        assert_eq!(pool.exited(worker), Some(0));
        let kept = idle.join().unwrap();
        assert!(kept >= Duration::from_secs(2), "node {version}: {kept:?}");
    }
}

#[test]
fn when_the_whole_pool_ends_idle_connections_do_not_keep_it() {
    for version in versions() {
        let sockets = Sockets::new();
        let (mut pool, worker) = keeping(&version, &sockets, &[]);
        let idle = idle_connection(&mut pool, sockets.address());
        pool.dismiss(
            worker,
            Farewell { message: None, signal: Some(15), timeout: Duration::from_secs(120), is_last: true },
        );
        assert_eq!(pool.exited(worker), Some(0));
        let kept = idle.join().unwrap();
        assert!(kept < Duration::from_secs(20), "node {version}: {kept:?}");
    }
}
