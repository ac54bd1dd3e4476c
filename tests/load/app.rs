//! One supervised app as a test sees it: its file, its commands, its processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::load::{Load, Report, Target};
use harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The app's name.
const APP: &str = "app";

/// The long runs were asked for.
pub(crate) fn soaking() -> bool {
    std::env::var_os("GANGER_SOAK").is_some_and(|value| value == "1")
}

/// Time since some fixed moment.
pub(crate) fn now() -> Duration {
    Duration::from(nix::time::ClockId::CLOCK_MONOTONIC.now().unwrap())
}

/// Prints a line of the table in `docs/no-request-lost.md`.
pub(crate) fn row(promise: &str, situation: &str, reports: &[&Report]) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
    eprintln!("| {promise} | {situation} | {} | {} |", sum(|report| report.sent), sum(Report::lost));
}

/// The scripted worker with these options, as the value of `command`.
pub(crate) fn worker(options: &[&str]) -> String {
    let program = harness::example("worker").into_os_string().into_string().unwrap();
    let argv: Vec<&str> = std::iter::once(program.as_str()).chain(options.iter().copied()).collect();
    serde_json::to_string(&argv).unwrap()
}

/// A configuration whose worker drains well and at once; `more` are further tables.
pub(crate) fn cooperating(workers: u32, more: &str) -> String {
    let command = worker(&["--notify", "--grace", "3000"]);
    format!("command = {command}\nworkers = {workers}\n[ready]\nwhen = \"notify\"\n{more}\n")
}

/// What a command of the command line came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl Answer {
    /// The exit code, unless a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails unless it was done.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code(), Some(0), "{}", self.said);
        self
    }
}

/// A running `ganger run`, ended with its value, with everything that it started.
#[derive(Debug)]
pub(crate) struct App {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl App {
    /// Starts it and waits until all workers are ready.
    pub(crate) fn start(config: &str) -> Self {
        let app = Self::launch(config, &[]);
        app.wait_for_log("ready\n", 1);
        app
    }

    /// Starts it and waits for its socket only. `variables` are set for it.
    pub(crate) fn launch(config: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.toml");
        fs::write(&file, config).unwrap();
        let runtime = runtime_directory(folder.path());
        fs::create_dir_all(&runtime).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
        command.arg("run").arg(&file).args(["--listen", "127.0.0.1:0"]);
        command.env_remove("NOTIFY_SOCKET").env("RUNTIME_DIRECTORY", runtime).env("RUN", folder.path());
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log).current_dir(env!("CARGO_MANIFEST_DIR"));
        let mut app = Self { child: command.spawn().unwrap(), folder, address: String::new() };
        app.wait_for_log("listening on ", 1);
        app.address = app.log().split("listening on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        app
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A path in the folder that goes with the app.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What ganger and its workers said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap()).into_owned()
    }

    /// Waits until `text` was said `times` times.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str, times: usize) {
        let said = || self.log().matches(text).count() >= times;
        assert!(wait_until(said), "\"{text}\" was not said {times} times:\n{}", self.log());
    }

    /// Writes the configuration anew; a reload reads it.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("app.toml"), config).unwrap();
    }

    /// `IP:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn target(&self) -> Target {
        Target::Tcp(self.address.parse().unwrap())
    }

    /// A load on the app, not yet started.
    pub(crate) fn load(&self) -> Load {
        Load::new(self.target()).timeout(Duration::from_secs(60))
    }

    /// `ganger VERB app …`, not yet started; its output is kept apart from the app's.
    pub(crate) fn command(&self, verb: &str, rest: &[&str]) -> Command {
        let (name, rest) = match rest {
            [slot, rest @ ..] if slot.starts_with(':') => (format!("{APP}{slot}"), rest),
            rest => (APP.to_owned(), rest),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
        command.arg(verb).arg(name).args(rest).stdin(Stdio::null());
        command.env("RUNTIME_DIRECTORY", runtime_directory(self.folder.path()));
        command
    }

    /// `ganger VERB app …`.
    pub(crate) fn ask(&self, verb: &str, rest: &[&str]) -> Answer {
        let output = self.command(verb, rest).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Answer { status: output.status, said }
    }

    /// `ganger status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let answer = self.ask("status", &["--json"]).done();
        serde_json::from_str(&answer.said).unwrap()
    }

    /// Waits until the status is as wanted.
    #[track_caller]
    pub(crate) fn wait_for_status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let met = wait_until(|| {
            last = self.status();
            wanted(&last)
        });
        assert!(met, "{last:#}\n{}", self.log());
        last
    }

    /// The main processes of ready workers, by slot.
    pub(crate) fn ready_pids(&self) -> Vec<u32> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers.filter(|worker| worker["state"] == "ready").map(pid_of).collect()
    }

    /// Every living child of the supervisor.
    pub(crate) fn children(&self) -> BTreeSet<u32> {
        children(self.pid())
    }

    /// Counts the supervisor's children from now on, again and again.
    pub(crate) fn watch_children(&self) -> Peak {
        let shared = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
        let (theirs, pid) = (Arc::clone(&shared), self.pid());
        let thread = std::thread::spawn(move || {
            let (stop, most) = &*theirs;
            assert!(wait_until_stopped(stop, || {
                most.fetch_max(children(pid).len(), Ordering::Relaxed);
            }));
        });
        Peak { shared, thread }
    }

    /// A figure of `/proc/PID/status`, in kibibytes.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        memory_kib(self.pid(), name)
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// CPU time that the supervisor has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // utime and stime (proc_pid_stat(5)); the clock tick is 10 ms on every Linux of today.
        let ticks: u64 = [11, 12].iter().map(|index| fields[*index].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// SIGTERM to the supervisor; nothing may be left when it has gone.
    pub(crate) fn stop(mut self) {
        kill(signed(self.pid()), Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "ganger ended with {status}\n{}", self.log());
        assert_eq!(self.marked(), BTreeSet::new(), "left over\n{}", self.log());
    }

    /// Every process with this app's mark in its environment.
    fn marked(&self) -> BTreeSet<u32> {
        let mark = format!("RUN={}", self.folder.path().display());
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .collect()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        if std::thread::panicking() {
            eprintln!("the app's log:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.marked() {
            let _ = kill(signed(pid), Signal::SIGKILL);
        }
    }
}

/// A count of processes that goes on.
#[derive(Debug)]
pub(crate) struct Peak {
    shared: Arc<(AtomicBool, AtomicUsize)>,
    thread: JoinHandle<()>,
}

impl Peak {
    /// The most that were there at once.
    pub(crate) fn most(self) -> usize {
        self.shared.0.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.shared.1.load(Ordering::Relaxed)
    }
}

/// Calls `look` until told to stop; false after many minutes.
fn wait_until_stopped(stop: &AtomicBool, look: impl Fn()) -> bool {
    (0..30).any(|_| {
        wait_until(|| {
            look();
            stop.load(Ordering::Relaxed)
        })
    })
}

/// The living children of a process, of all its threads.
fn children(pid: u32) -> BTreeSet<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return BTreeSet::new() };
    let listed =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    listed
        .flat_map(|list| list.split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<u32>>())
        .filter(|pid| is_alive(*pid))
        .collect()
}

/// The process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map_or(0, |rest| rest.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Sends `signal` to one process of this test's own.
pub(crate) fn send(pid: u32, signal: Signal) {
    // It may have gone by itself.
    let _ = kill(signed(pid), signal);
}

fn signed(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap())
}

pub(crate) fn pid_of(worker: &Value) -> u32 {
    u32::try_from(worker["pid"].as_u64().unwrap()).unwrap()
}

fn runtime_directory(folder: &Path) -> PathBuf {
    folder.join("ganger").join(APP)
}
