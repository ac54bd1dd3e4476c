//! `-H [USER@]HOST[:PORT]`: the same command on another machine, over ssh, as systemctl has it.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::process::{Command, ExitCode, ExitStatus};

use nix::libc;
use nix::sys::termios::tcgetattr;

use super::exit::{Exit, Failure};
use super::rescue::Rescue;
use super::screen::LEAVE;
use crate::os::tied;

/// What ssh ends with when it could not even connect (ssh(1)).
const NO_CONNECTION: i32 = 255;
/// What a shell ends with when there is no such program, or it cannot be run.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// Runs `ganger` with the same words there, by ssh, and ends as it did. A live view takes the terminal over.
pub(crate) fn run(host: &OsStr, words: &[OsString], is_live: bool) -> Result<ExitCode, Failure> {
    let mut ssh = command(host, words, io::stdout().is_terminal())?;
    let status = if is_live { beside_rescue(&mut ssh) } else { ssh.status() };
    let status =
        status.map_err(|error| Failure::new(Exit::Unreachable, format!("cannot run ssh: {error}")))?;
    ended(status.code(), &host.to_string_lossy())
}

/// A view must not be drawn on when we are gone, by whichever signal: ssh ends with us, and the terminal comes back.
fn beside_rescue(ssh: &mut Command) -> io::Result<ExitStatus> {
    let before = tcgetattr(io::stdin()).ok().filter(|_| io::stdout().is_terminal());
    let mut ssh = tied::dies_with_us(ssh).spawn()?;
    let rescue = before.map(|before| {
        let before = before.into();
        Rescue::beside(&before, &raw_as_sshs(before), LEAVE, Some(ssh.id()))
    });
    let status = ssh.wait()?;
    if let Some(rescue) = rescue.filter(|_| status.code().is_some()) {
        rescue.is_not_needed();
    }
    Ok(status)
}

/// What ssh makes of a terminal while a command has it (ssh(1), "-t").
fn raw_as_sshs(mut modes: libc::termios) -> libc::termios {
    modes.c_iflag |= libc::IGNPAR;
    modes.c_iflag &= !(libc::ISTRIP | libc::INLCR | libc::IGNCR | libc::ICRNL | libc::IUCLC);
    modes.c_iflag &= !(libc::IXON | libc::IXANY | libc::IXOFF);
    modes.c_oflag &= !libc::OPOST;
    modes.c_lflag &= !(libc::ISIG | libc::ICANON | libc::IEXTEN);
    modes.c_lflag &= !(libc::ECHO | libc::ECHOE | libc::ECHOK | libc::ECHONL);
    for (index, value) in [(libc::VMIN, 1), (libc::VTIME, 0)] {
        if let Some(character) = modes.c_cc.get_mut(index) {
            *character = value;
        }
    }
    modes
}

/// ssh's own failure is told apart from that of the command there: ganger's codes end far below 126.
fn ended(code: Option<i32>, host: &str) -> Result<ExitCode, Failure> {
    let unreachable = |message| {
        let alone = place(host);
        let port = alone.port.map_or_else(String::new, |port| format!("-p {port} "));
        let alone = format!("try it alone: ssh {port}{} ganger --version", alone.host);
        Err(Failure::new(Exit::Unreachable, message).hint(alone))
    };
    match code {
        Some(NO_CONNECTION) => unreachable(format!("ssh could not run ganger on {host}")),
        Some(code) if NO_PROGRAM.contains(&code) => unreachable(format!("ganger does not run on {host}")),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::new(Exit::Failed, format!("ssh to {host} was killed"))),
    }
}

fn command(host: &OsStr, words: &[OsString], terminal: bool) -> Result<Command, Failure> {
    let host = host.to_str().filter(|host| is_host(host)).ok_or_else(|| {
        let host = super::print::harmless(&host.to_string_lossy());
        Failure::usage(format!("\"{host}\" is no host: expected HOST, USER@HOST or HOST:PORT"))
    })?;
    let place = place(host);
    let mut line = String::from("ganger");
    for word in without_host(words) {
        let word = word.to_str().ok_or_else(|| Failure::usage("words for another machine must be UTF-8"))?;
        line.push(' ');
        line.push_str(&quoted(word));
    }
    let mut ssh = Command::new("ssh");
    // With a terminal, Ctrl-C reaches the command there, and its tables fit.
    ssh.arg(if terminal { "-t" } else { "-T" });
    if let Some(port) = place.port {
        ssh.args(["-p", port]);
    }
    ssh.arg("--").arg(place.host).arg(line);
    Ok(ssh)
}

/// A host as ssh takes it.
struct Place<'a> {
    /// With the user.
    host: String,
    port: Option<&'a str>,
}

/// Takes `web1:2222` and `[::1]:2222` apart, which ssh has no words for.
fn place(host: &str) -> Place<'_> {
    let (host, port) = match host.rsplit_once(':') {
        Some((rest, port))
            if (!rest.contains(':') || rest.ends_with(']'))
                && !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (rest, Some(port))
        }
        Some(_) | None => (host, None),
    };
    Place { host: host.replace(['[', ']'], ""), port }
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
    fn a_port_stands_behind_the_host_as_systemctl_has_it() {
        let words = |host| ssh(host, &["list"])[1..].join(" ");
        assert_eq!(words("me@web1:2222"), "-p 2222 -- me@web1 ganger list");
        assert_eq!(words("me@[fe80::1%eth0]:2222"), "-p 2222 -- me@fe80::1%eth0 ganger list");
        for host in ["web1", "::1", "fe80::1%eth0"] {
            assert_eq!(words(host), format!("-- {host} ganger list"));
        }
    }

    #[test]
    fn a_connection_that_fails_is_told_from_a_command_that_fails() {
        let code = |code| ended(Some(code), "web1").map_err(|failure| failure.exit.code());
        assert_eq!([255, 127].map(|ended| code(ended).unwrap_err()), [5, 5]);
        assert_eq!(format!("{:?}", code(7).unwrap()), format!("{:?}", ExitCode::from(7)));
    }

    #[test]
    fn a_host_cannot_be_an_option_of_ssh() {
        for host in ["-oProxyCommand=x", "", "a b", "a;b", "$(x)"] {
            assert!(command(OsStr::new(host), &[], false).is_err(), "{host}");
        }
    }
}
