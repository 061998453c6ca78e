//! The worker pool: leases what is due, runs the handler on it, keeps the leases, settles them.
//!
//! One task looks for work and keeps all leases of the pool alive; each item gets a task of its own on the tracker. A handler may
//! run twice for one item, with a crash in between, and is written so that this is harmless.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, warn};

use inngest_core::{ids::WorkId, time::Timestamp};

use crate::{
    Queue,
    error::Error,
    model::{Lease, Settled, Verdict},
};

/// Longest pause after a panic.
const MAX_CRASH_DELAY: Duration = Duration::from_secs(60);
/// Pause after the schedule could not be asked.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How a pool behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// How many items are worked on at once.
    pub concurrency: NonZeroUsize,
    /// How long handlers may go on after the stop; then they are dropped and their items given back.
    pub grace: Duration,
    /// After so many panics on one item the handler gets it as `poisoned`.
    pub max_crashes: u32,
    /// Pause after the first panic on an item; doubles with each further one, up to a minute.
    pub crash_delay: Duration,
}

impl WorkerSettings {
    /// Usual settings for this many items at once.
    pub fn new(concurrency: NonZeroUsize) -> Self {
        Self {
            concurrency,
            grace: Duration::from_secs(25),
            max_crashes: 5,
            crash_delay: Duration::from_secs(1),
        }
    }
}

/// Works until `stop`, then leases nothing more, lets handlers finish for the grace period, gives back what is left, and returns.
///
/// The handler's verdict is settled here, and it is called again in the same task when its `continue_with` was admitted. Its
/// future is dropped when the lease is lost or the grace period is over. A panic in it ends only itself: the item is offered
/// again after a pause, and from the settings' number of panics on the lease says `poisoned`.
pub async fn work<H, Fut>(
    queue: Queue,
    settings: WorkerSettings,
    tracker: TaskTracker,
    stop: CancellationToken,
    handler: H,
) where
    H: Fn(Lease) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send + 'static,
{
    let pool = Pool {
        queue,
        settings,
        held: Arc::default(),
        freed: Arc::new(Notify::new()),
        stop,
        give_up: CancellationToken::new(),
    };
    pool.lease_until_stopped(&tracker, &handler).await;
    pool.wind_down().await;
}

#[derive(Clone)]
struct Pool {
    queue: Queue,
    settings: WorkerSettings,
    /// Leases in work, by token.
    held: Arc<Mutex<HashMap<u64, Held>>>,
    /// Notified whenever an item leaves `held`.
    freed: Arc<Notify>,
    stop: CancellationToken,
    /// Handlers that still run are dropped.
    give_up: CancellationToken,
}

struct Held {
    id: WorkId,
    expires_at: Timestamp,
    lost: CancellationToken,
    /// The handler is done; the lease is not extended any more.
    is_settling: bool,
}

impl Pool {
    async fn lease_until_stopped<H, Fut>(&self, tracker: &TaskTracker, handler: &H)
    where
        H: Fn(Lease) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        let mut next_extension = None;
        while !self.stop.is_cancelled() {
            // Before the look, which gives away leases that ran out: a process that was held up takes back its own first.
            if next_extension.is_some_and(|at| at <= self.queue.clock().now()) {
                next_extension = self.extend_leases().await;
            }
            let free = self
                .settings
                .concurrency
                .get()
                .saturating_sub(self.lock().len());
            if free == 0 {
                tokio::select! {
                    () = self.freed.notified() => {}
                    () = self.queue.sleep_until(next_extension) => {}
                    () = self.stop.cancelled() => {}
                }
                continue;
            }
            match self.queue.try_lease(free).await {
                Ok(look) if look.leases.is_empty() => {
                    tokio::select! {
                        () = self.queue.wait(next_extension) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
                Ok(look) => {
                    for lease in look.leases {
                        let extension = self.extension_of(lease.expires_at);
                        next_extension = Some(
                            next_extension.map_or(extension, |at: Timestamp| at.min(extension)),
                        );
                        let item = Item::begin(self.clone(), &lease);
                        tracker.spawn(item.run(lease, handler.clone()));
                    }
                }
                Err(error) => {
                    warn!(%error, "could not lease work, trying again");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY_DELAY) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn wind_down(&self) {
        if tokio::time::timeout(self.settings.grace, self.until_idle())
            .await
            .is_err()
        {
            warn!(
                items = self.lock().len(),
                "handlers did not end in time, giving their work back"
            );
            self.give_up.cancel();
            self.until_idle().await;
        }
    }

    async fn until_idle(&self) {
        loop {
            let freed = self.freed.notified();
            if self.lock().is_empty() {
                return;
            }
            let next_extension = self.extend_leases().await;
            tokio::select! {
                () = freed => {}
                () = self.queue.sleep_until(next_extension) => {}
            }
        }
    }

    /// Extends every lease that has used up a third of its time. Returns when to come back.
    async fn extend_leases(&self) -> Option<Timestamp> {
        let now = self.queue.clock().now();
        let is_due = |held: &Held| !held.is_settling && self.extension_of(held.expires_at) <= now;
        let due: Vec<(u64, WorkId)> = self
            .lock()
            .iter()
            .filter(|(_, held)| is_due(held))
            .map(|(&token, held)| (token, held.id))
            .collect();
        let mut earliest = Timestamp::default();
        for (token, id) in due {
            let result = self.queue.extend_by_token(id, token).await;
            let mut held = self.lock();
            let Some(lease) = held.get_mut(&token) else {
                continue;
            };
            match result {
                Ok(expires_at) => lease.expires_at = expires_at,
                Err(Error::LeaseLost { .. }) => {
                    warn!(job.id = %id, "lease lost, dropping its handler");
                    lease.lost.cancel();
                    held.remove(&token);
                    self.freed.notify_one();
                }
                Err(error @ (Error::Full { .. } | Error::Unavailable { .. } | Error::Lost)) => {
                    if lease.expires_at > now {
                        debug!(%error, job.id = %id, "could not extend a lease yet");
                        earliest = now.plus(RETRY_DELAY);
                        continue;
                    }
                    // Others may have it by now.
                    warn!(%error, job.id = %id, "lease ran out, dropping its handler");
                    lease.lost.cancel();
                    held.remove(&token);
                    self.freed.notify_one();
                }
            }
        }
        let held = self.lock();
        held.values()
            .filter(|held| !held.is_settling)
            .map(|held| self.extension_of(held.expires_at).max(earliest))
            .min()
    }

    fn extension_of(&self, expires_at: Timestamp) -> Timestamp {
        expires_at.minus(self.queue.lease_length() * 2 / 3)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's place in the pool, free again when dropped.
struct Item {
    pool: Pool,
    token: u64,
    lost: CancellationToken,
}

/// Why there is no verdict.
enum Failure {
    Panicked,
    LeaseLost,
}

impl Item {
    fn begin(pool: Pool, lease: &Lease) -> Self {
        let lost = CancellationToken::new();
        let held = Held {
            id: lease.work.id,
            expires_at: lease.expires_at,
            lost: lost.clone(),
            is_settling: false,
        };
        pool.lock().insert(lease.token, held);
        Self {
            pool,
            token: lease.token,
            lost,
        }
    }

    async fn run<H, Fut>(mut self, mut lease: Lease, handler: H)
    where
        H: Fn(Lease) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        loop {
            lease.poisoned = lease.crashes >= self.pool.settings.max_crashes;
            let settled = match self.handle(&lease, &handler).await {
                Ok(verdict) => self.settle(lease, verdict).await,
                Err(Failure::Panicked) => return self.give_back_crashed(&lease).await,
                Err(Failure::LeaseLost) => return,
            };
            let Some(next) = settled.and_then(|settled| settled.continued) else {
                return;
            };
            self.go_on_with(&next);
            lease = next;
        }
    }

    async fn handle<H, Fut>(&self, lease: &Lease, handler: &H) -> Result<Verdict, Failure>
    where
        H: Fn(Lease) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        let handling = AssertUnwindSafe(async { handler(lease.clone()).await }).catch_unwind();
        let ending = tokio::select! {
            biased;
            () = self.lost.cancelled() => Err(Failure::LeaseLost),
            outcome = handling => outcome.map_err(|_| Failure::Panicked),
            () = self.pool.give_up.cancelled() => Ok(Verdict::Release),
        };
        if let Some(held) = self.pool.lock().get_mut(&self.token) {
            held.is_settling = true;
        }
        ending
    }

    async fn settle(&self, lease: Lease, verdict: Verdict) -> Option<Settled> {
        let id = lease.work.id;
        let verdict = if self.pool.stop.is_cancelled() {
            without_continuing(verdict)
        } else {
            verdict
        };
        match self.pool.queue.settle(lease, verdict).await {
            Ok(settled) => {
                if settled.lease_lost {
                    debug!(job.id = %id, "settled a lease that was lost");
                }
                Some(settled)
            }
            Err(error) => {
                // Who rebuilds or refills the schedule sees to what follows.
                debug!(%error, job.id = %id, "could not settle a lease, it will run out");
                None
            }
        }
    }

    async fn give_back_crashed(&self, lease: &Lease) {
        let factor = 1_u32.checked_shl(lease.crashes).unwrap_or(u32::MAX);
        let delay = self
            .pool
            .settings
            .crash_delay
            .saturating_mul(factor)
            .min(MAX_CRASH_DELAY);
        error!(
            job.id = %lease.work.id,
            job.kind = ?lease.work.kind,
            crashes = lease.crashes.saturating_add(1),
            "handler panicked, offering its work again later"
        );
        let retry_at = self.pool.queue.clock().now().plus(delay);
        if let Err(error) = self.pool.queue.settle_crashed(lease, retry_at).await {
            warn!(%error, job.id = %lease.work.id, "could not settle a lease, it will run out");
        }
    }

    fn go_on_with(&mut self, next: &Lease) {
        let mut held = self.pool.lock();
        held.remove(&self.token);
        self.token = next.token;
        self.lost = CancellationToken::new();
        let lease = Held {
            id: next.work.id,
            expires_at: next.expires_at,
            lost: self.lost.clone(),
            is_settling: false,
        };
        held.insert(next.token, lease);
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.pool.lock().remove(&self.token);
        self.pool.freed.notify_one();
    }
}

fn without_continuing(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Done {
            mut next,
            remove,
            continue_with,
        } => {
            next.extend(continue_with);
            Verdict::Done {
                next,
                remove,
                continue_with: None,
            }
        }
        Verdict::RetryAt { .. } | Verdict::Release => verdict,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
