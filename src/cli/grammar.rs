//! What a command line is made of: verbs, operands, flags and their values. Which ones there are is said in
//! [`super::flags`].

use super::flags::{EVERYWHERE, VERBS};

/// What a value can be completed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complete {
    /// Nothing is known about it.
    Nothing,
    /// An app.
    App,
    /// An app, or an app and one of its slots.
    AppSlot,
    /// An app or a file.
    AppOrFile,
    /// A file.
    File,
    /// A verb.
    Verb,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// A flag's name inside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FlagId {
    Help,
    Version,
    Color,
    User,
    Host,
    Json,
    Name,
    Listen,
    Workers,
    Ready,
    Profile,
    Print,
    Wait,
    NoWait,
    Timeout,
    Follow,
    Lines,
    Since,
    Until,
    Now,
}

/// The value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    /// What it is called in help.
    pub(crate) name: &'static str,
    /// What it can be.
    pub(crate) complete: Complete,
}

/// One flag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// Its name inside the program.
    pub(crate) id: FlagId,
    /// `-x`.
    pub(crate) short: Option<char>,
    /// `--long`, without the dashes.
    pub(crate) long: &'static str,
    /// Its value, if it takes one.
    pub(crate) value: Option<Value>,
    /// It may be given more than once, and every time counts.
    pub(crate) many: bool,
    /// One line for help.
    pub(crate) help: &'static str,
}

impl Flag {
    pub(crate) const fn switch(
        id: FlagId,
        short: Option<char>,
        long: &'static str,
        help: &'static str,
    ) -> Self {
        Self { id, short, long, value: None, many: false, help }
    }

    pub(crate) const fn valued(
        id: FlagId,
        short: Option<char>,
        long: &'static str,
        name: &'static str,
        complete: Complete,
        help: &'static str,
    ) -> Self {
        Self { id, short, long, value: Some(Value { name, complete }), many: false, help }
    }

    /// `-w, --workers N`.
    pub(crate) fn synopsis(&self) -> String {
        let short = self.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let value = self.value.map_or_else(String::new, |value| format!(" {}", value.name));
        format!("{short}--{}{value}", self.long)
    }
}

/// One operand: a word without dashes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    /// What it is called in help.
    pub(crate) name: &'static str,
    /// It must be there.
    pub(crate) required: bool,
    /// There may be several of it.
    pub(crate) many: bool,
    /// What it can be.
    pub(crate) complete: Complete,
}

impl Operand {
    pub(crate) const fn one(name: &'static str, complete: Complete) -> Self {
        Self { name, required: true, many: false, complete }
    }

    pub(crate) const fn maybe(name: &'static str, complete: Complete) -> Self {
        Self { name, required: false, many: false, complete }
    }

    pub(crate) const fn several(name: &'static str, complete: Complete) -> Self {
        Self { name, required: true, many: true, complete }
    }
}

/// A verb's name inside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VerbId {
    Run,
    List,
    Status,
    Top,
    Logs,
    Events,
    Start,
    Stop,
    Enable,
    Disable,
    Reload,
    Restart,
    Scale,
    Signal,
    Send,
    Reset,
    Check,
    Init,
    Completions,
    Complete,
    Help,
    Version,
}

/// One verb.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verb {
    /// Its name inside the program.
    pub(crate) id: VerbId,
    /// The word.
    pub(crate) name: &'static str,
    /// Another word for it.
    pub(crate) alias: Option<&'static str>,
    /// Not shown to people.
    pub(crate) hidden: bool,
    /// Its operands, in order.
    pub(crate) operands: &'static [Operand],
    /// What stands behind `--`, if anything may.
    pub(crate) trailing: Option<&'static str>,
    /// Its flags, besides [`EVERYWHERE`].
    pub(crate) flags: &'static [&'static Flag],
    /// One line: what it does.
    pub(crate) summary: &'static str,
    /// What else a person should know, in paragraphs.
    pub(crate) about: &'static [&'static str],
}

impl Verb {
    /// A verb without operands or flags.
    pub(crate) const fn plain(id: VerbId, name: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            name,
            alias: None,
            hidden: false,
            operands: &[],
            trailing: None,
            flags: &[],
            summary,
            about: &[],
        }
    }

    /// The verb with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.name == name || verb.alias == Some(name))
    }

    /// The verbs that people see.
    pub(crate) fn visible() -> impl Iterator<Item = &'static Self> {
        VERBS.iter().filter(|verb| !verb.hidden)
    }

    /// Its own flags, then those of every verb.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().chain(EVERYWHERE).copied()
    }

    /// `ganger scale [OPTIONS] APP N|+N|-N`.
    pub(crate) fn synopsis(&self) -> String {
        let mut line = format!("ganger {} [OPTIONS]", self.name);
        for operand in self.operands {
            let dots = if operand.many { "..." } else { "" };
            line.push_str(&if operand.required {
                format!(" {}{dots}", operand.name)
            } else {
                format!(" [{}]{dots}", operand.name)
            });
        }
        if let Some(trailing) = self.trailing {
            line.push_str(&format!(" [-- {trailing}...]"));
        }
        line
    }
}
