//! A booted systemd: run commands in it, put files into it, wait for it, and see why a test failed.

use crate::cgroup::Cgroup;
use crate::scratch::Scratch;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long one command, and one wait, may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The exit code; 128 + the signal for one that was killed.
    pub code: i32,
}

impl Output {
    /// It exited with 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl From<std::process::Output> for Output {
    fn from(out: std::process::Output) -> Output {
        use std::os::unix::process::ExitStatusExt as _;
        Output {
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
            code: out.status.code().unwrap_or_else(|| 128 + out.status.signal().unwrap_or(0)),
        }
    }
}

/// A container with systemd as PID 1, up. Dropping it kills everything inside and removes every trace; if
/// the test is failing, its journal and console are printed first.
#[derive(Debug)]
pub struct Host {
    title: String,
    nspawn: Child,
    /// The host's pid of the container's PID 1.
    init: u32,
    cgroup: Cgroup,
    scratch: Scratch,
}

impl Host {
    pub(crate) fn new(title: String, nspawn: Child, init: u32, cgroup: Cgroup, scratch: Scratch) -> Host {
        Host { title, nspawn, init, cgroup, scratch }
    }

    /// The claim under test and what it runs on; goes well into a message.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The machine's pid of the container's PID 1; `/proc/PID/root` is its file system.
    pub fn init_pid(&self) -> u32 {
        self.init
    }

    /// A folder that is `/share` inside, writable from both sides.
    pub fn share(&self) -> PathBuf {
        self.scratch.path().join("share")
    }

    /// A `Command` that runs `program` inside, in a clean environment, in every namespace of the
    /// container. It is outside the container's cgroups: what concerns those, or sessions, goes through
    /// `systemd-run --wait --pipe`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "-t",
                &self.init.to_string(),
                "-a",
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ])
            .args(["HOME=/root", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "SYSTEMD_URLIFY=0", program])
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell line inside and returns how it ended, whatever that was.
    ///
    /// # Panics
    /// Where it has not ended after a minute.
    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        self.run_within(line, PATIENCE)
    }

    /// As [`Host::run`] for what may take longer than a minute, or must be over sooner.
    ///
    /// # Panics
    /// Where it has not ended after `limit`.
    #[track_caller]
    pub fn run_within(&self, line: &str, limit: Duration) -> Output {
        // Into files, not pipes: what the line leaves running may keep those open.
        let (stdout, stderr) = (self.scratch.file(), self.scratch.file());
        let mut command = self.command("sh");
        let into = |file: &File| Stdio::from(file.try_clone().expect("a second descriptor"));
        command.args(["-c", line]).stdout(into(&stdout)).stderr(into(&stderr));
        let mut out = Started::new(self.title.clone(), command).finish_or_kill(limit);
        (out.stdout, out.stderr) = (read(stdout), read(stderr));
        let seconds = limit.as_secs_f32();
        assert!(out.code != -1, "{}: `{line}` has not ended after {seconds} s: {out}", self.title);
        out
    }

    /// Runs a shell line that must succeed; returns its standard output without the last newline.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let out = self.run(line);
        assert!(out.success(), "{}: `{line}` failed: {out}", self.title);
        out.stdout.trim_end_matches('\n').to_owned()
    }

    /// Starts a shell line inside and goes on; [`Started::finish`] waits for it.
    #[track_caller]
    pub fn start(&self, line: &str) -> Started {
        let mut command = self.command("sh");
        command.args(["-c", line]).stdout(Stdio::piped()).stderr(Stdio::piped());
        Started::new(format!("{}: `{line}`", self.title), command)
    }

    /// Writes a file inside, its folders made, its mode 0755 where it starts with `#!` or is a program.
    #[track_caller]
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mode = if bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF") { "0755" } else { "0644" };
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat >\"$1\" && chmod \"$2\" \"$1\"";
        let mut command = self.command("sh");
        command.args(["-c", script, "sh", path, mode]);
        self.feed(command, bytes, &format!("write {path}"));
    }

    /// Copies one of the machine's files inside, program or not.
    #[track_caller]
    pub fn put_file(&self, path: &str, from: impl AsRef<Path>) {
        let from = from.as_ref();
        let bytes =
            std::fs::read(from).unwrap_or_else(|err| panic!("failed to read {}: {err}", from.display()));
        self.put(path, bytes);
    }

    /// Lays a folder of the machine's over the container's `/`, as `make install` would.
    #[track_caller]
    pub fn install_tree(&self, tree: impl AsRef<Path>) {
        let tree = tree.as_ref();
        let tar =
            Command::new("tar").arg("-C").arg(tree).args(["-cf", "-", "."]).output().expect("tar starts");
        assert!(tar.status.success(), "tar of {}: {}", tree.display(), String::from_utf8_lossy(&tar.stderr));
        let mut command = self.command("tar");
        // Keep the folders that are there as they are: a checkout's modes are not the system's.
        command.args([
            "-C",
            "/",
            "-xf",
            "-",
            "--no-same-owner",
            "--no-overwrite-dir",
            "--keep-directory-symlink",
        ]);
        self.feed(command, &tar.stdout, &format!("install {}", tree.display()));
    }

    #[track_caller]
    fn feed(&self, mut command: Command, bytes: &[u8], what: &str) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter starts");
        let written = child.stdin.take().expect("a pipe to it").write_all(bytes);
        let out = Output::from(child.wait_with_output().expect("it can be waited for"));
        assert!(written.is_ok() && out.success(), "{}: failed to {what}: {out}", self.title);
    }

    /// One property of a unit, as `systemctl show -P` gives it; empty where there is none.
    #[track_caller]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.ok(&format!("systemctl show -P {property} -- '{unit}'"))
    }

    /// The messages of a unit in this boot, one a line.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        self.ok(&format!("journalctl --sync; journalctl -q -b -o cat --no-pager -u '{unit}'"))
    }

    /// Waits until a unit's property has the value.
    ///
    /// # Panics
    /// After a minute, with what it was instead.
    #[track_caller]
    pub fn wait_for_property(&self, unit: &str, property: &str, value: &str) {
        let mut last = String::new();
        let met = until(PATIENCE, || {
            last = self.property(unit, property);
            last == value
        });
        assert!(met, "{}: {property} of {unit} is {last:?}, not {value:?}", self.title);
    }

    /// Waits until a unit's message contains `text`, earlier ones of this boot included; returns it.
    /// Follows the journal, so it costs nothing while nothing is logged.
    ///
    /// # Panics
    /// After a minute without.
    #[track_caller]
    pub fn wait_for_log(&self, unit: &str, text: &str) -> String {
        let follow = self.start(&format!("exec journalctl -q -b -f -n all -o cat -u '{unit}'"));
        let wanted = text.to_owned();
        let found = follow.wait_for_line(move |line| line.contains(&wanted));
        found.unwrap_or_else(|| panic!("{}: {unit} never logged {text:?}", self.title))
    }

    /// Waits until `condition` holds; `what` says it in a failure.
    ///
    /// # Panics
    /// After a minute.
    #[track_caller]
    pub fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(until(PATIENCE, condition), "{}: never came: {what}", self.title);
    }

    fn print_logs(&self) {
        let journal = self
            .start("journalctl --no-pager -q -b -n 300 -o short-precise")
            .finish_or_kill(Duration::from_secs(10));
        let console = std::fs::read_to_string(self.scratch.path().join("console")).unwrap_or_default();
        eprintln!(
            "=== {}: the last of its journal\n{}=== its console\n{console}=== end of {}",
            self.title, journal.stdout, self.title
        );
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("GANGER_TEST_LOGS").is_some() {
            self.print_logs();
        }
        // PID 1 first: its death is that of all inside, and nspawn then reaps it and ends by itself.
        if matches!(self.nspawn.try_wait(), Ok(None)) {
            let init = pid(self.init);
            let _ = nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL);
        }
        if !until(Duration::from_secs(5), || matches!(self.nspawn.try_wait(), Ok(Some(_)))) {
            self.cgroup.kill();
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
    }
}

/// Never 0 or below: those are groups, and one of them is the test's own.
fn pid(raw: u32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(i32::try_from(raw).ok().filter(|&pid| pid > 1).expect("a pid"))
}

/// All that was written to a file.
fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command that runs inside while the test goes on. Dropping it kills it.
#[derive(Debug)]
pub struct Started {
    what: String,
    child: Option<Child>,
}

impl Started {
    #[track_caller]
    fn new(what: String, mut command: Command) -> Started {
        let child = command.spawn().unwrap_or_else(|err| panic!("{what} did not start: {err}"));
        Started { what, child: Some(child) }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// After a minute.
    #[track_caller]
    pub fn finish(self) -> Output {
        let what = self.what.clone();
        let out = self.finish_or_kill(PATIENCE);
        assert!(out.code != -1, "{what} has not ended after {} s: {out}", PATIENCE.as_secs());
        out
    }

    /// Waits for its end; one that takes longer is killed and has the code -1.
    pub fn finish_or_kill(mut self, limit: Duration) -> Output {
        let Some(child) = self.child.take() else {
            return Output { stdout: String::new(), stderr: String::new(), code: -1 };
        };
        let pid = pid(child.id());
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = done.send(child.wait_with_output());
        });
        let late = match ended.recv_timeout(limit) {
            Ok(out) => return Output::from(out.expect("it can be waited for")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            }
        };
        // What it left behind inside may hold the pipes open: do not wait for those for ever.
        let said =
            ended.recv_timeout(Duration::from_secs(1)).ok().and_then(Result::ok).filter(|_| late.is_ok());
        let mut out = said
            .map_or_else(|| Output { stdout: String::new(), stderr: String::new(), code: -1 }, Output::from);
        out.code = -1;
        out
    }

    /// Reads its standard output until a line pleases; `None` when it ends or a minute passes first.
    pub fn wait_for_line(mut self, mut wanted: impl FnMut(&str) -> bool + Send + 'static) -> Option<String> {
        let stdout = self.child.as_mut()?.stdout.take()?;
        let (found, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let _ = found.send(lines.find(|line| wanted(line)));
        });
        line.recv_timeout(PATIENCE).ok().flatten()
    }

    /// Sends a signal to the command itself (not through the container's PID 1).
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(child) = &self.child {
            let _ = nix::sys::signal::kill(pid(child.id()), signal);
        }
    }

    /// Everything it writes to standard output until it ends.
    pub fn read_all(mut self) -> String {
        let mut text = String::new();
        if let Some(mut stdout) = self.child.as_mut().and_then(|child| child.stdout.take()) {
            let _ = stdout.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `condition` holds, a minute at most; false if it never did. For what tells nobody when it
/// changes; where there is a message to wait for, wait for that.
pub fn wait_until(condition: impl FnMut() -> bool) -> bool {
    until(PATIENCE, condition)
}

/// The one place that polls.
fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
