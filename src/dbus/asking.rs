//! How a wish goes to the daemon and its verdict comes back to the caller. Nothing here waits for the daemon to
//! have room: a full channel is an answer of its own.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zbus::message::{Flags, Header};
use zbus::{Connection, Message};

use super::access::{self, Action};
use super::calls::{Fault, LIMITS_EXCEEDED};
use super::desk::Door;
use super::properties;
use super::words::{outcome_error, outcome_word};
use super::{Ask, Caller, Hub, Wish};
use crate::pool::{Outcome, Verdict};

/// Finds out who calls by the bus, and whether they may.
pub(super) async fn admit(
    connection: &Connection,
    hub: &Hub,
    door: Door,
    questions: &Semaphore,
    call: &Message,
    action: Action,
) -> Result<Caller, Fault> {
    let caller = access::caller(connection, &call.header()).await?;
    if caller.uid.is_some_and(|uid| access::is_master(uid, hub.identity.uid)) {
        return Ok(caller);
    }
    match door {
        Door::SystemBus => {
            let _question = questions.try_acquire().map_err(|_| access::too_many())?;
            access::polkit(connection, call, action, hub.identity.app.as_str()).await?;
            Ok(caller)
        }
        Door::UserBus | Door::Private(_) => {
            Err(access::denied(action, "only root and the app's own user may change anything"))
        }
    }
}

/// A wish that was handed on.
pub(super) struct Pending {
    verdict: oneshot::Receiver<Verdict>,
    _permit: OwnedSemaphorePermit,
}

/// Hands `wish` to the daemon, without waiting.
pub(super) fn submit(hub: &Hub, wish: Wish, caller: Caller) -> Result<Pending, Fault> {
    let permit = Arc::clone(&hub.in_flight).try_acquire_owned().map_err(|_| access::too_many())?;
    let (reply, verdict) = oneshot::channel();
    match hub.asks.try_send(Ask { wish, reply, caller }) {
        Ok(()) => Ok(Pending { verdict, _permit: permit }),
        Err(TrySendError::Full(_)) => {
            Err(Fault::new(LIMITS_EXCEEDED, "ganger is busy with other requests, try again later"))
        }
        Err(TrySendError::Closed(_)) => Err(leaving()),
    }
}

fn leaving() -> Fault {
    Fault::new("org.freedesktop.DBus.Error.NoReply", "ganger is leaving, the request got no verdict")
}

/// Waits for the verdict and writes the answer.
pub(super) async fn reply_later(connection: Connection, call: Message, pending: Result<Pending, Fault>) {
    let header = call.header();
    let (reply, _pending) = match pending {
        Ok(mut pending) => {
            let reply = match (&mut pending.verdict).await {
                Ok(verdict) => verdict_reply(&header, &verdict),
                Err(_) => error(&header, &leaving()),
            };
            (reply, Some(pending))
        }
        Err(fault) => (error(&header, &fault), None),
    };
    if let Some(reply) = reply.filter(|_| wants_reply(&header)) {
        let _ = connection.send(&reply).await;
    }
}

/// A verdict as an answer: what was not done is an error, so that `busctl call` fails, too.
fn verdict_reply(header: &Header<'_>, verdict: &Verdict) -> Option<Message> {
    let Verdict { outcome, message, generation, failure } = verdict;
    let failure = failure.as_ref().map(properties::failure_dict).unwrap_or_default();
    let built = if *outcome == Outcome::Done {
        let body = (outcome_word(*outcome), message.as_str(), generation.0, failure);
        Message::method_return(header).build(&body)
    } else {
        let body = (message.as_str(), generation.0, failure);
        Message::error(header, outcome_error(*outcome)).build(&body)
    };
    built.ok()
}

/// An error as an answer.
pub(super) fn error(header: &Header<'_>, fault: &Fault) -> Option<Message> {
    Message::error(header, fault.name).build(&fault.text.as_str()).ok()
}

/// Whether the caller wants an answer at all.
pub(super) fn wants_reply(header: &Header<'_>) -> bool {
    !header.primary().flags().contains(Flags::NO_REPLY_EXPECTED)
}
