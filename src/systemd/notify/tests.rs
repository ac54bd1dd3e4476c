//! The notifier against real datagram sockets, full, replaced and absent ones included.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, recvmsg};

use super::*;

fn receiver(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn take(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

fn take_all(socket: &UnixDatagram) -> Vec<String> {
    std::iter::from_fn(|| take(socket)).collect()
}

fn status(text: &str) -> Message {
    Message::new(Kind::Status, &[Assignment::Status(text)])
}

fn ready() -> Message {
    Message::new(Kind::State, &[Assignment::Ready])
}

fn stopping() -> Message {
    Message::new(Kind::State, &[Assignment::Stopping])
}

/// Sends until the receiver's queue is full; what was sent comes first when it is read.
fn fill(notifier: &mut Notifier) -> usize {
    (0..100_000).position(|_| notifier.send(ready()).unwrap() == Sent::Later).unwrap()
}

fn is_writable(notifier: &Notifier) -> bool {
    let mut fds = [PollFd::new(notifier.socket().unwrap(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn a_message_reaches_a_path_and_an_abstract_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = receiver(&path);
    assert_eq!(Notifier::to(path.as_os_str()).unwrap().send(ready()).unwrap(), Sent::Now);
    assert_eq!(take(&socket).unwrap(), "READY=1\n");

    let name = format!("ganger-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
    assert_eq!(notifier.send(stopping()).unwrap(), Sent::Now);
    assert_eq!(take(&socket).unwrap(), "STOPPING=1\n");
}

#[test]
fn while_the_socket_is_full_the_newest_status_waits_and_no_state_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = receiver(&path);
    let mut notifier = Notifier::to(path.as_os_str()).unwrap();
    let taken = fill(&mut notifier);
    assert_eq!((notifier.pending(), is_writable(&notifier)), (1, false));
    for text in ["one", "two", "three"] {
        assert_eq!(notifier.send(status(text)).unwrap(), Sent::Later);
    }
    notifier.send(stopping()).unwrap();
    notifier.send(Message::new(Kind::Watchdog, &[Assignment::Watchdog])).unwrap();
    notifier.send(Message::new(Kind::Watchdog, &[Assignment::Watchdog])).unwrap();
    notifier.send(status("four")).unwrap();
    assert_eq!(notifier.pending(), 4);

    assert_eq!(take_all(&socket).len(), taken);
    assert!(is_writable(&notifier), "an event loop would not have been woken");
    assert_eq!(notifier.flush().unwrap(), Sent::Now);
    assert_eq!(notifier.pending(), 0);
    assert_eq!(take_all(&socket), ["READY=1\n", "STOPPING=1\n", "WATCHDOG=1\n", "STATUS=four\n"]);
}

#[test]
fn a_receiver_that_never_reads_costs_a_bounded_queue() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = receiver(&path);
    let mut notifier = Notifier::to(path.as_os_str()).unwrap();
    fill(&mut notifier);
    notifier.send(status("lost before any state")).unwrap();
    for _ in 0..1000 {
        notifier.send(ready()).unwrap();
    }
    notifier.send(stopping()).unwrap();
    assert_eq!((notifier.pending(), notifier.forgotten()), (MAX_WAITING, 1000 + 3 - MAX_WAITING as u64));
    let mut all = Vec::new();
    while notifier.pending() > 0 {
        all.extend(take_all(&socket));
        notifier.flush().unwrap();
    }
    all.extend(take_all(&socket));
    assert_eq!(all.last().unwrap(), "STOPPING=1\n");
    assert!(!all.iter().any(|text| text.starts_with("STATUS=")));
}

#[test]
fn a_replaced_receiver_is_found_again_on_the_same_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let old = receiver(&path);
    let mut notifier = Notifier::to(path.as_os_str()).unwrap();
    notifier.send(ready()).unwrap();
    let number = notifier.socket().unwrap().as_raw_fd();
    drop(old);
    std::fs::remove_file(&path).unwrap();
    let gone = notifier.send(status("lost")).unwrap_err();
    assert!(gone.to_string().contains("No such file"), "{gone}");
    assert_eq!(notifier.pending(), 0);

    let new = receiver(&path);
    assert_eq!(notifier.send(status("back")).unwrap(), Sent::Now);
    assert_eq!(take_all(&new), ["STATUS=back\n"]);
    assert_eq!(notifier.socket().unwrap().as_raw_fd(), number);
}

#[test]
fn without_a_service_manager_nothing_is_sent() {
    let mut notifier = Notifier::inert();
    assert_eq!(notifier.send(ready()).unwrap(), Sent::Inert);
    assert!(notifier.is_inert() && notifier.socket().is_none() && notifier.pending() == 0);
}

#[test]
fn an_address_that_cannot_be_one_is_explained() {
    for (address, word) in [
        ("run/x", "absolute"),
        ("@", "missing"),
        ("vsock:2:1", "vsock"),
        (&format!("/{}", "x".repeat(200)), "long"),
    ] {
        let error = Notifier::to(OsStr::new(address)).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_stored_descriptor_travels_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = receiver(&path);
    let mut notifier = Notifier::to(path.as_os_str()).unwrap();
    let name = crate::systemd::fdstore::name("state").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    notifier.send(crate::systemd::fdstore::keep(&name, file.into())).unwrap();

    let mut buffer = [0; 512];
    let mut iov = [std::io::IoSliceMut::new(&mut buffer)];
    let mut space = cmsg_space!(i32);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty()).unwrap();
    let mut fds = Vec::new();
    for beside in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(passed) = beside {
            fds.extend(passed);
        }
    }
    let length = message.bytes;
    assert_eq!(fds.len(), 1);
    let target = std::fs::read_link(format!("/proc/self/fd/{}", fds[0])).unwrap();
    nix::unistd::close(fds[0]).unwrap();
    assert_eq!(target, Path::new("/dev/null"));
    assert_eq!(&buffer[..length], b"FDSTORE=1\nFDNAME=ganger/state\nFDPOLL=0\n");
}
