//! Where the configuration of an app is looked for, and which of several files counts.
//!
//! As systemd does it with units (systemd.unit(5)): a file in a higher directory replaces one of the same
//! name in a lower directory, a link to `/dev/null` masks it; drop-ins of all directories are read in the
//! order of their names.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::plan::AppName;

use super::diagnostic::{At, Complaint, Report};
use super::near;
use super::source::reason;

/// The most drop-ins of one app.
const MAX_DROP_INS: usize = 256;

/// The most directory entries that are looked at in one directory.
const MAX_ENTRIES: usize = 65_536;

/// The directories that hold configurations, the highest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs(Vec<PathBuf>);

impl Dirs {
    /// `/etc/ganger`, `/run/ganger`, `/usr/lib/ganger`.
    #[must_use]
    pub fn system() -> Self {
        Self(["/etc/ganger", "/run/ganger", "/usr/lib/ganger"].map(PathBuf::from).to_vec())
    }

    /// `$XDG_CONFIG_HOME/ganger` (or `~/.config/ganger`), `$XDG_RUNTIME_DIR/ganger`; the arguments are the
    /// values of `XDG_CONFIG_HOME`, `HOME` and `XDG_RUNTIME_DIR`. Relative ones are ignored.
    #[must_use]
    pub fn user(config_home: Option<&OsStr>, home: Option<&OsStr>, runtime: Option<&OsStr>) -> Self {
        let absolute = |value: Option<&OsStr>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute(config_home).or_else(|| absolute(home).map(|home| home.join(".config")));
        Self([config, absolute(runtime)].into_iter().flatten().map(|dir| dir.join("ganger")).collect())
    }

    /// These directories, the highest first.
    #[must_use]
    pub fn these(dirs: Vec<PathBuf>) -> Self {
        Self(dirs)
    }
}

/// The files of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) main: PathBuf,
    /// In the order in which they apply.
    pub(super) drop_ins: Vec<PathBuf>,
}

/// The thing does not exist, nor perhaps the directory that would hold it.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A link to `/dev/null`.
fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Finds the files of the app `name`; `Err` holds the complaint that there are none.
pub(super) fn app(name: &AppName, dirs: &Dirs, report: &mut Report) -> Result<Found, Box<Complaint>> {
    let candidates = dirs.0.iter().map(|dir| dir.join(format!("{name}.toml")));
    // A dangling link counts, and so does what may not be looked at: reading it says what is wrong.
    let main = candidates.clone().find(|path| match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !is_absence(error.kind()),
    });
    let Some(main) = main else {
        let places: Vec<_> = candidates.map(|path| path.display().to_string()).collect();
        let message = format!("no app `{name}`: none of {} exists", places.join(", "));
        let complaint = Complaint::error(At::Path(PathBuf::from(name.as_str()), None), message);
        let known = known_apps(dirs);
        let near = near::nearest(name.as_str(), known.iter().map(AppName::as_str));
        let names: Vec<_> = known.iter().take(10).map(AppName::as_str).collect();
        return Err(Box::new(match (near, names.as_slice()) {
            (Some(near), _) => complaint.hint(format!("did you mean `{near}`?")),
            (None, []) => complaint,
            (None, names) => complaint.hint(format!("there is {}", names.join(", "))),
        }));
    };
    if is_mask(&main) {
        let complaint = Complaint::error(At::Path(main, None), format!("the app `{name}` is masked"));
        return Err(Box::new(complaint.hint("remove the link to /dev/null to use it again")));
    }
    let drop_in_dirs: Vec<_> = dirs.0.iter().map(|dir| dir.join(format!("{name}.toml.d"))).collect();
    let drop_ins = drop_ins(&drop_in_dirs, report);
    Ok(Found { main, drop_ins })
}

/// The files of a configuration that was named by its path: drop-ins stand beside it in `FILE.d/`.
pub(super) fn file(path: &Path, report: &mut Report) -> Found {
    let mut dir = path.as_os_str().to_owned();
    dir.push(".d");
    Found { main: path.to_owned(), drop_ins: drop_ins(&[PathBuf::from(dir)], report) }
}

fn drop_ins(dirs: &[PathBuf], report: &mut Report) -> Vec<PathBuf> {
    let mut by_name = BTreeMap::new();
    for dir in dirs {
        for path in entries(dir, report) {
            if path.extension() == Some(OsStr::new("toml"))
                && let Some(name) = path.file_name()
            {
                by_name.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    if by_name.len() > MAX_DROP_INS {
        let dir = dirs.first().cloned().unwrap_or_default();
        report.add(Complaint::error(At::Path(dir, None), "more than 256 drop-ins"));
        return Vec::new();
    }
    by_name.into_values().filter(|path| !is_mask(path)).collect()
}

/// What is in `dir`; a missing directory is empty.
fn entries(dir: &Path, report: &mut Report) -> Vec<PathBuf> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.take(MAX_ENTRIES).filter_map(Result::ok).map(|entry| entry.path()).collect(),
        // What does not exist is empty; what exists and is no directory is a mistake.
        Err(_) if dir.symlink_metadata().is_err_and(|error| is_absence(error.kind())) => Vec::new(),
        Err(error) => {
            let message = format!("cannot read the drop-ins: {}", reason(&error));
            report.add(Complaint::error(At::Path(dir.to_owned(), None), message));
            Vec::new()
        }
    }
}

/// The apps that `dirs` configure, in the order of their names; masked ones are left out.
#[must_use]
pub fn known_apps(dirs: &Dirs) -> Vec<AppName> {
    let mut by_name = BTreeMap::new();
    for dir in &dirs.0 {
        for path in fs::read_dir(dir).into_iter().flatten().take(MAX_ENTRIES).filter_map(Result::ok) {
            let path = path.path();
            let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".toml"));
            let masked = is_mask(&path);
            if let Some(name) = name.and_then(|name| AppName::new(name).ok())
                && (masked || path.is_file())
            {
                by_name.entry(name).or_insert(masked);
            }
        }
    }
    by_name.into_iter().filter(|(_, masked)| !masked).map(|(name, _)| name).collect()
}
