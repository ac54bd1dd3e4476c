//! One Node app of a test's own: its files in a stage's folder, a version of Node first in `PATH`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{Run, Stage};

/// The oldest and the newest that are supported, and those between them.
const VERSIONS: [&str; 5] = ["18.20.8", "26.10.0", "20.20.2", "22.23.3", "24.21.0"];

/// What `tests/node/prepare` made.
pub(crate) fn prepared(what: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/prepare");
    let output = Command::new(script).args(what).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/node/prepare {what:?}: {error}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The versions under test.
pub(crate) fn versions() -> Vec<String> {
    let named = std::env::var("GANGER_NODE_VERSIONS").ok();
    let count = if std::env::var_os("GANGER_SOAK").is_some() { VERSIONS.len() } else { 2 };
    match named.as_deref() {
        Some(named) => named.split_whitespace().map(str::to_owned).collect(),
        None => VERSIONS.iter().take(count).map(|version| (*version).to_owned()).collect(),
    }
}

/// The newest version under test, where one is enough.
pub(crate) fn newest() -> String {
    let major = |version: &String| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    versions().into_iter().max_by_key(major).unwrap()
}

/// The first number of a version.
pub(crate) fn major(version: &str) -> u32 {
    version.split('.').next().unwrap().parse().unwrap()
}

/// `NODE` of that version, in front of what a shell needs.
pub(crate) fn path(version: &str) -> String {
    let folder = prepared(&["node", version]);
    format!("{}:/usr/bin:/bin", folder.parent().unwrap().display())
}

/// An app to be.
pub(crate) struct App {
    pub(crate) stage: Stage,
    version: String,
}

impl App {
    /// Two workers of `node server.js`, of these lines; the port is any.
    pub(crate) fn new(version: &str, server: &str) -> Self {
        Self::with(version, "command = ['node', 'server.js']\nlisten = ['127.0.0.1:0']\nworkers = 2")
            .file("server.js", server)
    }

    /// Of this configuration.
    pub(crate) fn with(version: &str, config: &str) -> Self {
        let stage = Stage::new(config).env("PATH", &path(version));
        Self { stage, version: version.to_owned() }
    }

    /// A file of the app.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let file = self.stage.path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self
    }

    /// A program of the app.
    pub(crate) fn executable(self, name: &str, content: &str) -> Self {
        let app = self.file(name, content);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(app.stage.path(name), mode).unwrap();
        app
    }

    /// Further lines of the configuration.
    pub(crate) fn configured(self, lines: &str) -> Self {
        let file = self.stage.path("app.toml");
        let text = std::fs::read_to_string(&file).unwrap() + "\n" + lines;
        std::fs::write(file, text).unwrap();
        self
    }

    /// `node_modules` as `tests/node/prepare` made them.
    pub(crate) fn modules(self, set: &str) -> Self {
        std::os::unix::fs::symlink(prepared(&[set]), self.stage.path("node_modules")).unwrap();
        self
    }

    /// A variable of ganger's environment.
    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        Self { stage: self.stage.env(name, value), version: self.version }
    }

    /// Runs it until both workers serve.
    #[track_caller]
    pub(crate) fn serve(self) -> Run {
        eprintln!("node {}", self.version);
        let run = self.start();
        run.said_times(2, " is ready after ");
        run
    }

    /// Runs it.
    pub(crate) fn start(self) -> Run {
        self.stage.start()
    }
}

/// `ganger VERB app WORDS`; what it printed, when it exited with `code`.
#[track_caller]
pub(crate) fn ganger(run: &Run, code: i32, words: &[&str]) -> String {
    let output = run.client(words);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    text
}

/// Answers until every one of `wanted` was seen.
#[track_caller]
pub(crate) fn until_all_answered(run: &Run, wanted: &[&str]) {
    let mut left: Vec<&str> = wanted.to_vec();
    for _ in 0..10_000 {
        let body = run.get("/");
        left.retain(|text| *text != body);
        if left.is_empty() {
            return;
        }
    }
    panic!("nobody answers {left:?}");
}
