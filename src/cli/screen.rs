//! A terminal of which every cell is ours: raw input, the alternate screen, and the way back.
//!
//! The way back is taken on every way out: the guard's drop, a panic, a suspension, the signals that end a program,
//! which arrive here as keys, and by [`Rescue`] after the one that nobody hears. What is drawn is somebody else's;
//! ratatui finds what has changed, [`Ansi`] writes it.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask, raise};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use ratatui_core::terminal::{Frame, Terminal};
use tokio::sync::mpsc;

use super::ansi::Ansi;
use super::charset;
use super::rescue::Rescue;

/// Alternate screen, cursor hidden, no wrapping at the edge.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// The opposite, in the opposite order.
pub(super) const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Signals that are read, not suffered, and what they mean.
const HEARD: [(Signal, Key); 7] = [
    (Signal::SIGINT, Key::Quit),
    (Signal::SIGTERM, Key::Quit),
    (Signal::SIGHUP, Key::Quit),
    (Signal::SIGQUIT, Key::Quit),
    (Signal::SIGABRT, Key::Quit),
    (Signal::SIGTSTP, Key::Suspend),
    (Signal::SIGWINCH, Key::Resized),
];

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A letter, digit or sign.
    Char(char),
    /// One up.
    Up,
    /// One down.
    Down,
    /// Many up.
    PageUp,
    /// Many down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// The Escape key alone.
    Escape,
    /// Enter.
    Enter,
    /// Ctrl-C, Ctrl-D, the end of the terminal, or a signal that ends programs.
    Quit,
    /// Ctrl-Z, or its signal: the shell is wanted for a while ([`Screen::suspend`]).
    Suspend,
    /// The terminal has another size, or is to be drawn anew (Ctrl-L).
    Resized,
}

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Screen {
    way_back: WayBack,
    heard: SigSet,
    terminal: Terminal<Ansi>,
}

/// Taken once for each way in: a second time it would set the cursor back to where it was before the view.
#[derive(Debug, Clone)]
struct WayBack {
    before: libc::termios,
    /// Who takes it if we cannot; there while the terminal is ours.
    rescue: Arc<Mutex<Option<Rescue>>>,
}

impl WayBack {
    /// Takes the terminal over.
    fn set_out(&self) -> io::Result<()> {
        let mut raw = self.before.into();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &raw)?;
        // As the kernel took it.
        let ours = tcgetattr(io::stdin()).unwrap_or(raw);
        let rescue = Rescue::beside(&self.before, &ours.into(), LEAVE, None);
        *self.rescue.lock().unwrap_or_else(PoisonError::into_inner) = Some(rescue);
        write(ENTER);
        Ok(())
    }

    fn take(&self, when: SetArg) {
        let Some(rescue) = self.rescue.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        write(LEAVE);
        let _ = tcsetattr(io::stdin(), when, &self.before.into());
        rescue.is_not_needed();
    }
}

impl Screen {
    /// Takes the terminal over and begins to send keys to `keys`.
    pub(crate) fn enter(keys: &mpsc::UnboundedSender<Key>, color: bool) -> io::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(io::Error::other("standard input and output must be a terminal"));
        }
        let way_back = WayBack { before: tcgetattr(io::stdin())?.into(), rescue: Arc::default() };
        let heard = HEARD.iter().map(|(signal, _)| *signal).collect::<SigSet>();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&heard), None)?;
        let terminal = Terminal::new(Ansi::new(color, charset::is_utf8()))?;
        way_back.set_out()?;
        let screen = Self { way_back, heard, terminal };
        restore_on_panic(screen.way_back.clone());
        listen(keys, heard)?;
        Ok(screen)
    }

    /// Shows what `render` draws.
    pub(crate) fn show(&mut self, render: impl FnOnce(&mut Frame<'_>)) {
        // It fails with its backend, which never does.
        let _ = self.terminal.draw(render);
    }

    /// Trusts nothing of what the terminal shows: the next drawing is whole.
    pub(crate) fn forget(&mut self) {
        let _ = self.terminal.clear();
    }

    /// Gives the terminal back and stops, as a shell's Ctrl-Z means it; returns when the shell lets us go on. Where
    /// no shell would, the kernel does not stop us (an orphaned process group, setpgid(2)).
    pub(crate) fn suspend(&mut self) {
        self.way_back.take(SetArg::TCSAFLUSH);
        let stop = SigSet::from(Signal::SIGTSTP);
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&stop), None);
        // To this thread, so that it is not read by the one that hears signals; it stops all of them.
        let _ = raise(Signal::SIGTSTP);
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&stop), None);
        let _ = self.way_back.set_out();
        self.forget();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.way_back.take(SetArg::TCSAFLUSH);
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&self.heard), None);
    }
}

/// A panic's text is to be read on the terminal as it was.
fn restore_on_panic(way_back: WayBack) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        way_back.take(SetArg::TCSANOW);
        tell(panic);
    }));
}

/// Two threads, which end with the program: one reads the terminal, one waits for signals.
fn listen(keys: &mpsc::UnboundedSender<Key>, heard: SigSet) -> io::Result<()> {
    let sender = keys.clone();
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        let mut bytes = [0; 64];
        let mut input = io::stdin();
        while let Ok(count @ 1..) = input.read(&mut bytes) {
            if keys_in(bytes.get(..count).unwrap_or_default())
                .into_iter()
                .any(|key| sender.send(key).is_err())
            {
                return;
            }
        }
        let _ = sender.send(Key::Quit);
    })?;
    let sender = keys.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(signal) = heard.wait() {
            let key = HEARD.iter().find(|(heard, _)| *heard == signal).map_or(Key::Quit, |(_, key)| *key);
            if sender.send(key).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The keys of one read. A terminal sends an escape sequence in one piece.
fn keys_in(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (0x1b, []) => keys.push(Key::Escape),
            // A sequence ends with its final byte (ECMA-48).
            (0x1b, [b'[' | b'O', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                let (sequence, after) = sequence.split_at(end.map_or(sequence.len(), |end| end + 1));
                keys.extend(key_of(sequence));
                rest = after;
            }
            (0x1b, _) => {}
            (b'\r' | b'\n', _) => keys.push(Key::Enter),
            (0x03 | 0x04, _) => keys.push(Key::Quit),
            (0x0c, _) => keys.push(Key::Resized),
            (0x1a, _) => keys.push(Key::Suspend),
            (byte, _) if byte.is_ascii_graphic() || *byte == b' ' => keys.push(Key::Char(char::from(*byte))),
            (_, _) => {}
        }
    }
    keys
}

/// What a sequence behind its introducer means; most mean nothing here.
fn key_of(sequence: &[u8]) -> Option<Key> {
    match sequence {
        b"A" => Some(Key::Up),
        b"B" => Some(Key::Down),
        b"5~" => Some(Key::PageUp),
        b"6~" => Some(Key::PageDown),
        // Terminals differ in these.
        b"H" | b"1~" | b"7~" => Some(Key::Home),
        b"F" | b"4~" | b"8~" => Some(Key::End),
        _ => None,
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that is gone is told by the end of its input.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_escape_sequences() {
        assert_eq!(keys_in(b"r\x1b[A\x1bOBq"), [Key::Char('r'), Key::Up, Key::Down, Key::Char('q')]);
        assert_eq!(keys_in(b"\x1b"), [Key::Escape]);
        assert_eq!(keys_in(b"\x1b[1;5Cx"), [Key::Char('x')]);
        assert_eq!(keys_in(b"\x1b[5~\x1b[6~"), [Key::PageUp, Key::PageDown]);
        assert_eq!(keys_in(b"\x1b[H\x1bOF\x1b[1~\x1b[4~"), [Key::Home, Key::End, Key::Home, Key::End]);
        assert_eq!(keys_in(b"\x03"), [Key::Quit]);
        assert_eq!(keys_in(b"\x0c\x1a"), [Key::Resized, Key::Suspend]);
        assert_eq!(keys_in(b"\x1b[200\xff"), []);
    }

    /// Set in the process that is to panic.
    const PANICS: &str = "GANGER_TEST_PANICS";

    #[test]
    fn a_panics_text_is_read_on_the_terminal_as_it_was() {
        if std::env::var_os(PANICS).is_some() {
            let _screen = Screen::enter(&mpsc::unbounded_channel().0, true).unwrap();
            panic!("on purpose");
        }
        let pty = nix::pty::openpty(None, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let slave = || std::process::Stdio::from(pty.slave.try_clone().unwrap());
        let test = "cli::screen::tests::a_panics_text_is_read_on_the_terminal_as_it_was";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(PANICS, "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let (mut master, mut seen, mut bytes) = (std::fs::File::from(pty.master), String::new(), [0; 4096]);
        while !seen.contains("test result") {
            let count = master.read(&mut bytes).unwrap();
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        assert!(!child.wait().unwrap().success());
        let (ours, told) = seen.split_once(LEAVE).expect("the way back");
        assert!(ours.contains(ENTER) && !ours.contains("on purpose"), "{seen:?}");
        assert!(told.contains("on purpose") && !told.contains(LEAVE), "{seen:?}");
        assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
    }

    #[test]
    fn after_a_panic_a_person_types_on_as_before() {
        let Some(tmux) = harness::Tmux::start("a panic on a terminal", (80, 24), &[]) else { return };
        let before = tmux.modes("before");
        let test = "cli::screen::tests::a_panics_text_is_read_on_the_terminal_as_it_was";
        let words = format!("--exact {test} --nocapture --test-threads=1; echo left with $?");
        let program = std::env::current_exe().unwrap();
        tmux.line(&format!("{PANICS}=1 RUST_BACKTRACE=0 {} {words}", program.display()));
        let screen = tmux.until("its end", |screen| screen.contains("left with 101"));
        assert!(screen.contains("on purpose") && screen.starts_with("$ stty"), "{screen}");
        assert_eq!(tmux.modes("after"), before);
    }
}
