//! Every method with arguments of every type, far too many, far too deep and far too long, on the private socket and
//! on a bus: each call is answered by what it asked for or by an error with a name, and none reaches the daemon
//! unless its types are right.
//!
//! Messages are put together here byte by byte, for a library would refuse to make most of them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use ganger::dbus::{Bus, Server, interface_xml, interfaces};
use ganger::pool::Outcome;

use crate::bus::{NAME, listener, open_directory, owned, strict_bus};
use crate::fake::{Fake, PATIENCE};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// What one value is made of: all bits of a number, and this as a string.
#[derive(Clone, Copy)]
struct Filling<'a> {
    bits: u64,
    text: &'a str,
    /// Variants within a variant.
    depth: u32,
}

/// Marshals one value of the type at the front of `signature`; the rest of it is returned (D-Bus specification,
/// "Marshaling").
fn put<'s>(bytes: &mut Vec<u8>, signature: &'s str, filling: Filling<'_>) -> &'s str {
    let (kind, rest) = signature.split_at(1);
    let number = filling.bits.to_le_bytes();
    let mut sized = |size: usize| {
        align(bytes, size);
        bytes.extend(&number[..size]);
    };
    match kind {
        "y" => sized(1),
        "n" | "q" => sized(2),
        "i" | "u" => sized(4),
        "x" | "t" | "d" => sized(8),
        "b" => {
            align(bytes, 4);
            bytes.extend(u32::from(filling.bits & 1 == 1).to_le_bytes());
        }
        "s" => put_text(bytes, filling.text),
        "o" => put_text(bytes, "/org/ganger1"),
        "g" => bytes.extend(b"\x01s\0"),
        "v" => {
            let (inner, deeper) = if filling.depth == 0 {
                ("i", filling)
            } else {
                ("v", Filling { depth: filling.depth - 1, ..filling })
            };
            bytes.extend([1, inner.as_bytes()[0], 0]);
            put(bytes, inner, deeper);
        }
        "a" => {
            align(bytes, 4);
            let place = bytes.len();
            bytes.extend([0; 4]);
            align(bytes, if rest.starts_with(['(', '{', 'x', 't', 'd']) { 8 } else { 4 });
            let begin = bytes.len();
            let rest = put(bytes, rest, filling);
            let length = u32::try_from(bytes.len() - begin).unwrap().to_le_bytes();
            bytes[place..place + 4].copy_from_slice(&length);
            return rest;
        }
        "(" | "{" => {
            align(bytes, 8);
            let mut rest = rest;
            while !rest.starts_with([')', '}']) {
                rest = put(bytes, rest, filling);
            }
            return &rest[1..];
        }
        other => unreachable!("no type {other}"),
    }
    rest
}

fn field(bytes: &mut Vec<u8>, code: u8, kind: u8, text: &str) {
    align(bytes, 8);
    bytes.extend([code, 1, kind, 0]);
    if kind == b'g' {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
        bytes.push(0);
    } else {
        put_text(bytes, text);
    }
}

/// One thing to call: object, interface, method.
type Target = (String, String, String);

fn call(serial: u32, to: Option<&str>, target: &Target, signature: &str, filling: Filling<'_>) -> Vec<u8> {
    let (mut body, mut fields) = (Vec::new(), Vec::new());
    let mut rest = signature;
    while !rest.is_empty() {
        rest = put(&mut body, rest, filling);
    }
    field(&mut fields, 1, b'o', &target.0);
    field(&mut fields, 2, b's', &target.1);
    field(&mut fields, 3, b's', &target.2);
    if let Some(to) = to {
        field(&mut fields, 6, b's', to);
    }
    if !signature.is_empty() {
        field(&mut fields, 8, b'g', signature);
    }
    let mut message = vec![b'l', 1, 0, 1];
    for number in [u32::try_from(body.len()).unwrap(), serial, u32::try_from(fields.len()).unwrap()] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    align(&mut message, 8);
    message.extend(body);
    message
}

/// A peer that knows no library.
struct Peer {
    stream: UnixStream,
    serial: u32,
    to: Option<&'static str>,
}

impl Peer {
    fn new(path: &std::path::Path, to: Option<&'static str>) -> Self {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n").unwrap();
        let mut answers = Vec::new();
        while answers.iter().filter(|byte| **byte == b'\n').count() < 2 {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answers.extend(byte);
        }
        stream.write_all(b"BEGIN\r\n").unwrap();
        let mut peer = Self { stream, serial: 0, to: Some("org.freedesktop.DBus") };
        let hello = ["/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"].map(str::to_owned);
        peer.ask(&hello.into(), "", Filling { bits: 0, text: "", depth: 0 }).unwrap();
        peer.to = to;
        peer
    }

    /// `Err` has the error's name.
    fn ask(&mut self, target: &Target, signature: &str, filling: Filling<'_>) -> Result<(), String> {
        self.send(target, signature, filling);
        loop {
            if let Some((serial, answer)) = self.receive()
                && serial == self.serial
            {
                return answer;
            }
        }
    }

    fn send(&mut self, target: &Target, signature: &str, filling: Filling<'_>) {
        self.serial += 1;
        let message = call(self.serial, self.to, target, signature, filling);
        self.stream.write_all(&message).unwrap();
    }

    /// The next message, if it is an answer: to which call, and which.
    fn receive(&mut self) -> Option<(u32, Result<(), String>)> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).unwrap();
        let number = |bytes: &[u8], at: usize| {
            usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
        };
        let (body, length) = (number(&head, 4), number(&head, 12));
        let mut fields = vec![0; length.next_multiple_of(8) + body];
        self.stream.read_exact(&mut fields).unwrap();
        let (mut at, mut serial, mut error) = (0, 0, String::new());
        while at < length {
            at = at.next_multiple_of(8);
            let (code, kind) = (fields[at], fields[at + 2]);
            at += 4;
            match kind {
                b'g' => at += usize::from(fields[at]) + 2,
                b'u' => {
                    serial = if code == 5 { number(&fields, at) } else { serial };
                    at += 4;
                }
                _ => {
                    let long = number(&fields, at);
                    if code == 4 {
                        error = String::from_utf8_lossy(&fields[at + 4..at + 4 + long]).into_owned();
                    }
                    at += 4 + long + 1;
                }
            }
        }
        let serial = u32::try_from(serial).unwrap();
        match head[1] {
            2 => Some((serial, Ok(()))),
            3 => Some((serial, Err(error))),
            _ => None,
        }
    }
}

/// Every method that there is, with the types that it takes.
fn methods() -> Vec<(Target, String)> {
    let mut methods: Vec<(Target, String)> = Vec::new();
    let mut add = |path: &str, interface: &str, method: &str, takes: &str| {
        methods.push(((path.to_owned(), interface.to_owned(), method.to_owned()), takes.to_owned()));
    };
    for (name, path) in interfaces().into_iter().zip(["/org/ganger1", "/org/ganger1/worker/0"]) {
        let xml = interface_xml(name).unwrap();
        for method in xml.split("<method name=\"").skip(1) {
            let (method, rest) = method.split_once('"').unwrap();
            let own = rest.split("</method>").next().unwrap();
            let takes = own.split("<arg ").filter(|arg| arg.contains("direction=\"in\""));
            let kind = |arg: &str| arg.split("type=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            // A method without arguments is written as one tag.
            let takes: String = takes.map(kind).collect();
            add(path, name, method, &takes);
        }
        for (method, takes) in [("Get", "ss"), ("GetAll", "s"), ("Set", "ssv")] {
            add(path, PROPERTIES, method, takes);
        }
        add(path, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        add(path, "org.freedesktop.DBus.Peer", "Ping", "");
        add(path, "org.freedesktop.DBus.Peer", "GetMachineId", "");
        add(path, name, "NoSuchMethod", "");
    }
    add("/org/ganger1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "");
    add("/no/such/object", "org.ganger1.App", "Reload", "");
    methods
}

/// Signatures of every basic type, every container, the deepest and the longest that D-Bus allows.
fn signatures() -> Vec<String> {
    let basic = "ybnqiuxtdsogv".chars();
    let mut all: Vec<String> = basic.clone().map(String::from).collect();
    all.extend(basic.clone().map(|kind| format!("a{kind}")));
    all.extend(basic.clone().map(|kind| format!("i{kind}")));
    all.extend(basic.map(|kind| format!("({kind})")));
    all.extend(
        ["", "is", "ss", "ssv", "si", "iss", "a{sv}", "a{oa{sa{sv}}}", "(is)", "a(is)"].map(String::from),
    );
    all.push(format!("{}y", "a".repeat(32)));
    all.push(format!("{}y{}", "(".repeat(32), ")".repeat(32)));
    all.push("s".repeat(255));
    all
}

/// Asks everything, and gives how many answers were no error.
fn ask_everything(peer: &mut Peer) -> usize {
    let long = "9".repeat(100_000);
    let fillings = [
        Filling { bits: 0, text: "", depth: 0 },
        Filling { bits: u64::MAX, text: "-1\u{1b}[2J\u{202e}", depth: 50 },
        Filling { bits: 1 << 63 | 1 << 31 | 1 << 15, text: "Ready", depth: 1 },
    ];
    let mut done = 0;
    for (target, takes) in methods() {
        let mut calls: Vec<(String, Filling<'_>)> = Vec::new();
        for signature in signatures() {
            calls.extend(fillings.iter().map(|filling| (signature.clone(), *filling)));
        }
        calls.push(("s".to_owned(), Filling { bits: 0, text: &long, depth: 0 }));
        calls.push(("is".to_owned(), Filling { bits: 0, text: &long, depth: 0 }));
        for (signature, filling) in calls {
            match peer.ask(&target, &signature, filling) {
                // Introspectable, Peer and ObjectManager take what they do not need.
                Ok(()) => {
                    let own = target.1.starts_with("org.ganger1.") || target.1 == PROPERTIES;
                    assert!(!own || signature == takes, "{target:?} took \"{signature}\" for \"{takes}\"");
                    done += 1;
                }
                Err(name) => {
                    let known = name.starts_with("org.freedesktop.DBus.Error.");
                    assert!(known, "{target:?} with \"{signature}\": {name}");
                    let silent = name.ends_with(".NoReply") || name.ends_with(".Disconnected");
                    assert!(!silent, "{target:?} with \"{signature}\": {name}");
                }
            }
        }
    }
    done
}

#[tokio::test]
async fn arguments_of_every_type_are_answered_on_the_private_socket() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    let daemon = fake.always(Outcome::Done);
    let socket = fake.socket();
    let done =
        tokio::task::spawn_blocking(move || ask_everything(&mut Peer::new(&socket, None))).await.unwrap();
    assert!(done > 20, "{done} were done");
    assert_eq!(fake.client().await.view(PATIENCE).await.unwrap().app, "my-app");
    daemon.abort();
}

#[tokio::test]
async fn arguments_of_every_type_are_answered_on_a_bus() {
    let mut fake = Fake::new();
    let daemon = strict_bus(open_directory(&fake));
    let (_connection, mut stream) = listener(&daemon.address).await;
    let _server = Server::bus(Bus::SystemAt(daemon.address.clone()), fake.hub.clone());
    owned(&mut stream, "").await;
    drop((_connection, stream));
    let asked = fake.always(Outcome::Done);
    let path = fake.directory.path().join("bus");
    let huge = "9".repeat(1 << 20);
    let done = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::new(&path, Some(NAME));
        // What is too long for the supervisor is thrown away; the bus's connection carries others' calls as well.
        let scale = ["/org/ganger1", "org.ganger1.App", "Scale"].map(str::to_owned).into();
        peer.send(&scale, "s", Filling { bits: 0, text: &huge, depth: 0 });
        ask_everything(&mut peer)
    });
    let done = done.await.unwrap();
    assert!(done > 20, "{done} were done");
    asked.abort();
}
