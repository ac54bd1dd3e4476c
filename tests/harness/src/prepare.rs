//! Asks `tests/prepare` for roots and images, once a process each, and knows why one cannot be had.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A Debian release that is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Debian {
    /// Debian 12: systemd 252, kernel 6.1.
    Bookworm,
    /// Debian 13: systemd 257, kernel 6.12.
    Trixie,
}

impl Debian {
    /// The release's code name, as apt has it.
    pub fn suite(self) -> &'static str {
        match self {
            Debian::Bookworm => "bookworm",
            Debian::Trixie => "trixie",
        }
    }

    /// The major version of its systemd.
    pub fn systemd(self) -> u32 {
        match self {
            Debian::Bookworm => 252,
            Debian::Trixie => 257,
        }
    }
}

/// What `tests/prepare` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Root,
    Vm,
}

/// The root or image of `debian` with `packages` more, made if missing; or why there is none.
pub(crate) fn made(kind: Kind, debian: Debian, packages: &[String]) -> Result<PathBuf, String> {
    type Key = (Kind, Debian, Vec<String>);
    static MADE: Mutex<BTreeMap<Key, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    made.entry((kind, debian, packages.to_vec())).or_insert_with(|| make(kind, debian, packages)).clone()
}

fn make(kind: Kind, debian: Debian, packages: &[String]) -> Result<PathBuf, String> {
    let word = match kind {
        Kind::Root => "root",
        Kind::Vm => "vm",
    };
    let out = Command::new(crate::built::checkout().join("tests/prepare"))
        .args([word, debian.suite()])
        .args(packages)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| format!("failed to start tests/prepare: {err}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(format!("no {word} of {}: {}", debian.suite(), said.trim_end()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim_end()))
}

/// Why no container can be booted here, if so.
pub(crate) fn no_containers() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("booting a container needs root".to_owned());
    }
    missing(&["systemd-nspawn", "nsenter", "setpriv", "setsid"])
}

/// Why no VM can be booted here, if so.
pub(crate) fn no_vm() -> Option<String> {
    missing(&["qemu-system-x86_64"])
}

fn missing(programs: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !found(program)).collect();
    (!missing.is_empty())
        .then(|| format!("{} is not installed (`tests/prepare packages`)", missing.join(", ")))
}
