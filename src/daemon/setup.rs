//! From a request to a running supervisor, and its orderly end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tracing::{Level, error, info, warn};

use crate::dbus::{self, Bus, Gauge, Hub, Identity, MAX_WAITING_ASKS, MAX_WAITING_NOTICES, Server};
use crate::os::cgroup::{self, Delegated};
use crate::os::poller::Interest;
use crate::os::signals::{self, Signals};
use crate::os::sockets::SocketPath;
use crate::os::{clock, files, kin, messages, pidfd, rlimit, sockets, users};
use crate::plan::{Address, Plan, Protocol};
use crate::pool::Pool;
use crate::systemd::activation::Listener;
use crate::systemd::logging::{self, Logging, Settings};
use crate::systemd::notify::Notifier;
use crate::systemd::surroundings::{Manager, running_under};
use crate::systemd::upward::Upward;
use crate::systemd::watchdog::Watchdog;

use super::calendar::Schedule;
use super::callers::Callers;
use super::checking::Checks;
use super::event_loop;
use super::fatal::{Fatal, failed, io_failed};
use super::inbox::Inbox;
use super::measuring::Meter;
use super::opening;
use super::output::{self, Output};
use super::reading::Reader;
use super::repeating::Repeated;
use super::request::{RunRequest, Target};
use super::runtime_dir::{self, PRIVATE_SOCKET};
use super::subjects::{Subject, Subjects};
use super::supervisor::{MAX_FINDINGS, Supervisor};
use super::telling;
use super::world::World;

/// The workers' notify socket in the runtime directory.
const NOTIFY_SOCKET: &str = "notify";
/// How long the last answers may take when the supervisor leaves.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// How long the service manager may take to see how a reload ended that was cut short.
const LAST_VERDICTS: Duration = Duration::from_secs(2);
/// How long the last lines of workers may take to the terminal.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Sets everything up, runs, and cleans up.
pub(super) fn run(request: &RunRequest) -> Result<(), Fatal> {
    // Before any thread: every thread inherits the mask. For good: a SIGTERM that comes when all is done must
    // not turn an orderly end into a death by signal.
    let signals = Signals::block(&signals::SUPERVISOR).map_err(failed)?.for_good();
    let mut notifier = Notifier::from_env().unwrap_or_else(|_| Notifier::inert());
    let mut logging = None;
    let outcome = supervise(request, signals, &mut notifier, &mut logging);
    outcome.map_err(|fatal| {
        let code = fatal.exit_code();
        let _ = notifier.send(Upward::new().fatal(&fatal.in_a_line(), None, code));
        if is_recorded(&fatal, logging, request) { Fatal::Recorded(code) } else { fatal }
    })
}

fn supervise(
    request: &RunRequest,
    signals: Signals,
    notifier: &mut Notifier,
    logging: &mut Option<Logging>,
) -> Result<(), Fatal> {
    let mut reader = Reader::new(request);
    let loaded = reader.read_first().map_err(Fatal::Config)?;
    let plan = Arc::new(loaded.plan);
    *logging = start_logging(plan.app.to_string());
    telling::doubts(&loaded.warnings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(io_failed("start the event loop"))?;
    runtime.block_on(Box::pin(serve(request, &plan, reader, signals, notifier)))
}

fn start_logging(app: String) -> Option<Logging> {
    let debug = std::env::var_os("GANGER_DEBUG").is_some_and(|value| value != "0");
    let level = if debug { Level::DEBUG } else { Level::INFO };
    // A supervisor that cannot log can still supervise.
    logging::start(Settings { app, level, target: logging::Target::Auto }).ok()
}

/// Whether the end of a supervisor is a record of the journal, with its priority and its app. Elsewhere a person
/// reads standard error, and what is told there is the command line's business.
fn is_recorded(fatal: &Fatal, logging: Option<Logging>, request: &RunRequest) -> bool {
    if !logging::streams_to_journal() {
        return false;
    }
    // Of a configuration that cannot be read, only what was typed is known.
    let Some(_logging) = logging.or_else(|| start_logging(request.app())) else {
        return false;
    };
    error!("{fatal}");
    true
}

async fn serve(
    request: &RunRequest,
    plan: &Arc<Plan>,
    mut reader: Reader,
    signals: Signals,
    out: &mut Notifier,
) -> Result<(), Fatal> {
    let runtime_directory = RuntimeDirectory::make(request, plan)?;
    let directory = &runtime_directory.path;
    let private = directory.join(PRIVATE_SOCKET);
    // Before anything is made there: what stands there is the other one's.
    if let Some(pid) = runtime_dir::who_serves(&private) {
        return Err(runs_already(request, plan, pid));
    }
    let opening::Sockets { listeners, bound, are_passed } = opening::listeners(plan)?;
    if are_passed {
        reader.sockets_are_passed();
    }
    let mut world = world(request, plan, listeners, bound, directory.join(NOTIFY_SOCKET))?;
    let now = clock::now();
    let seed = u64::from(std::process::id()) ^ u64::try_from(clock::wall().as_nanos()).unwrap_or(u64::MAX);
    let (pool, effects) = Pool::new(Arc::clone(plan), seed, now);

    let (view, seen) = watch::channel(Arc::new(pool.view()));
    let (asks, asked) = mpsc::channel(MAX_WAITING_ASKS);
    let (notices, _) = broadcast::channel(MAX_WAITING_NOTICES);
    let (findings, found) = mpsc::channel(MAX_FINDINGS);
    let (looks, looked_for) = mpsc::channel(1);
    let hub = Hub::new(identity(plan, &world), seen, asks, notices.clone());
    let hub = hub.measured_by(Gauge::new(looks, world.meter.seen()));
    world.messages = Some(hub.messages());
    let listener = dbus::bind(&private)
        .map_err(|error| Fatal::Setup(format!("failed to listen on {}: {error}", private.display())))?;
    let _private = Server::private(listener, hub.clone()).map_err(io_failed("serve the private socket"))?;
    let _bus = bus().map(|bus| Server::bus(bus, hub.clone()));

    let supervisor = Supervisor {
        pool,
        world,
        signals,
        inbox: Inbox::default(),
        reader,
        callers: Callers::default(),
        upward: Upward::new(),
        notifier: std::mem::take(out),
        upward_token: None,
        watchdog: watchdog(),
        schedule: Schedule::default(),
        repeated: Repeated::default(),
        view,
        notices,
        findings,
        interrupted: false,
        unpublished: false,
        rest_at: None,
        left: None,
    };
    let (mut supervisor, failure) = event_loop::run(supervisor, effects, asked, found, looked_for)
        .await
        .map_err(io_failed("wait for events"))?;
    hub.settled(LAST_ANSWERS).await;
    supervisor.callers.seen_by_manager(LAST_VERDICTS).await;
    supervisor.world.kill_checks();
    supervisor.world.kill_all_orphans();
    supervisor.world.close_node();
    output::await_last_lines(LAST_LINES);
    clean_up(&supervisor.world, &private);
    *out = std::mem::take(&mut supervisor.notifier);
    failure.map_or(Ok(()), |reason| Err(Fatal::Hopeless(reason)))
}

fn watchdog() -> Option<Watchdog> {
    Watchdog::from_env().unwrap_or_else(|error| {
        warn!("{error}");
        None
    })
}

/// The app has a supervisor.
fn runs_already(request: &RunRequest, plan: &Plan, pid: u32) -> Fatal {
    let pid = if pid == 0 { String::new() } else { format!(" (pid {pid})") };
    let way_out = match request.target {
        Some(Target::App(_)) => "",
        Some(Target::File(_)) | None => "; give this one another name with --name",
    };
    Fatal::Setup(format!("an app called {} runs already{pid}{way_out}", plan.app))
}

/// The app's runtime directory; a temporary one where there is no better place.
struct RuntimeDirectory {
    path: PathBuf,
    /// It was not there before.
    made: bool,
}

impl RuntimeDirectory {
    fn make(request: &RunRequest, plan: &Plan) -> Result<Self, Fatal> {
        let path = runtime_dir::runtime_dir(&plan.app, request.user_mode).unwrap_or_else(|| {
            std::env::temp_dir().join(format!("ganger-{}", users::own_uid())).join(plan.app.as_str())
        });
        let failed = |error| Fatal::Setup(format!("failed to make {}: {error}", path.display()));
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o755);
        if let Some(parent) = path.parent() {
            builder.recursive(true).create(parent).map_err(failed)?;
        }
        let made = match builder.recursive(false).create(&path) {
            Ok(()) => true,
            Err(_) if path.is_dir() => false,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, made })
    }
}

impl Drop for RuntimeDirectory {
    fn drop(&mut self) {
        // What somebody else made is theirs; what is in use is not empty.
        if self.made {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

fn world(
    request: &RunRequest,
    plan: &Plan,
    listeners: Vec<Listener>,
    bound: Vec<SocketPath>,
    notify_path: PathBuf,
) -> Result<World, Fatal> {
    let mut subjects = Subjects::new().map_err(io_failed("start the event loop"))?;
    let notify = messages::bind_notify(&notify_path, 0o666).map_err(failed)?;
    subjects.watch(&notify, Subject::Notify, Interest::Read).map_err(io_failed("watch the notify socket"))?;
    let groups = control_groups(plan);
    if groups.is_none() {
        pidfd::set_child_subreaper().map_err(failed)?;
        kin::keep_open();
    }
    // Once and never again: the flag lies on what all workers share. Programs that take their socket as descriptor 0
    // (inetd's way) expect accept(2) to wait, and often cannot go on after EAGAIN.
    for listener in &listeners {
        sockets::set_nonblocking(&listener.fd, plan.protocol != Protocol::Stdin).map_err(failed)?;
    }
    let files = listeners.iter().filter_map(|listener| match &listener.address {
        Some(Address::Unix(path)) => SocketPath::note(path).ok(),
        Some(Address::Inet(_) | Address::Abstract(_)) | None => None,
    });
    let socket_files = files.collect();
    let mut world = World {
        app: plan.app.to_string(),
        listeners,
        bound,
        subjects,
        generations: BTreeMap::new(),
        processes: BTreeMap::new(),
        by_pid: BTreeMap::new(),
        notify,
        notify_path,
        groups,
        leftovers: Vec::new(),
        output: Output::here(request.color),
        null: files::open_null().map_err(failed)?,
        open_files: rlimit::raise_open_files().ok(),
        sweep_again: None,
        unsettled: None,
        facts: VecDeque::new(),
        said: BTreeSet::new(),
        socket_files,
        checks: Checks::default(),
        meter: Meter::default(),
        node: None,
        messages: None,
    };
    world.guard_listeners();
    Ok(world)
}

/// Where workers' control groups are made; what is missing for it is said here, once.
fn control_groups(plan: &Plan) -> Option<Delegated> {
    let found = Delegated::find().unwrap_or_else(|error| {
        warn!("failed to {error}");
        None
    });
    let Some(groups) = found else {
        say_what_is_missed(plan);
        return None;
    };
    match groups.prepare() {
        Ok(prepared) => {
            if !prepared.missing.is_empty() {
                info!("control groups without these controllers: {}", prepared.missing.join(", "));
            }
            for left in groups.workers().into_iter().chain(groups.checks()) {
                // What a former supervisor left: none of ours.
                if let Err(error) = left.kill().and_then(|()| left.remove()) {
                    warn!("failed to {error}");
                }
            }
            Some(groups)
        }
        Err(error) => {
            warn!("workers get no control groups of their own: failed to {error}");
            None
        }
    }
}

/// Without a delegated group ganger does without, less well.
fn say_what_is_missed(plan: &Plan) {
    let why = match cgroup::own() {
        Ok(None) => "this machine has no control groups of version 2",
        Ok(Some(_)) | Err(_) => "no control group is delegated to ganger (Delegate=yes in its unit)",
    };
    if !plan.limit.is_empty() {
        warn!("[limit] has no effect: {why}");
    }
    // Elsewhere there is nobody who could delegate one.
    if running_under().manager != Manager::None {
        info!("a worker's daemon that clears its environment may outlive it until the service stops: {why}");
    }
}

fn identity(plan: &Plan, world: &World) -> Identity {
    let listeners = world.listeners.iter();
    Identity {
        app: plan.app.clone(),
        pid: std::process::id(),
        uid: users::own_uid(),
        listeners: listeners
            .map(|listener| {
                (listener.name.as_str().to_owned(), opening::where_it_is(listener.address.as_ref()))
            })
            .collect(),
    }
}

/// The bus of whoever runs ganger as a service; a foreground run has none.
fn bus() -> Option<Bus> {
    match running_under().manager {
        Manager::System => Some(Bus::System),
        Manager::User => Some(Bus::User),
        Manager::None => None,
    }
}

/// What the supervisor put into the file system and nobody else needs.
fn clean_up(world: &World, private: &Path) {
    // Gone already is as good.
    let _ = std::fs::remove_file(private);
    let _ = std::fs::remove_file(&world.notify_path);
    for path in &world.bound {
        if let Err(error) = path.remove() {
            warn!("failed to {error}");
        }
    }
}
