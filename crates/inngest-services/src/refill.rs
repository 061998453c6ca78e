//! The schedule from rows: all of it at the start, then what comes within its horizon.
//!
//! The schedule keeps what is due soon; everything else is only in the table. One task reads the table in pages, earliest first, at
//! the start and then every half horizon, so that everything is there well before it is due. It is also how work comes back that
//! was left out because the schedule was full. In a healthy system it finds nothing that the schedule did not know already.

use std::{sync::atomic::Ordering, time::Duration};

use inngest_core::{ids::WorkId, time::Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Error,
    engine::{Engine, PAUSE},
};

/// Rows of one page.
const PAGE: u64 = 2_000;

/// How often the table is read.
const INTERVAL: Duration = Duration::from_secs(300);

/// Expired idempotency keys deleted at once.
const KEYS: u32 = 10_000;

/// Paths that no wait uses, deleted at once.
const PATHS: u32 = 10_000;

/// How far ahead; what the schedule does not keep is read again in time.
const AHEAD: Duration = Duration::from_secs(600);

impl Engine {
    /// Reads the table once and offers the schedule all that is due within its horizon. Returns how much of it was new there.
    pub(crate) async fn refill_once(&self) -> Result<usize, Error> {
        let until = self.clock.now().plus(AHEAD);
        let mut after: Option<(Timestamp, WorkId)> = None;
        let mut added = 0;
        self.left_out.store(false, Ordering::Relaxed);
        loop {
            let page = self.store.list_due_work(after, until, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.due_at, last.id));
            match self.queue.refill(&page).await {
                Ok(enqueued) => added += enqueued.added,
                Err(error) => {
                    warn!(error = %error, "the schedule is full; the rest is left in the database for now");
                    self.left_out.store(true, Ordering::Relaxed);
                    break;
                }
            }
            if (page.len() as u64) < PAGE {
                break;
            }
        }
        Ok(added)
    }

    /// Deletes all of them, in portions that do not hold up the writer for long.
    async fn delete_expired_keys(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.store.delete_expired_keys(self.clock.now(), KEYS).await {
                Ok(deleted) if deleted >= u64::from(KEYS) => {}
                Ok(_) => return,
                Err(error) => {
                    warn!(error = %error, "expired idempotency keys were not deleted");
                    return;
                }
            }
        }
    }

    /// Fills the schedule now and keeps it filled until `stop`.
    pub(crate) async fn keep_filled(&self, stop: CancellationToken) {
        loop {
            match self.refill_once().await {
                Ok(added) => {
                    if added > 0 {
                        info!(jobs = added, "schedule filled from the database");
                    }
                    self.ready.store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    warn!(error = %error, "the schedule could not be filled; trying again")
                }
            }
            self.delete_expired_keys(&stop).await;
            if let Err(error) = self.store.delete_unused_paths(PATHS).await {
                warn!(error = %error, "paths that no wait uses any more were not deleted");
            }
            let is_behind =
                self.left_out.load(Ordering::Relaxed) || !self.ready.load(Ordering::Relaxed);
            let pause = if is_behind { PAUSE } else { INTERVAL };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.refill.notified() => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
