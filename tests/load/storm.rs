//! Many people at once: every command gets an answer, and what is left is what was last wished.
//!
//! `GANGER_STORM_SECONDS` says how long they go on (5; 30 with `GANGER_SOAK=1`).

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::wait_until;

use super::app::{App, cooperating, now, pid_of, row, soaking};

const CLIENTS: u64 = 50;

/// What the clients ask for.
const WISHES: [(&str, &[&str]); 8] = [
    ("reload", &[]),
    ("scale", &["2"]),
    ("scale", &["4"]),
    ("scale", &["--", "+1"]),
    ("restart", &[]),
    ("restart", &[":0"]),
    ("signal", &["CONT"]),
    ("status", &[]),
];

fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

/// One client: asks for one thing after the other, and sometimes dies in the middle of it.
fn client(app: &App, seed: u64, end: Duration, answered: &AtomicU64) {
    let mut random = seed;
    while now() < end {
        let (verb, rest) = WISHES[usize::try_from(next(&mut random)).unwrap() % WISHES.len()];
        let mut child = app.command(verb, rest).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        if next(&mut random).is_multiple_of(5) {
            // Somewhere between its first instruction and its answer.
            let looks = next(&mut random) % 20;
            let mut seen = 0;
            wait_until(|| {
                seen += 1;
                seen > looks
            });
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.signal().is_some() {
            continue;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        // Done, failed (superseded, refused), not there, partly; never usage, unreachable, lost from sight.
        let code = output.status.code().unwrap();
        assert!([0, 1, 3, 7].contains(&code), "{verb} {rest:?} ended with {code}: {said}");
        assert!(code == 0 || !said.trim().is_empty(), "{verb} {rest:?} failed without a word");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn f17_fifty_people_at_once_all_get_answers_and_the_pool_ends_as_last_wished() {
    let app = App::start(&cooperating(3, "[reload]\nbake = \"0s\""));
    let running = app.load().start();
    running.wait_for_answers(100);
    let seconds = std::env::var("GANGER_STORM_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = now() + Duration::from_secs(seconds.unwrap_or(if soaking() { 30 } else { 5 }));
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (app, answered) = (&app, &answered);
            scope.spawn(move || client(app, seed * 7919, end, answered));
        }
    });
    let answered = answered.into_inner();
    app.ask("scale", &["3"]).done();
    app.ask("reload", &[]).done();
    let status = app.wait_for_status(|status| {
        status["state"] == "serving" && status["workers"].as_array().unwrap().len() == 3
    });
    assert_eq!((&status["wanted"], &status["ready"]), (&3.into(), &3.into()), "{status:#}");
    let table: BTreeSet<u32> = status["workers"].as_array().unwrap().iter().map(pid_of).collect();
    assert!(wait_until(|| app.children() == table), "{:?} are there, not {table:?}", app.children());
    let report = running.stop();
    row("P7", &format!("{CLIENTS} people at once, {answered} commands"), &[&report]);
    report.assert_nothing_lost(1_000);
    app.stop();
}
