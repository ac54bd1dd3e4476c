//! Help texts, made from the table of flags.

use super::exit::Exit;
use super::flags::BEFORE_VERB;
use super::grammar::{Flag, Verb};
use super::print::{Look, Style};

/// Longer lines are hard to read, however wide the terminal.
const MAX_WIDTH: usize = 100;
/// Where the meanings of flags begin: behind the longest flag.
const FLAG_INDENT: usize = 28;
/// Where the meanings of verbs and exit codes begin.
const WORD_INDENT: usize = 15;

/// What `ganger --help` shows.
pub(crate) fn overview(look: Look) -> String {
    let mut page = Page::new(look);
    page.heading("Usage:");
    page.line("  ganger [OPTIONS] VERB ...");
    page.blank();
    page.paragraph("Runs N copies of a server on one inherited socket, and replaces them one by one.");
    page.blank();
    page.heading("Verbs:");
    for verb in Verb::visible() {
        page.entry(verb.name, verb.summary, WORD_INDENT);
    }
    page.blank();
    page.flags("Options:", BEFORE_VERB.iter().copied());
    page.blank();
    page.exits();
    page.blank();
    page.paragraph("ganger help VERB tells more about a verb; the manual is ganger(1).");
    page.text
}

/// What `ganger VERB --help` shows.
pub(crate) fn of_verb(verb: &Verb, look: Look) -> String {
    let mut page = Page::new(look);
    page.heading("Usage:");
    page.line(&format!("  {}", verb.synopsis()));
    page.blank();
    page.paragraph(&format!("{}.", verb.summary));
    for paragraph in verb.about {
        page.blank();
        page.paragraph(paragraph);
    }
    if let Some(alias) = verb.alias {
        page.blank();
        page.paragraph(&format!("ganger {alias} is the same."));
    }
    page.blank();
    page.flags("Options:", verb.all_flags());
    page.text
}

struct Page {
    text: String,
    color: bool,
    width: usize,
}

impl Page {
    fn new(look: Look) -> Self {
        Self { text: String::new(), color: look.color, width: look.width.unwrap_or(80).min(MAX_WIDTH) }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        let painted = Style::Heading.paint(heading, self.color);
        self.line(&painted);
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrap(text, self.width) {
            self.line(&line);
        }
    }

    /// A term, and what it means beside it, or below it where the term is too long.
    fn entry(&mut self, term: &str, meaning: &str, indent: usize) {
        let room = self.width.saturating_sub(indent).max(20);
        let mut lines = wrap(meaning, room).into_iter();
        let painted = Style::Good.paint(term, self.color);
        let used = 2 + term.chars().count();
        if used + 2 <= indent {
            let first = lines.next().unwrap_or_default();
            self.line(&format!("  {painted}{}{first}", " ".repeat(indent - used)));
        } else {
            self.line(&format!("  {painted}"));
        }
        for line in lines {
            self.line(&format!("{}{line}", " ".repeat(indent)));
        }
    }

    fn flags(&mut self, heading: &str, flags: impl Iterator<Item = &'static Flag>) {
        self.heading(heading);
        for flag in flags {
            self.entry(&flag.synopsis(), flag.help, FLAG_INDENT);
        }
    }

    fn exits(&mut self) {
        self.heading("Exit codes:");
        for exit in Exit::ALL {
            self.entry(&exit.code().to_string(), exit.meaning(), WORD_INDENT);
        }
    }
}

/// Breaks a text at blanks. A word that is longer than a line stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_help_is_wider_than_the_terminal() {
        let look = Look { color: false, width: Some(80) };
        let pages = Verb::visible().map(|verb| of_verb(verb, look)).chain([overview(look)]);
        for page in pages {
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        }
    }

    #[test]
    fn the_help_of_the_program_and_of_a_verb() {
        let look = Look { color: false, width: Some(80) };
        crate::cli::golden::compare("help.txt", &overview(look));
        crate::cli::golden::compare("help-reload.txt", &of_verb(Verb::named("reload").unwrap(), look));
        crate::cli::golden::compare("help-run.txt", &of_verb(Verb::named("run").unwrap(), look));
    }

    #[test]
    fn every_flag_and_verb_is_in_the_help() {
        let overview = overview(Look::PLAIN);
        for verb in Verb::visible() {
            assert!(overview.contains(&format!("\n  {} ", verb.name)), "{}", verb.name);
            let page = of_verb(verb, Look::PLAIN);
            assert!(verb.all_flags().all(|flag| page.contains(&format!("--{}", flag.long))), "{page}");
        }
    }
}
