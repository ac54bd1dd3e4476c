//! The name of an app: what systemd allows in a unit name, minus what would confuse a path or a command line.

use std::fmt;

/// A checked app name: 1 to 64 of `A-Z a-z 0-9 - _ . @`, beginning with a letter, digit or `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(String);

/// Why a text is no app name; a fragment for "expected …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError(pub &'static str);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NameError {}

impl AppName {
    /// The longest name, so that `NAME.service` and a bus name built from it always fit.
    pub const MAX_LEN: usize = 64;

    /// Checks `text`.
    ///
    /// # Errors
    /// Says what a name is made of when `text` is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(NameError("a name of 1 to 64 characters"));
        }
        if !text.chars().all(allowed) {
            return Err(NameError("a name of letters, digits and - _ . @"));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err(NameError("a name that begins with a letter, a digit or _"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name on the bus, `org.ganger1.` and the app's name as one element: whatever a bus name cannot hold
    /// (anything but ASCII letters and digits, and a digit in front) becomes `_` and two hexadecimal digits, as
    /// in systemd's own object paths. `my-app` is `org.ganger1.my_2dapp`.
    #[must_use]
    pub fn bus_name(&self) -> String {
        let mut name = String::from("org.ganger1.");
        for (at, byte) in self.0.bytes().enumerate() {
            if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
                name.push(char::from(byte));
            } else {
                name.push_str(&format!("_{byte:02x}"));
            }
        }
        name
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_bus_name_of_its_own() {
        for (app, bus) in [
            ("api", "org.ganger1.api"),
            ("my-app", "org.ganger1.my_2dapp"),
            ("my_2dapp", "org.ganger1.my_5f2dapp"),
            ("9lives.v2", "org.ganger1._39lives_2ev2"),
        ] {
            assert_eq!(AppName::new(app).map(|name| name.bus_name()), Ok(bus.to_owned()));
        }
        let longest = AppName::new(&"_".repeat(AppName::MAX_LEN)).map(|name| name.bus_name().len());
        assert!(longest.is_ok_and(|length| length <= 255));
    }

    #[test]
    fn a_name_is_safe_in_a_path_and_in_a_unit_name() {
        for good in ["api", "my-app.v2", "web@eu", "_x", "9"] {
            assert!(AppName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", ".", "..", "a/b", "a b", "é", "a:b", "x\n", &"y".repeat(65)] {
            assert!(AppName::new(bad).is_err(), "{bad} was accepted");
        }
    }
}
