//! Every command of ganger's that the README, the manual and the documents print is one that ganger takes, and the
//! example that needs nothing but a program serves.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const TEXTS: [&str; 10] = [
    "README.md",
    "docs/architecture.md",
    "docs/node.md",
    "examples/README.md",
    "units/README.md",
    "units/myapp.service",
    "man/ganger.1.scd",
    "man/ganger.toml.5.scd",
    "man/ganger-worker.7.scd",
    "man/org.ganger1.5.scd",
];

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A command as it is printed: without what stands before it, behind it, or around it.
fn command_in(line: &str) -> Option<String> {
    let line = line.trim_start_matches([' ', '\t', '#', '$']);
    let line = ["ExecStart=", "ExecReload="].iter().find_map(|key| line.strip_prefix(key)).unwrap_or(line);
    let line = line.strip_prefix("/usr/bin/").unwrap_or(line);
    let rest = line.strip_prefix("ganger ")?;
    let end = [" && ", " | ", "  #", "   ", "++"].iter().filter_map(|end| rest.find(end)).min();
    Some(rest.split_at(end.unwrap_or(rest.len())).0.to_owned())
}

/// The commands of a text: lines of code, words in backticks, and in the manual what is bold.
fn commands_of(path: &str) -> Vec<String> {
    let text = read(path);
    let mut commands = Vec::new();
    let (mut fenced, mut prose) = (false, String::new());
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || ["    ", "\t$ ", "\tExec", "Exec"].iter().any(|code| line.starts_with(code)) {
            commands.extend(command_in(line));
        }
        if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    let mark = if path.ends_with(".scd") { '*' } else { '`' };
    let marked = prose.split(mark).skip(1).step_by(2);
    commands
        .extend(marked.filter_map(|text| text.strip_prefix("ganger ")).map(|text| text.replace('\n', " ")));
    commands.retain(|command| command.starts_with(|c: char| c.is_ascii_lowercase() || c == '-'));
    commands
}

/// `ganger WORDS` in a world without any app.
fn ganger(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
    command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(root);
    command.env("HOME", root).env("XDG_RUNTIME_DIR", root).stdin(Stdio::null());
    command
}

#[test]
fn every_command_that_is_printed_is_one_that_ganger_takes() {
    let root = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for path in TEXTS {
        for printed in commands_of(path) {
            let command = printed.replace("APP", "api").replace("[:SLOT]", ":0").replace("JSON", "{}");
            let words: Vec<&str> = command.split_whitespace().collect();
            // A verb alone is spoken of; what runs a server is only read. The rest finds no app, and says so.
            let only_read = words.len() == 1 || words.first() == Some(&"run");
            let before: &[&str] = if only_read { &["--help"] } else { &["--user"] };
            let words: Vec<&str> = before.iter().copied().chain(words).collect();
            let shown = ganger(root.path(), &words).output().unwrap();
            let said = String::from_utf8_lossy(&shown.stderr).into_owned();
            assert!(shown.status.code().is_some_and(|code| code != 2), "{path}: ganger {printed}: {said}");
            tried += 1;
        }
    }
    assert!(tried >= 12, "only {tried} commands were found");
}

#[test]
fn the_example_without_systemd_serves() {
    let printed = commands_of("README.md").into_iter().find(|command| command.starts_with("run ")).unwrap();
    let words = printed.replace(":3000", ":0");
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(harness::example("worker"), root.path().join("server")).unwrap();
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut child = ganger(root.path(), &words)
        .env("RUNTIME_DIRECTORY", root.path().join("ganger/server"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = log.find_map(|line| {
        line.split_once("listening on ").and_then(|(_, rest)| rest.split(' ').next().map(str::to_owned))
    });
    assert!(log.any(|line| line == "info: ready"));
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    stream.write_all(b"GET /slot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn every_target_of_make_that_is_printed_exists() {
    let makefile = read("Makefile") + &read("packaging/install.mk");
    for path in ["README.md", "tests/README.md"] {
        for line in read(path).split(['`', '\n']).map(str::trim_start) {
            let Some(rest) = line.strip_prefix("make ") else { continue };
            let target = rest.split_whitespace().next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{path}: make {target}");
        }
    }
}
