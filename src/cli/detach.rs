//! Signals while waiting: on Ctrl-C the person leaves and the work goes on. On SIGTERM, where systemd waits for this
//! command, it is most likely systemd that stops the service: then the verdict comes at once.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask, raise};
use tokio::sync::oneshot;

/// What a signal asks of a command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// The person wants to leave (SIGINT).
    Leave,
    /// The command is to end (SIGTERM).
    End,
}

/// Signals as something that can be waited for; where that is impossible they simply end the program.
#[derive(Debug)]
pub(crate) struct Detach {
    mask: SigSet,
    arrived: Option<oneshot::Receiver<Called>>,
}

impl Detach {
    /// Begins to listen. Until it is dropped, SIGINT does not end the program, nor does SIGTERM when systemd waits for
    /// this command.
    pub(crate) fn new(by_manager: bool) -> Self {
        let (send, arrived) = oneshot::channel();
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        if by_manager {
            mask.add(Signal::SIGTERM);
        }
        if pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).is_err() {
            return Self { mask: SigSet::empty(), arrived: None };
        }
        // It inherits the mask and ends with the program, which lives no longer than one command.
        let listener = std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Ok(signal) = mask.wait() {
                let _ = send.send(if signal == Signal::SIGTERM { Called::End } else { Called::Leave });
            }
        });
        Self { mask, arrived: listener.is_ok().then_some(arrived) }
    }

    /// What was asked by now.
    pub(crate) fn called(&mut self) -> Option<Called> {
        self.arrived.as_mut()?.try_recv().ok()
    }

    /// Waits until there is a signal.
    pub(crate) async fn asked(&mut self) -> Called {
        let asked = match &mut self.arrived {
            Some(arrived) => arrived.await.ok(),
            None => None,
        };
        match asked {
            Some(called) => called,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Detach {
    fn drop(&mut self) {
        // What is waited for later is to be interruptible again.
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&self.mask), None);
    }
}

/// Ends as a program does that knows nothing of SIGTERM.
pub(crate) fn end() {
    let _ = raise(Signal::SIGTERM);
}
