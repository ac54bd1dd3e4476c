//! Ready workers that clients cannot reach any more, because they have closed their servers and live on. It is told,
//! and nothing is done about it: whether the app comes back to listen is known to nobody else.

use super::super::channel::{Channel, Heard, Reach};
use super::super::report::{Action, Report};
use super::super::{SILENCE, UniqueId};
use super::Primary;
use crate::time::Monotonic;

impl Primary {
    /// To be called whenever the worker may have begun or ceased to serve.
    pub(super) fn look_at_reach(&mut self, now: Monotonic, worker: UniqueId, out: &mut Vec<Action>) {
        let Some(channel) = self.channels.get(&worker).filter(|channel| channel.is_open() && channel.stands)
        else {
            return;
        };
        // One that never listened was ready by its word, and has nothing that it could have closed.
        let serves = channel.heard < Heard::Listening || self.serves(channel);
        let reach = match channel.reach {
            Reach::Open | Reach::Closing(_) if serves => Reach::Open,
            Reach::Closed if serves => {
                let is_first = channel.silences == 1;
                out.push(Action::Report(Report::SilenceOver { worker, is_first }));
                Reach::Open
            }
            Reach::Open => Reach::Closing(now + SILENCE),
            Reach::Closing(_) | Reach::Closed => return,
        };
        if let Some(channel) = self.channels.get_mut(&worker) {
            channel.reach = reach;
        }
    }

    /// Tells of those that have not listened again in time.
    pub(super) fn tell_of_silence(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let mut silent = Vec::new();
        for (worker, channel) in &mut self.channels {
            let is_due = matches!(channel.reach, Reach::Closing(when) if when <= now);
            if is_due && channel.is_open() {
                channel.reach = Reach::Closed;
                channel.silences = channel.silences.saturating_add(1);
                silent.push((*worker, channel.silences == 1));
            }
        }
        for (worker, is_first) in silent {
            let is_last = !self.channels.values().any(|channel| channel.is_open() && self.serves(channel));
            out.push(Action::Report(Report::Silent { worker, is_first, is_last }));
        }
    }

    /// It listens where the app's clients come.
    fn serves(&self, channel: &Channel) -> bool {
        if self.claims.has_inherited() {
            return !self.listens_on(channel).is_empty();
        }
        channel.grants.values().any(|grant| grant.listens)
    }
}
