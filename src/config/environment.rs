//! Environment variables: `[env]` tables, and files in the format of `EnvironmentFile=` (systemd.exec(5)).
//!
//! No message here holds a value.

use std::path::Path;

use super::diagnostic::{At, Complaint};
use super::value::{Value, What};
use super::words::{MAX_WORD_BYTES, is_variable_name};

/// The most variables of one app.
pub(super) const MAX_VARIABLES: usize = 10_000;

/// A setting of the drain preload's, and so the user's: how long an idle connection has for one more request, in
/// milliseconds.
const IDLE_GRACE: &str = "GANGER_IDLE_GRACE_MS";
/// The longest such time.
const MAX_IDLE_GRACE_MS: u32 = 60_000;

/// Variables by which a service manager or ganger speaks to one process: each worker gets its own.
pub(super) fn is_gangers(name: &str) -> bool {
    matches!(
        name,
        "LISTEN_FDS"
            | "LISTEN_PID"
            | "LISTEN_FDNAMES"
            | "NOTIFY_SOCKET"
            | "WATCHDOG_PID"
            | "WATCHDOG_USEC"
            | "FDSTORE"
            | "NODE_CHANNEL_FD"
            | "NODE_CHANNEL_SERIALIZATION_MODE"
            | "NODE_UNIQUE_ID"
            | "JOURNAL_STREAM"
    ) || name.starts_with("GANGER_")
}

/// What is wrong with the name of a variable.
fn name_fault(at: At, what: &str, name: &str) -> Option<Complaint> {
    if is_gangers(name) && name != IDLE_GRACE {
        let complaint =
            Complaint::error(at, format!("{what} sets `{name}`, which ganger sets for each worker"));
        return Some(complaint.hint("leave it out"));
    }
    if is_variable_name(name) {
        return None;
    }
    let complaint = Complaint::error(at, format!("{what}: `{name}` cannot name a variable"));
    let complaint = complaint.expected("letters, digits and _, and no digit first");
    Some(match name.strip_prefix("export ") {
        Some(_) => complaint.hint("no shell reads this file: leave `export` out"),
        None => complaint,
    })
}

/// What is wrong with the value of a variable that ganger's own preload reads.
fn value_fault(at: At, what: &str, name: &str, value: &str) -> Option<Complaint> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_good = is_number && value.parse().is_ok_and(|number: u32| number <= MAX_IDLE_GRACE_MS);
    (name == IDLE_GRACE && !is_good).then(|| {
        let complaint = Complaint::error(at, format!("{what}: `{name}` is no time that it can be"));
        complaint.expected("whole milliseconds, 0 to 60000")
    })
}

/// The value of `name` in an `[env]` table.
pub(super) fn table_value(name: &str, name_at: &At, value: &Value) -> Result<String, Box<Complaint>> {
    if let Some(fault) = name_fault(name_at.clone(), "[env]", name) {
        return Err(Box::new(fault));
    }
    let wrong = |what: &str| {
        let complaint = Complaint::error(name_at.clone(), format!("`env.{name}` {what}"));
        Box::new(complaint.expected("a string"))
    };
    let text = match &value.what {
        What::Text(text) => text.clone(),
        What::Integer(Some(number)) => number.to_string(),
        What::Flag(flag) => flag.to_string(),
        What::Integer(None) | What::Float(_) | What::Moment => {
            return Err(Box::new(wrong(&format!("is {}", value.kind())).hint("put it in quotes")));
        }
        What::List(_) | What::Table(_) => return Err(wrong(&format!("is {}", value.kind()))),
    };
    if text.contains('\0') {
        return Err(wrong("holds a NUL character"));
    }
    if text.len() > MAX_WORD_BYTES - name.len() - 1 {
        return Err(wrong("is longer than 128 KiB"));
    }
    match value_fault(name_at.clone(), "[env]", name, &text) {
        Some(fault) => Err(Box::new(fault)),
        None => Ok(text),
    }
}

/// Reads the text of an environment file: assignments in their order, and all faults.
pub(super) fn read_file(path: &Path, text: &str) -> (Vec<(String, String)>, Vec<Complaint>) {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1 };
    let (mut variables, mut faults) = (Vec::new(), Vec::new());
    while reader.skip_to_assignment() {
        let at = At::Path(path.to_owned(), Some(reader.line));
        let name = reader.name();
        let Some(name) = name else {
            faults.push(
                Complaint::error(at, "a line is no assignment").expected("NAME=value, or # and a comment"),
            );
            reader.skip_line();
            continue;
        };
        let value = reader.value();
        if let Some(fault) = name_fault(at.clone(), "the file", &name) {
            faults.push(fault);
            continue;
        }
        match value {
            Ok(value) if value.contains('\0') || value.len() > MAX_WORD_BYTES - name.len() - 1 => {
                faults.push(Complaint::error(
                    at,
                    format!("the value of `{name}` holds a NUL character or is longer than 128 KiB"),
                ));
            }
            Ok(value) => match value_fault(at, "the file", &name, &value) {
                Some(fault) => faults.push(fault),
                None => variables.push((name, value)),
            },
            Err(quote) => {
                faults.push(Complaint::error(at, format!("the quote {quote} of `{name}` is not closed")));
            }
        }
        if variables.len() > MAX_VARIABLES || faults.len() > MAX_VARIABLES {
            faults.push(Complaint::error(At::Path(path.to_owned(), None), "more than 10000 variables"));
            break;
        }
    }
    (variables, faults)
}

/// A cursor that counts lines.
struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|c| c != '\n') {}
    }

    /// Skips blank lines and comments; false at the end.
    fn skip_to_assignment(&mut self) -> bool {
        loop {
            match self.rest.peek() {
                None => return false,
                Some(c) if c.is_whitespace() => {
                    self.next();
                }
                Some('#' | ';') => self.skip_comment(),
                Some(_) => return true,
            }
        }
    }

    /// A comment goes on in the next line after a backslash, as systemd has it.
    fn skip_comment(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    self.next();
                }
                '\n' => return,
                _ => {}
            }
        }
    }

    /// The text before `=`; `None` when the line has none.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            match self.rest.peek() {
                None | Some('\n') => return None,
                Some('=') => {
                    self.next();
                    return Some(name.trim_end().to_owned());
                }
                Some(_) => name.extend(self.next()),
            }
        }
    }

    /// The value up to the end of its line; the error is the quote that is not closed.
    fn value(&mut self) -> Result<String, char> {
        let mut value = String::new();
        // Blanks at the end count only when something was quoted or escaped after them.
        let mut keep = 0;
        while self.rest.peek().is_some_and(|c| matches!(c, ' ' | '\t')) {
            self.next();
        }
        while let Some(c) = self.next() {
            match c {
                '\n' => break,
                '\'' | '"' => {
                    self.quoted(c, &mut value)?;
                    keep = value.len();
                }
                '\\' => {
                    match self.next() {
                        None => break,
                        Some('\n') => {}
                        Some(c) => value.push(c),
                    }
                    keep = value.len();
                }
                c => {
                    value.push(c);
                    if !matches!(c, ' ' | '\t' | '\r') {
                        keep = value.len();
                    }
                }
            }
        }
        value.truncate(keep);
        Ok(value)
    }

    fn quoted(&mut self, quote: char, value: &mut String) -> Result<(), char> {
        loop {
            match self.next().ok_or(quote)? {
                c if c == quote => return Ok(()),
                '\\' if quote == '"' => match self.next().ok_or(quote)? {
                    '\n' => {}
                    c @ ('"' | '\\' | '`' | '$') => value.push(c),
                    c => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Vec<(String, String)> {
        let (variables, faults) = read_file(Path::new("x.env"), text);
        assert!(faults.is_empty(), "{text:?}: {faults:?}");
        variables
    }

    #[test]
    fn assignments_are_read_as_systemd_reads_them() {
        for (text, name, value) in [
            ("A=b", "A", "b"),
            ("  A = b c  \n", "A", "b c"),
            ("A='b c ' # no comment", "A", "b c  # no comment"),
            ("A=\"x\\\"y\\n\"", "A", "x\"y\\n"),
            ("A='x\ny'", "A", "x\ny"),
            ("A=x\\\ny", "A", "xy"),
            ("A=x\\ ", "A", "x "),
            ("A=", "A", ""),
            ("A=b\r\n", "A", "b"),
            ("# c \\\nstill\n; c\nA=1", "A", "1"),
            ("A=x$HOME", "A", "x$HOME"),
        ] {
            assert_eq!(good(text), [(name.to_owned(), value.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn the_grace_of_idle_connections_is_the_users_in_whole_milliseconds_up_to_a_minute() {
        for value in ["0", "3000", "60000"] {
            let text = format!("GANGER_IDLE_GRACE_MS={value}");
            assert_eq!(good(&text), [("GANGER_IDLE_GRACE_MS".to_owned(), value.to_owned())]);
        }
        for value in ["", "60001", "-1", "+1", "1.5", "1s", "99999999999"] {
            let (variables, faults) =
                read_file(Path::new("x.env"), &format!("GANGER_IDLE_GRACE_MS={value}\nA=1"));
            assert_eq!(variables, [("A".to_owned(), "1".to_owned())], "{value}");
            assert_eq!(faults.len(), 1, "{value}: {faults:?}");
        }
    }

    #[test]
    fn every_fault_is_named_by_its_line_and_without_the_value() {
        let (variables, faults) = read_file(
            Path::new("x.env"),
            "A=1\nnonsense-s3cret\n1B=s3cret\nexport C=s3cret\nNOTIFY_SOCKET=s3cret\nD='s3cret\n",
        );
        assert_eq!(variables, [("A".to_owned(), "1".to_owned())]);
        let lines: Vec<_> = faults
            .iter()
            .map(|fault| match &fault.at {
                At::Path(_, Some(line)) => *line,
                at @ (At::Path(_, None) | At::Default | At::Flag(_) | At::Span { .. }) => panic!("{at:?}"),
            })
            .collect();
        assert_eq!(lines, [2, 3, 4, 5, 6]);
        assert!(!format!("{faults:?}").contains("s3cret"), "{faults:?}");
    }
}
