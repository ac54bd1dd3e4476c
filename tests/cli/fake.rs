//! A supervisor that a test plays: the real server on a private socket, a script behind it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ganger::dbus::{
    Ask, Hub, Identity, MAX_WAITING_ASKS, MAX_WAITING_NOTICES, Notice, Server, WorkerLabel, bind,
};
use ganger::os::clock;
use ganger::plan::AppName;
use ganger::pool::{
    Cause, Exit, GenerationId, Outcome, Phase, PoolPhase, Slot, SlotPhase, SlotView, Verdict, View,
    WorkerFailure, WorkerId, WorkerView,
};
use tokio::sync::{broadcast, mpsc, watch};

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// `ganger WORDS` with a home and a runtime directory of its own.
pub(crate) fn ganger(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
    command
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", root.join("home"))
        .env("XDG_RUNTIME_DIR", root.join("run"))
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(root: &Path, words: &[&str]) -> Ended {
    ended(&mut ganger(root, words))
}

pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What the played supervisor does with a wish.
pub(crate) type Script = fn(&Ask, &broadcast::Sender<Notice>) -> Option<Verdict>;

/// Plays the supervisor of `api` by `script` while `test` runs; `None` of the script: no verdict ever comes.
pub(crate) fn while_served<T: Send + 'static>(
    root: &Path,
    script: Script,
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let directory = root.join("run/ganger/api");
    std::fs::create_dir_all(&directory).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let identity = Identity {
            app: AppName::new("api").unwrap(),
            pid: std::process::id(),
            uid: nix::unistd::geteuid().as_raw(),
            listeners: vec![("http".into(), "127.0.0.1:3000".into())],
        };
        let (_view, views) = watch::channel(Arc::new(view()));
        let (sender, mut asks) = mpsc::channel(MAX_WAITING_ASKS);
        let (notices, _) = broadcast::channel(MAX_WAITING_NOTICES);
        let hub = Hub::new(identity, views, sender, notices.clone());
        let _server = Server::private(bind(&directory.join("private")).unwrap(), hub).unwrap();
        let daemon = tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some(ask) = asks.recv().await {
                match script(&ask, &notices) {
                    Some(verdict) => {
                        // What was told before the verdict is to arrive before it.
                        tokio::task::yield_now().await;
                        let _ = ask.reply.send(verdict);
                    }
                    None => unanswered.push(ask),
                }
            }
        });
        let result = tokio::task::spawn_blocking(test).await.unwrap();
        daemon.abort();
        result
    })
}

/// A worker of slot 0, by its number.
pub(crate) fn label(worker: u64, generation: u64) -> WorkerLabel {
    let pid = Some(u32::try_from(worker).unwrap() + 4_000_000);
    WorkerLabel { worker: WorkerId(worker), slot: Slot(0), generation: GenerationId(generation), pid }
}

/// The new worker of a reload comes up and the old one goes.
pub(crate) fn replaced(notices: &broadcast::Sender<Notice>) {
    for notice in [
        Notice::ReloadStarted(GenerationId(2)),
        Notice::WorkerStarted(label(2, 2)),
        Notice::WorkerReady(label(2, 2), Duration::from_millis(1400)),
        Notice::WorkerDraining(label(1, 1), Cause::Replaced),
        Notice::WorkerExited(label(1, 1), Cause::Exit(Exit::Code(0)), true, None),
    ] {
        let _ = notices.send(notice);
    }
}

pub(crate) fn verdict(outcome: Outcome, message: &str) -> Verdict {
    let now = clock::now();
    let failure = (outcome == Outcome::Failed).then(|| WorkerFailure {
        worker: WorkerId(2),
        slot: Slot(0),
        pid: Some(4_000_002),
        cause: Cause::Exit(Exit::Code(3)),
        started: now - Duration::from_secs(2),
        ended: now,
    });
    Verdict { outcome, message: message.into(), generation: GenerationId(2), failure }
}

fn view() -> View {
    let now = clock::now();
    View {
        app: "api".into(),
        phase: PoolPhase::Serving,
        generation: GenerationId(1),
        wanted: 1,
        ready: 1,
        restarts: 0,
        since: now - Duration::from_secs(60),
        slots: vec![SlotView {
            slot: Slot(0),
            phase: SlotPhase::Ready,
            restarts: 0,
            until: None,
            last_failure: None,
        }],
        workers: vec![WorkerView {
            worker: WorkerId(1),
            slot: Slot(0),
            generation: GenerationId(1),
            phase: Phase::Ready,
            pid: Some(4_000_001),
            started: now - Duration::from_secs(60),
            ready_at: Some(now - Duration::from_secs(59)),
            deadline: None,
            status: None,
            memory: Some(157_286_400),
        }],
        reload: None,
        last_reload: None,
    }
}
