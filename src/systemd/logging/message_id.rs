//! `MESSAGE_ID=` of every record that a machine may want to find (systemd.journal-fields(7)): chosen once at
//! random, never changed, never used for anything else. `journalctl MESSAGE_ID=…` finds them, whatever the
//! words of the message are.

/// A worker's process was started.
pub const WORKER_STARTED: &str = "dd3a21b9db274a0abcf24a7dc77a04cd";
/// A worker became ready.
pub const WORKER_READY: &str = "f3609f110ea74b1a86ed7495af81fcd8";
/// A worker was asked to leave.
pub const WORKER_DRAINING: &str = "d144da0854be405283cc53ede0d43784";
/// A worker is gone, expected or not.
pub const WORKER_EXITED: &str = "e67e3963b72240a1a7d45f8f55d169fb";
/// A worker did not leave in time and was killed.
pub const WORKER_KILLED: &str = "f44f2a7d65a44440a4f8c1ea9d09f371";
/// A worker was killed and does not end.
pub const WORKER_STUCK: &str = "e46ce09aa0bc488b9f0946c5988f43d2";
/// The kernel holds so many killed workers that lost ones are not replaced.
pub const JAMMED: &str = "2602dcd6424e4a928c89d25b08bba7c7";
/// Lost workers are replaced again.
pub const UNJAMMED: &str = "2e5cbe18f40c47e497de0504981e04d9";
/// A slot waits before its next start.
pub const SLOT_WAITING: &str = "10b6127157724361be0c86addf560053";
/// A slot reached its start limit.
pub const SLOT_FAILED: &str = "17f0406d2d334817a307551d98bf3c75";
/// The pool became ready for the first time.
pub const POOL_READY: &str = "aad35d5843c5446ab03da6a0a0a1b584";
/// A rollout began.
pub const RELOAD_STARTED: &str = "50b231eacd174f2fb17265e924be8bd7";
/// A rollout ended well.
pub const RELOAD_FINISHED: &str = "65664c1212bc49aa8f837afe526aead4";
/// A rollout failed, or a reload was refused; the old generation serves on.
pub const RELOAD_FAILED: &str = "e62ca80b16a943dbb810fc9c968dd228";
/// The pool is ending.
pub const STOPPING: &str = "14f41a32501f4924953cc48564cebea0";
/// Records were dropped because their receiver did not take them.
pub const RECORDS_LOST: &str = "b2f2519150784fdc9d5971f2dab92414";

/// Every one with its name, for documentation and tests.
pub const ALL: &[(&str, &str)] = &[
    ("worker-started", WORKER_STARTED),
    ("worker-ready", WORKER_READY),
    ("worker-draining", WORKER_DRAINING),
    ("worker-exited", WORKER_EXITED),
    ("worker-killed", WORKER_KILLED),
    ("worker-stuck", WORKER_STUCK),
    ("jammed", JAMMED),
    ("unjammed", UNJAMMED),
    ("slot-waiting", SLOT_WAITING),
    ("slot-failed", SLOT_FAILED),
    ("pool-ready", POOL_READY),
    ("reload-started", RELOAD_STARTED),
    ("reload-finished", RELOAD_FINISHED),
    ("reload-failed", RELOAD_FAILED),
    ("stopping", STOPPING),
    ("records-lost", RECORDS_LOST),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_one_of_a_kind_and_has_the_form_of_an_id() {
        for (name, id) in ALL {
            assert!(libsystemd::id128::Id128::parse_str(id).is_ok() && id.len() == 32, "{name}");
            assert_eq!(ALL.iter().filter(|(_, other)| other == id).count(), 1, "{name}");
        }
    }
}
