//! Plain files that a supervisor needs: append logs, /dev/null, memfds. All close-on-exec.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::{Attempted, Result, SysError};

/// Opens (and makes) a log file for appending; neither follows into a directory nor waits for a FIFO's reader.
///
/// # Errors
/// Names the path: missing directory, permission, a directory in its place, a FIFO nobody reads.
pub fn open_append(path: &Path) -> Result<OwnedFd> {
    let attempt = || format!("open {} for appending", path.display());
    // O_NONBLOCK: a FIFO without a reader must not hold up the supervisor (it is ENXIO then).
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)
        .attempted(attempt)?;
    // The worker gets the description as programs expect it.
    super::sockets::set_nonblocking(&file, false)?;
    Ok(file.into())
}

/// `/dev/null` for reading and writing.
///
/// # Errors
/// When there is none.
pub fn open_null() -> Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/null").attempted(|| "open /dev/null")?;
    Ok(file.into())
}

/// Reads a file of at most `limit` bytes. A longer one is `EFBIG`, a directory `EISDIR`, a FIFO or device
/// `EINVAL` (it might never end).
///
/// # Errors
/// Names the path.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let attempt = || format!("read {}", path.display());
    let mut options = OpenOptions::new();
    let file =
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).attempted(attempt)?;
    let about = file.metadata().attempted(attempt)?;
    if about.is_dir() {
        return Err(SysError::new(attempt(), Errno::EISDIR));
    }
    if about.file_type().is_fifo() || about.file_type().is_char_device() && about.rdev() != null_device() {
        return Err(SysError::new(attempt(), Errno::EINVAL));
    }
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content).attempted(attempt)?;
    if content.len() as u64 > limit {
        return Err(SysError::new(attempt(), Errno::EFBIG));
    }
    Ok(content)
}

/// `/dev/null` masks a configuration file: it reads as empty.
fn null_device() -> u64 {
    libc::makedev(1, 3)
}

/// A memfd that holds `content`, readable from its start, sealed against any change (memfd_create(2)).
///
/// # Errors
/// When there is no descriptor or memory left.
pub fn sealed_memfd(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let attempt = || format!("make the memory file {name}");
    let mut file = File::from(memfd(name)?);
    file.write_all(content).and_then(|()| file.seek(SeekFrom::Start(0))).attempted(attempt)?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).attempted(attempt)?;
    Ok(file.into())
}

/// An empty memfd that can be written again and again (state that outlives a supervisor) and sealed later.
///
/// # Errors
/// When there is no descriptor or memory left.
pub fn memfd(name: &str) -> Result<OwnedFd> {
    let attempt = || format!("make the memory file {name}");
    let label = CString::new(name).map_err(|_| SysError::new(attempt(), Errno::EINVAL))?;
    memfd_create(label.as_c_str(), MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).attempted(attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_log_keeps_what_was_there_and_blocks_like_any_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.log");
        for line in ["one\n", "two\n"] {
            let fd = open_append(&path).unwrap();
            assert_eq!(fcntl(&fd, FcntlArg::F_GETFL).unwrap() & libc::O_NONBLOCK, 0);
            assert_eq!(fcntl(&fd, FcntlArg::F_GETFD).unwrap(), libc::FD_CLOEXEC);
            File::from(fd).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read_bounded(&path, 8).unwrap(), b"one\ntwo\n");
        assert_eq!(read_bounded(&path, 7).unwrap_err().errno(), libc::EFBIG);
    }

    #[test]
    fn odd_files_are_refused_and_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_bounded(directory.path(), 10).unwrap_err().errno(), libc::EISDIR);
        assert_eq!(open_append(directory.path()).unwrap_err().errno(), libc::EISDIR);
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_bounded(&fifo, 10).unwrap_err().errno(), libc::EINVAL);
        assert_eq!(open_append(&fifo).unwrap_err().errno(), libc::ENXIO);
        assert_eq!(read_bounded(Path::new("/dev/zero"), 10).unwrap_err().errno(), libc::EINVAL);
        assert_eq!(read_bounded(Path::new("/dev/null"), 10).unwrap(), b"");
        assert_eq!(read_bounded(Path::new("/no/such/file"), 10).unwrap_err().errno(), libc::ENOENT);
    }

    #[test]
    fn a_sealed_memfd_reads_back_and_cannot_be_changed() {
        let mut file = File::from(sealed_memfd("state", b"content").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(file.write_all(b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
