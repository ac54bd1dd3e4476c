//! What people ask for, on its way to the pool: a reload is read first, a message goes straight to the apps, the
//! rest is the pool's.

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::config::Diagnostics;
use crate::dbus::{Ask, Caller, Wish};
use crate::os::signals;
use crate::pool::{Command, Event, Outcome, Phase, ScaleTo, Slot, Verdict, workers_in_words};
use crate::proto::node::UserText;

use super::supervisor::Supervisor;

/// The longest list of faults that is kept of a configuration.
const MAX_REASON_BYTES: usize = 16 * 1024;

impl Supervisor {
    /// A signal has nobody to answer to; the log tells.
    pub(super) fn wish_by_signal(&mut self, wish: Wish) {
        let (reply, _) = oneshot::channel();
        self.take_ask(Ask { wish, reply, caller: Caller::default() });
        self.take_facts();
    }

    pub(super) fn take_ask(&mut self, ask: Ask) {
        let Ask { wish, reply, caller } = ask;
        let words = in_words(&wish);
        if let Some(uid) = caller.uid {
            let pid = caller.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            info!("{words} was asked for by user {uid}{pid}");
        }
        match wish {
            Wish::Reload { origin } => match self.reader.read() {
                Ok(plan) => {
                    let remark = self.reader.without_effect(&plan);
                    if let Some(remark) = &remark {
                        warn!("{remark}");
                    }
                    let request = self.callers.enter(reply, Some(origin), remark, Some(words), caller.pid);
                    self.feed(Event::PlanLoaded { request, plan });
                }
                Err(faults) => {
                    let (reason, details) = (refusal(&faults.without_lines()), refusal(&faults));
                    let request = self.callers.enter(reply, Some(origin), None, None, caller.pid);
                    self.feed(Event::PlanRefused { request, reason, details });
                }
            },
            Wish::Command(command) => {
                let request = self.callers.enter(reply, None, None, Some(words), caller.pid);
                self.feed(Event::Asked { request, command });
            }
            Wish::Send { slot, json } => {
                let verdict = self.send(slot, &json);
                let _ = reply.send(verdict);
            }
        }
    }

    /// A message for the apps of one slot or of all.
    fn send(&mut self, slot: Option<Slot>, json: &str) -> Verdict {
        let generation = self.pool.generation();
        let verdict = |outcome, message: String| Verdict { outcome, message, generation, failure: None };
        let text = match UserText::from_json(json) {
            Ok(text) => text,
            Err(error) => return verdict(Outcome::Refused, error.to_string()),
        };
        let view = self.pool.view();
        if let Some(slot) = slot.filter(|slot| view.slots.iter().all(|known| known.slot != *slot)) {
            return verdict(Outcome::NotFound, format!("there is no slot {slot}"));
        }
        let (mut sent, mut refused) = (0_u32, None);
        let targets = view.workers.iter().filter(|worker| worker.phase <= Phase::Ready);
        for worker in targets.filter(|worker| slot.is_none_or(|slot| worker.slot == slot)) {
            match self.world.send_message(worker.worker, &text) {
                Ok(()) => sent = sent.saturating_add(1),
                Err(reason) => refused = Some(format!("worker {} does not get it: {reason}", worker.slot)),
            }
        }
        match refused {
            None if sent > 0 => verdict(Outcome::Done, format!("sent to {}", workers_in_words(sent))),
            None => verdict(Outcome::Failed, "there is no worker to send it to".to_owned()),
            Some(reason) if sent > 0 => verdict(Outcome::Partly, reason),
            Some(reason) => verdict(Outcome::Failed, reason),
        }
    }
}

/// Why a configuration is not taken.
fn refusal(faults: &Diagnostics) -> String {
    shortened(format!("the configuration is not valid, nothing is changed\n{faults}"))
}

/// A reason that is kept, and told to everyone who looks: not longer than they need.
fn shortened(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        let fits = (0..=MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end));
        reason.truncate(fits.unwrap_or(0));
        // A line that was cut off says nothing.
        reason.truncate(reason.rfind('\n').unwrap_or(reason.len()));
        reason.push_str("\n… and more");
    }
    reason
}

/// A wish as the log names it.
fn in_words(wish: &Wish) -> String {
    match wish {
        Wish::Reload { .. } => "a reload".to_owned(),
        Wish::Command(Command::Restart { slot: None }) => "a restart".to_owned(),
        Wish::Command(Command::Restart { slot: Some(slot) }) => format!("a restart of slot {slot}"),
        Wish::Command(Command::Scale { to }) => match to {
            ScaleTo::Exactly(count) => format!("scaling to {}", workers_in_words(*count)),
            ScaleTo::Up(more) => format!("scaling up by {}", workers_in_words(*more)),
            ScaleTo::Down(fewer) => format!("scaling down by {}", workers_in_words(*fewer)),
        },
        Wish::Command(Command::Signal { signal, .. }) => format!("signal {}", signals::name(*signal)),
        Wish::Command(Command::Reset { .. }) => "a reset".to_owned(),
        Wish::Command(Command::StartSlot { slot }) => format!("a start of slot {slot}"),
        Wish::Command(Command::StopSlot { slot }) => format!("a stop of slot {slot}"),
        Wish::Command(Command::Stop) => "a stop".to_owned(),
        Wish::Send { .. } => "a message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaling_is_logged_in_words() {
        let words = |to| in_words(&Wish::Command(Command::Scale { to }));
        assert_eq!(words(ScaleTo::Exactly(2)), "scaling to 2 workers");
        assert_eq!(words(ScaleTo::Up(1)), "scaling up by 1 worker");
        assert_eq!(words(ScaleTo::Down(3)), "scaling down by 3 workers");
    }

    #[test]
    fn a_long_list_of_faults_is_cut_between_two_lines() {
        let short = "one\ntwo".to_owned();
        assert_eq!(shortened(short.clone()), short);
        let long = shortened("é: unknown key\n".repeat(MAX_REASON_BYTES));
        assert!(long.len() < MAX_REASON_BYTES + 20 && long.ends_with("key\n… and more"));
    }
}
