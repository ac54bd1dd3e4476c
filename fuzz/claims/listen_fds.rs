//! What holds for every `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`. Used by the fuzzer and, on its
//! corpus, by `tests/corpus.rs`. The three are the first three lines of the input; a line that is `-` is unset.

use ganger::proto::listen_fds::{
    FIRST_FD, FdName, LISTEN_FDNAMES, LISTEN_FDS, MAX_FDS, Passed, Variables, WriteError, listen_fds, read,
    server_starter,
};

/// The process that reads.
const OWN_PID: u32 = 1234;

/// Fails when one of the claims does not hold for `input`.
pub(crate) fn check(input: &[u8]) {
    let mut lines =
        input.splitn(3, |byte| *byte == b'\n').map(|line| Some(line).filter(|line| *line != b"-"));
    let mut next = || lines.next().flatten();
    let variables = Variables { pid: next(), fds: next(), names: next() };
    match read(&variables, OWN_PID) {
        Ok(inherited) => {
            assert!(inherited.len() <= MAX_FDS);
            assert!(inherited.iter().map(|one| one.fd).eq((FIRST_FD..).take(inherited.len())));
            let names: Vec<FdName> = inherited.into_iter().map(|one| one.name).collect();
            passes_on(&names);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 600 && !text.contains(char::is_control), "{text:?}");
        }
    }
    if let Some(address) = variables.names.and_then(|names| std::str::from_utf8(names).ok()) {
        keeps_apart(address);
    }
}

/// Names that were read can be written, and are read as the same ones by a worker.
fn passes_on(names: &[FdName]) {
    let written = match listen_fds(names) {
        Ok(written) => written,
        Err(error) => {
            assert!(matches!(error, WriteError::TooLong { .. }), "{error}");
            return;
        }
    };
    let value = |name: &str| written.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_bytes());
    let pid = OWN_PID.to_string();
    let variables =
        Variables { pid: Some(pid.as_bytes()), fds: value(LISTEN_FDS), names: value(LISTEN_FDNAMES) };
    let again = read(&variables, OWN_PID).unwrap();
    assert!(again.iter().map(|one| &one.name).eq(names));
}

/// No address can be taken for two sockets, or for another descriptor.
fn keeps_apart(address: &str) {
    let sockets = [Passed { fd: 3, address }, Passed { fd: 4, address: "/x" }];
    if let Ok((_, value)) = server_starter(&sockets) {
        let parts: Vec<(&str, &str)> = value.split(';').map(|part| part.split_once('=').unwrap()).collect();
        assert_eq!(parts, [(address, "3"), ("/x", "4")]);
    }
}
