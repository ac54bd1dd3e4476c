//! The workers of one Node app behind each primary there is: Node's own (both schedulings), PM2, ganger (both
//! balances), none (processes on one socket), and a single process. Same app, same load, same run.
//!
//! `cargo bench --bench node`. `GANGER_NODE_VERSIONS` names the version (the first of it), `GANGER_BENCH_SECONDS` how
//! long each measurement takes (1.5), `GANGER_BENCH_BINARY` another ganger than this build's, `GANGER_BENCH_ROUNDS` how often
//! each is taken (3, in turn; the median counts), `GANGER_BENCH_WORKERS` the number of workers (2),
//! `GANGER_BENCH_ONLY` whom alone (words of their names, `|` between).
//! A ratio is the median of the rounds' ratios: what else the machine does falls on both sides of it.
//! Everything comes by npm into the tests' cache; PM2 runs with a home of its own and is ended with the bench.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that cannot run fails"
)]
#![expect(clippy::print_stdout, reason = "the figures are its purpose")]

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ganger::os::procfs;
use harness::load::{Load, Report, Target, Until};

const ONE: &str = "one process";
const BARE: &str = "no primary, one socket";
const SCHED_RR: &str = "Node, SCHED_RR";
const SCHED_NONE: &str = "Node, SCHED_NONE";
const PM2: &str = "PM2, cluster mode";
const SHARED: &str = "ganger, shared";
const ROUND_ROBIN: &str = "ganger, round-robin";
const ROUND_ROBIN_PLAIN: &str = "ganger, round-robin, no preload";

/// Connections at a time.
const CONNECTIONS: usize = 32;

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn workers() -> usize {
    std::env::var("GANGER_BENCH_WORKERS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn prepared(what: &[&str]) -> PathBuf {
    let output = Command::new(here("tests/node/prepare")).args(what).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/node/prepare {what:?}: {error}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What everything here is started with.
struct Rig {
    node: PathBuf,
    pm2: PathBuf,
    folder: tempfile::TempDir,
}

impl Rig {
    fn node(&self, words: &[&Path]) -> Command {
        let mut command = Command::new(&self.node);
        command.args(words);
        self.clean(command)
    }

    fn clean(&self, mut command: Command) -> Command {
        let bin = self.node.parent().unwrap();
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(self.folder.path());
        command
    }

    fn pm2(&self, words: &[&str]) -> Command {
        let mut command = self.node(&[&self.pm2]);
        command.args(words).env("PM2_HOME", self.folder.path().join("pm2"));
        command
    }
}

/// A port that is free now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Who is measured.
struct Contender {
    name: &'static str,
    address: SocketAddr,
    /// The process that is not a worker.
    primary: Option<u32>,
    workers: usize,
    processes: Vec<Child>,
    rounds: Vec<Round>,
    pss: Option<u64>,
}

/// One round of one contender.
struct Round {
    keep: Report,
    short: Report,
    /// The primary's share of one core, in percent, while connections were short.
    cpu: Option<f64>,
    /// CPU time of the primary and of the workers for one short connection.
    costs: (Duration, Duration),
}

impl Contender {
    fn new(name: &'static str, address: SocketAddr) -> Self {
        let (primary, processes, rounds) = (None, Vec::new(), Vec::new());
        Self { name, address, primary, workers: workers(), processes, rounds, pss: None }
    }

    fn led_by(mut self, mut command: Command) -> Self {
        let child = command.env("PORT", self.address.port().to_string()).spawn().unwrap();
        self.primary = Some(child.id());
        self.processes.push(child);
        self
    }

    fn load(&self) -> Load {
        Load::new(Target::Tcp(self.address)).connections(CONNECTIONS)
    }

    /// Waits until every worker answers.
    fn wait(&self) {
        for _ in 0..2000 {
            let report = self.load().close_each().until(Until::Requests(64)).run();
            if report.worker_count() >= self.workers {
                return;
            }
        }
        panic!("{} does not come up", self.name);
    }

    fn cpu(&self) -> Option<Duration> {
        self.primary.and_then(procfs::stat).map(|stat| stat.cpu)
    }

    /// CPU time of all workers so far.
    fn workers_cpu(&self) -> Duration {
        let pids = match self.primary {
            Some(primary) => children(primary),
            None => self.processes.iter().map(Child::id).collect(),
        };
        pids.into_iter().filter_map(procfs::stat).map(|stat| stat.cpu).sum()
    }

    fn measure(&mut self, span: Duration) {
        let keep = self.load().until(Until::Elapsed(span)).run();
        let before = (self.cpu().unwrap_or_default(), self.workers_cpu());
        let short = self.load().close_each().until(Until::Elapsed(span)).run();
        let ours = self.cpu().unwrap_or_default().saturating_sub(before.0);
        let theirs = self.workers_cpu().saturating_sub(before.1);
        let cpu = self.primary.map(|_| 100.0 * ours.as_secs_f64() / short.elapsed.as_secs_f64());
        let each = |cpu: Duration| cpu / u32::try_from(short.ok().max(1)).unwrap();
        let costs = (each(ours), each(theirs));
        self.rounds.push(Round { keep, short, cpu, costs });
        self.pss = self.primary.and_then(procfs::memory).map(procfs::Memory::best);
    }

    /// The round whose rate is the middle one.
    fn median(&self, of: impl Fn(&Round) -> &Report) -> &Report {
        let mut reports: Vec<&Report> = self.rounds.iter().map(of).collect();
        reports.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
        reports[reports.len() / 2]
    }

    fn keep(&self) -> &Report {
        self.median(|round| &round.keep)
    }

    fn short(&self) -> &Report {
        self.median(|round| &round.short)
    }

    fn row(&self) -> String {
        let cpus: Vec<f64> = self.rounds.iter().filter_map(|round| round.cpu).collect();
        let cpu = cpus.iter().copied().reduce(f64::max).map_or("–".to_owned(), |cpu| format!("{cpu:.0} %"));
        let pss = self.pss.map_or("–".to_owned(), |pss| format!("{:.1} MiB", mebibytes(pss)));
        let lost: u64 = self.rounds.iter().map(|round| round.keep.lost() + round.short.lost()).sum();
        let cost = |of: fn(&Round) -> Duration| {
            let mut costs: Vec<Duration> = self.rounds.iter().map(of).collect();
            costs.sort();
            costs[costs.len() / 2].as_micros()
        };
        let costs = format!("{} + {}", cost(|round| round.costs.0), cost(|round| round.costs.1));
        format!(
            "| {} | {} | {} | {cpu} | {costs} | {pss} | {lost} |",
            self.name,
            figures(self.keep()),
            figures(self.short())
        )
    }
}

/// The processes that `pid` started.
fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

impl Drop for Contender {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(process.id()).unwrap());
            // Gone already is as good. A primary takes its workers along.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = process.wait();
        }
    }
}

fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let bytes = bytes as f64;
    bytes / 1_048_576.0
}

/// Rate, latencies, and how the requests were spread.
fn figures(report: &Report) -> String {
    let shares: Vec<String> = report
        .workers
        .values()
        .map(|count| (count * 100).div_euclid(report.ok().max(1)).to_string())
        .collect();
    let ms = |permille| report.within(permille).as_secs_f64() * 1000.0;
    format!("{:.0} | {:.1} / {:.1} | {}", report.rate(), ms(500), ms(990), shares.join("/"))
}

/// Processes that take one socket by themselves: what no primary can be better than.
fn bare(rig: &Rig, name: &'static str, workers: usize) -> Contender {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut contender = Contender::new(name, socket.local_addr().unwrap());
    contender.workers = workers;
    for _ in 0..workers {
        let mut command = rig.clean(Command::new("sh"));
        // The socket comes as standard input and becomes descriptor 3.
        command.args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"]).arg(&rig.node);
        command.arg(here("benches/node/app.cjs")).env("LISTEN_FD", "3");
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        contender.processes.push(command.stdin(Stdio::from(socket)).spawn().unwrap());
    }
    contender
}

fn cluster(rig: &Rig, name: &'static str, policy: &str) -> Contender {
    let mut command = rig.node(&[&here("benches/node/cluster.cjs")]);
    command.env("NODE_CLUSTER_SCHED_POLICY", policy).env("WORKERS", workers().to_string());
    Contender::new(name, free_port()).led_by(command)
}

fn ganger(rig: &Rig, name: &'static str, balance: &str, preload: bool) -> Contender {
    let contender = Contender::new(name, free_port());
    let folder = rig.folder.path().join(name);
    std::fs::create_dir_all(folder.join("ganger/app")).unwrap();
    let config = format!(
        "command = ['node', '{}']\nlisten = ['{}']\nworkers = {}\n[node]\nbalance = '{balance}'\ndrain = {preload}\n",
        here("benches/node/app.cjs").display(),
        contender.address,
        workers()
    );
    std::fs::write(folder.join("app.toml"), config).unwrap();
    let ours = std::env::var_os("GANGER_BENCH_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_ganger").into());
    let mut command = rig.clean(Command::new(ours));
    command.arg("run").arg(folder.join("app.toml")).env("RUNTIME_DIRECTORY", folder.join("ganger/app"));
    contender.led_by(command)
}

fn pm2(rig: &Rig) -> Contender {
    let mut contender = Contender::new(PM2, free_port());
    let mut start =
        rig.pm2(&["start", here("benches/node/app.cjs").to_str().unwrap(), "-i", &workers().to_string()]);
    start.env("PORT", contender.address.port().to_string());
    assert!(start.status().unwrap().success(), "pm2 start failed");
    let pid = std::fs::read_to_string(rig.folder.path().join("pm2/pm2.pid")).unwrap();
    contender.primary = Some(pid.trim().parse().unwrap());
    contender
}

/// Ends PM2's daemon, which belongs to nobody.
struct Pm2Home<'a>(&'a Rig);

impl Drop for Pm2Home<'_> {
    fn drop(&mut self) {
        let _ = self.0.pm2(&["kill"]).status();
    }
}

/// The median over the rounds of one contender's rate to another's.
fn ratio(contenders: &[Contender], ours: &str, theirs: &str, of: impl Fn(&Round) -> &Report) -> Option<f64> {
    let find = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let rounds = find(ours)?.rounds.iter().zip(&find(theirs)?.rounds);
    let mut ratios: Vec<f64> = rounds.map(|(one, other)| of(one).rate() / of(other).rate()).collect();
    ratios.sort_by(f64::total_cmp);
    Some(ratios[ratios.len() / 2])
}

fn ratios(contenders: &[Contender]) {
    let say = |what: &str, aim: &str, ratio: Option<f64>| {
        if let Some(ratio) = ratio {
            println!("{what:<36} {ratio:.3} (aim: {aim})");
        }
    };
    let short = |ours: &str, theirs: &str| ratio(contenders, ours, theirs, |round| &round.short);
    let keep = |ours: &str, theirs: &str| ratio(contenders, ours, theirs, |round| &round.keep);
    say("shared / no primary, keep-alive:", "0.97", keep(SHARED, BARE));
    say("shared / no primary, short:", "0.97", short(SHARED, BARE));
    say("shared / PM2, short:", "1.7", short(SHARED, PM2));
    say("round-robin / Node SCHED_RR, short:", "1.5", short(ROUND_ROBIN, SCHED_RR));
    say("the same without the preload:", "–", short(ROUND_ROBIN_PLAIN, SCHED_RR));
    say("round-robin / shared, short:", "–", short(ROUND_ROBIN, SHARED));
    let pss = |name: &str| contenders.iter().find(|contender| contender.name == name)?.pss.map(mebibytes);
    say(
        "ganger's memory / PM2's daemon's:",
        "below 0.1",
        pss(SHARED).zip(pss(PM2)).map(|(ours, theirs)| ours / theirs),
    );
}

fn start(rig: &Rig, name: &'static str) -> Contender {
    match name {
        ONE => bare(rig, name, 1),
        BARE => bare(rig, name, workers()),
        SCHED_RR => cluster(rig, name, "rr"),
        SCHED_NONE => cluster(rig, name, "none"),
        PM2 => pm2(rig),
        SHARED => ganger(rig, name, "shared", true),
        ROUND_ROBIN => ganger(rig, name, "round-robin", true),
        _ => ganger(rig, name, "round-robin", false),
    }
}

fn main() {
    let named = std::env::var("GANGER_NODE_VERSIONS").unwrap_or_default();
    let version = named.split_whitespace().next().unwrap_or("24.21.0").to_owned();
    let (node, tools) = (prepared(&["node", &version]), prepared(&["tools"]));
    let rig = Rig { node, pm2: tools.join("pm2/bin/pm2"), folder: tempfile::tempdir().unwrap() };
    let _pm2 = Pm2Home(&rig);
    let only = std::env::var("GANGER_BENCH_ONLY").unwrap_or_default();
    let wanted = |name: &&str| only.split('|').any(|word| name.contains(word));
    let names = [ONE, BARE, SCHED_RR, SCHED_NONE, PM2, SHARED, ROUND_ROBIN, ROUND_ROBIN_PLAIN]
        .into_iter()
        .filter(wanted);
    let mut contenders: Vec<Contender> = names.map(|name| start(&rig, name)).collect();
    contenders.iter().for_each(Contender::wait);
    let span = Duration::from_secs_f64(setting("GANGER_BENCH_SECONDS", 1.5));
    for _ in 0..std::env::var("GANGER_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3) {
        contenders.iter_mut().for_each(|contender| contender.measure(span));
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "Node {version}, {CONNECTIONS} connections, {cores} cores shared with the client, load {}",
        busy.trim()
    );
    println!(
        "| | keep-alive/s | p50 / p99 ms | share % | short/s | p50 / p99 ms | share % | primary's CPU | µs each, primary + workers | its PSS | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    contenders.iter().for_each(|contender| println!("{}", contender.row()));
    ratios(&contenders);
}
