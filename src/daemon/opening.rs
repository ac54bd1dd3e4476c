//! Which sockets are served: those that the service manager passed, else those that the configuration names.

use tracing::info;

use crate::os::sockets::{self, SocketPath};
use crate::plan::{Address, Plan};
use crate::proto::listen_fds::FdName;
use crate::systemd::activation::{self, Listener};

use super::fatal::{Fatal, failed};

/// What is served.
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listener>,
    /// Socket files that were made here.
    pub(super) bound: Vec<SocketPath>,
    /// The service manager opened them.
    pub(super) are_passed: bool,
}

/// The sockets that systemd passed, else those that the plan names.
pub(super) fn listeners(plan: &Plan) -> Result<Sockets, Fatal> {
    let adopted = activation::adopt().map_err(|error| Fatal::Setup(error.to_string()))?.listeners;
    if !adopted.is_empty() {
        for listener in &adopted {
            let (address, name) = (where_it_is(listener.address.as_ref()), &listener.name);
            info!("serving {address} ({name}), passed by the service manager");
        }
        return Ok(Sockets { listeners: adopted, bound: Vec::new(), are_passed: true });
    }
    if plan.listen.is_empty() {
        return Err(Fatal::Setup(
            "there is no socket to serve: none was passed (LISTEN_FDS is not set) and none is configured; \
             start the .socket unit, or add `listen = [\"3000\"]` to the configuration, or `--listen 3000` to \
             the command line"
                .to_owned(),
        ));
    }
    let (mut listeners, mut paths) = (Vec::new(), Vec::new());
    for wanted in &plan.listen {
        let bound = sockets::bind(wanted).map_err(failed)?;
        let name = FdName::new(&wanted.name).map_err(|error| Fatal::Setup(error.to_string()))?;
        info!("listening on {} ({name})", bound.address);
        if let Address::Unix(path) = &bound.address {
            paths.push(SocketPath::note(path).map_err(failed)?);
        }
        let inode = sockets::inode(&bound.fd).map_err(failed)?;
        listeners.push(Listener {
            name,
            fd: bound.fd,
            kind: wanted.kind,
            address: Some(bound.address),
            inode,
        });
    }
    Ok(Sockets { listeners, bound: paths, are_passed: false })
}

/// An address as people write it.
pub(super) fn where_it_is(address: Option<&Address>) -> String {
    address.map_or_else(|| "an address without words".to_owned(), Address::to_string)
}
