//! The bus: the system's for a system unit, the user's for a user unit. It decides when to connect, and takes
//! the app's name. Supervision does not need it: without one ganger says so once and tries again now and then.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as std_net;
use std::time::Duration;

use tokio::net::UnixStream;
use zbus::{Connection, MessageStream};

use super::Hub;
use super::desk::{Desk, Door};
use super::gate::{self, MAX_CALL_BYTES, Oversize};

/// The first pause before another try; each failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// How long the bus may take to let us in.
const ENTRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The system bus, unless the environment names another (dbus-daemon(1)).
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Which bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bus {
    /// The system's, where polkit is asked.
    System,
    /// The user's.
    User,
    /// A bus at this address that is treated as the system's.
    SystemAt(String),
    /// A bus at this address that is treated as the user's.
    UserAt(String),
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::User => f.write_str("the user bus"),
            Self::SystemAt(address) | Self::UserAt(address) => write!(f, "the bus at {address}"),
        }
    }
}

impl Bus {
    fn address(&self) -> Option<String> {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        match self {
            Self::System => set("DBUS_SYSTEM_BUS_ADDRESS").or_else(|| Some(SYSTEM_BUS.to_owned())),
            Self::User => set("DBUS_SESSION_BUS_ADDRESS")
                .or_else(|| set("XDG_RUNTIME_DIR").map(|directory| format!("unix:path={directory}/bus"))),
            Self::SystemAt(address) | Self::UserAt(address) => Some(address.clone()),
        }
    }

    const fn door(&self) -> Door {
        match self {
            Self::System | Self::SystemAt(_) => Door::SystemBus,
            Self::User | Self::UserAt(_) => Door::UserBus,
        }
    }
}

/// Stays on the bus, whenever there is one.
pub(super) async fn serve(bus: Bus, hub: Hub) {
    let mut pause = FIRST_PAUSE;
    let mut said = false;
    loop {
        match enter(&bus, &hub).await {
            Ok((connection, messages)) => {
                tracing::debug!("on {bus} as {}", hub.identity.app.bus_name());
                (pause, said) = (FIRST_PAUSE, false);
                Desk::new(connection, hub.clone(), bus.door()).serve(messages).await;
                tracing::info!("{bus} is gone; D-Bus comes back with it, the workers do not need it");
            }
            Err(error) if !said => {
                said = true;
                tracing::info!("D-Bus is off: {bus}: {error}; trying again now and then");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LAST_PAUSE);
    }
}

async fn enter(bus: &Bus, hub: &Hub) -> Result<(Connection, MessageStream), String> {
    let entry = async {
        let mut socket = connect(bus).await.map_err(|error| error.to_string())?;
        let early = gate::knock(&mut socket).await.map_err(|error| error.to_string())?;
        let opened = gate::open(socket, early, MAX_CALL_BYTES, Oversize::Skip, None).await;
        let (connection, messages) = opened.map_err(|error| error.to_string())?;
        register(&connection, &hub.identity.app.bus_name()).await?;
        Ok((connection, messages))
    };
    tokio::time::timeout(ENTRY_TIMEOUT, entry).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn register(connection: &Connection, name: &str) -> Result<(), String> {
    const BUS: &str = "org.freedesktop.DBus";
    const PATH: &str = "/org/freedesktop/DBus";
    let hello = connection.call_method(Some(BUS), PATH, Some(BUS), "Hello", &()).await;
    hello.map_err(|error| error.to_string())?;
    let request = connection.call_method(Some(BUS), PATH, Some(BUS), "RequestName", &(name, 0u32)).await;
    let reply = request.map_err(|error| format!("the name {name} is not granted: {error}"))?;
    if reply.body().deserialize::<u32>().is_ok_and(|answer| answer == 2) {
        tracing::warn!("the bus name {name} belongs to another process; it is taken when that one leaves");
    }
    Ok(())
}

async fn connect(bus: &Bus) -> io::Result<UnixStream> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "no address is known");
    let address = bus.address().ok_or_else(none)?;
    let mut last = none();
    for place in address.split(';').filter_map(place) {
        let connected = match place {
            Place::Path(path) => UnixStream::connect(path).await,
            Place::Abstract(name) => std_net::SocketAddr::from_abstract_name(name)
                .and_then(|address| std_net::UnixStream::connect_addr(&address))
                .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
                .and_then(UnixStream::from_std),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where a unix socket is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Path(String),
    Abstract(String),
}

/// Reads one address such as `unix:path=/run/dbus/system_bus_socket,guid=…`; another transport is none.
fn place(address: &str) -> Option<Place> {
    address.strip_prefix("unix:")?.split(',').find_map(|pair| match pair.split_once('=')? {
        ("path", value) => unescape(value).map(Place::Path),
        ("abstract", value) => unescape(value).map(Place::Abstract),
        _ => None,
    })
}

/// Undoes the `%2f` of an address.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_path_or_an_abstract_socket() {
        let path = |path: &str| Some(Place::Path(path.to_owned()));
        assert_eq!(place("unix:path=/run/user/0/bus"), path("/run/user/0/bus"));
        assert_eq!(place("unix:guid=ab,path=/a%20b"), path("/a b"));
        assert_eq!(place("unix:abstract=/tmp/x"), Some(Place::Abstract("/tmp/x".into())));
        for none in ["tcp:host=localhost", "unix:runtime=yes", "unix:path=%2", "unix:path=%zz", ""] {
            assert_eq!(place(none), None, "{none}");
        }
    }
}
