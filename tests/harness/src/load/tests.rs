//! Every class told apart by a server that misbehaves on purpose.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Worker: 0/3/1\r\n\r\nok";

/// A server that lets `behave` deal with each connection, and a load to it.
fn against(behave: impl Fn(TcpStream) + Send + 'static) -> Load {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(behave));
    Load::new(Target::Tcp(address)).connections(1).timeout(Duration::from_millis(500))
}

fn take_request(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    stream.read(&mut bytes).is_ok_and(|length| length > 0)
}

/// A reset rather than an end of file: closed with bytes unread.
fn reset(mut stream: TcpStream) {
    let mut one = [0; 1];
    let _ = stream.read(&mut one);
}

#[track_caller]
fn all_are(load: Load, class: Class) {
    let report = load.until(Until::Requests(3)).run();
    assert_eq!((report.sent, report.of(class)), (3, 3), "{report}");
    assert_eq!(report.lost(), if class == Class::Ok { 0 } else { 3 });
}

#[test]
fn a_good_answer_is_ok_with_and_without_keep_alive() {
    let serve = |mut stream: TcpStream| while take_request(&mut stream) && stream.write_all(GOOD).is_ok() {};
    all_are(against(serve), Class::Ok);
    all_are(against(serve).close_each(), Class::Ok);
}

#[test]
fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    all_are(Load::new(Target::Tcp(address)).connections(1), Class::Refused);
    all_are(Load::new(Target::Unix("/nonexistent/socket".into())), Class::Refused);
}

#[test]
fn a_fresh_connection_that_ends_or_is_reset_is_told_apart() {
    all_are(against(|mut stream| _ = take_request(&mut stream)), Class::EofFresh);
    all_are(against(reset), Class::ResetFresh);
}

#[test]
fn a_reused_connection_that_ends_or_is_reset_is_told_apart() {
    let end = |mut stream: TcpStream| {
        let _ = take_request(&mut stream) && stream.write_all(GOOD).is_ok() && take_request(&mut stream);
    };
    let report = against(end).until(Until::Requests(4)).run();
    assert_eq!((report.ok(), report.of(Class::EofReused)), (2, 2), "{report}");
    let report = against(move |mut stream| {
        let _ = take_request(&mut stream) && stream.write_all(GOOD).is_ok();
        reset(stream);
    });
    let report = report.until(Until::Requests(4)).run();
    assert_eq!((report.ok(), report.of(Class::ResetReused)), (2, 2), "{report}");
}

#[test]
fn an_answer_that_breaks_off_is_truncated_and_nonsense_is_malformed() {
    let saying = |bytes: &'static [u8]| {
        against(move |mut stream| {
            let _ = take_request(&mut stream) && stream.write_all(bytes).is_ok();
        })
    };
    all_are(saying(b"HTTP/1.1 200 O"), Class::Truncated);
    all_are(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal"), Class::Truncated);
    all_are(saying(b"SSH-2.0-x\r\n"), Class::Malformed);
    all_are(saying(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), Class::Status);
    all_are(saying(b"HTTP/1.0 200 OK\r\n\r\nuntil closed"), Class::Ok);
}

#[test]
fn silence_is_a_timeout() {
    let (held, _kept) = std::sync::mpsc::channel();
    all_are(
        against(move |stream| drop(held.send(stream))).timeout(Duration::from_millis(50)),
        Class::Timeout,
    );
}

#[test]
fn an_old_generation_is_wrong_once_a_newer_one_is_expected() {
    let serve = |mut stream: TcpStream| while take_request(&mut stream) && stream.write_all(GOOD).is_ok() {};
    let running = against(serve).start();
    running.wait_for_answers(10);
    running.expect_generation(3);
    running.wait_for_answers(10);
    running.expect_generation(4);
    assert!(crate::wait_until(|| {
        let before = running.answered();
        std::thread::sleep(Duration::from_millis(20));
        running.answered() == before
    }));
    let report = running.stop();
    assert!(report.of(Class::WrongGeneration) > 0, "{report}");
    assert_eq!(report.lost(), report.of(Class::WrongGeneration), "{report}");
    assert_eq!(report.workers.keys().collect::<Vec<_>>(), ["0/3/1"]);
}

#[test]
fn a_connection_closed_while_idle_costs_nothing() {
    let serve = |mut stream: TcpStream| {
        let _ = take_request(&mut stream) && stream.write_all(GOOD).is_ok();
    };
    let load = against(serve).pace(Pace::Closed(Duration::from_millis(20))).until(Until::Requests(4));
    let report = load.run();
    report.assert_nothing_lost(4);
    assert!(report.idle_closed >= 3, "{report}");
    assert_eq!(report.connections, 4, "{report}");
}

#[test]
fn a_constant_rate_is_kept_and_a_stall_shows_in_the_latency() {
    let serve = |mut stream: TcpStream| {
        while take_request(&mut stream) && stream.write_all(GOOD).is_ok() {
            std::thread::sleep(Duration::from_millis(4));
        }
    };
    // 500 a second from a server that manages 250: the last waits for half of the whole time.
    let load =
        against(serve).timeout(Duration::from_secs(5)).pace(Pace::Rate(500.0)).until(Until::Requests(100));
    let report = load.run();
    report.assert_nothing_lost(100);
    assert!(report.within(1000) >= Duration::from_millis(150), "{report}");
}
