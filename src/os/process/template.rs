//! What all workers of a generation share, made ready for many forks.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::failure::{SpawnError, Stage};
use crate::os::rlimit::Limit;
use crate::os::users::Identity;

/// Where a program is looked for when the worker's environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a template is made from.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// argv; the first word is looked for in the PATH of `env` unless it has a slash in it.
    pub argv: &'a [OsString],
    /// The whole environment, but for what a [`super::Launch`] adds.
    pub env: &'a BTreeMap<OsString, OsString>,
    /// Working directory; `None`: the supervisor's own.
    pub directory: Option<&'a Path>,
    /// Who the worker becomes; `None`: who the supervisor is.
    pub identity: Option<&'a Identity>,
    /// Limit of open files to restore in the worker.
    pub open_files: Option<Limit>,
}

/// What all workers of a generation share. Keep it as long as a worker of the generation may be born.
#[derive(Debug)]
pub struct Template {
    pub(super) argv: Vec<CString>,
    pub(super) candidates: Vec<CString>,
    pub(super) env: BTreeMap<OsString, CString>,
    pub(super) directory: Option<Directory>,
    pub(super) identity: Option<Identity>,
    pub(super) open_files: Option<Limit>,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
}

impl Template {
    /// Prepares `program`. The directory is opened here, and stays the one that it is now.
    ///
    /// # Errors
    /// An empty argv, a NUL byte in a word or a variable, a directory that cannot be opened.
    pub fn new(program: &Program<'_>) -> Result<Self, SpawnError> {
        let directory = program.directory.map(open_directory).transpose()?;
        let argv =
            program.argv.iter().map(|word| c_string(word, "command")).collect::<Result<Vec<_>, _>>()?;
        let Some(name) = program.argv.first().filter(|name| !name.is_empty()) else {
            return Err(SpawnError::new(Stage::Exec, Errno::ENOENT, "an empty command"));
        };
        let path = program.env.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
        let candidates = candidates(name, path)
            .iter()
            .map(|candidate| c_string(candidate, "command"))
            .collect::<Result<Vec<_>, _>>()?;
        let mut env = BTreeMap::new();
        for (key, value) in program.env {
            env.insert(key.clone(), variable(key, value)?);
        }
        let identity = program.identity.filter(|identity| !identity.is_own()).cloned();
        Ok(Self { argv, candidates, env, directory, identity, open_files: program.open_files })
    }

    /// The first word of the command.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        self.argv.first().map_or(OsStr::new(""), |name| OsStr::from_bytes(name.to_bytes()))
    }

    /// The working directory as it was opened.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_ref().map(|directory| directory.path.as_path())
    }
}

/// Every path that may be the program, in the order of PATH (an empty entry is the working directory).
fn candidates(name: &OsStr, path: &OsStr) -> Vec<OsString> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|entry| Path::new(OsStr::from_bytes(if entry.is_empty() { b"." } else { entry })).join(name))
        .map(PathBuf::into_os_string)
        .collect()
}

fn open_directory(path: &Path) -> Result<Directory, SpawnError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path);
    match opened {
        Ok(file) => Ok(Directory { fd: file.into(), path: path.to_owned() }),
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
            Err(SpawnError::new(Stage::Directory, errno, path.display().to_string()))
        }
    }
}

fn c_string(text: &OsStr, what: &str) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes())
        .map_err(|_| SpawnError::new(Stage::Exec, Errno::EINVAL, format!("a {what} with a NUL byte")))
}

/// `KEY=VALUE`, as execve(2) wants it.
pub(super) fn variable(key: &OsStr, value: &OsStr) -> Result<CString, SpawnError> {
    let bad = |why: &str| {
        let key = key.display();
        SpawnError::new(Stage::Exec, Errno::EINVAL, format!("the variable {key:?} with {why}"))
    };
    if key.is_empty() || key.as_bytes().contains(&b'=') {
        return Err(bad("no name of a variable"));
    }
    let text = [key.as_bytes(), b"=", value.as_bytes()].concat();
    CString::new(text).map_err(|_| bad("a NUL byte"))
}
