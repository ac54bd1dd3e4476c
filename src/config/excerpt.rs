//! The line of a file that a message points at: clipped, made safe for a terminal, and without secrets.

use super::source::Source;

/// So many characters of a line are shown.
const MAX_WIDTH: usize = 100;

/// Characters kept before the caret when a line is clipped.
const LEAD: usize = 30;

/// A place in a file, and its line where that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// `None`: the line may hold a secret.
    pub(super) text: Option<String>,
    /// Columns before the caret.
    pub(super) caret: usize,
    /// Columns under which the caret stands.
    pub(super) width: usize,
}

impl Excerpt {
    /// The line of `source` with byte `start`; the caret goes to `end` at most.
    pub(super) fn new(source: &Source, start: usize, end: usize, hide: Hide) -> Self {
        let text = source.text.as_str();
        let start = floor(text, start);
        let end = floor(text, end).max(start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let line_end = line_start + line.len();
        let column = text.get(line_start..start).unwrap_or_default().chars().count();
        let marked = text.get(start..end.min(line_end)).unwrap_or_default();
        let here = source.secrets.iter().filter(|s| s.start < line_end && s.end > line_start);
        let secret = here.map(|s| s.start).min();
        let quote = line.find(['"', '\'']).map(|quote| line_start + quote + 1);
        let (hidden, cut) = match hide {
            Hide::Marked => (secret.is_some_and(|secret| secret < end.max(start + 1)), secret),
            Hide::Quoted => (false, quote),
            Hide::Line => (true, None),
        };
        let shown = cut.and_then(|cut| text.get(line_start..cut)).unwrap_or(line);
        let (text, caret, width) = window(shown, cut.is_some(), column, marked);
        Self {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: column + 1,
            text: (!hidden).then_some(text),
            caret,
            width,
        }
    }
}

/// How much of a line may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hide {
    /// Everything before the secrets that the source has marked.
    Marked,
    /// Nothing after the first quote: in text that could not be parsed, nobody knows what a string is.
    Quoted,
    /// Nothing.
    Line,
}

/// The part of `line` around `column`; `cut` says that more follows. Returns it with the caret's place and
/// width.
fn window(line: &str, cut: bool, column: usize, marked: &str) -> (String, usize, usize) {
    let length = line.chars().count();
    let start = column.min(length);
    let from = if start > MAX_WIDTH - LEAD { start - LEAD } else { 0 };
    let ellipsis = if from > 0 { "…" } else { "" };
    let more = if cut || length > from + MAX_WIDTH { "…" } else { "" };
    let visible: String = line.chars().skip(from).take(MAX_WIDTH).collect();
    let lead: String = line.chars().skip(from).take(start - from).collect();
    let room = (length.min(from + MAX_WIDTH) - start).max(1);
    let text = format!("{ellipsis}{}{more}", clean(&visible)).trim_end().to_owned();
    let width = columns(&marked.chars().take(room).collect::<String>());
    (text, columns(&lead) + usize::from(from > 0), width)
}

/// The nearest character boundary at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Text without control characters, which a terminal would obey: each becomes one column.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if is_unsafe(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Control characters and the marks that reorder text on a screen.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Columns that a terminal needs: two for the wide scripts of East Asia and for pictures.
fn columns(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// Whether text that cannot be parsed may hold a value of an environment variable at byte `at`: an `env`
/// table was begun before it, and no other table since.
pub(super) fn may_be_env(text: &str, at: usize, is_table: impl Fn(&str) -> bool) -> bool {
    let mut env = false;
    let end = floor(text, at);
    let line_end = text.get(end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |more| end + more);
    for line in text.get(..line_end).unwrap_or_default().lines() {
        let line = line.trim();
        let code = line.split('#').next().unwrap_or_default().trim();
        let header = code.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match header {
            Some(name) if is_table(name.trim()) => env = false,
            _ => env |= mentions_env(line),
        }
    }
    env
}

/// `env` as a word of its own, in any notation of a key.
fn mentions_env(line: &str) -> bool {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).any(|word| word == "env")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "x.toml".into(), text: text.to_owned(), secrets: Vec::new() }
    }

    #[test]
    fn a_long_line_is_clipped_around_the_caret() {
        let text = format!("a = \"{}\" # {}", "x".repeat(300), "y".repeat(300));
        let excerpt = Excerpt::new(&source(&text), 280, 290, Hide::Marked);
        let shown = excerpt.text.unwrap();
        assert!(shown.chars().count() <= MAX_WIDTH + 2, "{shown}");
        assert!(shown.starts_with('…') && shown.ends_with('…'));
        assert_eq!((excerpt.caret, excerpt.width), (31, 10));
    }

    #[test]
    fn terminal_escapes_are_not_passed_on() {
        let excerpt = Excerpt::new(&source("a = \"\x1b[31m\u{202e}\""), 0, 1, Hide::Marked);
        assert_eq!(excerpt.text.unwrap(), "a = \"\u{fffd}[31m\u{fffd}\"");
    }

    #[test]
    fn a_line_ends_where_its_secret_begins() {
        let line = "A = \"s3cret\"";
        let marked = Source { secrets: std::iter::once(4..12).collect(), ..source(line) };
        assert_eq!(Excerpt::new(&marked, 0, 1, Hide::Marked).text.unwrap(), "A = …");
        assert_eq!(Excerpt::new(&marked, 4, 12, Hide::Marked).text, None);
        let broken = Excerpt::new(&source(line), 12, 12, Hide::Quoted);
        assert_eq!((broken.text.unwrap().as_str(), broken.caret, broken.column), ("A = \"…", 5, 13));
        assert_eq!(Excerpt::new(&source(line), 0, 1, Hide::Line).text, None);
    }

    #[test]
    fn any_offset_is_a_place() {
        for text in ["", "é", "\r\n", "a\n\n", "日本"] {
            for start in 0..8 {
                let excerpt = Excerpt::new(&source(text), start, start + 3, Hide::Marked);
                assert!(excerpt.line >= 1 && excerpt.column >= 1);
            }
        }
    }

    #[test]
    fn broken_text_below_env_is_taken_for_a_secret() {
        let table = |name: &str| name == "ready";
        for text in ["[env]\nA = \"s", "env.A = \"s", "env = { A = \"s", "[profile.x.env]\nA = [\n[\n"] {
            assert!(may_be_env(text, text.len(), table), "{text:?}");
        }
        for text in ["a = \"s", "[env]\nA = 1\n[ready]\nwhen = \"x", "environment = \"s"] {
            assert!(!may_be_env(text, text.len(), table), "{text:?}");
        }
    }
}
