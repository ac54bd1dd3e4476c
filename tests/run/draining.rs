//! What is shown of a worker that was asked to leave and still holds connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ganger::dbus::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Run, Stage};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Serves one connection until it hears a byte, and does not leave by itself.
const CLINGING: &str = r#"import select, signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.socket(fileno=3)
select.select([s], [], [])
c, _ = s.accept()
c.setblocking(True)
c.sendall(b"x")
c.recv(1)
c.close()
time.sleep(1000)"#;

/// The connections of a worker that drains, as the supervisor itself counts them: `ganger status` would make up for
/// it.
fn connections(run: &Run, pid: u32) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let view = runtime.block_on(async {
        let mut client = Client::connect(&run.path("ganger/app/private"), PATIENCE).await.unwrap();
        client.view(PATIENCE).await.unwrap()
    });
    let draining = view.workers.iter().find(|worker| worker.pid == Some(pid) && worker.state == "draining");
    draining?.connections
}

#[test]
fn the_connections_of_a_draining_worker_are_counted_until_it_has_none() {
    let config = format!(
        "command = ['python3', '-c', '''{CLINGING}''']\nlisten = ['127.0.0.1:0']\nworkers = 1\n\
         [stop]\ntimeout = '80s'\n[reload]\nbake = '0s'"
    );
    let run = Stage::new(&config).managed().start();
    run.told("STATUS=1/1 workers ready");
    let old = run.worker_pids()[0];
    let mut connection = TcpStream::connect(run.address()).unwrap();
    connection.read_exact(&mut [0]).unwrap();
    run.signal(Signal::SIGHUP);
    assert!(harness::wait_until(|| connections(&run, old) == Some(1)), "{:?}", connections(&run, old));
    connection.write_all(b"x").unwrap();
    assert!(harness::wait_until(|| connections(&run, old) == Some(0)), "{:?}", connections(&run, old));
    kill(Pid::from_raw(i32::try_from(old).unwrap()), Signal::SIGKILL).unwrap();
    run.told("STATUS=1/1 workers ready, generation 2");
}
