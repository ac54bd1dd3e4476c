//! What the storm's clients ask for, in the three languages in which it can be said: the command line's, the
//! bus's, and the log's.

/// A stream of numbers of its own for each client (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64, client: u64) -> Self {
        Self((seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// One thing to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Reload,
    /// A number, or `+1`, or `-1`.
    Scale(String),
    /// All slots without one.
    Restart(Option<u64>),
    Signal(Option<u64>, &'static str),
    Reset(Option<u64>),
    Stop(u64),
    Start(u64),
    Status,
    /// Listens until it is ended.
    Events,
}

impl Wish {
    pub(crate) fn any(chance: &mut Chance) -> Self {
        let slot = chance.below(6);
        match chance.below(17) {
            0 => Self::Reload,
            1 | 2 => Self::Scale(chance.below(6).to_string()),
            3 | 4 => Self::Scale("+1".to_owned()),
            5 => Self::Scale("-1".to_owned()),
            6 => Self::Restart(None),
            7 => Self::Restart(Some(slot)),
            8 => Self::Signal(None, "CONT"),
            9 => Self::Signal(Some(slot), "KILL"),
            10 => Self::Reset(None),
            11 => Self::Reset(Some(slot)),
            12 => Self::Status,
            13 => Self::Stop(slot),
            14 | 15 => Self::Start(slot),
            _ => Self::Events,
        }
    }

    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Scale(_) => "scale",
            Self::Restart(_) => "restart",
            Self::Signal(..) => "signal",
            Self::Reset(_) => "reset",
            Self::Stop(_) => "stop",
            Self::Start(_) => "start",
            Self::Status => "status",
            Self::Events => "events",
        }
    }

    /// It changes nothing, and the log has no word of it.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self, Self::Status | Self::Events)
    }

    /// Words of the command line behind `ganger`.
    pub(crate) fn words(&self, app: &str) -> Vec<String> {
        let verb = self.verb();
        let slot_of =
            |slot: &Option<u64>| slot.map_or_else(|| app.to_owned(), |slot| format!("{app}:{slot}"));
        let line = match self {
            Self::Reload | Self::Status | Self::Events => format!("{verb} --json {app}"),
            Self::Scale(to) => format!("{verb} --json {app} {to}"),
            Self::Restart(slot) | Self::Reset(slot) => format!("{verb} --json {}", slot_of(slot)),
            Self::Stop(slot) | Self::Start(slot) => format!("{verb} --json {app}:{slot}"),
            Self::Signal(slot, name) => format!("{verb} --json {} {name}", slot_of(slot)),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// The method, and its arguments as text; a look is `Get` of `Ready`.
    pub(crate) fn method(&self) -> (&'static str, Vec<String>) {
        let number = |slot: &Option<u64>| slot.map_or_else(|| "-1".to_owned(), |slot| slot.to_string());
        match self {
            Self::Reload => ("Reload", Vec::new()),
            Self::Scale(to) => ("Scale", vec!["s".to_owned(), to.clone()]),
            Self::Restart(slot) => ("Restart", vec!["i".to_owned(), number(slot)]),
            Self::Reset(slot) => ("Reset", vec!["i".to_owned(), number(slot)]),
            Self::Stop(slot) => ("StopSlot", vec!["u".to_owned(), slot.to_string()]),
            Self::Start(slot) => ("StartSlot", vec!["u".to_owned(), slot.to_string()]),
            Self::Signal(slot, name) => ("Signal", vec!["is".to_owned(), number(slot), (*name).to_owned()]),
            Self::Status | Self::Events => {
                ("Get", vec!["ss".to_owned(), "org.ganger1.App".to_owned(), "Ready".to_owned()])
            }
        }
    }

    /// What stands in the log before "was asked for".
    pub(crate) fn logged(&self) -> String {
        let workers = |count: &str| format!("{count} worker{}", if count == "1" { "" } else { "s" });
        match self {
            Self::Reload => "a reload".to_owned(),
            Self::Restart(None) => "a restart".to_owned(),
            Self::Restart(Some(slot)) => format!("a restart of slot {slot}"),
            Self::Scale(to) => match to.as_bytes() {
                [b'+', ..] => format!("scaling up by {}", workers(to.trim_start_matches('+'))),
                [b'-', ..] => format!("scaling down by {}", workers(to.trim_start_matches('-'))),
                _ => format!("scaling to {}", workers(to)),
            },
            Self::Signal(_, name) => format!("signal SIG{name}"),
            Self::Reset(_) => "a reset".to_owned(),
            Self::Stop(slot) => format!("a stop of slot {slot}"),
            Self::Start(slot) => format!("a start of slot {slot}"),
            Self::Status | Self::Events => String::new(),
        }
    }
}
