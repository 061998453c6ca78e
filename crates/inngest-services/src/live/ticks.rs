//! Figures of one function, again and again. They are read from the buckets, a few seconds behind the commits of whichever process, and
//! what two ticks tell is never the same: together they tell all that was counted since the first.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use inngest_core::{
    access::Scope,
    ids::{EnvId, FunctionId},
    rollup::{Span, Width},
    time::Timestamp,
};
use inngest_state::{RollupGroup, RollupQuery};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use super::{Standing, hub::Counted};
use crate::{
    Error,
    engine::{Engine, Shared},
    rollups::{RunTotals, sum_of},
};

/// How much later than it happens something may be added up.
const LATE: Duration = Duration::from_secs(3_600);
/// How old an answer may be that was read for somebody else. Bounds what many who watch one function ask of the database.
const FRESH: Duration = Duration::from_millis(500);

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
struct Meter {
    since: Timestamp,
    last: Mutex<Option<(Instant, RunTotals)>>,
}

/// The meters of this process.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<HashMap<(EnvId, FunctionId), Weak<Meter>>>);

impl Meters {
    async fn join(&self, env: EnvId, function: FunctionId, now: Timestamp) -> Arc<Meter> {
        let mut meters = self.0.lock().await;
        if let Some(meter) = meters.get(&(env, function)).and_then(Weak::upgrade) {
            return meter;
        }
        meters.retain(|_, meter| meter.strong_count() > 0);
        let meter = Arc::new(Meter {
            // What ended before midnight may be added up after it.
            since: Width::Day.floor(now.minus(LATE)),
            last: Mutex::default(),
        });
        meters.insert((env, function), Arc::downgrade(&meter));
        meter
    }
}

impl Meter {
    /// All that was counted since the start of the day on which this was made.
    async fn read(
        &self,
        engine: &Engine,
        env: EnvId,
        function: FunctionId,
    ) -> Result<RunTotals, Error> {
        let mut last = self.last.lock().await;
        if let Some((read, totals)) = *last
            && read.elapsed() < FRESH
        {
            return Ok(totals);
        }
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
        let read = Instant::now();
        let (together, counters) = (RollupGroup::Together, RunTotals::COUNTERS);
        let rows = engine.store.rolled_counts(&query, &together, &counters);
        let totals = RunTotals::of(sum_of(&rows.await?));
        *last = Some((read, totals));
        Ok(totals)
    }
}

struct Ticks {
    engine: Shared,
    standing: Standing,
    env: EnvId,
    function: FunctionId,
    every: Duration,
    meter: Arc<Meter>,
    /// When the last tick was told, and what had been counted by then; none before the first.
    told: Option<(Instant, RunTotals)>,
    _counted: Counted,
}

pub(super) async fn watch(
    engine: &Shared,
    mut standing: Standing,
    function: FunctionId,
    every: Duration,
) -> Result<impl futures_util::Stream<Item = Result<FunctionTick, Error>> + Send + use<>, Error> {
    let now = engine.clock.now();
    standing.check(Scope::MetricsRead, now)?;
    let env = standing.actor().env;
    if engine
        .store
        .find_functions(env, &[function])
        .await?
        .is_empty()
    {
        return Err(Error::NotFound {
            what: "function",
            id: function.to_string(),
        });
    }
    let ticks = Ticks {
        engine: engine.clone(),
        standing,
        env,
        function,
        every,
        meter: engine.meters.join(env, function, now).await,
        told: None,
        _counted: Counted::new(),
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
        if let Some((told, _)) = self.told {
            self.wait_until(told + self.every).await?;
        }
        self.standing
            .check(Scope::MetricsRead, self.engine.clock.now())?;
        let now = Instant::now();
        let read = self.meter.read(&self.engine, self.env, self.function);
        let totals = read.await?;
        let (interval, runs) = match self.told {
            None => (Duration::ZERO, RunTotals::default()),
            Some((told, before)) => (now.duration_since(told), totals.since(before)),
        };
        self.told = Some((now, totals));
        Ok(FunctionTick {
            function: self.function,
            at: self.engine.clock.now(),
            interval,
            runs,
        })
    }

    /// # Errors
    /// The right to see has ended meanwhile.
    async fn wait_until(&mut self, due: Instant) -> Result<(), Error> {
        loop {
            self.standing
                .check(Scope::MetricsRead, self.engine.clock.now())?;
            tokio::select! {
                () = sleep_until(due) => return Ok(()),
                () = self.standing.changed(&self.engine.clock) => {}
            }
        }
    }
}
