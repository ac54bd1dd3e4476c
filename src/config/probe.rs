//! HTTP probes: where a worker is asked, and for what.

use std::net::SocketAddr;

use crate::plan::{HttpProbe, ProbeAddress, SlotTemplate};

/// The longest path and query.
const MAX_PATH: usize = 1024;

/// Why a text is no probe: what was expected, and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProbeError {
    pub(super) expected: String,
    pub(super) hint: Option<&'static str>,
}

fn wrong(expected: impl Into<String>) -> ProbeError {
    ProbeError { expected: expected.into(), hint: None }
}

const FORMS: &str =
    "\"/path\", \"http://IP:PORT/path\" with {slot} or {9100+slot} in the port, or \"unix:/path:/path\"";

/// Reads a probe.
pub(super) fn parse(text: &str) -> Result<HttpProbe, ProbeError> {
    if text.starts_with('/') {
        return probe(ProbeAddress::Shared, text, "localhost".to_owned());
    }
    if let Some(rest) = text.strip_prefix("unix:/") {
        let (socket, path) = rest.split_once(":/").ok_or_else(|| wrong("\"unix:/path/of/socket:/path\""))?;
        let template =
            SlotTemplate::parse(&format!("/{socket}")).map_err(|error| wrong(error.to_string()))?;
        return probe(ProbeAddress::Unix(template), &format!("/{path}"), "localhost".to_owned());
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        return inet(host, &path);
    }
    let hint =
        text.starts_with("https://").then_some("ganger speaks no TLS: offer the check on a plain port");
    Err(ProbeError { expected: FORMS.to_owned(), hint })
}

fn inet(host: &str, path: &str) -> Result<HttpProbe, ProbeError> {
    let numeric = host.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let template =
        SlotTemplate::parse(numeric.as_deref().unwrap_or(host)).map_err(|error| wrong(error.to_string()))?;
    // Ports that run out only in later slots are found when the number of workers is known.
    if template.render(0).parse::<SocketAddr>().is_err() {
        return Err(wrong("an IP address and a port, as in \"http://127.0.0.1:{9100+slot}/healthz\""));
    }
    let host = template.render(0);
    probe(ProbeAddress::Inet(template), path, host)
}

fn probe(address: ProbeAddress, path: &str, host: String) -> Result<HttpProbe, ProbeError> {
    if path.len() > MAX_PATH || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("a path of visible ASCII characters (escape others as %20)"));
    }
    Ok(HttpProbe { address, path: path.to_owned(), host })
}

/// The first slot below `workers` whose address is none (a port beyond 65535).
pub(super) fn bad_slot(probe: &HttpProbe, workers: u32) -> Option<u32> {
    match &probe.address {
        ProbeAddress::Inet(template) => {
            (0..workers).find(|slot| template.render(*slot).parse::<SocketAddr>().is_err())
        }
        ProbeAddress::Shared | ProbeAddress::Unix(_) => None,
    }
}

/// Whether every worker is asked at an address of its own.
pub(super) fn is_own(probe: &HttpProbe) -> bool {
    match &probe.address {
        ProbeAddress::Inet(template) | ProbeAddress::Unix(template) => template.differs_per_slot(),
        ProbeAddress::Shared => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_names_the_shared_socket_or_one_address_a_slot() {
        let shared = parse("/healthz?deep=1").unwrap();
        assert_eq!((shared.address.clone(), shared.path.as_str()), (ProbeAddress::Shared, "/healthz?deep=1"));
        assert!(!is_own(&shared));
        let own = parse("http://localhost:{9100+slot}/healthz").unwrap();
        let ProbeAddress::Inet(template) = &own.address else { panic!("{own:?}") };
        assert_eq!((template.render(2).as_str(), own.path.as_str()), ("127.0.0.1:9102", "/healthz"));
        assert!(is_own(&own));
        let unix = parse("unix:/run/x/{slot}.sock:/up").unwrap();
        let ProbeAddress::Unix(template) = &unix.address else { panic!("{unix:?}") };
        assert_eq!((template.render(1).as_str(), unix.path.as_str()), ("/run/x/1.sock", "/up"));
        assert_eq!(parse("http://[::1]:80").unwrap().path, "/");
    }

    #[test]
    fn what_could_smuggle_a_header_is_refused() {
        for text in ["/a b", "/a\r\nX: y", "/é", "http://127.0.0.1:1/a b"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn what_is_no_probe_is_refused() {
        for text in
            ["", "healthz", "https://127.0.0.1:1/", "http://example.org/x", "http://127.0.0.1/x", "unix:/x"]
        {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
        assert!(parse("https://x/").unwrap_err().hint.is_some());
    }

    #[test]
    fn ports_beyond_the_last_one_are_found() {
        let probe = parse("http://127.0.0.1:{65534+slot}/").unwrap();
        assert_eq!(bad_slot(&probe, 2), None);
        assert_eq!(bad_slot(&probe, 3), Some(2));
    }
}
