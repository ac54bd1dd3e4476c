//! What a worker answers for a connection that is handed over, line by line: with the preload one line for both of
//! Node's, and both where that could be taken for something else.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ganger::node::{Connection, Received, UniqueId, Way, environment};
use ganger::proto::node::{Data, Frame, Key, Outcome, Seq, ToWorker};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::client;
use super::pool::{prepared, versions};

/// A worker and this test's end of its channel.
struct Raw {
    child: Child,
    channel: Connection,
    key: Key,
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Raw {
    /// A worker whose server listens in round-robin.
    fn new(version: &str, preload: bool, app: &str) -> Self {
        let (channel, theirs) = Connection::pair().unwrap();
        let mut command = Command::new("sh");
        // The channel comes as standard input and becomes descriptor 3.
        command.args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"]).arg(prepared(&["node", version]));
        if preload {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/node/drain.cjs");
            command.arg("--require").arg(file);
        }
        let mut script = tempfile::Builder::new().suffix(".cjs").tempfile().unwrap();
        writeln!(script, "const server = require('http').createServer((_, r) => r.end('1\\n')); {app}")
            .unwrap();
        command.arg(script.path()).envs(environment(UniqueId::new(1).unwrap(), Way::Direct, None));
        let child = command.stdin(Stdio::from(theirs)).spawn().unwrap();
        let key = Key("g0".to_owned());
        let mut raw = Self { child, channel, key };
        let ack = loop {
            let frame = raw.hear();
            if let Frame::Query(query) = frame {
                break query.seq;
            }
            assert_eq!(frame, Frame::Online);
        };
        let (key, data) = (raw.key.clone(), Data::default());
        raw.say(&ToWorker::Answer { ack, key, outcome: Outcome::RoundRobin(None), data, seq: 0 }, None);
        assert!(matches!(raw.hear(), Frame::Listening(_)));
        raw
    }

    fn say(&mut self, message: &ToWorker, handle: Option<OwnedFd>) {
        self.channel.send(message.encode(false), handle.map(Arc::new)).unwrap();
    }

    fn hear(&mut self) -> Frame {
        loop {
            if let Some((frame, _)) = self.channel.next_frame().unwrap() {
                return frame.unwrap();
            }
            let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::from(60_000_u16)).unwrap(), 1, "not a word for a minute");
            assert_ne!(self.channel.read_ready(&mut [0; 4096]).unwrap(), Received::End, "it is gone");
        }
    }

    /// Hands a new connection over; its other end.
    fn hand(&mut self, seq: Seq, arrives: bool) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client::connect(listener.local_addr().unwrap()).unwrap();
        let connection = listener.accept().unwrap().0;
        connection.set_nonblocking(true).unwrap();
        let key = self.key.clone();
        self.say(&ToWorker::NewConnection { key, seq }, arrives.then(|| connection.into()));
        client
    }
}

const LISTENS: &str = "server.listen(3000);";

fn reply(ack: Seq, accepted: bool, arrived: bool) -> Frame {
    Frame::Reply { ack, accepted, arrived }
}

#[test]
fn with_the_preload_one_line_answers_for_a_connection_and_its_envelope() {
    for version in versions() {
        let mut worker = Raw::new(&version, true, LISTENS);
        for seq in 1..4 {
            let mut client = worker.hand(seq, true);
            assert_eq!(worker.hear(), reply(seq, true, true), "on {version}");
            assert_eq!(client::ask(&mut client, "/", "close").unwrap().body, "1\n", "on {version}");
        }
        // Nothing else was said: here is the next word.
        let _none = worker.hand(4, false);
        assert_eq!(worker.hear(), Frame::HandleNack, "on {version}");
    }
}

#[test]
fn without_the_preload_a_worker_answers_for_both() {
    for version in versions() {
        let mut worker = Raw::new(&version, false, LISTENS);
        let mut client = worker.hand(1, true);
        assert_eq!([worker.hear(), worker.hear()], [Frame::HandleAck, reply(1, true, false)], "on {version}");
        assert_eq!(client::ask(&mut client, "/", "close").unwrap().body, "1\n", "on {version}");
    }
}

#[test]
fn a_connection_beyond_the_limit_is_refused_in_one_line() {
    // Node 14 knows no limit here.
    for version in versions().into_iter().filter(|version| !version.starts_with("14.")) {
        let mut worker = Raw::new(&version, true, "server.maxConnections = 1; server.listen(3000);");
        let _first = worker.hand(1, true);
        assert_eq!(worker.hear(), reply(1, true, true), "on {version}");
        let _second = worker.hand(2, true);
        assert_eq!(worker.hear(), reply(2, false, true), "on {version}");
    }
}

/// An answer for a connection waits behind a handle that the app sends, and answers for envelopes do not: they must not
/// change places.
#[test]
fn while_a_handle_of_the_apps_is_unanswered_the_envelope_is_answered_for_by_itself() {
    let app = "server.listen(3000); server.on('connection', (socket) => {
        if (socket.remotePort && !process.sent) { process.sent = true; process.send('here', socket, { keepOpen: true }); }
    });";
    for version in versions() {
        let mut worker = Raw::new(&version, true, app);
        let _first = worker.hand(1, true);
        assert_eq!([worker.hear(), worker.hear()], [reply(1, true, true), Frame::Handle], "on {version}");
        let _second = worker.hand(2, true);
        assert_eq!(worker.hear(), Frame::HandleAck, "on {version}");
        let _none = worker.hand(3, false);
        assert_eq!(worker.hear(), Frame::HandleNack, "on {version}");
        worker.say(&ToWorker::HandleAck, None);
        assert_eq!(worker.hear(), reply(2, true, false), "on {version}");
        let _fourth = worker.hand(4, true);
        assert_eq!(worker.hear(), reply(4, true, true), "on {version}");
    }
}
