//! Figures over time: how many runs, steps, requests and events there were, and how long they took.
//!
//! They come from buckets that are added up from what was committed, a few seconds behind (`keep`), never from the rows of runs. So a
//! question takes the same few statements for an hour and a year, for one function and a thousand.

mod keep;
mod levels;
mod names;
mod sample;
mod usage;

use std::collections::BTreeMap;

use inngest_core::{
    access::{Actor, Scope},
    ids::{AppId, FunctionId},
    rollup::{BadSpan, Counter, Latency, Sketch, Span, Width},
    time::Timestamp,
};
use inngest_state::{GroupedBy, RollupGroup, RollupQuery};
use uuid::Uuid;

use crate::{Error, engine::Shared, lists::bounded};

pub(crate) use keep::{Rolling, roll_up};
pub use levels::{LevelSeries, Levels};
#[cfg(feature = "test-util")]
pub(crate) use sample::Sampler;
pub use usage::Usage;

/// Series of a group, unless a number is given.
const TOP: u32 = 10;
/// Most series of a group.
const MOST_SERIES: u32 = 50;

/// Figures over time. Made by `Services::metrics`.
pub struct Metrics<'a>(pub(crate) &'a Shared);

/// Over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricRange {
    /// The start, which counts as part of it.
    pub from: Timestamp,
    /// The end, which does not; now when there is none.
    pub until: Option<Timestamp>,
    /// How wide the buckets are; chosen by the length of the range when it is not said.
    pub width: Option<Width>,
}

/// Over what.
#[derive(Clone, Debug, Default)]
pub struct MetricScope {
    /// Only these functions.
    pub functions: Option<Vec<FunctionId>>,
    /// Only functions of these apps.
    pub apps: Option<Vec<AppId>>,
}

/// How series are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// All in one series.
    Nothing,
    /// One series each for the functions with the most, and one for the others.
    Function,
    /// The same by app.
    App,
    /// One for each status.
    Status,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Runs that were queued.
    RunsQueued,
    /// Runs whose app was called for the first time.
    RunsStarted,
    /// Runs that ended.
    RunsEnded,
    /// Runs that were recorded and never executed.
    RunsSkipped,
    /// Steps that ended.
    StepsEnded,
    /// Attempts at steps that failed and were to be repeated.
    AttemptsRetried,
    /// Requests to apps.
    Requests,
    /// Events that senders sent.
    Events,
}

impl Flow {
    /// What it is made up of, each with its word.
    fn parts(self) -> &'static [(&'static str, Counter)] {
        match self {
            Self::RunsQueued => &[("QUEUED", Counter::RunsQueued)],
            Self::RunsStarted => &[("STARTED", Counter::RunsStarted)],
            Self::RunsEnded => &[
                ("COMPLETED", Counter::RunsCompleted),
                ("FAILED", Counter::RunsFailed),
                ("CANCELLED", Counter::RunsCancelled),
            ],
            Self::RunsSkipped => &[("SKIPPED", Counter::RunsSkipped)],
            Self::StepsEnded => &[
                ("COMPLETED", Counter::StepsCompleted),
                ("FAILED", Counter::StepsFailed),
                ("CANCELLED", Counter::StepsCancelled),
            ],
            Self::AttemptsRetried => &[("RETRIED", Counter::AttemptsRetried)],
            Self::Requests => &[
                ("OK", Counter::RequestsOk),
                ("FAILED", Counter::RequestsFailed),
            ],
            Self::Events => &[("RECEIVED", Counter::Events)],
        }
    }
}

/// By how many measurements groups are ranked.
fn counted_by(latency: Latency) -> &'static [Counter] {
    const ENDED: &[Counter] = &[
        Counter::RunsCompleted,
        Counter::RunsFailed,
        Counter::RunsCancelled,
    ];
    match latency {
        Latency::QueueDelay => &[Counter::RunsStarted],
        Latency::RunDuration | Latency::EndToEnd => ENDED,
        Latency::StepDuration => &[Counter::StepsCompleted, Counter::StepsFailed],
        Latency::SdkRequest => &[Counter::RequestsOk, Counter::RequestsFailed],
    }
}

/// Which series it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesKey {
    /// All that was asked for.
    Total,
    /// A function.
    Function(FunctionId),
    /// An app.
    App(AppId),
    /// Events of this name.
    EventName(String),
    /// A status, in capitals.
    Status(&'static str),
    /// What is left beside the functions, apps or names that have series of their own.
    Other,
}

/// Counts over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The buckets.
    pub span: Span,
    /// The series, largest first; `Other` last.
    pub series: Vec<CountSeries>,
}

/// Counts of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountSeries {
    /// Which one.
    pub key: SeriesKey,
    /// One number for each bucket.
    pub points: Vec<u64>,
}

/// Latencies over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// The buckets.
    pub span: Span,
    /// The series, those with most measurements first; `Other` last.
    pub series: Vec<LatencySeries>,
}

/// Latencies of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencySeries {
    /// Which one.
    pub key: SeriesKey,
    /// One distribution for each bucket.
    pub points: Vec<Sketch>,
    /// All of them together.
    pub overall: Sketch,
}

/// How many runs reached which state; a run that was queued, started and ended counts as each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTotals {
    /// Were queued.
    pub queued: u64,
    /// Were recorded and never executed.
    pub skipped: u64,
    /// Were started.
    pub started: u64,
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Were cancelled.
    pub cancelled: u64,
}

impl RunTotals {
    /// The counters, in the order of [`RunTotals::of`].
    pub(crate) const COUNTERS: [Counter; 6] = [
        Counter::RunsQueued,
        Counter::RunsSkipped,
        Counter::RunsStarted,
        Counter::RunsCompleted,
        Counter::RunsFailed,
        Counter::RunsCancelled,
    ];

    pub(crate) fn of(counts: [u64; 6]) -> Self {
        let [queued, skipped, started, completed, failed, cancelled] = counts;
        Self {
            queued,
            skipped,
            started,
            completed,
            failed,
            cancelled,
        }
    }

    /// What has come since.
    pub(crate) fn since(&self, before: Self) -> Self {
        Self {
            queued: self.queued.saturating_sub(before.queued),
            skipped: self.skipped.saturating_sub(before.skipped),
            started: self.started.saturating_sub(before.started),
            completed: self.completed.saturating_sub(before.completed),
            failed: self.failed.saturating_sub(before.failed),
            cancelled: self.cancelled.saturating_sub(before.cancelled),
        }
    }

    /// Runs that ended.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }

    /// Failed by ended; none when none ended.
    pub fn failure_rate(&self) -> Option<f64> {
        (self.ended() > 0).then(|| self.failed as f64 / self.ended() as f64)
    }
}

impl Metrics<'_> {
    /// How many there were in each bucket. Three statements at most.
    ///
    /// # Errors
    /// The actor may not see figures; a range, scope or number of series that cannot be answered; the database's.
    pub async fn counts(
        &self,
        actor: &Actor,
        flow: Flow,
        range: MetricRange,
        group: GroupBy,
        scope: MetricScope,
        top: Option<u32>,
    ) -> Result<Counts, Error> {
        let query = self.query(actor, range, scope)?;
        let parts = flow.parts();
        let counters: Vec<Counter> = parts.iter().map(|(_, counter)| *counter).collect();
        let most = top_of(top)?;
        let together = RollupGroup::Together;
        let by = match group {
            GroupBy::Nothing | GroupBy::Status => {
                let rows = self.0.store.rolled_counts(&query, &together, &counters);
                let rows = rows.await?;
                let series = match group {
                    GroupBy::Status => parts
                        .iter()
                        .enumerate()
                        .map(|(place, (word, _))| CountSeries {
                            key: SeriesKey::Status(word),
                            points: points(query.span, &rows, |counts| counts[place]),
                        })
                        .collect(),
                    _ => vec![CountSeries {
                        key: SeriesKey::Total,
                        points: points(query.span, &rows, |counts| counts.iter().sum()),
                    }],
                };
                return Ok(Counts {
                    span: query.span,
                    series,
                });
            }
            GroupBy::Function => GroupedBy::Function,
            GroupBy::App => GroupedBy::App,
        };
        let store = &self.0.store;
        let ids = store.rolled_top(&query, by, &counters, most).await?;
        let all = store.rolled_counts(&query, &together, &counters).await?;
        let mut rest = points(query.span, &all, |counts| counts.iter().sum());
        let each = RollupGroup::Each(by, ids.clone());
        let each = store.rolled_counts(&query, &each, &counters).await?;
        let mut series = Vec::new();
        for id in ids {
            let own: Vec<_> = each.iter().filter(|(group, ..)| *group == id).collect();
            let own = points(query.span, own, |counts| counts.iter().sum());
            for (left, count) in rest.iter_mut().zip(&own) {
                *left = left.saturating_sub(*count);
            }
            let key = key_of(by, id);
            series.push(CountSeries { key, points: own });
        }
        if rest.iter().any(|count| *count > 0) {
            let key = SeriesKey::Other;
            series.push(CountSeries { key, points: rest });
        }
        Ok(Counts {
            span: query.span,
            series,
        })
    }

    /// How long something took in each bucket. Three statements at most.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`]; `latency_has_no_status`; `too_many_series` when too much would have to be added up.
    pub async fn latencies(
        &self,
        actor: &Actor,
        latency: Latency,
        range: MetricRange,
        group: GroupBy,
        scope: MetricScope,
        top: Option<u32>,
    ) -> Result<Latencies, Error> {
        let query = self.query(actor, range, scope)?;
        let most = top_of(top)?;
        let by = match group {
            GroupBy::Nothing => None,
            GroupBy::Function => Some(GroupedBy::Function),
            GroupBy::App => Some(GroupedBy::App),
            GroupBy::Status => {
                return Err(Error::Invalid {
                    code: "latency_has_no_status",
                    message:
                        "latencies are not told apart by status; group them by function or app"
                            .to_owned(),
                });
            }
        };
        let store = &self.0.store;
        let together = RollupGroup::Together;
        let all = store.rolled_sketches(&query, &together, latency).await?;
        let all = distributions(query.span, all.ok_or_else(too_many)?);
        let mut rest = all
            .into_iter()
            .next()
            .map_or_else(|| no_sketches(query.span), |(_, points)| points);
        let Some(by) = by else {
            return Ok(Latencies {
                span: query.span,
                series: vec![latency_series(SeriesKey::Total, rest)],
            });
        };
        let ids = store
            .rolled_top(&query, by, counted_by(latency), most)
            .await?;
        let each = RollupGroup::Each(by, ids.clone());
        let each = store.rolled_sketches(&query, &each, latency).await?;
        let mut each = distributions(query.span, each.ok_or_else(too_many)?);
        let mut series = Vec::new();
        for id in ids {
            let Some(own) = each.remove(&id) else {
                continue;
            };
            for (left, part) in rest.iter_mut().zip(&own) {
                left.take_out(part);
            }
            series.push(latency_series(key_of(by, id), own));
        }
        if rest.iter().any(|sketch| !sketch.is_empty()) {
            series.push(latency_series(SeriesKey::Other, rest));
        }
        Ok(Latencies {
            span: query.span,
            series,
        })
    }

    /// How many runs reached which state in the buckets that the range touches. One statement.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`].
    pub async fn run_totals(
        &self,
        actor: &Actor,
        range: MetricRange,
        scope: MetricScope,
    ) -> Result<RunTotals, Error> {
        let query = self.query(actor, range, scope)?;
        let counters = RunTotals::COUNTERS;
        let together = RollupGroup::Together;
        let rows = self.0.store.rolled_counts(&query, &together, &counters);
        Ok(RunTotals::of(sum_of(&rows.await?)))
    }

    /// Functions of which runs failed, with how many ended and how many of these failed, the largest share first. One statement.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`].
    pub async fn failing(
        &self,
        actor: &Actor,
        range: MetricRange,
        first: Option<u32>,
    ) -> Result<Vec<(FunctionId, u64, u64)>, Error> {
        let query = self.query(actor, range, MetricScope::default())?;
        Ok(self.0.store.rolled_failures(&query, top_of(first)?).await?)
    }

    fn query(
        &self,
        actor: &Actor,
        range: MetricRange,
        scope: MetricScope,
    ) -> Result<RollupQuery, Error> {
        actor.require(Scope::MetricsRead)?;
        bounded(scope.functions.as_ref().map_or(0, Vec::len))?;
        bounded(scope.apps.as_ref().map_or(0, Vec::len))?;
        let now = self.0.clock.now();
        let span = Span::of(range.from, range.until, range.width, now);
        let span = span.map_err(|bad| Error::Invalid {
            code: match bad {
                BadSpan::Empty => "empty_range",
                BadSpan::Gone(_) => "bucket_not_kept",
                BadSpan::Long(_) => "too_many_points",
            },
            message: bad.to_string(),
        })?;
        Ok(RollupQuery {
            env: actor.env,
            span,
            functions: scope.functions,
            apps: scope.apps,
        })
    }
}

fn top_of(top: Option<u32>) -> Result<u32, Error> {
    let top = top.unwrap_or(TOP);
    if (1..=MOST_SERIES).contains(&top) {
        return Ok(top);
    }
    Err(Error::Invalid {
        code: "invalid_number_of_series",
        message: format!("{top} is no number from 1 to {MOST_SERIES}"),
    })
}

fn too_many() -> Error {
    Error::Invalid {
        code: "too_many_series",
        message: "this many functions over this many buckets are too much for one answer; ask for a wider bucket, a shorter range or fewer functions"
            .to_owned(),
    }
}

fn key_of(by: GroupedBy, id: Uuid) -> SeriesKey {
    match by {
        GroupedBy::Function => SeriesKey::Function(FunctionId::from_raw(id)),
        GroupedBy::App => SeriesKey::App(AppId::from_raw(id)),
    }
}

/// The sums over all rows, by the place of the counter.
pub(crate) fn sum_of<const N: usize>(rows: &[(Uuid, Timestamp, Vec<u64>)]) -> [u64; N] {
    let mut sums = [0u64; N];
    for (_, _, counts) in rows {
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.saturating_add(*count);
        }
    }
    sums
}

/// One number for each bucket; 0 where there is no row.
fn points<'a>(
    span: Span,
    rows: impl IntoIterator<Item = &'a (Uuid, Timestamp, Vec<u64>)>,
    value: impl Fn(&[u64]) -> u64,
) -> Vec<u64> {
    let mut points: Vec<u64> = span.starts().map(|_| 0).collect();
    for (_, start, counts) in rows {
        if let Some(point) = span.place(*start).and_then(|place| points.get_mut(place)) {
            *point = value(counts);
        }
    }
    points
}

fn no_sketches(span: Span) -> Vec<Sketch> {
    span.starts().map(|_| Sketch::default()).collect()
}

/// One distribution for each bucket, by group.
fn distributions(
    span: Span,
    found: BTreeMap<(Uuid, Timestamp), Sketch>,
) -> BTreeMap<Uuid, Vec<Sketch>> {
    let mut groups: BTreeMap<Uuid, Vec<Sketch>> = BTreeMap::new();
    for ((id, start), sketch) in found {
        let points = groups.entry(id).or_insert_with(|| no_sketches(span));
        if let Some(point) = span.place(start).and_then(|place| points.get_mut(place)) {
            *point = sketch;
        }
    }
    groups
}

fn latency_series(key: SeriesKey, points: Vec<Sketch>) -> LatencySeries {
    let mut overall = Sketch::default();
    for sketch in &points {
        overall.merge(sketch);
    }
    LatencySeries {
        key,
        points,
        overall,
    }
}
