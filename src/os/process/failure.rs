//! Why a worker did not come to run: at which stage, on what, and the kernel's answer in words.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::template::{Directory, Template};
use crate::os::error::{is_shortage, reason};

/// What a child was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making the process.
    Fork,
    /// Entering its control group.
    Cgroup,
    /// Beginning a session of its own.
    Session,
    /// Laying out its descriptors.
    Descriptors,
    /// Restoring its resource limits.
    Limits,
    /// Taking its supplementary groups.
    Groups,
    /// Becoming its group.
    Group,
    /// Becoming its user.
    User,
    /// Going to its working directory.
    Directory,
    /// Running its program.
    Exec,
}

impl Stage {
    /// The stages that a child reports by their place in this list.
    const REPORTED: [Self; 8] = [
        Self::Session,
        Self::Descriptors,
        Self::Limits,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Directory,
        Self::Exec,
    ];

    pub(super) fn code(self) -> u32 {
        let place = Self::REPORTED.iter().position(|stage| *stage == self);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX)
    }

    fn from_code(code: u32) -> Self {
        let place = usize::try_from(code).unwrap_or(usize::MAX);
        Self::REPORTED.get(place).copied().unwrap_or(Self::Exec)
    }

    fn attempt(self) -> &'static str {
        match self {
            Self::Fork => "start a process",
            Self::Cgroup => "enter the control group",
            Self::Session => "begin a session",
            Self::Descriptors => "lay out descriptor",
            Self::Limits => "restore the limit of",
            Self::Groups => "take the groups of user",
            Self::Group => "become group",
            Self::User => "become user",
            Self::Directory => "go to directory",
            Self::Exec => "run",
        }
    }
}

/// Why a worker did not come to run. Displays as a fragment for "failed to …":
/// `run /srv/api/server: permission denied (it is not executable)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnError {
    stage: Stage,
    errno: Errno,
    subject: String,
    hint: Option<String>,
}

impl SpawnError {
    pub(super) fn new(stage: Stage, errno: Errno, subject: impl Into<String>) -> Self {
        Self { stage, errno, subject: subject.into(), hint: None }
    }

    /// What the child was doing.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The error number, as in errno(3).
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno as i32
    }

    /// The kernel had no room (processes, memory, descriptors): worth trying again soon.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        is_shortage(self.errno)
    }

    /// Reads a child's report: stage, errno and the number of what it was at.
    pub(super) fn from_report(report: [u32; 3], template: &Template) -> Self {
        let [stage, errno, index] = report;
        let stage = Stage::from_code(stage);
        let errno = Errno::from_raw(i32::try_from(errno).unwrap_or(nix::libc::EIO));
        let identity = template.identity.as_ref();
        let subject = match stage {
            Stage::Fork | Stage::Cgroup | Stage::Session => String::new(),
            Stage::Descriptors => index.to_string(),
            Stage::Limits => "open files".to_owned(),
            Stage::Group => identity.map(|identity| identity.gid.to_string()).unwrap_or_default(),
            Stage::Groups | Stage::User => identity.map(|who| who.uid.to_string()).unwrap_or_default(),
            Stage::Directory => {
                template.directory().map(|path| path.display().to_string()).unwrap_or_default()
            }
            Stage::Exec => return Self::not_run(errno, index, template),
        };
        Self::new(stage, errno, subject)
    }

    /// `index` is the candidate that failed; beyond the end: none was found.
    fn not_run(errno: Errno, index: u32, template: &Template) -> Self {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let tried = template.candidates.get(at).map(|path| Path::new(OsStr::from_bytes(path.to_bytes())));
        let present =
            || template.candidates.iter().map(|path| path_of(path)).find(|path| seen(path, template));
        if let Some(path) = tried.or_else(|| (errno == Errno::ENOENT).then(present).flatten()) {
            let mut error = Self::new(Stage::Exec, errno, path.display().to_string());
            error.hint = hint(errno, &seen_as(path, template)).or_else(|| place(errno, path, template));
            return error;
        }
        let mut error = Self::new(Stage::Exec, errno, template.name().display().to_string());
        if template.candidates.len() > 1 || !template.name().as_bytes().contains(&b'/') {
            let places = template.candidates.iter().filter_map(|path| path_of(path).parent());
            let places: Vec<_> = places.map(|place| place.display().to_string()).collect();
            error.hint = Some(format!("not in PATH {}", places.join(":")));
        } else {
            error.hint = place(errno, Path::new(template.name()), template);
        }
        error
    }
}

fn path_of(path: &std::ffi::CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// The path as the supervisor reaches it: relative to the worker's directory.
fn seen_as(path: &Path, template: &Template) -> PathBuf {
    match &template.directory {
        Some(directory) => PathBuf::from(format!("/proc/self/fd/{}", directory.fd.as_raw_fd())).join(path),
        None => path.to_owned(),
    }
}

fn seen(path: &Path, template: &Template) -> bool {
    seen_as(path, template).symlink_metadata().is_ok()
}

/// Where a relative path was looked for in vain.
fn place(errno: Errno, path: &Path, template: &Template) -> Option<String> {
    if errno != Errno::ENOENT || path.is_absolute() {
        return None;
    }
    let Some(Directory { fd, path }) = &template.directory else {
        return std::env::current_dir().ok().map(|path| format!("in {}", path.display()));
    };
    // The directory is held: a removed one is still there, only without a name.
    let held = fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let is_there = path.metadata().is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino()));
    let path = path.display();
    Some(if is_there {
        format!("in {path}")
    } else {
        format!("the directory {path} was removed or replaced")
    })
}

/// What the errno alone does not say.
fn hint(errno: Errno, path: &Path) -> Option<String> {
    let about = path.metadata().ok();
    if errno == Errno::EACCES {
        let about = about?;
        let unexecutable = about.permissions().mode() & 0o111 == 0;
        return match about.is_dir() {
            true => Some("it is a directory".to_owned()),
            false => unexecutable.then(|| "it is not executable".to_owned()),
        };
    }
    if errno == Errno::ENOEXEC {
        return Some("neither a program nor a script that begins with #!".to_owned());
    }
    if errno != Errno::ENOENT || path.symlink_metadata().is_err() {
        return None;
    }
    Some(match about.filter(fs::Metadata::is_file).map(|_| interpreter(path)) {
        Some(Some(name)) => format!("its interpreter {name} is missing"),
        Some(None) => "its loader is missing".to_owned(),
        None => "the link leads nowhere".to_owned(),
    })
}

/// The first word after `#!`.
fn interpreter(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage.attempt())?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        write!(f, ": {}", reason(self.errno))?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SpawnError {}
