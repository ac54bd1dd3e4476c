//! Where the inspectors of a Node app's workers listen: what the words of its command say, and which port a
//! worker gets. It decides nothing of a worker's life, and looks at no socket: a port that somebody else has is
//! Node's to complain of.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// Where Node's inspector listens when nothing else is said.
const PORT: u16 = 9229;
const HOST: &str = "127.0.0.1";
/// Options that ask for an inspector.
const ASKING: [&str; 3] = ["--inspect", "--inspect-brk", "--inspect-wait"];
/// Options that say no more than where it is to listen.
const PLACING: [&str; 2] = ["--inspect-port", "--debug-port"];

/// Where the inspectors of an app's workers listen. They live on one machine, so each has a port of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspector {
    host: String,
    port: u16,
}

impl Default for Inspector {
    fn default() -> Self {
        Self { host: HOST.to_owned(), port: PORT }
    }
}

impl Inspector {
    /// What these options of Node ask for; the last word holds. `None`: nothing.
    pub(super) fn asked_for<'a>(options: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found: Option<Self> = None;
        let mut options = options.peekable();
        while let Some(option) = options.next() {
            let (name, address) = parts(option);
            let is_place = PLACING.contains(&name);
            if is_place || ASKING.contains(&name) {
                let next = if is_place && address.is_none() { options.peek().copied() } else { None };
                found.get_or_insert_default().hear(address.or(next).unwrap_or_default());
            }
        }
        found
    }

    /// `[host:]port`, or a host alone, as Node reads it.
    fn hear(&mut self, address: &str) {
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            Some(_) => (address, ""),
            None if address.chars().all(|letter| letter.is_ascii_digit()) => ("", address),
            None => (address, ""),
        };
        // Of anything else Node itself complains; said again by ganger it could break NODE_OPTIONS.
        let is_plain = host.chars().all(|letter| letter.is_ascii_alphanumeric() || ".:[]-_".contains(letter));
        if !host.is_empty() && is_plain {
            host.clone_into(&mut self.host);
        }
        self.port = port.parse().unwrap_or(self.port);
    }

    /// The port of a new worker, when those of living workers are `taken`: the first one plus its slot; while a
    /// predecessor is still on its way out with that one, one behind those of all `slots`. 0 is any free one.
    #[must_use]
    pub fn port(&self, slot: u32, slots: u32, taken: &BTreeSet<u16>) -> u16 {
        let nth = |place: u32| self.port.checked_add(u16::try_from(place).ok()?);
        let behind = (slots..).map_while(nth).find(|port| !taken.contains(port));
        match nth(slot).filter(|port| !taken.contains(port)).or(behind) {
            Some(port) if self.port != 0 => port,
            Some(_) | None => 0,
        }
    }

    /// What tells Node the port, in `NODE_OPTIONS`.
    #[must_use]
    pub fn option(&self, port: u16) -> String {
        format!("--inspect-port={}:{port}", self.host)
    }
}

/// The options of a command without their ports, which go by `NODE_OPTIONS`: these words would be the stronger ones.
pub(super) fn without_ports(options: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut options = options.peekable();
    while let Some(option) = options.next() {
        let (name, address) = option.to_str().map(parts).unwrap_or_default();
        if PLACING.contains(&name) {
            options.next_if(|_| address.is_none());
        } else if ASKING.contains(&name) {
            kept.push(name.into());
        } else {
            kept.push(option);
        }
    }
    kept
}

/// The words of `NODE_OPTIONS` as Node splits it (node(1)): at spaces, but for those between double quotes, where a
/// backslash takes the next character as it is.
pub(super) fn words_of(options: &OsStr) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (None::<String>, false);
    let text = options.to_string_lossy();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' if !quoted => words.extend(word.take()),
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Name and value of an option.
fn parts(option: &str) -> (&str, Option<&str>) {
    option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(options: &str) -> Option<Inspector> {
        Inspector::asked_for(options.split(' '))
    }

    #[test]
    fn the_address_is_read_as_node_reads_it() {
        for (options, place) in [
            ("--inspect", "127.0.0.1:9229"),
            ("--inspect=0.0.0.0:9300", "0.0.0.0:9300"),
            ("--inspect-brk=9400", "127.0.0.1:9400"),
            ("--inspect-wait=[::1]:9500", "[::1]:9500"),
            ("--inspect=[::1]", "[::1]:9229"),
            ("--inspect=localhost", "localhost:9229"),
            ("--inspect=0.0.0.0:9300 --inspect-port 9301", "0.0.0.0:9301"),
            ("--debug-port=9302 --no-warnings --inspect", "127.0.0.1:9302"),
            ("--inspect=0", "127.0.0.1:0"),
        ] {
            let inspector = asked_for(options).unwrap();
            assert_eq!(inspector.option(inspector.port), format!("--inspect-port={place}"), "{options}");
        }
        assert_eq!(asked_for("--no-warnings --inspect-publish-uid=http"), None);
        let odd = asked_for("--inspect=\"127.0.0.1:9300").unwrap();
        assert_eq!(odd.option(9300), "--inspect-port=127.0.0.1:9300", "no open quote");
    }

    #[test]
    fn node_options_are_split_as_node_splits_them() {
        for (options, words) in [
            ("  --a   --b=c ", &["--a", "--b=c"][..]),
            (r#"--inspect="127.0.0.1:9300" "--title=a b""#, &["--inspect=127.0.0.1:9300", "--title=a b"]),
            (r#"--require "a \"b\\" c\d"#, &["--require", r#"a "b\"#, r"c\d"]),
            (r#""" x"#, &["", "x"]),
            ("", &[]),
        ] {
            assert_eq!(words_of(OsStr::new(options)), words, "{options}");
        }
    }

    #[test]
    fn a_worker_has_the_port_of_its_slot_and_one_behind_all_slots_while_that_is_taken() {
        let inspector = Inspector::default();
        let port = |slot, taken: &[u16]| inspector.port(slot, 2, &taken.iter().copied().collect());
        assert_eq!([port(0, &[]), port(1, &[9229])], [9229, 9230]);
        assert_eq!(port(0, &[9229, 9230]), 9231);
        assert_eq!(port(1, &[9229, 9230, 9231]), 9232);
        assert_eq!(port(0, &[9230, 9231]), 9229);
    }

    #[test]
    fn behind_the_last_port_it_is_any_free_one_and_so_it_is_when_that_was_asked_for() {
        let of = |options: &str, slot, taken: &[u16]| {
            asked_for(options).unwrap().port(slot, 2, &taken.iter().copied().collect())
        };
        assert_eq!(of("--inspect=65535", 0, &[]), 65535);
        assert_eq!(of("--inspect=65535", 1, &[]), 0);
        assert_eq!(of("--inspect=65535", 0, &[65535]), 0);
        assert_eq!(of("--inspect=0", 1, &[]), 0);
    }

    #[test]
    fn a_command_keeps_its_wish_and_loses_its_port() {
        let given = [
            "--inspect=0.0.0.0:9300",
            "--no-warnings",
            "--inspect-port",
            "9301",
            "--debug-port=1",
            "-C",
            "x",
        ];
        let kept = without_ports(given.into_iter().map(OsString::from));
        assert_eq!(kept, ["--inspect", "--no-warnings", "-C", "x"]);
    }
}
