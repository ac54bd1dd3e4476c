//! The limit of open files: high for ganger, as it was for workers (programs that use select(2) or loop over
//! every descriptor expect the soft limit to be low).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::{Attempted, Result};

/// A soft and a hard limit (getrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// In force now.
    pub soft: u64,
    /// The most that the soft limit may be raised to.
    pub hard: u64,
}

/// The present limit of open files.
///
/// # Errors
/// None on Linux.
pub fn open_files() -> Result<Limit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).attempted(|| "read the limit of open files")?;
    Ok(Limit { soft, hard })
}

/// Raises the soft limit of open files to the hard one and returns the limit of before, to be restored in
/// workers.
///
/// # Errors
/// When the kernel refuses; the old limit is in force then.
pub fn raise_open_files() -> Result<Limit> {
    let before = open_files()?;
    setrlimit(Resource::RLIMIT_NOFILE, before.hard, before.hard)
        .attempted(|| format!("raise the limit of open files to {}", before.hard))?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::alone::{As, passes_alone};

    #[test]
    fn the_limit_is_raised_to_the_hard_one_and_the_old_one_is_told() {
        passes_alone(
            "rlimit::tests::the_limit_is_raised_to_the_hard_one_and_the_old_one_is_told",
            As::Nobody,
            || {
                setrlimit(Resource::RLIMIT_NOFILE, 100, 200).unwrap();
                assert_eq!(raise_open_files().unwrap(), Limit { soft: 100, hard: 200 });
                assert_eq!(open_files().unwrap(), Limit { soft: 200, hard: 200 });
            },
        );
    }
}
