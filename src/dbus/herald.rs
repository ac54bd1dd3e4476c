//! How one listener is told what happens: signals as they come, changed properties at a bounded rate. A
//! listener that does not read misses signals, which are counted and told, and finds several changes of a
//! property as one; nothing grows.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use zbus::{Connection, Message};

use super::diff::{Change, difference};
use super::looks::managed;
use super::members::{APP_NAME, APP_PATH, OBJECT_MANAGER, PROPERTIES, WORKER_NAME, worker_path};
use super::{Hub, Notice, Usage};
use crate::pool::{Slot, View};

/// The least time between two rounds of changed properties.
const GAP: Duration = Duration::from_millis(100);

type ViewReceiver = watch::Receiver<Arc<View>>;

/// Whether a listener is told what apps say, besides what happens to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// Who may change something.
    Messages,
    /// Who may only look, and the bus: a signal there reaches everyone.
    Signals,
}

/// Begins to listen now, and tells everything until the connection or the supervisor ends.
pub(super) fn tell(connection: Connection, hub: Hub, hears: Hears) -> impl Future<Output = ()> + Send {
    let notices = hub.notices.subscribe();
    let messages = (hears == Hears::Messages).then(|| hub.messages.subscribe());
    let mut view = hub.view.clone();
    let told = Arc::clone(&view.borrow_and_update());
    go_on(connection, hub, (notices, messages), view, told)
}

type Notices = broadcast::Receiver<Notice>;
type Messages = broadcast::Receiver<Arc<Notice>>;

/// The next thing to say; what happens goes before what is said.
async fn next_notice(notices: &mut Notices, messages: &mut Option<Messages>) -> Result<Notice, RecvError> {
    let Some(messages) = messages else { return notices.recv().await };
    match first(notices.recv(), messages.recv()).await {
        First::Left(notice) => notice,
        First::Right(message) => message.map(Arc::unwrap_or_clone),
    }
}

async fn go_on(
    connection: Connection,
    hub: Hub,
    (mut notices, mut messages): (Notices, Option<Messages>),
    view: ViewReceiver,
    mut told: Arc<View>,
) {
    let mut later = Box::pin(changed(view, Duration::ZERO));
    loop {
        // Changed properties go first: they come at a bounded rate, and a flood of signals must not hide them.
        let done = match first(later.as_mut(), pin!(next_notice(&mut notices, &mut messages))).await {
            First::Right(Ok(notice)) => send_notice(&connection, &notice).await,
            First::Right(Err(RecvError::Lagged(count))) => {
                hub.missed.fetch_add(count, Ordering::Relaxed);
                let signal = Message::signal(APP_PATH, APP_NAME, "SignalsMissed");
                send(&connection, signal.build(&count)).await
            }
            First::Right(Err(RecvError::Closed)) | First::Left(None) => return,
            First::Left(Some(mut view)) => {
                let now = Arc::clone(&view.borrow_and_update());
                let done = send_difference(&connection, &hub, &told, &now).await;
                told = now;
                later.set(changed(view, GAP));
                done
            }
        };
        if done.is_err() {
            return;
        }
    }
}

/// The next change, not before `gap` is over; `None` when the supervisor ends.
async fn changed(mut view: ViewReceiver, gap: Duration) -> Option<ViewReceiver> {
    if !gap.is_zero() {
        tokio::time::sleep(gap).await;
    }
    view.changed().await.ok().map(|()| view)
}

enum First<A, B> {
    Left(A),
    Right(B),
}

/// Whichever is done first; the other is not lost, for both kinds of waiting can be taken up again.
async fn first<A: Future, B: Future>(left: A, right: B) -> First<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = left.as_mut().poll(context) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(context).map(First::Right)
    })
    .await
}

async fn send(connection: &Connection, message: zbus::Result<Message>) -> zbus::Result<()> {
    connection.send(&message?).await
}

async fn send_notice(connection: &Connection, notice: &Notice) -> zbus::Result<()> {
    send(connection, notice.message()).await
}

async fn send_difference(connection: &Connection, hub: &Hub, old: &View, new: &View) -> zbus::Result<()> {
    let difference = difference(&hub.identity, old, new);
    for slot in difference.removed {
        send(connection, removed(slot)).await?;
    }
    for slot in difference.added {
        if let Ok(Some((path, interfaces))) = managed(slot, new, &Usage::default()) {
            let signal = Message::signal(APP_PATH, OBJECT_MANAGER.name, "InterfacesAdded");
            send(connection, signal.build(&(path, interfaces))).await?;
        }
    }
    for Change { path, interface, changed, invalidated } in difference.changes {
        let signal = Message::signal(path, PROPERTIES.name, "PropertiesChanged");
        send(connection, signal.build(&(interface, changed, invalidated))).await?;
    }
    Ok(())
}

fn removed(slot: Slot) -> zbus::Result<Message> {
    let path = zbus::ObjectPath::try_from(worker_path(slot))?;
    Message::signal(APP_PATH, OBJECT_MANAGER.name, "InterfacesRemoved").build(&(path, vec![WORKER_NAME]))
}
