//! `ganger init`: a configuration to begin with.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::grammar::FlagId;

/// Prints it, or writes it to a new file.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let typed = &context.typed;
    let command: Option<Vec<String>> = typed
        .trailing
        .as_ref()
        .map(|words| words.iter().map(|word| word.to_string_lossy().into_owned()).collect());
    let text = configuration(
        command.as_deref().unwrap_or_default(),
        &typed.texts(FlagId::Listen)?,
        typed.text(FlagId::Workers)?.as_deref(),
    );
    let Some(file) = typed.operands.first() else {
        context.out.text(&text);
        return Ok(Exit::Done);
    };
    let shown = file.to_string_lossy();
    let written = OpenOptions::new().write(true).create_new(true).open(file);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let message = format!("cannot write {shown}: {error}");
        let denied = error.kind() == ErrorKind::PermissionDenied;
        Failure::new(if denied { Exit::NotPermitted } else { Exit::Failed }, message)
    })?;
    context.out.line(&format!("wrote {shown}; next: ganger check {shown}"));
    Ok(Exit::Done)
}

fn configuration(command: &[String], listen: &[String], workers: Option<&str>) -> String {
    let default_command = ["node".to_owned(), "server.js".to_owned()];
    let default_listen = ["3000".to_owned()];
    let command = if command.is_empty() { &default_command } else { command };
    let listen = if listen.is_empty() { &default_listen } else { listen };
    let workers = match workers {
        Some(number) if number.parse::<u32>().is_ok() => number.to_owned(),
        Some(words) => quoted(words),
        None => quoted("max"),
    };
    let mut text = String::new();
    let _ = write!(
        text,
        "# One app: so many workers of one command behind the same sockets. See ganger.toml(5).\n\
         \n\
         command = {}\n\
         # directory = \"/srv/app/current\"\n\
         # user = \"app\"\n\
         listen = {}\n\
         workers = {workers}             # a number, \"max\", \"max-1\" or \"50%\"\n\
         \n\
         # [env]\n\
         # NODE_ENV = \"production\"\n\
         \n\
         # [ready]\n\
         # when = \"auto\"               # which sign makes a worker ready\n\
         # timeout = \"30s\"\n\
         \n\
         # [stop]\n\
         # timeout = \"30s\"             # how long a worker may finish its requests\n",
        list(command),
        list(listen),
    );
    text
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_comes_back_out_of_the_file() {
        let command = ["sh".to_owned(), "-c".to_owned(), "echo \"a\\b\"\t\u{1}".to_owned()];
        let listen = ["[::]:80".to_owned()];
        let parsed: toml::Table = configuration(&command, &listen, Some("2")).parse().unwrap();
        let words: Vec<&str> =
            parsed["command"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
        assert_eq!(words, command);
        assert_eq!(parsed["listen"].as_array().unwrap().len(), 1);
        assert_eq!(parsed["workers"].as_integer(), Some(2));
    }

    #[test]
    fn without_any_word_it_is_an_example() {
        let text = configuration(&[], &[], None);
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed["workers"].as_str(), Some("max"));
    }
}
