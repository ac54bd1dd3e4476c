//! The datagrams of sd_notify(3): what one says ([`read`]) and how one is written ([`write()`]).
//!
//! Two directions use the grammar: workers tell ganger, and ganger tells the service manager. A worker's
//! datagram is never passed on; what goes upwards is always built here, from values. Who sent a datagram,
//! and whether the sender may say so, is not decided here.

mod read;
mod write;

pub use read::{Declined, Fact, Reading, Refusal, read};
pub use write::{Assignment, write};

/// The longest datagram that is read, in bytes. systemd itself takes a page (4096); a larger one is refused
/// whole, because what was cut off could have changed its meaning.
pub const MAX_DATAGRAM_BYTES: usize = 64 * 1024;

/// The longest datagram that is written, in bytes: what PID 1 takes (`PIPE_BUF`).
pub const MAX_UPWARD_BYTES: usize = 4096;

/// The longest `STATUS=` that is kept or written, in characters; a longer one ends in `…`.
pub const MAX_STATUS_CHARS: usize = 200;

/// One line of harmless text: control and direction-changing characters become spaces, runs of white space
/// become one, and what exceeds [`MAX_STATUS_CHARS`] is cut off with `…`.
///
/// A status is shown in terminals, in the journal and by `systemctl status`: it must not move a cursor,
/// forge a line, or hide what stands beside it.
#[must_use]
pub fn status_text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(4 * MAX_STATUS_CHARS));
    let mut chars = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || hides_or_moves(c) {
            gap = chars > 0;
            continue;
        }
        let wanted = if gap { 2 } else { 1 };
        if chars + wanted >= MAX_STATUS_CHARS {
            clean.push('…');
            break;
        }
        if gap {
            clean.push(' ');
            gap = false;
        }
        clean.push(c);
        chars += wanted;
    }
    clean
}

/// Control characters, and those of Unicode that reorder or hide text around them.
fn hides_or_moves(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_cannot_move_the_cursor_or_forge_a_line() {
        assert_eq!(status_text("\x1b[2Jall\tfine\r\nREADY=1 \u{202e}x\u{7f}"), "[2Jall fine READY=1 x");
        assert_eq!(status_text(" \n "), "");
    }

    #[test]
    fn a_long_status_is_cut_with_an_ellipsis() {
        let long = status_text(&"ü".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_STATUS_CHARS);
        assert!(long.ends_with("ü…"));
        let words = status_text(&"ab ".repeat(10_000));
        assert!(words.chars().count() <= MAX_STATUS_CHARS && words.ends_with('…'));
    }

    #[test]
    fn what_is_written_is_read_as_the_same_facts() {
        let text = write(&[
            Assignment::Ready,
            Assignment::Status("4/4 ready\nSTOPPING=1"),
            Assignment::MainPid(42),
            Assignment::Errno(98),
        ]);
        let reading = read(text.as_bytes()).unwrap();
        assert_eq!(
            reading.facts,
            [
                Fact::Ready,
                Fact::Status("4/4 ready STOPPING=1".to_owned()),
                Fact::MainPid(42),
                Fact::Errno(98)
            ]
        );
        assert_eq!((reading.unknown, reading.malformed, reading.repeated), (0, 0, 0));
    }
}
