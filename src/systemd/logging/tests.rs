//! The way of a record, from a macro to a stream; readers that stop, and readers that come back.

use std::io::{BufRead as _, BufReader, PipeReader};

use super::*;

/// Logging to the write end of a pipe.
fn to_pipe(level: Level, dress: Dress) -> (Logging, Collector, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let open = move || Sink::Stream(Stream::new(Box::new(writer), dress));
    let (logging, collector) = begin(level, open).unwrap();
    (logging, collector, reader)
}

/// What `record` writes, line by line.
fn lines(level: Level, dress: Dress, record: impl FnOnce()) -> Vec<String> {
    let (logging, collector, reader) = to_pipe(level, dress);
    tracing::subscriber::with_default(collector, record);
    assert!(logging.flush(Duration::from_secs(10)));
    // With the last sender the writer ends, and closes its end of the pipe.
    drop(logging);
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

#[test]
fn a_record_is_a_line_with_its_level_and_what_a_person_wants_to_know() {
    let written = lines(Level::INFO, Dress::Plain, || {
        tracing::info!(ganger_worker = 2, message_id = message_id::WORKER_READY, "worker {} ready", 2);
        tracing::warn!(path = %"/run/x", count = 3, "odd");
        tracing::debug!("not recorded");
        tracing::info!(target: "zbus::connection", "not recorded either");
        tracing::error!(target: "zbus", "recorded");
    });
    assert_eq!(written, ["info: worker 2 ready", "warning: odd path=/run/x count=3", "error: recorded"]);
}

#[test]
fn colour_and_priority_are_how_a_line_begins() {
    let coloured = lines(Level::INFO, Dress::Coloured, || tracing::error!("x"));
    assert_eq!(coloured, ["\x1b[1;31merror:\x1b[0m x"]);
    assert_eq!(lines(Level::INFO, Dress::Priority, || tracing::warn!("x")), ["<4>x"]);
}

#[test]
fn a_record_cannot_steer_a_terminal_or_forge_a_line() {
    let written = lines(Level::INFO, Dress::Plain, || tracing::info!(status = "\x1b[2J", "one\nerror: two"));
    assert_eq!(written, ["info: one", "  error: two status=\\u{1b}[2J"]);
}

#[test]
fn a_record_is_bounded_in_length() {
    let written = lines(Level::INFO, Dress::Plain, || tracing::info!("{}", "é".repeat(1_000_000)));
    assert!(written[0].len() < record::MAX_VALUE_BYTES + 20 && written[0].ends_with("é…"));
}

#[test]
fn a_stopped_reader_stops_no_one_and_the_loss_is_counted_and_told() {
    const RECORDS: usize = 2000;
    let (logging, collector, reader) = to_pipe(Level::INFO, Dress::Plain);
    let text = "x".repeat(1000);
    // A pipe holds 64 KiB and the queue MAX_QUEUED records: this would block for ever if anything did.
    tracing::subscriber::with_default(collector, || {
        for _ in 0..RECORDS {
            tracing::info!("{text}");
        }
    });
    assert!(!logging.flush(Duration::from_millis(20)), "nobody read, so nothing can be flushed");
    // The reader is back; whatever was not dropped arrives, and the drops are told.
    let reading =
        thread::spawn(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
    drop(logging);
    let written = reading.join().unwrap();
    let arrived = written.iter().filter(|line| line.contains("xxx")).count();
    let told: usize = written
        .iter()
        .filter_map(|line| line.strip_prefix("warning: ")?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert!(told > 0 && arrived >= MAX_QUEUED, "{arrived} arrived, {told} told as lost");
    assert_eq!(arrived + told, RECORDS);
}

#[test]
fn a_reader_that_is_gone_is_ignored() {
    let (logging, collector, reader) = to_pipe(Level::INFO, Dress::Plain);
    drop(reader);
    tracing::subscriber::with_default(collector, || {
        tracing::info!("nobody reads this");
        tracing::info!("nor this");
    });
    assert!(logging.flush(Duration::from_secs(10)));
}

/// Stands where the journal stands, and notes what arrives.
#[derive(Default, Clone)]
struct Noted(Arc<std::sync::Mutex<Vec<String>>>);

impl Subscriber for Noted {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn event(&self, event: &Event<'_>) {
        let record = Record::of(event);
        let mut line = format!("{} {:?}", record.level(), record.metadata.line().is_some());
        for (field, value) in &record.values {
            line += &format!(" {}={value}", field.name());
        }
        self.0.lock().unwrap().push(line);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_record_that_crossed_the_queue_is_the_same_event_again() {
    let (queue, records) = sync_channel(4);
    let collector = Collector { level: Level::INFO, queue, dropped: Arc::default() };
    tracing::subscriber::with_default(collector, || {
        tracing::info!(ganger_worker = 7_u32, ganger_generation = 2_u64, path = ?"a b", "worker 7 is up");
    });
    let Ok(Item::Record(record)) = records.try_recv() else { panic!("no record") };
    let noted = Noted::default();
    record.replay(|event| Dispatch::new(noted.clone()).event(event));
    assert_eq!(
        *noted.0.lock().unwrap(),
        ["INFO true message=worker 7 is up ganger_worker=7 ganger_generation=2 path=\"a b\""]
    );
}

#[test]
fn the_writer_takes_no_signal_from_whoever_waits_for_it() {
    let (told, mask) = sync_channel(1);
    spawn(move || told.send(SigSet::thread_get_mask().unwrap()).unwrap()).unwrap();
    let mask = mask.recv().unwrap();
    for signal in [nix::sys::signal::SIGTERM, nix::sys::signal::SIGHUP, nix::sys::signal::SIGCHLD] {
        assert!(mask.contains(signal), "{signal} would end up in the writer");
        assert!(!SigSet::thread_get_mask().unwrap().contains(signal), "and in nobody else");
    }
}
