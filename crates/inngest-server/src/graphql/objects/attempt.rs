//! Attempts at steps.

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::run::{
    StepRecord,
    attempt::{Attempt, AttemptStatus, attempts},
};

use crate::graphql::{
    ids,
    loaders::{AttemptsOf, load},
    objects::{
        failure::ExecutionError,
        run::millis,
        sdk_response::SdkResponseObject,
        step::{StepObject, output_of},
    },
    scalars::{DateTime, JsonScalar, Milliseconds},
};

/// One try of a step.
pub(crate) struct StepAttemptObject {
    step: StepRecord,
    attempt: Attempt,
}

/// The attempts at one step, in order.
pub(crate) async fn of_step(
    ctx: &Context<'_>,
    step: &StepRecord,
) -> Result<Vec<StepAttemptObject>, Error> {
    let failed = load(ctx, AttemptsOf(step.run)).await?.unwrap_or_default();
    let with_step = |attempt| StepAttemptObject {
        step: step.clone(),
        attempt,
    };
    Ok(attempts(step, &failed).into_iter().map(with_step).collect())
}

impl StepAttemptObject {
    /// Counted from 0.
    pub(crate) fn number_of(&self) -> u32 {
        self.attempt.number
    }
}

/// One try of a step.
#[Object(name = "StepAttempt")]
impl StepAttemptObject {
    /// Global id, prefix att.
    pub(crate) async fn id(&self) -> ID {
        ids::attempt(self.step.run, &self.step.step, self.attempt.number)
    }

    /// The step.
    async fn step(&self) -> StepObject {
        StepObject(self.step.clone())
    }

    /// Counted from 0.
    async fn number(&self) -> i32 {
        i32::try_from(self.attempt.number).unwrap_or(i32::MAX)
    }

    /// Present state.
    async fn status(&self) -> StepAttemptStatus {
        self.attempt.status.into()
    }

    /// When it became due; null when that is not known.
    async fn queued_at(&self) -> Option<DateTime> {
        self.attempt.queued_at.map(DateTime)
    }

    /// When the request began; null before that, and for a failed attempt that was followed by another one, whose start is not kept.
    async fn started_at(&self) -> Option<DateTime> {
        self.attempt.started_at.map(DateTime)
    }

    /// When the answer was stored.
    async fn ended_at(&self) -> Option<DateTime> {
        self.attempt.ended_at.map(DateTime)
    }

    /// Time from start to end.
    async fn duration_ms(&self) -> Option<Milliseconds> {
        let (ended, started) = (self.attempt.ended_at?, self.attempt.started_at?);
        Some(millis(ended.since(started)))
    }

    /// Result; null before the end and on failure.
    async fn output(&self) -> Option<JsonScalar> {
        let completed = self.attempt.status == AttemptStatus::Completed;
        completed.then(|| output_of(&self.step)).flatten()
    }

    /// Error of this try.
    async fn error(&self) -> Option<ExecutionError> {
        self.attempt
            .failure
            .as_ref()
            .map(ExecutionError::of_attempt)
    }

    /// When the next try is due.
    async fn retry_at(&self) -> Option<DateTime> {
        self.attempt.failure.as_ref()?.next_at.map(DateTime)
    }

    /// Facts about the answer that ended it, which may have ended others as well. Null before the end, where no whole answer came, as the
    /// error says, for requests that the server itself makes, and for results that the app reported by itself while it was being called.
    async fn response(&self) -> Option<SdkResponseObject> {
        self.attempt.response.clone().map(SdkResponseObject)
    }
}

/// State of an attempt.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(name = "StepAttemptStatus", remote = "AttemptStatus")]
pub(crate) enum StepAttemptStatus {
    /// Waiting.
    Queued,
    /// Under way.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended with an error.
    Failed,
    /// The run was cancelled first.
    Cancelled,
}
