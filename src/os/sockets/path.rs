//! A unix socket's path: still there, and still the same? A worker that unlinks it at its exit leaves a socket
//! that listens and that nobody can reach.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::os::error::{Attempted, Result, SysError};

/// The socket file at a path, as it was when it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketPath {
    /// Notes the socket file at `path`.
    ///
    /// # Errors
    /// `ENOENT`, or `ENOTSOCK` when something else lies there.
    pub fn note(path: &Path) -> Result<Self> {
        let attempt = || format!("look at the socket {}", path.display());
        let about = fs::metadata(path).attempted(attempt)?;
        if !about.file_type().is_socket() {
            return Err(SysError::from_io(attempt(), &io::Error::from_raw_os_error(libc::ENOTSOCK)));
        }
        Ok(Self { path: path.to_owned(), identity: (about.dev(), about.ino()) })
    }

    /// Whether the path still leads to the noted file.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|about| (about.dev(), about.ino()) == self.identity)
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file if it is still the noted one; for sockets that were bound here.
    ///
    /// # Errors
    /// Names the path.
    pub fn remove(&self) -> Result<()> {
        if !self.is_intact() {
            return Ok(());
        }
        fs::remove_file(&self.path).attempted(|| format!("remove {}", self.path.display()))
    }
}
