//! How a command ends: the exit codes, and the error that leads to one.
//!
//! The codes are a promise to scripts (`ganger(1)`, EXIT STATUS). What is printed, and where, is decided by
//! [`super::print`].

use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Everything that was asked for is done.
    Done,
    /// It failed, and everything is as it was before.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// There is no such app, or no such slot.
    NotFound,
    /// The caller may not do this.
    NotPermitted,
    /// The supervisor does not run, or does not answer.
    Unreachable,
    /// The deadline passed, or the caller detached, and the work goes on.
    InProgress,
    /// Part of it is done and stays.
    Partly,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::NotPermitted,
        Self::Unreachable,
        Self::InProgress,
        Self::Partly,
    ];

    /// The number that the caller sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotPermitted => 4,
            Self::Unreachable => 5,
            Self::InProgress => 6,
            Self::Partly => 7,
        }
    }

    /// What the code means, for `--help`.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed, and nothing was changed",
            Self::Usage => "wrong command line or wrong configuration",
            Self::NotFound => "no such app or slot",
            Self::NotPermitted => "not permitted",
            Self::Unreachable => "supervisor unreachable",
            Self::InProgress => "deadline passed, still in progress",
            Self::Partly => "partly applied",
        }
    }

    /// The word for `--json`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::NotPermitted => "not-permitted",
            Self::Unreachable => "unreachable",
            Self::InProgress => "in-progress",
            Self::Partly => "partly",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command cannot go on: one sentence, how it ends, and what the person can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong: a lower-case fragment without a full stop.
    pub(crate) message: String,
    /// What can be done about it, a line each.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds a line that says what can be done.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ganger: {}", self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n  {hint}"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_gaps() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_failure_names_the_program_and_indents_its_hints() {
        let failure = Failure::usage("no such verb").hint("did you mean list?");
        assert_eq!(failure.to_string(), "ganger: no such verb\n  did you mean list?");
    }
}
