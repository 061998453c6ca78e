//! Figures over time: the answers, and what is told of them again and again.

use async_graphql::{Context, Error, Object, SimpleObject};

use inngest_core::{
    ids::FunctionId,
    rollup::{Sketch, Span},
    time::Timestamp,
};
use inngest_services::{CountSeries, Counts, FunctionTick, LatencySeries, LevelSeries, SeriesKey};

use crate::graphql::{
    asking::asking,
    error::bad_input,
    ids::{self, GlobalId},
    loaders::{BacklogOf, load},
    objects::{
        app::AppObject, event_type, function::FunctionObject, metrics::MetricBucket, node::Node,
        queue::FunctionBacklog, run_parts::RunStatusCounts,
    },
    scalars::{DateTime, Long, Milliseconds},
};

/// Share of failed runs of a function.
pub(crate) struct FunctionFailureRate {
    function: FunctionId,
    ended: u64,
    failed: u64,
}

impl From<(FunctionId, u64, u64)> for FunctionFailureRate {
    fn from((function, ended, failed): (FunctionId, u64, u64)) -> Self {
        Self {
            function,
            ended,
            failed,
        }
    }
}

/// Share of failed runs of a function.
#[Object]
impl FunctionFailureRate {
    /// The function.
    async fn function(&self, ctx: &Context<'_>) -> Result<FunctionObject, Error> {
        load(ctx, self.function)
            .await?
            .map(FunctionObject)
            .ok_or_else(|| bad_input("the function of these figures is gone"))
    }

    /// Runs that ended.
    async fn ended(&self) -> Long {
        Long(self.ended)
    }

    /// Runs that failed.
    async fn failed(&self) -> Long {
        Long(self.failed)
    }

    /// Failed divided by ended.
    async fn rate(&self) -> f64 {
        self.failed as f64 / self.ended.max(1) as f64
    }
}

fn key_text(ctx: &Context<'_>, key: &SeriesKey) -> String {
    match key {
        SeriesKey::Total => "total".to_owned(),
        SeriesKey::Other => "other".to_owned(),
        SeriesKey::Status(word) => (*word).to_owned(),
        SeriesKey::Function(id) => id.global().to_string(),
        SeriesKey::App(id) => id.global().to_string(),
        SeriesKey::EventName(name) => ids::event_type(asking(ctx).actor.env, name).to_string(),
    }
}

async fn node_of(ctx: &Context<'_>, key: &SeriesKey) -> Option<Result<Node, Error>> {
    match key {
        SeriesKey::Function(id) => load(ctx, *id)
            .await
            .transpose()
            .map(|found| found.map(|function| Node::Function(FunctionObject(function)))),
        SeriesKey::App(id) => load(ctx, *id)
            .await
            .transpose()
            .map(|found| found.map(|app| Node::App(AppObject(app)))),
        SeriesKey::EventName(name) => event_type::find(ctx, name.clone())
            .await
            .map(|found| found.map(Node::EventType)),
        SeriesKey::Total | SeriesKey::Other | SeriesKey::Status(_) => None,
    }
}

async fn label_of(ctx: &Context<'_>, key: &SeriesKey) -> Result<String, Error> {
    let name = match key {
        SeriesKey::Function(id) => load(ctx, *id).await?.map(|found| found.name),
        SeriesKey::App(id) => load(ctx, *id).await?.map(|found| found.name),
        SeriesKey::EventName(name) => Some(name.clone()),
        SeriesKey::Total => Some("Total".to_owned()),
        SeriesKey::Other => Some("Other".to_owned()),
        SeriesKey::Status(word) => {
            let (first, rest) = word.split_at(1);
            Some(format!("{first}{}", rest.to_lowercase()))
        }
    };
    Ok(name.unwrap_or_else(|| key_text(ctx, key)))
}

/// Counts or levels of one series.
pub(crate) struct TimeSeries {
    span: Span,
    key: SeriesKey,
    points: Vec<Option<u64>>,
}

impl TimeSeries {
    pub(crate) fn of_counts(span: Span, series: CountSeries) -> Self {
        Self {
            span,
            key: series.key,
            points: series.points.into_iter().map(Some).collect(),
        }
    }

    /// Each of the series.
    pub(crate) fn of_all(counts: Counts) -> Vec<Self> {
        let Counts { span, series } = counts;
        let series = series.into_iter();
        series.map(|own| Self::of_counts(span, own)).collect()
    }

    pub(crate) fn of_levels(span: Span, series: LevelSeries) -> Self {
        Self {
            span,
            key: series.key,
            points: series.points,
        }
    }
}

/// Values over time; buckets without data have value 0 or null.
#[Object]
impl TimeSeries {
    /// Name of the series: total, other, a status, or a global id.
    async fn key(&self, ctx: &Context<'_>) -> String {
        key_text(ctx, &self.key)
    }

    /// Name for a human.
    async fn label(&self, ctx: &Context<'_>) -> Result<String, Error> {
        label_of(ctx, &self.key).await
    }

    /// Function, app or event name of the series.
    async fn node(&self, ctx: &Context<'_>) -> Option<Result<Node, Error>> {
        node_of(ctx, &self.key).await
    }

    /// Width of the buckets.
    async fn bucket(&self) -> MetricBucket {
        self.span.width.into()
    }

    /// Points by time.
    async fn points(&self) -> Vec<TimeSeriesPoint> {
        let point = |(at, value): (Timestamp, &Option<u64>)| TimeSeriesPoint {
            at: DateTime(at),
            value: value.map(|value| value as f64),
        };
        self.span.starts().zip(&self.points).map(point).collect()
    }

    /// Sum over all points.
    async fn total(&self) -> f64 {
        let values = self.points.iter().flatten();
        values.map(|value| *value as f64).sum()
    }
}

/// Value of one bucket.
#[derive(SimpleObject)]
pub(crate) struct TimeSeriesPoint {
    /// Start of the bucket.
    at: DateTime,
    /// Value, null when nothing was measured.
    value: Option<f64>,
}

/// Latencies of one series.
pub(crate) struct LatencySeriesObject {
    pub(crate) span: Span,
    pub(crate) series: LatencySeries,
}

/// Latency distribution over time.
#[Object(name = "LatencySeries")]
impl LatencySeriesObject {
    /// Name of the series: total, other, or a global id.
    async fn key(&self, ctx: &Context<'_>) -> String {
        key_text(ctx, &self.series.key)
    }

    /// Name for a human.
    async fn label(&self, ctx: &Context<'_>) -> Result<String, Error> {
        label_of(ctx, &self.series.key).await
    }

    /// Function or app of the series.
    async fn node(&self, ctx: &Context<'_>) -> Option<Result<Node, Error>> {
        node_of(ctx, &self.series.key).await
    }

    /// Width of the buckets.
    async fn bucket(&self) -> MetricBucket {
        self.span.width.into()
    }

    /// Points by time.
    async fn points(&self) -> Vec<LatencyPoint> {
        let points = self.span.starts().zip(&self.series.points);
        points
            .map(|(at, sketch)| LatencyPoint::of(at, sketch))
            .collect()
    }

    /// The whole range as one bucket.
    async fn overall(&self) -> LatencyPoint {
        LatencyPoint::of(self.span.from, &self.series.overall)
    }
}

/// Latency distribution of one bucket; percentiles within 2 %, null when nothing was measured.
#[derive(SimpleObject)]
pub(crate) struct LatencyPoint {
    /// Start of the bucket.
    at: DateTime,
    /// Number of measurements.
    count: Long,
    /// Mean.
    mean_ms: Option<f64>,
    /// Median.
    #[graphql(name = "p50Ms")]
    p50: Option<f64>,
    /// 90th percentile.
    #[graphql(name = "p90Ms")]
    p90: Option<f64>,
    /// 95th percentile.
    #[graphql(name = "p95Ms")]
    p95: Option<f64>,
    /// 99th percentile.
    #[graphql(name = "p99Ms")]
    p99: Option<f64>,
    /// Largest.
    max_ms: Option<f64>,
}

impl LatencyPoint {
    fn of(at: Timestamp, sketch: &Sketch) -> Self {
        Self {
            at: DateTime(at),
            count: Long(sketch.count()),
            mean_ms: sketch.mean_ms(),
            p50: sketch.quantile_ms(0.5),
            p90: sketch.quantile_ms(0.9),
            p95: sketch.quantile_ms(0.95),
            p99: sketch.quantile_ms(0.99),
            max_ms: sketch.max_ms(),
        }
    }
}

/// A tick of a function's figures.
pub(crate) struct FunctionMetricsTick(pub(crate) FunctionTick);

/// Message of functionMetrics; covers the time since the previous one.
#[Object]
impl FunctionMetricsTick {
    /// End of the interval.
    async fn at(&self) -> DateTime {
        DateTime(self.0.at)
    }

    /// Length of the interval; 0 for the first message, which counts nothing.
    async fn interval_ms(&self) -> Milliseconds {
        let millis = u64::try_from(self.0.interval.as_millis());
        Milliseconds(millis.unwrap_or(u64::MAX))
    }

    /// Runs by the state that they reached, as it became known in the interval.
    async fn counts(&self) -> RunStatusCounts {
        RunStatusCounts::reached(self.0.runs)
    }

    /// Queue state at the end of the interval; null, with an error, when the schedule does not answer.
    async fn backlog(&self, ctx: &Context<'_>) -> Option<Result<FunctionBacklog, Error>> {
        load(ctx, BacklogOf(self.0.function))
            .await
            .transpose()
            .map(|found| found.map(FunctionBacklog))
    }
}
