//! A terminal that a test can read: a tmux server of its own with one shell in it, of an exact size.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::host::wait_until;
use crate::scratch::{self, Scratch};

/// No status line, so that a pane has all lines; a key is sent when it is pressed.
const CONFIG: &str = "set -g status off
set -g default-terminal tmux-256color
set -g escape-time 0
";
const PROMPT: &str = "$ ";
const SHOWN: &str = "alternate #{alternate_on}, cursor #{cursor_flag}, wrap #{wrap_flag}";

/// A tmux session; gone with its value.
#[derive(Debug)]
pub struct Tmux {
    dir: Scratch,
}

impl Tmux {
    /// A shell in a terminal of `width` and `height`, with nothing but `env` in its environment. `None` where there
    /// is no tmux, which is said.
    ///
    /// # Panics
    /// Where tmux does not start.
    #[track_caller]
    pub fn start(claim: &str, (width, height): (u16, u16), env: &[(&str, String)]) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            crate::skipped(claim, "there is no tmux (tests/prepare packages)");
            return None;
        }
        let tmux = Self { dir: Scratch::new(&scratch::name()) };
        let config = tmux.dir.path().join("tmux.conf");
        std::fs::write(&config, CONFIG).expect("a file in a folder of our own");
        let size = [width.to_string(), height.to_string()];
        let mut command = tmux.command(&["new-session", "-d", "-x", &size[0], "-y", &size[1], "sh"]);
        command.envs(env.iter().map(|(name, value)| (*name, value.as_str())));
        let out = command.output().expect("tmux starts");
        assert!(out.status.success(), "tmux: {}", String::from_utf8_lossy(&out.stderr));
        tmux.until("a prompt", |screen| screen == PROMPT.trim_end());
        Some(tmux)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("PS1", PROMPT)
            .args(["-u", "-f"])
            .arg(self.dir.path().join("tmux.conf"))
            .arg("-S")
            .arg(self.dir.path().join("socket"))
            .args(words);
        command
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let out = self.command(words).output().expect("tmux starts");
        assert!(out.status.success(), "tmux {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        out
    }

    /// A file in a folder of the terminal's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Presses keys, by tmux's names for them.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line into the shell.
    pub fn line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    /// What the terminal shows: each line without the blanks at its end, no empty lines at the end.
    pub fn screen(&self) -> String {
        text(&self.tmux(&["capture-pane", "-p"]))
    }

    /// As [`Tmux::screen`], with the sequences that colour it.
    pub fn colored_screen(&self) -> String {
        text(&self.tmux(&["capture-pane", "-p", "-e"]))
    }

    /// Another size of the terminal.
    pub fn resize(&self, width: u16, height: u16) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Which of its two screens the terminal shows, and whether it has a cursor and wraps long lines.
    pub fn shown(&self) -> String {
        self.format(SHOWN)
    }

    fn format(&self, format: &str) -> String {
        text(&self.tmux(&["display-message", "-p", format]))
    }

    /// What programs set and have to set back: the screen, the cursor, wrapping, and what stty says, which is asked
    /// from the shell. Say `name` once only.
    ///
    /// # Panics
    /// Where the shell does not answer.
    #[track_caller]
    pub fn modes(&self, name: &str) -> String {
        let file = self.path(name);
        self.line(&format!("stty -a >{0}.new && mv {0}.new {0}", file.display()));
        assert!(wait_until(|| file.exists()), "the shell does not answer:\n{}", self.screen());
        let stty = std::fs::read_to_string(file).expect("a file that the shell has written");
        format!("{}\n{stty}", self.shown())
    }

    /// Waits until the screen is as wanted, and gives it.
    ///
    /// # Panics
    /// With the last screen, where it never is.
    #[track_caller]
    pub fn until(&self, wanted: &str, mut is_so: impl FnMut(&str) -> bool) -> String {
        let mut screen = String::new();
        let came = wait_until(|| {
            screen = self.screen();
            is_so(&screen)
        });
        assert!(came, "{wanted} never came:\n{screen}");
        screen
    }
}

fn text(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}
