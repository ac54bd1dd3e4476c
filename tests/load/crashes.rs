//! Workers that crash, hang or are killed: what it costs the others, and what it costs ganger.

use std::fs;
use std::time::Duration;

use harness::load::{Class, Report, Until};
use nix::sys::signal::Signal;

use super::app::{App, cooperating, now, row, send, soaking, worker};

/// A worker that crashes soon after it is ready, in slot 0 and while the file is there.
fn crashing_when(file: &str) -> String {
    let program = harness::example("worker");
    let script = format!(
        "if [ \"$GANGER_WORKER\" = 0 ] && [ -e {file} ]; then exec {0} --notify --exit-after 50 --exit-code 3; \
         else exec {0} --notify --grace 200; fi",
        program.display()
    );
    serde_json::to_string(&["sh", "-c", &script]).unwrap()
}

#[test]
fn f13_a_crash_loop_backs_off_stops_and_touches_no_sibling() {
    const BURST: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let fault = folder.path().join("fault");
    let command = crashing_when(fault.to_str().unwrap());
    let app = App::start(&format!(
        "command = {command}\nworkers = 4\n[ready]\nwhen = \"notify\"\n[restart]\nretry = \"1h\"\n\
         backoff.initial = \"50ms\"\nlimit = {{ burst = {BURST}, interval = \"1h\" }}"
    ));
    let running = app.load().start();
    running.wait_for_answers(100);
    let pids = app.ready_pids();
    let (began, cpu) = (now(), app.cpu());

    fs::write(&fault, "").unwrap();
    send(pids[0], Signal::SIGKILL);
    let status = app.wait_for_status(|status| status["slots"][0]["state"] == "failed");
    assert_eq!(status["slots"][0]["restarts"], BURST + 1, "{status:#}");
    assert_eq!(status["slots"][0]["last_failure"], "exited with status 3");
    assert_eq!((&status["state"], &status["ready"]), (&"degraded".into(), &3.into()), "{status:#}");
    assert_eq!(app.ready_pids(), pids[1..], "siblings were touched");
    let (took, used) = (now() - began, app.cpu() - cpu);
    eprintln!("{BURST} restarts in {took:?}, ganger used {used:?} of CPU time");
    // 50 + 100 + 200 + 400 + 800 ms of waiting, none of it busy. The status was asked for meanwhile.
    assert!(took > Duration::from_millis(1_500) && used < took / 4, "{used:?} of {took:?}");

    fs::remove_file(&fault).unwrap();
    app.ask("reset", &[]).done();
    app.wait_for_status(|status| status["ready"] == 4);
    assert_eq!(app.ready_pids()[1..], pids[1..]);
    let report = running.stop();
    row("P3", &format!("1 of 4 workers killed, then crashing {} times", BURST), &[&report]);
    // Each life of the crashing worker may take with it what it had in its hands.
    assert!(report.lost() <= 8 * (BURST + 1), "{report}");
    assert_eq!((report.of(Class::Refused), report.of(Class::Timeout)), (0, 0), "{report}");
    app.stop();
}

/// Kills a worker at random again and again while the load lasts.
fn under_random_kills(app: &App, length: Duration, seed: u64) -> (Report, u64) {
    let running = app.load().close_each().start();
    let (mut random, mut kills, end) = (seed, 0, now() + length);
    while now() < end {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let children: Vec<u32> = app.children().into_iter().collect();
        if children.len() == 4 {
            send(children[usize::try_from(random >> 33).unwrap() % 4], Signal::SIGKILL);
            kills += 1;
        }
        // One answer more, and the next one dies.
        running.wait_for_answers(1 + (random >> 40) % 200);
    }
    (running.stop(), kills)
}

#[test]
fn f31_workers_killed_at_random_never_stop_the_accepting() {
    let config = cooperating(
        4,
        "[restart]\nmin-uptime = \"0s\"\nbackoff.initial = \"1ms\"\nbackoff.max = \"1ms\"\nlimit.interval = \"off\"",
    );
    let app = App::start(&config);
    let length = Duration::from_secs(if soaking() { 60 } else { 4 });
    let calm = app.load().close_each().until(Until::Elapsed(length / 4)).run();
    calm.assert_nothing_lost(100);
    let (report, kills) = under_random_kills(&app, length, 7);
    eprintln!("{report}\ncalm: {calm}");
    row("P3", &format!("{kills} times a worker of 4 killed at random"), &[&report]);
    assert!(kills >= 10, "{kills}");
    assert_eq!((report.of(Class::Refused), report.of(Class::Timeout)), (0, 0), "{report}");
    assert!(report.lost() <= kills * 8, "more is lost than was in the killed workers: {report}");
    assert!(
        report.within(990) < calm.within(1000) * 4 + Duration::from_millis(400),
        "accepting stalled: {report}\ncalm: {calm}"
    );
    app.wait_for_status(|status| status["ready"] == 4);
    app.stop();
}

#[test]
fn f32_a_frozen_worker_is_replaced_and_the_others_take_its_connections() {
    let command = worker(&["--notify", "--watchdog"]);
    let app = App::start(&format!(
        "command = {command}\nworkers = 3\n[ready]\nwhen = \"notify\"\n[watchdog]\nworker = \"2s\""
    ));
    let running = app.load().close_each().start();
    running.wait_for_answers(100);
    let pids = app.ready_pids();
    send(pids[1], Signal::SIGSTOP);
    let status = app.wait_for_status(|status| {
        status["ready"] == 3 && status["workers"].as_array().unwrap().iter().all(|it| it["pid"] != pids[1])
    });
    assert_eq!(status["workers"].as_array().unwrap().len(), 3, "{status:#}");
    assert!(app.log().contains("missed its watchdog"), "{}", app.log());
    let after = app.ready_pids();
    assert_eq!((after[0], after[2]), (pids[0], pids[2]), "siblings were touched");
    let report = running.stop();
    row("P3", "1 of 3 workers frozen (SIGSTOP), replaced by its watchdog", &[&report]);
    assert!(report.lost() <= 8, "more is lost than was in the frozen worker: {report}");
    assert_eq!((report.of(Class::Refused), report.of(Class::Timeout)), (0, 0), "{report}");
    app.stop();
}
