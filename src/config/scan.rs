//! One parsed document against the key table: known keys become settings, the rest becomes complaints.

use std::collections::BTreeMap;

use super::diagnostic::{At, Complaint, FileId, Report};
use super::environment;
use super::keys::{self, Key};
use super::kind::Typed;
use super::near;
use super::settings::{Layer, Setting, Variable};
use super::source::Sources;
use super::value::{Entry, Value, What};

/// The most profiles of one file.
const MAX_PROFILES: usize = 256;

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    /// Outside of profiles.
    pub(super) base: Layer,
    /// By profile.
    pub(super) profiles: BTreeMap<String, Layer>,
}

/// Reads the file `file` of `sources`.
pub(super) fn scan(file: FileId, entries: &[Entry], sources: &mut Sources, report: &mut Report) -> Fragment {
    let mut scan = Scan { report, secrets: Vec::new(), in_profile: false };
    let mut fragment = Fragment::default();
    for entry in entries {
        if entry.name == "profile" {
            scan.profiles(entry, &mut fragment.profiles);
        } else {
            scan.entry("", entry, &mut fragment.base);
        }
    }
    sources.hide(file, scan.secrets);
    fragment
}

struct Scan<'a> {
    report: &'a mut Report,
    secrets: Vec<std::ops::Range<usize>>,
    in_profile: bool,
}

impl Scan<'_> {
    fn profiles(&mut self, entry: &Entry, profiles: &mut BTreeMap<String, Layer>) {
        let What::Table(tables) = &entry.value.what else {
            let message = format!("`profile` is {}", entry.value.kind());
            let complaint =
                Complaint::error(entry.value.at.clone(), message).expected("tables [profile.NAME]");
            self.report.add(complaint.hint("`use-profile = \"NAME\"` selects a profile"));
            return;
        };
        self.in_profile = true;
        for table in tables.iter().take(MAX_PROFILES) {
            let layer = profiles.entry(table.name.clone()).or_default();
            if !is_profile_name(&table.name) {
                let message = format!("`{}` cannot name a profile", table.name);
                let complaint = Complaint::error(table.name_at.clone(), message);
                self.report.add(complaint.expected("1 to 64 letters, digits, - and _, and not \"off\""));
            }
            if let What::Table(entries) = &table.value.what {
                for entry in entries {
                    self.entry("", entry, layer);
                }
            } else {
                let message = format!("`profile.{}` is {}", table.name, table.value.kind());
                self.report
                    .add(Complaint::error(table.value.at.clone(), message).expected("a table of keys"));
            }
        }
        self.in_profile = false;
    }

    fn entry(&mut self, prefix: &str, entry: &Entry, layer: &mut Layer) {
        let path = if prefix.is_empty() { entry.name.clone() } else { format!("{prefix}.{}", entry.name) };
        if path == "env" {
            return self.environment(entry, layer);
        }
        if self.in_profile && (path == "use-profile" || path == "profile") {
            let message = format!("`{path}` cannot stand in a profile");
            return self.report.add(Complaint::error(entry.name_at.clone(), message));
        }
        if let Some(key) = keys::find(&path) {
            return self.value(key, &entry.value, layer);
        }
        if !keys::is_table(&path) {
            return self.unknown(prefix, &path, entry);
        }
        if let What::Table(entries) = &entry.value.what {
            for entry in entries {
                self.entry(&path, entry, layer);
            }
        } else {
            let message = format!("`{path}` is {}", entry.value.kind());
            let names = keys::names_in(&path).join(", ");
            let complaint = Complaint::error(entry.value.at.clone(), message);
            self.report.add(complaint.expected(format!("a table with the keys {names}")));
        }
    }

    fn value(&mut self, key: &'static Key, value: &Value, layer: &mut Layer) {
        match key.kind.check(key.path, value) {
            Ok(typed) => {
                layer.set(key, Setting { typed, shown: value.shown(), at: value.at.clone() });
            }
            Err(complaint) => self.report.add(*complaint),
        }
    }

    fn environment(&mut self, entry: &Entry, layer: &mut Layer) {
        let What::Table(variables) = &entry.value.what else {
            self.hide_all(&entry.value);
            let message = format!("`env` is {}", entry.value.kind());
            let complaint = Complaint::error(entry.name_at.clone(), message).expected("a table of variables");
            return self.report.add(complaint.hint("a file with variables is named by `env-file`"));
        };
        for variable in variables {
            self.hide_all(&variable.value);
            match environment::table_value(&variable.name, &variable.name_at, &variable.value) {
                Ok(value) => {
                    self.misplaced(variable);
                    layer
                        .variables
                        .insert(variable.name.clone(), Variable { value, at: variable.name_at.clone() });
                }
                Err(complaint) => {
                    let complaint = match stray(&variable.name) {
                        Some(hint) => complaint.hint(hint),
                        None => *complaint,
                    };
                    self.report.add(complaint);
                }
            }
        }
    }

    /// A key of the file below `[env]` is legal TOML and a legal variable, and hardly ever meant.
    fn misplaced(&mut self, variable: &Entry) {
        if let Some(hint) = stray(&variable.name) {
            let message = format!("`{}` is an environment variable here, not a key", variable.name);
            self.report.add(Complaint::warning(variable.name_at.clone(), message).hint(hint));
        }
    }

    fn hide(&mut self, at: &At) {
        if let At::Span { start, end, .. } = at {
            self.secrets.push(*start..(*end).max(start + 1));
        }
    }

    /// Hides every value in `value`; a table's own place is only its header.
    fn hide_all(&mut self, value: &Value) {
        if let What::Table(entries) = &value.what {
            entries.iter().for_each(|entry| self.hide_all(&entry.value));
        } else {
            self.hide(&value.at);
        }
    }

    fn unknown(&mut self, prefix: &str, path: &str, entry: &Entry) {
        if let Some((name, why)) = keys::RESERVED.iter().find(|(name, _)| *name == path) {
            let message = format!("`{name}` is reserved");
            return self.report.add(Complaint::error(entry.name_at.clone(), message).hint(*why));
        }
        let complaint = Complaint::error(entry.name_at.clone(), format!("unknown key `{path}`"));
        let guess = if self.report.is_flooded() { None } else { guess(prefix, &entry.name) };
        // Nothing is known about this value: it may be a variable whose [env] got lost.
        self.hide_all(&entry.value);
        let complaint = match guess {
            Some(hint) => complaint.hint(hint),
            None if prefix.is_empty() => complaint.hint("ganger.toml(5) lists every key"),
            None => complaint.expected(keys::names_in(prefix).join(", ")),
        };
        self.report.add(complaint);
    }
}

/// A hint for an unknown `name` in the table `prefix`.
fn guess(prefix: &str, name: &str) -> Option<String> {
    if let Some(near) = near::nearest(name, keys::names_in(prefix)) {
        let path = if prefix.is_empty() { near.to_owned() } else { format!("{prefix}.{near}") };
        return Some(format!("did you mean `{path}`?"));
    }
    if let Some(ours) = near::foreign(name) {
        return Some(format!("ganger's key for this is `{ours}`"));
    }
    if !prefix.is_empty() {
        return stray(name);
    }
    let homes: Vec<_> = keys::KEYS
        .iter()
        .filter(|key| key.path.rsplit_once('.').is_some_and(|(_, last)| last == name))
        .map(|key| format!("`{}`", key.path))
        .collect();
    match homes.split_last() {
        Some((last, [])) => Some(format!("perhaps {last}?")),
        Some((last, others)) => Some(format!("perhaps {} or {last}?", others.join(", "))),
        None => None,
    }
}

/// The hint for a key of the file that stands below a table's header.
fn stray(name: &str) -> Option<String> {
    let known = keys::find(name).is_some() || keys::is_table(name);
    known.then(|| format!("`{name}` belongs to the file itself: write it above the first [table]"))
}

/// 1 to 64 of `A-Z a-z 0-9 - _`, and not what `use-profile` takes for none.
fn is_profile_name(name: &str) -> bool {
    name != "off"
        && (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Reads `text`, the argument of the command-line flag `flag`, as the value of the key `path`.
pub(super) fn flag(flag: &'static str, path: &str, value: What, layer: &mut Layer, report: &mut Report) {
    let value = Value { at: At::Flag(flag), what: value };
    let Some(key) = keys::find(path) else { return };
    match key.kind.check(path, &value) {
        Ok(typed) => layer.set(key, Setting { typed, shown: value.shown(), at: value.at }),
        Err(complaint) => report.add(*complaint),
    }
}

/// The default of `key` as a setting; `None` for a key without one.
pub(super) fn standard(key: &Key) -> Option<Setting> {
    let what = match key.standard {
        keys::Standard::Text(text) => What::Text(text.to_owned()),
        keys::Standard::Number(number) => What::Integer(Some(number)),
        keys::Standard::Flag(flag) => What::Flag(flag),
        keys::Standard::Unset(_) => return None,
    };
    let value = Value { at: At::Default, what };
    let typed: Typed = key.kind.check(key.path, &value).ok()?;
    Some(Setting { typed, shown: value.shown(), at: At::Default })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_the_table_passes_its_own_check() {
        for key in keys::KEYS {
            let has_default = !matches!(key.standard, keys::Standard::Unset(_));
            assert_eq!(standard(key).is_some(), has_default, "{}", key.path);
        }
    }
}
