//! Why there is no supervisor, or no more: in words, in a line, as an exit code. Decides nothing.

use std::fmt;

use crate::config::{Diagnostics, Severity};

/// Why there is no supervisor.
#[derive(Debug)]
pub enum Fatal {
    /// The configuration has faults; they are all listed.
    Config(Diagnostics),
    /// Something that the supervisor cannot do without is missing; for people.
    Setup(String),
    /// No worker could be kept running; for people.
    Hopeless(String),
    /// One of the others, of which the journal has the record: nothing is left to tell but the exit code.
    Recorded(u8),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) if faults.is_not_found() => f.write_str(faults.to_string().trim_end()),
            Self::Config(faults) => write!(f, "the configuration is not valid\n{faults}"),
            Self::Setup(reason) | Self::Hopeless(reason) => f.write_str(reason),
            Self::Recorded(_) => f.write_str("the journal has the reason"),
        }
    }
}

impl std::error::Error for Fatal {}

impl Fatal {
    /// The exit code that it ends with (ganger(1), EXIT STATUS).
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(diagnostics) if diagnostics.is_not_found() => 3,
            Self::Config(_) => 2,
            Self::Setup(_) | Self::Hopeless(_) => 1,
            Self::Recorded(code) => *code,
        }
    }

    /// For `systemctl status`: of several faults the first that is an error.
    pub(super) fn in_a_line(&self) -> String {
        let text = match self {
            Self::Config(faults) => {
                let error = faults.iter().find(|fault| fault.severity == Severity::Error);
                error
                    .map_or_else(|| faults.to_string(), |fault| format!("{}: {}", fault.place, fault.message))
            }
            Self::Setup(_) | Self::Hopeless(_) | Self::Recorded(_) => self.to_string(),
        };
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// Something of the system's did not work; the error begins with what.
pub(super) fn failed(error: impl fmt::Display) -> Fatal {
    Fatal::Setup(format!("failed to {error}"))
}

/// The same for errors that do not say what was tried.
pub(super) fn io_failed(what: &'static str) -> impl Fn(std::io::Error) -> Fatal {
    move |error| Fatal::Setup(format!("failed to {what}: {error}"))
}
