//! Figures over time: what each transaction counts and measures, and how that gets into the tables that are asked.
//!
//! The transaction that changes runs, steps or events puts the figures of what it changed into its row of the change log, which it writes
//! anyway. Whoever rolls up reads the rows after the stored position, adds them to the buckets of every width, and moves the position in
//! the same transaction, on condition that nobody else has moved it: so each row is added exactly once, whoever is killed when.

#[cfg(feature = "test-util")]
mod check;
mod levels;
mod names;
mod read;
mod store;

use std::collections::BTreeMap;

use inngest_core::{
    ids::{EnvId, FunctionId},
    rollup::{Counter, Latency, Measures, NameCounts},
    run::StepStatus,
    time::Timestamp,
};

use crate::commit::{Commit, NewEvent, NewRun};

pub use levels::LevelSample;
pub use names::NamedPoint;
pub use read::{GroupedBy, RollupGroup, RollupQuery};
pub use store::Rolled;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use store::TABLE;

/// What a run was before a commit changed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunBefore {
    pub(crate) function: FunctionId,
    pub(crate) queued_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
}

/// The figures of one transaction.
#[derive(Default)]
pub(crate) struct Figures {
    measures: BTreeMap<EnvId, Measures>,
    names: BTreeMap<EnvId, NameCounts>,
}

impl Figures {
    pub(crate) fn note_event(&mut self, new: &NewEvent) {
        if !new.event.is_internal() {
            let measures = self.measures.entry(new.env).or_default();
            let tally = measures.tally(None, new.event.received_at);
            tally.add(Counter::Events, 1);
            let names = self.names.entry(new.env).or_default();
            names.add(&new.event.name, new.event.received_at);
        }
    }

    pub(crate) fn note_run(&mut self, run: &NewRun) {
        let measures = self.measures.entry(run.env).or_default();
        let tally = measures.tally(Some(run.function), run.queued_at);
        tally.add(Counter::of_new_run(run.status), 1);
    }

    /// Notes what a commit does to a run; nothing where it changes none.
    pub(crate) fn note_commit(&mut self, commit: &Commit, before: Option<&RunBefore>) {
        let (Some(run), Some(before)) = (&commit.run, before) else {
            return;
        };
        let measures = self.measures.entry(run.env).or_default();
        let (function, queued_at) = (Some(before.function), before.queued_at);
        if let (None, Some(at)) = (before.started_at, run.started_at) {
            let tally = measures.tally(function, at);
            tally.add(Counter::RunsStarted, 1);
            tally.measure(Latency::QueueDelay, at.since(queued_at));
        }
        if let (Some((at, _)), Some(counter)) = (&run.ended, Counter::of_ended_run(run.status)) {
            let tally = measures.tally(function, *at);
            tally.add(counter, 1);
            tally.measure(Latency::EndToEnd, at.since(queued_at));
            if let Some(started) = before.started_at.or(run.started_at) {
                tally.measure(Latency::RunDuration, at.since(started));
            }
        }
        for step in &commit.steps {
            let (Some(at), Some(counter)) = (step.ended_at, Counter::of_ended_step(step.status))
            else {
                continue;
            };
            let tally = measures.tally(function, at);
            tally.add(counter, 1);
            let has_result = step.status != StepStatus::Cancelled;
            if let Some(started) = step.started_at
                && has_result
                && !step.kind.only_waits()
            {
                tally.measure(Latency::StepDuration, at.since(started));
            }
        }
        for failed in &commit.failed_attempts {
            if failed.step.is_some() && failed.next_at.is_some() {
                let tally = measures.tally(function, failed.at);
                tally.add(Counter::AttemptsRetried, 1);
            }
        }
        if let Some(request) = &commit.request_made {
            let tally = measures.tally(function, request.at);
            let counter = if request.is_ok {
                Counter::RequestsOk
            } else {
                Counter::RequestsFailed
            };
            tally.add(counter, 1);
            tally.measure(Latency::SdkRequest, request.took);
        }
    }

    /// The figures of an environment as they are stored; none when it has none.
    pub(crate) fn of(&self, env: EnvId) -> Option<Vec<u8>> {
        self.measures.get(&env).map(Measures::to_bytes)
    }

    /// The names of its events as they are stored; none when it has no events.
    pub(crate) fn names_of(&self, env: EnvId) -> Option<Vec<u8>> {
        self.names.get(&env).map(NameCounts::to_bytes)
    }
}

/// The column of what is counted.
fn counter_column(counter: Counter) -> &'static str {
    match counter {
        Counter::RunsQueued => "runs_queued",
        Counter::RunsSkipped => "runs_skipped",
        Counter::RunsStarted => "runs_started",
        Counter::RunsCompleted => "runs_completed",
        Counter::RunsFailed => "runs_failed",
        Counter::RunsCancelled => "runs_cancelled",
        Counter::StepsCompleted => "steps_completed",
        Counter::StepsFailed => "steps_failed",
        Counter::StepsCancelled => "steps_cancelled",
        Counter::AttemptsRetried => "attempts_retried",
        Counter::RequestsOk => "requests_ok",
        Counter::RequestsFailed => "requests_failed",
        Counter::Events => "events",
    }
}

/// The column of what is measured.
fn latency_column(latency: Latency) -> &'static str {
    match latency {
        Latency::QueueDelay => "queue_delay",
        Latency::RunDuration => "run_duration",
        Latency::StepDuration => "step_duration",
        Latency::SdkRequest => "sdk_request",
        Latency::EndToEnd => "end_to_end",
    }
}

fn counter_columns() -> impl Iterator<Item = &'static str> {
    Counter::ALL.into_iter().map(counter_column)
}

/// The columns of figures that are added up.
fn columns() -> impl Iterator<Item = &'static str> {
    counter_columns().chain(Latency::ALL.into_iter().map(latency_column))
}
