//! Records into the journal, by tracing-journald, under the names that journalctl finds them by.

use std::io;

use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Layer as _;
use tracing_subscriber::registry::{Data, LookupSpan};

use super::record::Record;

/// The journal's native socket, held open.
pub(super) struct Journal(Dispatch);

impl Journal {
    /// Opens the socket. This blocks while journald's queue is full: call it on the writer's thread only.
    pub(super) fn open(app: &str, level: Level) -> io::Result<Self> {
        // Without a prefix a field keeps its own name (upper case): ganger_worker becomes GANGER_WORKER.
        let layer = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier("ganger".to_owned())
            .with_custom_fields([("GANGER_APP", app)])
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
        Ok(Self(Dispatch::new(layer.with_subscriber(Spanless(level)))))
    }

    /// Sends one record; blocks while journald takes none.
    pub(super) fn write(&self, record: &Record) {
        record.replay(|event| self.0.event(event));
    }
}

/// What a layer needs below it, when there are no spans: tracing-subscriber's registry would do, but its
/// table of threads alone costs 32 KiB.
struct Spanless(Level);

impl Subscriber for Spanless {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.0.into())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl<'a> LookupSpan<'a> for Spanless {
    type Data = Data<'a>;

    fn span_data(&'a self, _: &Id) -> Option<Self::Data> {
        None
    }
}
