//! A long life in a short time: what restarts and reloads leave behind in the supervisor.

use harness::wait_until;
use serde_json::Value;

use super::app::{Answer, App, cooperating, soaking, worker};

/// What the supervisor holds on to.
#[derive(Debug)]
struct Holdings {
    rss_kib: u64,
    descriptors: usize,
}

fn holdings(app: &App) -> Holdings {
    let holdings = Holdings { rss_kib: app.memory_kib("VmRSS"), descriptors: app.descriptors() };
    eprintln!("{holdings:?}");
    holdings
}

#[track_caller]
fn assert_no_growth(before: &Holdings, after: &Holdings) {
    assert!(after.descriptors <= before.descriptors, "descriptors leak: {before:?}, {after:?}");
    assert!(after.rss_kib <= before.rss_kib + 1024, "memory grows: {before:?}, {after:?}");
}

#[test]
fn f39_soak_reloads_leave_nothing_behind() {
    let app = App::start(&cooperating(2, "[reload]\nbake = \"0s\"\nmax-surge = 2"));
    let reload = |times: u32| (0..times).for_each(|_| drop(app.ask("reload", &[]).done()));
    reload(30);
    let before = holdings(&app);
    reload(if soaking() { 10_000 } else { 100 });
    // The connection of the last asker may not be closed yet.
    wait_until(|| app.descriptors() <= before.descriptors);
    let after = holdings(&app);
    assert_no_growth(&before, &after);
    app.stop();
}

#[test]
fn f39_soak_restarts_leave_nothing_behind() {
    let command = worker(&["--notify", "--exit-after", "1"]);
    let app = App::launch(
        &format!(
            "command = {command}\nworkers = 4\n[ready]\nwhen = \"notify\"\n[restart]\nmin-uptime = \"0s\"\n\
             limit.interval = \"off\"\nbackoff = {{ initial = \"1ms\", max = \"1ms\" }}"
        ),
        &[],
    );
    let restarted = |times: u64| {
        let reached = |answer: &Answer| {
            let status: Value = serde_json::from_str(&answer.said).unwrap_or_default();
            status["restarts"].as_u64().is_some_and(|restarts| restarts >= times)
        };
        // On an overloaded machine an answer may be late: asked again.
        while !reached(&app.ask("status", &["--json"])) {}
        holdings(&app)
    };
    let before = restarted(500);
    let after = restarted(if soaking() { 100_500 } else { 2_500 });
    // Workers that are just being born or buried hold descriptors of their own.
    assert!(after.descriptors <= before.descriptors + 4 * 4, "descriptors leak: {before:?}, {after:?}");
    assert!(after.rss_kib <= before.rss_kib + 1024, "memory grows: {before:?}, {after:?}");
    app.stop();
}
