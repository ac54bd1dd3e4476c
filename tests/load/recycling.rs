//! Workers that are replaced for their age or their memory: new ones first, one at a time, nothing lost.

use std::time::Duration;

use harness::load::{Pace, Until};

use super::app::{App, cooperating, memory_kib, row, soaking};

#[test]
fn f27_workers_of_one_age_are_recycled_without_a_stampede() {
    let app = App::start(&cooperating(16, "[recycle]\nlifetime = \"1s\"\njitter = \"50%\""));
    let before = app.ready_pids();
    assert_eq!(before.len(), 16);
    let running = app.load().start();
    let peak = app.watch_children();
    let rounds = if soaking() { 20 } else { 2 };
    app.wait_for_status(|status| {
        assert_eq!(status["ready"], 16, "{status:#}");
        app.log().matches("reached its lifetime").count() >= 16 * rounds * 2
    });
    let most = peak.most();
    assert!(most > 16 && most <= 17, "{most} processes for 16 places");
    let report = running.stop();
    row("P1", &format!("{} workers recycled for their age, 16 at work", 16 * rounds), &[&report]);
    report.assert_nothing_lost(1_000);
    assert!(app.ready_pids().iter().all(|pid| !before.contains(pid)), "somebody was never recycled");
    assert_eq!(app.status()["restarts"], 0, "recycling is no failure");
    app.stop();
}

#[test]
fn f28_a_leaking_worker_is_replaced_in_time_and_gracefully_without_control_groups() {
    const LIMIT_MIB: u64 = 300;
    let app = App::start(&cooperating(2, &format!("[recycle]\nmemory = \"{LIMIT_MIB}M\"")));
    let first = app.ready_pids();
    // 50 MiB a second in all: the pace that the measuring is meant for.
    let length = Duration::from_secs(if soaking() { 60 } else { 16 });
    let leaking =
        app.load().close_each().path("/leak/5").pace(Pace::Rate(10.0)).until(Until::Elapsed(length));
    let busy = app.load().start();
    let leaking = leaking.start();
    let (mut most, mut most_at_once) = (0, 0);
    let mut replaced = 0;
    while leaking.answered() < u64::try_from(length.as_millis()).unwrap() / 100 - 1 {
        let children = app.children();
        most_at_once = most_at_once.max(children.len());
        most = children.iter().map(|pid| memory_kib(*pid, "VmRSS")).fold(most, u64::max);
        replaced = app.log().matches("is asked to leave: it used").count();
        leaking.wait_for_answers(1);
    }
    let report = leaking.finish();
    eprintln!("{replaced} replaced, the largest had {} MiB; {report}", most / 1024);
    let busy = busy.stop();
    row("P1", &format!("{replaced} workers recycled for 50 MiB/s of leaked memory"), &[&report, &busy]);
    report.assert_nothing_lost(100);
    busy.assert_nothing_lost(1_000);
    assert!(replaced >= 1, "{}", app.log());
    assert!(most / 1024 < LIMIT_MIB * 12 / 10, "{} MiB", most / 1024);
    assert!(most_at_once <= 3, "{most_at_once} processes for 2 places");
    assert!(app.ready_pids() != first && app.status()["restarts"] == 0);
    app.stop();
}
