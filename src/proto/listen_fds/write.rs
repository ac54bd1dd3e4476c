//! What the environment of a worker says about its sockets.

use std::fmt;
use std::fmt::Write as _;

use super::{FIRST_FD, FdName, MAX_FDS, MAX_VALUE_BYTES};

/// One socket as a worker gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed<'a> {
    /// The descriptor's number in the worker.
    pub fd: i32,
    /// Where it listens: `127.0.0.1:3000`, `[::]:3000`, or a path.
    pub address: &'a str,
}

/// Why the sockets cannot be described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// More than [`MAX_FDS`].
    TooMany {
        /// How many.
        count: usize,
    },
    /// The value would not fit into one environment variable.
    TooLong {
        /// Which variable.
        variable: &'static str,
        /// How long it would be.
        bytes: usize,
    },
    /// An address that `SERVER_STARTER_PORT` has no way to write.
    Address {
        /// Which.
        address: String,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { count } => {
                write!(f, "{count} sockets cannot be passed to a worker, {MAX_FDS} are the most")
            }
            Self::TooLong { variable, bytes } => write!(
                f,
                "{variable} would have {bytes} bytes, {MAX_VALUE_BYTES} are the most: use shorter or fewer names"
            ),
            Self::Address { address } => write!(
                f,
                "{address:?} cannot be written in SERVER_STARTER_PORT, which has no way to quote \"=\", \";\" and \
                 control characters: choose another path"
            ),
        }
    }
}

impl std::error::Error for WriteError {}

/// A variable's name and its value.
type Variable = (String, String);

/// `LISTEN_FDS` and `LISTEN_FDNAMES` for sockets that a worker gets from descriptor 3 on, in this order.
/// `LISTEN_PID` is not here: it is known only after the fork.
///
/// # Errors
/// [`WriteError::TooMany`], [`WriteError::TooLong`].
pub fn listen_fds(names: &[FdName]) -> Result<Vec<Variable>, WriteError> {
    few_enough(names.len())?;
    let joined = names.iter().map(FdName::as_str).collect::<Vec<_>>().join(":");
    short_enough(super::LISTEN_FDNAMES, &joined)?;
    Ok(vec![
        (super::LISTEN_FDS.to_owned(), names.len().to_string()),
        (super::LISTEN_FDNAMES.to_owned(), joined),
    ])
}

/// Einhorn's `EINHORN_FD_COUNT`, `EINHORN_FD_0`, … for sockets that a worker gets from descriptor 3 on.
///
/// # Errors
/// [`WriteError::TooMany`].
pub fn einhorn(count: usize) -> Result<Vec<Variable>, WriteError> {
    few_enough(count)?;
    let total = ("EINHORN_FD_COUNT".to_owned(), count.to_string());
    let each = (FIRST_FD..).take(count).enumerate();
    let each = each.map(|(index, fd)| (format!("EINHORN_FD_{index}"), fd.to_string()));
    Ok(std::iter::once(total).chain(each).collect())
}

/// Server::Starter's `SERVER_STARTER_PORT`: `127.0.0.1:3000=3;/run/app.sock=4`.
///
/// # Errors
/// [`WriteError`], also for an address with `=` or `;` in it.
pub fn server_starter(sockets: &[Passed<'_>]) -> Result<Variable, WriteError> {
    const NAME: &str = "SERVER_STARTER_PORT";
    few_enough(sockets.len())?;
    let mut value = String::new();
    for socket in sockets {
        let address = socket.address;
        if address.is_empty() || address.contains(|c: char| matches!(c, '=' | ';') || c.is_control()) {
            return Err(WriteError::Address { address: address.to_owned() });
        }
        let separator = if value.is_empty() { "" } else { ";" };
        // Writing to a String cannot fail.
        let _ = write!(value, "{separator}{address}={}", socket.fd);
    }
    short_enough(NAME, &value)?;
    Ok((NAME.to_owned(), value))
}

fn few_enough(count: usize) -> Result<(), WriteError> {
    if count > MAX_FDS { Err(WriteError::TooMany { count }) } else { Ok(()) }
}

fn short_enough(variable: &'static str, value: &str) -> Result<(), WriteError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(WriteError::TooLong { variable, bytes: value.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Variables, read};
    use super::*;

    fn name(text: &str) -> FdName {
        FdName::new(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_the_same_names() {
        let names = [name("web"), name("web"), name("admin panel")];
        let written = listen_fds(&names).unwrap();
        assert_eq!(written[0], ("LISTEN_FDS".into(), "3".into()));
        assert_eq!(written[1], ("LISTEN_FDNAMES".into(), "web:web:admin panel".into()));
        let variables = Variables {
            pid: Some(b"12"),
            fds: Some(written[0].1.as_bytes()),
            names: Some(written[1].1.as_bytes()),
        };
        let inherited = read(&variables, 12).unwrap();
        assert_eq!(inherited.iter().map(|one| one.fd).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(inherited.iter().map(|one| &one.name).eq(&names));
    }

    #[test]
    fn the_older_conventions_are_written_as_their_readers_expect() {
        let text = |(name, value): &Variable| format!("{name}={value}");
        assert_eq!(
            einhorn(2).unwrap().iter().map(text).collect::<Vec<_>>(),
            ["EINHORN_FD_COUNT=2", "EINHORN_FD_0=3", "EINHORN_FD_1=4"]
        );
        let sockets =
            [Passed { fd: 3, address: "127.0.0.1:3000" }, Passed { fd: 4, address: "/run/my app.sock" }];
        assert_eq!(
            text(&server_starter(&sockets).unwrap()),
            "SERVER_STARTER_PORT=127.0.0.1:3000=3;/run/my app.sock=4"
        );
        assert_eq!(text(&server_starter(&[]).unwrap()), "SERVER_STARTER_PORT=");
    }

    #[test]
    fn an_address_that_would_be_misread_is_refused() {
        for address in ["/run/a=b", "/run/a;b", "", "/run/a\nb"] {
            let refused = server_starter(&[Passed { fd: 3, address }]);
            assert_eq!(refused, Err(WriteError::Address { address: address.into() }));
        }
    }

    #[test]
    fn a_value_always_fits_into_the_environment() {
        let long = name(&"x".repeat(FdName::MAX_BYTES));
        assert!(matches!(listen_fds(&vec![long; MAX_FDS]), Err(WriteError::TooLong { .. })));
        let count = MAX_FDS + 1;
        assert_eq!(listen_fds(&vec![name("a"); count]), Err(WriteError::TooMany { count }));
        assert_eq!(einhorn(count), Err(WriteError::TooMany { count }));
    }
}
