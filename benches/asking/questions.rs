//! Questions in plain D-Bus bytes on the private socket, at a rate: a client that costs next to nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::rig::{now, pause};

/// Questions come in bursts, so many a second.
const BURSTS: u32 = 1000;

/// Somebody asks all the time.
pub(crate) struct Flood {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Flood {
    /// Asks `rate` times a second from now on.
    pub(crate) fn begin(socket: &Path, rate: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&over);
        let mut stream = enter(socket).expect("the private socket answers");
        let burst = usize::try_from(rate / BURSTS).expect("a small number");
        let questions: Vec<u8> = [READY, CPU].iter().cycle().take(burst).flat_map(question).collect();
        let thread = std::thread::spawn(move || {
            let began = now();
            let mut bursts = 0u32;
            while !theirs.load(Ordering::Relaxed) {
                stream.write_all(&questions).expect("questions are taken");
                for _ in 0..burst {
                    skip_answer(&mut stream).expect("an answer");
                }
                bursts += 1;
                pause((began + bursts * Duration::from_secs(1) / BURSTS).saturating_sub(now()));
            }
            let asked = f64::from(bursts) * f64::from(rate / BURSTS);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
            let rate = (asked / (now() - began).as_secs_f64()) as u32;
            rate
        });
        Self { over, thread }
    }

    /// Stops; returns how many questions a second were answered.
    pub(crate) fn end(self) -> u32 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("every question was answered")
    }

    /// One question; `false` when there is nobody to answer.
    pub(crate) fn ask_once(socket: &Path) -> bool {
        let Ok(mut stream) = enter(socket) else { return false };
        stream.write_all(&question(&READY)).is_ok() && skip_answer(&mut stream).is_ok()
    }
}

/// The handshake of a client (D-Bus Specification, "Authentication Protocol").
fn enter(socket: &Path) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    let uid = nix::unistd::getuid().to_string();
    let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
    }
    stream.write_all(b"BEGIN\r\n")?;
    Ok(stream)
}

/// Object, interface and property: what is known, and what has to be looked at.
type Question = [&'static str; 3];
const READY: Question = ["/org/ganger1", "org.ganger1.App", "Ready"];
const CPU: Question = ["/org/ganger1/worker/0", "org.ganger1.Worker", "CPUUsageNSec"];

/// `Get` of `org.freedesktop.DBus.Properties`.
fn question([object, interface, property]: &Question) -> Vec<u8> {
    let mut body = Vec::new();
    for text in [interface, property] {
        body.resize(body.len().next_multiple_of(4), 0);
        string(&mut body, text);
    }
    let mut fields = Vec::new();
    for (code, kind, text) in
        [(1, "o", *object), (2, "s", "org.freedesktop.DBus.Properties"), (3, "s", "Get"), (8, "g", "ss")]
    {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.push(code);
        signature(&mut fields, kind);
        if kind == "g" {
            signature(&mut fields, text);
        } else {
            string(&mut fields, text);
        }
    }
    // Little endian, a method call, no flags, version 1.
    let mut message = vec![b'l', 1, 0, 1];
    for number in [body.len(), 7, fields.len()] {
        message.extend(u32::try_from(number).expect("a small number").to_le_bytes());
    }
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}

fn string(into: &mut Vec<u8>, text: &str) {
    into.extend(u32::try_from(text.len()).expect("a short text").to_le_bytes());
    into.extend(text.bytes());
    into.push(0);
}

fn signature(into: &mut Vec<u8>, text: &str) {
    into.push(u8::try_from(text.len()).expect("a short text"));
    into.extend(text.bytes());
    into.push(0);
}

fn skip_answer(stream: &mut UnixStream) -> std::io::Result<()> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let number = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        usize::try_from(bytes.map_or(0, u32::from_le_bytes)).expect("a length")
    };
    // An error would be an answer as well.
    assert_eq!(head.get(1), Some(&2), "the question was refused");
    let mut rest = vec![0; number(12).next_multiple_of(8) + number(4)];
    stream.read_exact(&mut rest)
}
