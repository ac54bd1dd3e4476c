//! ganger(1) and ganger-worker(7) tell what the program knows: every verb, flag, exit code and sign of readiness.
//! The configuration's keys are compared in `docs_config.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use ganger::config::KEYS;
use ganger::systemd::logging::message_id;

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

#[test]
fn every_message_id_stands_in_the_manual() {
    let page = page("ganger.1");
    for (name, id) in message_id::ALL {
        assert!(page.contains(&format!("_{id}_\n")), "ganger(1) lacks {name}, {id}");
    }
}
