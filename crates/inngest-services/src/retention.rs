//! What is too old goes, and room is made for what comes: once an hour and at the start, by one process at a time.

use std::time::Duration;

use inngest_core::{
    ids::EnvId,
    rollup::Width,
    time::{Clock, Timestamp},
};
use inngest_state::{Expired, Keeping, Store, Turn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::{Error, Kind as Sort, engine::Engine, rollups::roll_up};

/// Pause between two passes.
const EVERY: Duration = Duration::from_secs(3_600);
/// How long a claim counts unless it is made again, which happens before every batch.
const CLAIM: Duration = Duration::from_secs(300);
/// Pause between two batches, as a share of the time that the batch took: deleting takes a third of the database's time at most.
const REST: u32 = 2;

/// What a pass did, or would do, in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentReport {
    /// What people call it.
    pub slug: String,
    /// What ended or came before this goes; none when everything is kept.
    pub cutoff: Option<Timestamp>,
    /// Rows deleted by batches.
    pub rows: Expired,
}

/// What a pass did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Partitions dropped whole, with about how many rows each has, as far as that was asked before.
    pub partitions: Vec<(String, u64)>,
    /// Each environment.
    pub environments: Vec<EnvironmentReport>,
}

type Batch = (Expired, Option<Uuid>);

/// Deletes what is too old, in all environments. It acts for nobody, and needs a database but no server.
#[derive(Clone)]
pub struct Retention {
    store: Store,
    clock: Clock,
    /// In environments that say nothing of their own; 0 means for ever.
    days: u32,
    /// Tells this one's claims from those of others.
    owner: Uuid,
}

impl Engine {
    /// Tidies now and every hour until `stop`.
    pub(crate) async fn keep_tidy(&self, stop: CancellationToken) {
        let retention = Retention::new(
            self.store.clone(),
            self.clock.clone(),
            self.settings.retention_days,
        );
        loop {
            if let Err(error) = self.store.make_partitions(self.clock.now()).await {
                warn!(error = %error, "partitions of the coming weeks were not made; trying again in an hour");
            }
            match retention.pass(EVERY, &stop).await {
                Ok(Some(report)) => log(&report),
                Ok(None) => debug!("another process deletes what is too old"),
                Err(error) => {
                    warn!(error = %error, "what is too old was not deleted; trying again in an hour");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
            }
        }
    }
}

impl Retention {
    /// For this database. `days` hold in environments that say nothing of their own; 0 means for ever.
    pub fn new(store: Store, clock: Clock, days: u32) -> Self {
        Self {
            store,
            clock,
            days,
            owner: Uuid::new_v4(),
        }
    }

    /// What a pass would do now.
    ///
    /// # Errors
    /// The database's.
    pub async fn foretell(&self) -> Result<RetentionReport, Error> {
        let now = self.clock.now();
        let partitions = self.store.expired_partitions(self.days, now).await?;
        let mut environments = Vec::new();
        for keeping in self.store.list_keeping(self.days, now).await? {
            let rows = self.store.count_expired(&keeping).await?;
            let Keeping { slug, cutoff, .. } = keeping;
            environments.push(EnvironmentReport { slug, cutoff, rows });
        }
        Ok(RetentionReport {
            partitions,
            environments,
        })
    }

    /// One pass, unless another process makes one or has made one within `every`; then none. Ends early at `stop`.
    ///
    /// # Errors
    /// The database's; what was deleted until then stays deleted.
    pub async fn pass(
        &self,
        every: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<RetentionReport>, Error> {
        let turn = Turn {
            name: "retention",
            owner: self.owner,
            length: CLAIM,
            // Passes of an hour each would otherwise miss their time by a little, again and again.
            every: every.mul_f64(0.9),
        };
        if !self.store.claim_turn(turn, self.clock.now()).await? {
            return Ok(None);
        }
        // What is trimmed has been added up before. A look that was cut short, or that the database did not answer, leaves it for the next.
        let added_up = roll_up(&self.store, self.clock.now(), stop).await;
        if let Err(error) = &added_up {
            warn!(error = %error, "figures were not added up before old entries of the change log go");
        }
        let is_for_later = match &added_up {
            Ok(_) => stop.is_cancelled(),
            Err(error) => error.kind() == Sort::Unavailable,
        };
        if !is_for_later && let Err(error) = self.store.trim_change_log().await {
            warn!(error = %error, "old entries of the change log were not deleted; trying again in an hour");
        }
        let now = self.clock.now();
        let partitions = self.store.drop_expired_partitions(self.days, now).await?;
        let mut report = RetentionReport {
            partitions: partitions.into_iter().map(|name| (name, 0)).collect(),
            environments: Vec::new(),
        };
        for keeping in self.store.list_keeping(self.days, now).await? {
            let mut rows = Expired::default();
            if let Some(cutoff) = keeping.cutoff {
                // A place for keys expires within a day, so none is left that holds the place of a run that goes.
                for kind in [Kind::Events, Kind::LateEvents, Kind::Runs] {
                    let deleted = self.delete(kind, keeping.env, cutoff, turn, stop).await?;
                    rows.add(deleted);
                }
            }
            for width in Width::ALL {
                self.delete_rollups(keeping.env, width, turn, stop).await?;
            }
            report.environments.push(EnvironmentReport {
                slug: keeping.slug,
                cutoff: keeping.cutoff,
                rows,
            });
        }
        self.store.end_turn(turn, self.clock.now()).await?;
        Ok(Some(report))
    }

    /// Deletes batch by batch, as long as the turn is ours.
    async fn delete(
        &self,
        kind: Kind,
        env: EnvId,
        cutoff: Timestamp,
        turn: Turn,
        stop: &CancellationToken,
    ) -> Result<Expired, Error> {
        let mut gone = Expired::default();
        let mut after = None;
        loop {
            let begun = tokio::time::Instant::now();
            let (deleted, next) = self.delete_batch(kind, env, cutoff, after).await?;
            gone.add(deleted);
            after = next;
            let is_ours = after.is_none() || self.store.claim_turn(turn, self.clock.now()).await?;
            if after.is_none() || !is_ours || stop.is_cancelled() {
                return Ok(gone);
            }
            sleep(begun.elapsed() * REST).await;
        }
    }

    /// Deletes figures that nobody can ask for any more, batch by batch, as long as the turn is ours.
    async fn delete_rollups(
        &self,
        env: EnvId,
        width: Width,
        turn: Turn,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        loop {
            let (begun, now) = (tokio::time::Instant::now(), self.clock.now());
            let store = &self.store;
            let gone = store.delete_expired_rollups(env, width, now).await?;
            let is_ours = gone == 0 || store.claim_turn(turn, self.clock.now()).await?;
            if gone == 0 || !is_ours || stop.is_cancelled() {
                return Ok(());
            }
            sleep(begun.elapsed() * REST).await;
        }
    }

    async fn delete_batch(
        &self,
        kind: Kind,
        env: EnvId,
        cutoff: Timestamp,
        after: Option<Uuid>,
    ) -> Result<Batch, Error> {
        let store = &self.store;
        let batch = match kind {
            Kind::Events => store.delete_expired_events(env, cutoff, after).await?,
            Kind::LateEvents => store.delete_expired_late_events(env, cutoff, after).await?,
            Kind::Runs => store.delete_expired_runs(env, cutoff, after).await?,
        };
        Ok(batch)
    }
}

/// What is deleted, in this order.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Events,
    LateEvents,
    Runs,
}

fn log(report: &RetentionReport) {
    for environment in &report.environments {
        let rows = environment.rows;
        if !rows.is_empty() {
            info!(
                env.slug = environment.slug,
                runs = rows.runs,
                steps = rows.steps,
                failed_attempts = rows.failed_attempts,
                events = rows.events,
                "deleted what was too old"
            );
        }
    }
}
