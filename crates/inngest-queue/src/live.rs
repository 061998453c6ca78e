//! Hints for live views: "this run changed, look again". No data, no order, no promise beyond that.
//!
//! Publishing never waits and never fails. Each subscriber has a bounded list of hints it has not read; the same hint twice is
//! kept once, and a list that overflows becomes the one notice [`Notice::Lagged`]. Somebody who looks again after each notice
//! misses nothing that changed after it had subscribed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;

use inngest_core::ids::{EnvId, FunctionId, RunId};

use crate::redis::live::RedisLive;

/// Hints kept for a subscriber that does not read.
const MAX_UNREAD: usize = 1_024;

/// A run changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hint {
    /// The environment, whose subscribers are told.
    pub env: EnvId,
    /// What changed.
    pub run: RunId,
    /// Whose run it is.
    pub function: FunctionId,
}

/// What a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Look at this run again.
    Hint(Hint),
    /// Hints were dropped: look at everything again.
    Lagged,
}

/// Where hints are published and read. Cheap to clone; clones share everything.
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

    /// Tells the subscribers of the hint's environment. Call it after the commit; never waits.
    pub fn publish(&self, hint: Hint) {
        match &self.0 {
            Backend::Memory(live) => live.publish(hint),
            Backend::Redis(live) => live.publish(hint),
        }
    }

    /// Everything published for an environment from now on, until the last handle of this `Live` is dropped.
    pub fn subscribe(&self, env: EnvId) -> HintStream {
        match &self.0 {
            Backend::Memory(live) => live.subscribe(env),
            Backend::Redis(live) => live.local().subscribe(env),
        }
    }
}

/// What a subscriber has not read yet. Dropping it ends the subscription.
#[derive(Debug)]
pub struct HintStream {
    subscriber: Arc<Subscriber>,
    live: Weak<MemoryLive>,
}

impl HintStream {
    /// The next notice; `None` when nothing can be published any more. May be dropped without losing a notice.
    pub async fn next(&mut self) -> Option<Notice> {
        std::future::poll_fn(|ctx| Pin::new(&mut *self).poll_next(ctx)).await
    }
}

impl Stream for HintStream {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.subscriber.poll(ctx)
    }
}

impl Drop for HintStream {
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
    unread: Mutex<Unread>,
}

#[derive(Debug, Default)]
struct Unread {
    /// In the order of their first publication.
    hints: VecDeque<Hint>,
    known: HashSet<Hint>,
    has_lagged: bool,
    is_closed: bool,
    reader: Option<Waker>,
}

impl MemoryLive {
    /// Tells everybody to look at everything again.
    pub(crate) fn lag(&self) {
        for subscriber in lock(&self.by_env).values().flatten() {
            lock(&subscriber.unread).lag();
        }
    }

    pub(crate) fn publish(&self, hint: Hint) {
        let by_env = lock(&self.by_env);
        for subscriber in by_env.get(&hint.env).into_iter().flatten() {
            subscriber.add(hint);
        }
    }

    fn subscribe(self: &Arc<Self>, env: EnvId) -> HintStream {
        let subscriber = Arc::new(Subscriber {
            env,
            unread: Mutex::default(),
        });
        lock(&self.by_env)
            .entry(env)
            .or_default()
            .push(subscriber.clone());
        HintStream {
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
            let mut unread = lock(&subscriber.unread);
            unread.is_closed = true;
            unread.wake();
        }
    }
}

impl Subscriber {
    fn add(&self, hint: Hint) {
        let mut unread = lock(&self.unread);
        if unread.has_lagged || !unread.known.insert(hint) {
            return;
        }
        if unread.hints.len() < MAX_UNREAD {
            unread.hints.push_back(hint);
            unread.wake();
        } else {
            unread.lag();
        }
    }

    fn poll(&self, ctx: &Context<'_>) -> Poll<Option<Notice>> {
        let mut unread = lock(&self.unread);
        if std::mem::take(&mut unread.has_lagged) {
            return Poll::Ready(Some(Notice::Lagged));
        }
        if let Some(hint) = unread.hints.pop_front() {
            unread.known.remove(&hint);
            return Poll::Ready(Some(Notice::Hint(hint)));
        }
        if unread.is_closed {
            return Poll::Ready(None);
        }
        unread.reader = Some(ctx.waker().clone());
        Poll::Pending
    }
}

impl Unread {
    /// Everything unread becomes one notice.
    fn lag(&mut self) {
        self.hints.clear();
        self.known.clear();
        self.has_lagged = true;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use inngest_core::ids::IdSource;
    use inngest_core::time::Timestamp;
    use uuid::Uuid;

    fn env(number: u128) -> EnvId {
        EnvId::from_raw(Uuid::from_u128(number))
    }

    fn hint(env: EnvId, ids: &IdSource) -> Hint {
        let function = FunctionId::from_raw(Uuid::from_u128(7));
        Hint {
            env,
            run: ids.run(Timestamp::from_millis(0)),
            function,
        }
    }

    #[tokio::test]
    async fn hint_reaches_every_subscriber_of_its_environment_only() {
        let (live, ids) = (Live::memory(), IdSource::counting());
        let (mut first, mut second, mut other) = (
            live.subscribe(env(1)),
            live.subscribe(env(1)),
            live.subscribe(env(2)),
        );
        let hint = hint(env(1), &ids);
        live.publish(hint);
        assert_eq!(first.next().await, Some(Notice::Hint(hint)));
        assert_eq!(second.next().await, Some(Notice::Hint(hint)));
        drop(live);
        assert_eq!(other.next().await, None);
    }

    #[tokio::test]
    async fn unread_hint_is_kept_once_and_comes_again_after_it_was_read() {
        let (live, ids) = (Live::memory(), IdSource::counting());
        let mut stream = live.subscribe(env(1));
        let (one, two) = (hint(env(1), &ids), hint(env(1), &ids));
        for hint in [one, two, one, one] {
            live.publish(hint);
        }
        assert_eq!(stream.next().await, Some(Notice::Hint(one)));
        live.publish(one);
        assert_eq!(stream.next().await, Some(Notice::Hint(two)));
        assert_eq!(stream.next().await, Some(Notice::Hint(one)));
        assert!(stream.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn overflow_becomes_one_notice_and_later_hints_follow_it() {
        let (live, ids) = (Live::memory(), IdSource::counting());
        let mut stream = live.subscribe(env(1));
        for _ in 0..=MAX_UNREAD {
            live.publish(hint(env(1), &ids));
        }
        assert_eq!(stream.next().await, Some(Notice::Lagged));
        let later = hint(env(1), &ids);
        live.publish(later);
        assert_eq!(stream.next().await, Some(Notice::Hint(later)));
        assert!(stream.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn dropped_stream_is_forgotten() {
        let live = Live::memory();
        drop(live.subscribe(env(1)));
        let Backend::Memory(memory) = &live.0 else {
            panic!("hints are in memory")
        };
        assert!(lock(&memory.by_env).is_empty());
    }

    use futures_util::FutureExt;
}
