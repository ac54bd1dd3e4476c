//! Requests a second of one small worker under ganger and of the same worker started bare, on the same listening
//! socket, in turn: ganger is out of the data path, so the ratio is one.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures, and fails by panicking"
)]

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::load::{Load, Target, Until};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_raw};
use rig::supervisor::{Setup, scratch};
use rig::{row, title};

/// Turns; each is one run of either.
const ROUNDS: usize = 10;
const SPAN: Duration = Duration::from_millis(1000);
const CONNECTIONS: usize = 16;
/// What one run differs from the next by, on a machine with others on it.
const NOISE: f64 = 0.05;

fn main() {
    rig::worker::unless_started_as_one();
    let worker = harness::example("worker").to_str().expect("a path in UTF-8").to_owned();
    title("requests a second, 1 worker, 16 keep-alive connections, on one socket in turn");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("its address");
    pass(listener);
    let (mut bare, mut kept, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever goes first has the cooler machine.
        let (alone, under) = if round % 2 == 0 {
            let alone = measured(&mut started_bare(&worker), address);
            (alone, measured(&mut started_by_ganger(&worker), address))
        } else {
            let under = measured(&mut started_by_ganger(&worker), address);
            (measured(&mut started_bare(&worker), address), under)
        };
        bare.push(alone);
        kept.push(under);
        ratios.push(under / alone);
    }
    row("bare", format!("{:.0}/s", middle(&mut bare)), "", None);
    row("under ganger", format!("{:.0}/s", middle(&mut kept)), "", None);
    let ratio = middle(&mut ratios);
    let (least, most) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
    let met = (ratio - 1.0).abs() <= NOISE;
    row(
        &format!("ratio, median of {ROUNDS} pairs ({least:.2} to {most:.2})"),
        format!("{ratio:.3}"),
        "1 within the noise",
        Some(met),
    );
}

/// What is started from here on finds it as descriptor 3 (sd_listen_fds(3)).
fn pass(listener: TcpListener) {
    // Out of the way first: it may be descriptor 3 itself, which would then stay close-on-exec.
    let high = fcntl(&listener, FcntlArg::F_DUPFD_CLOEXEC(10)).expect("a copy");
    drop(listener);
    // SAFETY: `high` is the copy that was just made; nobody owns descriptor 3, which stays open for ever.
    #[expect(unsafe_code, reason = "descriptors by their numbers")]
    let passed = unsafe { dup2_raw(BorrowedFd::borrow_raw(high), 3) }.expect("a descriptor to pass");
    std::mem::forget(passed);
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// `LISTEN_PID` has to be the pid of what runs in the end.
fn with_socket(program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"]);
    command.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn started_bare(worker: &str) -> Child {
    with_socket(&Command::new(worker)).spawn().expect("a worker")
}

fn started_by_ganger(worker: &str) -> Child {
    let directory = scratch();
    let mut setup = Setup::new(1, "");
    setup.command = vec![worker.to_owned()];
    setup.ready = "listening";
    with_socket(&setup.command(&directory)).spawn().expect("ganger")
}

/// Requests a second once it answers; then it is stopped.
fn measured(server: &mut Child, address: SocketAddr) -> f64 {
    answers(address);
    let load = Load::new(Target::Tcp(address)).connections(CONNECTIONS).until(Until::Elapsed(SPAN));
    let report = load.run();
    assert_eq!(report.lost(), 0, "{report}");
    kill(Pid::from_raw(i32::try_from(server.id()).expect("a pid")), Signal::SIGTERM).expect("it lives");
    server.wait().expect("it ends");
    report.rate()
}

/// The kernel takes the connection at once; the answer comes when there is a worker.
fn answers(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("the socket listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer comes");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}
