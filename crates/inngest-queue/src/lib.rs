//! The schedule, and the hints of live views.
//!
//! The durable truth is the table `work`; what is kept here is an index over the part of it that is due within a horizon. It says
//! what may be worked on now (admission), in which order (fairness), and by whom (leases), and it may forget everything at any
//! time: whoever owns the table adds it again. It knows work, partitions, leases and limits, and has never heard of a step's
//! meaning. Nothing in it polls: who waits is woken by what happens, or by the one instant at which something becomes due.
//!
//! Deliberately absent: storage, retry policy, and any promise that work is done once. A holder of a lease proves its right by the
//! epoch in the table, not by the lease.

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

use inngest_core::{
    ids::{FunctionId, WorkId},
    job::Work,
    time::{Clock, Timestamp},
};

use crate::{
    error::Error,
    limits::PartitionLimits,
    memory::MemoryQueue,
    model::{Enqueued, Lease, Look, PartitionStats, QueueSettings, QueueStats, Settled, Verdict},
};

/// The schedule. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Queue(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Memory(MemoryQueue),
}

impl Queue {
    /// A schedule in this process. It starts empty: the owner of the durable list adds what is due.
    pub fn memory(clock: Clock, settings: QueueSettings) -> Self {
        Self(Backend::Memory(MemoryQueue::new(clock, settings)))
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
        }
    }

    /// Forgets entries, for example of a run that ended. Unknown ids are fine. What is leased is forgotten when its lease ends.
    ///
    /// # Errors
    /// None in memory.
    pub async fn remove(&self, ids: &[WorkId]) -> Result<(), Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.remove(ids),
        }
    }

    /// Waits until work is due and admitted, and leases up to `max` items of it (at least one; never returns empty unless `max` is
    /// 0). The partition served longest ago comes first; in a partition, kinds that do not call the app come first, then the order
    /// is rank, due time, and order of arrival. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// None in memory.
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
    /// None in memory.
    pub async fn try_lease(&self, max: usize) -> Result<Look, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.try_lease(max).await,
        }
    }

    /// Waits until a look may find something, or until `deadline`. May return too early, never too late.
    pub(crate) async fn wait(&self, deadline: Option<Timestamp>) {
        match &self.0 {
            Backend::Memory(queue) => queue.wait(deadline).await,
        }
    }

    /// Sleeps by the schedule's clock; for ever without a time.
    pub(crate) async fn sleep_until(&self, at: Option<Timestamp>) {
        match (&self.0, at) {
            (_, None) => std::future::pending().await,
            (Backend::Memory(queue), Some(at)) => queue.sleep_until(at).await,
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
        }
    }

    /// Ends a lease, frees its slots and wakes whoever can go on, all in one atomic step. A lease that is lost by now is not an
    /// error: what the verdict adds is added all the same, because it is in the durable list if its commit went through.
    ///
    /// # Errors
    /// None in memory.
    pub async fn settle(&self, lease: Lease, verdict: Verdict) -> Result<Settled, Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.settle(&lease, verdict),
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
        }
    }

    /// Sets the limits of a function's partition, from now on. Leases over a lowered limit end by themselves.
    ///
    /// # Errors
    /// None in memory.
    pub async fn set_limits(
        &self,
        function: FunctionId,
        limits: PartitionLimits,
    ) -> Result<(), Error> {
        match &self.0 {
            Backend::Memory(queue) => queue.set_limits(function, limits),
        }
    }

    /// Makes every waiter look again. Needed after a manual clock was advanced, because nobody can sleep by it.
    pub fn kick(&self) {
        match &self.0 {
            Backend::Memory(queue) => queue.kick(),
        }
    }

    /// Figures of this instant. Walks partitions, not entries.
    ///
    /// # Errors
    /// None in memory.
    pub async fn stats(&self) -> Result<QueueStats, Error> {
        match &self.0 {
            Backend::Memory(queue) => Ok(queue.stats()),
        }
    }

    /// Figures of up to `max` partitions, those with the most due entries first.
    ///
    /// # Errors
    /// None in memory.
    pub async fn partitions(&self, max: usize) -> Result<Vec<PartitionStats>, Error> {
        match &self.0 {
            Backend::Memory(queue) => Ok(queue.partitions(max)),
        }
    }

    #[cfg(test)]
    pub(crate) fn stats_in_memory(&self) -> QueueStats {
        match &self.0 {
            Backend::Memory(queue) => queue.stats(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        match &self.0 {
            Backend::Memory(queue) => queue.clock(),
        }
    }

    pub(crate) fn lease_length(&self) -> std::time::Duration {
        match &self.0 {
            Backend::Memory(queue) => queue.lease_length(),
        }
    }
}
