//! What `ganger run` asks of the daemon, as it was typed. What the words mean is decided by the daemon, which
//! reads the configuration they name.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::plan::AppName;

/// One run of a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRequest {
    /// Which app, or which file; `None`: the command alone says everything.
    pub target: Option<Target>,
    /// `--name`: what the app is called, whatever its file or its command says.
    pub name: Option<AppName>,
    /// `--listen`, in order.
    pub listen: Vec<String>,
    /// `--workers`.
    pub workers: Option<String>,
    /// `--ready`.
    pub ready: Option<String>,
    /// `--profile`.
    pub profile: Option<String>,
    /// argv behind `--`; never empty.
    pub command: Option<Vec<OsString>>,
    /// `--user`: the directories of the user manager.
    pub user_mode: bool,
    /// Lines on a terminal may be coloured (`--color`, `NO_COLOR`).
    pub color: bool,
}

impl RunRequest {
    /// What the app is called, as far as what was typed says so.
    pub(super) fn app(&self) -> String {
        let of_target = || match self.target.as_ref()? {
            Target::App(app) => Some(app.to_string()),
            Target::File(path) => Some(path.file_stem()?.to_string_lossy().into_owned()),
        };
        self.name.as_ref().map(AppName::to_string).or_else(of_target).unwrap_or_default()
    }
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The app of this name, looked up in the configuration directories.
    App(AppName),
    /// A configuration file; its name without `.toml` is the app's.
    File(PathBuf),
}
