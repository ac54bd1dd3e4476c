//! Where one connection's calls are answered: looking at once, or when what workers use was looked at; wishes when
//! their verdict is there. Calls are read one by one, and the next is not read before the answer to a look is
//! written, so a caller that does not read holds up nobody but itself. It decides no permission and no outcome.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zbus::export::futures_core::Stream;
use zbus::message::{Header, Type};
use zbus::{Connection, Message, MessageStream};

use super::access;
use super::asking::{admit, error, reply_later, submit, wants_reply};
use super::calls::{self, Fault, UNKNOWN_METHOD};
use super::herald::{self, Hears};
use super::looks;
use super::members::{APP, Interface, Object, WORKER};
use super::{Caller, Hub, MAX_ASKS_PER_CONNECTION, Origin};

/// Callers of the bus whose name and permission are being found out at a time.
const MAX_LOOKUPS: usize = 64;
/// Calls of the bus that wait for a look at what the workers use.
const MAX_LOOKS: usize = 64;
/// Questions to polkit at a time.
const MAX_QUESTIONS: usize = 16;
/// Where the bus itself is found; on the private socket ganger plays the little of it that `busctl` needs.
const BUS_PATH: &str = "/org/freedesktop/DBus";
const PEER: &str = "org.freedesktop.DBus.Peer";

/// Ganger's own interfaces, whose methods all change something.
static OWN: [&Interface; 2] = [&APP, &WORKER];

/// How a connection came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// By the private socket; the kernel says who it is.
    Private(Caller),
    /// By the system bus, where polkit can be asked.
    SystemBus,
    /// By a user's bus.
    UserBus,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Desk {
    connection: Connection,
    hub: Hub,
    door: Door,
    asking: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    looking: Arc<Semaphore>,
    tasks: JoinSet<()>,
    telling: bool,
}

/// The next message of a stream.
pub(super) async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

impl Desk {
    /// A desk for `connection`. Who comes by the bus is told everything; on the private socket who asked for it.
    pub(super) fn new(connection: Connection, hub: Hub, door: Door) -> Self {
        let asking = match door {
            Door::Private(_) => MAX_ASKS_PER_CONNECTION,
            Door::SystemBus | Door::UserBus => MAX_LOOKUPS,
        };
        let mut desk = Self {
            connection,
            hub,
            door,
            asking: Arc::new(Semaphore::new(asking)),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            looking: Arc::new(Semaphore::new(MAX_LOOKS)),
            tasks: JoinSet::new(),
            telling: false,
        };
        if !matches!(door, Door::Private(_)) {
            desk.tell();
        }
        desk
    }

    /// Serves until the connection ends.
    pub(super) async fn serve(mut self, mut stream: MessageStream) {
        while let Some(Ok(message)) = next(&mut stream).await {
            while self.tasks.try_join_next().is_some() {}
            if message.message_type() != Type::MethodCall {
                self.overhear(&message);
                continue;
            }
            if self.is_put_off(&message).await {
                continue;
            }
            let header = message.header();
            let reply = match self.answer(&message, &header) {
                Ok(reply) => reply,
                Err(fault) => error(&header, &fault),
            };
            if let Some(reply) = reply.filter(|_| wants_reply(&header))
                && self.connection.send(&reply).await.is_err()
            {
                return;
            }
        }
    }

    fn tell(&mut self) {
        if !self.telling {
            self.telling = true;
            let hears = match self.door {
                Door::Private(caller) if self.is_master(caller) => Hears::Messages,
                Door::Private(_) | Door::SystemBus | Door::UserBus => Hears::Signals,
            };
            self.tasks.spawn(herald::tell(self.connection.clone(), self.hub.clone(), hears));
        }
    }

    fn is_master(&self, caller: Caller) -> bool {
        caller.uid.is_some_and(|uid| access::is_master(uid, self.hub.identity.uid))
    }

    /// What the bus says about our name.
    fn overhear(&self, message: &Message) {
        let header = message.header();
        let from_bus = header.sender().is_some_and(|sender| sender.as_str() == "org.freedesktop.DBus");
        let Some(member) = header.member().filter(|_| from_bus) else { return };
        let body = message.body();
        let name = body.deserialize::<&str>().unwrap_or_default();
        if name == self.hub.identity.app.bus_name() {
            match member.as_str() {
                "NameLost" => tracing::warn!("the bus name {name} was lost"),
                "NameAcquired" => tracing::debug!("the bus name {name} is ours"),
                _ => {}
            }
        }
    }

    fn answer(&mut self, call: &Message, header: &Header<'_>) -> Result<Option<Message>, Fault> {
        let path = header.path().map_or("", |path| path.as_str());
        let member = header.member().map_or("", |member| member.as_str());
        let asked = header.interface().map(|interface| interface.as_str().to_owned());
        let private = matches!(self.door, Door::Private(_));
        if private && path == BUS_PATH {
            return self.play_bus(member, header).map(Some);
        }
        if asked.as_deref() == Some(PEER) {
            return looks::peer(member, header).map(Some);
        }
        let (object, interface) = looks::find(&self.hub.view(), header)?;
        if OWN.iter().any(|own| own.name == interface.name) {
            return self.ask(object, member, call).map(|()| None);
        }
        looks::answer(&self.hub, call, header).map(Some)
    }

    /// Whether the answer to `call` has to wait for a new look at what the workers use. By the private socket it is
    /// waited for here; by the bus, which others' calls come by as well, the answer follows later.
    async fn is_put_off(&mut self, call: &Message) -> bool {
        if !self.hub.gauge.is_stale() || !looks::needs_usage(call) {
            return false;
        }
        if matches!(self.door, Door::Private(_)) {
            self.hub.gauge.look().await;
            return false;
        }
        // Of very many at once the last ones get what was seen last.
        let Ok(permit) = Arc::clone(&self.looking).try_acquire_owned() else { return false };
        let (connection, hub, call) = (self.connection.clone(), self.hub.clone(), call.clone());
        self.tasks.spawn(async move {
            hub.gauge.look().await;
            let header = call.header();
            let reply = looks::answer(&hub, &call, &header).map_or_else(|fault| error(&header, &fault), Some);
            if let Some(reply) = reply.filter(|_| wants_reply(&header)) {
                let _ = connection.send(&reply).await;
            }
            drop(permit);
        });
        true
    }

    /// The little of a bus that lets `busctl --address=unix:path=…` talk to the private socket.
    fn play_bus(&mut self, member: &str, header: &Header<'_>) -> Result<Message, Fault> {
        let reply = Message::method_return(header);
        let reply = match member {
            "Hello" => reply.build(&":1.1"),
            "GetNameOwner" => reply.build(&":1.0"),
            "AddMatch" => {
                self.tell();
                reply.build(&())
            }
            "RemoveMatch" => reply.build(&()),
            _ => {
                return Err(Fault::new(
                    UNKNOWN_METHOD,
                    format!("{member}: this is no bus, but one app's own socket"),
                ));
            }
        };
        reply.map_err(Fault::broken)
    }

    /// Hands a wish on; the answer follows with its verdict.
    fn ask(&mut self, object: Object, member: &str, call: &Message) -> Result<(), Fault> {
        let origin = match self.door {
            Door::Private(_) => Origin::Private,
            Door::SystemBus | Door::UserBus => Origin::Bus,
        };
        let (wish, action) = calls::wish(object, member, call, origin)?;
        let permit = Arc::clone(&self.asking).try_acquire_owned().map_err(|_| access::too_many())?;
        let call = call.clone();
        let connection = self.connection.clone();
        let Door::Private(caller) = self.door else {
            let (hub, questions) = (self.hub.clone(), Arc::clone(&self.questions));
            let door = self.door;
            self.tasks.spawn(async move {
                let admitted = admit(&connection, &hub, door, &questions, &call, action).await;
                drop(permit);
                let pending = admitted.and_then(|caller| submit(&hub, wish, caller));
                reply_later(connection, call, pending).await;
            });
            return Ok(());
        };
        if !self.is_master(caller) {
            let why = "over the private socket only root and the app's own user may change anything";
            return Err(access::denied(action, why));
        }
        let pending = submit(&self.hub, wish, caller)?;
        self.tasks.spawn(async move {
            reply_later(connection, call, Ok(pending)).await;
            drop(permit);
        });
        Ok(())
    }
}
