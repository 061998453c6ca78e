//! Figures over time: what can be asked. The answers are in `series`.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};

use inngest_core::{
    ids::{AppId, FunctionId},
    rollup::{Latency, Level, Width},
};
use inngest_services::{Flow, GroupBy, Latencies, Levels, MetricRange, MetricScope, RunTotals};

use crate::graphql::{
    asking::asking,
    error::failed,
    ids,
    objects::{
        filter::TimeRange,
        run_parts::RunStatusCounts,
        series::{FunctionFailureRate, LatencySeriesObject, TimeSeries},
    },
};

/// Width of a time bucket.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Width")]
pub(crate) enum MetricBucket {
    /// Ten seconds; only for the last hour.
    TenSeconds,
    /// One minute; only for the last 3 days.
    Minute,
    /// Five minutes; only for the last 14 days.
    FiveMinutes,
    /// One hour; only for the last 90 days.
    Hour,
    /// One day, UTC; only for the last two years.
    Day,
}

/// How series are split.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MetricGroupBy {
    /// One series.
    #[default]
    None,
    /// One each for the functions with the most, and one for all others.
    Function,
    /// One each for the apps with the most, and one for all others.
    App,
    /// One per status.
    Status,
}

impl From<MetricGroupBy> for GroupBy {
    fn from(group: MetricGroupBy) -> Self {
        match group {
            MetricGroupBy::None => Self::Nothing,
            MetricGroupBy::Function => Self::Function,
            MetricGroupBy::App => Self::App,
            MetricGroupBy::Status => Self::Status,
        }
    }
}

/// What metrics are taken over; everything when omitted.
#[derive(InputObject, Default)]
#[graphql(name = "MetricScope")]
pub(crate) struct MetricScopeInput {
    /// Only these functions.
    function_ids: Option<Vec<ID>>,
    /// Only these apps.
    app_ids: Option<Vec<ID>>,
}

impl MetricScopeInput {
    fn read(scope: Option<Self>) -> Result<MetricScope, Error> {
        let scope = scope.unwrap_or_default();
        let (functions, apps) = (scope.function_ids, scope.app_ids);
        Ok(MetricScope {
            functions: functions
                .as_deref()
                .map(ids::parse_all::<FunctionId>)
                .transpose()?,
            apps: apps.as_deref().map(ids::parse_all::<AppId>).transpose()?,
        })
    }
}

/// What a latency is measured between.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Latency")]
pub(crate) enum LatencyKind {
    /// Run queued to first request.
    QueueDelay,
    /// First request to end of the run.
    RunDuration,
    /// Start to result of a step that runs code or makes a request, by its last attempt.
    StepDuration,
    /// Request sent to answer received.
    SdkRequest,
    /// Run queued, which is when its event was stored, to its end.
    EndToEnd,
}

/// Which level is measured.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Level")]
pub(crate) enum GaugeKind {
    /// Items due now.
    Backlog,
    /// Items under way.
    Executing,
}

/// Which transition of runs is counted.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunFlow {
    /// Runs queued.
    Queued,
    /// Runs started.
    Started,
    /// Runs ended.
    Ended,
    /// Runs skipped.
    Skipped,
}

impl From<RunFlow> for Flow {
    fn from(flow: RunFlow) -> Self {
        match flow {
            RunFlow::Queued => Self::RunsQueued,
            RunFlow::Started => Self::RunsStarted,
            RunFlow::Ended => Self::RunsEnded,
            RunFlow::Skipped => Self::RunsSkipped,
        }
    }
}

/// Which transition of steps is counted.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepFlow {
    /// Steps ended.
    Ended,
    /// Attempts that failed and will be repeated.
    Retried,
}

impl From<StepFlow> for Flow {
    fn from(flow: StepFlow) -> Self {
        match flow {
            StepFlow::Ended => Self::StepsEnded,
            StepFlow::Retried => Self::AttemptsRetried,
        }
    }
}

/// What a field asks for besides its own.
struct Asked {
    range: MetricRange,
    group: GroupBy,
    scope: MetricScope,
    top: Option<u32>,
}

impl Asked {
    fn of(range: &TimeRange, bucket: Option<MetricBucket>) -> Self {
        Self {
            range: range_of(range, bucket),
            group: GroupBy::Nothing,
            scope: MetricScope::default(),
            top: None,
        }
    }

    fn by(self, group: Option<MetricGroupBy>, top: Option<i32>) -> Self {
        Self {
            group: group.unwrap_or_default().into(),
            top: count(top),
            ..self
        }
    }

    fn over(self, scope: MetricScope) -> Self {
        Self { scope, ..self }
    }

    async fn counts(self, ctx: &Context<'_>, flow: Flow) -> Result<Vec<TimeSeries>, Error> {
        let asking = asking(ctx);
        let metrics = asking.services.metrics();
        let (range, group, top) = (self.range, self.group, self.top);
        let found = metrics.counts(&asking.actor, flow, range, group, self.scope, top);
        let found = found.await.map_err(|error| failed(ctx, &error))?;
        Ok(TimeSeries::of_all(found))
    }

    async fn latencies(
        self,
        ctx: &Context<'_>,
        kind: LatencyKind,
    ) -> Result<Vec<LatencySeriesObject>, Error> {
        let asking = asking(ctx);
        let metrics = asking.services.metrics();
        let (range, group, top) = (self.range, self.group, self.top);
        let found = metrics.latencies(&asking.actor, kind.into(), range, group, self.scope, top);
        let Latencies { span, series } = found.await.map_err(|error| failed(ctx, &error))?;
        let series = series
            .into_iter()
            .map(|series| LatencySeriesObject { span, series });
        Ok(series.collect())
    }

    async fn levels(
        self,
        ctx: &Context<'_>,
        kind: GaugeKind,
        function: Option<FunctionId>,
    ) -> Result<Vec<TimeSeries>, Error> {
        let asking = asking(ctx);
        let metrics = asking.services.metrics();
        let (range, group, top) = (self.range, self.group, self.top);
        let found = metrics.levels(&asking.actor, kind.into(), range, group, function, top);
        let Levels { span, series } = found.await.map_err(|error| failed(ctx, &error))?;
        let series = series
            .into_iter()
            .map(|series| TimeSeries::of_levels(span, series));
        Ok(series.collect())
    }

    async fn totals(self, ctx: &Context<'_>) -> Result<RunTotals, Error> {
        let asking = asking(ctx);
        let metrics = asking.services.metrics();
        let found = metrics.run_totals(&asking.actor, self.range, self.scope);
        found.await.map_err(|error| failed(ctx, &error))
    }
}

/// A range, and how wide its buckets are.
pub(crate) fn range_of(range: &TimeRange, bucket: Option<MetricBucket>) -> MetricRange {
    MetricRange {
        from: range.from.0,
        until: range.until.map(|until| until.0),
        width: bucket.map(Width::from),
    }
}

/// A number that the service judges; one below 0 is as good as 0 for that.
fn count(number: Option<i32>) -> Option<u32> {
    number.map(|number| u32::try_from(number).unwrap_or(0))
}

/// Aggregates over time for an environment.
pub(crate) struct EnvironmentMetrics;

/// Aggregates over time for an environment: counted when something happens, shown a few seconds later, in whole buckets of which the last
/// is still filling.
#[Object]
impl EnvironmentMetrics {
    /// Runs per bucket.
    #[graphql(complexity = "100 + child_complexity")]
    async fn run_throughput(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "Which transition.")] flow: RunFlow,
        #[graphql(desc = "How series are split; NONE when omitted.")] group_by: Option<
            MetricGroupBy,
        >,
        #[graphql(desc = "Over what; everything when omitted.")] scope: Option<MetricScopeInput>,
        #[graphql(desc = "Most series of a group, 1 to 50; 10 when omitted.")] top: Option<i32>,
    ) -> Option<Result<Vec<TimeSeries>, Error>> {
        let scope = match MetricScopeInput::read(scope) {
            Ok(scope) => scope,
            Err(error) => return Some(Err(error)),
        };
        let asked = Asked::of(&range, bucket).by(group_by, top).over(scope);
        Some(asked.counts(ctx, flow.into()).await)
    }

    /// Runs by the state that they reached in a range: one that was queued, started and ended in it counts in all three. `total` counts those
    /// that were queued or skipped.
    #[graphql(complexity = "100 + child_complexity")]
    async fn run_status_counts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; widened to whole buckets.")] range: TimeRange,
        #[graphql(desc = "Over what; everything when omitted.")] scope: Option<MetricScopeInput>,
    ) -> Option<Result<RunStatusCounts, Error>> {
        let scope = match MetricScopeInput::read(scope) {
            Ok(scope) => scope,
            Err(error) => return Some(Err(error)),
        };
        let totals = Asked::of(&range, None).over(scope).totals(ctx).await;
        Some(totals.map(RunStatusCounts::reached))
    }

    /// Latency percentiles, within 2 %.
    #[graphql(complexity = "100 + child_complexity")]
    async fn latency(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "What is measured.")] kind: LatencyKind,
        #[graphql(desc = "How series are split, not by STATUS; NONE when omitted.")]
        group_by: Option<MetricGroupBy>,
        #[graphql(desc = "Over what; everything when omitted.")] scope: Option<MetricScopeInput>,
        #[graphql(desc = "Most series of a group, 1 to 50; 10 when omitted.")] top: Option<i32>,
    ) -> Option<Result<Vec<LatencySeriesObject>, Error>> {
        let scope = match MetricScopeInput::read(scope) {
            Ok(scope) => scope,
            Err(error) => return Some(Err(error)),
        };
        let asked = Asked::of(&range, bucket).by(group_by, top).over(scope);
        Some(asked.latencies(ctx, kind).await)
    }

    /// Steps per bucket.
    #[graphql(complexity = "100 + child_complexity")]
    async fn step_throughput(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "Which transition.")] flow: StepFlow,
        #[graphql(desc = "How series are split; NONE when omitted.")] group_by: Option<
            MetricGroupBy,
        >,
        #[graphql(desc = "Over what; everything when omitted.")] scope: Option<MetricScopeInput>,
        #[graphql(desc = "Most series of a group, 1 to 50; 10 when omitted.")] top: Option<i32>,
    ) -> Option<Result<Vec<TimeSeries>, Error>> {
        let scope = match MetricScopeInput::read(scope) {
            Ok(scope) => scope,
            Err(error) => return Some(Err(error)),
        };
        let asked = Asked::of(&range, bucket).by(group_by, top).over(scope);
        Some(asked.counts(ctx, flow.into()).await)
    }

    /// Requests to apps per bucket, those whose outcome was recorded.
    #[graphql(complexity = "100 + child_complexity")]
    async fn sdk_requests(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "How series are split; NONE when omitted.")] group_by: Option<
            MetricGroupBy,
        >,
        #[graphql(desc = "Over what; everything when omitted.")] scope: Option<MetricScopeInput>,
        #[graphql(desc = "Most series of a group, 1 to 50; 10 when omitted.")] top: Option<i32>,
    ) -> Option<Result<Vec<TimeSeries>, Error>> {
        let scope = match MetricScopeInput::read(scope) {
            Ok(scope) => scope,
            Err(error) => return Some(Err(error)),
        };
        let asked = Asked::of(&range, bucket).by(group_by, top).over(scope);
        Some(asked.counts(ctx, Flow::Requests).await)
    }

    /// Levels: the most of each bucket, sampled every ten seconds. Null where nothing was due or under way.
    #[graphql(complexity = "100 + child_complexity")]
    async fn gauge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "Which level.")] kind: GaugeKind,
        #[graphql(
            desc = "NONE or FUNCTION, which has no series for all others; NONE when omitted."
        )]
        group_by: Option<MetricGroupBy>,
        #[graphql(desc = "Most series of a group, 1 to 50; 10 when omitted.")] top: Option<i32>,
    ) -> Option<Result<Vec<TimeSeries>, Error>> {
        let asked = Asked::of(&range, bucket).by(group_by, top);
        Some(asked.levels(ctx, kind, None).await)
    }

    /// Events per bucket, without those that the server produced: one series for all, unless `names` or `top` is given. On each day (UTC) the
    /// first 1,000 names of an environment are counted apart; events of further ones are only in the series of all and of the others.
    #[graphql(complexity = "100 + child_complexity")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "One series for each of these names, at most 50.")] names: Option<
            Vec<String>,
        >,
        #[graphql(
            desc = "One series for each of so many names with the most events, 1 to 50, and one for all others; not together with names."
        )]
        top: Option<i32>,
    ) -> Option<Result<Vec<TimeSeries>, Error>> {
        let asking = asking(ctx);
        let (range, metrics) = (range_of(&range, bucket), asking.services.metrics());
        let found = metrics.events(&asking.actor, range, names.as_deref(), count(top));
        Some(match found.await {
            Ok(counts) => Ok(TimeSeries::of_all(counts)),
            Err(error) => Err(failed(ctx, &error)),
        })
    }

    /// Functions of which runs failed, the largest share of failed runs first.
    #[graphql(complexity = "100 + 10 * child_complexity")]
    async fn failing_functions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; widened to whole buckets.")] range: TimeRange,
        #[graphql(desc = "Most functions, 1 to 50; 10 when omitted.")] first: Option<i32>,
    ) -> Option<Result<Vec<FunctionFailureRate>, Error>> {
        let asking = asking(ctx);
        let range = Asked::of(&range, None).range;
        let metrics = asking.services.metrics();
        let found = metrics.failing(&asking.actor, range, count(first)).await;
        let found = found.map_err(|error| failed(ctx, &error));
        Some(found.map(|list| list.into_iter().map(FunctionFailureRate::from).collect()))
    }
}

/// Aggregates over time for one function.
pub(crate) struct FunctionMetrics(pub(crate) FunctionId);

impl FunctionMetrics {
    fn scope(&self) -> MetricScope {
        MetricScope {
            functions: Some(vec![self.0]),
            apps: None,
        }
    }
}

/// Aggregates over time for one function, as for an environment.
#[Object]
impl FunctionMetrics {
    /// Runs per bucket.
    #[graphql(complexity = "100 + child_complexity")]
    async fn run_throughput(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "Which transition.")] flow: RunFlow,
        #[graphql(desc = "How series are split; NONE when omitted.")] group_by: Option<
            MetricGroupBy,
        >,
    ) -> Option<Result<Vec<TimeSeries>, Error>> {
        let asked = Asked::of(&range, bucket).by(group_by, None);
        Some(asked.over(self.scope()).counts(ctx, flow.into()).await)
    }

    /// Runs by the state that they reached in a range: one that was queued, started and ended in it counts in all three. `total` counts those
    /// that were queued or skipped.
    #[graphql(complexity = "100 + child_complexity")]
    async fn run_status_counts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; widened to whole buckets.")] range: TimeRange,
    ) -> Option<Result<RunStatusCounts, Error>> {
        let asked = Asked::of(&range, None).over(self.scope());
        Some(asked.totals(ctx).await.map(RunStatusCounts::reached))
    }

    /// Latency percentiles, within 2 %.
    #[graphql(complexity = "100 + child_complexity")]
    async fn latency(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "What is measured.")] kind: LatencyKind,
    ) -> Option<Result<LatencySeriesObject, Error>> {
        let asked = Asked::of(&range, bucket).over(self.scope());
        match asked.latencies(ctx, kind).await {
            Ok(series) => series.into_iter().next().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    /// Levels: the most of each bucket, sampled every ten seconds. Null where nothing was due or under way.
    #[graphql(complexity = "100 + child_complexity")]
    async fn gauge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
        #[graphql(desc = "Which level.")] kind: GaugeKind,
    ) -> Option<Result<TimeSeries, Error>> {
        let asked = Asked::of(&range, bucket);
        match asked.levels(ctx, kind, Some(self.0)).await {
            Ok(series) => series.into_iter().next().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    /// Failed runs divided by ended runs, 0 to 1; null when none ended.
    #[graphql(complexity = "100")]
    async fn failure_rate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; widened to whole buckets.")] range: TimeRange,
    ) -> Option<Result<f64, Error>> {
        let asked = Asked::of(&range, None).over(self.scope());
        match asked.totals(ctx).await {
            Ok(totals) => totals.failure_rate().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}
