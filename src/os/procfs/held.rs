//! Where in the kernel a process sleeps that a signal does not wake.

use std::fs;

use super::{MAX_THREADS, parse_stat, read};

/// A thread of a process that ought to have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its state, a letter of proc(5); `D` sleeps where no signal reaches it.
    pub state: char,
    /// The kernel function that it sleeps in (`wchan`), where that may be known.
    pub function: Option<String>,
}

/// The thread that keeps `pid` from ending: one in state D if there is one, else any that has not ended. `None`:
/// there is none, the process has ended.
#[must_use]
pub fn held(pid: u32) -> Option<Held> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.take(MAX_THREADS).flatten();
    let living = threads.filter_map(|thread| {
        let path = format!("/proc/{pid}/task/{}", thread.file_name().to_str()?);
        let state = parse_stat(&read(&format!("{path}/stat"))?)?.state;
        (state != 'Z' && state != 'X').then_some((state != 'D', state, path))
    });
    let (_, state, path) = living.min()?;
    let function = read(&format!("{path}/wchan")).map(|text| text.trim().to_owned());
    // "0" is what the kernel says of a thread that runs, and to those who may not know.
    Some(Held { state, function: function.filter(|name| !name.is_empty() && name != "0") })
}
