//! A command line split into words the way a shell quotes them, without a shell.
//!
//! Whatever only a shell could do (pipes, redirections, variables, patterns) is refused and named, so that
//! nobody finds a literal `&&` among a program's arguments.

/// The longest word: what execve(2) takes (`MAX_ARG_STRLEN`).
pub(super) const MAX_WORD_BYTES: usize = 131_071;

/// Why a command line is no list of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WordsError {
    /// A quote is not closed.
    OpenQuote(char),
    /// The text ends with a backslash.
    LoneBackslash,
    /// This part needs a shell.
    Shell(String),
    /// `NAME=value` before the command.
    Assignment(String),
}

impl WordsError {
    /// What is wrong.
    pub(super) fn message(&self) -> String {
        match self {
            Self::OpenQuote(quote) => format!("the quote {quote} is not closed"),
            Self::LoneBackslash => "nothing follows the last backslash".to_owned(),
            Self::Shell(part) => format!("no shell is run, and `{part}` needs one"),
            Self::Assignment(name) => format!("no shell is run, and `{name}=` needs one"),
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::OpenQuote(_) | Self::LoneBackslash => {
                "an array needs no quoting: [\"prog\", \"an argument\"]".to_owned()
            }
            Self::Shell(part) if part == "&&" || part == ";" => {
                "a working directory is `directory`; for more, use [\"sh\", \"-c\", \"… && exec …\"]"
                    .to_owned()
            }
            Self::Shell(part) if part.starts_with('$') => {
                "write the value, put it in single quotes if it is meant as it stands, or use \
                 [\"sh\", \"-c\", \"exec …\"]"
                    .to_owned()
            }
            Self::Shell(_) => {
                "put it in quotes if it is meant as it stands, or use [\"sh\", \"-c\", \"exec …\"]".to_owned()
            }
            Self::Assignment(name) => format!("set {name} in [env]"),
        }
    }
}

/// Splits `line`.
pub(super) fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(WordsError::OpenQuote('\'')),
                    }
                }
            }
            '"' => quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(WordsError::LoneBackslash),
            },
            '&' | '|' | ';' | '<' | '>' | '(' | ')' | '`' | '*' | '?' => {
                let doubled = matches!(c, '&' | '|' | '<' | '>') && rest.peek() == Some(&c);
                return Err(WordsError::Shell(c.to_string().repeat(1 + usize::from(doubled))));
            }
            '~' if word.is_none() => return Err(WordsError::Shell("~".to_owned())),
            '#' if word.is_none() => return Err(WordsError::Shell("#".to_owned())),
            '$' => return Err(variable(rest)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first().and_then(|first| first.split_once('=')) {
        Some((name, _)) if is_variable_name(name) => Err(WordsError::Assignment(name.to_owned())),
        _ => Ok(words),
    }
}

/// Reads up to the closing double quote.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) -> Result<(), WordsError> {
    loop {
        match rest.next() {
            Some('"') => return Ok(()),
            Some('\\') => match rest.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some('\n') => {}
                Some(c) => word.extend(['\\', c]),
                None => return Err(WordsError::OpenQuote('"')),
            },
            Some('$') => return Err(variable(rest.clone())),
            Some('`') => return Err(WordsError::Shell("`".to_owned())),
            Some(c) => word.push(c),
            None => return Err(WordsError::OpenQuote('"')),
        }
    }
}

/// Names the variable that begins after a `$`.
fn variable(rest: std::iter::Peekable<std::str::Chars<'_>>) -> WordsError {
    let name: String =
        rest.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '{' | '}' | '(')).collect();
    WordsError::Shell(format!("${name}"))
}

/// Whether `name` can name an environment variable (systemd.exec(5), `Environment=`).
pub(super) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_quotes() {
        for (line, words) in [
            ("node server.js", vec!["node", "server.js"]),
            ("  a   b\t c ", vec!["a", "b", "c"]),
            (r#"a 'b c' "d e" f\ g"#, vec!["a", "b c", "d e", "f g"]),
            (r#"a "" ''"#, vec!["a", "", ""]),
            (r#"a "\"\\\$x" '$HOME|*'"#, vec!["a", "\"\\$x", "$HOME|*"]),
            ("a --x=1 y#z", vec!["a", "--x=1", "y#z"]),
            ("", vec![]),
        ] {
            assert_eq!(split(line), Ok(words.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_named() {
        for (line, part) in [
            ("a | b", "|"),
            ("cd /x && a", "&&"),
            ("a > log", ">"),
            ("a 2>>log", ">>"),
            ("a; b", ";"),
            ("a $HOME", "$HOME"),
            ("a \"${PORT}\"", "${PORT}"),
            ("a `b`", "`"),
            ("a *.js", "*"),
            ("~/bin/a", "~"),
        ] {
            assert_eq!(split(line), Err(WordsError::Shell(part.to_owned())), "{line}");
        }
        assert_eq!(split("PORT=1 node x"), Err(WordsError::Assignment("PORT".to_owned())));
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert_eq!(split("a 'b"), Err(WordsError::OpenQuote('\'')));
        assert_eq!(split("a \"b\\"), Err(WordsError::OpenQuote('"')));
        assert_eq!(split("a \\"), Err(WordsError::LoneBackslash));
    }
}
