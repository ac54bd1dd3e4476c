//! The one place of the command line that speaks to a supervisor.
//!
//! It turns the bus client's values into those of [`super::state`], and its errors into [`Trouble`]. What is
//! shown of them is decided elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::state::{
    Answer, AppState, FailedWorker, Happening, LastReloadState, QueueState, ReloadState, SlotState,
    WorkerState,
};
use crate::dbus::client::{self, Client, ClientError};
use crate::dbus::{Wish, outcome_word};

/// How long a supervisor that has no room is asked for a place, and the pause between two times.
const CROWD_PATIENCE: Duration = Duration::from_secs(2);
const CROWD_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens there.
    Absent(PathBuf),
    /// The caller may not speak to it, or may not do this.
    Denied(String),
    /// It did not answer in time.
    Silent,
    /// It went away while we waited.
    Gone,
    /// It takes no more connections of this user now.
    Crowded,
    /// It has no room for the wish now.
    Busy(String),
    /// It is of another version, and cannot do this.
    Unable(String),
    /// It did not understand us, or we did not understand it.
    Strange(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(_) => f.write_str("does not run"),
            Self::Denied(_) => f.write_str("not permitted: run this as root or as the app's user"),
            Self::Silent => f.write_str("does not answer"),
            Self::Gone => f.write_str("the supervisor went away"),
            Self::Crowded => f.write_str("takes no more connections from you now"),
            Self::Busy(reason) | Self::Unable(reason) | Self::Strange(reason) => f.write_str(reason),
        }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoSocket(path) | ClientError::Unreachable(path, _) => Self::Absent(path),
            ClientError::Crowded => Self::Crowded,
            ClientError::NotPermitted(reason) => Self::Denied(reason),
            ClientError::Busy(reason) => Self::Busy(reason),
            ClientError::Unknown(reason) => Self::Unable(reason),
            ClientError::Invalid(reason) => Self::Strange(reason),
            ClientError::DeadlinePassed => Self::Silent,
            ClientError::LostContact => Self::Gone,
        }
    }
}

/// A supervisor that answered.
#[derive(Debug)]
pub(crate) struct Supervisor {
    client: Client,
    patience: Duration,
}

impl Supervisor {
    /// Connects to a private socket. The supervisor may take `patience` for this and for each later question.
    pub(crate) async fn connect(socket: &Path, patience: Duration) -> Result<Self, Trouble> {
        Ok(Self { client: Client::connect(socket, patience).await?, patience })
    }

    /// The same, but a supervisor that has no room for one more connection is asked again for a while.
    pub(crate) async fn queue_up(socket: &Path, patience: Duration) -> Result<Self, Trouble> {
        let mut left = CROWD_PATIENCE;
        loop {
            match Self::connect(socket, patience).await {
                Err(Trouble::Crowded) if left >= CROWD_PAUSE => {
                    left -= CROWD_PAUSE;
                    tokio::time::sleep(CROWD_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// The app as it is now, with what its workers use.
    pub(crate) async fn state(&mut self) -> Result<AppState, Trouble> {
        Ok(app_state(self.client.view(self.patience).await?))
    }

    /// The numbers of its slots; what its workers use is not looked at.
    pub(crate) async fn slots(&mut self) -> Result<Vec<u32>, Trouble> {
        Ok(self.client.slots(self.patience).await?)
    }

    /// Has it tell what happens from now on.
    pub(crate) async fn watch(&mut self) -> Result<(), Trouble> {
        Ok(self.client.watch(self.patience).await?)
    }

    /// Asks for something, tells what happens meanwhile, and waits for what comes of it.
    pub(crate) async fn ask(
        &mut self,
        wish: &Wish,
        mut told: impl FnMut(&Happening),
    ) -> Result<Answer, Trouble> {
        self.watch().await?;
        let answer = self.client.call(wish, None, |happening| told(&happened(happening))).await?;
        Ok(Answer {
            outcome: outcome_word(answer.outcome).to_owned(),
            message: answer.message,
            generation: Some(answer.generation),
            failure: answer.failure.map(failed_worker),
        })
    }

    /// Tells what happens until the supervisor leaves, or `told` has seen enough (`false`).
    pub(crate) async fn happenings(
        &mut self,
        mut told: impl FnMut(&Happening) -> bool,
    ) -> Result<(), Trouble> {
        self.watch().await?;
        while let Some(happening) = self.client.happening().await {
            if !told(&happened(happening)) {
                return Ok(());
            }
        }
        Err(Trouble::Gone)
    }
}

fn app_state(app: client::Snapshot) -> AppState {
    AppState {
        app: app.app,
        version: app.version,
        state: app.state,
        ready: app.ready,
        wanted: app.wanted,
        generation: app.generation,
        restarts: app.restarts,
        since: app.since,
        pid: Some(app.main_pid).filter(|pid| *pid != 0),
        listen: app.listeners.into_iter().map(|(_, address)| address).collect(),
        queues: app.queues.into_iter().map(queue_state).collect(),
        slots: app.slots.into_iter().map(slot_state).collect(),
        workers: app.workers.into_iter().map(worker_state).collect(),
        reload: app.reloading.map(|reload| ReloadState {
            generation: reload.generation,
            done: reload.done,
            total: reload.total,
            aborting: reload.aborting,
            started: reload.started,
        }),
        last_reload: app.last_reload.map(|last| LastReloadState {
            outcome: last.outcome,
            message: last.message,
            generation: last.generation,
            took_usec: micros(last.took),
            ended: last.ended,
            failure: last.failure.map(failed_worker),
        }),
    }
}

fn queue_state(queue: client::AcceptQueue) -> QueueState {
    QueueState { listen: queue.address, waiting: queue.waiting, backlog: queue.backlog }
}

fn slot_state(slot: client::SlotState) -> SlotState {
    SlotState {
        slot: slot.slot,
        state: slot.state,
        restarts: slot.restarts,
        until: slot.next_start,
        last_failure: slot.last_failure.map(|(_, text)| text),
    }
}

fn worker_state(worker: client::WorkerState) -> WorkerState {
    let cpu_permille = over_its_life(&worker);
    WorkerState {
        worker: worker.worker,
        slot: worker.slot,
        generation: worker.generation,
        state: worker.state,
        pid: worker.pid,
        started: worker.started,
        ready_at: worker.ready,
        deadline: worker.deadline,
        status: worker.status,
        memory: worker.memory,
        connections: worker.connections,
        cpu_usec: worker.cpu.map(micros),
        cpu_permille,
        measured: worker.measured,
    }
}

/// Processor time per time, from a worker's start to the moment when it was seen: thousandths of a CPU.
fn over_its_life(worker: &client::WorkerState) -> Option<u64> {
    let life = worker.measured?.since(worker.started).as_micros();
    let used = worker.cpu?.as_micros().saturating_mul(1000).checked_div(life)?;
    u64::try_from(used).ok()
}

fn failed_worker(failure: client::Failure) -> FailedWorker {
    FailedWorker {
        slot: failure.slot,
        pid: failure.pid,
        cause: failure.cause,
        reason: failure.text,
        started: failure.started,
        ended: failure.ended,
    }
}

/// What an app said. What is nested too deep to be read again, or holds half a character, is shown as a string.
fn said(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

fn happened(happening: client::Happening) -> Happening {
    let is_reload = happening.name == "ReloadFinished";
    let (outcome, cause) = if is_reload { (happening.word, None) } else { (None, happening.word) };
    Happening {
        event: kebab(&happening.name),
        slot: happening.slot,
        generation: happening.generation,
        pid: happening.pid,
        worker: happening.worker,
        took_usec: happening.took.map(micros),
        expected: happening.expected,
        ended_signal: happening.ended.as_ref().and_then(|ended| ended.signal),
        ended_status: happening.ended.as_ref().and_then(|ended| ended.status),
        ended: happening.ended.map(|ended| ended.text),
        outcome,
        cause,
        reason: happening.text,
        message: happening.json.as_deref().map(said),
        missed: happening.missed,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// `WorkerReady` as `worker-ready`.
fn kebab(name: &str) -> String {
    let mut word = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_becomes_an_event_in_kebab_case() {
        let finished = client::Happening {
            name: "ReloadFinished".into(),
            word: Some("failed".into()),
            ..client::Happening::default()
        };
        let event = happened(finished);
        assert_eq!((event.event.as_str(), event.outcome.as_deref()), ("reload-finished", Some("failed")));
        let exited = client::Happening {
            name: "WorkerExited".into(),
            word: Some("exit".into()),
            ..client::Happening::default()
        };
        let event = happened(exited);
        assert_eq!((event.event.as_str(), event.cause.as_deref()), ("worker-exited", Some("exit")));
    }

    #[test]
    fn processor_time_is_told_over_a_workers_life_up_to_the_look() {
        let at = |secs| Some(crate::time::Monotonic::from_origin(Duration::from_secs(secs)));
        let worker = client::WorkerState {
            started: at(100).unwrap(),
            cpu: Some(Duration::from_secs(5)),
            measured: at(110),
            ..client::WorkerState::default()
        };
        assert_eq!(over_its_life(&worker), Some(500));
        assert_eq!(over_its_life(&client::WorkerState { measured: at(100), ..worker.clone() }), None);
        // Of a supervisor that does not look there is nothing.
        let unseen = worker_state(client::WorkerState { cpu: None, measured: None, ..worker });
        assert_eq!((unseen.cpu_usec, unseen.cpu_permille, unseen.memory), (None, None, None));
    }

    #[test]
    fn a_refusal_in_one_line_says_what_to_do_within_eighty_columns() {
        let denied = Trouble::Denied("not permitted (org.ganger1.reload): over the private socket".into());
        let line = format!("web-frontend: {denied}");
        assert!(line.len() <= 80 && line.ends_with("as root or as the app's user"), "{line}");
        assert_eq!(line.matches("not permitted").count(), 1);
    }

    #[test]
    fn nobody_at_the_socket_is_told_from_no_right_to_it() {
        let path = PathBuf::from("/run/ganger/api/private");
        let refused = ClientError::Unreachable(path.clone(), "connection refused".into());
        assert_eq!(Trouble::from(refused), Trouble::Absent(path));
        assert_eq!(Trouble::from(ClientError::NotPermitted("x".into())), Trouble::Denied("x".into()));
    }
}
