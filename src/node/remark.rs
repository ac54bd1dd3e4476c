//! What there is to say of a command line: why it can be no cluster worker, and what else is worth telling. It
//! decides nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use super::inspect::words_of;
use super::launch::VALUED;

/// Options of Node that take no value, or none as a word of its own; by how they begin.
const FLAGS: [&str; 4] = ["--no-", "--inspect", "--enable-source-maps", "--experimental-strip-types"];
/// Node runs nothing of the app before a debugger has come.
const WAITING: [&str; 2] = ["--inspect-brk", "--inspect-wait"];

/// The option that lets Node wait for a debugger before it runs anything, if there is one.
#[must_use]
pub fn waits_for_debugger(argv: &[OsString], node_options: Option<&OsStr>) -> Option<&'static str> {
    let own = argv.iter().map(|word| word.to_string_lossy().into_owned());
    let words = own.chain(words_of(node_options.unwrap_or_default()));
    let mut names = words.map(|word| word.split('=').next().unwrap_or_default().to_owned());
    names.find_map(|name| WAITING.into_iter().find(|option| *option == name))
}

/// The file that a plain `node` command runs, where that is sure: the word after an option that ganger does not know
/// may be its value.
#[must_use]
pub fn script(argv: &[OsString]) -> Option<&Path> {
    let name = |word: &OsString| Path::new(word).file_name().map(OsStr::to_owned);
    let mut words = argv.iter().peekable();
    if words.next_if(|word| name(word).is_some_and(|name| name == "env")).is_some() {
        while words.next_if(|word| word.to_string_lossy().contains('=')).is_some() {}
    }
    words.next_if(|word| name(word).is_some_and(|name| name == "node" || name == "nodejs"))?;
    let mut sure = true;
    loop {
        let word = words.next()?;
        match word.to_str() {
            Some("--") => return words.next().map(Path::new),
            Some(option) if VALUED.contains(&option) => {
                words.next();
                sure = true;
            }
            Some("--run") => return None,
            Some(option) if option.starts_with('-') => {
                sure = option.contains('=') || FLAGS.iter().any(|flag| option.starts_with(flag));
            }
            Some(_) | None => return sure.then_some(Path::new(word)),
        }
    }
}

/// Worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchNote {
    /// The script of that name is run without the launcher.
    Script {
        /// `start` and the like.
        name: String,
        /// Its text.
        text: String,
    },
    /// The package manager would run this one first; with many workers that is no good.
    PreScript(String),
    /// A launcher is run as it is, because ganger cannot tell what it would run.
    Launcher(String),
    /// What of Deno's ways to serve is served.
    Deno,
}

/// Why a command cannot be a cluster worker. Each text names the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchError {
    /// No script for Node: `-e`, `-p`, the prompt, standard input.
    NoScript,
    /// A tool that restarts or supervises the app itself.
    Supervisor(String),
    /// Node's own test runner, or another mode that serves nothing.
    Mode(String),
    /// Bun does not speak the protocol.
    Bun,
    /// An option of a launcher that ganger does not follow.
    Option {
        /// npm, tsx …
        launcher: String,
        /// The option.
        option: String,
    },
    /// The launcher wants package.json and there is none, or it cannot be read.
    Package {
        /// npm, pnpm …
        launcher: String,
        /// The directory or the reason.
        reason: String,
    },
    /// package.json has no script of that name.
    NoSuchScript(String),
    /// Scripts that call each other in a ring.
    Ring(String),
}

impl fmt::Display for LaunchNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script { name, text } => {
                write!(f, "running the script \"{name}\" of package.json without its launcher: {text}")
            }
            Self::PreScript(name) => {
                write!(f, "the script \"{name}\" is not run: run it once, before ganger starts")
            }
            Self::Launcher(name) => write!(
                f,
                "{name} is run as it is and stays in memory with each worker: name the command that it runs and it need not"
            ),
            Self::Deno => f.write_str(
                "deno gets its connections from ganger one by one (node.balance = \"round-robin\"), and only for servers of node:http and node:net: Deno.serve binds a port of its own",
            ),
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScript => f.write_str(
                "node without a script file can be no cluster worker (its listen() would wait for ever): put the code into a file",
            ),
            Self::Supervisor(name) => write!(
                f,
                "{name} restarts the app by itself and would take the channel: name the app's own command; for development start {name} without ganger"
            ),
            Self::Mode(option) => write!(f, "node {option} serves nothing: name the app's own command"),
            Self::Bun => f.write_str(
                "bun does not speak Node's cluster protocol: use node, or protocol = \"listen-fds\" with a server of node:net that listens on { fd: 3 }",
            ),
            Self::Option { launcher, option } => write!(
                f,
                "{launcher} {option}: ganger does not run {launcher} and does not know this option: name the command that {launcher} would run"
            ),
            Self::Package { launcher, reason } => {
                write!(f, "{launcher} needs package.json, and {reason}: set directory, or name the app's own command")
            }
            Self::NoSuchScript(name) => write!(f, "package.json has no script \"{name}\""),
            Self::Ring(name) => write!(f, "the scripts of package.json call each other in a ring at \"{name}\""),
        }
    }
}

impl std::error::Error for LaunchError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_script_is_the_first_word_that_is_neither_an_option_nor_its_value() {
        for (line, expected) in [
            ("node server.js", Some("server.js")),
            ("/usr/bin/node --import tsx -r ./a.js --no-warnings dist/server --port 1", Some("dist/server")),
            ("env A=1 nodejs --conditions=x -- -odd.js", Some("-odd.js")),
            ("node --run start", None),
            ("node --import tsx", None),
            ("npm start", None),
            ("node --dns-result-order ipv4first server.js", None),
            ("env -C /srv node server.js", None),
        ] {
            assert_eq!(script(&argv(line)), expected.map(Path::new), "{line}");
        }
    }

    #[test]
    fn who_waits_for_a_debugger_is_known_by_the_command_or_by_node_options() {
        let waits = |line: &str, options: &str| waits_for_debugger(&argv(line), Some(OsStr::new(options)));
        assert_eq!(waits("node --inspect-brk=0 server.js", ""), Some("--inspect-brk"));
        assert_eq!(waits("node server.js", "--no-warnings --inspect-wait"), Some("--inspect-wait"));
        assert_eq!(waits("node --inspect server.js", "--inspect-port=9229"), None);
    }
}
