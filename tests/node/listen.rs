//! Every way to call `listen()` or `bind()`, on every version, in both schedulings.

use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::time::Duration;

use ganger::node::{Fit, Note, Policy, Report, Trust, UniqueId};
use ganger::plan::Unmatched;

use super::client;
use super::pool::{Fact, Pool, ROUND_ROBIN, SHARED, Sockets, here, prepared, versions};

/// A pool of two workers of one variant, both started.
fn pair(version: &str, policy: Policy, variant: &str, sockets: &Sockets) -> (Pool, [UniqueId; 2]) {
    let mut pool = Pool::new(version, policy, "variant.cjs", sockets.all())
        .env("VARIANT", variant)
        .env("PORT", sockets.port())
        .env("UDP", sockets.udp.local_addr().unwrap().port())
        .env("UNIX", sockets.path.display())
        .env("ABSTRACT", &sockets.name)
        .env("OTHER", free_port())
        .env("FIXTURES", prepared(&["tls"]).display());
    let workers = [pool.spawn(), pool.spawn()];
    (pool, workers)
}

fn all_listening(pool: &mut Pool, workers: [UniqueId; 2]) {
    for worker in workers {
        pool.listening(worker);
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

fn everywhere(mut check: impl FnMut(&str, Policy)) {
    for version in versions() {
        for policy in [SHARED, ROUND_ROBIN] {
            eprintln!("node {version}, {:?}", policy.balance);
            check(&version, policy);
        }
    }
}

#[test]
fn every_tcp_listen_on_the_inherited_port_is_served_by_the_inherited_socket() {
    everywhere(|version, policy| {
        for variant in [
            "port",
            "port as text",
            "IPv4 loopback",
            "localhost",
            "IPv4 any",
            "IPv6 any",
            "IPv6 loopback",
            "IPv6 only",
            "backlog",
            "fd",
            "again after close",
        ] {
            let sockets = Sockets::new();
            let (mut pool, workers) = pair(version, policy, variant, &sockets);
            for worker in workers {
                let address = pool.said(worker, "ADDRESS");
                assert_eq!(address["port"], sockets.port(), "{variant} on {version}: {address}");
            }
            let address = sockets.address();
            let body = pool.during(move || client::once(address, "/").unwrap());
            assert!(["1", "2"].contains(&body.as_str()), "{variant} on {version}: {body}");
        }
    });
}

#[test]
fn unix_paths_and_abstract_names_are_served_by_the_inherited_sockets() {
    everywhere(|version, policy| {
        let sockets = Sockets::new();
        let (mut pool, workers) = pair(version, policy, "unix path", &sockets);
        all_listening(&mut pool, workers);
        let path = sockets.path.clone();
        let answer = pool.during(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            client::ask(&mut stream, "/", "close").unwrap()
        });
        assert!(["1", "2"].contains(&answer.body.as_str()));

        let sockets = Sockets::new();
        let (mut pool, workers) = pair(version, policy, "abstract", &sockets);
        all_listening(&mut pool, workers);
        let name = UnixAddress::from_abstract_name(&sockets.name).unwrap();
        let answer = pool.during(move || {
            let mut stream = UnixStream::connect_addr(&name).unwrap();
            client::ask(&mut stream, "/", "close").unwrap()
        });
        assert!(["1", "2"].contains(&answer.body.as_str()));
    });
}

#[test]
fn udp_sockets_are_inherited_in_both_schedulings() {
    everywhere(|version, policy| {
        for variant in ["udp4", "udp4 any", "udp fd"] {
            let sockets = Sockets::new();
            let port = sockets.udp.local_addr().unwrap().port();
            let (mut pool, workers) = pair(version, policy, variant, &sockets);
            for worker in workers {
                assert_eq!(pool.said(worker, "ADDRESS")["port"], port, "{variant} on {version}");
            }
            let answer = pool.during(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                socket.send_to(b"?", ("127.0.0.1", port)).unwrap();
                let mut bytes = [0; 8];
                let (count, _) = socket.recv_from(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes[..count]).into_owned()
            });
            assert!(["1", "2"].contains(&answer.as_str()));
        }
    });
}

#[test]
fn port_0_is_one_port_for_all_workers() {
    everywhere(|version, policy| {
        for variant in ["port 0", "no port"] {
            let sockets = Sockets::new();
            let (mut pool, workers) = pair(version, policy, variant, &sockets);
            let ports = workers.map(|worker| pool.said(worker, "ADDRESS")["port"].as_u64().unwrap());
            assert_eq!(ports[0], ports[1], "{variant} on {version}");
            assert_ne!(ports[0], u64::from(sockets.port()));
            let address = ([127, 0, 0, 1], u16::try_from(ports[0]).unwrap()).into();
            pool.during(move || client::once(address, "/").unwrap());
        }
    });
}

#[test]
fn a_listen_that_makes_no_sense_is_an_error_event_of_the_app() {
    everywhere(|version, policy| {
        for (variant, code) in [("fd of a datagram socket", "EINVAL"), ("fd out of range", "EINVAL")] {
            let sockets = Sockets::new();
            let (mut pool, workers) = pair(version, policy, variant, &sockets);
            for worker in workers {
                assert_eq!(pool.said(worker, "ERROR")["code"], code, "{variant} on {version}");
            }
        }
        let sockets = Sockets::new();
        let (mut pool, workers) = pair(version, policy, "twice", &sockets);
        for worker in workers {
            assert_eq!(pool.said(worker, "SECOND"), "EADDRINUSE", "twice on {version}");
        }
    });
}

#[test]
fn https_and_http2_servers_get_the_inherited_socket() {
    everywhere(|version, policy| {
        for variant in ["https", "http2"] {
            let sockets = Sockets::new();
            let (mut pool, workers) = pair(version, policy, variant, &sockets);
            for worker in workers {
                assert_eq!(pool.said(worker, "ADDRESS")["port"], sockets.port(), "{variant} on {version}");
            }
        }
    });
}

#[test]
fn tls_sessions_are_taken_up_by_every_worker() {
    everywhere(|version, policy| {
        let sockets = Sockets::new();
        let (mut pool, workers) = pair(version, policy, "https", &sockets);
        all_listening(&mut pool, workers);
        let mut client = std::process::Command::new(&pool.node);
        client
            .arg(here().join("apps/tls-client.cjs"))
            .env("PORT", sockets.port().to_string())
            .env("COUNT", "8");
        let output = pool.during(move || client.output().unwrap());
        let resumed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(resumed, "7", "on {version}: {}", String::from_utf8_lossy(&output.stderr));
    });
}

#[test]
fn the_only_inherited_socket_serves_an_app_that_asks_for_another_port() {
    everywhere(|version, policy| {
        let sockets = Sockets::new();
        let other = free_port();
        let mut pool = Pool::new(version, policy, "variant.cjs", sockets.only_tcp())
            .env("VARIANT", "another port")
            .env("OTHER", other);
        let workers = [pool.spawn(), pool.spawn()];
        all_listening(&mut pool, workers);
        let address = sockets.address();
        pool.during(move || client::once(address, "/").unwrap());
        pool.wait("a note that names both", |fact| match fact {
            Fact::Report(Report::Noted {
                note: Note::Inexact { wanted, got, fit: Fit::Adopted }, ..
            }) => (wanted.contains(&other.to_string()) && got.contains(&address.port().to_string()))
                .then_some(()),
            Fact::Report(_) | Fact::Said(..) | Fact::Exited(..) => None,
        });
    });
}

#[test]
fn a_second_port_is_bound_for_all_workers_and_refused_where_policy_says_so() {
    everywhere(|version, policy| {
        let sockets = Sockets::new();
        let (mut pool, workers) = pair(version, policy, "two ports", &sockets);
        let seconds = workers.map(|worker| pool.said(worker, "SECOND"));
        let address = ([127, 0, 0, 1], u16::try_from(seconds[0]["port"].as_u64().unwrap()).unwrap()).into();
        pool.during(move || client::once(address, "/").unwrap());

        let sockets = Sockets::new();
        let refusing = Policy { unmatched: Unmatched::Refuse, ..policy };
        let (mut pool, workers) = pair(version, refusing, "another port", &sockets);
        assert_eq!(pool.said(workers[0], "ERROR")["code"], "EACCES");
    });
}

#[test]
fn a_worker_of_lesser_rights_gets_no_file_and_no_privileged_port() {
    let version = versions().pop().unwrap();
    let policy = Policy { trust: Trust::Lesser, ..SHARED };
    let sockets = Sockets::new();
    let (mut pool, workers) = pair(&version, policy, "a privileged port", &sockets);
    assert_eq!(pool.said(workers[0], "ERROR")["code"], "EACCES");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.sock");
    for (policy, made) in [(policy, false), (SHARED, true)] {
        let sockets = Sockets::new();
        let mut pool = Pool::new(&version, policy, "variant.cjs", sockets.all())
            .env("VARIANT", "a path of its own")
            .env("OTHER_UNIX", path.display());
        let worker = pool.spawn();
        if made {
            pool.said(worker, "ADDRESS");
            assert!(path.exists());
        } else {
            assert_eq!(pool.said(worker, "ERROR")["code"], "EACCES");
            assert!(!path.exists());
        }
    }
    assert!(!path.exists(), "a file that was made for the app goes with its socket");
}
