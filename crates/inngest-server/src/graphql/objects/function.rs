//! Functions and what starts them.

use async_graphql::{Context, Error, ID, Object, SimpleObject, Union};

use inngest_core::{
    app::Function,
    bulk::BulkKind,
    cron::Schedule,
    function::config::{self, FunctionConfig},
    ids::FunctionId,
    json::Json,
    time::Timestamp,
    wire,
};

use crate::graphql::{
    asking::asking,
    connection::{self, Counted, Length, Page, RunPage},
    error::{as_error, bad_input},
    ids::GlobalId,
    loaders::{BacklogOf, VersionOf, load},
    objects::{
        app::AppObject,
        bulk::{CancellationObject, ReplayObject},
        environment::{EnvironmentObject, list_runs_of},
        filter::{RunFilter, RunOrder},
        function_config::FunctionConfigObject,
        function_version::FunctionVersionObject,
        metrics::FunctionMetrics,
        pause::FunctionPause,
        queue::FunctionBacklog,
        run::RunObject,
    },
    parents::{BulkCountOf, BulkOf, VersionCountOf, VersionsOf},
    related::{FailureHandlerOf, LatestRunOf, answer},
    scalars::{CelExpression, DateTime, DurationString, UuidText},
};

/// A durable function.
pub(crate) struct FunctionObject(pub(crate) Function);

/// A stored configuration, read.
pub(crate) fn read_config(
    ctx: &Context<'_>,
    function: FunctionId,
    config: &Json,
) -> Result<FunctionConfig, Error> {
    wire::sync::parse_config(config).map_err(|error| {
        let what =
            format!("the stored configuration of function `{function}` is unreadable: {error}");
        as_error(
            &inngest_services::Error::Internal { what },
            &asking(ctx).request_id,
        )
    })
}

/// What starts a run of a function with this configuration. Schedules tell their next start after `now`, if it is given.
pub(crate) fn triggers_of(config: FunctionConfig, now: Option<Timestamp>) -> Vec<TriggerObject> {
    if config.triggers.is_empty() {
        return vec![TriggerObject::Invoke(InvokeTrigger {
            note: "starts by invocation only".to_owned(),
        })];
    }
    let read = |trigger: config::Trigger| match trigger {
        config::Trigger::Event {
            pattern,
            expression,
        } => TriggerObject::Event(EventTrigger {
            event_name: pattern,
            expression: expression.map(CelExpression),
        }),
        config::Trigger::Cron { schedule, jitter } => {
            let parsed = Schedule::parse(&schedule).ok();
            let next = now.and_then(|now| parsed.as_ref()?.next_after(now.as_millis()));
            TriggerObject::Cron(CronTrigger {
                timezone: parsed.map_or("UTC", |it| it.zone_name()).to_owned(),
                next_at: next.map(|at| DateTime(Timestamp::from_millis(at))),
                schedule,
                jitter: jitter.map(DurationString::of),
            })
        }
    };
    config.triggers.into_iter().map(read).collect()
}

/// A durable function.
#[Object(name = "Function")]
impl FunctionObject {
    /// Global id, prefix fn.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.global()
    }

    /// Native id.
    async fn function_id(&self) -> UuidText {
        UuidText(self.0.id.to_string())
    }

    /// App id and function id joined by a hyphen, unique in the environment.
    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The app it belongs to.
    async fn app(&self, ctx: &Context<'_>) -> Result<AppObject, Error> {
        load(ctx, self.0.app)
            .await?
            .map(AppObject)
            .ok_or_else(|| bad_input("the app of this function is gone"))
    }

    /// The environment it belongs to.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// What starts a run.
    #[graphql(complexity = "5 * child_complexity")]
    async fn triggers(&self, ctx: &Context<'_>) -> Result<Vec<TriggerObject>, Error> {
        let now = asking(ctx).services.clock().now();
        let config = read_config(ctx, self.0.id, &self.0.config)?;
        let starts = self.0.archived_at.is_none() && self.0.pause.is_none();
        Ok(triggers_of(config, starts.then_some(now)))
    }

    /// The version in force.
    async fn version(&self, ctx: &Context<'_>) -> Result<FunctionVersionObject, Error> {
        load(ctx, VersionOf(self.0.id, self.0.version))
            .await?
            .map(FunctionVersionObject)
            .ok_or_else(|| bad_input("the version of this function is gone"))
    }

    /// The newest 100 versions, newest first.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<FunctionVersionObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let found = answer(ctx, VersionsOf(self.0.id, request)).await?;
        let extra = Counted(Length::VersionsOf(VersionCountOf(self.0.id)));
        Ok(Page::of(found, extra, FunctionVersionObject))
    }

    /// Flow control and retry settings in force.
    async fn config(&self, ctx: &Context<'_>) -> Result<FunctionConfigObject, Error> {
        Ok(FunctionConfigObject {
            config: read_config(ctx, self.0.id, &self.0.config)?,
            raw: self.0.config.clone(),
        })
    }

    /// Paused functions start no new runs.
    async fn is_paused(&self) -> bool {
        self.0.pause.is_some()
    }

    /// Details of the pause, null when not paused.
    async fn pause(&self) -> Option<FunctionPause> {
        self.0.pause.as_ref().map(FunctionPause::of)
    }

    /// Archived functions are gone from code.
    async fn is_archived(&self) -> bool {
        self.0.archived_at.is_some()
    }

    /// When it disappeared from code.
    async fn archived_at(&self) -> Option<DateTime> {
        self.0.archived_at.map(DateTime)
    }

    /// Function that runs when this one fails: the one that its SDK has registered for that.
    #[graphql(complexity = "10 + child_complexity")]
    async fn failure_handler(&self, ctx: &Context<'_>) -> Option<Result<FunctionObject, Error>> {
        let found = load(ctx, FailureHandlerOf(self.0.id)).await.transpose();
        found.map(|found| found.map(FunctionObject))
    }

    /// First registration.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// Last change of configuration.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }

    /// Present queue state of this function; null, with an error, when the schedule does not answer.
    #[graphql(complexity = "5 + child_complexity")]
    async fn backlog(&self, ctx: &Context<'_>) -> Option<Result<FunctionBacklog, Error>> {
        load(ctx, BacklogOf(self.0.id))
            .await
            .transpose()
            .map(|found| found.map(FunctionBacklog))
    }

    /// Bulk cancellations that target this function, newest first. Those that have ended are kept as long as they are among the newest 1,000 bulk
    /// operations of the environment.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn cancellations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<CancellationObject, Counted>, Error> {
        let (kind, request) = (
            BulkKind::Cancellation,
            connection::request(ctx, first, after, last, before)?,
        );
        let found = answer(ctx, BulkOf(self.0.id, kind, request)).await?;
        let extra = Counted(Length::BulkOf(BulkCountOf(self.0.id, kind)));
        Ok(Page::of(found, extra, CancellationObject))
    }

    /// Replays of this function, newest first. Those that have ended are kept as long as they are among the newest 1,000 bulk
    /// operations of the environment.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn replays(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<ReplayObject, Counted>, Error> {
        let (kind, request) = (
            BulkKind::Replay,
            connection::request(ctx, first, after, last, before)?,
        );
        let found = answer(ctx, BulkOf(self.0.id, kind, request)).await?;
        let extra = Counted(Length::BulkOf(BulkCountOf(self.0.id, kind)));
        Ok(Page::of(found, extra, ReplayObject))
    }

    /// Most recently queued run, also when it was skipped.
    #[graphql(complexity = "10 + child_complexity")]
    async fn latest_run(&self, ctx: &Context<'_>) -> Option<Result<RunObject, Error>> {
        let found = load(ctx, LatestRunOf(self.0.id)).await.transpose();
        found.map(|found| found.map(RunObject))
    }

    /// Aggregates over time.
    async fn metrics(&self) -> FunctionMetrics {
        FunctionMetrics(self.0.id)
    }

    /// Runs of this function, newest first.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Which runs; a time range is required.")] filter: RunFilter,
        #[graphql(desc = "In which order; those queued last come first when omitted.")]
        order_by: Option<RunOrder>,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        list_runs_of(ctx, self.0.id, filter, order_by, request).await
    }
}

/// What starts a run.
#[derive(Union)]
#[graphql(name = "Trigger")]
pub(crate) enum TriggerObject {
    /// An event.
    Event(EventTrigger),
    /// A schedule.
    Cron(CronTrigger),
    /// Only an invocation.
    Invoke(InvokeTrigger),
}

/// Starts a run when a matching event arrives.
#[derive(SimpleObject)]
pub(crate) struct EventTrigger {
    /// Event name, with star as wildcard.
    event_name: String,
    /// Condition over the event.
    expression: Option<CelExpression>,
}

/// Starts a run on a schedule.
#[derive(SimpleObject)]
pub(crate) struct CronTrigger {
    /// Cron text as registered, including a TZ prefix.
    schedule: String,
    /// Time zone in force, UTC when none was given.
    timezone: String,
    /// Longest random delay.
    jitter: Option<DurationString>,
    /// Next start without its jitter, null while paused or archived.
    next_at: Option<DateTime>,
}

/// Marks a function that has no trigger besides invocation.
#[derive(SimpleObject)]
pub(crate) struct InvokeTrigger {
    /// Constant explanation.
    note: String,
}
