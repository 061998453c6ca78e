//! What the schedule holds of each function. Figures of one instant, straight from the schedule; rows are not counted for them.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    ids::FunctionId,
    time::Timestamp,
};
use inngest_queue::model::PartitionStats;

use crate::{Error, apps::Functions};

/// What is due or under way of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The function.
    pub function: FunctionId,
    /// When it was measured.
    pub at: Timestamp,
    /// Pieces of work that are due and wait.
    pub ready: u64,
    /// Pieces of work that a worker holds.
    pub executing: u64,
    /// Due time of the piece that has waited longest among those that come next; none when nothing waits.
    pub oldest_due: Option<Timestamp>,
}

impl Backlog {
    fn of(function: FunctionId, stats: Option<&PartitionStats>, at: Timestamp) -> Self {
        Self {
            function,
            at,
            ready: stats.map_or(0, |stats| (stats.ready + stats.backlog) as u64),
            executing: stats.map_or(0, |stats| stats.leased as u64),
            oldest_due: stats.and_then(|stats| stats.oldest_due),
        }
    }
}

impl Functions<'_> {
    /// The backlog of every function of the environment, by slug; of an archived one only when it still has something to do.
    ///
    /// # Errors
    /// `Queue` when the schedule does not answer.
    pub async fn backlogs(&self, actor: &Actor) -> Result<Vec<Backlog>, Error> {
        let functions = self.list(actor, None, true).await?;
        let ids: Vec<FunctionId> = functions.iter().map(|function| function.id).collect();
        let (at, figures) = self.figures(&ids).await?;
        let backlog = |function: &inngest_core::app::Function| {
            let stats = figures.get(&function.id);
            (stats.is_some() || function.archived_at.is_none())
                .then(|| Backlog::of(function.id, stats, at))
        };
        Ok(functions.iter().filter_map(backlog).collect())
    }

    /// The backlogs of these functions; unknown and foreign ids are left out.
    ///
    /// # Errors
    /// `Queue` when the schedule does not answer.
    pub async fn backlogs_of(
        &self,
        actor: &Actor,
        ids: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Backlog>, Error> {
        actor.require(Scope::AppsRead)?;
        let known = self.0.store.find_functions(actor.env, ids).await?;
        let ids: Vec<FunctionId> = known.iter().map(|function| function.id).collect();
        let (at, figures) = self.figures(&ids).await?;
        let backlog = |id: FunctionId| (id, Backlog::of(id, figures.get(&id), at));
        Ok(ids.into_iter().map(backlog).collect())
    }

    async fn figures(
        &self,
        ids: &[FunctionId],
    ) -> Result<(Timestamp, HashMap<FunctionId, PartitionStats>), Error> {
        let found = self.0.queue.partitions_of(ids).await?;
        let keyed = found.into_iter().map(|stats| (stats.function, stats));
        Ok((self.0.clock.now(), keyed.collect()))
    }
}
