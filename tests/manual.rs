//! The man pages tell what the program knows: every configuration key with its default, every verb, flag and
//! exit code, and every variable that a worker may meet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use ganger::config::{KEYS, Standard};

/// The source of a page, with scdoc's marks taken out.
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(format!("{name}.scd"));
    fs::read_to_string(path).unwrap().replace(['*', '\\'], "")
}

fn ganger(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ganger")).args(words).output().unwrap();
    assert!(output.status.success(), "ganger {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The paragraph of `key` in ganger.toml(5): its head line and what is indented below it.
fn entry<'a>(page: &'a str, key: &str) -> Option<&'a str> {
    let named = |line: &str| line.split(", ").any(|name| name == key);
    let start = page.lines().find(|line| !line.starts_with('\t') && named(line))?;
    let from = page.split_once(&format!("\n{start}\n"))?.1;
    let end = from.find("\n\n").filter(|end| !from[*end..].starts_with("\n\n\t")).unwrap_or(from.len());
    Some(&from[..end])
}

#[test]
fn every_key_stands_in_the_manual_with_its_default() {
    let page = page("ganger.toml.5");
    for key in KEYS {
        let Some(text) = entry(&page, key.path) else { panic!("ganger.toml(5) does not have {}", key.path) };
        let default = match key.standard {
            Standard::Text(word) => format!("\"{word}\""),
            Standard::Number(number) => number.to_string(),
            Standard::Flag(flag) => flag.to_string(),
            Standard::Unset("required") => "Required".to_owned(),
            Standard::Unset(_) => continue,
        };
        assert!(
            text.contains(&default),
            "ganger.toml(5), {}: the default {default} is not told: {text}",
            key.path
        );
    }
}

#[test]
fn every_key_in_the_manual_exists() {
    let page = page("ganger.toml.5");
    for line in page.lines().filter(|line| line.contains('.') && !line.starts_with(['\t', '#', '_', '['])) {
        for name in line.split(", ") {
            let (table, _) = name.split_once('.').unwrap_or((name, ""));
            let is_key =
                name.chars().all(|c| c.is_ascii_lowercase() || "-.".contains(c)) && !name.ends_with('.');
            if is_key && KEYS.iter().any(|key| key.path.starts_with(&format!("{table}."))) {
                assert!(KEYS.iter().any(|key| key.path == name), "ganger.toml(5) has {name}, ganger has not");
            }
        }
    }
}

/// The first words of the lines of one section of `ganger --help`.
fn told<'a>(help: &'a str, section: &str) -> Vec<&'a str> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1).take_while(|line| !line.is_empty());
    let heads = lines.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let words: Vec<_> = heads.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(words.len() > 1, "the help has no section {section}\n{help}");
    words
}

#[test]
fn every_verb_and_flag_stands_in_the_manual() {
    let page = page("ganger.1");
    for verb in told(&ganger(&["--help"]), "Verbs:") {
        assert!(
            page.contains(&format!("\n{verb}")) || page.contains(&format!(", {verb} ")),
            "ganger(1) lacks {verb}"
        );
        for flag in ganger(&["help", verb]).split_whitespace().filter_map(|word| word.strip_prefix("--")) {
            let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(page.contains(&format!("--{flag}")), "ganger(1) lacks --{flag} of {verb}");
        }
    }
}

#[test]
fn every_exit_code_stands_in_the_manual() {
    let page = page("ganger.1");
    let status = page.split_once("# EXIT STATUS").unwrap().1.split_once("\n# ").unwrap().0;
    for code in told(&ganger(&["--help"]), "Exit codes:") {
        assert!(
            status.lines().any(|line| line.split_whitespace().last() == Some(code)),
            "ganger(1) lacks {code}"
        );
    }
}

#[test]
fn every_sign_of_readiness_stands_in_the_contract() {
    let page = page("ganger-worker.7");
    let key = KEYS.iter().find(|key| key.path == "ready.when").unwrap();
    for word in key.kind.words() {
        assert!(page.contains(&format!("\n{word}\n\t")), "ganger-worker(7) lacks {word}");
    }
}
