//! `ganger top` on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ganger::pool::Outcome;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ttyname};

use crate::fake::{ganger, verdict, while_served};

/// Back to the ordinary screen, the cursor shown: the last that a terminal hears.
const CLEAN: &str = "\x1b[?25h\x1b[?1049l";

struct Terminal {
    master: File,
    name: PathBuf,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(root: &Path) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let name = ttyname(&pty.slave).unwrap();
        let program = ganger(root, &["top", "--user"]);
        // A session of its own: who resizes its terminal has it told by the kernel.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(program.get_program()).args(program.get_args()).env_clear();
        session.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = session.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(pty.slave);
        Self { master: File::from(pty.master), name, child, seen: String::new() }
    }

    /// Reads until the terminal has shown `wanted`.
    fn until(&mut self, wanted: &str) {
        let mut bytes = [0; 4096];
        while !self.seen.contains(wanted) {
            let count = self.master.read(&mut bytes).unwrap();
            assert!(count > 0, "{wanted:?} never came:\n{}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    fn press(&mut self, keys: &str) {
        self.seen.clear();
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        // The other side is closed when the program is gone: an error that ends the reading (pty(7)).
        let mut rest = Vec::new();
        let _ = self.master.read_to_end(&mut rest);
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        (self.child.wait().unwrap().code(), self.seen)
    }
}

fn on_a_terminal(test: impl FnOnce(&mut Terminal) + Send + 'static) -> (Option<i32>, String) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let script: crate::fake::Script = |_, _| Some(verdict(Outcome::Done, "generation 2 serves"));
    while_served(root.path(), script, move || {
        let mut terminal = Terminal::start(&path);
        terminal.until("1 of 1 apps run");
        test(&mut terminal);
        terminal.end()
    })
}

#[test]
fn a_key_asks_a_yes_reloads_and_the_terminal_is_left_clean() {
    let (code, seen) = on_a_terminal(|terminal| {
        terminal.press("r");
        terminal.until("reload api? y: yes");
        terminal.press("y");
        terminal.until("api: done: generation 2 serves");
        terminal.press("q");
    });
    assert_eq!(code, Some(0));
    assert!(seen.ends_with(CLEAN), "{seen:?}");
}

#[test]
fn a_signal_leaves_the_terminal_clean() {
    let by = |signal: fn(Pid)| signal;
    for test in [
        by(|pid| kill(pid, Signal::SIGTERM).unwrap()),
        by(|pid| kill(pid, Signal::SIGQUIT).unwrap()),
        by(|pid| kill(pid, Signal::SIGABRT).unwrap()),
    ] {
        let (code, seen) = on_a_terminal(move |terminal| {
            test(Pid::from_raw(i32::try_from(terminal.child.id()).unwrap()));
        });
        assert_eq!(code, Some(0));
        assert!(seen.ends_with(CLEAN), "{seen:?}");
    }
}

#[test]
fn a_terminal_of_another_size_is_drawn_anew_and_whole() {
    on_a_terminal(|terminal| {
        for (rows, columns) in [(40, 120), (10, 40)] {
            let size = [format!("{rows}"), "cols".to_owned(), format!("{columns}")];
            let resized = Command::new("stty").arg("-F").arg(&terminal.name).arg("rows").args(size).status();
            assert!(resized.unwrap().success());
            loop {
                terminal.seen.clear();
                terminal.until("\x1b[J");
                let frame = terminal.seen.rsplit("\x1b[H").next().unwrap();
                if frame.matches("\r\n").count() == rows - 1 {
                    break;
                }
            }
        }
        terminal.press("q");
    });
}

#[test]
fn a_journal_that_cannot_be_read_says_why() {
    on_a_terminal(|terminal| {
        terminal.press("l");
        // There is no such unit, or no journal, where tests run.
        terminal.until("logs of api");
        terminal.until("journalctl");
        terminal.press("q");
    });
}

#[test]
fn without_a_terminal_there_is_no_live_view() {
    let root = tempfile::tempdir().unwrap();
    let shown = crate::fake::run(root.path(), &["top"]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(1), ""));
    assert!(shown.err.contains("must be a terminal"), "{}", shown.err);
}
