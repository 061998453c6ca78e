//! The schedule from rows: all of it at the start, then what comes within its horizon; and all of it again when Redis has lost it.
//!
//! The schedule keeps what is due soon; everything else is only in the table. One task reads the table in pages, earliest first, at
//! the start and then every half horizon, so that everything is there well before it is due. It is also how work comes back that
//! was left out because the schedule was full or did not answer, or that a process has committed and died before it could tell. In a
//! healthy system it finds nothing that the schedule did not know already.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use inngest_core::{ids::WorkId, time::Timestamp};
use inngest_queue::{
    Change, Rebuild,
    error::Error as QueueError,
    model::{RebuildProgress, ScheduleState},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    Error,
    engine::{Counters, Engine, PAUSE},
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

/// That the schedule lacks work, for the task that fills it.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    is_set: AtomicBool,
    noted: Notify,
}

impl LeftOut {
    /// The schedule lacks work that is in the table.
    pub(crate) fn note(&self) {
        self.is_set.store(true, Ordering::Relaxed);
        self.noted.notify_one();
    }
}

impl Engine {
    /// Reads the table once and offers the schedule all that is due within its horizon. Returns how much of it was new there.
    pub(crate) async fn refill_once(&self) -> Result<usize, Error> {
        self.left_out.is_set.store(false, Ordering::Relaxed);
        self.fill(None).await
    }

    /// Offers the schedule all that is due within its horizon, soonest first.
    async fn fill(&self, mut building: Option<&mut Building>) -> Result<usize, Error> {
        let until = self.clock.now().plus(AHEAD);
        let mut after: Option<(Timestamp, WorkId)> = None;
        let (mut added, mut offered) = (0, 0);
        loop {
            let page = self.store.list_due_work(after, until, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.due_at, last.id));
            match self.queue.refill(&page).await {
                Ok(enqueued) => added += enqueued.added,
                Err(QueueError::Full { left_out }) => {
                    warn!(
                        jobs = left_out,
                        "the schedule is full; the rest is left in the database for now"
                    );
                    self.left_out.is_set.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            offered += page.len() as u64;
            if let Some(building) = &mut building {
                building.note(offered).await?;
            }
            if (page.len() as u64) < PAGE {
                break;
            }
        }
        Ok(added)
    }

    /// Builds the schedule again that Redis has lost. `false` when somebody else does.
    async fn rebuild(&self) -> Result<bool, Error> {
        let begun = tokio::time::Instant::now();
        let Some(rebuild) = self.queue.begin_rebuild().await? else {
            return Ok(false);
        };
        inngest_state::fail_point!("rebuild::begun");
        let until = self.clock.now().plus(AHEAD);
        let total = self.store.count_due_work(until).await?;
        rebuild.tell(RebuildProgress { added: 0, total }).await?;
        let mut building = Building {
            rebuild,
            total,
            told_at: begun,
        };
        let added = self.fill(Some(&mut building)).await?;
        inngest_state::fail_point!("rebuild::filled");
        if !building.rebuild.finish().await? {
            return Err(QueueError::Lost.into());
        }
        Counters::add(&self.counters.rebuilds, 1);
        // Whoever died while there was no schedule was told to nobody.
        self.second_look.note_unknown(self.clock.now());
        info!(
            jobs = added,
            duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "the schedule was rebuilt"
        );
        Ok(true)
    }

    /// Deletes all of them, in portions that do not hold up the writer for long.
    async fn delete_expired_keys(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.store.delete_expired_keys(self.clock.now(), KEYS).await {
                Ok(deleted) if deleted >= u64::from(KEYS) => {}
                Ok(_) => break,
                Err(error) => {
                    warn!(error = %error, "expired idempotency keys were not deleted");
                    return;
                }
            }
        }
        let now = self.clock.now();
        if let Err(error) = self.store.delete_expired_requests(now, KEYS).await {
            warn!(error = %error, "expired keys of requests were not deleted");
        }
    }

    /// Fills the schedule now and keeps it filled until `stop`.
    pub(crate) async fn keep_filled(&self, stop: CancellationToken) {
        let mut watch = self.queue.watch();
        let mut next_housekeeping = tokio::time::Instant::now();
        loop {
            let is_filled = self.fill_or_rebuild().await;
            if is_filled && tokio::time::Instant::now() >= next_housekeeping {
                next_housekeeping = tokio::time::Instant::now() + INTERVAL;
                self.delete_expired_keys(&stop).await;
                if let Err(error) = self.store.delete_unused_paths(PATHS).await {
                    warn!(error = %error, "paths that no wait uses any more were not deleted");
                }
            }
            let is_behind =
                self.left_out.is_set.load(Ordering::Relaxed) || !self.ready.load(Ordering::Relaxed);
            let pause = if is_behind { PAUSE } else { INTERVAL };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.left_out.noted.notified() => tokio::time::sleep(PAUSE).await,
                change = watch.next() => self.note_change(change),
            }
        }
    }

    async fn fill_or_rebuild(&self) -> bool {
        let filled = match self.queue.state() {
            ScheduleState::Lost => self.rebuild().await.map(|_| 0),
            ScheduleState::Whole
            | ScheduleState::Filling
            | ScheduleState::Closed
            | ScheduleState::Unreachable => self.refill_once().await,
        };
        match filled {
            Ok(added) => {
                if added > 0 {
                    info!(jobs = added, "schedule filled from the database");
                }
                self.ready.store(true, Ordering::Relaxed);
                true
            }
            // Its state tells, and the next round rebuilds it.
            Err(Error::Queue(QueueError::Lost)) => {
                self.left_out.note();
                false
            }
            Err(error) => {
                // The services work without a schedule as well: they take events in, and answer.
                if matches!(error, Error::Queue(_)) {
                    self.ready.store(true, Ordering::Relaxed);
                }
                self.left_out.is_set.store(true, Ordering::Relaxed);
                warn!(error = %error, "the schedule could not be filled; trying again");
                false
            }
        }
    }

    fn note_change(&self, change: Change) {
        match change {
            Change::Death => {
                // It may have committed what it told nobody.
                self.left_out.is_set.store(true, Ordering::Relaxed);
                self.second_look.note_unknown(self.clock.now());
            }
            Change::State(state) => debug!(?state, "the schedule has changed its state"),
        }
    }
}

/// A rebuild that is being carried out.
struct Building {
    rebuild: Rebuild,
    total: u64,
    /// When its progress was last logged.
    told_at: tokio::time::Instant,
}

impl Building {
    async fn note(&mut self, added: u64) -> Result<(), Error> {
        inngest_state::fail_point!("rebuild::mid");
        // What is due first is there: others may begin with it.
        if added <= PAGE {
            self.rebuild.open().await?;
        }
        let total = self.total;
        self.rebuild.tell(RebuildProgress { added, total }).await?;
        if self.told_at.elapsed() >= PAUSE {
            self.told_at = tokio::time::Instant::now();
            info!(added, total, "rebuilding the schedule");
        }
        Ok(())
    }
}
