//! Where workers' output goes when there is no journal.

use crate::stage::{From, Stage, is_root};

const TALK: &str = "command = ['sh', '-c', 'echo to stdout; echo to stderr >&2; exec @WORKER@ --notify']\n\
     listen = ['127.0.0.1:0']\nworkers = 2\n";

#[test]
fn on_a_terminal_every_line_of_a_worker_has_its_prefix() {
    let run = Stage::new(TALK).on_a_terminal().start();
    for slot in [0, 1] {
        for what in ["to stdout", "to stderr"] {
            let line = format!("app[{slot}] {what}");
            run.until(From::Out, &line, |said| plain(said) == line);
        }
    }
    run.until(From::Out, "coloured prefixes", |line| line.contains("\u{1b}[36mapp[0]\u{1b}[0m "));
    run.until(From::Out, "ganger's own log", |line| plain(line) == "info: ready");
    run.stop();
}

#[test]
fn no_color_is_heeded_on_a_terminal() {
    let run = Stage::new(TALK).env("NO_COLOR", "1").on_a_terminal().start();
    run.until(From::Out, "a plain prefix", |line| line.trim_end() == "app[0] to stdout");
    run.until(From::Out, "ready", |line| line.trim_end() == "info: ready");
    run.stop();
    assert!(!run.all(From::Out).iter().any(|line| line.contains('\u{1b}')));
}

#[test]
fn a_line_without_an_end_is_shown_when_its_worker_leaves() {
    let config = "command = ['sh', '-c', 'printf unfinished']\nlisten = ['127.0.0.1:0']\nworkers = 1\nrestart.policy = 'never'";
    let run = Stage::new(config).on_a_terminal().start();
    run.until(From::Out, "unfinished", |line| plain(line) == "app[0] unfinished");
}

#[test]
fn without_a_terminal_the_output_is_left_as_it_is() {
    let run = Stage::new(TALK).start();
    run.said_times(2, "to stderr");
    run.until(From::Out, "to stdout", |line| line == "to stdout");
    run.stop();
    assert!(
        run.all(From::Log).iter().filter(|line| line.contains("to stderr")).all(|line| line == "to stderr")
    );
}

#[test]
fn a_journal_stream_of_somebody_else_is_not_written_to() {
    let run = Stage::new(TALK).env("JOURNAL_STREAM", "8:12345").start();
    run.said_times(2, "to stderr");
    run.said("info: ready");
    assert_eq!(run.count("failed to"), 0);
    run.stop();
}

#[test]
fn a_file_gets_the_output_of_all_workers_appended() {
    let config = format!("{TALK}[log]\nstdout = 'file:@DIR@/out'\nstderr = 'null'\n");
    let stage = Stage::new(&config);
    std::fs::write(stage.path("out"), "before\n").unwrap();
    let run = stage.start();
    run.said("info: ready");
    assert_eq!(std::fs::read_to_string(run.path("out")).unwrap(), "before\nto stdout\nto stdout\n");
    assert_eq!(run.count("to stderr"), 0);
    assert_eq!(run.all(From::Out), [] as [&str; 0]);
    run.stop();
}

#[test]
fn a_file_that_cannot_be_opened_is_named_and_keeps_no_socket_from_being_held() {
    let config = format!("{TALK}[log]\nstdout = 'file:@DIR@/no/such/folder/out'\n");
    let run = Stage::new(&config).start();
    run.said("no/such/folder/out");
    assert_eq!(run.count("panicked"), 0);
}

#[test]
fn a_full_disk_keeps_nobody_from_serving() {
    let config = format!("{TALK}[log]\nstdout = 'file:/dev/full'\nstderr = 'file:/dev/full'\n");
    let run = Stage::new(&config).start();
    run.said("info: ready");
    assert_eq!(run.get("/gen"), "1");
    run.stop();
}

#[test]
fn f34_a_reader_that_stops_reading_stops_nobody() {
    // Nobody reads this pipe, and it is full at once.
    let config = "command = ['sh', '-c', 'yes | head -c 200000 >&2 & exec @WORKER@ --notify']\nlisten = ['127.0.0.1:0']\nworkers = 2";
    let run = Stage::new(config).unread().start();
    assert!(harness::wait_until(|| run.worker_pids_if_any().len() == 2));
    for _ in 0..3 {
        assert!(run.client(&["reload", "app"]).status.success());
    }
    run.stop();
}

#[test]
fn an_unprivileged_user_can_run_it_all() {
    if !is_root("ganger without rights, started by root") {
        return;
    }
    let run = Stage::new(TALK).unprivileged(&[]).start();
    run.said("info: ready");
    assert_eq!(run.get("/gen"), "1");
    run.stop();
}

/// Without colours and the carriage return.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.trim_end();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    text + rest
}
