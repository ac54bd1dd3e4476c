//! When the service manager is told what. Pure: the pool's standing and the time go in, messages come out.
//!
//! The rules, from sd_notify(3) and from what systemd 252 and 257 do:
//! - READY=1 once, when the pool is ready for the first time.
//! - RELOADING=1 … READY=1 around a reload that was asked over the bus or by a signal, whatever its end and
//!   however short it was: with `Type=notify-reload` systemd waits for both after its signal. Around one that
//!   systemd itself waits for (`ExecReload=`) never: if ganger is killed in its middle, systemd 257 leaves the
//!   unit in `reload-notify` until its timeout.
//! - EXTEND_TIMEOUT_USEC= while starting, reloading or stopping takes legitimately long: once, and again only
//!   when the end moved away.
//! - STATUS= whenever it changes, but not in quick succession: the last one always comes, after
//!   [`STATUS_PAUSE`] at the latest. The end of a rollout is told at once.

use std::fmt::Write as _;
use std::time::Duration;

use super::notify::{Kind, Message};
use crate::proto::notify::Assignment;
use crate::time::Monotonic;

/// The shortest pause between two messages that carry only a status.
pub const STATUS_PAUSE: Duration = Duration::from_millis(100);

/// What is asked for beyond the expected end: the time for a kill, the reaping and the next message.
pub const PATIENCE_MARGIN: Duration = Duration::from_secs(5);

/// An end that moved by less than this is not announced anew; well inside the margin.
const PATIENCE_SLACK: Duration = Duration::from_secs(1);

/// How a reload was asked for, as far as the service manager is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By `ExecReload=`: the service manager waits for the asking command and learns the verdict from it.
    ByServiceManager,
    /// Over the bus, the private socket or by SIGHUP: the service manager has to be told.
    ByOthers,
}

/// A rollout under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloading {
    /// Who has to be told.
    pub asked: Asked,
    /// To which generation.
    pub generation: u64,
    /// Slots already there.
    pub done: u32,
    /// Slots in all.
    pub total: u32,
    /// It failed and is being taken back.
    pub aborting: bool,
}

/// How the pool stands, as far as the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing<'a> {
    /// Slots with a ready worker.
    pub ready: u32,
    /// Workers wanted.
    pub wanted: u32,
    /// The generation that serves.
    pub generation: u64,
    /// The pool has been ready, at least once.
    pub serving: bool,
    /// The rollout under way.
    pub reloading: Option<Reloading>,
    /// The pool is ending; so many workers are left.
    pub stopping: Option<u32>,
    /// This end cut a rollout short that the service manager itself waits for.
    pub cuts_reload: bool,
    /// Slots that reached their start limit.
    pub failed_slots: u32,
    /// Slots that are empty because somebody asked for it.
    pub stopped_slots: u32,
    /// How long starting, reloading or stopping may still take by its own deadlines.
    pub patience: Option<Duration>,
    /// What else a person should know: how the last reload failed.
    pub remark: Option<&'a str>,
}

/// What the service manager believes that ganger is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Starting,
    Running,
    Reloading,
    Stopping,
}

/// What was told so far.
#[derive(Debug, Clone)]
pub struct Upward {
    told: Told,
    status: String,
    status_at: Option<Monotonic>,
    overdue: bool,
    /// A rollout was under way when it was last looked.
    reloading: bool,
    /// A reload began of which nothing was told yet; it may be over when it is looked next.
    reload_to_tell: bool,
    patience_until: Option<Monotonic>,
}

impl Default for Upward {
    fn default() -> Self {
        Self::new()
    }
}

impl Upward {
    /// Nothing was told yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            told: Told::Starting,
            status: String::new(),
            status_at: None,
            overdue: false,
            reloading: false,
            reload_to_tell: false,
            patience_until: None,
        }
    }

    /// After a re-execution: the service manager knows already that the service is up, or not.
    #[must_use]
    pub fn resumed(was_ready: bool) -> Self {
        let told = if was_ready { Told::Running } else { Told::Starting };
        Self { told, ..Self::new() }
    }

    /// A reload that others than the service manager asked for began, or was refused at once.
    pub fn reload_began(&mut self) {
        self.reload_to_tell = true;
    }

    /// What to send, in this order, now that the pool stands like this. Nothing changed: nothing to send.
    #[must_use]
    pub fn observe(&mut self, now: Monotonic, standing: &Standing<'_>) -> Vec<Message> {
        let steps = self.steps(standing);
        self.reload_to_tell = false;
        let text = status(standing);
        let mut messages = Vec::new();
        for step in steps {
            self.told = step;
            // Each of systemd's states has a timer of its own: what was asked of the last one is void.
            self.patience_until = None;
            let state = match step {
                Told::Running | Told::Starting => Assignment::Ready,
                Told::Reloading => Assignment::Reloading { at: now },
                Told::Stopping => Assignment::Stopping,
            };
            // In one datagram, so that no one sees the new state with the old words.
            messages.push(Message::new(Kind::State, &[state, Assignment::Status(&text)]));
            self.remember(now, &text);
        }
        if let Some(span) = self.patience(now, standing) {
            messages.push(Message::new(Kind::Patience, &[Assignment::ExtendTimeout(span)]));
        }
        self.overdue = text != self.status;
        // Whoever waited for a rollout looks right after it: the end is told at once.
        let ended = std::mem::replace(&mut self.reloading, standing.reloading.is_some()) && !self.reloading;
        if self.overdue && (ended || self.status_at.is_none_or(|at| now >= at + STATUS_PAUSE)) {
            messages.push(Message::new(Kind::Status, &[Assignment::Status(&text)]));
            self.remember(now, &text);
        }
        messages
    }

    /// When to [`Upward::observe`] again although nothing changes: a status waits for its pause.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.status_at.filter(|_| self.overdue).map(|at| at + STATUS_PAUSE)
    }

    /// The last message of a supervisor that ends with an error: `why` for a person, `errno` and the exit
    /// status for `systemctl status`.
    #[must_use]
    pub fn fatal(&mut self, why: &str, errno: Option<i32>, exit_status: u8) -> Message {
        self.told = Told::Stopping;
        let status = Assignment::Status(why);
        let exit = Assignment::ExitStatus(exit_status);
        match errno {
            Some(errno) => Message::new(Kind::State, &[status, Assignment::Errno(errno), exit]),
            None => Message::new(Kind::State, &[status, exit]),
        }
    }

    fn remember(&mut self, now: Monotonic, text: &str) {
        text.clone_into(&mut self.status);
        self.status_at = Some(now);
        self.overdue = false;
    }

    /// Which states the service manager has to be led through to where the pool is.
    fn steps(&self, standing: &Standing<'_>) -> Vec<Told> {
        if standing.stopping.is_some() {
            // systemd would not look any more at how its `ExecReload=` ended, and call the reload done.
            let is_told = self.told == Told::Stopping || standing.cuts_reload;
            return if is_told { Vec::new() } else { vec![Told::Stopping] };
        }
        let announced = standing.reloading.is_some_and(|reload| reload.asked == Asked::ByOthers);
        match (self.told, announced) {
            // systemd takes RELOADING only from a service that is up.
            (Told::Starting, _) if !standing.serving => Vec::new(),
            (Told::Starting, false) | (Told::Reloading, false) => vec![Told::Running],
            (Told::Starting, true) => vec![Told::Running, Told::Reloading],
            (Told::Running, true) => vec![Told::Reloading],
            (Told::Running, false) if self.reload_to_tell => vec![Told::Reloading, Told::Running],
            // There is no way back from STOPPING.
            (Told::Running, false) | (Told::Reloading, true) | (Told::Stopping, _) => Vec::new(),
        }
    }

    /// How much time to ask for now, if it was not asked for already.
    fn patience(&mut self, now: Monotonic, standing: &Standing<'_>) -> Option<Duration> {
        let changing =
            self.told != Told::Running || standing.reloading.is_some() || standing.stopping.is_some();
        let Some(rest) = standing.patience.filter(|_| changing) else {
            self.patience_until = None;
            return None;
        };
        let until = now + rest + PATIENCE_MARGIN;
        if self.patience_until.is_some_and(|asked| until <= asked + PATIENCE_SLACK) {
            return None;
        }
        self.patience_until = Some(until);
        Some(until.since(now))
    }
}

/// The status as a person reads it in `systemctl status`.
fn status(standing: &Standing<'_>) -> String {
    let Standing { ready, wanted, generation, .. } = *standing;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match standing.stopping {
        Some(1) => write!(text, "stopping, 1 worker left"),
        Some(left) => write!(text, "stopping, {left} workers left"),
        None => write!(text, "{ready}/{wanted} workers ready, generation {generation}"),
    };
    if let Some(reload) = standing.reloading.filter(|_| standing.stopping.is_none()) {
        let Reloading { generation, done, total, .. } = reload;
        let _ = if reload.aborting {
            write!(text, ", taking back generation {generation}")
        } else {
            write!(text, ", reloading to generation {generation}: {done}/{total}")
        };
    }
    for (count, word) in [(standing.failed_slots, "failed"), (standing.stopped_slots, "stopped")] {
        let _ = match count {
            0 => Ok(()),
            1 => write!(text, ", 1 slot {word}"),
            many => write!(text, ", {many} slots {word}"),
        };
    }
    if let Some(remark) = standing.remark {
        let _ = write!(text, "; {remark}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(ms))
    }

    fn texts(messages: &[Message]) -> Vec<&str> {
        messages.iter().map(|message| message.text().trim_end()).collect()
    }

    fn starting(ready: u32) -> Standing<'static> {
        Standing { ready, wanted: 4, generation: 1, ..Standing::default() }
    }

    fn serving() -> Standing<'static> {
        Standing { serving: true, ..starting(4) }
    }

    fn reload(asked: Asked, done: u32) -> Option<Reloading> {
        Some(Reloading { asked, generation: 2, done, total: 4, aborting: false })
    }

    /// An upward side that has told READY at 0 ms.
    fn up() -> Upward {
        let mut upward = Upward::new();
        assert_eq!(upward.observe(at(0), &serving()).len(), 1);
        upward
    }

    #[test]
    fn ready_is_told_once_with_its_status() {
        let mut upward = Upward::new();
        assert_eq!(texts(&upward.observe(at(0), &starting(0))), ["STATUS=0/4 workers ready, generation 1"]);
        let ready = upward.observe(at(10), &serving());
        assert_eq!(texts(&ready), ["READY=1\nSTATUS=4/4 workers ready, generation 1"]);
        assert_eq!(ready[0].kind(), Kind::State);
        assert_eq!(texts(&upward.observe(at(500), &serving())), [""; 0]);
        let degraded = Standing { ready: 3, ..serving() };
        assert_eq!(texts(&upward.observe(at(900), &degraded)), ["STATUS=3/4 workers ready, generation 1"]);
        assert_eq!(texts(&upward.observe(at(1900), &serving())), ["STATUS=4/4 workers ready, generation 1"]);
    }

    #[test]
    fn a_quick_series_of_statuses_becomes_one_and_the_last_always_comes() {
        let mut upward = Upward::new();
        assert_eq!(upward.observe(at(0), &starting(0)).len(), 1);
        assert_eq!(upward.next_deadline(), None);
        for (ms, ready) in [(1, 1), (2, 2), (99, 3)] {
            assert_eq!(texts(&upward.observe(at(ms), &starting(ready))), [""; 0]);
            assert_eq!(upward.next_deadline(), Some(at(100)));
        }
        let last = upward.observe(at(100), &starting(3));
        assert_eq!(texts(&last), ["STATUS=3/4 workers ready, generation 1"]);
        assert_eq!(upward.next_deadline(), None);
        // A change that was undone within the pause needs no words.
        assert_eq!(texts(&upward.observe(at(110), &starting(2))), [""; 0]);
        assert_eq!(texts(&upward.observe(at(120), &starting(3))), [""; 0]);
        assert_eq!(upward.next_deadline(), None);
    }

    #[test]
    fn a_reload_asked_by_others_is_bracketed_whatever_its_end() {
        let mut upward = up();
        let begun = Standing { reloading: reload(Asked::ByOthers, 0), ..serving() };
        assert_eq!(
            texts(&upward.observe(at(2000), &begun)),
            ["RELOADING=1\nMONOTONIC_USEC=2000000\n\
                STATUS=4/4 workers ready, generation 1, reloading to generation 2: 0/4"]
        );
        let half = Standing { reloading: reload(Asked::ByOthers, 2), ..serving() };
        assert_eq!(texts(&upward.observe(at(2500), &half)).len(), 1);
        let failed = Standing { remark: Some("reload failed: worker 5 exited with status 1"), ..serving() };
        assert_eq!(
            texts(&upward.observe(at(3000), &failed)),
            ["READY=1\nSTATUS=4/4 workers ready, generation 1; reload failed: worker 5 exited with status 1"]
        );
    }

    #[test]
    fn a_reload_that_is_over_before_anybody_looked_is_told_all_the_same() {
        let mut upward = up();
        upward.reload_began();
        let failed = Standing { remark: Some("reload failed"), ..serving() };
        let told = upward.observe(at(2000), &failed);
        assert_eq!(
            texts(&told),
            [
                "RELOADING=1\nMONOTONIC_USEC=2000000\nSTATUS=4/4 workers ready, generation 1; reload failed",
                "READY=1\nSTATUS=4/4 workers ready, generation 1; reload failed"
            ]
        );
        assert_eq!(texts(&upward.observe(at(3000), &failed)), [""; 0], "it is told once");
    }

    #[test]
    fn a_reload_that_began_is_told_once() {
        let mut upward = up();
        upward.reload_began();
        let begun = Standing { reloading: reload(Asked::ByOthers, 0), ..serving() };
        assert_eq!(upward.observe(at(1000), &begun).len(), 1);
        let told = upward.observe(at(2000), &Standing { generation: 2, ..serving() });
        assert_eq!(texts(&told), ["READY=1\nSTATUS=4/4 workers ready, generation 2"]);
    }

    #[test]
    fn the_end_of_a_rollout_is_told_without_a_pause() {
        let mut upward = Upward::new();
        let _ = upward.observe(at(0), &serving());
        let under_way = Standing { reloading: reload(Asked::ByServiceManager, 0), ..serving() };
        let _ = upward.observe(at(500), &under_way);
        let ended = Standing { generation: 2, ..serving() };
        assert_eq!(texts(&upward.observe(at(501), &ended)), ["STATUS=4/4 workers ready, generation 2"]);
    }

    #[test]
    fn a_reload_that_systemd_waits_for_changes_only_status_and_timeout() {
        let mut upward = up();
        let begun = Standing {
            reloading: reload(Asked::ByServiceManager, 1),
            patience: Some(Duration::from_secs(90)),
            ..serving()
        };
        assert_eq!(
            texts(&upward.observe(at(2000), &begun)),
            [
                "EXTEND_TIMEOUT_USEC=95000000",
                "STATUS=4/4 workers ready, generation 1, reloading to generation 2: 1/4"
            ]
        );
        let done = Standing { generation: 2, ..serving() };
        assert_eq!(texts(&upward.observe(at(9000), &done)), ["STATUS=4/4 workers ready, generation 2"]);
    }

    #[test]
    fn a_reload_during_start_up_is_told_after_ready() {
        let mut upward = Upward::new();
        let early = Standing { reloading: reload(Asked::ByOthers, 0), ..starting(2) };
        assert!(texts(&upward.observe(at(0), &early)).iter().all(|text| text.starts_with("STATUS=")));
        let served = Standing { serving: true, ..early };
        let told = upward.observe(at(900), &served);
        assert!(told[0].text().starts_with("READY=1\n") && told[1].text().starts_with("RELOADING=1\n"));
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn time_is_asked_for_once_and_again_only_when_the_end_moves_away() {
        let mut upward = Upward::new();
        let wait = |seconds| Standing { patience: Some(Duration::from_secs(seconds)), ..starting(0) };
        assert_eq!(texts(&upward.observe(at(0), &wait(60)))[0], "EXTEND_TIMEOUT_USEC=65000000");
        assert_eq!(texts(&upward.observe(at(10_000), &wait(50))), [""; 0], "same end");
        assert_eq!(texts(&upward.observe(at(20_000), &wait(10))), [""; 0], "an earlier end");
        assert_eq!(texts(&upward.observe(at(30_000), &wait(60))), ["EXTEND_TIMEOUT_USEC=65000000"]);
    }

    #[test]
    fn each_state_of_systemd_is_asked_for_its_own_time() {
        let mut upward = Upward::new();
        let patience = Some(Duration::from_secs(30));
        let begun = upward.observe(at(0), &Standing { patience, ..starting(0) });
        assert_eq!(begun[0].kind(), Kind::Patience);
        let running = upward.observe(at(1000), &Standing { patience, ..serving() });
        assert_eq!(texts(&running), ["READY=1\nSTATUS=4/4 workers ready, generation 1"]);
        // The end is nearer than the one that was announced while starting, but that was for the start.
        let stopping = Standing { stopping: Some(4), patience: Some(Duration::from_secs(10)), ..serving() };
        assert_eq!(
            texts(&upward.observe(at(2000), &stopping)),
            ["STOPPING=1\nSTATUS=stopping, 4 workers left", "EXTEND_TIMEOUT_USEC=15000000"]
        );
    }

    #[test]
    fn after_stopping_nothing_but_status_and_time_follows() {
        let mut upward = up();
        let stopping = |left| Standing { stopping: Some(left), ..serving() };
        assert_eq!(texts(&upward.observe(at(1000), &stopping(4)))[0].lines().next(), Some("STOPPING=1"));
        assert_eq!(texts(&upward.observe(at(2000), &stopping(1))), ["STATUS=stopping, 1 worker left"]);
        let confused = Standing { reloading: reload(Asked::ByOthers, 0), ..serving() };
        let told = upward.observe(at(3000), &confused);
        assert!(told.iter().all(|message| message.kind() == Kind::Status));
    }

    #[test]
    fn stopping_in_the_middle_of_a_reload_needs_no_ready() {
        let mut upward = up();
        let begun = Standing { reloading: reload(Asked::ByOthers, 0), ..serving() };
        assert_eq!(upward.observe(at(1000), &begun).len(), 1);
        let told = upward.observe(at(2000), &Standing { stopping: Some(4), ..begun });
        assert_eq!(texts(&told), ["STOPPING=1\nSTATUS=stopping, 4 workers left"]);
    }

    #[test]
    fn failed_slots_and_an_aborting_reload_are_in_the_status() {
        let aborting = Reloading { aborting: true, ..reload(Asked::ByOthers, 1).unwrap() };
        let standing = Standing { ready: 3, failed_slots: 1, reloading: Some(aborting), ..serving() };
        assert_eq!(
            status(&standing),
            "3/4 workers ready, generation 1, taking back generation 2, 1 slot failed"
        );
    }

    #[test]
    fn slots_that_were_stopped_are_in_the_status() {
        let one = Standing { ready: 3, stopped_slots: 1, ..serving() };
        assert_eq!(status(&one), "3/4 workers ready, generation 1, 1 slot stopped");
        let more = Standing { ready: 1, failed_slots: 1, stopped_slots: 2, ..serving() };
        assert_eq!(status(&more), "1/4 workers ready, generation 1, 1 slot failed, 2 slots stopped");
    }

    #[test]
    fn an_end_that_cuts_systemds_own_reload_short_is_not_announced() {
        let mut upward = up();
        let patience = Some(Duration::from_secs(60));
        let ending = Standing { stopping: Some(4), cuts_reload: true, patience, ..serving() };
        let messages = upward.observe(at(2000), &ending);
        assert_eq!(messages.iter().map(Message::kind).collect::<Vec<_>>(), [Kind::Patience, Kind::Status]);
        assert_eq!(texts(&messages)[1], "STATUS=stopping, 4 workers left");
    }

    #[test]
    fn a_fatal_end_says_why() {
        let message = Upward::new().fatal("bind 127.0.0.1:80: permission denied", Some(13), 1);
        assert_eq!(message.text(), "STATUS=bind 127.0.0.1:80: permission denied\nERRNO=13\nEXIT_STATUS=1\n");
    }

    #[test]
    fn a_resumed_supervisor_does_not_start_anew() {
        let told = Upward::resumed(true).observe(at(0), &serving());
        assert_eq!(texts(&told), ["STATUS=4/4 workers ready, generation 1"]);
    }
}
