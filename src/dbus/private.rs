//! The private socket: one app's own way in, without a bus. It decides who is let in and how many; what they
//! may do is decided at the desk.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net as std_net;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zbus::Guid;

use super::desk::{Desk, Door};
use super::gate::{self, MAX_CALL_BYTES, Oversize};
use super::{Caller, Hub, MAX_CONNECTIONS, MAX_STRANGERS, access};

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
    let guid = Guid::generate();
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Ok(credentials) = stream.peer_cred() else { continue };
        let caller = Caller {
            uid: Some(credentials.uid()),
            pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
        };
        let stranger = if access::is_master(credentials.uid(), hub.identity.uid) {
            None
        } else {
            match Arc::clone(&strangers).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => continue,
            }
        };
        if connections.len() >= MAX_CONNECTIONS {
            tracing::debug!(
                "too many connections to the private socket, one of user {} is closed",
                credentials.uid()
            );
            continue;
        }
        let (guid, hub) = (guid.clone(), hub.clone());
        connections.spawn(async move {
            let _stranger = stranger;
            attend(stream, &guid, caller, hub).await;
        });
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
