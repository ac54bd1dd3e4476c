//! A signal as a client sees it. It decides how a signal is read, not how it is shown.

use std::time::Duration;

use zbus::Message;

use super::super::members::APP_NAME;
use super::snapshot::{Ending, Raw, ending};

/// One signal of `org.ganger1.App`. Fields that a signal does not have are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Happening {
    /// The signal's name, such as `WorkerReady`.
    pub name: String,
    /// Which slot.
    pub slot: Option<u32>,
    /// Which generation.
    pub generation: Option<u64>,
    /// The worker's main process.
    pub pid: Option<u32>,
    /// The worker's name.
    pub worker: Option<u64>,
    /// How long it took, or will take (`SlotWaiting`).
    pub took: Option<Duration>,
    /// One word: a cause, or an outcome (`ReloadFinished`).
    pub word: Option<String>,
    /// In words.
    pub text: Option<String>,
    /// Whether the worker was told to leave (`WorkerExited`).
    pub expected: Option<bool>,
    /// How it ended, if it was told to leave and ended in another way (`WorkerExited`).
    pub ended: Option<Ending>,
    /// What an app said, as JSON (`Message`).
    pub json: Option<String>,
    /// How many signals were missed (`SignalsMissed`).
    pub missed: Option<u64>,
}

impl Happening {
    /// Reads a message; `None` when it is no signal of the app, or one of a newer supervisor.
    pub(super) fn read(message: &Message) -> Option<Self> {
        let header = message.header();
        header.interface().filter(|interface| interface.as_str() == APP_NAME)?;
        let name = header.member()?.as_str();
        let body = message.body();
        let mut happening = Self { name: name.to_owned(), ..Self::default() };
        match name {
            "PoolReady" | "Stopping" => {}
            "WorkerStarted" => happening.about(body.deserialize().ok()?),
            "WorkerReady" => {
                let (slot, generation, pid, worker, took) =
                    body.deserialize::<(u32, u64, u32, u64, u64)>().ok()?;
                happening.about((slot, generation, pid, worker));
                happening.took = Some(Duration::from_micros(took));
            }
            "WorkerDraining" | "WorkerKilled" | "WorkerStuck" => {
                let (slot, generation, pid, worker, word, text) =
                    body.deserialize::<(u32, u64, u32, u64, String, String)>().ok()?;
                happening.about((slot, generation, pid, worker));
                (happening.word, happening.text) = (Some(word), Some(text));
            }
            "WorkerExited" => {
                type Exited = (u32, u64, u32, u64, String, String, bool);
                let read = body.deserialize::<(u32, u64, u32, u64, String, String, bool, Raw)>();
                let (slot, generation, pid, worker, word, text, expected, ended) = match read {
                    Ok(all) => all,
                    // An older supervisor does not say how.
                    Err(_) => {
                        let (slot, generation, pid, worker, word, text, expected) =
                            body.deserialize::<Exited>().ok()?;
                        (slot, generation, pid, worker, word, text, expected, Raw::new())
                    }
                };
                happening.about((slot, generation, pid, worker));
                (happening.word, happening.text) = (Some(word), Some(text));
                (happening.expected, happening.ended) = (Some(expected), ending(&ended));
            }
            "Message" => {
                let (slot, generation, pid, worker, json) =
                    body.deserialize::<(u32, u64, u32, u64, String)>().ok()?;
                happening.about((slot, generation, pid, worker));
                happening.json = Some(json);
            }
            _ => happening.about_the_pool(name, message)?,
        }
        Some(happening)
    }

    fn about(&mut self, (slot, generation, pid, worker): (u32, u64, u32, u64)) {
        (self.slot, self.generation, self.worker) = (Some(slot), Some(generation), Some(worker));
        self.pid = Some(pid).filter(|pid| *pid != 0);
    }

    fn about_the_pool(&mut self, name: &str, message: &Message) -> Option<()> {
        let body = message.body();
        match name {
            "SlotWaiting" => {
                let (slot, delay) = body.deserialize::<(u32, u64)>().ok()?;
                (self.slot, self.took) = (Some(slot), Some(Duration::from_micros(delay)));
            }
            "SlotFailed" => {
                let (slot, word, text) = body.deserialize::<(u32, String, String)>().ok()?;
                (self.slot, self.word, self.text) = (Some(slot), Some(word), Some(text));
            }
            "ReloadStarted" => self.generation = Some(body.deserialize::<u64>().ok()?),
            "ReloadRefused" => self.text = Some(body.deserialize::<String>().ok()?),
            "ReloadAborting" => {
                let (generation, text) = body.deserialize::<(u64, String)>().ok()?;
                (self.generation, self.text) = (Some(generation), Some(text));
            }
            "ReloadFinished" => {
                let (generation, word, text) = body.deserialize::<(u64, String, String)>().ok()?;
                (self.generation, self.word, self.text) = (Some(generation), Some(word), Some(text));
            }
            "SignalsMissed" => self.missed = Some(body.deserialize::<u64>().ok()?),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use zbus::Message;

    use super::*;
    use crate::dbus::members::APP_PATH;

    #[test]
    fn an_end_told_by_an_older_supervisor_is_read_as_well() {
        let body = (2u32, 1u64, 4711u32, 9u64, "restart", "was restarted by request", true);
        let message = Message::signal(APP_PATH, APP_NAME, "WorkerExited").build(&body).unwrap();
        let happening = Happening::read(&message).unwrap();
        assert_eq!((happening.slot, happening.expected, happening.ended), (Some(2), Some(true), None));
        assert_eq!(happening.word.as_deref(), Some("restart"));
    }
}
