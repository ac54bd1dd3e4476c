//! The name of a passed descriptor: what `FileDescriptorName=` and `FDNAME=` allow.

use std::fmt;

/// A checked descriptor name: 1 to 255 printable ASCII characters without `:` (systemd.socket(5)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FdName(String);

/// Why a text is no descriptor name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdNameError {
    /// There is nothing.
    Empty,
    /// Longer than [`FdName::MAX_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that the variables cannot carry.
    Character {
        /// Which.
        character: char,
        /// At which byte.
        at: usize,
    },
}

impl fmt::Display for FdNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a descriptor name is not empty"),
            Self::TooLong { bytes } => {
                write!(f, "a descriptor name has at most {} bytes, not {bytes}", FdName::MAX_BYTES)
            }
            Self::Character { character, at } => write!(
                f,
                "a descriptor name is printable ASCII without \":\", but has {character:?} at byte {at}"
            ),
        }
    }
}

impl std::error::Error for FdNameError {}

impl FdName {
    /// The longest name, in bytes (`FDNAME_MAX`).
    pub const MAX_BYTES: usize = 255;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`FdNameError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, FdNameError> {
        if text.is_empty() {
            return Err(FdNameError::Empty);
        }
        if let Some((at, character)) = text.char_indices().find(|(_, c)| !matches!(c, ' '..='~') || *c == ':')
        {
            return Err(FdNameError::Character { character, at });
        }
        if text.len() > Self::MAX_BYTES {
            return Err(FdNameError::TooLong { bytes: text.len() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name that systemd gives to what has none.
    #[must_use]
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FdName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_always_be_carried_by_the_variables() {
        for good in ["web", "myapp.socket", "a b", "~", &"x".repeat(255)] {
            assert_eq!(FdName::new(good).unwrap().as_str(), good);
        }
        assert_eq!(FdName::new(""), Err(FdNameError::Empty));
        assert_eq!(FdName::new("a:b"), Err(FdNameError::Character { character: ':', at: 1 }));
        assert_eq!(FdName::new("a\n"), Err(FdNameError::Character { character: '\n', at: 1 }));
        assert_eq!(FdName::new("é"), Err(FdNameError::Character { character: 'é', at: 0 }));
        assert_eq!(FdName::new(&"x".repeat(256)), Err(FdNameError::TooLong { bytes: 256 }));
    }
}
