//! What package managers would run: their command lines, and the scripts of package.json.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::launch::{Launch, Setting};
use super::remark::{LaunchError, LaunchNote};

/// What a launcher is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A script of package.json.
    Script(Script),
    /// A program of the project's packages.
    Program(Vec<String>),
}

/// A script and what is appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    name: String,
    arguments: Vec<String>,
}

/// As much of package.json as matters here.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Package {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    scripts: BTreeMap<String, String>,
}

/// Options that change how much a launcher says, and nothing else.
const QUIET: [&str; 5] = ["-s", "--silent", "--quiet", "-q", "--no-progress"];

/// What a shell would look at. A script without any of it is a list of words.
const SHELL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', ']', '#', '~', '!', '{',
    '}', '\n',
];

pub(super) fn is_launcher(name: &str) -> bool {
    matches!(name, "npm" | "pnpm" | "yarn" | "yarnpkg" | "npx" | "pnpx")
}

/// What `launcher arguments…` would run.
pub(super) fn wanted(launcher: &str, arguments: &[String]) -> Result<Wanted, LaunchError> {
    let mut words = arguments.iter().filter(|word| !QUIET.contains(&word.as_str())).peekable();
    if matches!(launcher, "npx" | "pnpx") {
        let rest = words.skip_while(|word| matches!(word.as_str(), "-y" | "--yes" | "--no-install" | "--"));
        return program(launcher, rest.cloned().collect());
    }
    let verb = words.next().cloned().unwrap_or_default();
    let mut rest: Vec<String> = words.cloned().collect();
    match verb.as_str() {
        "exec" | "x" => {
            rest.retain(|word| word != "--");
            program(launcher, rest)
        }
        "node" if launcher.starts_with("yarn") => Ok(Wanted::Program([vec![verb], rest].concat())),
        "run" | "run-script" if rest.is_empty() => Err(LaunchError::NoSuchScript(String::new())),
        "run" | "run-script" => {
            let name = rest.remove(0);
            script(launcher, name, rest)
        }
        "start" => script(launcher, verb, rest),
        option if option.starts_with('-') => {
            Err(LaunchError::Option { launcher: launcher.to_owned(), option: verb })
        }
        // pnpm and yarn take a script's name for a verb.
        _ if launcher != "npm" => script(launcher, verb, rest),
        _ => Err(LaunchError::Option { launcher: launcher.to_owned(), option: verb }),
    }
}

/// What `node --run NAME` would run; `None` when that is not asked for.
pub(super) fn node_run(arguments: &[String]) -> Result<Option<Script>, LaunchError> {
    let Some(at) = arguments.iter().position(|word| word == "--run" || word.starts_with("--run=")) else {
        return Ok(None);
    };
    if arguments.iter().take(at).any(|word| !word.starts_with('-')) {
        return Ok(None); // an argument of the app
    }
    let mut rest = arguments.iter().skip(at).cloned();
    let first = rest.next().unwrap_or_default();
    let name = first.strip_prefix("--run=").map(str::to_owned).or_else(|| rest.next());
    let name = name.ok_or_else(|| LaunchError::NoSuchScript(String::new()))?;
    let arguments = rest.filter(|word| word != "--").collect();
    Ok(Some(Script { name, arguments }))
}

fn program(launcher: &str, words: Vec<String>) -> Result<Wanted, LaunchError> {
    match words.first() {
        Some(first) if !first.starts_with('-') => Ok(Wanted::Program(words)),
        first => {
            let option = first.cloned().unwrap_or_default();
            Err(LaunchError::Option { launcher: launcher.to_owned(), option })
        }
    }
}

fn script(launcher: &str, name: String, mut arguments: Vec<String>) -> Result<Wanted, LaunchError> {
    if name.starts_with('-') {
        return Err(LaunchError::Option { launcher: launcher.to_owned(), option: name });
    }
    // npm takes everything up to `--` for itself, the others pass it on.
    match arguments.iter().position(|word| word == "--") {
        Some(at) => {
            arguments.remove(at);
        }
        None if launcher == "npm" => arguments.retain(|word| !word.starts_with('-')),
        None => {}
    }
    Ok(Wanted::Script(Script { name, arguments }))
}

impl Package {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())
    }

    /// Puts what a script runs into `launch`: its words when it is a plain command, a shell otherwise.
    pub(super) fn expand(
        &self,
        script: &Script,
        setting: &Setting<'_>,
        launch: &mut Launch,
    ) -> Result<(), LaunchError> {
        let name = &script.name;
        let text = match self.scripts.get(name) {
            Some(text) => text.trim(),
            None if name == "start" => "node server.js", // npm's own default
            None => return Err(LaunchError::NoSuchScript(name.clone())),
        };
        launch.notes.push(LaunchNote::Script { name: name.clone(), text: text.to_owned() });
        let before = format!("pre{name}");
        if self.scripts.contains_key(&before) {
            launch.notes.push(LaunchNote::PreScript(before));
        }
        launch.path_first = Some(setting.directory.join("node_modules/.bin"));
        for (key, value) in [
            ("npm_lifecycle_event", name),
            ("npm_package_name", &self.name),
            ("npm_package_version", &self.version),
        ] {
            launch.env.retain(|(known, _)| known != key);
            launch.env.push((key.into(), value.into()));
        }
        if text.contains(SHELL) {
            let words = script.arguments.iter().map(|word| format!(" {}", quoted(word)));
            let line = text.to_owned() + &words.collect::<String>();
            launch.argv = ["sh".into(), "-c".into(), OsString::from(line)].into();
            return Ok(());
        }
        // `cross-env A=1 B=2 command` sets variables as a shell does.
        let mut words = text.split_whitespace().filter(|word| *word != "cross-env").peekable();
        while let Some((key, value)) = words.peek().and_then(|word| assignment(word)) {
            words.next();
            launch.env.push((key.into(), value.into()));
        }
        launch.argv = words.map(OsString::from).chain(script.arguments.iter().map(OsString::from)).collect();
        Ok(())
    }
}

/// `NAME=value` in front of a command.
fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let starts_well = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    (starts_well && name.chars().all(good)).then(|| (name.to_owned(), value.to_owned()))
}

/// One word for sh(1).
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
