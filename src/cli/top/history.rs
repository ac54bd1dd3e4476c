//! What an app or a worker used in the last minutes: a few numbers a second, for the curves of `ganger top`.

use std::collections::VecDeque;

use crate::cli::rows;
use crate::cli::state::{AppState, WorkerState};

/// So many samples are kept: a curve of the widest terminal that people have.
const MAX_SAMPLES: usize = 240;

/// What one curve tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    /// Thousandths of a CPU.
    Cpu,
    /// Bytes.
    Memory,
    /// Connections that are held.
    Connections,
    /// Connections that nobody has accepted yet.
    Queue,
}

impl Curve {
    /// What a whole bar is at least: so a quiet app's curves are low, and not noise made large.
    pub(crate) const fn full(self) -> u64 {
        match self {
            Self::Cpu => 1000,
            Self::Memory => 1,
            Self::Connections | Self::Queue => 8,
        }
    }
}

/// One look; `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sample {
    cpu: Option<u64>,
    memory: Option<u64>,
    connections: Option<u32>,
    queue: Option<u32>,
}

impl Sample {
    /// Of an app: the sum over its workers.
    pub(crate) fn of_app(app: &AppState) -> Self {
        let sum = |of: fn(&WorkerState) -> Option<u64>| {
            app.workers.iter().filter_map(of).reduce(u64::saturating_add)
        };
        Self {
            cpu: sum(|worker| worker.cpu_permille),
            memory: sum(|worker| worker.memory),
            connections: rows::connections(app),
            queue: rows::waiting(app),
        }
    }

    /// Of a worker.
    pub(crate) fn of_worker(worker: &WorkerState) -> Self {
        Self { cpu: worker.cpu_permille, memory: worker.memory, connections: worker.connections, queue: None }
    }

    /// What a curve shows of it.
    pub(crate) fn of(self, curve: Curve) -> Option<u64> {
        match curve {
            Curve::Cpu => self.cpu,
            Curve::Memory => self.memory,
            Curve::Connections => self.connections.map(u64::from),
            Curve::Queue => self.queue.map(u64::from),
        }
    }
}

/// The latest samples, the last one first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct History(VecDeque<Sample>);

impl History {
    /// Adds a look.
    pub(crate) fn add(&mut self, sample: Sample) {
        self.0.push_front(sample);
        self.0.truncate(MAX_SAMPLES);
    }

    /// The last look.
    pub(crate) fn latest(&self) -> Sample {
        self.0.front().copied().unwrap_or_default()
    }

    /// A curve's values, the last one first.
    pub(crate) fn values(&self, curve: Curve) -> impl Iterator<Item = Option<u64>> {
        self.0.iter().map(move |sample| sample.of(curve))
    }

    /// What a whole bar is among the last `count` values.
    pub(crate) fn full(&self, curve: Curve, count: usize) -> u64 {
        self.values(curve).take(count).flatten().fold(curve.full(), u64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::samples;

    #[test]
    fn an_apps_sample_is_the_sum_of_its_workers_and_of_its_queues() {
        let mut app = samples::serving();
        app.workers[0].connections = Some(5);
        app.workers[1].connections = Some(2);
        let sample = Sample::of_app(&app);
        let of = |curve| sample.of(curve);
        assert_eq!(of(Curve::Cpu), Some(400));
        assert_eq!(of(Curve::Memory), Some(600 << 20));
        assert_eq!((of(Curve::Connections), of(Curve::Queue)), (Some(7), Some(3)));
        assert_eq!(Sample::of_worker(&app.workers[2]).of(Curve::Connections), None);
    }

    #[test]
    fn the_oldest_samples_go_and_a_whole_bar_is_the_highest_in_sight() {
        let mut history = History::default();
        for cpu in 0..1 + MAX_SAMPLES as u64 {
            history.add(Sample { cpu: Some(10_000 - 10 * cpu), ..Sample::default() });
        }
        assert_eq!(history.values(Curve::Cpu).count(), MAX_SAMPLES);
        assert_eq!(history.latest().of(Curve::Cpu), Some(7600));
        assert_eq!(history.full(Curve::Cpu, 3), 7620);
        assert_eq!(History::default().full(Curve::Cpu, 3), 1000);
    }
}
