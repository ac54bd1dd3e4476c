//! The private socket: one app's own way in, without a bus. It decides who is let in and how many; what they
//! may do is decided at the desk.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net as std_net;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use zbus::Guid;

use super::desk::{Desk, Door};
use super::gate::{self, MAX_CALL_BYTES, Oversize};
use super::{Caller, Hub, MAX_CONNECTIONS, MAX_PER_STRANGER, MAX_STRANGERS, access};

/// How long a peer may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the kernel had no room for a connection (accept(2): `EMFILE`, `ENOMEM`).
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// Binds the private socket at `path`: anyone who reaches the directory may connect and look. A socket file
/// that nobody serves any more is replaced.
///
/// # Errors
/// `AddrInUse` when another supervisor answers there, else whatever bind(2) says.
pub fn bind(path: &Path) -> io::Result<std_net::UnixListener> {
    if std_net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another supervisor serves this socket"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = std_net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes connections for ever.
pub(super) async fn serve(listener: UnixListener, hub: Hub) {
    let mut lobby = Lobby::new(hub);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(credentials) = stream.peer_cred() else { continue };
        lobby.receive(stream, credentials.uid(), credentials.pid());
    }
}

/// A connection of a user who may only look.
struct Guest {
    uid: u32,
    task: AbortHandle,
}

/// Where a user who may only look finds a place.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// In place of this one.
    InsteadOf(usize),
    Nowhere,
}

/// The place for one more connection of `uid` among `present`, the oldest first. No user can take all the
/// places: each has a limit, and when all are taken who holds the most gives way to who holds none.
fn place(present: &[u32], uid: u32) -> Place {
    let held_by = |uid: u32| present.iter().filter(|other| **other == uid).count();
    let own = held_by(uid);
    if own >= MAX_PER_STRANGER {
        return Place::Nowhere;
    }
    if present.len() < MAX_STRANGERS {
        return Place::Free;
    }
    let greediest = present.iter().rev().copied().max_by_key(|other| held_by(*other)).unwrap_or(uid);
    match present.iter().position(|other| *other == greediest) {
        Some(oldest) if own == 0 || held_by(greediest) > own + 1 => Place::InsteadOf(oldest),
        Some(_) | None => Place::Nowhere,
    }
}

/// Everyone who was let in.
struct Lobby {
    hub: Hub,
    guid: Guid<'static>,
    guests: Vec<Guest>,
    connections: JoinSet<()>,
}

impl Lobby {
    fn new(hub: Hub) -> Self {
        Self { hub, guid: Guid::generate(), guests: Vec::new(), connections: JoinSet::new() }
    }

    /// Lets a connection in, or tells it that there is no room.
    fn receive(&mut self, stream: UnixStream, uid: u32, pid: Option<i32>) {
        while self.connections.try_join_next().is_some() {}
        self.guests.retain(|guest| !guest.task.is_finished());
        let is_guest = !access::is_master(uid, self.hub.identity.uid);
        if !self.make_room(uid, is_guest) {
            tracing::debug!("too many connections to the private socket, one of user {uid} is closed");
            gate::turn_away(&stream);
            return;
        }
        let caller = Caller { uid: Some(uid), pid: pid.and_then(|pid| u32::try_from(pid).ok()) };
        let (guid, hub) = (self.guid.clone(), self.hub.clone());
        let task = self.connections.spawn(async move { attend(stream, &guid, caller, hub).await });
        if is_guest {
            self.guests.push(Guest { uid, task });
        }
    }

    fn make_room(&mut self, uid: u32, is_guest: bool) -> bool {
        if !is_guest {
            return self.connections.len() < MAX_CONNECTIONS;
        }
        let present: Vec<u32> = self.guests.iter().map(|guest| guest.uid).collect();
        match place(&present, uid) {
            Place::Free => self.connections.len() < MAX_CONNECTIONS,
            Place::InsteadOf(index) => {
                self.guests.remove(index).task.abort();
                true
            }
            Place::Nowhere => false,
        }
    }
}

async fn attend(mut stream: UnixStream, guid: &Guid<'static>, caller: Caller, hub: Hub) {
    let uid = caller.uid.unwrap_or(u32::MAX);
    let greeting = gate::greet(&mut stream, guid, uid);
    let Ok(Ok(early)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, greeting).await else { return };
    let opened = gate::open(stream, early, MAX_CALL_BYTES, Oversize::Close, None).await;
    if let Ok((connection, messages)) = opened {
        Desk::new(connection, hub, Door::Private(caller)).serve(messages).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{broadcast, mpsc, watch};

    use super::*;
    use crate::dbus::Identity;
    use crate::plan::AppName;
    use crate::pool::{GenerationId, PoolPhase, View};
    use crate::time::Monotonic;

    /// Of an app whose user is 7.
    fn lobby() -> Lobby {
        let app = AppName::new("api").unwrap();
        let identity = Identity { app, pid: 1, uid: 7, listeners: Vec::new() };
        let view = View {
            app: "api".into(),
            phase: PoolPhase::Down,
            generation: GenerationId(1),
            wanted: 0,
            ready: 0,
            restarts: 0,
            since: Monotonic::from_origin(Duration::ZERO),
            slots: Vec::new(),
            workers: Vec::new(),
            reload: None,
            last_reload: None,
        };
        let (_, view) = watch::channel(std::sync::Arc::new(view));
        Lobby::new(Hub::new(identity, view, mpsc::channel(1).0, broadcast::channel(1).0))
    }

    /// What comes of a connection of `uid`.
    async fn knock(lobby: &mut Lobby, uid: u32) -> (std::io::Result<Vec<u8>>, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        lobby.receive(ours, uid, None);
        (gate::knock(&mut theirs).await, theirs)
    }

    #[tokio::test]
    async fn a_user_who_may_only_look_holds_so_many_connections_and_keeps_nobody_else_out() {
        let mut lobby = lobby();
        let mut held = Vec::new();
        for _ in 0..MAX_PER_STRANGER {
            let (answer, connection) = knock(&mut lobby, 1000).await;
            answer.unwrap();
            held.push(connection);
        }
        let refused = knock(&mut lobby, 1000).await.0.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded, "{refused}");
        for uid in [1001, 7, 0] {
            let (answer, connection) = knock(&mut lobby, uid).await;
            assert!(answer.is_ok(), "user {uid}: {answer:?}");
            held.push(connection);
        }
        // Who leaves makes room.
        held.remove(0);
        while knock(&mut lobby, 1000).await.0.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_greediest_gives_way_to_who_holds_none() {
        let mut lobby = lobby();
        let mut held = Vec::new();
        for number in 0..MAX_STRANGERS {
            let uid = 1000 + u32::try_from(number / MAX_PER_STRANGER).unwrap();
            let (answer, connection) = knock(&mut lobby, uid).await;
            answer.unwrap();
            held.push(connection);
        }
        let (answer, _connection) = knock(&mut lobby, 5000).await;
        answer.unwrap();
        assert_eq!(lobby.guests.len(), MAX_STRANGERS);
        let mut end = [0; 1];
        // One connection was closed, and it was the oldest.
        let _ = held[0].readable().await;
        assert_eq!(held[0].try_read(&mut end).map_err(|error| error.kind()), Ok(0));
        let open = |connection: &UnixStream| {
            connection.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        assert!(held[1..].iter().all(open));
    }

    #[test]
    fn a_place_is_taken_only_from_one_who_has_more() {
        let alone: Vec<u32> = (0..).map(|number| 1000 + number).take(MAX_STRANGERS).collect();
        assert_eq!(place(&alone, 1005), Place::Nowhere);
        assert_eq!(place(&alone, 5000), Place::InsteadOf(0));
        let mut uneven = alone;
        uneven[3..3 + 4].fill(2000);
        assert_eq!(place(&uneven, 1001), Place::InsteadOf(3));
        assert_eq!(place(&uneven, 2000), Place::Nowhere);
    }
}
