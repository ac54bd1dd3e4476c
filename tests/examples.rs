//! Each worker in `examples/` runs under ganger as its config file says: two workers answer on one socket,
//! SIGHUP replaces them, SIGTERM leaves nothing behind.
//!
//! An interpreter that is not installed is said loudly and, where the variable `CI` is set, fails the test;
//! `tests/prepare-examples` installs what is needed. How much a framework loses under load is not asked here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and speaks on stderr"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "examples/fastcgi.rs"]
mod fastcgi;

/// The longest silence that is not a failure (a JVM compiling its program on a busy machine).
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two bursts of requests, ganger's output is listened to for so long.
const PACE: Duration = Duration::from_millis(50);
/// So many bursts may pass before what is waited for has happened.
const BURSTS: u32 = 1_200;
/// Requests at once, so that more than one worker gets some.
const BURST: usize = 8;

/// One example: what it needs, and how it is asked.
struct Example {
    config: &'static str,
    needs: &'static [&'static str],
    ask: fn(u16) -> std::io::Result<String>,
}

impl Example {
    const fn http(config: &'static str, needs: &'static [&'static str]) -> Self {
        Self { config, needs, ask: get }
    }
}

#[test]
fn rust_workers_answer_are_replaced_and_leave() {
    let built = hello_binary();
    check(&Example::http("rust/hello-rust.toml", &[]), &[("target/release/examples/hello", &built)]);
}

#[test]
fn python_workers_answer_are_replaced_and_leave() {
    check(&Example::http("python/hello-python.toml", &["python3"]), &[]);
}

#[test]
fn uvicorn_workers_answer_are_replaced_and_leave() {
    check(&Example::http("uvicorn/hello-uvicorn.toml", &["uvicorn"]), &[]);
}

#[test]
fn gunicorn_workers_answer_are_replaced_and_leave() {
    check(&Example::http("gunicorn/hello-gunicorn.toml", &["gunicorn"]), &[]);
}

#[test]
fn node_workers_on_descriptor_3_answer_are_replaced_and_leave() {
    check(&Example::http("node-fd/hello-node-fd.toml", &["node"]), &[]);
}

#[test]
fn unmodified_node_workers_answer_are_replaced_and_leave() {
    check(&Example::http("node/hello-node.toml", &["node"]), &[]);
}

#[test]
fn ruby_workers_answer_are_replaced_and_leave() {
    check(&Example::http("ruby/hello-ruby.toml", &["puma"]), &[]);
}

#[test]
fn php_workers_answer_are_replaced_and_leave() {
    check(&Example { config: "php/hello-php.toml", needs: &["php-cgi"], ask: fastcgi_page }, &[]);
}

#[test]
fn java_workers_answer_are_replaced_and_leave() {
    check(&Example::http("java/hello-java.toml", &["java", "javac"]), &[]);
}

#[test]
fn go_workers_answer_are_replaced_and_leave() {
    let example = Example::http("go/hello-go.toml", &["go"]);
    if missing(&example) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("hello-go");
    let source = root().join("examples/go/main.go");
    let status = Command::new("go").arg("build").arg("-o").arg(&binary).arg(source).status().unwrap();
    assert!(status.success(), "go build failed");
    check(&example, &[("target/hello-go", binary.to_str().unwrap())]);
}

#[test]
fn every_example_with_a_config_file_is_run_here() {
    let here = fs::read_to_string(root().join("tests/examples.rs")).unwrap();
    for dir in fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(files) = fs::read_dir(&dir) else { continue };
        for file in
            files.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("toml".as_ref()))
        {
            let name = file.strip_prefix(root().join("examples")).unwrap().to_str().unwrap();
            assert!(here.contains(&format!("\"{name}\"")), "examples/{name} is run by no test");
        }
    }
}

/// The whole life of one example; `replace` exchanges words of its config file (paths of built programs).
fn check(example: &Example, replace: &[(&str, &str)]) {
    if missing(example) {
        return;
    }
    let mut ganger = Ganger::start(example.config, replace);
    let port = ganger.port();

    let first = ganger.answering(example.ask, port, &BTreeSet::new());
    ganger.signal(Signal::SIGHUP);
    let second = ganger.answering(example.ask, port, &first);
    assert!(first.is_disjoint(&second), "workers of before the reload still answer: {first:?}, {second:?}");

    ganger.signal(Signal::SIGTERM);
    let status = ganger.exit_status();
    assert!(status.success(), "ganger ended with {status}\n{}", ganger.said);
    assert_eq!(ganger.processes(), BTreeSet::new(), "processes are left over\n{}", ganger.said);
}

/// What ganger does that a test waits for.
enum Heard {
    Line(String),
    Exited(ExitStatus),
}

/// A running `ganger run`, ended on drop whatever happened.
struct Ganger {
    pid: Pid,
    heard: Receiver<Heard>,
    said: String,
    ended: Option<ExitStatus>,
    dir: tempfile::TempDir,
}

impl Ganger {
    fn start(config: &str, replace: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = root().join("examples").join(config);
        let mut text = fs::read_to_string(&source).unwrap();
        for (from, to) in replace {
            assert!(text.contains(from), "{config} does not name {from}");
            text = text.replace(from, to);
        }
        // The copy stands elsewhere; the workers run where the original is.
        text = text.replace("directory = \".\"", &format!("directory = {:?}", source.parent().unwrap()));
        let file = dir.path().join(source.file_name().unwrap());
        fs::write(&file, text).unwrap();
        let runtime = dir.path().join("ganger").join(source.file_stem().unwrap());
        fs::create_dir_all(&runtime).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ganger"))
            .arg("run")
            .arg(&file)
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(root())
            .env("RUNTIME_DIRECTORY", runtime)
            .env("EXAMPLE_RUN", dir.path())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, heard) = channel();
        relay(child.stdout.take().unwrap(), send.clone());
        relay(child.stderr.take().unwrap(), send.clone());
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        thread::spawn(move || wait(child, &send));
        Self { pid, heard, said: String::new(), ended: None, dir }
    }

    /// The next thing that is heard within `patience`.
    fn hear(&mut self, patience: Duration) -> Result<(), RecvTimeoutError> {
        match self.heard.recv_timeout(patience)? {
            Heard::Line(line) => {
                self.said.push_str(&line);
                self.said.push('\n');
            }
            Heard::Exited(status) => self.ended = Some(status),
        }
        Ok(())
    }

    /// The port that ganger says it listens on.
    fn port(&mut self) -> u16 {
        loop {
            if let Some(port) = announced_port(&self.said) {
                return port;
            }
            let heard = self.hear(PATIENCE);
            assert!(heard.is_ok() && self.ended.is_none(), "no port was printed\n{}", self.said);
        }
    }

    /// Asks until two workers answered in one burst and none that is in `before`; these workers' pids.
    fn answering(
        &mut self,
        ask: fn(u16) -> std::io::Result<String>,
        port: u16,
        before: &BTreeSet<u32>,
    ) -> BTreeSet<u32> {
        let mut last = BTreeSet::new();
        for _ in 0..BURSTS {
            let answers = burst(ask, port);
            for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                // While workers change, a framework may drop a fresh connection; refusing is ganger's fault.
                let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
                assert!(!refused && !before.is_empty(), "a request failed: {error}\n{}", self.said);
            }
            last = answers.into_iter().flatten().collect();
            if last.len() >= 2 && last.is_disjoint(before) {
                return last;
            }
            let _ = self.hear(PACE);
            assert!(self.ended.is_none(), "ganger ended\n{}", self.said);
        }
        panic!("two new workers never answered: before {before:?}, last {last:?}\n{}", self.said);
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    fn exit_status(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.ended {
                return status;
            }
            assert!(self.hear(PATIENCE).is_ok(), "ganger does not end\n{}", self.said);
        }
    }

    /// Every process that has this run's mark in its environment.
    fn processes(&self) -> BTreeSet<u32> {
        let mark = format!("EXAMPLE_RUN={}", self.dir.path().display());
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(marked).collect()
    }
}

impl Drop for Ganger {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        for pid in self.processes().into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn relay(stream: impl Read + Send + 'static, to: Sender<Heard>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if to.send(Heard::Line(line)).is_err() {
                return;
            }
        }
    });
}

fn wait(mut child: Child, to: &Sender<Heard>) {
    let status = child.wait().unwrap();
    drop(to.send(Heard::Exited(status)));
}

/// The first port other than 0 behind `127.0.0.1:`.
fn announced_port(said: &str) -> Option<u16> {
    said.split("127.0.0.1:").skip(1).find_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().filter(|port| *port != 0)
    })
}

/// Several requests at once; the pid that each answer names.
fn burst(ask: fn(u16) -> std::io::Result<String>, port: u16) -> Vec<std::io::Result<u32>> {
    thread::scope(|scope| {
        let asked: Vec<_> =
            (0..BURST).map(|_| scope.spawn(move || ask(port).and_then(|text| pid_in(&text)))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn pid_in(answer: &str) -> std::io::Result<u32> {
    let pid = answer.rsplit_once("pid ").and_then(|(_, pid)| pid.trim().parse().ok());
    pid.ok_or_else(|| std::io::Error::other(format!("no pid in the answer {answer:?}")))
}

/// One HTTP request on a connection of its own.
fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // A chunked body has its end mark behind the text.
    Ok(answer.trim_end().trim_end_matches("\r\n0").trim_end().to_owned())
}

/// The PHP example's page.
fn fastcgi_page(port: u16) -> std::io::Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    fastcgi::get(stream, &root().join("examples/php/index.php"))
}

/// Whether something that the example needs is not installed; in CI that is a failure.
fn missing(example: &Example) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let Some(absent) = example.needs.iter().find(|program| !installed(program)) else { return false };
    let config = example.config;
    let message =
        format!("examples/{config} was NOT RUN: {absent} is not installed (tests/prepare-examples)");
    assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "{message}");
    eprintln!("{message}");
    true
}

/// The Rust worker, built beside the ganger that is tested.
fn hello_binary() -> String {
    let dir = Path::new(env!("CARGO_BIN_EXE_ganger")).parent().unwrap();
    let hello = dir.join("examples/hello");
    if !hello.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--quiet", "--example", "hello"]);
        if dir.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "examples/hello.rs does not build");
    }
    hello.into_os_string().into_string().unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
