//! Completions in the shells themselves: a line is typed into an interactive shell on a terminal, its own completion
//! system is asked for all that the last word can become, and the line that it leaves is read. The apps and slots
//! are those that there are.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ganger::pool::Outcome;

use crate::fake::{run, verdict, while_served};
use crate::words::has;

/// Inserts every completion at Ctrl-Y, and writes the line down at Ctrl-T. The completion system is each shell's own,
/// with the script as the only thing that is added to it.
const SHELLS: [(&str, &[&str], &str); 2] = [
    (
        "bash",
        &["--rcfile", ".zshrc", "-i"],
        "source @SCRIPT@; bind '\"\\C-y\": insert-completions'; \
         bind -x '\"\\C-t\": printf \"%s\\n\" \"$READLINE_LINE\" >>@LINES@; READLINE_LINE='\n",
    ),
    (
        "zsh",
        &["-d", "-i"],
        "autoload -Uz compinit; compinit -D -u; source @SCRIPT@; every() { _main_complete; compstate[insert]=all }; \
         zle -C every complete-word every; note() { print -r -- $BUFFER >>@LINES@; BUFFER= }; zle -N note; \
         bindkey '^Y' every; bindkey '^T' note; KEYTIMEOUT=1\n",
    ),
];

/// An interactive shell on a terminal of its own.
struct Typist {
    child: Child,
    terminal: File,
    lines: PathBuf,
}

impl Typist {
    fn start(root: &Path, shell: &str, words: &[&str], setup: &str) -> Self {
        let (script, lines) = (root.join(format!("{shell}.script")), root.join(format!("{shell}.lines")));
        std::fs::write(&script, run(root, &["completions", shell]).out).unwrap();
        std::fs::write(&lines, "").unwrap();
        let names = [("@SCRIPT@", &script), ("@LINES@", &lines)];
        let setup = names
            .iter()
            .fold(setup.to_owned(), |text, (name, path)| text.replace(name, path.to_str().unwrap()));
        // zsh finds it by its name, bash is told the name.
        std::fs::write(root.join(".zshrc"), setup).unwrap();
        let pty = nix::pty::openpty(None, None).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_ganger")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["-c", "-w", shell])
            .args(words)
            .env_clear()
            .envs([("TERM", "dumb"), ("LANG", "C.UTF-8"), ("PATH", &format!("{}:{path}", program.display()))])
            .env("HOME", root.join("home"))
            .env("ZDOTDIR", root)
            .env("XDG_RUNTIME_DIR", root.join("run"))
            .current_dir(root)
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let terminal = File::from(pty.master);
        let mut shown = terminal.try_clone().unwrap();
        // What it shows is read, or it would wait; nothing is made of it.
        std::thread::spawn(move || while matches!(shown.read(&mut [0; 4096]), Ok(1..)) {});
        let mut typist = Self { child, terminal, lines };
        // Keys that come before the shell reads them are a terminal's, which drops some.
        assert!(harness::wait_until(|| {
            typist.terminal.write_all(b"\x14").unwrap();
            !std::fs::read_to_string(&typist.lines).unwrap().is_empty()
        }));
        typist
    }

    /// The line that is left of `typed` with everything that its last word can become.
    fn completed(&mut self, typed: &str) -> String {
        let mark = |lines: &str| lines.lines().filter(|line| !line.is_empty()).count();
        let before = mark(&std::fs::read_to_string(&self.lines).unwrap());
        self.terminal.write_all(format!("{typed}\x19\x14").as_bytes()).unwrap();
        let mut lines = String::new();
        assert!(
            harness::wait_until(|| {
                lines = std::fs::read_to_string(&self.lines).unwrap();
                mark(&lines) > before
            }),
            "{typed}: never written down"
        );
        let last = lines.lines().rfind(|line| !line.is_empty()).unwrap();
        last.replace('\\', "").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines, and what they become.
const LINES: [(&str, &str); 9] = [
    ("ganger resta", "ganger restart"),
    ("ganger re", "ganger reload reset restart"),
    ("ganger reload --no", "ganger reload --no-wait"),
    ("ganger status --us", "ganger status --user"),
    ("ganger --user status ", "ganger --user status api web"),
    ("ganger --user reload w", "ganger --user reload web"),
    ("ganger --user restart api:", "ganger --user restart api:0"),
    ("ganger run --color=al", "ganger run --color=always"),
    ("ganger check ./some-f", "ganger check ./some-file"),
];

fn app_folder(root: &Path) {
    let config = root.join("home/.config/ganger");
    std::fs::create_dir_all(&config).unwrap();
    for file in [config.join("api.toml"), config.join("web.toml"), root.join("some-file")] {
        std::fs::write(file, "").unwrap();
    }
}

#[test]
fn bash_and_zsh_complete_typed_lines_with_what_there_is() {
    for (shell, words, setup) in SHELLS.into_iter().filter(|(shell, ..)| has(shell)) {
        let root = tempfile::tempdir().unwrap();
        app_folder(root.path());
        let path = root.path().to_owned();
        let script = |_: &_, _: &_| Some(verdict(Outcome::Done, "done"));
        let lines = while_served(root.path(), script, move || {
            let mut typist = Typist::start(&path, shell, words, setup);
            LINES.map(|(typed, _)| typist.completed(typed))
        });
        for ((typed, wanted), line) in LINES.iter().zip(lines) {
            assert_eq!(line, *wanted, "{shell}: {typed}");
        }
    }
}

#[test]
fn fish_completes_live_slots() {
    if !has("fish") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    app_folder(root.path());
    let path = root.path().to_owned();
    let script = |_: &_, _: &_| Some(verdict(Outcome::Done, "done"));
    while_served(root.path(), script, move || {
        let fish = |line: &str| {
            crate::words::completed_in(&path, "fish", &format!("source @FILE@; complete -C '{line}'"))
        };
        assert_eq!(fish("ganger --user reload "), ["api", "web"]);
        assert_eq!(fish("ganger --user restart api:"), ["api:0"]);
        assert!(fish("ganger reload --no")[0].starts_with("--no-wait\t"));
    });
}
