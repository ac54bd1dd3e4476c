//! The one `select!`: whatever happens outside wakes it, and each arm only says what woke it.

use std::os::fd::OwnedFd;

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::mpsc;
use tracing::warn;

use crate::dbus::Ask;
use crate::os::pipes;
use crate::os::timer::{ClockWatch, Timer};
use crate::os::watched::watched;
use crate::pool::Effect;

use super::supervisor::{Finding, Supervisor, Wake};

/// Carries out the pool's first orders and runs until it leaves; says why, if it failed as a whole.
pub(super) async fn run(
    mut supervisor: Supervisor,
    first: Vec<Effect>,
    mut asks: mpsc::Receiver<Ask>,
    mut found: mpsc::Receiver<Finding>,
    mut looks: mpsc::Receiver<()>,
) -> std::io::Result<(Supervisor, Option<String>)> {
    let signals = watched(pipes::duplicate(&supervisor.signals)?)?;
    let reports = watched(pipes::duplicate(supervisor.world.subjects.poller())?)?;
    let mut timer = Timer::new()?;
    let elapsed = watched(pipes::duplicate(&timer)?)?;
    let mut wall_clock = clock_watch()?;
    let clock_set = wall_clock.as_ref().map(|clock| watched(pipes::duplicate(clock)?)).transpose()?;
    // Only now: workers may take every descriptor that is left.
    supervisor.begin(first);
    loop {
        if let Some(failure) = supervisor.left.take() {
            return Ok((supervisor, failure));
        }
        timer.set(supervisor.next_deadline())?;
        let mut unread = None;
        let wake = tokio::select! {
            ready = signals.readable() => { ready?.clear_ready(); Wake::Signals }
            ready = reports.readable() => { unread = Some(ready?); Wake::Reports }
            Some(finding) = found.recv() => Wake::Found(finding),
            Some(ask) = asks.recv() => Wake::Asked(ask),
            Some(()) = looks.recv() => Wake::LookWanted,
            set = readable(clock_set.as_ref()) => {
                set?.clear_ready();
                wall_clock.iter_mut().for_each(ClockWatch::heard);
                Wake::ClockSet
            }
            passed = elapsed.readable() => { passed?.clear_ready(); timer.elapsed(); Wake::Deadline }
        };
        supervisor.take_in(wake);
        // The poller is told once of each change: it is waited for again only when nothing is left in it.
        match unread {
            Some(mut unread) if supervisor.world.subjects.is_quiet() => unread.clear_ready(),
            // A worker that never stops talking must not keep those from their turn who speak for clients.
            Some(_) => tokio::task::yield_now().await,
            None => {}
        }
    }
}

/// Not every kernel that calls itself Linux can say that its clock was set, and not every sandbox lets it.
fn clock_watch() -> std::io::Result<Option<ClockWatch>> {
    match ClockWatch::new() {
        Ok(watch) => Ok(Some(watch)),
        // Too few descriptors to begin with.
        Err(error) if error.is_shortage() => Err(error.into()),
        Err(error) => {
            warn!("failed to {error}; that it is set is noticed within the hour");
            Ok(None)
        }
    }
}

/// What is not there is never readable.
async fn readable(watched: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
    match watched {
        Some(watched) => watched.readable().await,
        None => std::future::pending().await,
    }
}
