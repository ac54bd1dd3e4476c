//! What a half-typed command line can be completed to.
//!
//! The shells' scripts hold no words of their own: they ask the program, which reads the table of flags and
//! looks which apps and slots there are now. A script therefore never goes out of date.

use std::fmt;
use std::time::Duration;

use super::discover::Places;
use super::flags::BEFORE_VERB;
use super::grammar::{Complete, Flag, FlagId, Verb};
use super::supervisor::Supervisor;
use crate::plan::AppName;

/// How long a supervisor may take to tell its slots: somebody waits at a prompt.
const SLOTS_DEADLINE: Duration = Duration::from_millis(300);
/// The line that asks a script for the names of files.
const FILES: &str = ":files";

/// The completion script for a shell.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(include_str!("scripts/ganger.bash")),
        "zsh" => Some(include_str!("scripts/ganger.zsh")),
        "fish" => Some(include_str!("scripts/ganger.fish")),
        _ => None,
    }
}

/// One thing that the last word can become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    word: String,
    about: &'static str,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about {
            "" => f.write_str(&self.word),
            about => write!(f, "{}\t{about}", self.word),
        }
    }
}

/// Which apps and slots there are now.
pub(crate) struct Live<'a> {
    /// The names of all apps.
    pub(crate) apps: &'a dyn Fn() -> Vec<String>,
    /// The slots of one app.
    pub(crate) slots: &'a dyn Fn(&str) -> Vec<u32>,
}

/// The apps of this machine, or of this user.
pub(crate) fn apps(user_mode: bool) -> Vec<String> {
    Places::of_this_process(user_mode).apps().keys().map(ToString::to_string).collect()
}

/// The slots of an app; none when it does not answer at once.
pub(crate) fn slots(user_mode: bool, app: &str) -> Vec<u32> {
    let Ok(app) = AppName::new(app) else { return Vec::new() };
    let Some(socket) = Places::of_app(user_mode, &app).socket_of(&app) else { return Vec::new() };
    let asked = async {
        let asked = async { Supervisor::connect(&socket, SLOTS_DEADLINE).await?.slots().await };
        let slots = tokio::time::timeout(SLOTS_DEADLINE, asked).await.ok().and_then(Result::ok);
        Ok(slots.unwrap_or_default())
    };
    super::context::block_on(asked).unwrap_or_default()
}

/// Where in the command line the last word stands.
struct Place {
    verb: Option<&'static Verb>,
    operands: usize,
    /// The flag whose value it is.
    value_of: Option<&'static Flag>,
    /// It belongs to the command behind `--`.
    behind_dashes: bool,
    /// What is asked is about another machine (`--host`): what there is here is of no use.
    elsewhere: bool,
}

/// What the last of `words` (those behind the program's name, the last one perhaps empty) can become.
pub(crate) fn candidates(words: &[String], live: &Live<'_>) -> Vec<Candidate> {
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let place = place(before);
    let nothing_known = Live { apps: &Vec::new, slots: &|_| Vec::new() };
    let live = if place.elsewhere { &nothing_known } else { live };
    if place.behind_dashes {
        return vec![Candidate { word: FILES.into(), about: "" }];
    }
    if let Some(flag) = place.value_of {
        return flag.value.map(|value| completed(value.complete, last, "", live)).unwrap_or_default();
    }
    if last.starts_with('-') {
        return flag_candidates(place.verb, last, live);
    }
    let Some(verb) = place.verb else { return verb_candidates(last) };
    let operand = verb.operands.get(place.operands).or(verb.operands.last().filter(|last| last.many));
    operand.map(|operand| completed(operand.complete, last, "", live)).unwrap_or_default()
}

fn known_flags(verb: Option<&'static Verb>) -> Vec<&'static Flag> {
    verb.map_or_else(|| BEFORE_VERB.to_vec(), |verb| verb.all_flags().collect())
}

fn place(before: &[String]) -> Place {
    let mut place = Place { verb: None, operands: 0, value_of: None, behind_dashes: false, elsewhere: false };
    for word in before {
        if place.value_of.take().is_some() {
            continue;
        }
        if word == "--" && place.verb.is_some_and(|verb| verb.trailing.is_some()) {
            place.behind_dashes = true;
            return place;
        }
        if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
            let long = name.strip_prefix('-').map(|long| long.split_once('=').map_or(long, |(long, _)| long));
            let flag = known_flags(place.verb).into_iter().find(|flag| match long {
                Some(long) => flag.long == long,
                None => name.chars().next_back().is_some_and(|short| flag.short == Some(short)),
            });
            place.elsewhere |= flag.is_some_and(|flag| flag.id == FlagId::Host);
            place.value_of = flag.filter(|flag| flag.value.is_some() && !name.contains('='));
            continue;
        }
        match place.verb {
            None => place.verb = Verb::named(word),
            Some(_) => place.operands += 1,
        }
    }
    place
}

fn verb_candidates(typed: &str) -> Vec<Candidate> {
    Verb::visible()
        .filter(|verb| verb.name.starts_with(typed))
        .map(|verb| Candidate { word: verb.name.to_owned(), about: verb.summary })
        .collect()
}

fn flag_candidates(verb: Option<&'static Verb>, typed: &str, live: &Live<'_>) -> Vec<Candidate> {
    let flags = known_flags(verb);
    if let Some((name, value)) = typed.split_once('=') {
        let flag = flags.iter().find(|flag| name.strip_prefix("--") == Some(flag.long));
        let known = flag.and_then(|flag| flag.value);
        return known
            .map(|known| completed(known.complete, value, &format!("{name}="), live))
            .unwrap_or_default();
    }
    flags
        .iter()
        .map(|flag| Candidate { word: format!("--{}", flag.long), about: flag.help })
        .filter(|candidate| candidate.word.starts_with(typed))
        .collect()
}

fn completed(with: Complete, typed: &str, prefix: &str, live: &Live<'_>) -> Vec<Candidate> {
    let words: Vec<String> = match with {
        Complete::Nothing => Vec::new(),
        Complete::Verb => return verb_candidates(typed),
        Complete::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        Complete::App => (live.apps)(),
        Complete::AppSlot => match typed.split_once(':') {
            None => (live.apps)(),
            Some((app, _)) => (live.slots)(app).iter().map(|slot| format!("{app}:{slot}")).collect(),
        },
        Complete::AppOrFile if typed.contains('/') => vec![FILES.to_owned()],
        Complete::AppOrFile => (live.apps)().into_iter().chain([FILES.to_owned()]).collect(),
        Complete::File => vec![FILES.to_owned()],
    };
    words
        .into_iter()
        .filter(|word| word == FILES || word.starts_with(typed))
        .map(|word| if word == FILES { word } else { format!("{prefix}{word}") })
        .map(|word| Candidate { word, about: "" })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let live = Live {
            apps: &|| vec!["api".to_owned(), "web".to_owned()],
            slots: &|app| if app == "api" { vec![0, 1, 10] } else { Vec::new() },
        };
        let typed: Vec<String> = line.split(' ').map(str::to_owned).collect();
        candidates(&typed, &live).into_iter().map(|candidate| candidate.word).collect()
    }

    #[test]
    fn verbs_are_completed_and_the_hidden_one_is_not() {
        assert_eq!(words("re"), ["reload", "restart", "reset"]);
        assert_eq!(words("--user st"), ["status", "start", "stop"]);
        assert!(words("__").is_empty());
    }

    #[test]
    fn apps_and_slots_are_those_that_there_are_now() {
        assert_eq!(words("status "), ["api", "web"]);
        assert_eq!(words("restart api:1"), ["api:1", "api:10"]);
        assert_eq!(words("stop api:0 api:1"), ["api:1", "api:10"]);
        assert_eq!(words("start api w"), ["web"]);
        assert!(words("status api ").is_empty());
    }

    #[test]
    fn the_apps_of_this_machine_are_not_those_of_another() {
        for line in ["-H web1 stop ", "stop --host web1 ", "stop --host=web1 a", "stop -H web1 api:"] {
            assert!(words(line).is_empty(), "{line}");
        }
        assert_eq!(words("-H web1 st"), ["status", "start", "stop"]);
    }

    #[test]
    fn flags_and_their_values_come_from_the_table() {
        assert_eq!(words("reload --w"), ["--wait"]);
        assert_eq!(words("run --ready no"), ["notify"]);
        assert_eq!(words("run --ready=h"), ["--ready=http"]);
        assert_eq!(words("signal api US"), ["USR1", "USR2"]);
        assert_eq!(words("run -w m"), ["max", "max-1"]);
    }

    #[test]
    fn files_are_left_to_the_shell() {
        assert_eq!(words("check a"), ["api", ":files"]);
        assert_eq!(words("check ./a"), [":files"]);
        assert_eq!(words("run api -- no"), [":files"]);
    }

    #[test]
    fn there_is_a_script_for_each_shell_of_the_table() {
        for shell in crate::cli::flags::SHELLS {
            assert!(script(shell).is_some_and(|script| script.contains("ganger __complete -- ")), "{shell}");
        }
    }
}
