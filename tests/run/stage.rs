//! One supervisor of a test's own: a configuration in a folder that goes with it, started with a clean
//! environment, everything that it and its workers say recorded in one transcript.
//!
//! A test waits for something to be said, sent or ended ([`Run::until`]); nothing here sleeps. Whatever a failed
//! test leaves is killed by the mark that every process here carries in its environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, IoSliceMut, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use ganger::os::files::open_null;
use ganger::os::process::{Launch, Program, Template};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt, sockopt};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// What has not happened by then on this machine never will.
const PATIENCE: Duration = Duration::from_secs(90);
/// What every process of a stage carries in its environment.
const MARK: &str = "GANGER_TEST_MARK";
/// Sent by the test itself, to end the recording of datagrams.
const LAST: &str = "TEST_IS_OVER=1";

/// Where an entry of the transcript comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// A line of ganger's standard error: its log, and what workers write there.
    Log,
    /// A line of its standard output.
    Out,
    /// A datagram to the service manager.
    Manager,
    /// The end of the supervisor: `exit N` or `signal NAME`.
    Exit,
    /// Nobody holds its standard output any more.
    End,
}

#[derive(Debug, Default)]
struct Transcript {
    entries: Mutex<Vec<(From, String)>>,
    more: Condvar,
}

impl Transcript {
    fn lock(&self) -> MutexGuard<'_, Vec<(From, String)>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(&self, from: From, text: String) {
        self.lock().push((from, text));
        self.more.notify_all();
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().iter().try_for_each(|(from, text)| writeln!(f, "{from:?}: {}", text.replace('\n', " | ")))
    }
}

/// A supervisor to be: its folder, environment and sockets.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    wrapper: Vec<OsString>,
    /// What makes a command one of the supervisor's own user.
    user: Vec<OsString>,
    manager: Option<UnixDatagram>,
    sockets: Vec<OwnedFd>,
    output: Kind,
}

/// What the supervisor's standard output and error are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A pipe each, recorded as [`From::Out`] and [`From::Log`].
    Pipes,
    /// One terminal, recorded as [`From::Out`].
    Terminal,
    /// Pipes that nobody reads.
    Unread,
}

impl Stage {
    /// A folder and nothing else; see [`Stage::args`].
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        // Unprivileged workers have to reach it.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir_all(path.join("ganger/app")).unwrap();
        let variable = |name: &str, value: OsString| (OsString::from(name), value);
        let env = [
            variable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
            variable("RUNTIME_DIRECTORY", path.join("ganger/app").into()),
            variable(MARK, path.into()),
        ];
        let (args, wrapper, sockets) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            dir,
            args,
            env: env.into(),
            wrapper,
            user: Vec::new(),
            manager: None,
            sockets,
            output: Kind::Pipes,
        }
    }

    /// With `app.toml`. `@WORKER@` and `@DIR@` stand for the scripted worker and the stage's folder.
    pub(crate) fn new(config: &str) -> Self {
        let mut stage = Self::empty();
        stage.configure(config);
        let file = stage.path("app.toml").into_os_string();
        stage.args(&["run"]).arg(file)
    }

    /// Writes `app.toml`.
    pub(crate) fn configure(&mut self, config: &str) {
        std::fs::write(self.path("app.toml"), fill_in(config, self.dir.path())).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Further words of the command line.
    pub(crate) fn args(mut self, words: &[&str]) -> Self {
        self.args.extend(words.iter().map(|word| OsString::from(fill_in(word, self.dir.path()))));
        self
    }

    fn arg(mut self, word: OsString) -> Self {
        self.args.push(word);
        self
    }

    /// A variable of ganger's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        let value = fill_in(value, self.dir.path());
        self.env.insert(name.into(), value.into());
        self
    }

    /// A command in front of ganger's.
    pub(crate) fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(OsString::from).collect();
        self
    }

    /// Run by a user of its own without rights, but for reading the programs under test wherever they are; behind
    /// a further command.
    pub(crate) fn unprivileged(mut self, further: &[&str]) -> Self {
        // Limits count all processes of a user: nobody else may be it.
        let user = 100_000 + std::process::id() % 100_000 * 8 + further.len() as u32;
        for path in [self.path(""), self.path("ganger/app")] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
        }
        let id = user.to_string();
        let words = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        self.user = words.iter().map(OsString::from).collect();
        self.wrapper = further.iter().chain(&words).map(OsString::from).collect();
        self
    }

    /// A command of the user that it runs as.
    pub(crate) fn as_its_user(&self, words: &[&str]) -> Command {
        let mut all = self.user.iter().cloned().chain(words.iter().map(OsString::from));
        let mut command = Command::new(all.next().unwrap());
        command.args(all);
        command
    }

    /// A service manager that records every datagram.
    pub(crate) fn managed(mut self) -> Self {
        let path = self.path("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        setsockopt(&socket, sockopt::PassCred, &true).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        self.manager = Some(socket);
        self.arg_env("NOTIFY_SOCKET", path)
    }

    fn arg_env(mut self, name: &str, path: PathBuf) -> Self {
        self.env.insert(name.into(), path.into());
        self
    }

    /// Sockets passed as systemd does, with their names.
    pub(crate) fn sockets(mut self, named: Vec<(&str, OwnedFd)>) -> Self {
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        self.env.insert("LISTEN_FDNAMES".into(), names.join(":").into());
        self.env.insert("LISTEN_FDS".into(), named.len().to_string().into());
        self.sockets = named.into_iter().map(|(_, fd)| fd).collect();
        self
    }

    /// A terminal as descriptors 1 and 2.
    pub(crate) fn on_a_terminal(mut self) -> Self {
        self.output = Kind::Terminal;
        self
    }

    /// Descriptors 1 and 2 are pipes that nobody reads.
    pub(crate) fn unread(mut self) -> Self {
        self.output = Kind::Unread;
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Run {
        let transcript = Arc::new(Transcript::default());
        let (out, out_theirs) = std::io::pipe().unwrap();
        let (log, log_theirs) = std::io::pipe().unwrap();
        let (out, log) = (File::from(OwnedFd::from(out)), File::from(OwnedFd::from(log)));
        let mut unread = Vec::new();
        let pid = if self.output == Kind::Terminal {
            let terminal = nix::pty::openpty(None, None).unwrap();
            let pid =
                self.spawn([open_null().unwrap().as_fd(), terminal.slave.as_fd(), terminal.slave.as_fd()]);
            record_lines(&transcript, From::Out, File::from(terminal.master));
            pid
        } else {
            let pid = self.spawn([open_null().unwrap().as_fd(), out_theirs.as_fd(), log_theirs.as_fd()]);
            if self.output == Kind::Unread {
                unread = vec![out, log];
            } else {
                record_lines(&transcript, From::Out, out);
                record_lines(&transcript, From::Log, log);
            }
            pid
        };
        drop((out_theirs, log_theirs, std::mem::take(&mut self.sockets)));
        let recorder = self.manager.take().map(|manager| {
            let transcript = Arc::clone(&transcript);
            std::thread::spawn(move || record_datagrams(&transcript, &manager, pid))
        });
        let (waited, manager) = (Arc::clone(&transcript), self.path("manager"));
        std::thread::spawn(move || {
            let end = match waitpid(pid, None) {
                Ok(WaitStatus::Exited(_, code)) => format!("exit {code}"),
                Ok(WaitStatus::Signaled(_, signal, _)) => format!("signal {signal}"),
                other => format!("{other:?}"),
            };
            // All that it told is in the transcript before its end.
            if let Some(recorder) = recorder {
                let _ = UnixDatagram::unbound().and_then(|own| own.send_to(LAST.as_bytes(), manager));
                let _ = recorder.join();
            }
            waited.add(From::Exit, end);
        });
        Run { stage: self, pid, transcript, _unread: unread }
    }

    fn spawn(&self, stdio: [BorrowedFd<'_>; 3]) -> Pid {
        let ganger = env!("CARGO_BIN_EXE_ganger").into();
        let argv: Vec<OsString> =
            self.wrapper.iter().cloned().chain([ganger]).chain(self.args.iter().cloned()).collect();
        let template = Template::new(&Program {
            argv: &argv,
            env: &self.env,
            directory: Some(self.dir.path()),
            identity: None,
            open_files: None,
        });
        let template = template.unwrap();
        let fds: Vec<(RawFd, BorrowedFd<'_>)> = (3..).zip(self.sockets.iter().map(AsFd::as_fd)).collect();
        let pid_variables: &[&str] = if self.sockets.is_empty() { &[] } else { &["LISTEN_PID"] };
        let launch = Launch { stdio, fds: &fds, env: &[], pid_variables, cgroup: None, new_session: false };
        let spawning = template.spawn(&launch).unwrap();
        spawning.go().unwrap();
        Pid::from_raw(i32::try_from(spawning.child().pid()).unwrap())
    }
}

/// A supervisor that was started.
pub(crate) struct Run {
    stage: Stage,
    pid: Pid,
    transcript: Arc<Transcript>,
    /// Kept open, so that writing blocks rather than fails.
    _unread: Vec<File>,
}

impl Run {
    /// Waits until something of `from` pleases, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, from: From, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.nth(1, from, what, &wanted)
    }

    /// Waits until a line of the log contains `text`.
    #[track_caller]
    pub(crate) fn said(&self, text: &str) -> String {
        self.until(From::Log, text, |line| line.contains(text))
    }

    /// Waits until so many lines of the log contain `text`; returns the last one.
    #[track_caller]
    pub(crate) fn said_times(&self, count: usize, text: &str) -> String {
        self.nth(count, From::Log, text, &|line| line.contains(text))
    }

    /// Waits until a datagram to the service manager contains `text`.
    #[track_caller]
    pub(crate) fn told(&self, text: &str) -> String {
        self.until(From::Manager, text, |line| line.contains(text))
    }

    /// Waits until so many datagrams to the service manager contain `text`; returns the last one.
    #[track_caller]
    pub(crate) fn told_times(&self, count: usize, text: &str) -> String {
        self.nth(count, From::Manager, text, &|line| line.contains(text))
    }

    #[track_caller]
    fn nth(&self, count: usize, from: From, what: &str, wanted: &dyn Fn(&str) -> bool) -> String {
        let found = |entries: &[(From, String)], wanted: &dyn Fn(&str) -> bool| {
            let mut fitting = entries.iter().filter(|(source, text)| *source == from && wanted(text));
            fitting.nth(count - 1).map(|(_, text)| text.clone())
        };
        let (entries, _) = self
            .transcript
            .more
            .wait_timeout_while(self.transcript.lock(), PATIENCE, |entries| found(entries, wanted).is_none())
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = found(&entries, wanted);
        drop(entries);
        text.unwrap_or_else(|| panic!("{from:?} never said \"{what}\" {count} times"))
    }

    /// Everything so far of one source.
    pub(crate) fn all(&self, from: From) -> Vec<String> {
        let entries = self.transcript.lock();
        entries.iter().filter(|(source, _)| *source == from).map(|(_, text)| text.clone()).collect()
    }

    /// How many lines of the log contain `text`, so far.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.all(From::Log).iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for the end: `exit N` or `signal NAME`.
    #[track_caller]
    pub(crate) fn ended(&self) -> String {
        self.until(From::Exit, "the end", |_| true)
    }

    /// All lines of standard output, once it and its workers have ended.
    #[track_caller]
    pub(crate) fn output(&self) -> Vec<String> {
        self.until(From::End, "the end of its output", |_| true);
        self.all(From::Out)
    }

    /// Asks it to stop, and sees that it does so, with success and leaving nothing.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.ended(), "exit 0");
        assert_eq!(self.left_behind(), [] as [u32; 0]);
    }

    /// One that has ended by itself takes no signal any more: how it ended tells.
    pub(crate) fn signal(&self, signal: Signal) {
        match kill(self.pid, signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => panic!("{signal}: {errno}"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.stage.path(name)
    }

    pub(crate) fn configure(&mut self, config: &str) {
        self.stage.configure(config);
    }

    /// What it listens on, once it says so.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        let line = self.said("listening on ");
        let rest = line.split("listening on ").nth(1).unwrap();
        rest.split(' ').next().unwrap().to_owned()
    }

    /// The body of an answer; every request has a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        get(&self.address(), path)
    }

    /// Runs `ganger` as a client.
    pub(crate) fn client(&self, args: &[&str]) -> Output {
        self.client_command(args).output().unwrap()
    }

    /// A client to be.
    pub(crate) fn client_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
        let runtime = self.stage.path("ganger/app");
        command.args(args).env_clear().env("RUNTIME_DIRECTORY", runtime).stdin(std::process::Stdio::null());
        command
    }

    /// The pids of the workers that ganger says to run now.
    #[track_caller]
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        let out = self.client(&["status", "app"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Self::pids(&out)
    }

    /// The same; none while it does not answer yet.
    pub(crate) fn worker_pids_if_any(&self) -> Vec<u32> {
        Self::pids(&self.client(&["status", "app"]))
    }

    fn pids(out: &Output) -> Vec<u32> {
        let text = String::from_utf8_lossy(&out.stdout);
        let pid = |line: &str| line.split("pid ").nth(1)?.split([' ', ',']).next()?.parse().ok();
        text.lines().filter_map(pid).collect()
    }

    /// Every living process of this stage but the supervisor.
    pub(crate) fn left_behind(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.stage.dir.path().display());
        marked(&mark).into_iter().filter(|pid| *pid != self.pid()).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("transcript of {}:\n{}", self.stage.dir.path().display(), self.transcript);
        }
        if self.all(From::Exit).is_empty() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        loop {
            let left = self.left_behind();
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
            }
        }
    }
}

/// The answer's body.
#[track_caller]
pub(crate) fn get(address: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let done = if address.starts_with('/') {
        UnixStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut answer)
        })
    } else {
        TcpStream::connect(address).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut answer)
        })
    };
    done.unwrap_or_else(|err| panic!("GET {path} of {address}: {err}, after \"{answer}\""));
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("GET {path}: \"{answer}\"")).1.to_owned()
}

/// Whether this test may do what only root may; says so when it may not.
pub(crate) fn is_root(claim: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not shown without root: {claim}");
    }
    root
}

fn fill_in(text: &str, dir: &Path) -> String {
    let text = text.replace("@DIR@", dir.to_str().unwrap());
    if text.contains("@WORKER@") {
        text.replace("@WORKER@", harness::example("worker").to_str().unwrap())
    } else {
        text
    }
}

/// Processes with a variable in their environment. Zombies have none.
fn marked(mark: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(has).collect()
}

fn record_lines(transcript: &Arc<Transcript>, from: From, pipe: File) {
    let transcript = Arc::clone(transcript);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            transcript.add(from, String::from_utf8_lossy(&line).into_owned());
        }
        if from == From::Out {
            transcript.add(From::End, "end of output".to_owned());
        }
    });
}

/// Records what the supervisor says; what anybody else says, or a descriptor that comes along, is marked.
fn record_datagrams(transcript: &Transcript, socket: &UnixDatagram, supervisor: Pid) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut control = nix::cmsg_space!(nix::libc::ucred, [RawFd; 16]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let Ok(got) = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) else {
            return;
        };
        let (bytes, mut remarks) = (got.bytes, String::new());
        for message in got.cmsgs().unwrap() {
            let ControlMessageOwned::ScmCredentials(sender) = message else {
                remarks += &format!("[WITH {message:?}] ");
                continue;
            };
            if sender.pid() != supervisor.as_raw() {
                remarks += &format!("[FROM {}] ", sender.pid());
            }
        }
        let text = String::from_utf8_lossy(buffer.get(..bytes).unwrap()).into_owned();
        if text == LAST {
            return;
        }
        transcript.add(From::Manager, remarks + text.trim_end());
    }
}
