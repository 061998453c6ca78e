//! Steps of runs.

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::{
    ids::{RunId, StepId},
    json::Json,
    run::{StepDetails, StepKind, StepRecord, StepStatus},
};

use crate::graphql::{
    asking::asking,
    ids,
    loaders::{StepsOf, load},
    objects::{
        attempt::{self, StepAttemptObject},
        failure::ExecutionError,
        run::{self, RunObject, millis},
        step_details::StepDetailsUnion,
    },
    scalars::{DateTime, JsonScalar, Milliseconds},
};

/// One step of a run.
pub(crate) struct StepObject(pub(crate) StepRecord);

/// A step of a run; none when there is no such step, or it is not the caller's.
pub(crate) async fn find(
    ctx: &Context<'_>,
    run: RunId,
    step: &StepId,
) -> Option<Result<StepObject, Error>> {
    match load(ctx, StepsOf(run)).await {
        Ok(steps) => steps?
            .into_iter()
            .find(|found| found.step == *step)
            .map(|found| Ok(StepObject(found))),
        Err(error) => Some(Err(error)),
    }
}

/// One step of a run.
#[Object(name = "Step")]
impl StepObject {
    /// Global id, prefix step.
    pub(crate) async fn id(&self) -> ID {
        ids::step(self.0.run, &self.0.step)
    }

    /// Hashed id, 40 hex digits.
    async fn step_id(&self) -> &str {
        self.0.step.as_str()
    }

    /// The run.
    #[graphql(complexity = "10 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Result<RunObject, Error> {
        run::get(ctx, self.0.run).await
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Id given in code, before hashing; null when the app has not told it.
    async fn userland_id(&self) -> Option<String> {
        self.0.code_id().map(|it| it.id)
    }

    /// Counts repeated use of the same id, from 0; null when the app has not told it.
    async fn index(&self) -> Option<u32> {
        self.0.code_id()?.index
    }

    /// What sort of step.
    async fn kind(&self) -> StepKindEnum {
        kind_of(&self.0)
    }

    /// Same value for steps of one run that were planned together; null for a step that was reported by itself.
    async fn parallel_group(&self) -> Option<String> {
        self.0.group.map(|group| group.to_string())
    }

    /// Present state.
    async fn status(&self) -> StepStatusEnum {
        status_of(&self.0)
    }

    /// When it was found or planned.
    async fn queued_at(&self) -> DateTime {
        DateTime(self.0.queued_at)
    }

    /// When the first attempt began.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime)
    }

    /// When it was settled.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }

    /// Time from start to end, or to now.
    async fn duration_ms(&self, ctx: &Context<'_>) -> Option<Milliseconds> {
        let until = self
            .0
            .ended_at
            .unwrap_or_else(|| asking(ctx).services.clock().now());
        self.0
            .started_at
            .map(|started| millis(until.since(started)))
    }

    /// Arguments of its code, as the SDK has captured them; null when it has not, and when they are longer than 8 KiB.
    async fn input(&self) -> Option<JsonScalar> {
        self.0.told.input.clone().map(JsonScalar)
    }

    /// Result; null before the end and on failure.
    async fn output(&self) -> Option<JsonScalar> {
        output_of(&self.0)
    }

    /// Final error.
    async fn error(&self) -> Option<ExecutionError> {
        let memo = self
            .0
            .memo
            .as_ref()
            .filter(|_| status_of(&self.0) == StepStatusEnum::Failed)?;
        let error = self.0.error().unwrap_or_else(|| memo.clone());
        let (run, step) = (self.0.run, self.0.step.clone());
        Some(ExecutionError::of_last(&error, run, Some(step)))
    }

    /// Attempts so far.
    async fn attempt_count(&self) -> i32 {
        let step = &self.0;
        let unfailed = match step.status {
            StepStatus::Completed => !step.kind.only_waits(),
            StepStatus::Open => step.started_at.is_some(),
            StepStatus::Failed | StepStatus::TimedOut | StepStatus::Cancelled => false,
        };
        i32::try_from(step.failed_attempts + u32::from(unfailed)).unwrap_or(i32::MAX)
    }

    /// Attempts allowed, first one included, as of its run; null for a step that only waits.
    async fn max_attempts(&self, ctx: &Context<'_>) -> Option<Result<i32, Error>> {
        if self.0.kind.only_waits() {
            return None;
        }
        match run::get(ctx, self.0.run).await {
            Ok(RunObject(found)) => run::max_attempts(ctx, &found).await,
            Err(error) => Some(Err(error)),
        }
    }

    /// Attempts in order.
    #[graphql(complexity = "5 * child_complexity")]
    async fn attempts(&self, ctx: &Context<'_>) -> Result<Vec<StepAttemptObject>, Error> {
        attempt::of_step(ctx, &self.0).await
    }

    /// What it asks for, by kind; null for steps that run code for which the SDK has no name.
    async fn details(&self) -> Option<StepDetailsUnion> {
        StepDetailsUnion::of(&self.0)
    }
}

/// The result of a step that has one.
pub(crate) fn output_of(step: &StepRecord) -> Option<JsonScalar> {
    let memo = step
        .memo
        .as_ref()
        .filter(|_| status_of(step) == StepStatusEnum::Completed)?;
    Some(JsonScalar(
        wrapped(memo, "data").unwrap_or_else(|| memo.clone()),
    ))
}

/// What sort of step it is, by what it asks for and by what the SDK calls its code.
fn kind_of(step: &StepRecord) -> StepKindEnum {
    match &step.details {
        Some(StepDetails::Code { sort }) if sort == SEND_EVENT => StepKindEnum::SendEvent,
        Some(StepDetails::Code { sort }) if sort.starts_with(AI) => StepKindEnum::Ai,
        _ => step.kind.into(),
    }
}

/// The member `key` of an object that has no other; memos of results look so.
fn wrapped(memo: &Json, key: &str) -> Option<Json> {
    let value = memo.member(key)?;
    (memo.members().count() == 1).then_some(value)
}

pub(crate) fn status_of(step: &StepRecord) -> StepStatusEnum {
    match step.status {
        StepStatus::Open => match step.kind {
            StepKind::Sleep => StepStatusEnum::Sleeping,
            StepKind::WaitForEvent | StepKind::Invoke | StepKind::WaitForSignal => {
                StepStatusEnum::Waiting
            }
            StepKind::Run | StepKind::Fetch | StepKind::Infer if step.failed_attempts > 0 => {
                StepStatusEnum::Retrying
            }
            StepKind::Run | StepKind::Fetch | StepKind::Infer if step.started_at.is_some() => {
                StepStatusEnum::Running
            }
            StepKind::Run | StepKind::Fetch | StepKind::Infer => StepStatusEnum::Queued,
        },
        StepStatus::Completed => StepStatusEnum::Completed,
        StepStatus::Failed => StepStatusEnum::Failed,
        // A wait that ran out has the result null; an invocation that ran out has an error.
        StepStatus::TimedOut if step.error().is_some() => StepStatusEnum::Failed,
        StepStatus::TimedOut => StepStatusEnum::Completed,
        StepStatus::Cancelled => StepStatusEnum::Cancelled,
    }
}

/// Sort of step.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "StepKind")]
pub(crate) enum StepKindEnum {
    /// Code of the function.
    Run,
    /// A pause.
    Sleep,
    /// Waits for an event.
    WaitForEvent,
    /// Waits for a signal.
    WaitForSignal,
    /// Calls another function.
    Invoke,
    /// Sends events.
    SendEvent,
    /// HTTP request made by the server.
    Fetch,
    /// Model request made by the server or wrapped by the SDK.
    Ai,
}

/// What SDKs call a step that sends events.
pub(crate) const SEND_EVENT: &str = "step.sendEvent";
/// How SDKs begin the names of steps around model requests.
const AI: &str = "step.ai.";

impl From<StepKind> for StepKindEnum {
    fn from(kind: StepKind) -> Self {
        match kind {
            StepKind::Run => Self::Run,
            StepKind::Sleep => Self::Sleep,
            StepKind::WaitForEvent => Self::WaitForEvent,
            StepKind::WaitForSignal => Self::WaitForSignal,
            StepKind::Invoke => Self::Invoke,
            StepKind::Fetch => Self::Fetch,
            StepKind::Infer => Self::Ai,
        }
    }
}

/// State of a step.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(name = "StepStatus")]
pub(crate) enum StepStatusEnum {
    /// Planned and waiting.
    Queued,
    /// An attempt is under way.
    Running,
    /// An attempt failed; the next one waits or is under way.
    Retrying,
    /// Asleep.
    Sleeping,
    /// Waiting for an event, a signal or an invoked run.
    Waiting,
    /// Settled with a result, including a wait that timed out.
    Completed,
    /// Settled with an error.
    Failed,
    /// The run was cancelled first.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use inngest_core::time::Timestamp;

    use super::*;

    pub(crate) fn record(kind: StepKind, status: StepStatus, memo: Option<&str>) -> StepRecord {
        StepRecord {
            run: RunId::from_raw(ulid::Ulid(1)),
            step: StepId::parse("a").unwrap(),
            name: "a".into(),
            kind,
            status,
            memo: memo.map(|memo| Json::parse(memo.as_bytes()).unwrap()),
            position: None,
            failed_attempts: 0,
            details: None,
            told: inngest_core::run::StepTold::default(),
            group: None,
            ended_by: None,
            response: None,
            queued_at: Timestamp::default(),
            started_at: None,
            ended_at: None,
        }
    }

    #[test]
    fn state_of_a_step_follows_from_what_it_waits_for() {
        for (kind, status, memo, expected) in [
            (
                StepKind::Run,
                StepStatus::Open,
                None,
                StepStatusEnum::Queued,
            ),
            (
                StepKind::Sleep,
                StepStatus::Open,
                None,
                StepStatusEnum::Sleeping,
            ),
            (
                StepKind::Invoke,
                StepStatus::Open,
                None,
                StepStatusEnum::Waiting,
            ),
            (
                StepKind::Run,
                StepStatus::Completed,
                Some("{\"data\":1}"),
                StepStatusEnum::Completed,
            ),
            (
                StepKind::WaitForEvent,
                StepStatus::TimedOut,
                Some("null"),
                StepStatusEnum::Completed,
            ),
            (
                StepKind::Invoke,
                StepStatus::TimedOut,
                Some("{\"error\":{\"name\":\"T\"}}"),
                StepStatusEnum::Failed,
            ),
            (
                StepKind::Run,
                StepStatus::Cancelled,
                None,
                StepStatusEnum::Cancelled,
            ),
        ] {
            assert_eq!(
                status_of(&record(kind, status, memo)),
                expected,
                "{kind:?} {status:?}"
            );
        }
    }

    #[test]
    fn only_an_object_of_one_member_is_unwrapped() {
        let memo = |text: &str| Json::parse(text.as_bytes()).unwrap();
        assert_eq!(wrapped(&memo("{\"data\":1}"), "data"), Some(memo("1")));
        assert_eq!(wrapped(&memo("{\"data\":1,\"name\":\"x\"}"), "data"), None);
        assert_eq!(wrapped(&memo("[1]"), "data"), None);
    }
}
