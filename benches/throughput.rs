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
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::load::{Load, Target, Until};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_raw};
use rig::supervisor::{Setup, scratch};
use rig::{row, title};

/// Each is one run bare, one under ganger, one bare.
const ROUNDS: usize = 15;
const SPAN: Duration = Duration::from_millis(400);
const CONNECTIONS: usize = 16;
/// Smaller differences are noise in any case.
const LEAST_NOISE: f64 = 0.03;

fn main() {
    rig::worker::unless_started_as_one();
    let worker = harness::example("worker").to_str().expect("a path in UTF-8").to_owned();
    title("requests a second, 1 worker, 16 keep-alive connections, on one socket in turn");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("its address");
    pass(listener);
    let directory = scratch();
    let (mut bare, mut kept, mut ratios, mut control) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = measured(&mut started_bare(&worker), address);
        let under = measured(&mut started_by_ganger(&worker, &directory), address);
        let after = measured(&mut started_bare(&worker), address);
        bare.extend([before, after]);
        kept.push(under);
        ratios.push(under * 2.0 / (before + after));
        control.push(before / after);
    }
    let _ = std::fs::remove_dir_all(directory);
    row("bare", format!("{:.0}/s", part(&mut bare, 0.5)), "", None);
    row("under ganger", format!("{:.0}/s", part(&mut kept, 0.5)), "", None);
    let ratio = part(&mut ratios, 0.5);
    // Half of the runs of the very same thing differ by more than this.
    let noise = (part(&mut control, 0.75) - part(&mut control, 0.25)) / 2.0;
    let aim = format!("1 ± {:.3}", noise.max(LEAST_NOISE));
    row(
        &format!("ratio, median of {ROUNDS} rounds"),
        format!("{ratio:.3}"),
        aim,
        Some((ratio - 1.0).abs() <= noise.max(LEAST_NOISE)),
    );
    row("    the same of bare to bare", format!("{:.3}", part(&mut control, 0.5)), "", None);
}

/// The value below which a share of all lies.
fn part(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "a place in a short list"
    )]
    let place = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
    values.get(place).copied().unwrap_or(0.0)
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

fn started_by_ganger(worker: &str, directory: &Path) -> Child {
    let mut setup = Setup::new(1, "");
    setup.command = vec![worker.to_owned()];
    setup.ready = "listening";
    with_socket(&setup.command(directory)).spawn().expect("ganger")
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
