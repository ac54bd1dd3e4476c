//! Which apps there are: those with a configuration, and those that run.
//!
//! Only names are read here, and only names that are app names; no file is opened. Directories that cannot be
//! read hold no apps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::nearest::nearest;
use crate::config::{Dirs, known_apps};
use crate::daemon::runtime_dir::{PRIVATE_SOCKET, Surroundings};
use crate::plan::AppName;

/// So many entries of one directory are looked at.
const MAX_ENTRIES: usize = 4096;
/// So many names are told in an error.
const MAX_NAMED: usize = 12;

/// What is known of an app without asking it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// It has a configuration.
    pub(crate) configured: bool,
    /// Its private socket.
    pub(crate) socket: Option<PathBuf>,
}

/// Where apps are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Directories with `NAME.toml`.
    configs: Dirs,
    /// Where runtime directories are.
    surroundings: Surroundings,
}

impl Places {
    /// Those of this process.
    pub(crate) fn of_this_process(user_mode: bool) -> Self {
        Self { configs: config_dirs(user_mode), surroundings: Surroundings::of_this_process(user_mode) }
    }

    /// Those of the system alone, whoever asks.
    fn of_the_system() -> Self {
        let surroundings = Surroundings { xdg_runtime_dir: None, ..Surroundings::of_this_process(false) };
        Self { configs: config_dirs(false), surroundings }
    }

    /// The app is the user's own: `--user` was said, or it would have to be, because only the user has such an app.
    pub(crate) fn is_users_own(user_mode: bool, app: &AppName) -> bool {
        user_mode || only_second_knows(&Self::of_the_system(), &Self::of_this_process(true), app)
    }

    /// Those where this app is looked for.
    pub(crate) fn of_app(user_mode: bool, app: &AppName) -> Self {
        Self::of_this_process(Self::is_users_own(user_mode, app))
    }

    /// Every app, by name.
    pub(crate) fn apps(&self) -> BTreeMap<AppName, Found> {
        let mut apps: BTreeMap<AppName, Found> = BTreeMap::new();
        for name in known_apps(&self.configs) {
            apps.entry(name).or_default().configured = true;
        }
        for base in self.surroundings.bases() {
            for name in names(&base).iter().filter_map(|entry| AppName::new(entry).ok()) {
                let socket = base.join(name.as_str()).join(PRIVATE_SOCKET);
                if is_there(&socket) {
                    apps.entry(name).or_default().socket.get_or_insert(socket);
                }
            }
        }
        apps
    }

    /// The private socket that the app has, or would have.
    pub(crate) fn socket_of(&self, app: &AppName) -> Option<PathBuf> {
        Some(self.surroundings.runtime_dir(app, Path::is_dir)?.join(PRIVATE_SOCKET))
    }

    /// The app is known in one way or the other.
    pub(crate) fn knows(&self, app: &AppName) -> bool {
        self.apps().contains_key(app)
    }

    /// There is no app of this name; these are the ones there are.
    pub(crate) fn unknown(&self, app: &AppName) -> Failure {
        let apps = self.apps();
        let names: Vec<&str> = apps.keys().map(AppName::as_str).collect();
        let failure = Failure::new(Exit::NotFound, format!("there is no app \"{app}\""));
        if let Some(near) = nearest(app.as_str(), names.iter().copied()) {
            return failure.hint(format!("did you mean {near}?"));
        }
        match names.len() {
            0 => {
                failure.hint(format!("no app is configured: write /etc/ganger/{app}.toml (see ganger init)"))
            }
            count => {
                let shown: Vec<&str> = names.into_iter().take(MAX_NAMED).collect();
                let more = if count > MAX_NAMED {
                    format!(" and {} more", count - MAX_NAMED)
                } else {
                    String::new()
                };
                failure.hint(format!("apps are: {}{more}", shown.join(", ")))
            }
        }
    }
}

/// An app of both worlds is the first one's.
fn only_second_knows(first: &Places, second: &Places, app: &AppName) -> bool {
    !first.knows(app) && second.knows(app)
}

/// The directories with configurations, as `ganger.toml(5)` has them.
pub(crate) fn config_dirs(user_mode: bool) -> Dirs {
    if !user_mode {
        return Dirs::system();
    }
    let value = |name: &str| std::env::var_os(name);
    let (config, home, runtime) = (value("XDG_CONFIG_HOME"), value("HOME"), value("XDG_RUNTIME_DIR"));
    Dirs::user(config.as_deref(), home.as_deref(), runtime.as_deref())
}

/// The entries of a directory, in no order.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().take(MAX_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The socket is there, or is hidden from the caller: then it is the caller's right to be told so.
fn is_there(socket: &Path) -> bool {
    match std::fs::symlink_metadata(socket) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(root: &Path) -> Places {
        let surroundings = Surroundings {
            xdg_runtime_dir: Some(root.join("run")),
            user_mode: true,
            ..Surroundings::default()
        };
        Places { configs: Dirs::these(vec![root.join("etc"), root.join("lib")]), surroundings }
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc", "lib", "run/ganger/worker", "run/ganger/empty"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for file in
            ["etc/api.toml", "lib/api.toml", "lib/web.toml", "lib/old.toml", "etc/-x.toml", "etc/README"]
        {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        std::fs::write(root.path().join("run/ganger/worker/private"), "").unwrap();
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/old.toml")).unwrap();
        root
    }

    #[test]
    fn apps_are_those_with_a_configuration_and_those_with_a_socket() {
        let root = tree();
        let apps = places(root.path()).apps();
        let names: Vec<&str> = apps.keys().map(AppName::as_str).collect();
        assert_eq!(names, ["api", "web", "worker"]);
        let api = apps.get(&AppName::new("api").unwrap()).unwrap();
        assert_eq!(*api, Found { configured: true, socket: None });
    }

    #[test]
    fn an_app_of_both_worlds_is_the_systems() {
        let (system, user) = (tree(), tree());
        std::fs::write(user.path().join("etc/mine.toml"), "").unwrap();
        let [system, user] = [&system, &user].map(|root| places(root.path()));
        let users = |name| only_second_knows(&system, &user, &AppName::new(name).unwrap());
        assert_eq!(["mine", "api", "worker", "nobodys"].map(users), [true, false, false, false]);
    }

    #[test]
    fn an_unknown_app_is_told_with_the_nearest_name_or_with_all_of_them() {
        let root = tree();
        let places = places(root.path());
        let near = places.unknown(&AppName::new("ap").unwrap());
        assert_eq!((near.exit, near.hints), (Exit::NotFound, vec!["did you mean api?".to_owned()]));
        let far = places.unknown(&AppName::new("frobnicate").unwrap());
        assert_eq!(far.hints, ["apps are: api, web, worker"]);
    }
}
