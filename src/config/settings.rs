//! What the files, the profile and the flags say, laid over one another key by key.
//!
//! A later layer replaces a key's whole value (arrays are not joined); environment variables are replaced
//! one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::{Calendar, HttpProbe, Sink};

use super::diagnostic::At;
use super::keys::{self, Key};
use super::kind::{EnvFile, ListenEntry, Typed, Workers};
use super::scan;

/// A value and where it was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) typed: Typed,
    /// As the manual would write it.
    pub(super) shown: String,
    pub(super) at: At,
}

/// An environment variable and where it was given.
#[derive(Clone, PartialEq)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) at: At,
}

impl std::fmt::Debug for Variable {
    /// Leaves the value out: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What one source says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layer {
    keys: BTreeMap<&'static str, Setting>,
    pub(super) variables: BTreeMap<String, Variable>,
}

impl Layer {
    pub(super) fn set(&mut self, key: &'static Key, setting: Setting) {
        self.keys.insert(key.path, setting);
    }

    /// Lays `above` over this layer.
    pub(super) fn cover(&mut self, above: Self) {
        self.keys.extend(above.keys);
        self.variables.extend(above.variables);
    }

    /// The setting of `path`, be it `"off"` or not.
    pub(super) fn setting(&self, path: &str) -> Option<&Setting> {
        self.keys.get(path)
    }

    /// Where `path` was given.
    pub(super) fn at(&self, path: &str) -> At {
        self.setting(path).map_or(At::Default, |setting| setting.at.clone())
    }

    /// Whether a file or flag gives `path` a value.
    pub(super) fn is_given(&self, path: &str) -> bool {
        self.keys.get(path).is_some_and(|setting| setting.typed != Typed::Off)
    }

    /// The first given key of the table `prefix`.
    pub(super) fn first_in(&self, prefix: &str) -> Option<(&'static str, &Setting)> {
        let inside = |path: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        self.keys.iter().find(|(path, _)| inside(path)).map(|(path, setting)| (*path, setting))
    }

    /// The value that holds: given, or the default; `None` for `"off"` and for a key without default.
    fn typed(&self, path: &str) -> Option<Typed> {
        let typed = match self.keys.get(path) {
            Some(setting) => setting.typed.clone(),
            None => scan::standard(keys::find(path)?)?.typed,
        };
        (typed != Typed::Off).then_some(typed)
    }

    pub(super) fn words(&self, path: &str) -> Option<Vec<String>> {
        if let Some(Typed::Words(words)) = self.typed(path) { Some(words) } else { None }
    }

    pub(super) fn path(&self, path: &str) -> Option<String> {
        if let Some(Typed::Path(text)) = self.typed(path) { Some(text) } else { None }
    }

    pub(super) fn calendar(&self, path: &str) -> Option<Calendar> {
        if let Some(Typed::Calendar(calendar)) = self.typed(path) { Some(calendar) } else { None }
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        if let Some(Typed::Text(text)) = self.typed(path) { Some(text) } else { None }
    }

    pub(super) fn choice(&self, path: &str) -> Option<&'static str> {
        if let Some(Typed::Choice(word)) = self.typed(path) { Some(word) } else { None }
    }

    pub(super) fn choices(&self, path: &str) -> Vec<&'static str> {
        if let Some(Typed::Choices(words)) = self.typed(path) { words } else { Vec::new() }
    }

    pub(super) fn env_files(&self) -> Vec<EnvFile> {
        if let Some(Typed::EnvFiles(files)) = self.typed("env-file") { files } else { Vec::new() }
    }

    pub(super) fn listen(&self) -> Vec<ListenEntry> {
        if let Some(Typed::Listen(entries)) = self.typed("listen") { entries } else { Vec::new() }
    }

    pub(super) fn workers(&self) -> Workers {
        if let Some(Typed::Workers(workers)) = self.typed("workers") { workers } else { Workers::MaxLess(0) }
    }

    pub(super) fn probe(&self, path: &str) -> Option<HttpProbe> {
        if let Some(Typed::Probe(probe)) = self.typed(path) { Some(probe) } else { None }
    }

    /// The span, or `None` for `"off"`.
    pub(super) fn span_or_off(&self, path: &str) -> Option<Duration> {
        if let Some(Typed::Span(span)) = self.typed(path) { Some(span) } else { None }
    }

    /// The span of a key that always has one.
    pub(super) fn span(&self, path: &str) -> Duration {
        self.span_or_off(path).unwrap_or_default()
    }

    pub(super) fn size(&self, path: &str) -> Option<u64> {
        if let Some(Typed::Size(bytes)) = self.typed(path) { Some(bytes) } else { None }
    }

    pub(super) fn count_or_off(&self, path: &str) -> Option<u32> {
        if let Some(Typed::Count(number)) = self.typed(path) { Some(number) } else { None }
    }

    /// The number of a key that always has one.
    pub(super) fn count(&self, path: &str) -> u32 {
        self.count_or_off(path).unwrap_or(1)
    }

    pub(super) fn percent(&self, path: &str) -> Option<u32> {
        if let Some(Typed::Percent(percent)) = self.typed(path) { Some(percent) } else { None }
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        self.typed(path) == Some(Typed::Flag(true))
    }

    pub(super) fn signal(&self, path: &str) -> Option<i32> {
        if let Some(Typed::Signal(signal)) = self.typed(path) { signal } else { None }
    }

    pub(super) fn sink(&self, path: &str) -> Sink {
        if let Some(Typed::Sink(sink)) = self.typed(path) { sink } else { Sink::Auto }
    }
}
