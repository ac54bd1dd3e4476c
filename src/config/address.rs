//! Socket addresses in the grammar of `ListenStream=` (systemd.socket(5)).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::plan::Address;

/// The longest path or abstract name that a unix socket takes (unix(7): 108 bytes with the closing NUL).
const MAX_UNIX: usize = 107;

/// What an address looks like.
pub(super) const EXPECTED: &str =
    "a port, \"IP:PORT\", \"[IPv6]:PORT\", \"/path\", \"unix:/path\" or \"@abstract\"";

/// Why a text is no address, and a hint where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddressError {
    pub(super) expected: &'static str,
    pub(super) hint: Option<String>,
}

fn wrong(expected: &'static str) -> AddressError {
    AddressError { expected, hint: None }
}

/// Reads an address. A bare port means every address of the machine, IPv6 and IPv4 (`[::]:PORT`).
pub(super) fn parse(text: &str) -> Result<Address, AddressError> {
    if let Some(name) = text.strip_prefix('@') {
        return abstract_name(name);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path);
    }
    if text.starts_with('/') {
        return unix_path(text);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse::<u16>() {
            Ok(port) => Ok(Address::Inet(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))),
            Err(_) => Err(wrong("a port from 0 to 65535")),
        };
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Address::Inet(address)),
        Err(_) => Err(AddressError { expected: EXPECTED, hint: hint(text) }),
    }
}

fn abstract_name(name: &str) -> Result<Address, AddressError> {
    if name.is_empty() || name.len() > MAX_UNIX {
        return Err(wrong("a name of 1 to 107 bytes after @"));
    }
    Ok(Address::Abstract(name.as_bytes().to_vec()))
}

fn unix_path(path: &str) -> Result<Address, AddressError> {
    if !path.starts_with('/') {
        return Err(wrong("an absolute path"));
    }
    if path.len() > MAX_UNIX || path.contains('\0') {
        return Err(wrong("a path of at most 107 bytes"));
    }
    if path.ends_with('/') {
        return Err(wrong("the path of a socket, not of a directory"));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

/// What a person who wrote `text` may have meant.
fn hint(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Some(match scheme {
            "unix" => format!("write \"unix:{rest}\""),
            _ => format!("a socket has no scheme: write \"{rest}\""),
        });
    }
    if text.starts_with("vsock:") {
        return Some("put ListenStream=vsock:… into a socket unit; ganger takes it from there".to_owned());
    }
    let (host, port) = text.rsplit_once(':')?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.is_empty() {
        return None;
    }
    match host {
        "" | "*" => Some(format!("for every address write \"{port}\"; for IPv4 only \"0.0.0.0:{port}\"")),
        "localhost" => {
            Some(format!("names are not looked up: write \"127.0.0.1:{port}\" or \"[::1]:{port}\""))
        }
        host if host.contains(':') && !host.starts_with('[') => {
            Some(format!("an IPv6 address stands in brackets: \"[{host}]:{port}\""))
        }
        host if host.chars().any(|c| c.is_ascii_alphabetic()) && !host.starts_with('[') => {
            Some("names are not looked up: write the IP address".to_owned())
        }
        _ => None,
    }
}

/// Whether `name` can be a `FileDescriptorName=`: 1 to 255 visible ASCII characters but `:`.
pub(super) fn is_descriptor_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_systemd_reads_them() {
        let inet = |text: &str| Ok(Address::Inet(text.parse().unwrap()));
        assert_eq!(parse("3000"), inet("[::]:3000"));
        assert_eq!(parse("0"), inet("[::]:0"));
        assert_eq!(parse("127.0.0.1:3000"), inet("127.0.0.1:3000"));
        assert_eq!(parse("[::1]:3000"), inet("[::1]:3000"));
        assert_eq!(parse("/run/x.sock"), Ok(Address::Unix("/run/x.sock".into())));
        assert_eq!(parse("unix:/run/x.sock"), Ok(Address::Unix("/run/x.sock".into())));
        assert_eq!(parse("@x/y"), Ok(Address::Abstract(b"x/y".to_vec())));
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_hint() {
        for (text, hint) in [
            ("localhost:80", Some("127.0.0.1:80")),
            (":80", Some("\"80\"")),
            ("*:80", Some("0.0.0.0:80")),
            ("http://127.0.0.1:80/", Some("\"127.0.0.1:80\"")),
            ("::1:80", Some("\"[::1]:80\"")),
            ("example.org:80", Some("IP address")),
            ("", None),
            ("70000", None),
            ("1.2.3.4", None),
            ("unix:x", None),
            ("/run/", None),
            ("@", None),
        ] {
            let error = parse(text).expect_err(text);
            match hint {
                Some(words) => assert!(error.hint.as_ref().unwrap().contains(words), "{text}: {error:?}"),
                None => assert_eq!(error.hint, None, "{text}"),
            }
        }
        assert!(parse(&format!("/{}", "x".repeat(107))).is_err());
    }
}
