//! The other end of the private socket: what the command line uses to look at and steer one app. Every wait
//! has an end: the verdict, a deadline, or the supervisor's going, which is seen at once. It decides no exit
//! code and prints nothing.

mod happening;
mod snapshot;

use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use super::access::ACCESS_DENIED;
use super::calls::{LIMITS_EXCEEDED, UNKNOWN_METHOD};
use super::desk::next;
use super::gate::{self, MAX_REPLY_BYTES, Oversize};
use super::members::{APP_NAME, APP_PATH, PROPERTIES};
use super::words::{outcome_of_error, outcome_of_word};
use super::{Origin, Wish};
use crate::pool::{Command, Outcome, ScaleTo, Slot};

pub use happening::Happening;
pub use snapshot::{AcceptQueue, Ending, Failure, LastReload, Reloading, SlotState, Snapshot, WorkerState};

/// Signals that wait in a client before its socket is no longer read.
const QUEUE: Option<NonZeroUsize> = NonZeroUsize::new(64);

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// There is no such socket: the supervisor does not run (or runs elsewhere).
    NoSocket(PathBuf),
    /// The socket is there, but nobody serves it.
    Unreachable(PathBuf, String),
    /// The supervisor is up, but takes no more connections of this user now.
    Crowded,
    /// The caller may not.
    NotPermitted(String),
    /// The supervisor is up, but has no room for this request now.
    Busy(String),
    /// The supervisor has no such method: it is of another version than this program.
    Unknown(String),
    /// The request makes no sense to the supervisor: text of its own.
    Invalid(String),
    /// The deadline passed; the request goes on.
    DeadlinePassed,
    /// The supervisor went while an answer was awaited.
    LostContact,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket(path) => write!(f, "no supervisor runs here: there is no {}", path.display()),
            Self::Unreachable(path, why) => write!(f, "no supervisor answers at {}: {why}", path.display()),
            Self::Crowded => f.write_str("the supervisor takes no more connections of this user now"),
            Self::NotPermitted(why) | Self::Busy(why) | Self::Unknown(why) | Self::Invalid(why) => {
                f.write_str(why)
            }
            Self::DeadlinePassed => f.write_str("no answer in time; the request goes on"),
            Self::LostContact => f.write_str("lost contact: the supervisor went away"),
        }
    }
}

impl std::error::Error for ClientError {}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// In a word.
    pub outcome: Outcome,
    /// For people.
    pub message: String,
    /// The generation that serves now.
    pub generation: u64,
    /// The worker that was the reason, if one was.
    pub failure: Option<Failure>,
}

/// A connection to one app's supervisor.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    signals: MessageStream,
    watching: bool,
}

impl Client {
    /// Connects to the private socket at `path`. Must be called in a runtime of one thread.
    ///
    /// # Errors
    /// [`ClientError::NoSocket`], [`ClientError::Unreachable`], [`ClientError::NotPermitted`],
    /// [`ClientError::Crowded`], [`ClientError::LostContact`] when it leaves meanwhile, or
    /// [`ClientError::DeadlinePassed`] when the supervisor does not answer the handshake within `patience`.
    pub async fn connect(path: &Path, patience: Duration) -> Result<Self, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable(path.to_owned(), why);
        let opening = async {
            let mut socket = UnixStream::connect(path).await.map_err(|error| not_connected(path, &error))?;
            let early = gate::knock(&mut socket).await.map_err(|error| not_let_in(path, &error))?;
            let opened = gate::open(socket, early, MAX_REPLY_BYTES, Oversize::Close, QUEUE).await;
            let (connection, signals) = opened.map_err(|error| unreachable(error.to_string()))?;
            Ok(Self { connection, signals, watching: false })
        };
        tokio::time::timeout(patience, opening).await.unwrap_or(Err(ClientError::DeadlinePassed))
    }

    /// The app's state now.
    ///
    /// # Errors
    /// [`ClientError::LostContact`] or [`ClientError::DeadlinePassed`].
    pub async fn view(&mut self, patience: Duration) -> Result<Snapshot, ClientError> {
        let call = Message::method_call(APP_PATH, "GetAll")
            .interface(PROPERTIES.name)
            .build(&APP_NAME)
            .map_err(|error| ClientError::Invalid(error.to_string()))?;
        let reply = self.exchange(&call, Some(patience), |_| {}).await?;
        let body = reply.body();
        let raw = body.deserialize().map_err(|error| ClientError::Invalid(error.to_string()))?;
        Ok(snapshot::snapshot(&raw))
    }

    /// The numbers of the app's slots now. Nothing is looked at for it, so it is quicker than [`Client::view`].
    ///
    /// # Errors
    /// [`ClientError::LostContact`] or [`ClientError::DeadlinePassed`].
    pub async fn slots(&mut self, patience: Duration) -> Result<Vec<u32>, ClientError> {
        let call = Message::method_call(APP_PATH, "Get")
            .interface(PROPERTIES.name)
            .build(&(APP_NAME, "Slots"))
            .map_err(|error| ClientError::Invalid(error.to_string()))?;
        let reply = self.exchange(&call, Some(patience), |_| {}).await?;
        let body = reply.body();
        let slots = body.deserialize().map_err(|error| ClientError::Invalid(error.to_string()))?;
        Ok(snapshot::slot_numbers(&slots))
    }

    /// Asks for `wish` and waits for what comes of it, at most for `patience`. Meanwhile `on_happening` is told
    /// what happens, if [`Client::watch`] was called.
    ///
    /// # Errors
    /// Any [`ClientError`]; a wish that was carried out and failed is no error but an [`Answer`].
    pub async fn call(
        &mut self,
        wish: &Wish,
        patience: Option<Duration>,
        on_happening: impl FnMut(Happening),
    ) -> Result<Answer, ClientError> {
        let call = request(wish).map_err(|error| ClientError::Invalid(error.to_string()))?;
        let reply = self.exchange(&call, patience, on_happening).await?;
        read_answer(&reply)
    }

    /// Asks to be told what happens.
    ///
    /// # Errors
    /// [`ClientError::LostContact`] or [`ClientError::DeadlinePassed`].
    pub async fn watch(&mut self, patience: Duration) -> Result<(), ClientError> {
        if !self.watching {
            let call = Message::method_call("/org/freedesktop/DBus", "AddMatch")
                .interface("org.freedesktop.DBus")
                .build(&"type='signal'")
                .map_err(|error| ClientError::Invalid(error.to_string()))?;
            self.exchange(&call, Some(patience), |_| {}).await?;
            self.watching = true;
        }
        Ok(())
    }

    /// The next thing that happens, after [`Client::watch`]; `None` when the supervisor went.
    pub async fn happening(&mut self) -> Option<Happening> {
        while let Some(Ok(message)) = next(&mut self.signals).await {
            if let Some(happening) = signal(&message) {
                return Some(happening);
            }
        }
        None
    }

    /// Sends a call and waits for its answer; what comes in between is handed to `on_happening`.
    async fn exchange(
        &mut self,
        call: &Message,
        patience: Option<Duration>,
        mut on_happening: impl FnMut(Happening),
    ) -> Result<Message, ClientError> {
        let serial = call.primary_header().serial_num();
        let (connection, signals) = (&self.connection, &mut self.signals);
        let waiting = async {
            connection.send(call).await.map_err(|_| ClientError::LostContact)?;
            while let Some(Ok(message)) = next(signals).await {
                if message.header().reply_serial() == Some(serial) {
                    return Ok(message);
                }
                signal(&message).into_iter().for_each(&mut on_happening);
            }
            Err(ClientError::LostContact)
        };
        let reply = match patience {
            Some(patience) => {
                tokio::time::timeout(patience, waiting).await.unwrap_or(Err(ClientError::DeadlinePassed))?
            }
            None => waiting.await?,
        };
        if reply.message_type() == Type::Error { refusal(&reply).map(|()| reply) } else { Ok(reply) }
    }
}

fn not_connected(path: &Path, error: &std::io::Error) -> ClientError {
    if error.kind() == ErrorKind::NotFound {
        ClientError::NoSocket(path.to_owned())
    } else if error.kind() == ErrorKind::PermissionDenied {
        ClientError::NotPermitted(format!("not permitted to connect to {}", path.display()))
    } else {
        ClientError::Unreachable(path.to_owned(), error.to_string())
    }
}

/// Somebody listens there, so the app is not told to be down.
fn not_let_in(path: &Path, error: &std::io::Error) -> ClientError {
    if error.kind() == ErrorKind::QuotaExceeded {
        ClientError::Crowded
    } else if matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    ) {
        ClientError::LostContact
    } else {
        ClientError::Unreachable(path.to_owned(), error.to_string())
    }
}

fn signal(message: &Message) -> Option<Happening> {
    (message.message_type() == Type::Signal).then(|| Happening::read(message)).flatten()
}

/// Whether an error is a verdict (and so no error here), or why there is none.
fn refusal(reply: &Message) -> Result<(), ClientError> {
    let header = reply.header();
    let name = header.error_name().map_or("", |name| name.as_str());
    if outcome_of_error(name).is_some() {
        return Ok(());
    }
    let text = reply.body().deserialize::<String>().unwrap_or_else(|_| name.to_owned());
    Err(match name {
        ACCESS_DENIED => ClientError::NotPermitted(text),
        LIMITS_EXCEEDED => ClientError::Busy(text),
        UNKNOWN_METHOD => ClientError::Unknown(text),
        "org.freedesktop.DBus.Error.NoReply" => ClientError::LostContact,
        _ => ClientError::Invalid(text),
    })
}

fn read_answer(reply: &Message) -> Result<Answer, ClientError> {
    let header = reply.header();
    let body = reply.body();
    let strange = |_| ClientError::Invalid("the supervisor's answer is of another kind".to_owned());
    let (outcome, message, generation, failure) = match header.error_name() {
        Some(name) => {
            let (message, generation, failure) =
                body.deserialize::<(String, u64, snapshot::Raw)>().map_err(strange)?;
            (outcome_of_error(name.as_str()), message, generation, failure)
        }
        None => {
            let (word, message, generation, failure) =
                body.deserialize::<(String, String, u64, snapshot::Raw)>().map_err(strange)?;
            (outcome_of_word(&word), message, generation, failure)
        }
    };
    let outcome = outcome.unwrap_or(Outcome::Failed);
    Ok(Answer { outcome, message, generation, failure: snapshot::failure(&failure) })
}

/// The call that asks for a wish.
fn request(wish: &Wish) -> zbus::Result<Message> {
    let number = |slot: &Option<Slot>| slot.map_or(-1, |slot| i32::try_from(slot.0).unwrap_or(i32::MAX));
    let call = |member| Message::method_call(APP_PATH, member).interface(APP_NAME);
    match wish {
        Wish::Reload { origin: Origin::ExecReload } => call("ReloadByManager").build(&()),
        Wish::Reload { origin: Origin::Bus | Origin::Private | Origin::Signal } => call("Reload").build(&()),
        Wish::Command(Command::Restart { slot }) => call("Restart").build(&number(slot)),
        Wish::Command(Command::Scale { to }) => {
            let workers = match to {
                ScaleTo::Exactly(number) => number.to_string(),
                ScaleTo::Up(number) => format!("+{number}"),
                ScaleTo::Down(number) => format!("-{number}"),
            };
            call("Scale").build(&workers)
        }
        Wish::Command(Command::Signal { slot, signal }) => {
            call("Signal").build(&(number(slot), signal.to_string()))
        }
        Wish::Command(Command::Reset { slot }) => call("Reset").build(&number(slot)),
        Wish::Command(Command::StartSlot { slot }) => call("StartSlot").build(&slot.0),
        Wish::Command(Command::StopSlot { slot }) => call("StopSlot").build(&slot.0),
        Wish::Command(Command::Stop) => call("Stop").build(&()),
        Wish::Send { slot, json } => call("Send").build(&(number(slot), json.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_an_older_supervisor_has_not_is_told_from_a_wrong_argument() {
        let call = Message::method_call(APP_PATH, "StopSlot").build(&1u32).unwrap();
        let refused = |name: &str| {
            let reply = Message::error(&call.header(), name).build(&"there is no method StopSlot");
            refusal(&reply.unwrap()).unwrap_err()
        };
        let text = "there is no method StopSlot".to_owned();
        assert_eq!(refused(UNKNOWN_METHOD), ClientError::Unknown(text.clone()));
        assert_eq!(refused("org.freedesktop.DBus.Error.InvalidArgs"), ClientError::Invalid(text));
    }
}
