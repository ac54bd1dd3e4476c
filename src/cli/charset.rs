//! Which characters the reader's terminal knows, and what stands for the signs of ganger's own views where it knows
//! ASCII only. What apps say and what machines read is left as it is.

use std::ffi::OsStr;

/// Standard output and standard error show UTF-8.
pub(crate) fn is_utf8() -> bool {
    let value = |name| std::env::var_os(name);
    is_utf8_in([value("LC_ALL"), value("LC_CTYPE"), value("LANG")].iter().map(Option::as_deref))
}

/// The first that is set counts (locale(7)). Nobody says anything: a program that was started with an empty
/// environment, on a terminal of today.
fn is_utf8_in<'a>(mut locale: impl Iterator<Item = Option<&'a OsStr>>) -> bool {
    locale.find_map(|name| name.filter(|name| !name.is_empty())).is_none_or(|name| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}

/// A text of ours in ASCII, each sign of ours by one of the same width.
pub(crate) fn in_ascii(text: &str) -> String {
    text.chars().map(|sign| substitute(sign).unwrap_or(sign)).collect()
}

/// What fills a cell of a screen: nothing there may be of a width that the terminal does not know.
pub(crate) fn cell_in_ascii(cell: &str) -> String {
    cell.chars()
        .map(|sign| substitute(sign).unwrap_or(sign))
        .map(|sign| if sign.is_ascii() { sign } else { '?' })
        .collect()
}

const fn substitute(sign: char) -> Option<char> {
    Some(match sign {
        '├' | '│' => '|',
        '└' => '`',
        '─' | '–' => '-',
        '…' | '▶' => '>',
        '↑' => '^',
        '↓' => 'v',
        '·' | '▁' | '▂' => '.',
        '▃' | '▄' => ':',
        '▅' | '▆' => '|',
        '▇' | '█' => '#',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_locale() {
        for (all, ctype, lang, utf8) in [
            (None, None, None, true),
            (None, None, Some("de_DE.UTF-8"), true),
            (None, None, Some("C"), false),
            (None, Some("C.utf8"), Some("C"), true),
            (Some("C"), Some("C.UTF-8"), Some("C.UTF-8"), false),
            (Some(""), None, Some("en_US.ISO-8859-1"), false),
        ] {
            let locale: [Option<&str>; 3] = [all, ctype, lang];
            assert_eq!(is_utf8_in(locale.iter().map(|name| name.map(OsStr::new))), utf8, "{locale:?}");
        }
    }

    #[test]
    fn signs_of_ours_have_a_substitute_of_the_same_width_and_those_of_others_stay() {
        let text = "├─ 1  draining  – é\n└─ worker 2 started … ready";
        assert_eq!(in_ascii(text), "|- 1  draining  - é\n`- worker 2 started > ready");
        assert_eq!(cell_in_ascii("▁"), ".");
        assert_eq!(cell_in_ascii("é"), "?");
    }
}
