//! A supervisor in a directory of its own, and the same workers without one.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::now;

/// Variables of whoever runs the bench that would change what ganger does.
const FOREIGN: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
];
/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// A new directory for one supervisor, below the build's own scratch directory.
pub(crate) fn scratch() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    // Short: a socket's path has at most 107 bytes.
    let path = std::env::temp_dir().join(format!("ganger-bench-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a scratch directory");
    path
}

/// What a supervisor is to run.
pub(crate) struct Setup {
    pub(crate) workers: usize,
    pub(crate) command: Vec<String>,
    /// `ready.when`.
    pub(crate) ready: &'static str,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) name: String,
    /// It is to believe that systemd started it (`SYSTEMD_EXEC_PID`), and so looks for the bus.
    pub(crate) is_service: bool,
}

impl Setup {
    pub(crate) fn new(workers: usize, deed: &str) -> Self {
        let command = super::worker::command(deed);
        Self {
            workers,
            command,
            ready: "notify",
            env: Vec::new(),
            name: "bench".to_owned(),
            is_service: false,
        }
    }

    /// The command that runs it in `directory`.
    pub(crate) fn command(&self, directory: &Path) -> Command {
        let config = directory.join(format!("{}.toml", self.name));
        let text = format!(
            "command = {:?}\nworkers = {}\nlisten = [\"unix:{}\"]\nready.when = {:?}\nready.timeout = \"2min\"\n\
             [restart]\nmin-uptime = \"0s\"\nlimit = {{ burst = 1000000, interval = \"off\" }}\n",
            self.command,
            self.workers,
            directory.join("socket").display(),
            self.ready,
        );
        fs::write(&config, text).expect("a configuration");
        let ganger = env!("CARGO_BIN_EXE_ganger");
        let mut command = if self.is_service {
            let mut command = Command::new("sh");
            command.args(["-c", "SYSTEMD_EXEC_PID=$$ exec \"$0\" \"$@\"", ganger]);
            command
        } else {
            Command::new(ganger)
        };
        command.arg("run").arg(config).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(fs::File::create(directory.join("log")).expect("a log"));
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("RUNTIME_DIRECTORY", directory.join("ganger").join(&self.name));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it; returns at once.
    pub(crate) fn start(&self) -> Supervisor {
        let directory = scratch();
        let notify = UnixDatagram::bind(directory.join("manager")).expect("a service manager's socket");
        let told = Told::listen(notify);
        let mut command = self.command(&directory);
        command.env("NOTIFY_SOCKET", directory.join("manager"));
        let started = now();
        let mut child = command.spawn().expect("ganger starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        Supervisor { child, directory, started, out, told }
    }
}

/// What ganger tells its service manager, read on a thread of its own with the time at which it came.
pub(crate) struct Told(std::sync::mpsc::Receiver<(Duration, String)>);

impl Told {
    fn listen(socket: UnixDatagram) -> Self {
        let (told, read) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                if told.send((now(), text)).is_err() {
                    return;
                }
            }
        });
        Self(read)
    }

    /// Waits for a message with this line; returns when it came.
    pub(crate) fn wait_for(&self, line: &str) -> Duration {
        let until = now() + PATIENCE;
        loop {
            let message = self.0.recv_timeout(until.saturating_sub(now()));
            let (at, text) = message.unwrap_or_else(|_| panic!("ganger never said {line}"));
            if text.lines().any(|said| said == line) {
                return at;
            }
        }
    }
}

/// A running supervisor; it and its directory are gone when this is dropped.
pub(crate) struct Supervisor {
    child: Child,
    pub(crate) directory: PathBuf,
    pub(crate) started: Duration,
    pub(crate) out: BufReader<ChildStdout>,
    pub(crate) told: Told,
}

impl Supervisor {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the whole pool is ready; returns when that was.
    pub(crate) fn ready(&self) -> Duration {
        self.told.wait_for("READY=1")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, signal).expect("the supervisor lives");
    }

    /// SIGTERM, then waits; returns how long that took, and the CPU time of the supervisor's whole life.
    pub(crate) fn stop(&mut self) -> (Duration, Duration) {
        let asked = now();
        self.signal(Signal::SIGTERM);
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        // Not reaped yet, it still tells what it used.
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("it ends");
        let (took, used) = (now() - asked, super::cpu(self.pid()));
        let status = self.child.wait().expect("it has ended");
        assert!(status.success(), "ganger left with {status}");
        (took, used)
    }

    /// The next line that a worker wrote.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a worker's line");
        assert!(!line.is_empty(), "ganger is gone");
        line
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Gone already is what is wanted.
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGTERM);
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The same workers started and stopped by nobody but the bench: what fork, exec and the workers themselves cost
/// here. Returns the time until the last of `count` said that it is ready, and from there until all were reaped.
pub(crate) fn bare(count: usize, command: &[String]) -> (Duration, Duration) {
    let (program, arguments) = command.split_first().expect("a command");
    let directory = scratch();
    let path = directory.join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let listener = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        (0..count).for_each(|_| drop(socket.recv(&mut buffer)));
        now()
    });
    let began = now();
    let mut children: Vec<Child> = (0..count)
        .map(|_| {
            let mut command = Command::new(program);
            command.args(arguments).env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().expect("a worker")
        })
        .collect();
    let ready = listener.join().expect("the last one is ready");
    let asked = now();
    children.iter_mut().for_each(|child| {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it lives");
    });
    children.iter_mut().for_each(|child| drop(child.wait()));
    let ended = now();
    let _ = fs::remove_dir_all(directory);
    (ready.saturating_sub(began), ended - asked)
}
