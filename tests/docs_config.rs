//! `ganger.toml(5)` says of every key what the code knows: its name, its default, its words; and no more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use ganger::config::{self, KEYS, Key, Kind};
use ganger::plan::Protocol;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/ganger.toml.5.scd");
    std::fs::read_to_string(path).unwrap()
}

/// The text below `*path*` up to the next key or heading.
fn entry<'a>(page: &'a str, path: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n*{path}*\n"))?;
    let end = rest.match_indices('\n').map(|(at, _)| at).find(|at| {
        let next = rest[at + 1..].chars().next();
        !matches!(next, Some('\t' | '\n') | None)
    });
    Some(&rest[..end.unwrap_or(rest.len())])
}

#[test]
fn every_key_stands_in_the_manual_with_its_default() {
    let page = page();
    for key in KEYS {
        let entry =
            entry(&page, key.path).unwrap_or_else(|| panic!("`{}` is not in ganger.toml(5)", key.path));
        let default = format!("Default: {}", key.default_text());
        assert!(entry.contains(&default), "`{}`: the manual has no \"{default}\" in:\n{entry}", key.path);
    }
}

#[test]
fn every_word_that_a_key_takes_is_explained() {
    let page = page();
    let words = |key: &Key| {
        if let Kind::Choice(words) | Kind::Choices(words) = key.kind { words.to_vec() } else { Vec::new() }
    };
    for key in KEYS {
        for word in words(key) {
            let entry = entry(&page, key.path).unwrap();
            assert!(entry.contains(&format!("\"{word}\"")), "`{}`: \"{word}\" is not explained", key.path);
        }
    }
}

#[test]
fn the_manual_tells_the_protocol_of_a_command_that_names_none() {
    let entry = entry(&page(), "protocol").unwrap().to_owned();
    let sentence = match config::default_protocol(&["node".into(), "server.js".into()], Path::new("")) {
        Protocol::Node => {
            "Without this key \"node\" holds for the commands node, nodejs, tsx, ts-node, npm, npx, pnpm, pnpx, yarn and deno"
        }
        Protocol::ListenFds => "Without this key \"listen-fds\" holds for every command",
        Protocol::Stdin => panic!("nobody asked for standard input"),
    };
    let folded = entry.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(folded.contains(sentence), "{entry}");
}

#[test]
fn the_manual_explains_no_key_that_does_not_exist() {
    let page = page();
    let known: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
    let explained = page.lines().filter_map(|line| line.strip_prefix('*')?.strip_suffix('*'));
    for path in explained {
        assert!(known.contains(path), "the manual explains `{path}`");
    }
}

#[test]
fn the_keys_stand_in_the_manual_in_the_order_of_the_table() {
    let page = page();
    let places: Vec<_> = KEYS.iter().map(|key| page.find(&format!("\n*{}*\n", key.path))).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn every_example_of_the_manual_passes() {
    let page = page();
    let blocks: Vec<_> = page.split("```\n").skip(1).step_by(2).collect();
    let examples: Vec<_> = blocks.iter().filter(|block| !block.contains("error:")).collect();
    assert!(examples.len() >= 3, "{blocks:?}");
    for example in examples {
        // The directories of the examples do not exist on this machine.
        let text = example.replace("/srv/api/current", "/");
        let text = if text.contains("command =") { text } else { format!("command = [\"x\"]\n{text}") };
        if let Err(faults) = config::check_bytes(Path::new("api.toml"), text.as_bytes(), 2) {
            panic!("{text}\n{faults}");
        }
    }
}

#[test]
fn the_message_in_the_manual_is_what_a_person_sees() {
    let page = page();
    let shown = page.split("```\n").nth(1).unwrap();
    let text = b"command = [\"x\"]\n\nworker = 4\n";
    let faults = config::check_bytes(Path::new("/etc/ganger/api.toml"), text, 2).unwrap_err();
    assert_eq!(faults.render(false), shown);
}

#[test]
fn the_page_is_good_scdoc() {
    use std::process::{Command, Stdio};
    let child = Command::new("scdoc").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    // A machine without scdoc cannot tell; packaging builds the page.
    let Ok(mut child) = child else { return };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
