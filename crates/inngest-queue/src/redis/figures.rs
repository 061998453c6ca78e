//! Figures of the schedule in Redis.

use std::sync::atomic::Ordering;

use inngest_core::ids::FunctionId;

use crate::{
    error::Error,
    model::{PartitionStats, QueueStats, RebuildProgress},
    redis::{RedisQueue, scripts::Args},
};

/// Most functions whose figures a script tells at once.
const PARTITIONS_AT_ONCE: usize = 500;

impl RedisQueue {
    pub(crate) async fn stats(&self) -> Result<QueueStats, Error> {
        let (mut stats, partitions) = self.figures(&[]).await?;
        for partition in &partitions {
            stats.ready += partition.ready;
            stats.backlog += partition.backlog;
            stats.partitions += 1;
            stats.oldest_due = match (stats.oldest_due, partition.oldest_due) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        Ok(stats)
    }

    pub(crate) async fn partitions(&self, max: usize) -> Result<Vec<PartitionStats>, Error> {
        let (_, partitions) = self.figures(&[]).await?;
        Ok(PartitionStats::deepest(partitions, max))
    }

    pub(crate) async fn partitions_of(
        &self,
        functions: &[FunctionId],
    ) -> Result<Vec<PartitionStats>, Error> {
        let mut found = Vec::new();
        for some in functions.chunks(PARTITIONS_AT_ONCE) {
            found.extend(self.figures(some).await?.1);
        }
        Ok(found)
    }

    /// The figures of these functions, or of all when none is given, and those of the whole.
    async fn figures(
        &self,
        functions: &[FunctionId],
    ) -> Result<(QueueStats, Vec<PartitionStats>), Error> {
        let args = self.args(|scripts| &scripts.stats);
        let args = functions.iter().copied().fold(args, Args::function);
        let mut answer = self.run(args).await?;
        let stats = QueueStats {
            entries: answer.size()?,
            delayed: answer.size()?,
            leased: answer.size()?,
            expired: answer.number()?,
            crashes: answer.number()?,
            next_due: answer.time()?,
            rebuild: answer
                .optional()?
                .zip(answer.optional()?)
                .map(|(added, total)| RebuildProgress { added, total }),
            wakeups: self.0.looked_again.load(Ordering::Relaxed),
            ..QueueStats::default()
        };
        let mut partitions = Vec::new();
        while !answer.is_empty() {
            let function = answer.uuid()?;
            let (ready, backlog, leased) = (answer.size()?, answer.size()?, answer.size()?);
            let oldest_due = answer.time()?;
            partitions.push(PartitionStats {
                function: FunctionId::from_raw(function),
                ready,
                backlog,
                leased,
                oldest_due,
            });
        }
        Ok((stats, partitions))
    }
}
