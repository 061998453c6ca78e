//! The schedule, and the hints of live views.
//!
//! The durable truth is the table `work`; what is kept here is an index over the part of it that is due within a horizon. It says
//! what may be worked on now (admission), in which order (fairness), and by whom (leases), and it may forget everything at any
//! time: whoever owns the table adds it again. It knows work, partitions, leases and limits, and has never heard of a step's
//! meaning. Nothing in it polls: who waits is woken by what happens, or by the one instant at which something becomes due.
//!
//! Deliberately absent: storage, retry policy, and any promise that work is done once. A holder of a lease proves its right by the
//! epoch in the table, not by the lease.

pub mod budget;
pub mod error;
pub mod limits;
pub mod model;
pub mod worker;

pub mod live;

#[cfg(any(test, feature = "test-util"))]
pub mod contract;
#[cfg(any(test, feature = "test-util"))]
mod test_support;

mod memory;
mod redis;

use std::collections::HashMap;

use inngest_core::{
    ids::{FunctionId, WorkId},
    job::Work,
    time::{Clock, Timestamp},
};

pub use crate::redis::{
    BadAddress, RedisSettings, Timeouts,
    inspect::{NotInspected, RedisFacts, inspect},
};
use tokio_util::task::TaskTracker;

use crate::{
    error::Error,
    limits::PartitionLimits,
    live::Live,
    memory::MemoryQueue,
    model::{
        Enqueued, EntryPlace, Lease, Look, PartitionStats, QueueSettings, QueueStats,
        RebuildProgress, ScheduleState, Settled, Verdict,
    },
    redis::{RedisQueue, live::RedisLive, rebuild::RedisRebuild},
};

/// The schedule. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Queue(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Memory(MemoryQueue),
    Redis(RedisQueue),
}

impl Queue {
    /// A schedule in this process. It starts empty: the owner of the durable list adds what is due.
    pub fn memory(clock: Clock, settings: QueueSettings) -> Self {
        Self(Backend::Memory(MemoryQueue::new(clock, settings)))
    }

    /// A schedule in Redis, shared by all processes that use the same one. It connects when it is first used. When Redis has lost it,
    /// every operation fails with [`Error::Lost`] until somebody has rebuilt it ([`Queue::begin_rebuild`]); a new one is lost from the
    /// beginning. Its tasks, which say from time to time that this process is there, are spawned on `tracker` and end with the last handle.
    ///
    /// # Errors
    /// When the URI cannot be used.
    pub fn redis(
        clock: Clock,
        settings: QueueSettings,
        redis: &RedisSettings,
        tracker: &TaskTracker,
    ) -> Result<Self, BadAddress> {
        RedisQueue::new(clock, settings, redis, tracker).map(|queue| Self(Backend::Redis(queue)))
    }

    /// Whether other processes may lease the same work.
    pub fn is_shared(&self) -> bool {
        match &self.0 {
            Backend::Memory(_) => false,
            Backend::Redis(_) => true,
        }
    }

    /// Hints of live views, as far as this schedule reaches.
    pub fn live(&self) -> Live {
        match &self.0 {
            Backend::Memory(_) => Live::memory(),
            Backend::Redis(queue) => Live::redis(RedisLive::start(queue)),
        }
    }

    /// How the schedule is, as far as this process knows.
    pub fn state(&self) -> ScheduleState {
        match &self.0 {
            Backend::Memory(_) => ScheduleState::Whole,
            Backend::Redis(queue) => *queue.state().borrow(),
        }
    }

    /// What happens to the schedule from now on.
    pub fn watch(&self) -> Watch {
        Watch(match &self.0 {
            Backend::Memory(_) => None,
            Backend::Redis(queue) => Some((queue.state(), queue.deaths())),
        })
    }

    /// Begins to rebuild a schedule that is lost: says what this process holds, and waits (some seconds at most) until the others have.
    /// `None` when there is nothing to rebuild, or somebody else does it.
    ///
    /// # Errors
    /// `Unavailable`; `Lost` when it was lost again.
    pub async fn begin_rebuild(&self) -> Result<Option<Rebuild>, Error> {
        match &self.0 {
            Backend::Memory(_) => Ok(None),
            Backend::Redis(queue) => Ok(queue.begin_rebuild().await?.map(Rebuild)),
        }
    }

    /// Takes leave: what this process holds can be taken by others at once. Call it last.
    pub async fn leave(&self) {
        match &self.0 {
            Backend::Memory(_) => {}
            Backend::Redis(queue) => queue.leave().await,
        }
    }

    /// Commands sent to Redis by this process so far.
    pub fn commands(&self) -> u64 {
        match &self.0 {
            Backend::Memory(_) => 0,
            Backend::Redis(queue) => queue.commands(),
        }
    }

    /// Adds work, all in one atomic step. An id that is there with the same or a higher epoch stays as it is. A higher epoch
    /// replaces the entry and its time; if the old one is leased, the new one takes its place when that lease ends. Work due
    /// beyond the horizon is not kept. Wakes a worker if something can be worked on.
    ///
    /// # Errors
    /// `Full` when entries were left out because the bound is reached: they stay in the durable list and have to be offered again.
    pub async fn enqueue(&self, work: &[Work]) -> Result<Enqueued, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.enqueue(work),
            Backend::Redis(queue) => queue.enqueue(work).await,
        }
    }

    /// Like [`Queue::enqueue`] for rows that were read from the durable list a moment ago and may be gone by now: leases on them say
    /// `unsure`.
    ///
    /// # Errors
    /// As for [`Queue::enqueue`].
    pub async fn refill(&self, work: &[Work]) -> Result<Enqueued, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.refill(work),
            // Here every lease is unsure.
            Backend::Redis(queue) => queue.enqueue(work).await,
        }
    }

    /// Forgets entries, for example of a run that ended. Unknown ids are fine. What is leased is forgotten when its lease ends.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn remove(&self, ids: &[WorkId]) -> Result<(), Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.remove(ids),
            Backend::Redis(queue) => queue.remove(ids).await,
        }
    }

    /// Where the entries of these ids are; those that the schedule does not hold are left out.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn places(&self, ids: &[WorkId]) -> Result<HashMap<WorkId, EntryPlace>, Error> {
        match &self.0 {
            Backend::Memory(queue) => Ok(queue.places(ids)),
            Backend::Redis(queue) => queue.places(ids).await,
        }
    }

    /// Waits until work is due and admitted, and leases up to `max` items of it (at least one; never returns empty unless `max` is
    /// 0). The partition served longest ago comes first; in a partition, kinds that do not call the app come first, then the order
    /// is rank, due time, and order of arrival. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn lease(&self, max: usize) -> Result<Vec<Lease>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let look = self.try_lease(max).await?;
            if !look.leases.is_empty() {
                return Ok(look.leases);
            }
            self.wait(None).await;
        }
    }

    /// Leases what can be leased now, maybe nothing, without waiting.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn try_lease(&self, max: usize) -> Result<Look, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.try_lease(max).await,
            Backend::Redis(queue) => queue.try_lease(max).await,
        }
    }

    /// Waits until a look may find something, or until `deadline`. May return too early, never too late.
    pub(crate) async fn wait(&self, deadline: Option<Timestamp>) {
        match &self.0 {
            Backend::Memory(queue) => queue.wait(deadline).await,
            Backend::Redis(queue) => queue.wait(deadline).await,
        }
    }

    /// Sleeps by the schedule's clock; for ever without a time.
    pub(crate) async fn sleep_until(&self, at: Option<Timestamp>) {
        match (&self.0, at) {
            (_, None) => std::future::pending().await,
            (Backend::Memory(queue), Some(at)) => queue.sleep_until(at).await,
            (Backend::Redis(queue), Some(at)) => queue.sleep_until(at).await,
        }
    }

    /// Extends the lease to now + the length of a lease, and returns that time.
    ///
    /// # Errors
    /// `LeaseLost` when the lease was settled, or ran out and was noticed. Stop working: what you write would be refused.
    pub async fn extend(&self, lease: &Lease) -> Result<Timestamp, Error> {
        self.extend_by_token(lease.work.id, lease.token).await
    }

    pub(crate) async fn extend_by_token(&self, id: WorkId, token: u64) -> Result<Timestamp, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.extend(id, token),
            Backend::Redis(queue) => queue.extend(id, token).await,
        }
    }

    /// Ends a lease, frees its slots and wakes whoever can go on, all in one atomic step. A lease that is lost by now is not an
    /// error: what the verdict adds is added all the same, because it is in the durable list if its commit went through.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn settle(&self, lease: Lease, verdict: Verdict) -> Result<Settled, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.settle(&lease, verdict),
            Backend::Redis(queue) => queue.settle(&lease, verdict).await,
        }
    }

    /// Ends the lease of a holder that panicked: counts it, and offers the work again from `retry_at` on.
    pub(crate) async fn settle_crashed(
        &self,
        lease: &Lease,
        retry_at: Timestamp,
    ) -> Result<(), Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.settle_crashed(lease, retry_at),
            Backend::Redis(queue) => queue.settle_crashed(lease, retry_at).await,
        }
    }

    /// Sets the limits of a function's partition, from now on. Leases over a lowered limit end by themselves.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn set_limits(
        &self,
        function: FunctionId,
        limits: PartitionLimits,
    ) -> Result<(), Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.set_limits(function, limits),
            Backend::Redis(queue) => queue.set_limits(function, limits).await,
        }
    }

    /// Makes every waiter look again. Needed after a manual clock was advanced, because nobody can sleep by it.
    pub fn kick(&self) {
        match &self.0 {
            Backend::Memory(queue) => queue.kick(),
            Backend::Redis(queue) => queue.kick(),
        }
    }

    /// Figures of this instant. Walks partitions, not entries.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn stats(&self) -> Result<QueueStats, Error> {
        match &self.0 {
            Backend::Memory(queue) => Ok(queue.stats()),
            Backend::Redis(queue) => queue.stats().await,
        }
    }

    /// Figures of up to `max` partitions, those with the most due entries first.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn partitions(&self, max: usize) -> Result<Vec<PartitionStats>, Error> {
        match &self.0 {
            Backend::Memory(queue) => Ok(queue.partitions(max)),
            Backend::Redis(queue) => queue.partitions(max).await,
        }
    }

    /// Figures of the partitions of these functions, in any order; those without due entries and leases are left out. In Redis one script
    /// for each 500 functions.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`; none in memory.
    pub async fn partitions_of(
        &self,
        functions: &[FunctionId],
    ) -> Result<Vec<PartitionStats>, Error> {
        match &self.0 {
            Backend::Memory(queue) => Ok(queue.partitions_of(functions)),
            Backend::Redis(queue) => queue.partitions_of(functions).await,
        }
    }

    #[cfg(test)]
    pub(crate) fn stats_in_memory(&self) -> QueueStats {
        match &self.0 {
            Backend::Memory(queue) => queue.stats(),
            Backend::Redis(_) => panic!("the schedule is not in memory"),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        match &self.0 {
            Backend::Memory(queue) => queue.clock(),
            Backend::Redis(queue) => queue.clock(),
        }
    }

    pub(crate) fn lease_length(&self) -> std::time::Duration {
        match &self.0 {
            Backend::Memory(queue) => queue.lease_length(),
            Backend::Redis(queue) => queue.lease_length(),
        }
    }
}

/// What happens to a schedule, for who keeps it filled.
#[derive(Debug)]
pub struct Watch(
    Option<(
        tokio::sync::watch::Receiver<ScheduleState>,
        tokio::sync::watch::Receiver<u64>,
    )>,
);

/// Something that happened to a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in another state.
    State(ScheduleState),
    /// Another process has died. It may have committed work of which the schedule was never told.
    Death,
}

impl Watch {
    /// The next thing to happen; never in memory, where nothing does.
    pub async fn next(&mut self) -> Change {
        let Some((state, deaths)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            Ok(()) = state.changed() => Change::State(*state.borrow_and_update()),
            Ok(()) = deaths.changed() => Change::Death,
            else => std::future::pending().await,
        }
    }
}

/// A rebuild that this process carries out: add all that is due, soonest first, and finish. Giving it up leaves the schedule to the next
/// who notices that this process has died or that it is lost.
#[derive(Debug)]
pub struct Rebuild(RedisRebuild);

impl Rebuild {
    /// Lets work be leased from now on. Call it when what is due first is there. `false` when the schedule was lost again.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`.
    pub async fn open(&self) -> Result<bool, Error> {
        self.0.open().await
    }

    /// Tells every process how far it is; see [`QueueStats::rebuild`]. `false` when the schedule was lost again.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`.
    pub async fn tell(&self, progress: RebuildProgress) -> Result<bool, Error> {
        self.0.tell(progress).await
    }

    /// Declares the schedule whole. `false` when it was lost again.
    ///
    /// # Errors
    /// `Unavailable` or `Lost`.
    pub async fn finish(&self) -> Result<bool, Error> {
        self.0.finish().await
    }
}
