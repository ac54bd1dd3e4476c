//! The one table of everything that can be typed: verbs, their operands, their flags.
//!
//! Parsing, `--help`, completions and the test that reads `ganger(1)` all follow this table; nothing about the
//! command line is written down anywhere else. What a verb *does* is decided in [`super::verbs`].

use super::grammar::{Complete, Flag, FlagId, Operand, Value, Verb, VerbId};

const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "CONT",
    "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH",
];
const READY_WHEN: &[&str] = &["auto", "notify", "listening", "message", "fd", "http", "started"];
/// The shells that completions are written for.
pub(crate) const SHELLS: &[&str] = &["bash", "zsh", "fish"];
/// The values of `--color`.
pub(crate) const COLORS: &[&str] = &["auto", "always", "never"];

const HELP: Flag = Flag::switch(FlagId::Help, Some('h'), "help", "Show help and exit");
const VERSION: Flag = Flag::switch(FlagId::Version, Some('V'), "version", "Show the version and exit");
const COLOR: Flag = Flag::valued(
    FlagId::Color,
    None,
    "color",
    "WHEN",
    Complete::Words(COLORS),
    "Use colour: auto (on a terminal, unless NO_COLOR is set), always or never",
);
const USER: Flag = Flag::switch(
    FlagId::User,
    None,
    "user",
    "Talk about the apps of your own user manager, not of the system",
);
const HOST: Flag = Flag::valued(
    FlagId::Host,
    Some('H'),
    "host",
    "[USER@]HOST",
    Complete::Nothing,
    "Run the command on another machine, over ssh; HOST may be HOST:PORT",
);
const JSON: Flag = Flag::switch(FlagId::Json, None, "json", "Print JSON of a stable shape");
const NAME: Flag = Flag::valued(
    FlagId::Name,
    None,
    "name",
    "NAME",
    Complete::Nothing,
    "Call the app so, and not as its file or its command",
);
const LISTEN: Flag = Flag {
    id: FlagId::Listen,
    short: None,
    long: "listen",
    value: Some(Value { name: "ADDR", complete: Complete::Nothing }),
    many: true,
    help: "Listen on PORT, HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 takes a free one (may be repeated)",
};
const WORKERS: Flag = Flag::valued(
    FlagId::Workers,
    Some('w'),
    "workers",
    "N",
    Complete::Words(&["max", "max-1", "50%"]),
    "Number of workers: 4, max, max-1 or 50% of the CPUs",
);
const READY: Flag = Flag::valued(
    FlagId::Ready,
    None,
    "ready",
    "WHEN",
    Complete::Words(READY_WHEN),
    "Which sign makes a worker ready: auto, notify, listening, message, fd, http or started",
);
const PROFILE: Flag = Flag::valued(
    FlagId::Profile,
    None,
    "profile",
    "NAME",
    Complete::Nothing,
    "Apply [profile.NAME] of the configuration",
);
const PRINT: Flag = Flag::switch(
    FlagId::Print,
    None,
    "print",
    "Print the effective configuration and where each value comes from",
);
const WAIT: Flag = Flag::switch(
    FlagId::Wait,
    None,
    "wait",
    "Wait for the verdict (the default; for clarity in ExecReload=)",
);
const NO_WAIT: Flag = Flag::switch(FlagId::NoWait, None, "no-wait", "Only ask; do not wait for the verdict");
/// How long a verdict is waited for.
const TIMEOUT: Flag = Flag::valued(
    FlagId::Timeout,
    None,
    "timeout",
    "SPAN",
    Complete::Words(&["10s", "1min", "15min"]),
    "Wait at most this long; the work goes on when it passes (exit code 6)",
);
const FOLLOW: Flag = Flag::switch(FlagId::Follow, Some('f'), "follow", "Go on with new lines as they come");
const LINES: Flag = Flag::valued(
    FlagId::Lines,
    Some('n'),
    "lines",
    "N",
    Complete::Words(&["10", "100", "all"]),
    "Show the last N lines only, or all",
);
const SINCE: Flag = Flag::valued(
    FlagId::Since,
    None,
    "since",
    "TIME",
    Complete::Words(&["today", "-1h", "-10min"]),
    "Show lines from this time on (systemd.time(7))",
);
const UNTIL: Flag =
    Flag::valued(FlagId::Until, None, "until", "TIME", Complete::Nothing, "Show lines up to this time");
const NOW: Flag = Flag::switch(FlagId::Now, None, "now", "Also start (or stop) the app at once");

/// Flags about the verdict of a supervisor, where systemctl may do the work as well.
pub(crate) const OF_A_VERDICT: [&Flag; 3] = [&NO_WAIT, &TIMEOUT, &JSON];

/// Flags that every verb knows.
pub(crate) const EVERYWHERE: &[&Flag] = &[&HELP, &COLOR];
/// Flags that may stand before the verb.
pub(crate) const BEFORE_VERB: &[&Flag] = &[&HELP, &VERSION, &COLOR, &USER, &HOST];

const APP: Operand = Operand::one("APP", Complete::App);
const APPS: Operand = Operand::several("APP", Complete::App);
const APPS_SLOTS: Operand = Operand::several("APP[:SLOT]", Complete::AppSlot);
const APP_SLOT: Operand = Operand::one("APP[:SLOT]", Complete::AppSlot);

/// Every verb, in the order of the help text.
pub(crate) const VERBS: &[Verb] = &[
    Verb {
        operands: &[Operand::maybe("APP|FILE", Complete::AppOrFile)],
        trailing: Some("CMD"),
        flags: &[&NAME, &LISTEN, &WORKERS, &READY, &PROFILE, &USER],
        about: &[
            "Stays in the foreground: this is what ExecStart= of a unit calls. Sockets that systemd passes are \
             taken over; without them the addresses of --listen or of the configuration are bound.",
            "APP is looked up as APP.toml in the configuration directories; a word with a slash or the ending \
             .toml is a file. A command behind -- needs no configuration at all: the app is called as its \
             program, or as its script when that is an interpreter (node server.js: server).",
        ],
        ..Verb::plain(VerbId::Run, "run", "Run an app: keep its workers alive behind its sockets")
    },
    Verb {
        flags: &[&JSON, &USER, &HOST],
        about: &["Shows apps that are configured and apps that run. A supervisor that does not answer is \
                  shown as such and holds nobody up."],
        ..Verb::plain(VerbId::List, "list", "List all apps")
    },
    Verb {
        operands: &[APP],
        flags: &[&JSON, &USER, &HOST],
        ..Verb::plain(VerbId::Status, "status", "Show an app, its workers, and how its last reload went")
    },
    Verb {
        alias: Some("monit"),
        flags: &[&USER, &HOST],
        about: &[
            "Keys select a worker, show its log, and reload, restart, scale or reset, each after a yes.",
        ],
        ..Verb::plain(VerbId::Top, "top", "Watch all apps live, and steer them")
    },
    Verb {
        operands: &[APP_SLOT],
        flags: &[&FOLLOW, &LINES, &SINCE, &UNTIL, &JSON, &USER, &HOST],
        about: &[
            "Calls journalctl with the right matches; what you may see is what the journal lets you see.",
        ],
        ..Verb::plain(VerbId::Logs, "logs", "Show what an app, or one of its workers, wrote to the journal")
    },
    Verb {
        operands: &[APP],
        flags: &[&JSON, &USER, &HOST],
        about: &["Goes on until the supervisor leaves or you press Ctrl-C."],
        ..Verb::plain(VerbId::Events, "events", "Show what happens to an app, a line each, as it happens")
    },
    Verb {
        operands: &[APPS_SLOTS],
        flags: &[&NO_WAIT, &TIMEOUT, &JSON, &USER, &HOST],
        about: &[
            "Of an app: systemctl start of APP.socket (where there is one) and APP.service.",
            "Of a slot: has a worker in it, also when it was stopped or gave up, and waits until it is ready.",
        ],
        ..Verb::plain(VerbId::Start, "start", "Start apps, or slots of an app that runs")
    },
    Verb {
        operands: &[APPS_SLOTS],
        flags: &[&NO_WAIT, &TIMEOUT, &JSON, &USER, &HOST],
        about: &[
            "Of an app: systemctl stop of APP.socket and APP.service: with the socket left listening, the next \
             connection would start the service again.",
            "Of a slot: its worker finishes and leaves, and the slot stays empty until it is started or restarted by \
             name, whatever crashes or is reloaded meanwhile. The app goes on, also without any worker.",
        ],
        ..Verb::plain(VerbId::Stop, "stop", "Stop apps and close their sockets, or slots of an app")
    },
    Verb {
        operands: &[APPS],
        flags: &[&NOW, &USER, &HOST],
        ..Verb::plain(VerbId::Enable, "enable", "Start apps when the system starts")
    },
    Verb {
        operands: &[APPS],
        flags: &[&NOW, &USER, &HOST],
        ..Verb::plain(VerbId::Disable, "disable", "Do not start apps when the system starts")
    },
    Verb {
        operands: &[APP],
        flags: &[&WAIT, &NO_WAIT, &TIMEOUT, &JSON, &USER, &HOST],
        about: &[
            "Reads the configuration again and replaces the workers one by one; no request is lost. When a new \
             worker fails, the old ones stay and the command fails.",
            "Ctrl-C detaches: the reload goes on.",
        ],
        ..Verb::plain(
            VerbId::Reload,
            "reload",
            "Bring an app to its new configuration or code, without losing a request",
        )
    },
    Verb {
        operands: &[APP_SLOT],
        flags: &[&NO_WAIT, &TIMEOUT, &JSON, &USER, &HOST],
        about: &["The configuration is not read again: the new workers run what the old ones ran."],
        ..Verb::plain(
            VerbId::Restart,
            "restart",
            "Replace workers one by one by new ones of the same configuration",
        )
    },
    Verb {
        operands: &[APP, Operand::one("N|+N|-N", Complete::Nothing)],
        flags: &[&NO_WAIT, &TIMEOUT, &JSON, &USER, &HOST],
        about: &["Holds until the next reload or restart of the service, which go by the configuration."],
        ..Verb::plain(VerbId::Scale, "scale", "Change the number of workers")
    },
    Verb {
        operands: &[APP_SLOT, Operand::one("SIGNAL", Complete::Words(SIGNALS))],
        flags: &[&TIMEOUT, &JSON, &USER, &HOST],
        ..Verb::plain(VerbId::Signal, "signal", "Send a signal to workers")
    },
    Verb {
        operands: &[APP_SLOT, Operand::one("JSON", Complete::Nothing)],
        flags: &[&TIMEOUT, &JSON, &USER, &HOST],
        about: &["Reaches process.on('message') of Node.js workers; others have nowhere to hear it."],
        ..Verb::plain(VerbId::Send, "send", "Send a message to workers")
    },
    Verb {
        operands: &[APP_SLOT],
        flags: &[&TIMEOUT, &JSON, &USER, &HOST],
        about: &["Slots that wait or that gave up start at once."],
        ..Verb::plain(VerbId::Reset, "reset", "Forget failures")
    },
    Verb {
        operands: &[Operand::one("APP|FILE", Complete::AppOrFile)],
        flags: &[&PRINT, &PROFILE, &JSON, &USER],
        about: &["Shows every error at once, with its place and a hint. Exit code 2 when there is one."],
        ..Verb::plain(VerbId::Check, "check", "Check a configuration")
    },
    Verb {
        operands: &[Operand::maybe("FILE", Complete::File)],
        trailing: Some("CMD"),
        flags: &[&LISTEN, &WORKERS],
        about: &["Prints it, or writes it to FILE, which must not exist yet."],
        ..Verb::plain(VerbId::Init, "init", "Write a configuration to begin with")
    },
    Verb {
        operands: &[Operand::one("SHELL", Complete::Words(SHELLS))],
        ..Verb::plain(VerbId::Completions, "completions", "Print the completion script for bash, zsh or fish")
    },
    Verb {
        operands: &[Operand::maybe("VERB", Complete::Verb)],
        ..Verb::plain(VerbId::Help, "help", "Show help on a verb")
    },
    Verb::plain(VerbId::Version, "version", "Show the version"),
    Verb {
        hidden: true,
        trailing: Some("WORD"),
        ..Verb::plain(VerbId::Complete, "__complete", "Print what the last word can be completed to")
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_verb_has_two_flags_of_one_name() {
        for verb in VERBS {
            let mut seen = BTreeSet::new();
            for flag in verb.all_flags() {
                assert!(seen.insert(flag.long.to_owned()), "{} --{}", verb.name, flag.long);
                if let Some(short) = flag.short {
                    assert!(seen.insert(short.to_string()), "{} -{short}", verb.name);
                }
            }
        }
    }

    #[test]
    fn a_required_operand_never_follows_an_optional_one() {
        for verb in VERBS {
            let optional = verb.operands.iter().position(|operand| !operand.required || operand.many);
            assert!(optional.is_none_or(|index| index + 1 == verb.operands.len()), "{}", verb.name);
        }
    }
}
