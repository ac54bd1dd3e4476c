//! The example pair of units, and every configuration that is shipped, is accepted by who reads it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_finds_nothing_to_say_about_the_example_pair() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in ["myapp.socket", "myapp.service"] {
        // systemd-analyze looks whether the program is there; here it is the one under test.
        let unit = fs::read_to_string(root().join("units").join(name)).unwrap();
        let file = dir.path().join(name);
        fs::write(&file, unit.replace("/usr/bin/ganger", env!("CARGO_BIN_EXE_ganger"))).unwrap();
        files.push(file);
    }
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files).output().unwrap();
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

#[test]
fn the_example_service_keeps_its_sandbox() {
    let unit = root().join("units/myapp.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
        .arg(unit)
        .output()
        .unwrap();
    assert!(output.status.success(), "its exposure is above 2.0\n{}", said(&output));
}

#[test]
fn every_configuration_that_is_shipped_passes_its_check() {
    let mut files = vec![root().join("units/myapp.toml")];
    for dir in fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()) {
        files.extend(tomls(&dir));
    }
    assert!(files.len() > 8, "the examples are gone: {files:?}");
    for file in files {
        let output = Command::new(env!("CARGO_BIN_EXE_ganger")).arg("check").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        // That something is not installed, or not built yet, is the one thing that may be said.
        let warned = said(&output)
            .lines()
            .filter(|line| line.contains("warning"))
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert!(warned.iter().all(|line| line.contains("does not exist")), "{}", said(&output));
    }
}

fn tomls(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension() == Some("toml".as_ref())).collect()
}
