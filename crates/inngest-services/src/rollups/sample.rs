//! How much waits and is under way in the schedule, looked at every ten seconds while there is anything.

use std::{collections::HashSet, time::Duration};

use inngest_core::ids::FunctionId;
use inngest_queue::model::PartitionStats;
use inngest_state::{LevelSample, Turn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use crate::{Error, engine::Engine};

/// Pause between two samples.
const EVERY: Duration = Duration::from_secs(10);
/// How long a claim counts, if whoever made it dies.
const CLAIM: Duration = Duration::from_secs(30);
/// Functions that are sampled, those with the most due jobs first.
const MOST: usize = 1_000;

/// Who samples, and what it saw last.
pub(crate) struct Sampler {
    turn: Turn,
    /// Functions that had something due or under way.
    busy: HashSet<FunctionId>,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        Self {
            turn: Turn {
                name: "levels",
                owner: Uuid::new_v4(),
                length: CLAIM,
                // Samples of ten seconds each would otherwise miss their time by a little, again and again.
                every: EVERY.mul_f64(0.9),
            },
            busy: HashSet::new(),
        }
    }

    /// The samples: also of functions that have become idle, once.
    fn look(&mut self, partitions: &[PartitionStats]) -> Vec<LevelSample> {
        let sample = |stats: &PartitionStats| LevelSample {
            function: stats.function,
            levels: [(stats.ready + stats.backlog) as u64, stats.leased as u64],
        };
        let mut samples: Vec<LevelSample> = partitions.iter().map(sample).collect();
        let seen: HashSet<FunctionId> = partitions.iter().map(|stats| stats.function).collect();
        if partitions.len() >= MOST {
            // Who is not among them may still have something to do.
            self.busy.extend(seen);
            return samples;
        }
        let idle = self.busy.difference(&seen).map(|function| LevelSample {
            function: *function,
            levels: [0, 0],
        });
        samples.extend(idle);
        self.busy = seen;
        samples
    }
}

impl Engine {
    /// Samples until `stop`. One of all processes does it at a time; while nothing is due or under way none asks the database.
    pub(crate) async fn keep_levels(&self, stop: CancellationToken) {
        let mut sampler = Sampler::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
            }
            if let Err(error) = self.sample(&mut sampler).await {
                // The next one is as good.
                debug!(error = %error, "the schedule was not sampled");
            }
        }
    }

    /// One sample, unless another process has made one a moment ago.
    pub(crate) async fn sample(&self, sampler: &mut Sampler) -> Result<(), Error> {
        let partitions = self.queue.partitions(MOST).await.map_err(Error::Queue)?;
        let samples = sampler.look(&partitions);
        let now = self.clock.now();
        if samples.is_empty() || !self.store.claim_turn(sampler.turn, now).await? {
            return Ok(());
        }
        self.store.store_levels(now, &samples).await?;
        self.store.end_turn(sampler.turn, now).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_that_has_become_idle_is_sampled_once_more() {
        let function = FunctionId::from_raw(Uuid::from_u128(1));
        let stats = PartitionStats {
            function,
            ready: 2,
            backlog: 1,
            leased: 4,
            oldest_due: None,
        };
        let mut sampler = Sampler::new();
        let sample = |levels| vec![LevelSample { function, levels }];
        assert_eq!(sampler.look(&[stats]), sample([3, 4]));
        assert_eq!(sampler.look(&[]), sample([0, 0]));
        assert_eq!(sampler.look(&[]), Vec::new());
        // Among the busiest of very many it may be missing and still be busy.
        let others = |n: usize| PartitionStats {
            function: FunctionId::from_raw(Uuid::from_u128(2 + n as u128)),
            ..stats
        };
        let busiest: Vec<PartitionStats> = (0..MOST).map(others).collect();
        sampler.look(&[stats]);
        let sampled = sampler.look(&busiest);
        assert!(sampled.iter().all(|sample| sample.function != function));
        let idle = sampler.look(&[]);
        assert_eq!(idle.len(), MOST + 1);
    }
}
