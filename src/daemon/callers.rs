//! Who waits for a verdict, and how it was asked for. What the verdict is, the pool decides.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use crate::dbus::Origin;
use crate::os::pidfd::Child;
use crate::pool::{Outcome, RequestId, Verdict};

/// How long is slept at a time until processes that are not our children were reaped.
const NAP: Duration = Duration::from_millis(5);

/// Who waits for a verdict.
#[derive(Debug)]
struct Caller {
    reply: oneshot::Sender<Verdict>,
    /// How a reload was asked for.
    origin: Option<Origin>,
    /// What is said besides when it is done.
    remark: Option<String>,
    /// What was asked for, in words; nothing when the log is told by itself that it is refused.
    wish: Option<String>,
    /// The process that asked.
    pid: Option<u32>,
}

/// Who waits for a verdict, and how it was asked.
#[derive(Debug, Default)]
pub(super) struct Callers {
    waiting: BTreeMap<RequestId, Caller>,
    next: u64,
    /// systemd itself waits for the rollout under way (`ExecReload=`).
    pub(super) reload_by_manager: bool,
    /// `ExecReload=` commands whose rollout was cut short by the end of the pool.
    pub(super) cut_short: Vec<Child>,
}

impl Callers {
    pub(super) fn enter(
        &mut self,
        reply: oneshot::Sender<Verdict>,
        origin: Option<Origin>,
        remark: Option<String>,
        wish: Option<String>,
        pid: Option<u32>,
    ) -> RequestId {
        self.next = self.next.wrapping_add(1);
        let request = RequestId(self.next);
        self.waiting.insert(request, Caller { reply, origin, remark, wish, pid });
        request
    }

    pub(super) fn answer(&mut self, request: RequestId, mut verdict: Verdict) {
        if let Some(Caller { reply, origin, remark, wish, pid }) = self.waiting.remove(&request) {
            if (origin, verdict.outcome) == (Some(Origin::ExecReload), Outcome::Stopped) {
                self.cut_short.extend(pid.and_then(|pid| Child::open(pid).ok()));
            }
            // The log has it as asked for, and who asked may be gone, or have been a signal.
            if let Some(wish) = wish.filter(|_| verdict.outcome == Outcome::Refused) {
                warn!("{wish} was refused: {}", verdict.message);
            }
            if let Some(remark) =
                remark.filter(|_| matches!(verdict.outcome, Outcome::Done | Outcome::Partly))
            {
                verdict.message.push_str("; ");
                verdict.message.push_str(&remark);
            }
            // A caller who is gone does not want to know any more.
            let _ = reply.send(verdict);
        }
    }

    pub(super) fn manager_waits(&self) -> bool {
        self.waiting.values().any(|caller| caller.origin == Some(Origin::ExecReload))
    }

    /// Waits until the service manager has seen how the `ExecReload=` commands ended that were cut short, at most for
    /// `grace`: it reaps them when it has. If ganger left before, it would call the reload done.
    pub(super) async fn seen_by_manager(&self, grace: Duration) {
        let seen = async {
            while !self.cut_short.iter().all(Child::has_ended) {
                tokio::time::sleep(NAP).await;
            }
        };
        let _ = tokio::time::timeout(grace, seen).await;
    }
}
