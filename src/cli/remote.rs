//! `-H [USER@]HOST`: the same command on another machine, over ssh, as systemctl has it.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::exit::{Exit, Failure};

/// Becomes ssh, which runs `ganger` with the same words there; returns only when that is impossible.
pub(crate) fn run(host: &OsStr, words: &[OsString]) -> Failure {
    match command(host, words, std::io::stdout().is_terminal()) {
        Ok(mut ssh) => Failure::new(Exit::Unreachable, format!("cannot run ssh: {}", ssh.exec())),
        Err(failure) => failure,
    }
}

fn command(host: &OsStr, words: &[OsString], terminal: bool) -> Result<Command, Failure> {
    let host = host.to_str().filter(|host| is_host(host)).ok_or_else(|| {
        let host = super::print::harmless(&host.to_string_lossy());
        Failure::usage(format!("\"{host}\" is no host: expected HOST or USER@HOST"))
    })?;
    let mut line = String::from("ganger");
    for word in without_host(words) {
        let word = word.to_str().ok_or_else(|| Failure::usage("words for another machine must be UTF-8"))?;
        line.push(' ');
        line.push_str(&quoted(word));
    }
    let mut ssh = Command::new("ssh");
    // With a terminal, Ctrl-C reaches the command there, and its tables fit.
    ssh.arg(if terminal { "-t" } else { "-T" }).arg("--").arg(host).arg(line);
    Ok(ssh)
}

/// Nothing that ssh could take for an option or a shell for more than a word.
fn is_host(host: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "@.-_:[]%".contains(c);
    !host.is_empty() && host.len() <= 255 && !host.starts_with('-') && host.chars().all(allowed)
}

/// The words without `-H HOST`, however it was spelled. What stands behind `--` is left as it is.
fn without_host(words: &[OsString]) -> Vec<&OsStr> {
    let mut kept = Vec::new();
    let mut words = words.iter().map(OsString::as_os_str);
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            kept.push(word);
            kept.extend(words.by_ref());
        } else if text == "-H" || text == "--host" {
            words.next();
        } else if !(text.starts_with("-H") || text.starts_with("--host=")) {
            kept.push(word);
        }
    }
    kept
}

/// One word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(host: &str, words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let command = command(OsStr::new(host), &words, false).unwrap();
        command.get_args().map(|arg| arg.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_same_words_are_run_there() {
        for spelled in [&["-H", "me@web1"][..], &["-Hme@web1"], &["--host=me@web1"], &["--host", "me@web1"]] {
            let words: Vec<&str> =
                ["reload"].into_iter().chain(spelled.iter().copied()).chain(["api"]).collect();
            assert_eq!(ssh("me@web1", &words), ["-T", "--", "me@web1", "ganger reload api"]);
        }
    }

    #[test]
    fn a_word_stays_one_word_in_the_shell_there() {
        let args = ssh("web1", &["logs", "--since", "1 hour ago; rm -rf 'x'", "api"]);
        assert_eq!(args[3], r"ganger logs --since '1 hour ago; rm -rf '\''x'\''' api");
    }

    #[test]
    fn a_host_cannot_be_an_option_of_ssh() {
        for host in ["-oProxyCommand=x", "", "a b", "a;b", "$(x)"] {
            assert!(command(OsStr::new(host), &[], false).is_err(), "{host}");
        }
    }
}
