//! All processes at one moment: who belongs to whom, where no control group tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{Stat, stat};

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 65_536;

/// What makes processes kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// One session (setsid(2)): survives a change of group.
    Session(u32),
    /// One process group.
    Group(u32),
    /// Descent, as far as every parent on the way still lives.
    Descendants(u32),
}

/// All processes that could be seen.
#[derive(Debug, Clone, Default)]
pub struct Census {
    rows: BTreeMap<u32, Stat>,
}

impl Census {
    /// Looks at every process once.
    #[must_use]
    pub fn take() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else { return Self::default() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        Self { rows: pids.take(MAX_PROCESSES).filter_map(|pid| Some((pid, stat(pid)?))).collect() }
    }

    /// What was seen of a process.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Stat> {
        self.rows.get(&pid)
    }

    /// The living kin (a process that only waits to be reaped has nothing left), in the order of their pids.
    #[must_use]
    pub fn living(&self, kin: Kin) -> Vec<u32> {
        let descendants = match kin {
            Kin::Descendants(of) => self.descendants(of),
            Kin::Session(_) | Kin::Group(_) => BTreeSet::new(),
        };
        let belongs = |pid: &u32, stat: &Stat| match kin {
            Kin::Session(session) => stat.session == session,
            Kin::Group(group) => stat.group == group,
            Kin::Descendants(_) => descendants.contains(pid),
        };
        let living = self.rows.iter().filter(|(_, stat)| stat.state != 'Z' && stat.state != 'X');
        living.filter(|(pid, stat)| belongs(pid, stat)).map(|(pid, _)| *pid).collect()
    }

    fn descendants(&self, of: u32) -> BTreeSet<u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (pid, stat) in &self.rows {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let mut found = BTreeSet::new();
        let mut open = vec![of];
        while let Some(next) = open.pop() {
            // `insert` also ends the loops that a pid reused during the census could make.
            let new = children.get(&next).into_iter().flatten().filter(|child| found.insert(**child));
            open.extend(new.copied());
        }
        found
    }
}
