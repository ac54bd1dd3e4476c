//! Ctrl-C while waiting: the person leaves, the work goes on.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use tokio::sync::oneshot;

/// SIGINT as something that can be waited for; where that is impossible it simply ends the program.
#[derive(Debug)]
pub(crate) struct Detach {
    arrived: Option<oneshot::Receiver<()>>,
}

impl Detach {
    /// Begins to listen. Until it is dropped, SIGINT does not end the program.
    pub(crate) fn new() -> Self {
        let (send, arrived) = oneshot::channel();
        let mask = interrupt();
        if pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).is_err() {
            return Self { arrived: None };
        }
        // It inherits the mask and ends with the program, which lives no longer than one command.
        let listener = std::thread::Builder::new().name("ctrl-c".into()).spawn(move || {
            if interrupt().wait().is_ok() {
                let _ = send.send(());
            }
        });
        Self { arrived: listener.is_ok().then_some(arrived) }
    }

    /// Waits until the person wants to leave.
    pub(crate) async fn asked(&mut self) {
        let asked = match &mut self.arrived {
            Some(arrived) => arrived.await.is_ok(),
            None => false,
        };
        if !asked {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Detach {
    fn drop(&mut self) {
        // What is waited for later is to be interruptible again.
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&interrupt()), None);
    }
}

fn interrupt() -> SigSet {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGINT);
    mask
}
