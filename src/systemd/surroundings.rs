//! Which service manager ganger runs under, if any, told from the outside signs that systemd.exec(5) and
//! sd_booted(3) name. For messages and defaults only: nothing that must be right depends on it.

use libsystemd::daemon::booted;
use libsystemd::id128::Id128;

/// The longest `/proc/self/cgroup` that is looked at, in bytes.
const MAX_CGROUP_BYTES: u64 = 16 * 1024;

/// Whose service ganger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// PID 1.
    System,
    /// `systemd --user`.
    User,
    /// Nobody's: a terminal, a container's entry point, another supervisor.
    None,
}

/// What is known of the surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The machine (or container) was booted with systemd.
    pub booted: bool,
    /// Whose service ganger is.
    pub manager: Manager,
    /// `INVOCATION_ID`, 32 hexadecimal digits.
    pub invocation_id: Option<String>,
    /// The unit's name, from the control group: `myapp.service`.
    pub unit: Option<String>,
}

/// Looks around.
#[must_use]
pub fn running_under() -> Surroundings {
    let text = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let signs = Signs {
        invocation_id: text("INVOCATION_ID"),
        exec_pid: text("SYSTEMD_EXEC_PID"),
        manager_pid: text("MANAGERPID"),
        own_pid: std::process::id(),
        cgroup: read_cgroup(),
    };
    signs.judge(booted())
}

fn read_cgroup() -> String {
    use std::io::Read as _;
    let mut text = String::new();
    // Without /proc nothing is known; that is an answer, too.
    if let Ok(file) = std::fs::File::open("/proc/self/cgroup") {
        let _ = file.take(MAX_CGROUP_BYTES).read_to_string(&mut text);
    }
    text
}

#[derive(Default)]
struct Signs {
    invocation_id: Option<String>,
    exec_pid: Option<String>,
    manager_pid: Option<String>,
    own_pid: u32,
    cgroup: String,
}

impl Signs {
    fn judge(self, booted: bool) -> Surroundings {
        // A shell in a user's session inherits INVOCATION_ID and MANAGERPID from its terminal's service, but
        // SYSTEMD_EXEC_PID then names another process.
        let ours = self.exec_pid.is_some_and(|pid| pid == self.own_pid.to_string());
        let invocation_id = self.invocation_id.filter(|_| ours).filter(|id| Id128::parse_str(id).is_ok());
        let manager = match (ours, self.manager_pid) {
            (false, _) => Manager::None,
            (true, Some(_)) => Manager::User,
            (true, None) => Manager::System,
        };
        let unit = if ours { unit_of(&self.cgroup) } else { None };
        Surroundings { booted, manager, invocation_id, unit }
    }
}

/// The innermost service of a `/proc/PID/cgroup` text; below it there may be delegated groups.
fn unit_of(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(manager_pid: Option<&str>, cgroup: &str) -> Signs {
        Signs {
            invocation_id: Some("0123456789abcdef0123456789abcdef".into()),
            exec_pid: Some("7".into()),
            manager_pid: manager_pid.map(str::to_owned),
            own_pid: 7,
            cgroup: cgroup.into(),
        }
    }

    #[test]
    fn a_system_service_knows_its_unit_also_from_a_delegated_group() {
        let seen = signs(None, "0::/system.slice/myapp.service/supervisor\n").judge(true);
        assert_eq!((seen.manager, seen.unit.as_deref()), (Manager::System, Some("myapp.service")));
        assert_eq!(seen.invocation_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn a_user_service_is_told_apart() {
        let path = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/myapp.service\n";
        let seen = signs(Some("900"), path).judge(true);
        assert_eq!((seen.manager, seen.unit.as_deref()), (Manager::User, Some("myapp.service")));
    }

    #[test]
    fn what_a_terminal_s_service_left_in_the_environment_is_not_believed() {
        let inherited = Signs { own_pid: 8, ..signs(Some("900"), "0::/user.slice/term.service\n") };
        let seen = inherited.judge(true);
        assert_eq!((seen.manager, seen.unit, seen.invocation_id), (Manager::None, None, None));
    }
}
