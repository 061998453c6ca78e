//! A schedule that Redis has lost, built again.
//!
//! One process begins (`begin`): the schedule is there again, empty and closed. All processes, as soon as they notice, say what they hold
//! (`restore`), so that nobody is given work that somebody is still doing and no slot is given out twice. Then the builder opens it, fills
//! it from the durable list, and declares it whole. Work may be added all the while. When the builder dies, or drops what it has begun,
//! it is lost again.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::{
    error::Error,
    model::RebuildProgress,
    redis::{RedisQueue, lock, presence::COUNTS},
};

/// How long the others have to say what they hold.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is asked whether they have.
const ASK: Duration = Duration::from_millis(50);
/// Leases named by one script.
const LEASES_AT_ONCE: usize = 250;

/// A rebuild that this process carries out; one that is dropped before it is finished is given up within a beat.
#[derive(Debug)]
pub(crate) struct RedisRebuild {
    queue: RedisQueue,
    _building: Building,
    /// The generation, but for the letter that tells its state.
    name: String,
}

impl RedisQueue {
    /// Begins to rebuild a schedule that is lost. `None` when there is nothing to rebuild or somebody else does it.
    pub(crate) async fn begin_rebuild(&self) -> Result<Option<RedisRebuild>, Error> {
        let building = Building::begin(self);
        // A higher token than any that the lost schedule has given out: it counted from a time as well.
        let token = self.0.clock.now().as_millis().saturating_mul(1_000);
        let others: Vec<String> = lock(&self.0.memory).others.keys().cloned().collect();
        let name = format!("{}{}", self.0.process, Uuid::new_v4().simple());
        let args = self
            .args(|scripts| &scripts.begin_rebuild)
            .text(&name)
            .number(token)
            .time(self.0.clock.now())
            .number(COUNTS.as_millis().cast_signed());
        let mut answer = self.run(args).await?;
        if !answer.flag()? {
            return Ok(None);
        }
        info!(
            servers = others.len() + 1,
            "the schedule in Redis is being rebuilt"
        );
        self.restore().await?;
        self.until_restored(&others).await?;
        Ok(Some(RedisRebuild {
            queue: self.clone(),
            _building: building,
            name,
        }))
    }

    /// Gives up a rebuild of this process that nobody carries out any more: its builder met an error and dropped it.
    pub(super) async fn give_up_rebuild(&self, name: &str) {
        let args = self
            .args(|scripts| &scripts.advance_rebuild)
            .text(name)
            .text("");
        match self.run(args).await {
            // Given up, or whole by now.
            Err(Error::Lost) | Ok(_) => {}
            // The next answer that names it, a beat's at the latest, has it tried again.
            Err(error) => debug!(%error, "could not give up a rebuild yet"),
        }
    }

    async fn until_restored(&self, others: &[String]) -> Result<(), Error> {
        let begun = Instant::now();
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.0.keys.here());
        loop {
            let value = self.0.connection.query(&command).await?;
            let here: Vec<String> = redis::from_redis_value(value).unwrap_or_default();
            let missing = others.iter().filter(|other| !here.contains(other)).count();
            if missing == 0 {
                return Ok(());
            }
            if begun.elapsed() >= PATIENCE {
                warn!(
                    servers = missing,
                    "servers did not say what they hold; what they do is offered to others"
                );
                return Ok(());
            }
            sleep(ASK).await;
        }
    }

    /// Says what this process holds and which limits it has set.
    pub(super) async fn restore(&self) -> Result<(), Error> {
        let held: Vec<_> = lock(&self.0.held)
            .iter()
            .map(|(token, (work, expires_at))| (*token, work.clone(), *expires_at))
            .collect();
        let limits: Vec<_> = lock(&self.0.limits)
            .iter()
            .filter_map(|(function, limits)| Some((*function, limits.concurrency?)))
            .collect();
        let mut parts = held.chunks(LEASES_AT_ONCE);
        let mut limits = limits.as_slice();
        loop {
            let part = parts.next().unwrap_or_default();
            let args = self
                .args(|scripts| &scripts.restore)
                .time(self.0.clock.now())
                .text(&self.0.process)
                .count(limits.len());
            let args = limits.iter().fold(args, |args, (function, limit)| {
                args.function(*function).number(*limit)
            });
            let args = part
                .iter()
                .fold(args.count(part.len()), |args, (token, work, expires_at)| {
                    args.number(*token).time(*expires_at).row(work)
                });
            let restored = self.run(args).await?.size()?;
            if !part.is_empty() {
                info!(
                    held = part.len(),
                    restored, "told the schedule what this server holds"
                );
            }
            limits = &[];
            if parts.len() == 0 {
                return Ok(());
            }
        }
    }
}

/// This process carries out a rebuild, until dropped.
#[derive(Debug)]
struct Building(RedisQueue);

impl Building {
    fn begin(queue: &RedisQueue) -> Self {
        queue.0.builders.fetch_add(1, Ordering::AcqRel);
        Self(queue.clone())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        self.0.0.builders.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RedisRebuild {
    /// Lets work be leased. `false` when the schedule was lost again meanwhile.
    pub(crate) async fn open(&self) -> Result<bool, Error> {
        self.advance("o", None).await
    }

    /// Declares the schedule whole. `false` when it was lost again meanwhile.
    pub(crate) async fn finish(&self) -> Result<bool, Error> {
        self.advance("w", None).await
    }

    /// Tells everybody how far it is. `false` when the schedule was lost again meanwhile.
    pub(crate) async fn tell(&self, progress: RebuildProgress) -> Result<bool, Error> {
        self.advance("=", Some(progress)).await
    }

    async fn advance(&self, state: &str, progress: Option<RebuildProgress>) -> Result<bool, Error> {
        let args = self
            .queue
            .args(|scripts| &scripts.advance_rebuild)
            .text(&self.name)
            .text(state);
        let args = match progress {
            Some(progress) => args.number(progress.added).number(progress.total),
            None => args,
        };
        self.queue.run(args).await?.flag()
    }
}
