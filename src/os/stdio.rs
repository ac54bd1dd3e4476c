//! Whether this program was given a standard output. Where it was not, the standard library opens /dev/null in its
//! place before `main`, and what is written there looks as if somebody could have read it.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Standard output was closed when the program was started.
#[must_use]
pub fn output_was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

extern "C" fn look() {
    // SAFETY: no memory is involved.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    WAS_CLOSED.store(flags == -1, Ordering::Relaxed);
}

/// The one moment before the standard library's own: functions in this section are called before `main` (System V
/// ABI, "Initialization and Termination Functions").
// SAFETY: the section holds pointers to functions, as this is one; it may be called with any arguments, neither
// allocates nor panics, and asks nothing of the standard library, which is not set up by then.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;
