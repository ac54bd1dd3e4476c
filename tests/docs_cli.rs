//! `ganger(1)` against the program: every verb, flag and exit code that the one knows stands in the other.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

type Words = BTreeSet<String>;

fn ganger(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ganger")).args(words).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/ganger.1.scd");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a help text below `heading` that begin an entry.
fn entries<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let below = help.lines().skip_while(|line| *line != heading).skip(1);
    let entry = |line: &&str| line.starts_with("  ") && line.len() - line.trim_start().len() <= 6;
    below.take_while(|line| !line.is_empty()).filter(entry).collect()
}

fn verbs_of_the_program() -> Words {
    let help = ganger(&["--help"]);
    entries(&help, "Verbs:")
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// `-h` and `--help`, and so on: the words of a flag's entry before its meaning.
fn flags_in(help: &str) -> Words {
    let words = entries(help, "Options:").into_iter().flat_map(|line| {
        let term = line.trim_start();
        let term = term.find("  ").map_or(term, |end| term.split_at(end).0);
        term.split([' ', ',']).filter(|word| word.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
    });
    words.collect()
}

/// The sections of the manual whose heading contains `name`.
fn sections(manual: &str, name: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in manual.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            inside = heading.contains(name);
        } else if inside {
            text.push_str(line);
            text.push('\n');
        }
    }
    assert!(!text.is_empty(), "the manual has no section {name}");
    text
}

/// The words in `*bold*` of a line.
fn bold(line: &str) -> impl Iterator<Item = String> {
    line.split('*').skip(1).step_by(2).map(str::to_owned)
}

/// The words in bold of the lines that begin an entry.
fn terms(section: &str) -> Words {
    section.lines().filter(|line| line.starts_with('*')).flat_map(bold).collect()
}

#[test]
fn every_verb_stands_in_the_manual_and_no_other() {
    let mut documented = terms(&sections(&manual(), "VERBS"));
    documented.remove("--");
    assert_eq!(documented, verbs_of_the_program());
}

#[test]
fn every_flag_stands_in_the_manual_and_no_other() {
    let mut known = flags_in(&ganger(&["--help"]));
    for verb in verbs_of_the_program() {
        known.append(&mut flags_in(&ganger(&["help", &verb])));
    }
    assert_eq!(terms(&sections(&manual(), "OPTIONS")), known);
}

#[test]
fn the_options_of_each_verb_are_those_that_the_manual_names_for_it() {
    let manual = manual();
    let verbs = sections(&manual, "VERBS");
    let everywhere: Words = ["--help", "--color"].map(str::to_owned).into();
    // A verb without such a line has none; an entry may be about several verbs.
    let mut documented: BTreeMap<String, Words> =
        verbs_of_the_program().into_iter().map(|verb| (verb, Words::new())).collect();
    let mut entry = Words::new();
    for line in verbs.lines() {
        if line.starts_with('*') {
            entry = bold(line).collect();
        }
        let Some(options) = line.trim_start().strip_prefix("Options: ") else { continue };
        for (verb, documented) in &mut documented {
            if entry.contains(verb) {
                documented.extend(bold(options));
            }
        }
    }
    for (verb, documented) in documented {
        let help = ganger(&["help", &verb]);
        let known: Words = flags_in(&help).into_iter().filter(|flag| flag.starts_with("--")).collect();
        let known: Words = known.difference(&everywhere).cloned().collect();
        assert_eq!(documented, known, "{verb}");
    }
}

#[test]
fn every_exit_code_stands_in_the_manual_and_no_other() {
    let help = ganger(&["--help"]);
    let known: Words = entries(&help, "Exit codes:")
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    let manual = manual();
    let section = sections(&manual, "EXIT STATUS");
    let documented: Words =
        section.lines().flat_map(bold).filter(|word| word.parse::<u8>().is_ok()).collect();
    assert_eq!(documented, known);
}
