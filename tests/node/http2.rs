//! HTTP/2: sessions do not keep a worker, and lose nothing when it goes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use ganger::node::{Policy, UniqueId};

use super::pool::{Pool, ROUND_ROBIN, SHARED, Sockets, here, prepared, versions};

/// What `work.cjs` calls its HTTP/2 servers: with TLS and HTTP/1.1, with TLS, without TLS.
const SERVERS: [&str; 3] = ["2", "3", "4"];

/// `h2-client.cjs`, whose standard input ends with the test.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Client {
    fn start(sockets: &Sockets, server: &str, env: (&str, &str)) -> Self {
        let mut command = Command::new(prepared(&["node", versions().last().unwrap()]));
        command.arg(here().join("apps/h2-client.cjs")).env("PORT", sockets.port().to_string());
        command.envs((server == "4").then_some(("PLAIN", "1"))).envs([env]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, input, output }
    }

    /// Its next line.
    fn says(&mut self, pool: &mut Pool) -> String {
        let mut output = self.output.take().unwrap();
        let (line, output) = pool.during(move || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            (line, output)
        });
        self.output = Some(output);
        line.trim().to_owned()
    }

    fn stop(&mut self) {
        drop(self.input.take());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pool(version: &str, policy: Policy, sockets: &Sockets, server: &str) -> Pool {
    Pool::new(version, policy, "work.cjs", sockets.all())
        .env("PORT", sockets.port())
        .env("TLS", server)
        .env("FIXTURES", prepared(&["tls"]).display())
}

fn started(pool: &mut Pool) -> UniqueId {
    let worker = pool.spawn();
    pool.listening(worker);
    worker
}

#[test]
fn http2_sessions_are_told_to_go_and_streams_finish() {
    for version in versions() {
        for server in SERVERS {
            let sockets = Sockets::new();
            let mut pool = pool(&version, SHARED, &sockets, server).env("MS", 1500);
            let worker = started(&mut pool);
            let mut client = Client::start(&sockets, server, ("HOLD", "1"));
            assert_eq!(client.says(&mut pool), "held", "on {version}, server {server}");
            pool.drain(worker, Duration::from_secs(30));
            // By itself: the stop signal, shortly before the timeout, would be another end.
            assert_eq!(pool.exited(worker), Some(0), "on {version}, server {server}");
            let heard: serde_json::Value = serde_json::from_str(&client.says(&mut pool)).unwrap();
            let expected = serde_json::json!({
                "idle": { "code": 0, "last": 1 },
                "late": { "code": 0, "last": 0 },
                "silent": { "code": 0, "last": 0 },
                "streaming": { "code": 0, "last": 1 },
                "stream": { "code": 0, "pieces": 11 },
            });
            assert_eq!(heard, expected, "on {version}, server {server}");
        }
    }
}

#[test]
fn a_client_that_never_closes_its_side_does_not_keep_a_worker() {
    for version in versions() {
        for server in SERVERS {
            let sockets = Sockets::new();
            let quick = ("GANGER_IDLE_GRACE_MS", 100); // for the one that has not begun its TLS
            let mut pool = pool(&version, SHARED, &sockets, server).env("MS", 10).env(quick.0, quick.1);
            let worker = started(&mut pool);
            let mut client = Client::start(&sockets, server, ("HOLD", "1"));
            assert_eq!(client.says(&mut pool), "held", "on {version}, server {server}");
            let pid = nix::unistd::Pid::from_raw(client.child.id().try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
            pool.drain(worker, Duration::from_secs(8));
            assert_eq!(pool.exited(worker), Some(0), "on {version}, server {server}");
        }
    }
}

#[test]
fn a_rolling_replacement_under_http2_loses_nothing() {
    for version in versions() {
        for (policy, server) in [(SHARED, "4"), (ROUND_ROBIN, "4"), (SHARED, "2"), (ROUND_ROBIN, "3")] {
            let sockets = Sockets::new();
            let mut pool = pool(&version, policy, &sockets, server);
            let mut workers = vec![started(&mut pool), started(&mut pool)];
            let mut client = Client::start(&sockets, server, ("WANTED", "500"));
            assert_eq!(client.says(&mut pool), "enough", "on {version}, server {server}");
            for _ in 0..4 {
                pool.generation += 1;
                workers.push(started(&mut pool));
                let old = workers.remove(0);
                pool.drain(old, Duration::from_secs(30));
                assert_eq!(pool.exited(old), Some(0), "on {version}, server {server}");
            }
            client.stop();
            let line = client.says(&mut pool);
            eprintln!("node {version}, {:?}, http2 ({server}): {line}", policy.balance);
            let tally: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(tally["lost"], 0, "on {version}, server {server}");
            // The sessions of the old workers were left.
            assert!(tally["sessions"].as_u64().unwrap() > 4, "on {version}, server {server}");
        }
    }
}
