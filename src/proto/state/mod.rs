//! The hand-over document: a whole pool as text, for the ganger that goes on with it.
//!
//! Decides: what the document looks like, what is read of it, and how much. Decides nothing about what the
//! values mean or whether they fit together: that is `Pool::restore`. The shapes here are the format and
//! nothing else; the pool's own types are free to change as long as they can be written as these.
//!
//! One JSON object. Its rules, so that a newer and an older ganger understand each other:
//!
//! - `version` comes first to be believed: another number than [`VERSION`] is refused whole;
//! - a field that is not known is passed over, an option that is missing is none; a word that is not known
//!   (of a state, a cause, a policy) is refused, because guessing it would be worse;
//! - spans and instants are `[seconds, nanoseconds]`, instants on `CLOCK_MONOTONIC` (clock_gettime(2)), which
//!   goes on over a re-exec and starts anew with the machine;
//! - text of the system (argv, environment, paths) is a string where it is UTF-8, else an array of bytes.
//!
//! The document holds the environment of the workers. It is for a memfd or a file of the supervisor's own;
//! `Debug` and errors show no value of it.

mod people;
mod plans;
mod scalar;
mod workers;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use people::{Cause, Exit, LastReload, Outcome, Queued, ScaleTo, Verdict, Waiter, WorkerFailure};
pub use plans::{
    Address, AllFailed, Backoff, Balance, Command, Health, HealthCheck, HttpProbe, Limit, Listen, Log, Node,
    Plan, ProbeAddress, Protocol, Ready, ReadyWhen, Recycle, Reload, Restart, RestartPolicy, Sink, SocketEnv,
    SocketKind, StartLimit, Stop, Unmatched,
};
pub use scalar::{Bytes, Span};
pub use workers::{
    Checks, Course, Ending, Generation, Holder, Leaving, Life, Place, Replacement, Rollout, Standing, Watch,
    Worker,
};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The longest document that is read or written, in bytes. The largest pool (4096 workers) needs some
/// megabytes; what is left is for the environments of the plans.
pub const MAX_STATE_BYTES: usize = 64 * 1024 * 1024;

/// A whole pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// The app's name.
    pub app: String,
    /// When the pool was made.
    pub since: Span,
    /// When facts were last acted upon.
    pub settled_at: Span,
    /// How many workers are wanted.
    pub wanted: u32,
    /// The generation that serves.
    pub generation: u64,
    /// Every generation in use, with its plan.
    pub generations: Vec<Generation>,
    /// Every place.
    pub places: Vec<Place>,
    /// Every worker that is not gone.
    pub workers: Vec<Worker>,
    /// The rollout under way.
    pub rollout: Option<Rollout>,
    /// Wishes that wait for their turn, the next one first.
    pub queue: Vec<Queued>,
    /// Callers who wait for places and workers.
    pub waiters: Vec<Waiter>,
    /// The pool is ending.
    pub ending: Option<Ending>,
    /// Enough workers have been ready once.
    pub announced_ready: bool,
    /// The next worker's number.
    pub next_worker: u64,
    /// The next generation's number.
    pub next_generation: u64,
    /// Workers started again after an unexpected end.
    pub restarts: u64,
    /// How the last rollout ended.
    pub last_reload: Option<LastReload>,
    /// What the jitter goes on from.
    pub random: u64,
}

/// Why a document could not be read or written; a fragment for "failed to …". None shows a value of the
/// document: there are secrets among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// It has so many bytes, more than [`MAX_STATE_BYTES`].
    TooLong(usize),
    /// It is no document, or one that was cut off.
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It was written by a ganger whose format is another one.
    Version(u32),
    /// It could not be put into text.
    Unwritable,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => {
                write!(f, "take over a state of {bytes} bytes: more than {MAX_STATE_BYTES} are not looked at")
            }
            Self::Malformed { line, column } => {
                write!(f, "read the state: it makes no sense at line {line}, column {column}")
            }
            Self::Version(version) => {
                write!(f, "read the state: its version is {version}, this ganger knows version {VERSION}")
            }
            Self::Unwritable => f.write_str("write the state"),
        }
    }
}

impl std::error::Error for StateError {}

impl From<serde_json::Error> for StateError {
    fn from(error: serde_json::Error) -> Self {
        // Only the place is kept: serde's message would quote what stands there.
        Self::Malformed { line: error.line(), column: error.column() }
    }
}

/// The one field that says whether the others may be believed.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl State {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is too long, cut off, of another version, or says something that this version has no word for.
    pub fn read(document: &[u8]) -> Result<Self, StateError> {
        if document.len() > MAX_STATE_BYTES {
            return Err(StateError::TooLong(document.len()));
        }
        let Versioned { version } = serde_json::from_slice(document)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        Ok(serde_json::from_slice(document)?)
    }

    /// The document, ending in a newline.
    ///
    /// # Errors
    /// When it would be longer than what is read.
    pub fn write(&self) -> Result<Vec<u8>, StateError> {
        let mut document = serde_json::to_vec(self).map_err(|_| StateError::Unwritable)?;
        document.push(b'\n');
        if document.len() > MAX_STATE_BYTES {
            return Err(StateError::TooLong(document.len()));
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../../tests/golden/state/v1.json");

    #[test]
    fn what_was_read_is_written_as_the_same() {
        let state = State::read(SAMPLE).unwrap();
        assert_eq!(State::read(&state.write().unwrap()), Ok(state));
    }

    #[test]
    fn a_field_of_the_future_is_passed_over() {
        let text = std::str::from_utf8(SAMPLE).unwrap();
        let newer = text.replacen('{', r#"{"mood": {"good": [1, "x"]},"#, 1);
        assert_eq!(State::read(newer.as_bytes()), State::read(SAMPLE));
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let text = std::str::from_utf8(SAMPLE).unwrap();
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        assert_eq!(State::read(newer.as_bytes()), Err(StateError::Version(2)));
        assert_eq!(State::read(br#"{"version": 7, "all": "different"}"#), Err(StateError::Version(7)));
    }

    #[test]
    fn a_document_that_was_cut_off_is_refused_wherever_the_cut_is() {
        let document = State::read(SAMPLE).unwrap().write().unwrap();
        for end in 0..document.len() - 2 {
            let cut = State::read(&document[..end]);
            assert!(matches!(cut, Err(StateError::Malformed { .. })), "cut at {end}: {cut:?}");
        }
    }

    #[test]
    fn a_document_that_is_too_long_is_not_looked_at() {
        let long = vec![b' '; MAX_STATE_BYTES + 1];
        assert_eq!(State::read(&long), Err(StateError::TooLong(MAX_STATE_BYTES + 1)));
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_value_of_the_environment() {
        let text = std::str::from_utf8(SAMPLE).unwrap();
        assert!(text.contains("hunter2"), "the sample has no secret");
        let state = State::read(SAMPLE).unwrap();
        assert!(!format!("{state:?}").contains("hunter2"));
        let spoilt = text.replacen("\"hunter2\"", "{\"hunter2\": 3}", 1);
        let error = State::read(spoilt.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
