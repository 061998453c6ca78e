//! Hints for live views: "something has changed in this environment, look". No data, no order, no promise beyond that.
//!
//! Publishing never waits and never fails. What a subscriber has not heard yet is one hint, however often it was published. Whoever
//! looks after each hint, and now and then without one, misses nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use inngest_core::ids::EnvId;
use tokio::sync::Notify;

use crate::redis::live::RedisLive;

/// Where hints are published and heard. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Live(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Memory(Arc<MemoryLive>),
    Redis(RedisLive),
}

impl Live {
    /// Hints inside this process.
    pub fn memory() -> Self {
        Self(Backend::Memory(Arc::default()))
    }

    /// Hints of all processes that share a schedule in Redis.
    pub(crate) fn redis(live: RedisLive) -> Self {
        Self(Backend::Redis(live))
    }

    /// Tells the subscribers of an environment. Call it after the commit; never waits.
    pub fn publish(&self, env: EnvId) {
        match &self.0 {
            Backend::Memory(live) => live.publish(env),
            Backend::Redis(live) => live.publish(env),
        }
    }

    /// Everything published for an environment from now on, until the last handle of this `Live` is dropped.
    pub fn subscribe(&self, env: EnvId) -> Hints {
        match &self.0 {
            Backend::Memory(live) => live.subscribe(env),
            Backend::Redis(live) => live.local().subscribe(env),
        }
    }
}

/// What a subscriber hears. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Hints {
    subscriber: Arc<Subscriber>,
    live: Weak<MemoryLive>,
}

impl Hints {
    /// Waits for a hint that was published since the last call. False when none can be published any more. May be dropped without
    /// losing a hint.
    pub async fn next(&mut self) -> bool {
        if self.subscriber.is_closed.load(Ordering::Acquire) {
            return false;
        }
        self.subscriber.told.notified().await;
        !self.subscriber.is_closed.load(Ordering::Acquire)
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        if let Some(live) = self.live.upgrade() {
            live.unsubscribe(&self.subscriber);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct MemoryLive {
    by_env: Mutex<HashMap<EnvId, Vec<Arc<Subscriber>>>>,
}

#[derive(Debug)]
struct Subscriber {
    env: EnvId,
    /// Keeps one hint for a subscriber that is not waiting.
    told: Notify,
    is_closed: AtomicBool,
}

impl MemoryLive {
    /// Tells everybody: hints may have been lost.
    pub(crate) fn publish_all(&self) {
        for subscriber in lock(&self.by_env).values().flatten() {
            subscriber.told.notify_one();
        }
    }

    pub(crate) fn publish(&self, env: EnvId) {
        for subscriber in lock(&self.by_env).get(&env).into_iter().flatten() {
            subscriber.told.notify_one();
        }
    }

    fn subscribe(self: &Arc<Self>, env: EnvId) -> Hints {
        let subscriber = Arc::new(Subscriber {
            env,
            told: Notify::new(),
            is_closed: AtomicBool::new(false),
        });
        lock(&self.by_env)
            .entry(env)
            .or_default()
            .push(subscriber.clone());
        Hints {
            subscriber,
            live: Arc::downgrade(self),
        }
    }

    fn unsubscribe(&self, subscriber: &Arc<Subscriber>) {
        let mut by_env = lock(&self.by_env);
        let Some(subscribers) = by_env.get_mut(&subscriber.env) else {
            return;
        };
        subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
        if subscribers.is_empty() {
            by_env.remove(&subscriber.env);
        }
    }
}

impl Drop for MemoryLive {
    fn drop(&mut self) {
        for subscriber in lock(&self.by_env).values().flatten() {
            subscriber.is_closed.store(true, Ordering::Release);
            subscriber.told.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn env(number: u128) -> EnvId {
        EnvId::from_raw(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn hint_reaches_every_subscriber_of_its_environment_only() {
        let live = Live::memory();
        let (mut first, mut second, mut other) = (
            live.subscribe(env(1)),
            live.subscribe(env(1)),
            live.subscribe(env(2)),
        );
        live.publish(env(1));
        assert!(first.next().await);
        assert!(second.next().await);
        assert!(other.next().now_or_never().is_none());
        drop(live);
        for hints in [&mut first, &mut second, &mut other] {
            assert!(!hints.next().await);
            assert!(!hints.next().await);
        }
    }

    #[tokio::test]
    async fn unheard_hints_are_one_and_the_next_comes_again() {
        let live = Live::memory();
        let mut hints = live.subscribe(env(1));
        for _ in 0..10_000 {
            live.publish(env(1));
        }
        assert!(hints.next().await);
        assert!(hints.next().now_or_never().is_none());
        live.publish(env(1));
        assert!(hints.next().await);
    }

    #[tokio::test]
    async fn dropped_subscriber_is_forgotten() {
        let live = Live::memory();
        drop(live.subscribe(env(1)));
        let Backend::Memory(memory) = &live.0 else {
            panic!("hints are in memory")
        };
        assert!(lock(&memory.by_env).is_empty());
    }
}
