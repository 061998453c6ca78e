//! Runs.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object};

use inngest_core::{
    ids::RunId,
    json::Json,
    run::{Run, RunStatus, StepKind},
    wait::parse_correlation,
    wire::finish,
};
use inngest_services::{Activity, Error as ServiceError, Reason};

use crate::graphql::{
    asking::asking,
    connection::{self, Counted, EventPage, Length, Page, RunPage},
    error::{bad_input, failed},
    ids::GlobalId,
    loaders::{AttemptsOf, ReasonsOf, StepsOf, VersionOf, load, load_many},
    objects::{
        app::AppObject,
        bulk::{self, ReplayObject},
        environment::EnvironmentObject,
        event::EventObject,
        failure::ExecutionError,
        function::{FunctionObject, read_config},
        function_version::FunctionVersionObject,
        run_parts::{
            RunActivity, RunCancel, RunReason, RunSkip, RunStatusEnum, RunTrigger, StepStatusCounts,
        },
        step::StepObject,
        trace::{self, TraceObject},
        wait::{self, WaitObject},
    },
    parents::{RepetitionCountOf, RepetitionsOf},
    related::{FirstRunOf, answer},
    scalars::{DateTime, JsonScalar, Long, Milliseconds, UlidText},
};

/// One execution of a function.
pub(crate) struct RunObject(pub(crate) Run);

/// One execution of a function.
#[Object(name = "Run")]
impl RunObject {
    /// Global id, prefix run.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.global()
    }

    /// Native id as the SDK sees it.
    async fn run_id(&self) -> UlidText {
        UlidText(self.0.id.to_string())
    }

    /// Grows with every change; used to drop stale updates.
    async fn revision(&self) -> Long {
        Long(self.0.revision)
    }

    /// The function.
    async fn function(&self, ctx: &Context<'_>) -> Result<FunctionObject, Error> {
        load(ctx, self.0.function)
            .await?
            .map(FunctionObject)
            .ok_or_else(|| bad_input("the function of this run is gone"))
    }

    /// The version it was started with; null when it is one of the old ones that are not kept.
    async fn function_version(
        &self,
        ctx: &Context<'_>,
    ) -> Option<Result<FunctionVersionObject, Error>> {
        let found = load(ctx, VersionOf(self.0.function, self.0.function_version)).await;
        found
            .transpose()
            .map(|found| found.map(FunctionVersionObject))
    }

    /// The app.
    async fn app(&self, ctx: &Context<'_>) -> Result<AppObject, Error> {
        load(ctx, self.0.app)
            .await?
            .map(AppObject)
            .ok_or_else(|| bad_input("the app of this run is gone"))
    }

    /// The environment.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// Present state.
    async fn status(&self) -> RunStatusEnum {
        self.0.status.into()
    }

    /// When it was queued.
    async fn queued_at(&self) -> DateTime {
        DateTime(self.0.queued_at)
    }

    /// When the first request began.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended.as_ref().map(|ended| DateTime(ended.at))
    }

    /// Time from start to end, or to now while running.
    async fn duration_ms(&self, ctx: &Context<'_>) -> Option<Milliseconds> {
        let until = self
            .0
            .ended
            .as_ref()
            .map_or_else(|| asking(ctx).services.clock().now(), |ended| ended.at);
        self.0
            .started_at
            .map(|started| millis(until.since(started)))
    }

    /// Time from queueing to start.
    async fn queue_delay_ms(&self) -> Option<Milliseconds> {
        self.0
            .started_at
            .map(|started| millis(started.since(self.0.queued_at)))
    }

    /// What a queued or running run is doing now, null after its end.
    #[graphql(complexity = 20)]
    async fn activity(&self, ctx: &Context<'_>) -> Option<Result<RunActivity, Error>> {
        reasons(ctx, &self.0)
            .await
            .map(|reasons| reasons.map(|reasons| Activity::of(&reasons).map(Into::into)))
            .and_then(Result::transpose)
    }

    /// Why an unfinished run is where it is, an entry for each of its branches; empty after its end.
    #[graphql(complexity = "20 + 5 * child_complexity")]
    async fn reasons(&self, ctx: &Context<'_>) -> Result<Vec<RunReason>, Error> {
        let found = reasons(ctx, &self.0).await.transpose()?;
        let all = found.as_deref().map_or(&[][..], Vec::as_slice);
        Ok(all.iter().filter_map(RunReason::of).collect())
    }

    /// When the earliest sleep, retry or timeout is due; null after the end and when nothing is timed.
    #[graphql(complexity = 20)]
    async fn next_activity_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime, Error>> {
        let earliest = |reasons: Arc<Vec<Reason>>| {
            reasons
                .iter()
                .filter_map(|reason| reason.until)
                .min()
                .map(DateTime)
        };
        reasons(ctx, &self.0)
            .await
            .map(|reasons| reasons.map(earliest))
            .and_then(Result::transpose)
    }

    /// Waits that are open now, oldest first.
    #[graphql(complexity = "10 + 5 * child_complexity")]
    async fn waits(&self, ctx: &Context<'_>) -> Result<Vec<WaitObject>, Error> {
        if self.0.status.is_ended() {
            Ok(Vec::new())
        } else {
            wait::of_run(ctx, self.0.id).await
        }
    }

    /// Spans of this run.
    #[graphql(complexity = "20 + child_complexity")]
    async fn trace(&self, ctx: &Context<'_>) -> Result<TraceObject, Error> {
        match trace::find(ctx, self.0.id).await {
            Some(found) => found,
            None => Err(no_run(ctx, self.0.id)),
        }
    }

    /// What started it.
    async fn trigger(&self) -> RunTrigger {
        RunTrigger::of(&self.0)
    }

    /// Triggering events; more than one for batches.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<EventObject, EventPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let mut found = load_many(ctx, self.0.events.clone()).await?;
        let events: Vec<_> = self
            .0
            .events
            .iter()
            .filter_map(|id| found.remove(id))
            .collect();
        connection::cut(
            events,
            "run.events",
            &request,
            |event| event.id.to_string(),
            EventPage::known,
            EventObject,
        )
    }

    /// Data of the first triggering event.
    async fn input(&self, ctx: &Context<'_>) -> Option<Result<JsonScalar, Error>> {
        let first = *self.0.events.first()?;
        match load(ctx, first).await {
            Ok(event) => event
                .and_then(|event| event.body.member("data"))
                .map(|data| Ok(JsonScalar(data))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Return value; null before the end and on failure.
    async fn output(&self) -> Option<JsonScalar> {
        let completed = self.0.status == RunStatus::Completed;
        self.0
            .ended
            .as_ref()
            .filter(|_| completed)
            .map(|ended| JsonScalar(ended.output.clone()))
    }

    /// Why it failed or was cancelled.
    async fn error(&self) -> Option<ExecutionError> {
        self.0
            .ended
            .as_ref()
            .and_then(|ended| ExecutionError::of_run(self.0.id, self.0.status, &ended.output))
    }

    /// Why it was skipped.
    async fn skip(&self) -> Option<RunSkip> {
        self.0.skip_reason.map(|reason| RunSkip {
            reason: reason.into(),
        })
    }

    /// How it was cancelled.
    async fn cancel(&self) -> Option<RunCancel> {
        let cancelled = self.0.status == RunStatus::Cancelled;
        self.0
            .ended
            .as_ref()
            .filter(|_| cancelled)
            .and_then(RunCancel::of)
    }

    /// Attempt number of the function body, counted from 0.
    async fn attempt(&self, ctx: &Context<'_>) -> Result<i32, Error> {
        let failed = load(ctx, AttemptsOf(self.0.id)).await?.unwrap_or_default();
        let of_body = failed.iter().filter(|attempt| attempt.step.is_none());
        let next = of_body
            .map(|attempt| attempt.attempt + u32::from(attempt.next_at.is_some()))
            .max();
        Ok(next.map_or(0, |number| i32::try_from(number).unwrap_or(i32::MAX)))
    }

    /// Attempts allowed, first one included, of each step and of the function body: by the version in force as long as it has not ended,
    /// then by the version it was started with; null when that is one of the old ones that are not kept.
    async fn max_attempts(&self, ctx: &Context<'_>) -> Option<Result<i32, Error>> {
        max_attempts(ctx, &self.0).await
    }

    /// Size of the stored results of its steps.
    async fn state_size_bytes(&self, ctx: &Context<'_>) -> Result<Long, Error> {
        let steps = load(ctx, StepsOf(self.0.id)).await?.unwrap_or_default();
        let sizes = steps.iter().filter_map(|step| step.memo.as_ref());
        Ok(Long(sizes.map(|memo| memo.len() as u64).sum()))
    }

    /// Steps in the order they were found.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn steps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<StepObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let steps = load(ctx, StepsOf(self.0.id)).await?.unwrap_or_default();
        connection::cut_counted(
            steps,
            "run.steps",
            &request,
            |step| step.step.to_string(),
            StepObject,
        )
    }

    /// One step by its hashed id.
    async fn step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Hashed id.")] step_id: String,
    ) -> Option<Result<StepObject, Error>> {
        match load(ctx, StepsOf(self.0.id)).await {
            Ok(steps) => steps
                .unwrap_or_default()
                .into_iter()
                .find(|step| step.step.as_str() == step_id)
                .map(|step| Ok(StepObject(step))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Number of steps by status.
    async fn step_counts(&self, ctx: &Context<'_>) -> Result<StepStatusCounts, Error> {
        let steps = load(ctx, StepsOf(self.0.id)).await?.unwrap_or_default();
        Ok(StepStatusCounts::of(&steps))
    }

    /// The invoke step that started it.
    async fn parent_step(&self, ctx: &Context<'_>) -> Option<Result<StepObject, Error>> {
        let (run, step) = parse_correlation(self.0.correlation.as_deref()?)?;
        match load(ctx, StepsOf(run)).await {
            Ok(steps) => steps
                .unwrap_or_default()
                .into_iter()
                .find(|found| found.step == step)
                .map(|found| Ok(StepObject(found))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Hashed id of the step the rerun began at.
    async fn rerun_from_step(&self) -> Option<&str> {
        self.0.rerun.as_ref().map(|rerun| rerun.step.as_str())
    }

    /// Replay that started it, as long as it is known.
    async fn replay(&self, ctx: &Context<'_>) -> Option<Result<ReplayObject, Error>> {
        bulk::find_replay(ctx, self.0.replay?).await
    }

    /// Runs that repeat it, newest first, those of replays too. Repetitions of a repetition repeat the first run.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn reruns(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let found = answer(ctx, RepetitionsOf(self.0.id, request)).await?;
        let length = Length::Repetitions(RepetitionCountOf(self.0.id));
        Ok(Page::of(found, RunPage::nested(length), RunObject))
    }

    /// Runs started by its invoke steps, in the order of these.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn invoked_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let steps = load(ctx, StepsOf(self.0.id)).await?.unwrap_or_default();
        let invoking = steps.iter().filter(|step| step.kind == StepKind::Invoke);
        let keys: Vec<FirstRunOf> = invoking
            .map(|step| FirstRunOf(finish::invocation_id(step.run, &step.step)))
            .collect();
        let mut found = load_many(ctx, keys.clone()).await?;
        let runs: Vec<Run> = keys.iter().filter_map(|key| found.remove(key)).collect();
        connection::cut(
            runs,
            "run.invoked",
            &request,
            |run| run.id.to_string(),
            |length| RunPage::nested(Length::Known(length)),
            RunObject,
        )
    }

    /// Value of the idempotency expression of its function that guards it, cut to 256 bytes; null when the function has none, for skipped
    /// runs and repetitions, which nothing guards, and for runs of before this was kept.
    async fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }

    /// The run it repeats.
    #[graphql(complexity = "10 + child_complexity")]
    async fn rerun_of(&self, ctx: &Context<'_>) -> Option<Result<RunObject, Error>> {
        find(ctx, self.0.original?).await
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> Milliseconds {
    Milliseconds(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// How many attempts each call of a run gets; none when its version of the function is not kept.
pub(crate) async fn max_attempts(ctx: &Context<'_>, run: &Run) -> Option<Result<i32, Error>> {
    let config = if run.status.is_ended() {
        let version = load(ctx, VersionOf(run.function, run.function_version)).await;
        version.map(|version| version.map(|version| version.config))
    } else {
        let function = load(ctx, run.function).await;
        function.map(|function| function.map(|function| function.config))
    };
    let read = |config: Json| {
        let config = read_config(ctx, run.function, &config)?;
        Ok(i32::try_from(config.max_attempts()).unwrap_or(i32::MAX))
    };
    config.transpose().map(|config| config.and_then(read))
}

/// Why an unfinished run is where it is; none after its end.
async fn reasons(ctx: &Context<'_>, run: &Run) -> Option<Result<Arc<Vec<Reason>>, Error>> {
    if run.status.is_ended() {
        return None;
    }
    load(ctx, ReasonsOf(run.id)).await.transpose()
}

/// The run with this id, null when it is missing or not the caller's to see.
pub(crate) async fn find(ctx: &Context<'_>, id: RunId) -> Option<Result<RunObject, Error>> {
    let found = load(ctx, id).await.transpose();
    found.map(|found| found.map(RunObject))
}

/// Fails instead of answering null.
pub(crate) async fn get(ctx: &Context<'_>, id: RunId) -> Result<RunObject, Error> {
    match find(ctx, id).await {
        Some(found) => found,
        None => Err(no_run(ctx, id)),
    }
}

fn no_run(ctx: &Context<'_>, id: RunId) -> Error {
    let (what, id) = ("run", id.to_string());
    failed(ctx, &ServiceError::NotFound { what, id })
}
