//! What there is to tell after a view was replaced by a newer one: objects that came and went, properties that
//! are another. It decides what is told, not when or to whom.

use super::members::{APP, APP_NAME, APP_PATH, Told, WORKER, WORKER_NAME, worker_path};
use super::properties::{self, Dict, Row};
use super::{Identity, Usage};
use crate::pool::{Slot, View};

/// One `PropertiesChanged`.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) interface: &'static str,
    pub(super) changed: Dict,
    pub(super) invalidated: Vec<&'static str>,
}

/// Everything that there is to tell.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    pub(super) added: Vec<Slot>,
    pub(super) removed: Vec<Slot>,
    pub(super) changes: Vec<Change>,
}

/// Compares two views.
pub(super) fn difference(identity: &Identity, old: &View, new: &View) -> Difference {
    let mut difference = Difference::default();
    difference.changes.extend(of_app(identity, old, new));
    for slot in &new.slots {
        let Some(after) = Row::of(new, slot.slot) else { continue };
        match Row::of(old, slot.slot) {
            None => difference.added.push(slot.slot),
            Some(before) if before != after => difference.changes.extend(of_slot(slot.slot, before, after)),
            Some(_) => {}
        }
    }
    let gone = old.slots.iter().filter(|slot| Row::of(new, slot.slot).is_none());
    difference.removed.extend(gone.map(|slot| slot.slot));
    difference
}

fn of_app(identity: &Identity, old: &View, new: &View) -> Option<Change> {
    let mut changed = Dict::new();
    let mut invalidated = Vec::new();
    let unseen = Usage::default();
    for property in APP.properties {
        match property.told {
            Told::Never | Told::Not | Told::Measured => {}
            Told::Stale if properties::app_is_stale(property.name, old, new) => {
                invalidated.push(property.name)
            }
            Told::Stale => {}
            Told::Value => {
                let value = |view| properties::app(property.name, identity, view, 0, &unseen);
                if let Some(now) = value(new).filter(|now| value(old).as_ref() != Some(now)) {
                    changed.insert(property.name, now);
                }
            }
        }
    }
    change(APP_PATH.to_owned(), APP_NAME, changed, invalidated)
}

fn of_slot(slot: Slot, before: Row<'_>, after: Row<'_>) -> Option<Change> {
    let unseen = Usage::default();
    let told = WORKER.properties.iter().filter(|property| property.told == Told::Value);
    let changed = told
        .filter_map(|property| {
            let now = properties::worker(property.name, after, &unseen)?;
            (properties::worker(property.name, before, &unseen).as_ref() != Some(&now))
                .then_some((property.name, now))
        })
        .collect();
    change(worker_path(slot), WORKER_NAME, changed, Vec::new())
}

fn change(
    path: String,
    interface: &'static str,
    changed: Dict,
    invalidated: Vec<&'static str>,
) -> Option<Change> {
    let nothing = changed.is_empty() && invalidated.is_empty();
    (!nothing).then_some(Change { path, interface, changed, invalidated })
}

/// Views to test with.
#[cfg(test)]
pub(in crate::dbus) mod samples {
    use std::time::Duration;

    use crate::dbus::Identity;
    use crate::plan::AppName;
    use crate::pool::{
        Cause, Exit, GenerationId, LastReload, Outcome, Phase, PoolPhase, ReloadView, Slot, SlotPhase,
        SlotView, Verdict, View, WorkerFailure, WorkerId, WorkerView,
    };
    use crate::time::Monotonic;

    pub(in crate::dbus) fn at(secs: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(secs))
    }

    pub(in crate::dbus) fn identity() -> Identity {
        Identity {
            app: AppName::new("my-app").unwrap(),
            pid: 4242,
            uid: nix::unistd::geteuid().as_raw(),
            listeners: vec![("web".into(), "[::]:3000".into())],
        }
    }

    pub(in crate::dbus) fn failure() -> WorkerFailure {
        WorkerFailure {
            worker: WorkerId(9),
            slot: Slot(1),
            pid: Some(2299),
            cause: Cause::Exit(Exit::Code(3)),
            started: at(70),
            ended: at(71),
        }
    }

    pub(in crate::dbus) fn verdict(outcome: Outcome) -> Verdict {
        let (message, failure) = match outcome {
            Outcome::Done => ("reloaded to generation 2", None),
            Outcome::Failed
            | Outcome::Partly
            | Outcome::NotFound
            | Outcome::Superseded
            | Outcome::Refused
            | Outcome::Stopped => ("worker 1 of generation 2 exited with status 3", Some(failure())),
        };
        Verdict { outcome, message: message.into(), generation: GenerationId(2), failure }
    }

    fn worker(id: u64, slot: u32, generation: u64, phase: Phase) -> WorkerView {
        WorkerView {
            worker: WorkerId(id),
            slot: Slot(slot),
            generation: GenerationId(generation),
            phase,
            pid: Some(2000 + u32::try_from(id).unwrap()),
            started: at(10),
            ready_at: (phase != Phase::Starting).then(|| at(11)),
            deadline: (phase == Phase::Draining).then(|| at(90)),
            status: (slot == 0).then(|| "12 clients".into()),
            memory: (slot == 0).then_some(157_286_400),
        }
    }

    pub(in crate::dbus) fn view() -> View {
        let slot = |slot, phase| SlotView {
            slot: Slot(slot),
            phase,
            restarts: u64::from(slot),
            until: None,
            last_failure: (slot == 1).then_some(Cause::Oom),
        };
        View {
            app: "my-app".into(),
            phase: PoolPhase::Reloading,
            generation: GenerationId(1),
            wanted: 2,
            ready: 2,
            restarts: 1,
            since: at(5),
            slots: vec![slot(0, SlotPhase::Ready), slot(1, SlotPhase::Ready)],
            workers: vec![
                worker(3, 0, 2, Phase::Ready),
                worker(1, 0, 1, Phase::Draining),
                worker(2, 1, 1, Phase::Ready),
            ],
            reload: Some(ReloadView {
                generation: GenerationId(2),
                done: 1,
                total: 2,
                aborting: false,
                started: at(60),
            }),
            last_reload: Some(LastReload {
                verdict: verdict(Outcome::Failed),
                took: Duration::from_millis(1500),
                ended: at(50),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;
    use crate::pool::SlotPhase;

    #[test]
    fn two_equal_views_leave_nothing_to_tell() {
        let view = samples::view();
        assert_eq!(difference(&samples::identity(), &view, &view), Difference::default());
    }

    #[test]
    fn only_the_properties_that_are_another_are_told() {
        let old = samples::view();
        let mut new = old.clone();
        new.ready = 1;
        new.slots[1].phase = SlotPhase::Waiting;
        let Difference { added, removed, changes } = difference(&samples::identity(), &old, &new);
        assert!(added.is_empty() && removed.is_empty());
        let [app, slot] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(app.changed.keys().copied().collect::<Vec<_>>(), ["Ready", "Status"]);
        assert_eq!(app.invalidated, ["Slots"]);
        assert_eq!(slot.path, "/org/ganger1/worker/1");
        assert_eq!(slot.changed, Dict::from([("State", Variant::from("waiting"))]));
    }

    #[test]
    fn a_slot_that_came_or_went_is_told_as_an_object() {
        let old = samples::view();
        let mut new = old.clone();
        new.slots[0].slot = Slot(7);
        let difference = difference(&samples::identity(), &old, &new);
        assert_eq!((difference.added, difference.removed), (vec![Slot(7)], vec![Slot(0)]));
    }

    #[test]
    fn a_draining_worker_in_a_slot_is_no_change_of_the_serving_one() {
        let old = samples::view();
        let mut new = old.clone();
        new.workers.remove(1);
        let changes = difference(&samples::identity(), &old, &new).changes;
        let [app] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((app.changed.len(), &app.invalidated[..]), (0, &["Workers"][..]));
    }
}
