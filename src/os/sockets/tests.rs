//! Real sockets of every kind that a plan can ask for.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use super::*;
use crate::plan::{Address, Listen, SocketKind};

fn wanted(kind: SocketKind, address: Address) -> Listen {
    Listen { kind, address, name: "web".into(), backlog: 64 }
}

fn inet(text: &str) -> Address {
    Address::Inet(text.parse().unwrap())
}

fn port_of(address: &Address) -> SocketAddr {
    let Address::Inet(address) = address else { panic!("{address:?}") };
    *address
}

#[test]
fn port_0_becomes_a_port_and_both_families_are_answered() {
    let bound = bind(&wanted(SocketKind::Stream, inet("[::]:0"))).unwrap();
    let port = port_of(&bound.address).port();
    assert_ne!(port, 0);
    for host in ["127.0.0.1", "::1"] {
        TcpStream::connect((host, port)).unwrap();
    }
    assert!(is_nonblocking(&bound.fd).unwrap());
    assert!(is_accepting(&bound.fd).unwrap());
    let about = describe(&bound.fd).unwrap();
    assert_eq!(
        (about.kind, about.role, about.address),
        (SocketKind::Stream, Role::Accepting, Some(bound.address))
    );
    let only_v6 = bind(&wanted(SocketKind::Stream, inet("[::1]:0"))).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port_of(&only_v6.address).port())).is_err());
}

#[test]
fn every_kind_of_socket_is_bound_and_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| Address::Unix(directory.path().join(name));
    let name = format!("ganger-test-{}", std::process::id());
    let cases = [
        (SocketKind::Stream, path("stream"), Role::Accepting),
        (SocketKind::Datagram, path("datagram"), Role::Datagrams),
        (SocketKind::SeqPacket, path("seqpacket"), Role::Accepting),
        (SocketKind::Stream, Address::Abstract(name.into_bytes()), Role::Accepting),
        (SocketKind::Stream, inet("127.0.0.1:0"), Role::Accepting),
        (SocketKind::Datagram, inet("[::1]:0"), Role::Datagrams),
    ];
    for (kind, address, role) in cases {
        let bound = bind(&wanted(kind, address)).unwrap();
        let about = describe(&bound.fd).unwrap();
        assert_eq!((about.kind, about.role), (kind, role));
        assert_eq!(about.address, Some(bound.address));
        assert_eq!(about.inode, inode(&bound.fd).unwrap());
    }
}

#[test]
fn a_connection_and_an_idle_socket_are_told_from_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(describe(&client).unwrap().role, Role::Connection);
    let (one, _other) = UnixDatagram::pair().unwrap();
    assert_eq!(describe(&one).unwrap().role, Role::Connection);
    assert_eq!(describe(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap().role, Role::Datagrams);
    let idle =
        socket::socket(socket::AddressFamily::Inet, socket::SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    assert_eq!(describe(idle.unwrap()).unwrap().role, Role::Idle);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(describe(file).unwrap_err().errno(), nix::libc::ENOTSOCK);
}

#[test]
fn a_path_that_a_dead_process_left_is_replaced_and_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listen = wanted(SocketKind::Stream, Address::Unix(path.clone()));
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let bound = bind(&listen).unwrap();
    UnixStream::connect(&path).unwrap();
    let error = bind(&listen).unwrap_err();
    assert_eq!(error.errno(), nix::libc::EADDRINUSE);
    assert!(error.to_string().contains("app.sock"), "{error}");
    drop(bound);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(bind(&listen).unwrap_err().errno(), nix::libc::EADDRINUSE);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let taken = bind(&wanted(SocketKind::Stream, inet("127.0.0.1:0"))).unwrap();
    let error = bind(&wanted(SocketKind::Stream, taken.address.clone())).unwrap_err();
    assert_eq!(error.to_string(), format!("listen on {}: address already in use", port_of(&taken.address)));
    let long = Address::Unix(Path::new("/tmp").join("x".repeat(200)));
    assert_eq!(bind(&wanted(SocketKind::Stream, long)).unwrap_err().errno(), nix::libc::ENAMETOOLONG);
}

#[test]
fn a_worker_that_shuts_the_shared_socket_down_is_found_out_and_undone() {
    // A port that the kernel chose would be given up by shutdown(2): ask for a number.
    let chosen = bind(&wanted(SocketKind::Stream, inet("127.0.0.1:0"))).unwrap().address;
    let bound = bind(&wanted(SocketKind::Stream, chosen)).unwrap();
    let workers = bound.fd.try_clone().unwrap();
    socket::shutdown(workers.as_raw_fd(), socket::Shutdown::Both).unwrap();
    assert!(!is_accepting(&bound.fd).unwrap());
    listen(&bound.fd, 64).unwrap();
    assert!(is_accepting(&bound.fd).unwrap());
    let client = TcpStream::connect(port_of(&bound.address)).unwrap();
    let served = accept(&bound.fd).unwrap().unwrap();
    assert_eq!(local_address(&served).unwrap(), Some(bound.address));
    assert_eq!(accept(&bound.fd).unwrap().map(drop), None);
    drop(client);
}

#[test]
fn f24_an_unlinked_or_replaced_path_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let noted = SocketPath::note(&path).unwrap();
    assert!(noted.is_intact());
    std::fs::rename(&path, directory.path().join("kept")).unwrap();
    assert!(!noted.is_intact());
    let _other = UnixListener::bind(&path).unwrap();
    assert!(!noted.is_intact(), "another socket of the same path");
    noted.remove().unwrap();
    assert!(path.exists(), "what is not ours stays");
    assert!(SocketPath::note(Path::new("/etc/passwd")).is_err());
}

#[test]
fn only_what_was_inherited_can_be_taken_and_only_once() {
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(take_inherited(ours.as_raw_fd()).unwrap_err().errno(), nix::libc::EBADF);
    // As if inherited: open, no owner here, not close-on-exec.
    let number = nix::unistd::dup(&ours).map(std::os::fd::IntoRawFd::into_raw_fd).unwrap();
    let taken = take_inherited(number).unwrap();
    assert_eq!(taken.as_raw_fd(), number);
    assert_eq!(take_inherited(number).unwrap_err().errno(), nix::libc::EBADF);
    for number in [-1, i32::MAX] {
        assert_eq!(take_inherited(number).unwrap_err().errno(), nix::libc::EBADF);
    }
}

#[test]
fn the_peer_of_a_unix_connection_is_known() {
    let (one, _other) = UnixStream::pair().unwrap();
    let peer = peer_credentials(&one).unwrap();
    assert_eq!((peer.pid, peer.uid), (std::process::id(), nix::unistd::getuid().as_raw()));
}
