//! What is counted and measured over time, and how figures of many commits become one.
//!
//! A [`Tally`] holds the figures of one function in one bucket of time. Tallies are added up in any order and grouping, and come to the
//! same, so whoever commits notes the figures of its own commit and nobody else's.

mod codec;
mod names;
mod sketch;
mod width;

#[cfg(test)]
mod sketch_tests;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ids::FunctionId,
    run::{RunStatus, StepStatus},
    time::Timestamp,
};

pub use names::NameCounts;
pub use sketch::{RELATIVE_ERROR, Sketch};
pub use width::{BadSpan, MOST_POINTS, Span, Width};

/// What is counted. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Counter {
    /// Runs that were queued.
    RunsQueued = 0,
    /// Runs that were recorded and never executed.
    RunsSkipped = 1,
    /// Runs whose app was called for the first time.
    RunsStarted = 2,
    /// Runs that completed.
    RunsCompleted = 3,
    /// Runs that failed.
    RunsFailed = 4,
    /// Runs that were cancelled.
    RunsCancelled = 5,
    /// Steps that ended with a result, those included whose time to wait was up.
    StepsCompleted = 6,
    /// Steps that ended with an error.
    StepsFailed = 7,
    /// Steps that ended with their run.
    StepsCancelled = 8,
    /// Attempts at steps that failed and were to be repeated.
    AttemptsRetried = 9,
    /// Requests to apps that were answered as they should be.
    RequestsOk = 10,
    /// Requests to apps that failed.
    RequestsFailed = 11,
    /// Events that senders sent; counted for the environment, and for no function.
    Events = 12,
}

/// What is measured. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Latency {
    /// From the queueing of a run to the first call to its app.
    QueueDelay = 0,
    /// From there to the end of the run.
    RunDuration = 1,
    /// From the start of the code of a step to its result; steps that only wait are left out.
    StepDuration = 2,
    /// From the sending of a request to an app to its answer.
    SdkRequest = 3,
    /// From the queueing of a run, which is when its event was stored, to its end.
    EndToEnd = 4,
}

/// How full the schedule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Jobs that are due and wait.
    Backlog,
    /// Jobs that a worker holds.
    Executing,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 2] = [Self::Backlog, Self::Executing];
}

impl Counter {
    /// Everything that is counted, by number.
    pub const ALL: [Self; 13] = [
        Self::RunsQueued,
        Self::RunsSkipped,
        Self::RunsStarted,
        Self::RunsCompleted,
        Self::RunsFailed,
        Self::RunsCancelled,
        Self::StepsCompleted,
        Self::StepsFailed,
        Self::StepsCancelled,
        Self::AttemptsRetried,
        Self::RequestsOk,
        Self::RequestsFailed,
        Self::Events,
    ];

    /// What counts a new run of this status.
    pub fn of_new_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Skipped => Self::RunsSkipped,
            _ => Self::RunsQueued,
        }
    }

    /// What counts a run that ends with this status; none for one that has not ended.
    pub fn of_ended_run(status: RunStatus) -> Option<Self> {
        match status {
            RunStatus::Completed => Some(Self::RunsCompleted),
            RunStatus::Failed => Some(Self::RunsFailed),
            RunStatus::Cancelled => Some(Self::RunsCancelled),
            RunStatus::Skipped | RunStatus::Queued | RunStatus::Running => None,
        }
    }

    /// What counts a step that ends with this status; none for one that has not ended.
    pub fn of_ended_step(status: StepStatus) -> Option<Self> {
        match status {
            StepStatus::Completed | StepStatus::TimedOut => Some(Self::StepsCompleted),
            StepStatus::Failed => Some(Self::StepsFailed),
            StepStatus::Cancelled => Some(Self::StepsCancelled),
            StepStatus::Open => None,
        }
    }
}

impl Latency {
    /// Everything that is measured, by number.
    pub const ALL: [Self; 5] = [
        Self::QueueDelay,
        Self::RunDuration,
        Self::StepDuration,
        Self::SdkRequest,
        Self::EndToEnd,
    ];
}

/// The figures of one function, or of what belongs to none, in one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Counter::ALL.len()],
    sketches: [Sketch; Latency::ALL.len()],
}

impl Tally {
    /// From figures that were stored.
    pub fn from_parts(
        counts: [u64; Counter::ALL.len()],
        sketches: [Sketch; Latency::ALL.len()],
    ) -> Self {
        Self { counts, sketches }
    }

    /// Counts so many more.
    pub fn add(&mut self, counter: Counter, count: u64) {
        let sum = &mut self.counts[counter as usize];
        *sum = sum.saturating_add(count);
    }

    /// Adds a measurement.
    pub fn measure(&mut self, latency: Latency, took: Duration) {
        self.sketches[latency as usize].add(took);
    }

    /// Adds all figures of another one.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(count);
        }
        for (sketch, more) in self.sketches.iter_mut().zip(&other.sketches) {
            sketch.merge(more);
        }
    }

    /// How many were counted.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }

    /// What was measured.
    pub fn sketch(&self, latency: Latency) -> &Sketch {
        &self.sketches[latency as usize]
    }
}

/// Figures by function, none for what belongs to no function, and by the smallest bucket: what one transaction did in one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures(BTreeMap<(Option<FunctionId>, Timestamp), Tally>);

impl Measures {
    /// Where figures of something that happened then belong.
    pub fn tally(&mut self, function: Option<FunctionId>, at: Timestamp) -> &mut Tally {
        self.0
            .entry((function, Width::TenSeconds.floor(at)))
            .or_default()
    }

    /// Each function with the start of the bucket and its figures.
    pub fn iter(&self) -> impl Iterator<Item = (Option<FunctionId>, Timestamp, &Tally)> {
        self.0
            .iter()
            .map(|((function, start), tally)| (*function, *start, tally))
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// None when this is not what [`Measures::to_bytes`] of this version or an older one makes. Figures that a newer version has added
    /// are left out.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_what_is_counted_and_measured_are_their_places() {
        for (place, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, place);
        }
        for (place, latency) in Latency::ALL.iter().enumerate() {
            assert_eq!(*latency as usize, place);
        }
    }

    #[test]
    fn statuses_are_counted_as_what_they_are() {
        let ended: Vec<_> = RunStatus::ALL
            .iter()
            .filter_map(|status| Counter::of_ended_run(*status))
            .collect();
        assert_eq!(
            ended,
            [
                Counter::RunsCompleted,
                Counter::RunsFailed,
                Counter::RunsCancelled
            ]
        );
        assert_eq!(
            Counter::of_new_run(RunStatus::Skipped),
            Counter::RunsSkipped
        );
        assert_eq!(Counter::of_new_run(RunStatus::Queued), Counter::RunsQueued);
        for status in StepStatus::ALL {
            let counter = Counter::of_ended_step(*status);
            assert_eq!(counter.is_some(), status.is_ended(), "{status:?}");
        }
    }
}
