//! What the house promises about its own source, as data and checks: which room imports which, what a
//! pure room never names, how long a file and a function may be. Exceptions stand here with their reason.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its helping functions as well")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each room and the rooms it may import.
const ROOMS: [(&str, &[&str]); 12] = [
    ("time", &[]),
    ("plan", &["time"]),
    ("proto", &["time"]),
    ("os", &["plan", "time"]),
    ("pool", &["plan", "proto", "time"]),
    ("systemd", &["os", "plan", "proto", "time"]),
    ("config", &["plan", "time"]),
    ("generator", &["config", "plan", "time"]),
    ("node", &["os", "plan", "proto", "time"]),
    ("dbus", &["os", "plan", "pool", "time"]),
    ("daemon", &["config", "dbus", "node", "os", "plan", "pool", "proto", "systemd", "time"]),
    ("cli", &["config", "daemon", "dbus", "generator", "os", "plan", "pool", "systemd", "time"]),
];

/// Rooms that decide and never look: a test of theirs needs no process and no clock.
const PURE: [&str; 4] = ["time", "plan", "proto", "pool"];
const IMPURE: [&str; 20] = [
    "tokio",
    "std::env",
    "std::fs",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "std::os",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "std::time::Instant",
    "tracing::",
    "nix::",
    "zbus",
    "OwnedFd",
    "RawFd",
    "println!",
    "async fn",
];

/// `pool` names that `dbus` and `cli` may not use: they know what a pool shows and is told, not the pool.
const POOL_ONLY: &str = "Pool";

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;
/// A file or `file::function` that may be longer, and why.
const LONG: &[(&str, &str)] = &[
    ("src/config/build.rs", "one arm a key of the table; a split would part what is read together"),
    ("src/config/check.rs", "one check a kind of value"),
    ("src/node/hub.rs", "all that owns a descriptor of the primary's side stands here, and nowhere else"),
    ("src/node/primary.rs", "one answer a message of the protocol"),
    ("src/plan/mod.rs", "the whole desired state on one page"),
];

const BANNED_NAMES: [&str; 6] = ["util", "common", "helpers", "misc", "types", "manager"];

/// One source file: what it says outside its tests, comments blanked.
struct Source {
    path: String,
    text: String,
    code: Vec<String>,
}

impl Source {
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&top().join("src"), &mut found);
    found.sort();
    assert!(found.len() > 5, "no sources found");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source can be read");
        let path = path.strip_prefix(top()).expect("below the top").display().to_string();
        Source { code: code(&text), path, text }
    };
    // `tests.rs` and `tests/` hold nothing but tests.
    let of_tests = |source: &Source| source.path.split('/').any(|part| part == "tests" || part == "tests.rs");
    found.into_iter().map(read).filter(|source| !of_tests(source)).collect()
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test_only(&path) {
            into.push(path);
        }
    }
}

/// Files that their room declares under `#[cfg(test)]`: no part of the product.
const TEST_ONLY: [&str; 6] =
    ["tests.rs", "pool/fixture.rs", "pool/simulation.rs", "pool/table.rs", "cli/golden.rs", "os/alone.rs"];

fn is_test_only(path: &Path) -> bool {
    TEST_ONLY.iter().any(|ending| path.ends_with(ending))
}

/// The lines up to the file's tests, and after them: rustfmt closes an inline test module at the depth
/// that it opened. Comments and the insides of strings are blanked, line numbers kept.
fn code(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut closing: Option<String> = None;
    let mut pending = false;
    for line in text.lines() {
        let bare = without_comment(line);
        let trimmed = bare.trim();
        if let Some(close) = &closing {
            if bare == *close {
                closing = None;
            }
            lines.push(String::new());
        } else if trimmed == "#[cfg(test)]" {
            pending = true;
            lines.push(String::new());
        } else if pending && !trimmed.starts_with("#[") {
            pending = false;
            if trimmed.ends_with('{') {
                let indent = bare.len() - bare.trim_start().len();
                closing = Some(format!("{}}}", " ".repeat(indent)));
            }
            lines.push(String::new());
        } else {
            lines.push(bare);
        }
    }
    lines
}

fn without_comment(line: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        if quoted {
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    quoted = false;
                    out.push('"');
                }
                _ => {}
            }
        } else if char == '/' && chars.peek() == Some(&'/') {
            break;
        } else if char == '\'' && chars.peek() == Some(&'"') {
            chars.next();
            out.push_str("' ");
        } else {
            quoted = char == '"';
            out.push(char);
        }
    }
    out.trim_end().to_owned()
}

/// Does `line` name `word`, not as a part of a longer name?
fn names(line: &str, word: &str) -> bool {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|rest| rest.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|rest| rest.chars().next());
        let open = !word.ends_with(|last: char| part(last));
        !before.is_some_and(part) && (open || !after.is_some_and(part))
    })
}

/// Rooms named after `crate::` (also in a braced list), with the line.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let text = source.code.join("\n");
    let mut found = Vec::new();
    for (at, word) in text.match_indices("crate::") {
        let line = text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
        let rest = text.get(at + word.len()..).unwrap_or_default();
        let list = rest.strip_prefix('{').map_or(rest, |inner| inner.split(';').next().unwrap_or(inner));
        let whole = list.len() < rest.len() && rest.starts_with('{');
        let parts: Vec<&str> = if whole { outermost(list) } else { vec![rest] };
        for part in parts {
            let name: String =
                part.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((line, name));
        }
    }
    found
}

/// The parts of a braced list at its own depth.
fn outermost(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.extend(list.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
        if depth < 0 {
            parts.extend(list.get(start..at));
            return parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
        }
    }
    parts
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn a_room_imports_only_the_rooms_that_it_may() {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let mut found = Vec::new();
    for source in
        sources().iter().filter(|source| !["src/lib.rs", "src/main.rs"].contains(&source.path.as_str()))
    {
        let Some(allowed) = rooms.get(source.room()) else {
            found.push(format!(
                "{}: room `{}` is not in the table of tests/tidy.rs",
                source.path,
                source.room()
            ));
            continue;
        };
        for (line, name) in imports(source) {
            if rooms.contains_key(name.as_str()) && name != source.room() && !allowed.contains(&name.as_str())
            {
                found.push(format!("{}:{line}: {} may not import {name}", source.path, source.room()));
            }
        }
    }
    none("imports that the table does not list", &found);
}

#[test]
fn the_import_table_has_no_cycle() {
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    let mut left: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|used| placed.contains(used)))
            .map(|(room, _)| *room)
            .collect();
        assert!(!free.is_empty(), "a cycle among {:?}", left.keys());
        for room in free {
            left.remove(room);
            placed.insert(room);
        }
    }
}

#[test]
fn a_pure_room_sees_no_clock_descriptor_process_environment_log_or_future() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room())) {
        for (number, line) in (1..).zip(&source.code) {
            // The bytes of a word are no look at the machine.
            let line = line.replace("std::os::unix::ffi", "");
            for word in IMPURE.iter().filter(|word| names(&line, word)) {
                found.push(format!("{}:{number}: `{word}` in a pure room", source.path));
            }
        }
    }
    none("pure rooms decide on what they are given", &found);
}

#[test]
fn unsafe_code_is_in_os_alone() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.room() != "os") {
        for (number, line) in (1..).zip(&source.code) {
            if names(line, "unsafe") || names(line, "unsafe_code") {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("unsafe outside src/os", &found);
}

#[test]
fn dbus_and_cli_know_what_a_pool_shows_never_the_pool() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| ["dbus", "cli"].contains(&source.room())) {
        for (number, line) in (1..).zip(&source.code) {
            if names(line, POOL_ONLY) {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("`Pool` named above the daemon's border", &found);
}

#[test]
fn there_is_at_most_one_select_and_it_is_the_daemons() {
    let mut found = Vec::new();
    for source in &sources() {
        for (number, line) in (1..).zip(&source.code) {
            if names(line, "select!") {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    assert!(found.len() <= 1 && found.iter().all(|at| at.starts_with("src/daemon/")), "select! at {found:?}");
}

#[test]
fn every_file_opens_with_what_it_decides() {
    let bare = |source: &&Source| !source.text.starts_with("//! ");
    let found: Vec<String> = sources().iter().filter(bare).map(|source| source.path.clone()).collect();
    none("files that do not open with `//!`", &found);
}

#[test]
fn no_file_and_no_function_is_long_without_a_reason() {
    let excused: BTreeMap<&str, &str> = LONG.iter().copied().collect();
    let mut found = Vec::new();
    for source in &sources() {
        let last = source.code.iter().rposition(|line| !line.is_empty()).map_or(0, |at| at + 1);
        if last > FILE_LINES && !excused.contains_key(source.path.as_str()) {
            found.push(format!("{}: {last} lines of {FILE_LINES}", source.path));
        }
        for (name, line, length) in functions(&source.code) {
            let key = format!("{}::{name}", source.path);
            if length > FUNCTION_LINES && !excused.contains_key(key.as_str()) {
                found.push(format!("{}:{line}: {name} has {length} lines of {FUNCTION_LINES}", source.path));
            }
        }
    }
    none("too long, and not excused in LONG", &found);
}

/// Name, first line and length of each function; rustfmt ends one with a brace at its own indent.
fn functions(code: &[String]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, line) in code.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let head = before.trim();
        let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"\""];
        if !head.split(' ').all(|word| word.is_empty() || modifiers.contains(&word)) {
            continue;
        }
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let one_line = line.ends_with('}') || line.ends_with(';');
        let end = code.iter().skip(at).position(|line| *line == close).filter(|_| !one_line).unwrap_or(0);
        found.push((name, at + 1, end + 1));
    }
    found
}

#[test]
fn no_name_is_a_layer_instead_of_a_thing() {
    let mut found = Vec::new();
    for source in &sources() {
        let stems = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
        found.extend(
            stems.filter(|stem| BANNED_NAMES.contains(stem)).map(|stem| format!("{}: {stem}", source.path)),
        );
        for (number, line) in (1..).zip(&source.code) {
            let module = line
                .trim()
                .trim_start_matches("pub")
                .trim_start_matches("(crate)")
                .trim()
                .strip_prefix("mod ");
            if let Some(module) = module.map(|rest| rest.trim_end_matches([';', '{', ' ']))
                && BANNED_NAMES.contains(&module)
            {
                found.push(format!("{}:{number}: mod {module}", source.path));
            }
        }
    }
    none("banned names", &found);
}

#[test]
fn every_named_limit_says_what_it_limits() {
    let mut found = Vec::new();
    for source in &sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in source.code.iter().enumerate() {
            let Some((head, _)) = line.split_once(" = ") else { continue };
            let Some((_, name)) = head.split_once("const ") else { continue };
            let limit = name.split(':').next().is_some_and(|name| {
                name.split('_').any(|word| ["MAX", "LIMIT", "LIMITS", "TIMEOUT", "DEADLINE"].contains(&word))
            });
            let above = lines.iter().take(at).rev().find(|line| !line.trim().starts_with("#["));
            if limit && !above.is_some_and(|line| line.trim().starts_with("//")) {
                found.push(format!("{}:{}: {}", source.path, at + 1, name.trim()));
            }
        }
    }
    none("limits without a word on what they bound", &found);
}

#[test]
fn no_tracked_file_names_a_machine_or_a_registry() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(top()).output();
    // A source archive has no git; there is nothing tracked to look at.
    let Some(listed) = listed.ok().filter(|out| out.status.success()) else { return };
    // Put together here, so that this file does not name them.
    let banned: Vec<String> = [
        "/wo|rk/",
        "/ro|ot/.",
        "/ho|me/",
        "deb.deb|ian.org",
        "static.cra|tes.io",
        "index.cra|tes.io",
        "registry.np|mjs.org",
    ]
    .iter()
    .map(|word| word.replace('|', ""))
    .collect();
    let mut found = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
        let Ok(text) = fs::read_to_string(top().join(path)) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            for word in banned.iter().filter(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{number}: {word}"));
            }
        }
    }
    none("paths of a machine or hosts of a registry", &found);
}

#[test]
fn the_checks_see_code_and_not_comments_strings_or_tests() {
    let text = "fn a() { tokio(); } // tracing::x\nlet s = \"unsafe\";\n#[cfg(test)]\nmod tests {\n    unsafe fn x() {}\n}\nfn b() {}\n";
    let code = code(text);
    assert!(names(&code[0], "tokio") && !code[0].contains("tracing"));
    assert!(code.iter().all(|line| !names(line, "unsafe")));
    assert!(code[6].contains("fn b"));
    let of = |text: &str| {
        let source = Source { path: "src/pool/x.rs".into(), text: String::new(), code: vec![text.into()] };
        imports(&source).into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(of("use crate::os::fd;"), ["os"]);
    assert_eq!(of("use crate::{plan::{Plan, Name}, time::Span};"), ["plan", "time"]);
    let long: Vec<String> = ["pub fn f(", "    x: u8,", ") {", "}", "fn g() {}"].map(String::from).to_vec();
    assert_eq!(functions(&long), [("f".to_owned(), 1, 4), ("g".to_owned(), 5, 1)]);
}
