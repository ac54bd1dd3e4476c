//! The last command of a shell's text, when it is plain which one that is. It knows words, quotes and what
//! separates commands; it expands nothing.

use std::mem;

/// Ends of a text that say nothing of what serves.
const CODAS: [&str; 3] = ["exit", "true", ":"];

/// The words of the command that `text` ends with; `None` when another one may be there in its place: in the
/// background, behind `exec`, or as the other end of a pipe.
pub(super) fn last_command(text: &str) -> Option<Vec<String>> {
    let mut reader = Reader::default();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => reader.word.get_or_insert_default().extend(letters.by_ref().take_while(|it| *it != '\'')),
            '"' => reader.double_quoted(&mut letters)?,
            '\\' => {
                if let Some(next) = letters.next().filter(|next| *next != '\n') {
                    reader.word.get_or_insert_default().push(next);
                }
            }
            '#' if reader.word.is_none() => while letters.next_if(|next| *next != '\n').is_some() {},
            ' ' | '\t' | '\r' => reader.end_word(),
            '\n' | ';' => reader.end_command(),
            '&' if letters.next_if_eq(&'&').is_some() => reader.end_command(),
            '>' => {
                // `2>&1`
                let _ = letters.next_if_eq(&'&');
                reader.word.get_or_insert_default().push(letter);
            }
            // A here-document, a background command.
            '<' if letters.peek() == Some(&'<') => return None,
            '&' => return None,
            '|' | '(' | ')' | '`' => {
                reader.is_unclear = true;
                reader.word.get_or_insert_default().push(letter);
            }
            letter => reader.word.get_or_insert_default().push(letter),
        }
    }
    reader.end_command();
    reader.last()
}

/// The commands so far, and the one that is being read.
#[derive(Debug, Default)]
struct Reader {
    commands: Vec<Command>,
    words: Vec<String>,
    word: Option<String>,
    is_unclear: bool,
}

#[derive(Debug)]
struct Command {
    words: Vec<String>,
    is_unclear: bool,
}

impl Reader {
    fn double_quoted(&mut self, letters: &mut impl Iterator<Item = char>) -> Option<()> {
        let word = self.word.get_or_insert_default();
        loop {
            match letters.next()? {
                '"' => return Some(()),
                '\\' => word.extend(letters.next()),
                letter => word.push(letter),
            }
        }
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        let (words, is_unclear) = (mem::take(&mut self.words), mem::take(&mut self.is_unclear));
        if !words.is_empty() {
            self.commands.push(Command { words, is_unclear });
        }
    }

    fn last(mut self) -> Option<Vec<String>> {
        let is_coda =
            |command: &Command| command.words.first().is_some_and(|it| CODAS.contains(&it.as_str()));
        while self.commands.last().is_some_and(is_coda) {
            self.commands.pop();
        }
        let last = self.commands.pop().filter(|last| !last.is_unclear)?;
        if self.commands.iter().any(|earlier| earlier.words.iter().any(|word| word == "exec")) {
            return None;
        }
        let mut words = last.words.into_iter().skip_while(|word| is_assignment(word)).peekable();
        let _ = words.next_if(|word| word == "exec");
        Some(words.collect())
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| super::words::is_variable_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_is_found_behind_assignments_comments_and_other_commands() {
        for (text, command) in [
            ("node a.js", "node a.js"),
            ("exec node a.js", "node a.js"),
            ("A=1 B='x; y' exec node a.js \"$@\"", "node a.js $@"),
            ("cd /srv && node 'a b.js'", "node a b.js"),
            ("# node b.js\nnode a.js # it; really\n\n", "node a.js"),
            ("X=$(date | cut -c1)\nnode a.js > log 2>&1", "node a.js > log 2>1"),
            ("node a.js; exit $?", "node a.js"),
            ("node \\\n  a.js", "node a.js"),
            ("if true; then node a.js; fi", "fi"),
            ("f() { node a.js; }", "}"),
        ] {
            assert_eq!(last_command(text).map(|words| words.join(" ")).as_deref(), Some(command), "{text}");
        }
    }

    #[test]
    fn where_another_command_may_be_the_server_there_is_no_last_one() {
        for text in [
            "",
            "python3 a.py & node b.js",
            "node a.js | cat",
            "node a.js || exit 1",
            "(node a.js)",
            "cat <<END\nEND\nnode a.js",
            "test -e x && exec python3 a.py\nnode a.js",
            "echo \"no end\nnode a.js",
        ] {
            assert_eq!(last_command(text), None, "{text}");
        }
    }
}
