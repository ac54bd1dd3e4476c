//! What there is to say of a command line: why it can be no cluster worker, and what else is worth telling. It
//! decides nothing.

use std::fmt;

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
