//! Rolling replacement under load: no request is lost, whatever the clients do.

use std::time::Duration;

use harness::load::{Load, Pace, Report};

use super::app::{App, cooperating, row, soaking, worker};

const QUICK: &str = "[reload]\nbake = \"50ms\"";

/// Reloads under this load until both so many reloads and so many answers are there.
fn roll(app: &App, habit: &str, load: Load, reloads: u64, requests: u64) -> Report {
    let running = load.start();
    running.wait_for_answers(10);
    let (mut done, first) = (0, app.status()["generation"].as_u64().unwrap());
    while done < reloads || running.answered() < requests {
        app.ask("reload", &[]).done();
        done += 1;
    }
    assert_eq!(app.status()["generation"], first + done);
    let report = running.stop();
    eprintln!("{report}");
    row("P1", &format!("{done} reloads, {habit}"), &[&report]);
    report.assert_nothing_lost(requests);
    report
}

/// Each of the four habits that clients have gets its share of reloads and of requests.
fn in_every_mode(reloads: u64, requests: u64) {
    let app = App::start(&cooperating(3, QUICK));
    let think = Pace::Closed(Duration::from_millis(10));
    let mut lost_and_sent = (0, 0);
    for (habit, load, share) in [
        ("keep-alive, busy", app.load(), 4),
        ("keep-alive, 10 ms think time", app.load().connections(40).pace(think), 2),
        ("a connection for each request", app.load().close_each(), 4),
        // A drain, and so the reload, waits for the last of them.
        ("requests of 200 ms", app.load().connections(100).path("/sleep/200"), 1),
    ] {
        let report = roll(&app, habit, load, reloads, requests * share / 10);
        lost_and_sent = (lost_and_sent.0 + report.lost(), lost_and_sent.1 + report.sent);
    }
    assert!(lost_and_sent.0 == 0 && lost_and_sent.1 >= requests, "{lost_and_sent:?}");
    app.stop();
}

#[test]
fn no_request_is_lost_in_a_rolling_reload_whatever_clients_do() {
    in_every_mode(5, 10_000);
}

#[test]
fn soak_no_request_of_100_000_is_lost_in_rolling_reloads() {
    if soaking() {
        in_every_mode(20, 150_000);
    }
}

#[test]
fn f02_nobody_waits_for_a_worker_that_is_slow_to_start() {
    let surge = "[reload]\nbake = \"0s\"\nmax-surge = 2";
    let app = App::start(&cooperating(2, surge));
    let running = app.load().start();
    running.wait_for_answers(100);
    let boot = if soaking() { 10_000 } else { 3_000 };
    app.configure(&cooperating(2, &format!("{surge}\n[env]\nWORKER_READY_AFTER = \"{boot}\"")));
    app.ask("reload", &[]).done();
    let report = running.stop();
    row("P1", &format!("reload to workers that need {boot} ms to start"), &[&report]);
    report.assert_nothing_lost(100);
    assert!(report.elapsed > Duration::from_millis(boot), "{report}");
    assert!(report.within(999) < Duration::from_millis(boot / 6), "somebody waited for a start: {report}");
}

#[test]
fn f03_busy_keep_alive_connections_do_not_hold_an_old_worker() {
    let timeout = "[stop]\ntimeout = \"60s\"";
    let app = App::start(&cooperating(2, &format!("{QUICK}\n{timeout}")));
    let thinking = app.load().connections(60).pace(Pace::Closed(Duration::from_millis(100))).start();
    let busy = app.load().connections(60).start();
    busy.wait_for_answers(500);
    thinking.wait_for_answers(60);
    for _ in 0..2 {
        app.ask("reload", &[]).done();
    }
    assert!(!app.log().contains("did not leave in time"), "{}", app.log());
    let (thinking, busy) = (thinking.stop(), busy.stop());
    row("P1", "2 reloads, 120 keep-alive connections, half of them never idle", &[&thinking, &busy]);
    thinking.assert_nothing_lost(60);
    busy.assert_nothing_lost(500);
}

#[test]
fn f03_a_worker_that_will_not_leave_is_shown_draining_and_ends_at_its_stop_timeout() {
    let config = |more: &str| {
        let command = worker(&["--notify", "--ignore-term"]);
        format!("command = {command}\nworkers = 1\n{QUICK}\n[ready]\nwhen = \"notify\"\n{more}")
    };
    let app = App::start(&config("[stop]\ntimeout = \"1500ms\""));
    let running = app.load().connections(20).start();
    running.wait_for_answers(100);
    let mut reload = app.command("reload", &[]).spawn().unwrap();
    let status = app.wait_for_status(|status| {
        status["workers"].as_array().unwrap().iter().any(|worker| worker["state"] == "draining")
    });
    let draining = status["workers"].as_array().unwrap().iter().find(|worker| worker["state"] == "draining");
    assert!(draining.unwrap()["deadline_usec"].is_u64(), "{status:#}");
    assert!(reload.wait().unwrap().success());
    assert_eq!(app.log().matches("did not leave in time").count(), 1, "{}", app.log());
    // What was in the killed worker is lost, one request a connection at the most; nothing else is.
    let report = running.stop();
    row("P1", "a reload of a worker that ignores SIGTERM, 20 busy connections", &[&report]);
    assert!(report.lost() <= 20, "{report}");
}

#[test]
fn f07_a_reload_never_has_more_than_max_surge_workers_too_many() {
    for surge in [1, 2] {
        let app = App::start(&cooperating(4, &format!("{QUICK}\nmax-surge = {surge}")));
        let running = app.load().path("/sleep/20").connections(40).start();
        running.wait_for_answers(40);
        let peak = app.watch_children();
        app.ask("reload", &[]).done();
        let most = peak.most();
        running.stop().assert_nothing_lost(40);
        assert!(most > 4 && most <= 4 + surge, "{most} processes with max-surge {surge}");
    }
}

#[test]
fn f40_scaling_up_and_down_loses_nothing() {
    let app = App::start(&cooperating(2, QUICK));
    let busy = app.load().start();
    let short = app.load().close_each().connections(4).start();
    busy.wait_for_answers(100);
    let rounds = if soaking() { 40 } else { 4 };
    for _ in 0..rounds {
        for to in ["6", "-3", "+2", "1", "2"] {
            app.ask("scale", &["--", to]).done();
        }
    }
    let (busy, short) = (busy.stop(), short.stop());
    row("P1", &format!("scaled up and down {} times", rounds * 5), &[&busy, &short]);
    busy.assert_nothing_lost(1_000);
    short.assert_nothing_lost(100);
    assert_eq!(app.status()["wanted"], 2);
    app.stop();
}
