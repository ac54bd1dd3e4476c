//! Has a process accepted a connection? Asked of the process's own descriptors: a list of all connections is long
//! on a busy machine, and a short one is closed again before the list is read to its end.

use std::collections::BTreeSet;

use super::{connections, reaches};
use crate::os::pidfd::Child;
use crate::os::procfs;
use crate::os::sockets::{Role, describe};
use crate::plan::Address;

/// Whether one of these processes holds a connection to one of `listeners`. Where their descriptors may not be
/// copied for a look (`kernel.yama.ptrace_scope` ≥ 2, a filter of system calls), the kernel's list of connections
/// is asked.
#[must_use]
pub fn holds_accepted(pids: &[u32], listeners: &[Address]) -> bool {
    let mut unseen = BTreeSet::new();
    pids.iter().any(|pid| holds(*pid, listeners, &mut unseen))
        || (!unseen.is_empty() && connections(listeners, &unseen) > 0)
}

/// Looks at each socket; the inodes of those that could not be looked at go to `unseen`.
fn holds(pid: u32, listeners: &[Address], unseen: &mut BTreeSet<u64>) -> bool {
    let (Ok(process), Some(sockets)) = (Child::open(pid), procfs::sockets_of(pid)) else {
        return false;
    };
    sockets.into_iter().any(|(number, inode)| {
        let Ok(socket) = process.copy_of_fd(number) else {
            unseen.insert(inode);
            return false;
        };
        let about = describe(&socket).ok().filter(|about| about.role == Role::Connection);
        about.and_then(|it| it.address).is_some_and(|local| listeners.iter().any(|one| reaches(one, &local)))
    })
}
