//! What a load gives: the plan, and where each of its values came from.

use std::path::PathBuf;

use crate::plan::{Plan, Protocol, ReadyWhen};

use super::diagnostic::{At, Diagnostics};
use super::excerpt::{Excerpt, Hide, clean};
use super::keys::{KEYS, Key};
use super::settings::Layer;
use super::source::Sources;

/// A configuration that passed.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is to be.
    pub plan: Plan,
    /// The files that were read, in the order in which they apply.
    pub files: Vec<PathBuf>,
    /// The profile that applies.
    pub profile: Option<String>,
    /// What has no effect, or not the likely one.
    pub warnings: Diagnostics,
    pub(super) effective: Vec<EffectiveKey>,
}

impl Loaded {
    /// Every key with its value and origin, in the order of the manual, then the environment variables
    /// by name; their values are never among these.
    #[must_use]
    pub fn effective(&self) -> &[EffectiveKey] {
        &self.effective
    }
}

/// One key of the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveKey {
    /// Dotted path.
    pub key: String,
    /// The value as TOML, or words for a key without one.
    pub value: String,
    /// `FILE:LINE`, a flag, the key that implies it, or `default`.
    pub origin: String,
}

/// Lists what holds.
pub(super) fn effective(settings: &Layer, sources: &Sources, plan: &Plan) -> Vec<EffectiveKey> {
    let mut list: Vec<EffectiveKey> = KEYS
        .iter()
        .map(|key| match settings.setting(key.path) {
            Some(setting) => EffectiveKey {
                key: key.path.to_owned(),
                value: clean(&setting.shown),
                origin: origin(&setting.at, sources),
            },
            None => implied(key, plan),
        })
        .collect();
    list.extend(settings.variables.iter().map(|(name, variable)| EffectiveKey {
        key: format!("env.{name}"),
        value: "(set)".to_owned(),
        origin: origin(&variable.at, sources),
    }));
    list
}

/// The value of a key that nobody gave: its default, or what another key implies.
fn implied(key: &Key, plan: &Plan) -> EffectiveKey {
    let (value, origin) = match (key.path, plan.protocol, plan.ready.when) {
        ("protocol", Protocol::ListenFds, _) => ("\"listen-fds\"".to_owned(), "command"),
        ("protocol", Protocol::Node, _) => ("\"node\"".to_owned(), "command"),
        ("ready.when", _, ReadyWhen::Http) => ("\"http\"".to_owned(), "ready.http"),
        ("ready.when", _, ReadyWhen::Fd) => ("\"fd\"".to_owned(), "ready.fd"),
        (_, _, _) => (key.default_text(), "default"),
    };
    EffectiveKey { key: key.path.to_owned(), value, origin: origin.to_owned() }
}

fn origin(at: &At, sources: &Sources) -> String {
    match at {
        At::Default => "default".to_owned(),
        At::Flag(flag) => (*flag).to_owned(),
        At::Path(path, _) => clean(&path.display().to_string()),
        At::Span { file, start, end } => sources.get(*file).map_or_else(String::new, |source| {
            let line = Excerpt::new(source, *start, *end, Hide::Line).line;
            format!("{}:{line}", clean(&source.path.display().to_string()))
        }),
    }
}
