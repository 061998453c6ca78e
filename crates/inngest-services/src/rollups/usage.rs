//! What a tenant has used.

use inngest_core::{
    access::Actor,
    rollup::{Counter, Level},
};
use inngest_state::RollupGroup;

use super::{MetricRange, MetricScope, Metrics, sum_of};
use crate::Error;

/// What was used in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Events that senders sent.
    pub events: u64,
    /// Runs whose app was called for the first time.
    pub runs: u64,
    /// Steps that ended.
    pub steps: u64,
    /// Most jobs that were under way at once, of those times at which somebody looked.
    pub peak: u64,
}

impl Metrics<'_> {
    /// What the environment of the actor has used in the buckets that the range touches. Two statements.
    ///
    /// # Errors
    /// Those of [`Metrics::counts`].
    pub async fn usage(&self, actor: &Actor, range: MetricRange) -> Result<Usage, Error> {
        const COUNTERS: [Counter; 5] = [
            Counter::Events,
            Counter::RunsStarted,
            Counter::StepsCompleted,
            Counter::StepsFailed,
            Counter::StepsCancelled,
        ];
        let query = self.query(actor, range, MetricScope::default())?;
        let (store, together) = (&self.0.store, RollupGroup::Together);
        let rows = store.rolled_counts(&query, &together, &COUNTERS).await?;
        let [events, runs, completed, failed, cancelled] = sum_of(&rows);
        let levels = store.rolled_levels(&query, &together, Level::Executing);
        let levels = levels.await?.into_iter().map(|(_, _, level)| level);
        Ok(Usage {
            events,
            runs,
            steps: completed + failed + cancelled,
            peak: levels.max().unwrap_or(0),
        })
    }
}
