//! Health checks by command: what becomes of the processes that they start.

use crate::stage::{Run, Stage};

/// Asks by `check` five times, whatever comes of it; afterwards the command does nothing. The worker stays.
#[track_caller]
fn asked_five_times_leaves_only_the_worker(check: &str, timeout: &str) {
    let script = format!("test -e @DIR@/enough && exit 0; echo >> @DIR@/asked; {check}");
    let config = format!(
        "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 1\n[health]\n\
         exec = ['sh', '-c', '''{script}''']\ninterval = '100ms'\ntimeout = '{timeout}'\nfailures = 1000"
    );
    let run = Stage::new(&config).managed().start();
    run.told("STATUS=1/1 workers ready");
    let worker = run.worker_pids();
    let asked = |run: &Run| std::fs::read(run.path("asked")).unwrap_or_default().len();
    assert!(harness::wait_until(|| asked(&run) >= 5));
    std::fs::write(run.path("enough"), "").unwrap();
    let all_gone = harness::wait_until(|| run.left_behind() == worker);
    assert!(all_gone, "the worker is {worker:?}, there are {:?}", run.left_behind());
    assert_eq!(run.worker_pids(), worker);
    run.stop();
}

#[test]
fn a_check_that_takes_too_long_leaves_nothing_not_even_another_session() {
    asked_five_times_leaves_only_the_worker("setsid sleep 4321 & sleep 4322", "200ms");
}

#[test]
fn a_good_check_leaves_nothing() {
    asked_five_times_leaves_only_the_worker("sleep 4323 & exit 0", "20s");
}

#[test]
fn a_bad_check_leaves_nothing_however_far_it_wandered() {
    let daemon = "setsid sh -c 'setsid sh -c \"setsid sleep 4324; true\"; true' & exit 1";
    asked_five_times_leaves_only_the_worker(daemon, "20s");
}

#[test]
fn a_stop_during_a_check_leaves_nothing() {
    let config = "command = ['@WORKER@', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 1\n[health]\n\
                  exec = ['sh', '-c', 'setsid sleep 4325 & echo >> @DIR@/asked; sleep 4326']\ninterval = '100ms'";
    let run = Stage::new(config).managed().start();
    assert!(harness::wait_until(|| run.path("asked").exists()));
    run.stop();
}
