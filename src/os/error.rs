//! The error of this room: what was attempted, on what, and the kernel's answer. What to do about it is
//! decided elsewhere.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A system call that failed. Displays as a fragment for "failed to …": `bind 127.0.0.1:80: permission denied`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysError {
    attempt: String,
    errno: Errno,
    /// What says more than the kernel's words.
    reason: Option<&'static str>,
}

/// The result of asking the kernel.
pub type Result<T> = std::result::Result<T, SysError>;

impl SysError {
    pub(super) fn new(attempt: impl Into<String>, errno: Errno) -> Self {
        Self { attempt: attempt.into(), errno, reason: None }
    }

    /// The same, with this reason for people.
    pub(super) fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// The error of an attempt that the standard library made.
    #[must_use]
    pub fn from_io(attempt: impl Into<String>, error: &io::Error) -> Self {
        Self::new(attempt, Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)))
    }

    /// The error number, as in errno(3).
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno as i32
    }

    /// What was attempted, on what.
    #[must_use]
    pub fn attempt(&self) -> &str {
        &self.attempt
    }

    /// The kernel had no room just now: the same call may succeed later.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        is_shortage(self.errno)
    }

    /// The call would have blocked.
    #[must_use]
    pub fn would_block(&self) -> bool {
        self.errno == Errno::EAGAIN
    }
}

/// Errors of a kernel without room: processes, memory, descriptors, buffers, disk.
pub(super) fn is_shortage(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EAGAIN
            | Errno::ENOMEM
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EUSERS
    )
}

/// The kernel's words for an error, beginning in lower case.
pub(super) fn reason(errno: Errno) -> String {
    let text = errno.desc();
    let mut letters = text.chars();
    match letters.next() {
        // "I/O error" and other abbreviations stay as they are.
        Some(first) if letters.as_str().starts_with(|c: char| c.is_lowercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        Some(_) | None => text.to_owned(),
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{}: {reason}", self.attempt),
            None => write!(f, "{}: {}", self.attempt, reason(self.errno)),
        }
    }
}

impl std::error::Error for SysError {}

impl From<SysError> for io::Error {
    fn from(error: SysError) -> Self {
        let kind = io::Error::from_raw_os_error(error.errno()).kind();
        Self::new(kind, error)
    }
}

/// Adds the attempt to a bare errno.
pub(super) trait Attempted<T> {
    /// `attempt` is only built when the call failed.
    fn attempted<A: Into<String>>(self, attempt: impl FnOnce() -> A) -> Result<T>;
}

impl<T> Attempted<T> for nix::Result<T> {
    fn attempted<A: Into<String>>(self, attempt: impl FnOnce() -> A) -> Result<T> {
        self.map_err(|errno| SysError::new(attempt(), errno))
    }
}

impl<T> Attempted<T> for io::Result<T> {
    fn attempted<A: Into<String>>(self, attempt: impl FnOnce() -> A) -> Result<T> {
        self.map_err(|error| SysError::from_io(attempt(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_fragment_and_keeps_its_number() {
        let error = SysError::new("bind 127.0.0.1:80", Errno::EACCES);
        assert_eq!(error.to_string(), "bind 127.0.0.1:80: permission denied");
        assert_eq!(error.errno(), nix::libc::EACCES);
        assert_eq!(reason(Errno::EIO), "I/O error");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
    }
}
