//! Figures of one function, again and again. They are read from the buckets, a few seconds behind the commits of whichever process, and
//! what two ticks tell is never the same: together they tell all that was counted since the first.

use std::{sync::Arc, time::Duration};

use inngest_core::{
    access::Scope,
    ids::{EnvId, FunctionId},
    rollup::{Span, Width},
    time::Timestamp,
};
use inngest_state::{RollupGroup, RollupQuery};
use tokio::time::Instant;

use super::{
    Standing,
    fresh::{Fresh, Regular, Watched},
};
use crate::{
    Error,
    engine::{Engine, Shared},
    rollups::{RunTotals, sum_of},
};

/// How much later than it happens something may be added up.
const LATE: Duration = Duration::from_secs(3_600);

/// What a tick tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionTick {
    /// The function.
    pub function: FunctionId,
    /// The end of the interval.
    pub at: Timestamp,
    /// Its length; none for the first tick, which tells of no time.
    pub interval: Duration,
    /// Runs that reached a state in the interval.
    pub runs: RunTotals,
}

/// What is read for all who watch a function here, since the first of them came.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Timestamp,
    totals: Fresh<RunTotals>,
}

/// The meters of this process.
pub(crate) type Meters = Watched<(EnvId, FunctionId), Meter>;

impl Meter {
    fn new(now: Timestamp) -> Self {
        Self {
            // What ended before midnight may be added up after it.
            since: Width::Day.floor(now.minus(LATE)),
            totals: Fresh::default(),
        }
    }

    /// All that was counted since the start of the day on which this was made.
    async fn read(
        &self,
        engine: &Engine,
        env: EnvId,
        function: FunctionId,
    ) -> Result<RunTotals, Error> {
        let query = RollupQuery {
            env,
            span: Span {
                width: Width::Day,
                from: self.since,
                until: Timestamp::MAX,
            },
            functions: Some(vec![function]),
            apps: None,
        };
        let (together, counters) = (RollupGroup::Together, RunTotals::COUNTERS);
        let read = || async {
            let rows = engine.store.rolled_counts(&query, &together, &counters);
            Ok(RunTotals::of(sum_of(&rows.await?)))
        };
        self.totals.get(read).await
    }
}

struct Ticks {
    regular: Regular,
    env: EnvId,
    function: FunctionId,
    meter: Arc<Meter>,
    /// When the last tick was told, and what had been counted by then; none before the first.
    told: Option<(Instant, RunTotals)>,
}

pub(super) async fn watch(
    engine: &Shared,
    standing: Standing,
    function: FunctionId,
    every: Duration,
) -> Result<impl futures_util::Stream<Item = Result<FunctionTick, Error>> + Send + use<>, Error> {
    let env = standing.actor().env;
    let regular = Regular::new(engine, standing, Scope::MetricsRead, every)?;
    let known = engine.store.find_functions(env, &[function]).await?;
    if known.is_empty() {
        return Err(Error::NotFound {
            what: "function",
            id: function.to_string(),
        });
    }
    let now = engine.clock.now();
    let ticks = Ticks {
        regular,
        env,
        function,
        meter: engine
            .meters
            .join((env, function), || Meter::new(now))
            .await,
        told: None,
    };
    Ok(futures_util::stream::unfold(
        Some(ticks),
        |ticks| async move {
            let mut ticks = ticks?;
            match ticks.next().await {
                Ok(tick) => Some((Ok(tick), Some(ticks))),
                Err(error) => Some((Err(error), None)),
            }
        },
    ))
}

impl Ticks {
    async fn next(&mut self) -> Result<FunctionTick, Error> {
        self.regular.next().await?;
        let now = Instant::now();
        let engine = &self.regular.engine;
        let totals = self.meter.read(engine, self.env, self.function).await?;
        let (interval, runs) = match self.told {
            None => (Duration::ZERO, RunTotals::default()),
            Some((told, before)) => (now.duration_since(told), totals.since(before)),
        };
        self.told = Some((now, totals));
        Ok(FunctionTick {
            function: self.function,
            at: engine.clock.now(),
            interval,
            runs,
        })
    }
}
