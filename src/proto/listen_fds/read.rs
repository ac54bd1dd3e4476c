//! Which descriptors the environment says were passed. Each way to get it wrong has its own error, because
//! each has its own remedy.

use std::fmt;

use super::{FIRST_FD, FdName, FdNameError, MAX_FDS};

/// How much of a strange value an error repeats, in characters.
const SHOWN_CHARS: usize = 40;

/// The variables as they stand in the environment; `None`: not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variables<'a> {
    /// `LISTEN_PID`.
    pub pid: Option<&'a [u8]>,
    /// `LISTEN_FDS`.
    pub fds: Option<&'a [u8]>,
    /// `LISTEN_FDNAMES`.
    pub names: Option<&'a [u8]>,
}

/// One descriptor that the environment announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// Its number.
    pub fd: i32,
    /// Its name; several may have the same one.
    pub name: FdName,
}

/// What is wrong with the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenFdsError {
    /// The descriptors are for a process that is not this one.
    OtherProcess {
        /// Whom `LISTEN_PID` names.
        listen_pid: u32,
        /// Who reads it.
        own_pid: u32,
    },
    /// `LISTEN_PID` is no process number.
    BadPid {
        /// What it says.
        value: String,
    },
    /// `LISTEN_FDS` without `LISTEN_PID`.
    NoPid,
    /// `LISTEN_PID` without `LISTEN_FDS`.
    NoCount,
    /// `LISTEN_FDS` is no number.
    BadCount {
        /// What it says.
        value: String,
    },
    /// More descriptors than [`MAX_FDS`].
    TooMany {
        /// How many.
        count: u64,
    },
    /// `LISTEN_FDNAMES` names more or fewer descriptors than there are.
    NamesDiffer {
        /// How many descriptors.
        fds: usize,
        /// How many names.
        names: usize,
    },
    /// A name that is none.
    BadName {
        /// Of which descriptor.
        fd: i32,
        /// Why.
        error: FdNameError,
    },
    /// `LISTEN_FDNAMES` is not UTF-8.
    NamesNotText,
}

impl fmt::Display for ListenFdsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Nobody stands between systemd and process 1: the number is what it was outside of the namespace.
            Self::OtherProcess { listen_pid, own_pid: 1 } => write!(
                f,
                "LISTEN_PID names process {listen_pid}, but this is process 1 of a namespace, which systemd 257 does \
                 not heed when it passes sockets: take PrivatePIDs= out of the unit"
            ),
            Self::OtherProcess { listen_pid, own_pid } => write!(
                f,
                "LISTEN_PID names process {listen_pid}, but this is process {own_pid}: the sockets were passed to \
                 something that started ganger as its child; start ganger directly, or with \"exec\" in a script"
            ),
            Self::BadPid { value } => write!(f, "LISTEN_PID is \"{value}\", expected a process number"),
            Self::NoPid => f.write_str("LISTEN_FDS is set without LISTEN_PID: set both, or neither"),
            Self::NoCount => f.write_str("LISTEN_PID is set without LISTEN_FDS: set both, or neither"),
            Self::BadCount { value } => write!(f, "LISTEN_FDS is \"{value}\", expected a number of sockets"),
            Self::TooMany { count } => {
                write!(f, "LISTEN_FDS announces {count} sockets, ganger takes {MAX_FDS} at most")
            }
            Self::NamesDiffer { fds, names } => write!(
                f,
                "LISTEN_FDNAMES has {names} names for {fds} sockets: give each socket a name, or none at all"
            ),
            Self::BadName { fd, error } => {
                write!(f, "LISTEN_FDNAMES: {error} (descriptor {fd}); see FileDescriptorName=")
            }
            Self::NamesNotText => f.write_str("LISTEN_FDNAMES is not text; see FileDescriptorName="),
        }
    }
}

impl std::error::Error for ListenFdsError {}

/// Reads the variables for the process `own_pid`; nothing set: nothing was passed.
///
/// Names that are missing altogether, or empty, become `unknown` as in sd_listen_fds_with_names(3).
///
/// # Errors
/// [`ListenFdsError`]: what is wrong, with what to do about it.
pub fn read(variables: &Variables<'_>, own_pid: u32) -> Result<Vec<Inherited>, ListenFdsError> {
    let (pid, fds) = match (variables.pid, variables.fds) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(_)) => return Err(ListenFdsError::NoPid),
        (Some(_), None) => return Err(ListenFdsError::NoCount),
        (Some(pid), Some(fds)) => (pid, fds),
    };
    let listen_pid = decimal(pid)
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| ListenFdsError::BadPid { value: shown(pid) })?;
    if listen_pid != own_pid {
        return Err(ListenFdsError::OtherProcess { listen_pid, own_pid });
    }
    let count = decimal(fds).ok_or_else(|| ListenFdsError::BadCount { value: shown(fds) })?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= MAX_FDS)
        .ok_or(ListenFdsError::TooMany { count })?;
    name_each(count, variables.names.unwrap_or_default())
}

fn name_each(count: usize, names: &[u8]) -> Result<Vec<Inherited>, ListenFdsError> {
    let fds = (FIRST_FD..).take(count);
    if names.is_empty() || count == 0 {
        return Ok(fds.map(|fd| Inherited { fd, name: FdName::unknown() }).collect());
    }
    let names = std::str::from_utf8(names).map_err(|_| ListenFdsError::NamesNotText)?;
    let given = names.split(':').count();
    if given != count {
        return Err(ListenFdsError::NamesDiffer { fds: count, names: given });
    }
    fds.zip(names.split(':'))
        .map(|(fd, name)| match name {
            "" => Ok(Inherited { fd, name: FdName::unknown() }),
            name => FdName::new(name)
                .map(|name| Inherited { fd, name })
                .map_err(|error| ListenFdsError::BadName { fd, error }),
        })
        .collect()
}

fn decimal(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).escape_debug().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars<'a>(pid: &'a str, fds: &'a str, names: Option<&'a str>) -> Variables<'a> {
        Variables { pid: Some(pid.as_bytes()), fds: Some(fds.as_bytes()), names: names.map(str::as_bytes) }
    }

    fn error(pid: &str, fds: &str, names: Option<&str>) -> ListenFdsError {
        read(&vars(pid, fds, names), 7).unwrap_err()
    }

    fn names(pid: &str, fds: &str, names: Option<&str>) -> Vec<(i32, String)> {
        let inherited = read(&vars(pid, fds, names), 7).unwrap();
        inherited.into_iter().map(|one| (one.fd, one.name.to_string())).collect()
    }

    #[test]
    fn descriptors_are_named_in_their_order() {
        assert_eq!(
            names("7", "3", Some("web:web:admin")),
            [(3, "web".into()), (4, "web".into()), (5, "admin".into())]
        );
    }

    #[test]
    fn missing_names_are_unknown() {
        assert_eq!(names("7", "1", None), [(3, "unknown".into())]);
        assert_eq!(names("7", "1", Some("")), [(3, "unknown".into())]);
        assert_eq!(names("7", "2", Some(":b")), [(3, "unknown".into()), (4, "b".into())]);
    }

    #[test]
    fn nothing_set_or_a_count_of_zero_means_no_socket() {
        assert_eq!(read(&Variables::default(), 7), Ok(Vec::new()));
        assert_eq!(names("7", "0", None), []);
        assert_eq!(names("7", "0", Some("a:b")), []);
        let stray = Variables { names: Some(b"web"), ..Variables::default() };
        assert_eq!(read(&stray, 7), Ok(Vec::new()));
    }

    #[test]
    fn sockets_for_another_process_are_told_apart() {
        let error = error("6", "1", None);
        assert_eq!(error, ListenFdsError::OtherProcess { listen_pid: 6, own_pid: 7 });
        let text = error.to_string();
        assert!(text.contains("names process 6") && text.contains("exec"), "{text}");
        let first = read(&Variables { pid: Some(b"6"), fds: Some(b"1"), names: None }, 1).unwrap_err();
        assert!(first.to_string().contains("PrivatePIDs="), "{first}");
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        assert_eq!(error("0", "1", None), ListenFdsError::BadPid { value: "0".into() });
        assert_eq!(error("-7", "1", None), ListenFdsError::BadPid { value: "-7".into() });
        assert_eq!(error("", "1", None), ListenFdsError::BadPid { value: String::new() });
        assert_eq!(error("7", "+1", None), ListenFdsError::BadCount { value: "+1".into() });
        assert_eq!(error("7", "513", None), ListenFdsError::TooMany { count: 513 });
        assert_eq!(error("7", "18446744073709551615", None), ListenFdsError::TooMany { count: u64::MAX });
        assert_eq!(error("7", "2", Some("a")), ListenFdsError::NamesDiffer { fds: 2, names: 1 });
        assert_eq!(error("7", "1", Some("a:")), ListenFdsError::NamesDiffer { fds: 1, names: 2 });
        assert!(matches!(error("7", "1", Some("a\u{1b}")), ListenFdsError::BadName { fd: 3, .. }));
        let (one, pid) = (Some(b"1".as_slice()), Some(b"7".as_slice()));
        assert_eq!(read(&Variables { fds: one, ..Variables::default() }, 7), Err(ListenFdsError::NoPid));
        assert_eq!(read(&Variables { pid, ..Variables::default() }, 7), Err(ListenFdsError::NoCount));
        let not_text = Variables { pid, fds: one, names: Some(b"\xff") };
        assert_eq!(read(&not_text, 7), Err(ListenFdsError::NamesNotText));
    }

    #[test]
    fn an_error_repeats_little_of_a_strange_value() {
        let text = error("7", &"\x1b[2J".repeat(1000), None).to_string();
        assert!(text.len() < 150 && !text.contains('\x1b'), "{text}");
    }
}
