//! The daemon's end of the channels, played by a test, and what tests talk to it with.

use std::path::PathBuf;
use std::process::{Command as Process, Output};
use std::sync::Arc;
use std::time::Duration;

use ganger::dbus::client::Client;
use ganger::dbus::{
    Ask, Gauge, Hub, Identity, MAX_WAITING_ASKS, MAX_WAITING_NOTICES, Notice, Server, Usage, Used,
    WorkerLabel, bind,
};
use ganger::os::sock_diag::Queue;
use ganger::plan::AppName;
use ganger::pool::{
    Cause, Exit, GenerationId, LastReload, Outcome, Phase, PoolPhase, ReloadView, Slot, SlotPhase, SlotView,
    Verdict, View, WorkerFailure, WorkerId, WorkerView,
};
use ganger::time::Monotonic;
use tokio::sync::{broadcast, mpsc, watch};

/// Long enough for a busy machine; no test waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Fake {
    pub(crate) hub: Hub,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) directory: tempfile::TempDir,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self::of_user(nix::unistd::geteuid().as_raw())
    }

    /// A supervisor that runs as `uid`, or says so.
    pub(crate) fn of_user(uid: u32) -> Self {
        let identity = Identity {
            app: AppName::new("my-app").unwrap(),
            pid: std::process::id(),
            uid,
            listeners: vec![("web".into(), "[::]:3000".into())],
        };
        let (view, views) = watch::channel(Arc::new(sample()));
        let (sender, asks) = mpsc::channel(MAX_WAITING_ASKS);
        let (notices, _) = broadcast::channel(MAX_WAITING_NOTICES);
        let hub = Hub::new(identity, views, sender, notices.clone());
        Self { hub, view, asks, notices, directory: tempfile::tempdir().unwrap() }
    }

    /// Has what workers use looked at by the test: where looks are asked for, and where they go.
    pub(crate) fn measured(&mut self) -> (mpsc::Receiver<()>, watch::Sender<Arc<Usage>>) {
        let (wanted, asked) = mpsc::channel(1);
        let (looks, seen) = watch::channel(Arc::default());
        self.hub = self.hub.clone().measured_by(Gauge::new(wanted, seen));
        (asked, looks)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("private")
    }

    pub(crate) fn serve(&self) -> Server {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Server::private(bind(&self.socket()).unwrap(), self.hub.clone()).unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.socket(), PATIENCE).await.unwrap()
    }

    /// Answers every ask from now on with `outcome`.
    pub(crate) fn always(&mut self, outcome: Outcome) -> tokio::task::JoinHandle<u32> {
        let mut asks = std::mem::replace(&mut self.asks, mpsc::channel(1).1);
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(ask) = asks.recv().await {
                count += 1;
                let _ = ask.reply.send(verdict(outcome));
            }
            count
        })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        self.view.send_modify(|view| change(Arc::make_mut(view)));
    }
}

/// Runs a program while the runtime goes on.
pub(crate) async fn run(mut process: Process) -> Output {
    tokio::task::spawn_blocking(move || process.output().unwrap()).await.unwrap()
}

/// Runs `busctl` against `address`.
pub(crate) async fn busctl(address: &str, arguments: &str) -> Output {
    let mut process = Process::new("busctl");
    process.args(["--no-pager", &format!("--address={address}")]).args(arguments.split_whitespace());
    run(process).await
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn at(secs: u64) -> Monotonic {
    Monotonic::from_origin(Duration::from_secs(secs))
}

pub(crate) fn label() -> WorkerLabel {
    WorkerLabel { worker: WorkerId(3), slot: Slot(0), generation: GenerationId(2), pid: Some(2003) }
}

pub(crate) fn verdict(outcome: Outcome) -> Verdict {
    let failure = WorkerFailure {
        worker: WorkerId(9),
        slot: Slot(1),
        pid: Some(2299),
        cause: Cause::Exit(Exit::Code(3)),
        started: at(70),
        ended: at(71),
    };
    let done = outcome == Outcome::Done;
    let message = if done { "reloaded" } else { "worker 1 of generation 2 exited with status 3" };
    Verdict {
        outcome,
        message: message.into(),
        generation: GenerationId(2),
        failure: (!done).then_some(failure),
    }
}

fn worker(id: u32, slot: u32, generation: u64, phase: Phase) -> WorkerView {
    WorkerView {
        worker: WorkerId(u64::from(id)),
        slot: Slot(slot),
        generation: GenerationId(generation),
        phase,
        pid: Some(2000 + id),
        started: at(10),
        ready_at: (phase != Phase::Starting).then(|| at(11)),
        deadline: (phase == Phase::Draining).then(|| at(90)),
        status: (slot == 0).then(|| "12 clients".into()),
        memory: (slot == 0).then_some(157_286_400),
    }
}

/// A look at worker 3 and at the listener, taken now.
pub(crate) fn usage() -> Arc<Usage> {
    let taken = ganger::os::clock::now();
    let used = Used { cpu: Some(Duration::from_millis(1500)), memory: Some(7 << 20), connections: Some(12) };
    Arc::new(Usage {
        taken,
        good_until: taken + PATIENCE,
        workers: [(WorkerId(3), used)].into(),
        queues: vec![Some(Queue { waiting: 2, backlog: 4096 })],
    })
}

/// A pool in the middle of a reload, after one that failed.
pub(crate) fn sample() -> View {
    let slot = |slot| SlotView {
        slot: Slot(slot),
        phase: SlotPhase::Ready,
        restarts: u64::from(slot),
        until: None,
        last_failure: (slot == 1).then_some(Cause::Oom),
    };
    View {
        app: "my-app".into(),
        phase: PoolPhase::Reloading,
        generation: GenerationId(1),
        wanted: 2,
        ready: 2,
        restarts: 1,
        since: at(5),
        slots: vec![slot(0), slot(1)],
        workers: vec![
            worker(3, 0, 2, Phase::Ready),
            worker(1, 0, 1, Phase::Draining),
            worker(2, 1, 1, Phase::Ready),
        ],
        reload: Some(ReloadView {
            generation: GenerationId(2),
            done: 1,
            total: 2,
            aborting: false,
            started: at(60),
        }),
        last_reload: Some(LastReload {
            verdict: verdict(Outcome::Failed),
            took: Duration::from_millis(1500),
            ended: at(50),
        }),
    }
}
