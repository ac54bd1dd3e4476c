//! Which commands run Node.js: by the program's name, and through what people put before it: `env`, `nice` and
//! their like, the first line of a script, a shell. It decides nothing that it is not sure of: for all else the
//! key `protocol` is there.
//!
//! A shell counts when the last command of its text is Node's and nothing else can be in its place: another
//! program in the background or behind `exec` may be the one that serves.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::shell::last_command;

/// As much of a script is read, in bytes.
const MAX_SCRIPT: u64 = 64 * 1024;
/// So many programs before the app are seen through.
const MAX_DEPTH: usize = 8;
/// A first line is cut there by the kernel (execve(2)), in bytes.
const MAX_FIRST_LINE: usize = 256;
/// The kinds of words that make Node a program without a server's script.
const NO_SCRIPT: [&str; 15] = [
    "-e",
    "--eval",
    "-p",
    "--print",
    "-pe",
    "-i",
    "--interactive",
    "-",
    "--watch",
    "--watch-path",
    "--test",
    "--check",
    "-c",
    "-v",
    "--version",
];

/// Whether `argv` runs Node.js: the program's file name is node's, or that of a launcher whose script the node
/// room runs in its place.
#[must_use]
pub fn is_node_command(argv: &[OsString]) -> bool {
    let program = argv.first().map(|first| name_of(first));
    program.is_some_and(|name| is_node(&name) || name == "deno")
}

/// Whether `argv`, started in `directory`, runs Node.js in the end. Scripts are read for it; one that cannot be
/// read is none.
#[must_use]
pub(super) fn ends_in_node(argv: &[OsString], directory: &Path) -> bool {
    if is_node_command(argv) {
        return true;
    }
    let words: Option<Vec<String>> = argv.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let mut words = words.unwrap_or_default();
    for _ in 0..MAX_DEPTH {
        match behind(&words, directory) {
            Some(next) if next.first().is_some_and(|first| is_node(&name_of(OsStr::new(first)))) => {
                return has_script(&next);
            }
            Some(next) => words = next,
            None => return false,
        }
    }
    false
}

fn name_of(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_node(name: &str) -> bool {
    matches!(name, "node" | "nodejs" | "tsx" | "ts-node" | "npm" | "npx" | "pnpm" | "pnpx" | "yarn")
}

/// Something that may serve stands behind Node's name.
fn has_script(words: &[String]) -> bool {
    let mut arguments = words.iter().skip(1).map(String::as_str);
    let first = arguments.by_ref().find(|word| !word.starts_with('-') || NO_SCRIPT.contains(word));
    first.is_some_and(|word| word != "watch" && !NO_SCRIPT.contains(&word))
}

/// The command that `words` start in turn.
fn behind(words: &[String], directory: &Path) -> Option<Vec<String>> {
    let (program, rest) = words.split_first()?;
    match name_of(OsStr::new(program)).as_str() {
        "env" => behind_env(rest),
        "nohup" => skip(rest, &[], &[], 0),
        "nice" => skip(rest, &["-n", "--adjustment"], &[], 0),
        "ionice" => skip(rest, &["-c", "-n", "--class", "--classdata"], &["-t", "--ignore"], 0),
        "stdbuf" => skip(rest, &["-i", "-o", "-e", "--input", "--output", "--error"], &[], 0),
        "chrt" => skip(rest, &[], &["-f", "-r", "-o", "-b", "-i", "--fifo", "--rr", "--other", "--batch"], 1),
        "taskset" => skip(rest, &[], &["-c", "--cpu-list"], 1),
        // Without waiting it leaves at once, and the worker with it.
        "setsid" if rest.first().is_some_and(|word| matches!(word.as_str(), "-w" | "--wait")) => {
            skip(rest, &[], &["-w", "--wait", "-c", "--ctty"], 0)
        }
        "sh" | "bash" | "dash" => behind_shell(rest, directory),
        _ if program.contains('/') => behind_first_line(words, directory),
        _ => None,
    }
}

/// What is left of `rest` behind options, of which some take a word, and `operands` words; `None` when an option is
/// not known.
fn skip(rest: &[String], valued: &[&str], switches: &[&str], operands: usize) -> Option<Vec<String>> {
    let mut left = rest;
    while let Some((word, behind)) = left.split_first().filter(|(word, _)| word.starts_with('-')) {
        left = behind;
        if word == "--" {
            break;
        }
        // `-n5`, `--adjustment=5`.
        let is_attached = |option: &&str| {
            let value = word.strip_prefix(*option);
            value.is_some_and(|value| value.starts_with('=') == option.starts_with("--"))
        };
        if valued.contains(&word.as_str()) {
            left = left.get(1..)?;
        } else if !switches.contains(&word.as_str()) && !valued.iter().any(is_attached) {
            return None;
        }
    }
    left.get(operands..).map(<[String]>::to_vec)
}

/// env(1). With an empty environment (`-i`) the app would not find its channel: that is not Node as it is served.
fn behind_env(rest: &[String]) -> Option<Vec<String>> {
    let mut words = VecDeque::from(rest.to_vec());
    while let Some(word) = words.front().filter(|word| word.starts_with('-')).cloned() {
        words.pop_front();
        match word.as_str() {
            "--" => break,
            "-u" | "--unset" => {
                words.pop_front()?;
            }
            "-S" | "--split-string" => {
                let text = words.pop_front()?;
                split_in_front(&text, &mut words)?;
            }
            unset if unset.starts_with("-u") || unset.starts_with("--unset=") => {}
            split => {
                let text = split.strip_prefix("-S").or_else(|| split.strip_prefix("--split-string="))?;
                split_in_front(text, &mut words)?;
            }
        }
    }
    Some(words.into_iter().skip_while(|word| word.contains('=')).collect())
}

/// The words of `-S`; with quotes and escapes env has rules of its own.
fn split_in_front(text: &str, words: &mut VecDeque<String>) -> Option<()> {
    if text.contains(['"', '\'', '\\', '$', '#']) {
        return None;
    }
    text.split_whitespace().rev().for_each(|word| words.push_front(word.to_owned()));
    Some(())
}

/// A shell with `-c` and a text, or with a script.
fn behind_shell(rest: &[String], directory: &Path) -> Option<Vec<String>> {
    let mut words = rest.iter();
    let mut is_text = false;
    loop {
        let word = words.next()?;
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            let text = if is_text { word.clone() } else { read(&directory.join(word))? };
            return last_command(&text);
        };
        if !letters.chars().all(|letter| "ceuxlo".contains(letter)) {
            return None;
        }
        is_text |= letters.contains('c');
        if letters.contains('o') {
            words.next()?;
        }
    }
}

/// What the kernel runs for a script: the program of its first line, what follows that as one word, and the script.
fn behind_first_line(words: &[String], directory: &Path) -> Option<Vec<String>> {
    let text = read(&directory.join(words.first()?))?;
    let line = text.strip_prefix("#!")?.lines().next().filter(|line| line.len() < MAX_FIRST_LINE)?.trim();
    let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = Some(argument.trim().to_owned()).filter(|argument| !argument.is_empty());
    Some([program.to_owned()].into_iter().chain(argument).chain(words.iter().cloned()).collect())
}

/// The text of a script, as far as it is one.
fn read(path: &Path) -> Option<String> {
    // A pipe would hold us up, a device never end.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let read = File::open(path).ok()?.take(MAX_SCRIPT + 1).read_to_end(&mut bytes).ok()?;
    // What is too long for a script that starts something may have a first line all the same.
    if u64::try_from(read).is_ok_and(|read| read > MAX_SCRIPT) {
        bytes.truncate(bytes.iter().position(|byte| *byte == b'\n')?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(command: &[&str], directory: &Path) -> bool {
        ends_in_node(&command.iter().map(OsString::from).collect::<Vec<_>>(), directory)
    }

    fn line(command: &str) -> bool {
        ends(&command.split(' ').collect::<Vec<_>>(), Path::new(""))
    }

    #[test]
    fn node_is_known_by_the_file_name_of_the_program() {
        for command in
            ["node x.js", "/usr/bin/nodejs", "./node_modules/.bin/tsx x.ts", "npm start", "deno run x.ts"]
        {
            assert!(line(command), "{command}");
        }
        for command in ["node.sh", "python3 node", "bun x.js"] {
            assert!(!line(command), "{command}");
        }
        assert!(!ends(&[], Path::new("")));
    }

    #[test]
    fn what_stands_before_node_is_seen_through_as_far_as_its_options_are_known() {
        for command in [
            "env node a.js",
            "/usr/bin/env A=1 B=2 node --enable-source-maps a.js",
            "env -u HOME -uLANG --unset=A -- A=1 npm start",
            "env -S node --no-warnings a.js",
            "env -Snode a.js",
            "nice node a.js",
            "nice -n 5 node a.js",
            "nice -n5 ionice -c 3 node a.js",
            "nohup node a.js",
            "stdbuf -oL -e 0 node a.js",
            "chrt -r 1 node a.js",
            "taskset -c 0-3 node a.js",
            "setsid -w node a.js",
            "env nice env nice tsx a.ts",
        ] {
            assert!(line(command), "{command}");
        }
        for command in [
            "env",
            "env python3 node a.js",
            "env -i node a.js",
            "env --chdir=x node a.js",
            "env node",
            "env node -e 1",
            "env node --watch a.js",
            "env tsx watch a.ts",
            "env deno run a.ts",
            "nice --what node a.js",
            "taskset -p 1 node a.js",
            "setsid node a.js",
            "sudo node a.js",
            "env env env env env env env env env env node a.js",
        ] {
            assert!(!line(command), "{command}");
        }
    }

    #[test]
    fn a_shell_counts_by_the_last_command_of_its_text() {
        let shell = |text: &str| ends(&["sh", "-c", text], Path::new(""));
        assert!(
            shell("exec node a.js") && ends(&["bash", "-euo", "pipefail", "-c", "node a.js"], Path::new(""))
        );
        assert!(!ends(&["bash", "--login", "-c", "node a.js"], Path::new("")));
        assert!(!ends(&["bash", "-c"], Path::new("")) && !shell("python3 node.py"));
    }

    #[test]
    fn scripts_are_known_by_their_first_line_and_never_hold_anything_up() {
        let directory = tempfile::tempdir().unwrap();
        let put = |text: &[u8]| std::fs::write(directory.path().join("run"), text).unwrap();
        let seen = || ends(&["./run", "x"], directory.path());
        for text in [
            "#!/usr/bin/env node\n'use strict';",
            "#! /usr/bin/env -S node --no-warnings\n",
            "#!/opt/node/bin/node",
            "#!/bin/sh\n# starts it\nset -e\ncd /srv\nexec node server.js \"$@\"\n",
            "#!/bin/bash -e\nexport A=$(cat a | tail -1)\nnode server.js\n",
        ] {
            put(text.as_bytes());
            assert!(seen(), "{text}");
        }
        put(&[b"#!/usr/bin/env node\n".to_vec(), vec![b'x'; 100_000]].concat());
        assert!(seen());
        let endless = "#!/bin/sh\n".to_owned() + &"true\n".repeat(20_000) + "node a.js\n";
        let names = "#!".to_owned() + &"x".repeat(300) + "/node\n";
        for text in ["", "#!", "#!\n", "#!./run\n", "\x7fELF", "#!/usr/bin/python3\nnode\n", &endless, &names]
        {
            put(text.as_bytes());
            assert!(!seen(), "{:.40}", text);
        }
        put(b"#!/usr/bin/env node \xff\n");
        assert!(!seen());
        nix::unistd::mkfifo(&directory.path().join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600))
            .unwrap();
        for path in ["./pipe", "./missing", "./", "/dev/zero"] {
            assert!(!ends(&[path], directory.path()) && !ends(&["sh", path], directory.path()), "{path}");
        }
    }
}
