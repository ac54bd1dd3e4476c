//! The listening sockets are shared: what one worker does to one, all feel. Here they are watched, and mended
//! where that is possible (sd_listen_fds(3), "shutdown").

use tracing::{error, warn};

use crate::os::poller::Interest;
use crate::os::sockets;
use crate::plan::{Address, SocketKind};

use super::subjects::Subject;
use super::world::World;

/// The backlog of a socket that had to be told to listen again; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

impl World {
    /// Watches every listener for its end.
    pub(super) fn guard_listeners(&mut self) {
        for (index, listener) in self.listeners.iter().enumerate() {
            if let Err(error) = self.subjects.watch(&listener.fd, Subject::Listener(index), Interest::End) {
                warn!("listener {} is not watched: {error}", listener.name);
            }
        }
    }

    /// A worker ended a listener (shutdown(2)): it is told to listen again, before anybody is refused for long.
    pub(super) fn listener_ended(&mut self, index: usize) {
        let Some(listener) = self.listeners.get(index) else {
            return;
        };
        let name = &listener.name;
        if matches!(listener.address, Some(Address::Unix(_) | Address::Abstract(_))) {
            // The kernel never takes back the end of a unix socket, and goes on calling it a listening one.
            let end = "nobody can connect any more; restart the .socket unit, and keep the app from doing so";
            self.warn_once(format!("a worker shut down the shared listener {name}: {end}"));
            return;
        }
        if listener.kind == SocketKind::Datagram || sockets::is_accepting(&listener.fd).unwrap_or(true) {
            return;
        }
        match sockets::listen_again(&listener.fd, listener.address.as_ref(), BACKLOG) {
            Ok(()) => warn!("a worker shut down the shared listener {name}; it listens again"),
            Err(error) => error!("a worker shut down the shared listener {name}: failed to {error}"),
        }
    }

    /// A worker is ready, or left: has it taken a socket file away, before it listened or at its exit?
    pub(super) fn check_socket_files(&mut self) {
        let missing: Vec<(String, bool)> = self
            .socket_files
            .iter()
            .filter(|file| !file.is_intact())
            .map(|file| (file.path().display().to_string(), self.bound.contains(file)))
            .collect();
        for (path, is_bound_here) in missing {
            let anew = if is_bound_here { "start ganger anew" } else { "restart the .socket unit" };
            self.warn_once(format!(
                "the socket file {path} was removed or replaced, probably by a worker: nobody can connect any more; \
                 keep the app from unlinking it before it listens and at its exit, and {anew}"
            ));
        }
    }
}
