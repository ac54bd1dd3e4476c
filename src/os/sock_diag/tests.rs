//! Real connections, counted both ways.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

#[test]
fn the_accepting_side_of_a_connection_is_found_once_it_is_accepted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let client = std::net::TcpStream::connect(server).unwrap();
    let client = client.local_addr().map(|address| (client, address)).unwrap();
    if accepted(client.1, server).is_none() {
        eprintln!("netlink is not to be had here: nothing is shown");
        return;
    }
    assert_eq!(accepted(client.1, server), Some(0));
    let (connection, _) = listener.accept().unwrap();
    assert_eq!(accepted(client.1, server), crate::os::sockets::inode(&connection).ok());
}

use crate::os::sockets::{inode, listen, local_address};

#[test]
fn connections_are_counted_for_their_holder_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = local_address(&listener).unwrap().unwrap();
    let port = listener.local_addr().unwrap().port();
    let _clients: Vec<_> =
        (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    let served: Vec<_> = (0..2).map(|_| listener.accept().unwrap().0).collect();
    let inodes = |count: usize| served.iter().take(count).map(|one| inode(one).unwrap()).collect();
    let wildcard = Address::Inet(SocketAddr::new([0, 0, 0, 0].into(), port));
    let dual = Address::Inet(format!("[::]:{port}").parse().unwrap());
    for listeners in [vec![address.clone()], vec![wildcard], vec![dual], vec![address.clone(), address]] {
        assert_eq!(connections(&listeners, &inodes(2)), 2);
        assert_eq!(connections(&listeners, &inodes(1)), 1);
        assert_eq!(connections(&listeners, &BTreeSet::new()), 0);
    }
    let other = Address::Inet(SocketAddr::new([127, 0, 0, 2].into(), port));
    assert_eq!(connections(&[other], &inodes(2)), 0);
}

/// A process that serves connections of a moment is never seen to wait, and what it holds is in no list by the time
/// that the list is read: only a look at its own descriptors shows it.
#[test]
fn what_a_process_holds_of_a_listener_is_seen_in_its_own_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = local_address(&listener).unwrap().unwrap();
    let other = Address::Inet(SocketAddr::new([127, 0, 0, 1].into(), 1));
    let me = std::process::id();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(!holds_accepted(&[me], std::slice::from_ref(&address)), "a client and a listener are no service");
    let served = listener.accept().unwrap().0;
    assert!(holds_accepted(&[me], &[other.clone(), address.clone()]));
    assert!(!holds_accepted(&[me], &[other]), "it came by another listener");
    drop(client);
    assert!(holds_accepted(&[me], std::slice::from_ref(&address)), "the worker has not closed it yet");
    drop(served);
    assert!(!holds_accepted(&[me], &[address]));
}

#[test]
fn netlink_and_the_tables_agree() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let served = listener.accept().unwrap().0;
    let expected = Row { local: local_address(&listener).unwrap().unwrap(), inode: inode(&served).unwrap() };
    assert_eq!(tables::tcp(port), std::slice::from_ref(&expected));
    assert_eq!(netlink::tcp(port).unwrap_or_else(|| vec![expected.clone()]), [expected]);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a socket");
    let listener = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let served = listener.accept().unwrap().0;
    let expected = Row { local: Address::Unix(path), inode: inode(&served).unwrap() };
    assert!(tables::unix().contains(&expected));
    assert!(netlink::unix().is_none_or(|rows| rows.contains(&expected)));
    assert_eq!(connections(std::slice::from_ref(&expected.local), &[expected.inode].into()), 1);
}

#[test]
fn the_accept_queue_is_seen_and_a_backlog_that_a_worker_changed_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&listener, 17).unwrap();
    let _clients: Vec<_> =
        (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    assert_eq!(queue(&listener).unwrap(), Some(Queue { waiting: 3, backlog: 17 }));
    listen(&listener, 5).unwrap();
    assert_eq!(queue(&listener).unwrap().unwrap().backlog, 5);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, 9).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    if let Some(queue) = queue(&listener).unwrap() {
        assert_eq!(queue, Queue { waiting: 1, backlog: 9 });
    } else {
        assert!(netlink::unix().is_none(), "netlink is here, but the queue is not known");
    }
}
