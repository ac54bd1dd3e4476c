//! What a property's value is: a [`View`] in the types of D-Bus. No environment value and no command line can
//! occur here, for a view has none.

use std::collections::BTreeMap;

use zbus::Variant;

use super::members::{APP, Interface, WORKER};
use super::words::{outcome_word, phase_word, pool_word, slot_word, status_line};
use super::{Identity, Usage, Used};
use crate::pool::{LastReload, ReloadView, Slot, SlotView, Verdict, View, WorkerFailure, WorkerView};
use crate::time::Monotonic;

/// `a{sv}`.
pub(super) type Dict = BTreeMap<&'static str, Variant<'static>>;

/// Bytes and nanoseconds while they are not known, as systemd's `MemoryCurrent` and `CPUUsageNSec` have it.
const NOT_MEASURED: u64 = u64::MAX;
/// Connections while they are not known.
const NOT_COUNTED: u32 = u32::MAX;

fn text(value: &str) -> Variant<'static> {
    Variant::from(value.to_owned())
}

fn micros(instant: Option<Monotonic>) -> u64 {
    instant.map_or(0, Monotonic::as_micros)
}

fn span_micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A property of the app; `None` when there is none of that name.
pub(super) fn app(
    name: &str,
    identity: &Identity,
    view: &View,
    missed: u64,
    usage: &Usage,
) -> Option<Variant<'static>> {
    Some(match name {
        "Name" => text(&view.app),
        "Version" => text(env!("CARGO_PKG_VERSION")),
        "MainPID" => Variant::from(identity.pid),
        "Listeners" => Variant::from(identity.listeners.clone()),
        "AcceptQueues" => Variant::from(accept_queues(identity, usage)),
        "SinceUSec" => Variant::from(view.since.as_micros()),
        "State" => text(pool_word(view.phase)),
        "Status" => Variant::from(status_line(view)),
        "Generation" => Variant::from(view.generation.0),
        "Wanted" => Variant::from(view.wanted),
        "Ready" => Variant::from(view.ready),
        "Restarts" => Variant::from(view.restarts),
        "Reloading" => Variant::from(view.reload.as_ref().map(reloading).unwrap_or_default()),
        "LastReload" => Variant::from(view.last_reload.as_ref().map(last_reload).unwrap_or_default()),
        "Slots" => Variant::from(view.slots.iter().map(slot_dict).collect::<Vec<Dict>>()),
        "Workers" => {
            let workers = view.workers.iter().map(|worker| worker_dict(worker, usage));
            Variant::from(workers.collect::<Vec<Dict>>())
        }
        "MissedSignals" => Variant::from(missed),
        _ => return None,
    })
}

/// Name and address of each listener whose accept queue is known, how many wait in it and how many may.
fn accept_queues(identity: &Identity, usage: &Usage) -> Vec<(String, String, u32, u32)> {
    let known = identity.listeners.iter().zip(&usage.queues);
    let known =
        known.filter_map(|((name, address), queue)| Some((name.clone(), address.clone(), queue.as_ref()?)));
    known.map(|(name, address, queue)| (name, address, queue.waiting, queue.backlog)).collect()
}

/// What a worker uses; the pool may have measured its memory before anybody asked.
fn used(worker: &WorkerView, usage: &Usage) -> Used {
    let used = usage.workers.get(&worker.worker).copied().unwrap_or_default();
    Used { memory: used.memory.or(worker.memory), ..used }
}

/// Whether the property that is told without its value is another in `new`.
pub(super) fn app_is_stale(name: &str, old: &View, new: &View) -> bool {
    match name {
        "Slots" => old.slots != new.slots,
        "Workers" => old.workers != new.workers,
        _ => false,
    }
}

fn reloading(reload: &ReloadView) -> Dict {
    Dict::from([
        ("generation", Variant::from(reload.generation.0)),
        ("done", Variant::from(reload.done)),
        ("total", Variant::from(reload.total)),
        ("aborting", Variant::from(reload.aborting)),
        ("started", Variant::from(reload.started.as_micros())),
    ])
}

fn last_reload(last: &LastReload) -> Dict {
    let Verdict { outcome, message, generation, failure } = &last.verdict;
    Dict::from([
        ("outcome", text(outcome_word(*outcome))),
        ("message", text(message)),
        ("generation", Variant::from(generation.0)),
        ("took", Variant::from(span_micros(last.took))),
        ("ended", Variant::from(last.ended.as_micros())),
        ("failure", Variant::from(failure.as_ref().map(failure_dict).unwrap_or_default())),
    ])
}

/// The worker that made a wish fail.
pub(super) fn failure_dict(failure: &WorkerFailure) -> Dict {
    Dict::from([
        ("worker", Variant::from(failure.worker.0)),
        ("slot", Variant::from(failure.slot.0)),
        ("pid", Variant::from(failure.pid.unwrap_or(0))),
        ("cause", text(failure.cause.word())),
        ("text", Variant::from(failure.cause.to_string())),
        ("started", Variant::from(failure.started.as_micros())),
        ("ended", Variant::from(failure.ended.as_micros())),
    ])
}

fn slot_dict(slot: &SlotView) -> Dict {
    let mut dict = Dict::from([
        ("slot", Variant::from(slot.slot.0)),
        ("state", text(slot_word(slot.phase))),
        ("restarts", Variant::from(slot.restarts)),
    ]);
    if let Some(until) = slot.until {
        dict.insert("next_start", Variant::from(until.as_micros()));
    }
    if let Some(cause) = &slot.last_failure {
        dict.insert("cause", text(cause.word()));
        dict.insert("text", Variant::from(cause.to_string()));
    }
    dict
}

fn worker_dict(worker: &WorkerView, usage: &Usage) -> Dict {
    let mut dict = Dict::from([
        ("worker", Variant::from(worker.worker.0)),
        ("slot", Variant::from(worker.slot.0)),
        ("generation", Variant::from(worker.generation.0)),
        ("state", text(phase_word(worker.phase))),
        ("started", Variant::from(worker.started.as_micros())),
    ]);
    if let Some(pid) = worker.pid {
        dict.insert("pid", Variant::from(pid));
    }
    if let Some(ready) = worker.ready_at {
        dict.insert("ready", Variant::from(ready.as_micros()));
    }
    if let Some(deadline) = worker.deadline {
        dict.insert("deadline", Variant::from(deadline.as_micros()));
    }
    if let Some(status) = &worker.status {
        dict.insert("status", text(status));
    }
    let Used { cpu, memory, connections } = used(worker, usage);
    if let Some(cpu) = cpu {
        dict.insert("cpu", Variant::from(span_micros(cpu)));
        dict.insert("measured", Variant::from(usage.taken.as_micros()));
    }
    if let Some(memory) = memory {
        dict.insert("memory", Variant::from(memory));
    }
    if let Some(connections) = connections {
        dict.insert("connections", Variant::from(connections));
    }
    dict
}

/// A slot and the worker that serves in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'a> {
    slot: &'a SlotView,
    worker: Option<&'a WorkerView>,
}

impl<'a> Row<'a> {
    /// The row of `slot`, if there is such a slot.
    pub(super) fn of(view: &'a View, slot: Slot) -> Option<Self> {
        let slot = view.slots.iter().find(|known| known.slot == slot)?;
        Some(Self { slot, worker: view.workers.iter().find(|worker| worker.slot == slot.slot) })
    }
}

/// A property of a slot; `None` when there is none of that name.
pub(super) fn worker(name: &str, row: Row<'_>, usage: &Usage) -> Option<Variant<'static>> {
    let Row { slot, worker } = row;
    let used = || worker.map(|worker| used(worker, usage)).unwrap_or_default();
    Some(match name {
        "Slot" => Variant::from(slot.slot.0),
        "State" => text(slot_word(slot.phase)),
        "Restarts" => Variant::from(slot.restarts),
        "NextStartUSec" => Variant::from(micros(slot.until)),
        "LastFailure" => Variant::from(
            slot.last_failure
                .as_ref()
                .map_or_else(Default::default, |cause| (cause.word().to_owned(), cause.to_string())),
        ),
        "Worker" => Variant::from(worker.map_or(0, |worker| worker.worker.0)),
        "WorkerState" => text(worker.map_or("", |worker| phase_word(worker.phase))),
        "Generation" => Variant::from(worker.map_or(0, |worker| worker.generation.0)),
        "PID" => Variant::from(worker.and_then(|worker| worker.pid).unwrap_or(0)),
        "StartedUSec" => Variant::from(micros(worker.map(|worker| worker.started))),
        "ReadyUSec" => Variant::from(micros(worker.and_then(|worker| worker.ready_at))),
        "DeadlineUSec" => Variant::from(micros(worker.and_then(|worker| worker.deadline))),
        "StatusText" => text(worker.and_then(|worker| worker.status.as_deref()).unwrap_or("")),
        "CPUUsageNSec" => Variant::from(used().cpu.map_or(NOT_MEASURED, nanos)),
        "Memory" => Variant::from(used().memory.unwrap_or(NOT_MEASURED)),
        "Connections" => Variant::from(used().connections.unwrap_or(NOT_COUNTED)),
        "MeasuredUSec" => {
            let is_seen = worker.is_some_and(|worker| usage.workers.contains_key(&worker.worker));
            Variant::from(micros(is_seen.then_some(usage.taken)))
        }
        _ => return None,
    })
}

/// All properties of the app.
pub(super) fn all_of_app(identity: &Identity, view: &View, missed: u64, usage: &Usage) -> Dict {
    all(&APP, |name| app(name, identity, view, missed, usage))
}

/// All properties of a slot.
pub(super) fn all_of_worker(row: Row<'_>, usage: &Usage) -> Dict {
    all(&WORKER, |name| worker(name, row, usage))
}

fn all(interface: &Interface, value: impl Fn(&str) -> Option<Variant<'static>>) -> Dict {
    interface.properties.iter().filter_map(|property| Some((property.name, value(property.name)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dbus::diff::samples;
    use crate::os::sock_diag::Queue;
    use crate::pool::WorkerId;

    fn usage() -> Usage {
        let used =
            Used { cpu: Some(Duration::from_millis(1500)), memory: Some(7 << 20), connections: Some(3) };
        Usage {
            taken: samples::at(80),
            good_until: samples::at(81),
            workers: BTreeMap::from([(WorkerId(3), used)]),
            queues: vec![Some(Queue { waiting: 2, backlog: 4096 })],
        }
    }

    #[test]
    fn what_a_worker_uses_is_told_where_it_is_known() {
        let view = samples::view();
        let told = |slot, usage: &Usage| {
            let row = Row::of(&view, Slot(slot)).unwrap();
            ["CPUUsageNSec", "Memory", "Connections", "MeasuredUSec"]
                .map(|name| worker(name, row, usage).unwrap())
        };
        let known = [1_500_000_000u64.into(), (7u64 << 20).into(), 3u32.into(), 80_000_000u64.into()];
        let unknown = [NOT_MEASURED.into(), NOT_MEASURED.into(), NOT_COUNTED.into(), 0u64.into()];
        assert_eq!(told(0, &usage()), known);
        assert_eq!(told(1, &usage()), unknown, "this one was not seen");
        // The pool itself measured the first one once.
        assert_eq!(told(0, &Usage::default())[1], Variant::from(157_286_400u64));
        let queue = ("web".to_owned(), "[::]:3000".to_owned(), 2u32, 4096u32);
        assert_eq!(accept_queues(&samples::identity(), &usage()), [queue]);
        assert_eq!(accept_queues(&samples::identity(), &Usage::default()), []);
    }

    #[test]
    fn every_property_of_the_table_has_a_value_of_its_type() {
        let view = samples::view();
        let identity = samples::identity();
        for property in APP.properties {
            let value = app(property.name, &identity, &view, 0, &usage()).expect(property.name);
            assert_eq!(value.value_signature().to_string(), property.signature, "{}", property.name);
        }
        let row = Row::of(&view, Slot(0)).unwrap();
        for property in WORKER.properties {
            let value = worker(property.name, row, &usage()).expect(property.name);
            assert_eq!(value.value_signature().to_string(), property.signature, "{}", property.name);
        }
    }

    #[test]
    fn a_slot_without_a_worker_still_has_all_its_properties() {
        let mut view = samples::view();
        view.workers.clear();
        let row = Row::of(&view, Slot(1)).unwrap();
        assert_eq!(all_of_worker(row, &usage()).len(), WORKER.properties.len());
        assert_eq!(worker("PID", row, &usage()), Some(Variant::from(0u32)));
    }
}
