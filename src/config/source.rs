//! How a file is read without trusting it: bounded, never blocking, regular files only, UTF-8.
//!
//! What the text means is decided elsewhere.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::diagnostic::{At, Complaint, FileId};

/// The largest file that is read. A hand-written configuration is a thousand times smaller.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// `O_NONBLOCK` (open(2)): a FIFO without a writer must not hold up the start. The kernel's number differs
/// on two families of machines.
const O_NONBLOCK: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    0x80
} else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
    0x4000
} else {
    0o4000
};

/// One file that was read, with the parts that no message may show.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Byte ranges that hold values of environment variables.
    pub(super) secrets: Vec<Range<usize>>,
}

/// All files of one load; a [`FileId`] is an index into it.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> FileId {
        self.0.push(Source { path, text, secrets: Vec::new() });
        FileId(self.0.len() - 1)
    }

    pub(super) fn get(&self, file: FileId) -> Option<&Source> {
        self.0.get(file.0)
    }

    /// Marks bytes of `file` as never to be shown.
    pub(super) fn hide(&mut self, file: FileId, ranges: Vec<Range<usize>>) {
        if let Some(source) = self.0.get_mut(file.0) {
            source.secrets.extend(ranges);
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|source| source.path.clone()).collect()
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Refused { what: &'static str, hint: Option<&'static str> },
}

impl ReadError {
    /// The complaint about `path`; `role` says what the file was to be.
    pub(super) fn complain(self, path: &Path, role: &str) -> Complaint {
        let (what, hint) = match self {
            Self::Io(error) => (reason(&error), None),
            Self::Refused { what, hint } => (what.to_owned(), hint),
        };
        let complaint =
            Complaint::error(At::Path(path.to_owned(), None), format!("cannot read {role}: {what}"));
        match hint {
            Some(hint) => complaint.hint(hint),
            None => complaint,
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The system's words for an error, without the number and in lower case.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Reads at most [`MAX_FILE_BYTES`] of a regular file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(ReadError::Io)?;
    let about = file.metadata().map_err(ReadError::Io)?;
    let kind = about.file_type();
    if kind.is_dir() {
        let hint = "name the file itself; drop-ins belong into NAME.toml.d/";
        return Err(ReadError::Refused { what: "it is a directory", hint: Some(hint) });
    }
    if kind.is_fifo() {
        return Err(ReadError::Refused { what: "it is a FIFO, not a regular file", hint: None });
    }
    if !kind.is_file() {
        return Err(ReadError::Refused { what: "it is not a regular file", hint: None });
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if about.len() > MAX_FILE_BYTES || u64::try_from(read).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(ReadError::Refused { what: "it is larger than 1 MiB", hint: None });
    }
    Ok(bytes)
}

/// Takes bytes as UTF-8 text without a byte-order mark, or says which byte is none.
pub(super) fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, Box<Complaint>> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let before = bytes.get(..at).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let byte = bytes.get(at).copied().unwrap_or_default();
            let hint = match bytes.get(..2) {
                Some([0xff, 0xfe] | [0xfe, 0xff]) => "the file is UTF-16: save it as UTF-8",
                _ => "save the file as UTF-8",
            };
            let message = format!("not UTF-8: byte {byte:#04x} at offset {at}");
            Err(Box::new(Complaint::error(At::Path(path.to_owned(), Some(line)), message).hint(hint)))
        }
    }
}
