//! Brings a terminal back whose owner was killed without a word (SIGKILL, the OOM killer): a shell beside it that
//! waits for the end of a pipe, and does nothing if it was told that all is well.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc;

/// `$1`: how the terminal was set, `$2`: how its owner sets it, `$3`: the way back, `$4`: another process that draws
/// and is about to end with the owner. Modes that are no longer the owner's are somebody else's by now: a shell that
/// reads a line. TTOU: this is no foreground process (stty(1) would be stopped).
const SCRIPT: &str = r#"trap '' HUP INT TTOU
read -r done && exit
looks=0
while [ "$4" ] && kill -0 "$4" && [ $looks -lt 100 ]; do looks=$((looks + 1)); sleep 0.02; done 2>/dev/null
[ "$(stty -g <&2)" = "$2" ] && stty "$1" <&2
printf %s "$3""#;

/// The shell beside us. Whatever keeps it from being started takes no view from anybody.
#[derive(Debug, Clone)]
pub(crate) struct Rescue(Arc<Mutex<Option<Child>>>);

impl Rescue {
    /// Waits beside a terminal, which is standard input and output. `drawer`: a process that draws for us and dies
    /// with us; the way back is taken after its end.
    pub(crate) fn beside(
        before: &libc::termios,
        ours: &libc::termios,
        way_back: &str,
        drawer: Option<u32>,
    ) -> Self {
        Self(Arc::new(Mutex::new(start(before, ours, way_back, drawer).ok())))
    }

    /// The terminal is as it was: there is nothing to bring back.
    pub(crate) fn is_not_needed(&self) {
        let Some(mut child) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if let Some(mut pipe) = child.stdin.take() {
            let _ = tell(&mut pipe);
        }
        let _ = child.wait();
    }
}

fn tell(pipe: &mut ChildStdin) -> io::Result<()> {
    pipe.write_all(b"done\n")
}

fn start(
    before: &libc::termios,
    ours: &libc::termios,
    way_back: &str,
    drawer: Option<u32>,
) -> io::Result<Child> {
    let drawer = drawer.map_or_else(String::new, |pid| pid.to_string());
    let own = |fd: io::Result<OwnedFd>| fd.map(Stdio::from);
    Command::new("sh")
        .args(["-c", SCRIPT, "ganger-top-rescue", &stty_of(before), &stty_of(ours), way_back, &drawer])
        .stdin(Stdio::piped())
        .stdout(own(io::stdout().as_fd().try_clone_to_owned())?)
        .stderr(own(io::stdin().as_fd().try_clone_to_owned())?)
        // What kills the owner's group does not kill this.
        .process_group(0)
        .spawn()
}

/// As `stty -g` writes it: the four words of flags and each control character, in hexadecimal.
fn stty_of(modes: &libc::termios) -> String {
    let mut text = format!("{:x}:{:x}:{:x}:{:x}", modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag);
    modes.c_cc.iter().for_each(|character| text.push_str(&format!(":{character:x}")));
    text
}

#[cfg(test)]
mod tests {
    use nix::sys::termios::tcgetattr;

    use super::*;

    #[test]
    fn modes_are_written_as_stty_writes_them() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let stdin = Stdio::from(pty.slave.try_clone().unwrap());
        let out = Command::new("stty").arg("-g").stdin(stdin).output().unwrap();
        let modes = tcgetattr(&pty.slave).unwrap();
        assert_eq!(stty_of(&modes.into()), String::from_utf8(out.stdout).unwrap().trim());
    }
}
