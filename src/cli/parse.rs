//! From words to an invocation: which verb, which flags, which operands.
//!
//! Everything here is what was *typed*; what it means is decided by each verb.

use std::ffi::{OsStr, OsString};

use lexopt::Arg;

use super::exit::Failure;
use super::flags::BEFORE_VERB;
use super::grammar::{Flag, FlagId, Verb};
use super::nearest::nearest;
use super::print::ColorWhen;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Typed {
    /// The verb; `None`: there was none.
    pub(crate) verb: Option<&'static Verb>,
    /// Flags in the order in which they were given; those without a value have an empty one.
    flags: Vec<(FlagId, OsString)>,
    /// Operands in order.
    pub(crate) operands: Vec<OsString>,
    /// What stood behind `--`, for verbs that run a command.
    pub(crate) trailing: Option<Vec<OsString>>,
}

impl Typed {
    /// The flag was given.
    pub(crate) fn has(&self, id: FlagId) -> bool {
        self.flags.iter().any(|(given, _)| *given == id)
    }

    /// The flag's value; of several the last.
    pub(crate) fn value(&self, id: FlagId) -> Option<&OsStr> {
        self.values(id).last()
    }

    /// Every value of the flag.
    pub(crate) fn values(&self, id: FlagId) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.flags.iter().filter(move |(given, _)| *given == id).map(|(_, value)| value.as_os_str())
    }

    /// The flag's value as text.
    pub(crate) fn text(&self, id: FlagId) -> Result<Option<String>, Failure> {
        self.value(id).map(utf8).transpose()
    }

    /// Every value of the flag as text.
    pub(crate) fn texts(&self, id: FlagId) -> Result<Vec<String>, Failure> {
        self.values(id).map(utf8).collect()
    }

    /// The operand at `index` as text. The parser has seen to it that required ones are there.
    pub(crate) fn operand(&self, index: usize) -> Result<&str, Failure> {
        let operand = self.operands.get(index).ok_or_else(|| Failure::usage("an operand is missing"))?;
        operand.to_str().ok_or_else(|| not_utf8(operand))
    }

    /// When colour is wanted.
    pub(crate) fn color(&self) -> Result<ColorWhen, Failure> {
        match self.text(FlagId::Color)?.as_deref() {
            None | Some("auto") => Ok(ColorWhen::Auto),
            Some("always") => Ok(ColorWhen::Always),
            Some("never") => Ok(ColorWhen::Never),
            Some(other) => {
                Err(Failure::usage(format!("--color expects auto, always or never, not \"{other}\"")))
            }
        }
    }
}

fn utf8(value: &OsStr) -> Result<String, Failure> {
    value.to_str().map(str::to_owned).ok_or_else(|| not_utf8(value))
}

fn not_utf8(value: &OsStr) -> Failure {
    Failure::usage(format!("\"{}\" is not UTF-8", value.to_string_lossy()))
}

/// Reads the words behind the program's name.
pub(crate) fn parse<I>(words: I) -> Result<Typed, Failure>
where
    I: IntoIterator<Item = OsString>,
    I::IntoIter: 'static,
{
    let mut parser = lexopt::Parser::from_args(words);
    let mut typed = Typed { verb: None, flags: Vec::new(), operands: Vec::new(), trailing: None };
    loop {
        if let Some(word) = raw_word(&mut parser, &mut typed) {
            typed.operands.push(word);
            continue;
        }
        let Some(arg) = parser.next().map_err(|error| Failure::usage(error.to_string()))? else { break };
        let flag = match arg {
            Arg::Value(word) => {
                match typed.verb {
                    None => typed.verb = Some(verb_named(&word)?),
                    Some(_) => typed.operands.push(word),
                }
                continue;
            }
            Arg::Short(short) => find_flag(typed.verb, &Spelled::Short(short))?,
            Arg::Long(long) => find_flag(typed.verb, &Spelled::Long(long.to_owned()))?,
        };
        let value = match flag.value {
            Some(value) => parser
                .value()
                .map_err(|_| Failure::usage(format!("--{} needs a value: {}", flag.long, value.name)))?,
            None => OsString::new(),
        };
        typed.flags.push((flag.id, value));
    }
    if typed.has(FlagId::Help) || typed.has(FlagId::Version) {
        return Ok(typed);
    }
    check(&typed)?;
    Ok(typed)
}

/// What lexopt is not to look at: the words behind `--` of a verb that runs a command, and a negative number
/// (`scale api -2`).
fn raw_word(parser: &mut lexopt::Parser, typed: &mut Typed) -> Option<OsString> {
    let verb = typed.verb?;
    let mut raw = parser.try_raw_args()?;
    let next = raw.peek()?;
    if next == "--" && verb.trailing.is_some() {
        raw.next();
        typed.trailing = Some(raw.collect());
        return None;
    }
    let number = next.to_str()?.strip_prefix('-')?;
    let wanted = verb.operands.get(typed.operands.len())?.name.contains("-N");
    if wanted && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return raw.next();
    }
    None
}

enum Spelled {
    Short(char),
    Long(String),
}

fn find_flag(verb: Option<&'static Verb>, spelled: &Spelled) -> Result<&'static Flag, Failure> {
    let known: Vec<&'static Flag> = match verb {
        Some(verb) => verb.all_flags().collect(),
        None => BEFORE_VERB.to_vec(),
    };
    let found = known.iter().find(|flag| match spelled {
        Spelled::Short(short) => flag.short == Some(*short),
        Spelled::Long(long) => flag.long == long,
    });
    if let Some(flag) = found {
        return Ok(flag);
    }
    let (text, near) = match spelled {
        Spelled::Short(short) => (format!("-{short}"), None),
        Spelled::Long(long) => (format!("--{long}"), nearest(long, known.iter().map(|flag| flag.long))),
    };
    let (message, help) = match verb {
        Some(verb) => (format!("{} has no option {text}", verb.name), format!("ganger {} --help", verb.name)),
        None => (format!("there is no option {text}"), "ganger --help".to_owned()),
    };
    let failure = Failure::usage(message);
    Err(match near {
        Some(near) => failure.hint(format!("did you mean --{near}?")),
        None => failure.hint(format!("{help} shows the options there are")),
    })
}

pub(crate) fn verb_named(word: &OsStr) -> Result<&'static Verb, Failure> {
    let word = word.to_string_lossy();
    if let Some(verb) = Verb::named(&word) {
        return Ok(verb);
    }
    let failure = Failure::usage(format!("there is no verb \"{}\"", super::print::harmless(&word)));
    Err(match nearest(&word, Verb::visible().map(|verb| verb.name)) {
        Some(near) => failure.hint(format!("did you mean ganger {near}?")),
        None => failure.hint("ganger --help shows the verbs there are"),
    })
}

/// The right number of operands, no flag twice, and none before the verb that the verb does not know.
fn check(typed: &Typed) -> Result<(), Failure> {
    let Some(verb) = typed.verb else {
        return if typed.flags.is_empty() { Ok(()) } else { Err(Failure::usage("a verb is missing")) };
    };
    for (position, (id, _)) in typed.flags.iter().enumerate() {
        let Some(flag) = verb.all_flags().find(|flag| flag.id == *id) else {
            let long = BEFORE_VERB.iter().find(|flag| flag.id == *id).map_or("", |flag| flag.long);
            return Err(Failure::usage(format!("{} has no option --{long}", verb.name)));
        };
        let again = typed.flags.iter().take(position).any(|(earlier, _)| earlier == id);
        if again && flag.value.is_some() && !flag.many {
            return Err(Failure::usage(format!("--{} was given twice", flag.long)));
        }
    }
    let missing = verb.operands.get(typed.operands.len()).filter(|operand| operand.required);
    if let Some(operand) = missing {
        return Err(Failure::usage(format!("{} needs {}", verb.name, operand.name))
            .hint(format!("usage: {}", verb.synopsis())));
    }
    let endless = verb.operands.last().is_some_and(|operand| operand.many);
    match typed.operands.get(verb.operands.len()) {
        Some(extra) if !endless => {
            let extra = super::print::harmless(&extra.to_string_lossy());
            let failure = Failure::usage(format!("{} does not expect \"{extra}\"", verb.name));
            Err(failure.hint(format!("usage: {}", verb.synopsis())))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use crate::cli::grammar::VerbId;

    fn typed(words: &str) -> Typed {
        parse(words.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    fn refused(words: &str) -> Failure {
        parse(words.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap_err()
    }

    #[test]
    fn run_takes_everything_behind_two_dashes_as_the_command() {
        let typed = typed("run --listen 3000 --listen unix:/tmp/s -w4 -- node --help -- x");
        assert_eq!(typed.verb.unwrap().id, VerbId::Run);
        assert_eq!(typed.texts(FlagId::Listen).unwrap(), ["3000", "unix:/tmp/s"]);
        assert_eq!(typed.text(FlagId::Workers).unwrap().as_deref(), Some("4"));
        assert_eq!(typed.trailing.unwrap(), ["node", "--help", "--", "x"]);
    }

    #[test]
    fn a_command_behind_two_dashes_may_be_empty_and_is_told_from_none() {
        assert_eq!(typed("run api --").trailing, Some(Vec::new()));
        assert_eq!(typed("run api").trailing, None);
    }

    #[test]
    fn a_negative_number_is_an_operand_where_one_is_wanted() {
        assert_eq!(typed("scale api -2").operands, ["api", "-2"]);
        assert_eq!(refused("status -2").message, "status has no option -2");
    }

    #[test]
    fn flags_may_stand_before_the_verb_when_the_verb_knows_them() {
        assert!(typed("--user -H web1 list").has(FlagId::User));
        assert_eq!(refused("--user init").message, "init has no option --user");
    }

    #[test]
    fn a_wrong_word_names_the_nearest_right_one() {
        assert_eq!(refused("relaod api").hints, ["did you mean ganger reload?"]);
        assert_eq!(refused("reload --wiat api").hints, ["did you mean --wait?"]);
        assert_eq!(refused("frobnicate").exit, Exit::Usage);
    }

    #[test]
    fn operands_are_counted() {
        assert_eq!(refused("status").message, "status needs APP");
        assert_eq!(refused("status a b").message, "status does not expect \"b\"");
        assert_eq!(typed("start a b c").operands.len(), 3);
        assert_eq!(refused("start").message, "start needs APP[:SLOT]");
    }

    #[test]
    fn a_flag_with_one_value_is_not_taken_twice() {
        assert_eq!(refused("run -w 1 -w 2").message, "--workers was given twice");
        assert_eq!(refused("run -w").message, "--workers needs a value: N");
    }

    #[test]
    fn help_needs_no_operands() {
        assert!(typed("status --help").has(FlagId::Help));
        assert!(typed("-h").verb.is_none());
    }
}
