//! Which known name a person probably meant.

/// Names from other tools, with the key that does their work.
const FOREIGN: &[(&str, &str)] = &[
    ("instances", "workers"),
    ("processes", "workers"),
    ("exec", "command"),
    ("script", "command"),
    ("cmd", "command"),
    ("args", "command"),
    ("ExecStart", "command"),
    ("cwd", "directory"),
    ("chdir", "directory"),
    ("dir", "directory"),
    ("WorkingDirectory", "directory"),
    ("uid", "user"),
    ("gid", "group"),
    ("bind", "listen"),
    ("port", "listen"),
    ("sockets", "listen"),
    ("ListenStream", "listen"),
    ("environment", "env"),
    ("Environment", "env"),
    ("EnvironmentFile", "env-file"),
    ("env_file", "env-file"),
    ("dotenv", "env-file"),
    ("max_memory_restart", "recycle.memory"),
    ("kill_timeout", "stop.timeout"),
    ("listen_timeout", "ready.timeout"),
    ("wait_ready", "ready.when"),
    ("min_uptime", "restart.min-uptime"),
    ("max_restarts", "restart.limit.burst"),
    ("restart_delay", "restart.backoff.initial"),
    ("exp_backoff_restart_delay", "restart.backoff.initial"),
    ("autorestart", "restart.policy"),
    ("shutdown_with_message", "stop.message"),
    ("cron_restart", "recycle.calendar"),
    ("instance_var", "instance-var"),
    ("out_file", "log.stdout"),
    ("error_file", "log.stderr"),
    ("TimeoutStopSec", "stop.timeout"),
    ("TimeoutStartSec", "ready.timeout"),
    ("KillSignal", "stop.signal"),
    ("MemoryMax", "limit.memory"),
    ("MemoryHigh", "limit.memory-high"),
    ("CPUQuota", "limit.cpu"),
    ("TasksMax", "limit.tasks"),
    ("WatchdogSec", "watchdog.worker"),
    ("exec_mode", "protocol"),
];

/// The longest name that is compared; a longer one was never meant as any of ours.
const MAX_LEN: usize = 48;

/// The key that does here what `name` does in another tool.
pub(super) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

/// The candidate that differs from `name` by few typing errors.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_LEN {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let width = b.len() + 1;
    let mut rows: Vec<usize> = vec![0; (a.len() + 1) * width];
    let at = |rows: &[usize], i: usize, j: usize| rows.get(i * width + j).copied().unwrap_or(usize::MAX / 2);
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let cost = if i == 0 || j == 0 {
                i + j
            } else {
                let same = a.get(i - 1) == b.get(j - 1);
                let mut best = at(&rows, i - 1, j - 1) + usize::from(!same);
                best = best.min(at(&rows, i - 1, j) + 1).min(at(&rows, i, j - 1) + 1);
                let swapped = i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1);
                if swapped { best.min(at(&rows, i - 2, j - 2) + 1) } else { best }
            };
            if let Some(cell) = rows.get_mut(i * width + j) {
                *cell = cost;
            }
        }
    }
    rows.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    #[test]
    fn typing_errors_are_undone() {
        for (typed, meant) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("comand", Some("command")),
            ("env_file", Some("env-file")),
            ("Directory", Some("directory")),
            ("zebra", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, keys::names_in("")), meant, "{typed}");
        }
    }

    #[test]
    fn foreign_names_lead_to_keys_that_exist() {
        for (theirs, ours) in FOREIGN {
            assert!(keys::find(ours).is_some() || keys::FREE_TABLES.contains(ours), "{theirs} -> {ours}");
        }
    }
}
