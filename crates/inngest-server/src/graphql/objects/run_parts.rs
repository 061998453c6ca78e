//! The parts of a run: what started it, what it is doing, how it was skipped or cancelled, and counts.

use std::collections::HashMap;

use async_graphql::{ComplexObject, Context, Enum, Error, SimpleObject};

use inngest_core::{
    bulk::BULK_CANCELLATION,
    event::Event,
    ids::{BulkId, EventId},
    run::{Ended, Run, RunStatus, SkipReason, StepRecord, TriggerKind},
};
use inngest_services::{Activity, Reason, RunTotals};

use crate::graphql::{
    loaders::load,
    objects::{
        bulk::{self, CancellationObject},
        event::EventObject,
        failure::cancel_reason,
        pause::ActorObject,
        step::{StepStatusEnum, status_of},
    },
    scalars::{DateTime, Long},
};

/// State of a run.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(name = "RunStatus", remote = "RunStatus")]
pub(crate) enum RunStatusEnum {
    /// Accepted and waiting for its first request.
    Queued,
    /// Started and not ended, including while it sleeps or waits.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended by a cancellation.
    Cancelled,
    /// Never started because of a pause or a singleton.
    Skipped,
}

/// What an unfinished run is doing.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "Activity")]
pub(crate) enum RunActivity {
    /// A request to the app is under way.
    Executing,
    /// Waiting for the next attempt.
    Retrying,
    /// Waiting in the queue without a known obstacle.
    Queued,
    /// Held because the function is paused.
    Paused,
    /// Waiting for an invoked run.
    Invoking,
    /// Waiting for a signal.
    WaitingForSignal,
    /// Waiting for an event.
    WaitingForEvent,
    /// All branches sleep.
    Sleeping,
}

/// Why one branch of a run is where it is.
#[derive(SimpleObject)]
pub(crate) struct RunReason {
    /// What it is doing.
    activity: RunActivity,
    /// What holds it back, as a sentence for people.
    text: String,
    /// When it will move at the latest; null when that is not known.
    until: Option<DateTime>,
    /// Hashed id of the step that this is about; null for the run itself.
    step_id: Option<String>,
}

impl RunReason {
    pub(crate) fn of(reason: &Reason) -> Option<Self> {
        Some(Self {
            activity: reason.activity()?.into(),
            text: reason.text.clone(),
            until: reason.until.map(DateTime),
            step_id: reason.step.as_ref().map(ToString::to_string),
        })
    }
}

/// What started a run.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct RunTrigger {
    #[graphql(skip)]
    tick: Option<EventId>,
    /// Sort of start.
    kind: RunTriggerKind,
    /// Event name, null for schedules.
    event_name: Option<String>,
    /// Cron text for schedules.
    cron: Option<String>,
    /// Who asked for it, for invocations, reruns and replays through an API; null for runs of before this was kept.
    actor: Option<ActorObject>,
}

impl RunTrigger {
    pub(crate) fn of(run: &Run) -> Self {
        let first = run.events.first().copied();
        Self {
            tick: first.filter(|_| run.cron.is_some()),
            kind: run.trigger_kind().into(),
            event_name: run.cron.is_none().then(|| run.event_name.clone()),
            cron: run.cron.clone(),
            actor: run.started_by.as_ref().map(ActorObject::of),
        }
    }
}

#[ComplexObject]
impl RunTrigger {
    /// Planned time for schedules.
    async fn scheduled_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime, Error>> {
        let tick = load(ctx, self.tick?).await.transpose()?;
        let at = |event: Event| event.body.member("data")?.member("scheduledAt")?.to_text();
        match tick.map(at) {
            Ok(at) => DateTime::of_text(&at?).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Sort of start.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "RunTriggerKind", remote = "TriggerKind")]
pub(crate) enum RunTriggerKind {
    /// One event.
    Event,
    /// A batch of events.
    Batch,
    /// A schedule.
    Cron,
    /// An invoke step or an invocation through an API.
    Invoke,
    /// A rerun.
    Rerun,
    /// A replay.
    Replay,
}

/// Why a run was skipped.
#[derive(SimpleObject)]
pub(crate) struct RunSkip {
    /// Why.
    pub(crate) reason: SkipReasonEnum,
}

/// Why a run was skipped.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "SkipReason", remote = "SkipReason")]
pub(crate) enum SkipReasonEnum {
    /// The function is paused.
    FunctionPaused,
    /// Another run exists for the singleton key.
    Singleton,
}

/// How a run was cancelled.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct RunCancel {
    /// Why.
    reason: CancelReason,
    /// When.
    at: DateTime,
    /// Who asked for it; null when nobody did, and for runs that ended before this was kept.
    actor: Option<ActorObject>,
    #[graphql(skip)]
    by: Option<EventId>,
    #[graphql(skip)]
    with: Option<BulkId>,
}

#[ComplexObject]
impl RunCancel {
    /// Event that matched a cancel rule.
    async fn event(&self, ctx: &Context<'_>) -> Option<Result<EventObject, Error>> {
        load(ctx, self.by?)
            .await
            .transpose()
            .map(|found| found.map(EventObject))
    }

    /// Bulk cancellation, as long as it is known.
    async fn cancellation(&self, ctx: &Context<'_>) -> Option<Result<CancellationObject, Error>> {
        bulk::find_cancellation(ctx, self.with?).await
    }
}

/// Why a run was cancelled.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CancelReason {
    /// A cancelOn event.
    Event,
    /// A single request.
    Manual,
    /// A bulk cancellation.
    Bulk,
    /// Not started in time.
    StartTimeout,
    /// Not finished in time.
    FinishTimeout,
}

impl RunCancel {
    /// Read from the sentence that the run ended with; none when the sentence is not one of those known.
    pub(crate) fn of(ended: &Ended) -> Option<Self> {
        let sentence = cancel_reason(&ended.output)?;
        let by = sentence
            .strip_prefix("event ")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|id| id.parse().ok());
        let with = sentence
            .strip_prefix(BULK_CANCELLATION)
            .and_then(|id| id.parse().ok());
        let reason = match sentence.as_str() {
            _ if with.is_some() => CancelReason::Bulk,
            "it was cancelled by request" => CancelReason::Manual,
            text if text.starts_with("it did not start") => CancelReason::StartTimeout,
            text if text.starts_with("it did not finish") => CancelReason::FinishTimeout,
            text if text.ends_with("its cancel rules")
                || text.ends_with("cancel rules matched") =>
            {
                CancelReason::Event
            }
            _ => return None,
        };
        Some(Self {
            reason,
            at: DateTime(ended.at),
            actor: ended.cancelled_by.as_ref().map(ActorObject::of),
            by,
            with,
        })
    }
}

/// Number of runs by status.
#[derive(SimpleObject)]
pub(crate) struct RunStatusCounts {
    /// All runs.
    total: Long,
    /// QUEUED.
    queued: Long,
    /// RUNNING.
    running: Long,
    /// COMPLETED.
    completed: Long,
    /// FAILED.
    failed: Long,
    /// CANCELLED.
    cancelled: Long,
    /// SKIPPED.
    skipped: Long,
}

impl RunStatusCounts {
    pub(crate) fn of(counts: &HashMap<RunStatus, u64>) -> Self {
        let count = |status: RunStatus| Long(counts.get(&status).copied().unwrap_or(0));
        Self {
            total: Long(counts.values().sum()),
            queued: count(RunStatus::Queued),
            running: count(RunStatus::Running),
            completed: count(RunStatus::Completed),
            failed: count(RunStatus::Failed),
            cancelled: count(RunStatus::Cancelled),
            skipped: count(RunStatus::Skipped),
        }
    }

    /// Runs by the state that they reached in some time.
    pub(crate) fn reached(totals: RunTotals) -> Self {
        Self {
            total: Long(totals.queued + totals.skipped),
            queued: Long(totals.queued),
            running: Long(totals.started),
            completed: Long(totals.completed),
            failed: Long(totals.failed),
            cancelled: Long(totals.cancelled),
            skipped: Long(totals.skipped),
        }
    }
}

/// Number of steps by status.
#[derive(SimpleObject, Default)]
pub(crate) struct StepStatusCounts {
    /// All steps.
    total: i32,
    /// COMPLETED.
    completed: i32,
    /// FAILED.
    failed: i32,
    /// QUEUED, RUNNING or RETRYING.
    active: i32,
    /// SLEEPING or WAITING.
    waiting: i32,
    /// CANCELLED.
    cancelled: i32,
}

impl StepStatusCounts {
    pub(crate) fn of(steps: &[StepRecord]) -> Self {
        let mut counts = Self {
            total: i32::try_from(steps.len()).unwrap_or(i32::MAX),
            ..Self::default()
        };
        for step in steps {
            let sum = match status_of(step) {
                StepStatusEnum::Completed => &mut counts.completed,
                StepStatusEnum::Failed => &mut counts.failed,
                StepStatusEnum::Cancelled => &mut counts.cancelled,
                StepStatusEnum::Sleeping | StepStatusEnum::Waiting => &mut counts.waiting,
                StepStatusEnum::Queued | StepStatusEnum::Running | StepStatusEnum::Retrying => {
                    &mut counts.active
                }
            };
            *sum += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::{json::Json, time::Timestamp};

    use super::*;

    #[test]
    fn reason_of_a_cancellation_is_read_from_its_sentence() {
        let event = EventId::from_seed(1, [1; 10], 1);
        for (sentence, reason, by) in [
            (
                "it was cancelled by request".to_owned(),
                Some(CancelReason::Manual),
                None,
            ),
            (
                format!("event {event} matched one of its cancel rules"),
                Some(CancelReason::Event),
                Some(event),
            ),
            (
                "one of its cancel rules matched".to_owned(),
                Some(CancelReason::Event),
                None,
            ),
            (
                "it did not start within `timeouts.start`".to_owned(),
                Some(CancelReason::StartTimeout),
                None,
            ),
            (
                "it did not finish within `timeouts.finish`".to_owned(),
                Some(CancelReason::FinishTimeout),
                None,
            ),
            (
                format!("{BULK_CANCELLATION}{event}"),
                Some(CancelReason::Bulk),
                None,
            ),
            ("something else".to_owned(), None, None),
        ] {
            let output = Json::object([("reason", &Json::string(&sentence))]);
            let read = RunCancel::of(&Ended {
                at: Timestamp::default(),
                output,
                cancelled_by: None,
            });
            assert_eq!(
                read.as_ref().map(|cancel| cancel.reason),
                reason,
                "{sentence}"
            );
            assert_eq!(read.and_then(|cancel| cancel.by), by, "{sentence}");
        }
    }
}
