//! The configuration, read at the start and again at every reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Diagnostics, Dirs, Flags, Loaded, Request, Subject};
use crate::plan::Plan;

use super::request::{RunRequest, Target};

/// Reads the same configuration each time.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    source: Source,
    /// The plan that the listeners were made from.
    first: Option<Arc<Plan>>,
    sockets_are_passed: bool,
}

#[derive(Debug, Clone)]
enum Source {
    Files(Box<Request>),
    Flags(Flags),
}

impl Reader {
    /// What `ganger run` was asked for.
    pub(super) fn new(request: &RunRequest) -> Self {
        let flags = Flags {
            name: request.name.clone(),
            listen: request.listen.clone(),
            workers: request.workers.clone(),
            ready: request.ready.clone(),
            command: request.command.clone().unwrap_or_default(),
        };
        let subject = match &request.target {
            Some(Target::App(name)) => Subject::App(name.clone()),
            Some(Target::File(path)) => Subject::File(absolute(path)),
            None => return Self::of(Source::Flags(flags)),
        };
        let dirs = if request.user_mode {
            let var = |name: &str| std::env::var_os(name);
            let (config, home, runtime) = (var("XDG_CONFIG_HOME"), var("HOME"), var("XDG_RUNTIME_DIR"));
            Dirs::user(config.as_deref(), home.as_deref(), runtime.as_deref())
        } else {
            Dirs::system()
        };
        let profile = request.profile.clone();
        let request = Request { subject, dirs, profile, cpus: cpus(), flags };
        Self::of(Source::Files(Box::new(request)))
    }

    fn of(source: Source) -> Self {
        Self { source, first: None, sockets_are_passed: false }
    }

    /// Reads for the first time.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub(super) fn read_first(&mut self) -> Result<Loaded, Diagnostics> {
        let loaded = self.load()?;
        self.first = Some(Arc::new(loaded.plan.clone()));
        Ok(loaded)
    }

    /// Reads again.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub(super) fn read(&self) -> Result<Arc<Plan>, Diagnostics> {
        let loaded = self.load()?;
        super::telling::doubts(&loaded.warnings);
        Ok(Arc::new(loaded.plan))
    }

    /// The sockets are the service manager's: the plan opens none.
    pub(super) fn sockets_are_passed(&mut self) {
        self.sockets_are_passed = true;
    }

    /// In a sentence: what differs from the first plan and does not take effect by a reload.
    pub(super) fn without_effect(&self, plan: &Plan) -> Option<String> {
        let changes = self.first.as_ref()?.diff(plan);
        let keys: Vec<&str> =
            changes.into_iter().filter(|change| change.needs_restart).map(|change| change.key).collect();
        let keys = Some(keys.join(", ")).filter(|keys| !keys.is_empty())?;
        Some(if self.sockets_are_passed {
            format!("{keys} was changed: that changes nothing, the .socket unit opens the sockets")
        } else {
            format!("{keys} was changed: that takes effect at the next restart of the service")
        })
    }

    fn load(&self) -> Result<Loaded, Diagnostics> {
        match &self.source {
            Source::Files(request) => {
                let mut request = request.clone();
                request.cpus = cpus();
                config::load(&request)
            }
            Source::Flags(flags) => config::from_flags(flags, cpus()),
        }
    }
}

/// CPUs that this process may use: affinity and the control group's quota count (sched_getaffinity(2),
/// `cpu.max`).
fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// A reload means the same file, wherever ganger was started.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
