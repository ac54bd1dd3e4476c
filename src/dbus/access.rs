//! Who may change something. Reading is open to all; root and the supervisor's own user may change everything;
//! on the system bus others are asked for by polkit. It decides permission only, per [`Action`].

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use zbus::message::{Flags, Header};
use zbus::{Connection, Message, Variant};

use super::Caller;
use super::calls::{Fault, LIMITS_EXCEEDED};

pub(super) const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// How long the bus may take to say who a caller is.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long polkit may take by itself.
const POLKIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long polkit may take when it asks a person for a password.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(120);

/// A permission, as polkit knows it (`org.ganger1.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Reload the configuration.
    Reload,
    /// Restart, scale, reset, stop.
    Manage,
    /// Signals and messages to workers.
    Signal,
}

impl Action {
    const fn id(self) -> &'static str {
        match self {
            Self::Reload => "org.ganger1.reload",
            Self::Manage => "org.ganger1.manage",
            Self::Signal => "org.ganger1.signal",
        }
    }
}

/// The permissions that polkit knows.
#[must_use]
pub const fn actions() -> [&'static str; 3] {
    [Action::Reload.id(), Action::Manage.id(), Action::Signal.id()]
}

/// Whether `uid` may change everything without a question.
pub(super) const fn is_master(uid: u32, own: u32) -> bool {
    uid == 0 || uid == own
}

/// Why a caller who may only look is turned away, and what to do about it.
pub(super) fn denied(action: Action, why: &str) -> Fault {
    Fault::new(ACCESS_DENIED, format!("not permitted ({}): {why}", action.id()))
}

/// The user and process behind a call on the bus.
pub(super) async fn caller(connection: &Connection, header: &Header<'_>) -> Result<Caller, Fault> {
    let sender = header.sender().map(|name| name.as_str().to_owned()).unwrap_or_default();
    let ask = connection.call_method(
        Some("org.freedesktop.DBus"),
        "/org/freedesktop/DBus",
        Some("org.freedesktop.DBus"),
        "GetConnectionCredentials",
        &sender,
    );
    let unknown = || Fault::new(ACCESS_DENIED, "the bus does not say who is calling");
    let reply = within(LOOKUP_TIMEOUT, ask).await.map_err(|_| unknown())?;
    let body = reply.body();
    let known = body.deserialize::<BTreeMap<&str, Variant<'_>>>().map_err(|_| unknown())?;
    let number = |key| known.get(key).and_then(|value| u32::try_from(value).ok());
    let uid = number("UnixUserID").ok_or_else(unknown)?;
    Ok(Caller { uid: Some(uid), pid: number("ProcessID") })
}

/// Asks polkit whether the sender of `call` may do `action` to `app`.
pub(super) async fn polkit(
    connection: &Connection,
    call: &Message,
    action: Action,
    app: &str,
) -> Result<(), Fault> {
    let header = call.header();
    let sender = header.sender().map(|name| name.as_str().to_owned()).unwrap_or_default();
    let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let subject = ("system-bus-name", BTreeMap::from([("name", Variant::from(sender))]));
    let details = BTreeMap::from([("app", app)]);
    let question = (subject, action.id(), details, u32::from(interactive), "");
    let ask = connection.call_method(
        Some("org.freedesktop.PolicyKit1"),
        "/org/freedesktop/PolicyKit1/Authority",
        Some("org.freedesktop.PolicyKit1.Authority"),
        "CheckAuthorization",
        &question,
    );
    let patience = if interactive { INTERACTIVE_TIMEOUT } else { POLKIT_TIMEOUT };
    let reply = within(patience, ask).await.map_err(|why| {
        denied(action, &format!("polkit gave no answer ({why}); root and the app's own user always may"))
    })?;
    let verdict = reply.body().deserialize::<(bool, bool, BTreeMap<String, String>)>();
    match verdict {
        Ok((true, _, _)) => Ok(()),
        Ok((false, true, _)) => {
            Err(denied(action, "polkit wants authentication; run it as root, or allow it by a polkit rule"))
        }
        Ok((false, false, _)) => {
            Err(denied(action, "polkit refused; run it as root, or allow it by a polkit rule"))
        }
        Err(error) => Err(denied(action, &format!("polkit's answer is no answer ({error})"))),
    }
}

/// How many questions may be open.
pub(super) fn too_many() -> Fault {
    Fault::new(LIMITS_EXCEEDED, "too many requests are waiting, try again later")
}

async fn within<F>(patience: Duration, ask: F) -> Result<Message, String>
where
    F: Future<Output = zbus::Result<Message>>,
{
    match tokio::time::timeout(patience, ask).await {
        Ok(reply) => reply.map_err(|error| error.to_string()),
        Err(_) => Err("no reply in time".to_owned()),
    }
}
