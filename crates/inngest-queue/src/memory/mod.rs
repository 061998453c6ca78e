//! The schedule in this process, behind one mutex.
//!
//! An operation changes the state, then wakes at most one waiter, and only if that one can do something: work is open, or the next
//! instant is earlier than any that a waiter sleeps for. Whoever leases hands the wake-up on in the same way.

mod admission;
mod entry;
mod state;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use inngest_core::{
    ids::{FunctionId, WorkId},
    job::Work,
    time::{Clock, Timestamp},
};
use tokio::sync::Notify;

use crate::{
    error::Error,
    limits::PartitionLimits,
    memory::state::{Source, State},
    model::{
        Enqueued, EntryPlace, Lease, Look, PartitionStats, QueueSettings, QueueStats, Settled,
        Verdict,
    },
};

#[derive(Clone, Debug)]
pub(crate) struct MemoryQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    settings: QueueSettings,
    shared: Mutex<Shared>,
    /// Wakes waiters. Why, they read in `shared`.
    woken: Notify,
    /// Tells sleepers that a manual clock was moved.
    kicked: Notify,
}

#[derive(Debug)]
struct Shared {
    state: State,
    waiters: usize,
    /// The instants that waiters sleep for.
    alarms: BTreeSet<(Timestamp, u64)>,
    last_waiter: u64,
    looked_again: u64,
}

impl MemoryQueue {
    pub(crate) fn new(clock: Clock, settings: QueueSettings) -> Self {
        let shared = Shared {
            state: State::new(settings),
            waiters: 0,
            alarms: BTreeSet::new(),
            last_waiter: 0,
            looked_again: 0,
        };
        Self(Arc::new(Inner {
            clock,
            settings,
            shared: Mutex::new(shared),
            woken: Notify::new(),
            kicked: Notify::new(),
        }))
    }

    pub(crate) fn enqueue(&self, work: &[Work]) -> Result<Enqueued, Error> {
        self.change(|state, now| state.enqueue(work, Source::Commit, now))
    }

    pub(crate) fn refill(&self, work: &[Work]) -> Result<Enqueued, Error> {
        self.change(|state, now| state.enqueue(work, Source::Refill, now))
    }

    pub(crate) fn remove(&self, ids: &[WorkId]) -> Result<(), Error> {
        self.change(|state, _| state.remove(ids));
        Ok(())
    }

    pub(crate) fn places(&self, ids: &[WorkId]) -> HashMap<WorkId, EntryPlace> {
        self.lock().state.places(ids)
    }

    pub(crate) async fn try_lease(&self, max: usize) -> Result<Look, Error> {
        while self.change(|state, now| state.catch_up(now)) {
            // Much became due at once. Others get the lock in between; if this look is dropped here, somebody else goes on.
            let hand_on = HandOn(Some(self));
            tokio::task::yield_now().await;
            hand_on.defuse();
        }
        let now = self.0.clock.now();
        let mut shared = self.lock();
        let leases = shared.state.lease(max, now);
        let look = Look {
            leases,
            next_at: shared.state.next_at(),
        };
        if !look.leases.is_empty() {
            self.wake_if_useful(&shared);
        }
        Ok(look)
    }

    /// Returns when something can be leased, when the next instant at which that may be so has come, or at `deadline`.
    pub(crate) async fn wait(&self, deadline: Option<Timestamp>) {
        let woken = self.0.woken.notified();
        let Some(waiter) = Waiter::begin(self, deadline) else {
            return;
        };
        let at = waiter.alarm.map(|(at, _)| at);
        let sleep_for = at
            .filter(|_| !self.0.clock.is_manual())
            .map(|at| at.since(self.0.clock.now()));
        match sleep_for {
            Some(duration) => {
                tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep(duration) => {}
                }
            }
            None => woken.await,
        }
        waiter.end();
    }

    /// Sleeps by the schedule's clock, whatever happens to the schedule.
    pub(crate) async fn sleep_until(&self, at: Timestamp) {
        loop {
            let kicked = self.0.kicked.notified();
            let now = self.0.clock.now();
            if now >= at {
                return;
            }
            if self.0.clock.is_manual() {
                kicked.await;
            } else {
                tokio::time::sleep(at.since(now)).await;
            }
        }
    }

    pub(crate) fn extend(&self, id: WorkId, token: u64) -> Result<Timestamp, Error> {
        self.change(|state, now| state.extend(id, token, now))
    }

    pub(crate) fn settle(&self, lease: &Lease, verdict: Verdict) -> Result<Settled, Error> {
        Ok(self.change(|state, now| state.settle(lease, verdict, now)))
    }

    pub(crate) fn settle_crashed(&self, lease: &Lease, retry_at: Timestamp) -> Result<(), Error> {
        self.change(|state, now| state.settle_crashed(lease, retry_at, now));
        Ok(())
    }

    pub(crate) fn set_limits(
        &self,
        function: FunctionId,
        limits: PartitionLimits,
    ) -> Result<(), Error> {
        self.change(|state, _| state.set_limits(function, limits));
        Ok(())
    }

    pub(crate) fn kick(&self) {
        self.0.kicked.notify_waiters();
        self.0.woken.notify_waiters();
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let shared = self.lock();
        QueueStats {
            wakeups: shared.looked_again,
            ..shared.state.stats()
        }
    }

    pub(crate) fn partitions(&self, max: usize) -> Vec<PartitionStats> {
        self.lock().state.partitions(max)
    }

    pub(crate) fn partitions_of(&self, functions: &[FunctionId]) -> Vec<PartitionStats> {
        self.lock().state.partitions_of(functions)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn lease_length(&self) -> Duration {
        self.0.settings.lease
    }

    fn change<T>(&self, operation: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let now = self.0.clock.now();
        let mut shared = self.lock();
        let result = operation(&mut shared.state, now);
        self.wake_if_useful(&shared);
        result
    }

    fn wake_if_useful(&self, shared: &Shared) {
        if shared.waiters == 0 {
            return;
        }
        let is_nobody_awake_in_time = shared
            .state
            .next_at()
            .is_some_and(|next| shared.alarms.first().is_none_or(|&(alarm, _)| next < alarm));
        if shared.state.has_open() || is_nobody_awake_in_time {
            self.0.woken.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The state holds its own invariants between statements only as far as no operation panics; none is expected to.
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits, counted until dropped.
struct Waiter<'a> {
    queue: &'a MemoryQueue,
    alarm: Option<(Timestamp, u64)>,
    has_ended: bool,
}

impl<'a> Waiter<'a> {
    /// `None` when there is something to look at already: what happens between a look and the wait after it is not missed.
    fn begin(queue: &'a MemoryQueue, deadline: Option<Timestamp>) -> Option<Self> {
        let now = queue.0.clock.now();
        let mut shared = queue.lock();
        let at = match (shared.state.next_at(), deadline) {
            (Some(next), Some(deadline)) => Some(next.min(deadline)),
            (next, deadline) => next.or(deadline),
        };
        if shared.state.has_open() || at.is_some_and(|at| at <= now) {
            shared.looked_again += 1;
            return None;
        }
        shared.waiters += 1;
        shared.last_waiter += 1;
        let alarm = at.map(|at| (at, shared.last_waiter));
        shared.alarms.extend(alarm);
        Some(Self {
            queue,
            alarm,
            has_ended: false,
        })
    }

    /// The waiter goes on to look.
    fn end(mut self) {
        self.has_ended = true;
        self.queue.lock().looked_again += 1;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut shared = self.queue.lock();
        shared.waiters -= 1;
        if let Some(alarm) = &self.alarm {
            shared.alarms.remove(alarm);
        }
        if !self.has_ended {
            self.queue.wake_if_useful(&shared);
        }
    }
}

/// Wakes somebody else if the one who was woken is dropped before it has looked.
struct HandOn<'a>(Option<&'a MemoryQueue>);

impl HandOn<'_> {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for HandOn<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            let shared = queue.lock();
            queue.wake_if_useful(&shared);
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
