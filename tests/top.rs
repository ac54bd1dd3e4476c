//! `ganger top` on a real terminal, before a real supervisor: tmux shows what a person would see. Screens are
//! compared with `tests/golden/top` (`UPDATE=1` keeps new ones), what differs from run to run is masked.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Tmux, example, ganger, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Answers as journalctl would, with lines that tell whose they are.
const JOURNALCTL: &str = r#"#!/bin/sh
case "$*" in
*'SYSLOG_IDENTIFIER=api[0]'*) whose='slot 0' ;;
*'SYSLOG_IDENTIFIER=api[1]'*) whose='slot 1' ;;
*) whose=all ;;
esac
for line in $(seq 40); do echo "line $line of $whose"; done
"#;

/// `api` with two workers, and what a person needs to look at it.
struct Stage {
    dir: tempfile::TempDir,
    supervisor: Child,
    address: String,
}

impl Stage {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().join("run/ganger/api");
        fs::create_dir_all(&runtime).unwrap();
        fs::create_dir_all(dir.path().join("bin")).unwrap();
        fs::create_dir_all(dir.path().join("home")).unwrap();
        let config = dir.path().join("api.toml");
        let worker = example("worker");
        let text = format!(
            "command = ['{}', '--notify']\nlisten = ['127.0.0.1:0']\nworkers = 2\n[reload]\nbake = '0s'\n",
            worker.display()
        );
        fs::write(&config, text).unwrap();
        let mut supervisor = Command::new(ganger())
            .arg("run")
            .arg(&config)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", dir.path().join("home"))
            .env("RUNTIME_DIRECTORY", &runtime)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(supervisor.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("info: ready") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the supervisor is gone");
        }
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let mut stage = Self { dir, supervisor, address: String::new() };
        stage.journalctl(JOURNALCTL);
        stage.address = stage.asked()["listen"].clone();
        stage
    }

    /// The first address, and the generation, as `ganger status --json` has them.
    fn asked(&self) -> std::collections::BTreeMap<&'static str, String> {
        let out = self.client(&["status", "--user", "--json", "api"]);
        let text = String::from_utf8(out.stdout).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let listen = value["listen"][0].as_str().unwrap().to_owned();
        [("listen", listen), ("generation", value["generation"].to_string())].into()
    }

    fn client(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new(ganger());
        command.args(words).env_clear().envs(self.env().iter().map(|(name, value)| (*name, value)));
        command.output().unwrap()
    }

    fn env(&self) -> [(&'static str, String); 3] {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let folders = [path("bin"), folder_of(&ganger()), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        [("PATH", folders.join(":")), ("HOME", path("home")), ("XDG_RUNTIME_DIR", path("run"))]
    }

    /// What `journalctl` is from now on.
    fn journalctl(&self, script: &str) {
        self.program("journalctl", script);
    }

    /// A program that is found before the real one.
    fn program(&self, name: &str, script: &str) {
        let file = self.dir.path().join("bin").join(name);
        // Another file: the one before may be running.
        let _ = fs::remove_file(&file);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A shell before which `ganger top` can be typed.
    fn terminal(&self, claim: &str, size: (u16, u16)) -> Option<Tmux> {
        Tmux::start(claim, size, &self.env())
    }

    /// A connection that the worker of slot 0 holds.
    fn connection_to_slot_0(&self) -> TcpStream {
        loop {
            let mut stream = TcpStream::connect(&self.address).unwrap();
            stream.write_all(b"GET /slot HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let (mut seen, mut bytes) = (String::new(), [0; 4096]);
            while !seen.contains("\r\n\r\n") || seen.ends_with("\r\n\r\n") {
                let count = stream.read(&mut bytes).unwrap();
                assert!(count > 0, "{seen}");
                seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            if seen.trim_end().ends_with('0') {
                return stream;
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.supervisor.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.supervisor.wait();
    }
}

fn folder_of(program: &Path) -> String {
    program.parent().unwrap().display().to_string()
}

/// A screen without what differs from run to run: pids, ports, processor time, memory, uptime, the curves. Columns
/// of the table get a width of their own, because theirs is that of what stands in them.
fn masked(screen: &str) -> String {
    let mut columns: Vec<(String, usize)> = Vec::new();
    let mut lines = Vec::new();
    for line in screen.lines() {
        if line.is_empty() || line.starts_with("── ") {
            columns.clear();
        }
        if line.starts_with("  APP") {
            columns = headings(line);
        }
        lines.push(if columns.is_empty() { masked_words(line) } else { masked_row(line, &columns) });
    }
    lines.join("\n")
}

/// Each heading and where it stands.
fn headings(line: &str) -> Vec<(String, usize)> {
    let starts = line.split_whitespace().map(|name| (name.to_owned(), line.find(name).unwrap()));
    // The mark of the selected line stands before the first.
    starts.map(|(name, at)| if name == "APP" { (name, 0) } else { (name, at) }).collect()
}

fn masked_row(line: &str, columns: &[(String, usize)]) -> String {
    let chars: Vec<char> = line.chars().collect();
    let ends = columns.iter().skip(1).map(|(_, at)| *at).chain([usize::MAX]);
    let mut row = String::new();
    for ((name, start), end) in columns.iter().zip(ends) {
        // While a terminal is resized its lines are those of two sizes.
        let cell: String = chars.iter().skip(*start).take(end.saturating_sub(*start)).collect();
        let cell = cell.trim_end();
        let shown = match name.as_str() {
            "CPU" | "MEM" | "UPTIME" if !cell.is_empty() && cell != name => "*".to_owned(),
            "LISTEN" => masked_words(cell),
            _ => cell.to_owned(),
        };
        row.push_str(&format!("{shown:<10}"));
    }
    row.trim_end().to_owned()
}

fn masked_words(line: &str) -> String {
    let bars = |word: &&str| !word.is_empty() && word.chars().all(|char| ('▁'..='█').contains(&char));
    let mut before = "";
    let words = line.split(' ').filter(|word| !bars(word)).filter(|word| !word.is_empty());
    let masked = words.map(|word| {
        let varies =
            matches!(before, "cpu" | "memory" | "pid") && word.contains(|char: char| char.is_ascii_digit());
        before = word;
        match word.split_once("127.0.0.1:") {
            Some(_) => "127.0.0.1:*",
            None if varies => "*",
            None => word,
        }
    });
    masked.collect::<Vec<_>>().join(" ")
}

/// Waits until the screen is the one that is kept.
#[track_caller]
fn until_golden(tmux: &Tmux, name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/top").join(name);
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let mut now = String::new();
    let same = wait_until(|| {
        now = masked(&tmux.screen());
        now == kept.trim_end_matches('\n') || std::env::var_os("UPDATE").is_some()
    });
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{now}\n")).unwrap();
    }
    assert!(same, "{name} differs (UPDATE=1 keeps the new one)\n--- kept\n{kept}\n--- now\n{now}");
}

/// Waits for all of the view, drawn so wide, with the journal of `whose`.
#[track_caller]
fn until_whole(tmux: &Tmux, width: usize, whose: &str) {
    tmux.until("the whole view", |screen| {
        let rule = |line: &str| line.starts_with("── ") && line.chars().count() == width;
        screen.lines().any(rule)
            && screen.contains("1 of 1 apps run")
            && screen.contains("connections 1")
            && screen.contains(&format!("line 40 of {whose}"))
    });
}

#[test]
fn eighty_columns_show_workers_curves_and_the_journal() {
    let stage = Stage::start();
    let _held = stage.connection_to_slot_0();
    let Some(tmux) = stage.terminal("top at 80x24", (80, 24)) else { return };
    tmux.line("ganger top --user");
    until_whole(&tmux, 80, "all");
    until_golden(&tmux, "80x24.txt");
    tmux.press(&["Down"]);
    until_whole(&tmux, 80, "slot 0");
    until_golden(&tmux, "80x24-worker.txt");
    tmux.press(&["l"]);
    tmux.until("no journal", |screen| !screen.contains("logs of"));
    until_golden(&tmux, "80x24-quiet.txt");
}

#[test]
fn where_the_locale_knows_ascii_only_the_view_is_drawn_in_it() {
    let stage = Stage::start();
    let _held = stage.connection_to_slot_0();
    stage.journalctl("#!/bin/sh\necho 'd\u{e9}j\u{e0} vu'\n");
    let Some(tmux) = stage.terminal("top in ASCII", (80, 24)) else { return };
    tmux.line("LC_ALL=C ganger top --user");
    tmux.until("a view in ASCII", |screen| {
        let rows = [
            "> api   serving",
            "  |- 0  ready",
            "  `- 1  ready",
            "-- api ---",
            "q quit  ^v select",
            "d?j? vu",
        ];
        screen.is_ascii()
            && rows.iter().all(|row| screen.contains(row))
            && screen.lines().any(|line| line.starts_with("conn ") && line.ends_with(".."))
    });
}

#[test]
fn a_wide_terminal_shows_more_and_a_resized_one_is_drawn_anew() {
    let stage = Stage::start();
    let _held = stage.connection_to_slot_0();
    let Some(tmux) = stage.terminal("top at 160x50", (160, 50)) else { return };
    tmux.line("ganger top --user");
    until_whole(&tmux, 160, "all");
    tmux.press(&["End"]);
    until_whole(&tmux, 160, "slot 1");
    until_golden(&tmux, "160x50.txt");
    tmux.resize(80, 24);
    tmux.press(&["Home"]);
    until_whole(&tmux, 80, "all");
    until_golden(&tmux, "80x24.txt");
    tmux.resize(40, 10);
    tmux.until("a small view", |screen| screen.lines().count() == 10 && screen.contains("1 of 1 apps"));
    until_golden(&tmux, "40x10.txt");
    tmux.resize(160, 50);
    tmux.press(&["End"]);
    until_whole(&tmux, 160, "slot 1");
    until_golden(&tmux, "160x50.txt");
}

#[test]
fn a_curve_grows_with_time_and_shows_what_is_held() {
    let stage = Stage::start();
    let _held = stage.connection_to_slot_0();
    let Some(tmux) = stage.terminal("curves in top", (80, 24)) else { return };
    tmux.line("ganger top --user");
    until_whole(&tmux, 80, "all");
    tmux.press(&["Down"]);
    tmux.until("a curve of three seconds", |screen| {
        let line = screen.lines().find(|line| line.starts_with("conn ")).unwrap_or_default();
        // Of the worker and of its app: one connection is an eighth of what a whole bar is at least.
        line.split_whitespace().filter(|word| word.starts_with("▁▁▁")).count() == 2
    });
}

#[test]
fn colour_tells_states_and_without_it_the_screen_says_the_same() {
    let stage = Stage::start();
    let _held = stage.connection_to_slot_0();
    for plain in ["NO_COLOR=1 ", "TERM=dumb "] {
        let Some(tmux) = stage.terminal("top without colour", (80, 24)) else { return };
        tmux.line(&format!("{plain}ganger top --user"));
        until_whole(&tmux, 80, "all");
        until_golden(&tmux, "80x24.txt");
        assert!(!tmux.colored_screen().contains('\x1b'), "{plain}{}", tmux.colored_screen());
    }
    let Some(tmux) = stage.terminal("top in colour", (80, 24)) else { return };
    tmux.line("ganger top --user");
    until_whole(&tmux, 80, "all");
    let shown = tmux.colored_screen();
    // A worker's state is green, the selected line is reversed.
    let selected = shown.lines().find(|line| line.contains("▶ ")).unwrap();
    assert!(shown.contains("\x1b[32mready") && selected.contains("7m"), "{shown}");
    until_golden(&tmux, "80x24.txt");
}

#[test]
fn a_reload_is_asked_for_confirmed_and_seen() {
    let stage = Stage::start();
    let Some(tmux) = stage.terminal("a reload in top", (80, 24)) else { return };
    tmux.line("ganger top --user");
    tmux.until("both workers", |screen| screen.contains("2 workers"));
    tmux.press(&["r"]);
    tmux.until("the question", |screen| screen.ends_with("reload api? y: yes, other key: no"));
    tmux.press(&["n"]);
    tmux.until("the answer", |screen| screen.ends_with("reload api: not done"));
    assert_eq!(stage.asked()["generation"], "1");
    tmux.press(&["r"]);
    tmux.until("the question", |screen| screen.ends_with("reload api? y: yes, other key: no"));
    tmux.press(&["y"]);
    tmux.until("the verdict", |screen| screen.contains("api: done: "));
    let of_generation_2 = "  ready               2         0 ";
    tmux.until("both workers of generation 2", |screen| masked(screen).matches(of_generation_2).count() == 2);
    assert_eq!(stage.asked()["generation"], "2");
    tmux.press(&["+"]);
    tmux.until("the question", |screen| screen.ends_with("scale api +1? y: yes, other key: no"));
    tmux.press(&["y"]);
    tmux.until("a third worker", |screen| screen.contains("3 workers") && screen.contains("└─ 2  ready"));
}

#[test]
fn a_journal_that_fails_says_why_and_a_hanging_one_holds_nobody_up_and_is_ended() {
    let stage = Stage::start();
    stage.journalctl("#!/bin/sh\necho 'no journal here' >&2; exit 1\n");
    let Some(tmux) = stage.terminal("a journal that fails in top", (80, 24)) else { return };
    let pipe = tmux.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    tmux.line("ganger top --user");
    tmux.until("the reason", |screen| screen.contains("journalctl: no journal here"));
    // It writes nothing and does not end before somebody opens the pipe, which nobody does.
    stage.journalctl(&format!("#!/bin/sh\necho $$ >>{0}.asked; exec cat {0}\n", pipe.display()));
    let asked = || fs::read_to_string(tmux.path("pipe.asked")).unwrap_or_default();
    let alive = || asked().lines().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
    assert!(wait_until(|| !asked().is_empty()), "{}", tmux.screen());
    tmux.press(&["Down"]);
    tmux.until("another worker's empty journal", |screen| {
        screen.ends_with("l logs") && screen.contains("logs of api:0")
    });
    assert!(wait_until(|| asked().lines().count() > 1 && alive() == 1), "one at a time: {}", asked());
    tmux.until("the end of patience", |screen| screen.contains("the journal did not answer in 5 s"));
    stage.journalctl(JOURNALCTL);
    tmux.until("another try", |screen| screen.contains("line 40 of slot 0"));
    let before = asked().lines().count();
    stage.journalctl(&format!("#!/bin/sh\necho $$ >>{0}.asked; exec cat {0}\n", pipe.display()));
    assert!(wait_until(|| asked().lines().count() > before), "{}", tmux.screen());
    tmux.press(&["q"]);
    tmux.until("the way back", |screen| screen.ends_with("top --user\n$"));
    assert!(wait_until(|| alive() == 0), "left behind: {}", asked());
}

#[test]
fn a_journal_without_end_is_cut_and_ended() {
    let stage = Stage::start();
    let Some(tmux) = stage.terminal("a journal without end in top", (80, 24)) else { return };
    let file = tmux.path("asked");
    stage.journalctl(&format!("#!/bin/sh\necho $$ >>{}; exec yes 'on and on'\n", file.display()));
    tmux.line("ganger top --user");
    tmux.until("some of it", |screen| screen.contains("on and on"));
    tmux.press(&["q"]);
    tmux.until("the way back", |screen| screen.ends_with("top --user\n$"));
    let asked = fs::read_to_string(file).unwrap();
    let gone = |pid: &str| !Path::new(&format!("/proc/{pid}")).exists();
    assert!(wait_until(|| asked.lines().all(gone)), "left behind: {asked}");
}

#[test]
fn a_killed_view_leaves_no_journalctl_behind() {
    let stage = Stage::start();
    let Some(tmux) = stage.terminal("a journal of a killed top", (80, 24)) else { return };
    let pipe = tmux.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    stage.journalctl(&format!("#!/bin/sh\necho $$ >>{0}.asked; exec cat {0}\n", pipe.display()));
    let pid = viewing(&tmux, "a hanging journal");
    let asked = || fs::read_to_string(tmux.path("pipe.asked")).unwrap_or_default();
    assert!(wait_until(|| !asked().is_empty()), "{}", tmux.screen());
    kill(pid, Signal::SIGKILL).unwrap();
    let gone = |pid: &str| !Path::new(&format!("/proc/{pid}")).exists();
    assert!(wait_until(|| asked().lines().all(gone)), "left behind: {}", asked());
}

const OURS: &str = "alternate 1, cursor 0, wrap 0";
const THE_SHELLS: &str = "alternate 0, cursor 1, wrap 1";

/// Types `ganger top`, and gives its pid when the view is there.
fn viewing(tmux: &Tmux, way: &str) -> Pid {
    let file = tmux.path("pid");
    tmux.line(&format!("sh -c 'echo $$ >{}; exec ganger top --user'; echo left with $?", file.display()));
    tmux.until("the view", |screen| screen.contains("1 of 1 apps run"));
    assert_eq!(tmux.shown(), OURS, "{way}");
    Pid::from_raw(fs::read_to_string(file).unwrap().trim().parse().unwrap())
}

type Leave<'a> = &'a dyn Fn(&Tmux, Pid);

#[test]
fn whatever_ends_it_the_terminal_is_as_before() {
    let stage = Stage::start();
    let end = |signal: Signal| move |_: &Tmux, pid: Pid| kill(pid, signal).unwrap();
    let ways: [(&str, Leave<'_>); 7] = [
        ("q", &|tmux, _| tmux.press(&["q"])),
        ("Ctrl-C", &|tmux, _| tmux.press(&["C-c"])),
        ("SIGTERM", &end(Signal::SIGTERM)),
        ("SIGINT", &end(Signal::SIGINT)),
        ("SIGQUIT", &end(Signal::SIGQUIT)),
        ("SIGHUP", &end(Signal::SIGHUP)),
        ("SIGABRT", &end(Signal::SIGABRT)),
    ];
    for (way, leave) in ways {
        let Some(tmux) = stage.terminal("the way out of top", (80, 24)) else { return };
        let before = tmux.modes("before");
        assert!(before.starts_with(THE_SHELLS), "{before}");
        let pid = viewing(&tmux, way);
        leave(&tmux, pid);
        // What stood there before the view stands there again, and what is typed is echoed.
        let screen = tmux.until("the way back", |screen| screen.contains("left with 0\n$"));
        assert!(screen.starts_with("$ stty -a") && !screen.contains("apps run"), "{way}:\n{screen}");
        assert_eq!(tmux.modes("after"), before, "{way}");
        tmux.until("an echo", |screen| screen.matches("$ stty -a").count() == 2);
    }
}

#[test]
fn ctrl_z_gives_the_shell_back_and_fg_the_view() {
    let stage = Stage::start();
    let Some(tmux) = stage.terminal("ganger top suspended", (80, 24)) else { return };
    tmux.line("PS1='$ ' bash --norc");
    let before = tmux.modes("before");
    let pid = viewing(&tmux, "at first");
    for ask in [&(|| tmux.press(&["C-z"])) as &dyn Fn(), &|| kill(pid, Signal::SIGTSTP).unwrap()] {
        ask();
        let screen = tmux.until("the shell", |screen| screen.contains("Stopped"));
        assert!(!screen.contains("apps run"), "{screen}");
        assert_eq!(tmux.shown(), THE_SHELLS);
        tmux.line("clear; fg");
        tmux.until("the view again", |screen| screen.contains("1 of 1 apps run"));
        assert_eq!(tmux.shown(), OURS);
    }
    tmux.press(&["q"]);
    // The first command of the line was all that `fg` continued.
    tmux.until("the way back", |screen| screen.ends_with("top --user'\n$"));
    assert_eq!(tmux.modes("after"), before);
}

#[test]
fn where_no_shell_would_continue_it_ctrl_z_draws_anew() {
    let stage = Stage::start();
    let Some(tmux) = stage.terminal("ganger top without a shell", (80, 24)) else { return };
    // As sshd runs it: nobody above it in its session.
    tmux.line("exec sh -c 'ganger top --user; echo left with $?; exec sh'");
    tmux.until("the view", |screen| screen.contains("1 of 1 apps run"));
    tmux.press(&["C-z", "h", "q"]);
    tmux.until("the way back", |screen| screen.contains("left with 0\n$"));
}

#[test]
fn even_killed_it_leaves_the_terminal_as_before() {
    let stage = Stage::start();
    // A shell that leaves the terminal's modes alone, and one that sets its own while a line is typed.
    for shell in ["sh", "PS1='$ ' bash --norc"] {
        let Some(tmux) = stage.terminal("the end of a killed top", (80, 24)) else { return };
        tmux.line(shell);
        let before = tmux.modes("before");
        kill(viewing(&tmux, shell), Signal::SIGKILL).unwrap();
        assert!(wait_until(|| tmux.shown() == THE_SHELLS), "{shell}: {}\n{}", tmux.shown(), tmux.screen());
        assert_eq!(tmux.modes("after"), before, "{shell}");
        tmux.line("echo typed once");
        let screen = tmux.until("an echo", |screen| screen.contains("$ echo typed once\ntyped once\n"));
        assert!(!screen.contains("apps run"), "{shell}:\n{screen}");
    }
}

/// Takes the terminal over as ssh does, and draws as `ganger top` at its other end would, until it is killed.
const SSH: &str = r#"#!/bin/sh
trap '' HUP INT TERM
echo $$ >"$HOME/ssh.pid"
stty ignpar -istrip -inlcr -igncr -icrnl -ixon -ixany -ixoff -opost min 1 time 0
stty -isig -icanon -iexten -echo -echoe -echok -echonl
printf '\033[?1049h\033[?25l\033[?7l'
while :; do printf 'drawn over there '; sleep 0.02; done
"#;

#[test]
fn a_view_of_another_machine_ends_with_ganger_and_leaves_the_terminal_as_before() {
    let stage = Stage::start();
    stage.program("ssh", SSH);
    let ssh = stage.dir.path().join("home/ssh.pid");
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        let Some(tmux) = stage.terminal("the end of a view over ssh", (80, 24)) else { return };
        let before = tmux.modes("before");
        let file = tmux.path("pid");
        tmux.line(&format!("sh -c 'echo $$ >{}; exec ganger -H web1 top'", file.display()));
        tmux.until("the view", |screen| screen.contains("drawn over there"));
        assert_eq!(tmux.shown(), OURS, "{signal}");
        kill(Pid::from_raw(fs::read_to_string(file).unwrap().trim().parse().unwrap()), signal).unwrap();
        assert!(wait_until(|| tmux.shown() == THE_SHELLS), "{signal}: {}\n{}", tmux.shown(), tmux.screen());
        let pid = fs::read_to_string(&ssh).unwrap();
        assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "{signal}: ssh {pid} is still there");
        assert_eq!(tmux.modes("after"), before, "{signal}");
        tmux.line("echo typed once");
        tmux.until("an echo", |screen| screen.contains("$ echo typed once\ntyped once\n"));
    }
}
