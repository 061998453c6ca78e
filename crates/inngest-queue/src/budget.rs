//! The points that callers may spend, shared by all processes of one Redis, or of this process alone.
//!
//! A budget protects the server from one caller; it is no account. Without Redis, or when it does not answer at once, each process counts
//! for itself, so that a failing Redis never refuses a question.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use inngest_core::{
    budget::{Charge, Rate},
    time::{Clock, Timestamp},
};

use crate::{Backend, Queue, redis::RedisQueue};

/// How long Redis is waited for.
const PATIENCE: Duration = Duration::from_millis(100);
/// Buckets kept in this process.
const MAX_BUCKETS: usize = 10_000;

/// The buckets of all principals. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Budget {
    rate: Rate,
    clock: Clock,
    shared: Option<RedisQueue>,
    /// When each bucket is full again, in microseconds.
    own: Arc<Mutex<HashMap<String, u64>>>,
}

impl Queue {
    /// Buckets of this rate, shared by all processes of this schedule that use the same rate.
    pub fn budget(&self, rate: Rate) -> Budget {
        let (clock, shared) = match &self.0 {
            Backend::Memory(queue) => (queue.clock().clone(), None),
            Backend::Redis(queue) => (queue.clock().clone(), Some(queue.clone())),
        };
        Budget {
            rate,
            clock,
            shared,
            own: Arc::default(),
        }
    }
}

impl Budget {
    /// Points of a full bucket.
    pub fn limit(&self) -> u64 {
        self.rate.limit
    }

    /// How long an empty bucket takes to be full again.
    pub fn window(&self) -> Duration {
        Duration::from_micros(self.rate.whole())
    }

    /// Takes points from the bucket of `principal`, in one atomic step, if there are enough. Takes 0.1 s at most.
    pub async fn charge(&self, principal: &str, points: u64) -> Charge {
        let now = micros(self.clock.now());
        if let Some(redis) = &self.shared {
            let asked = redis.charge(principal, self.rate, now, points);
            if let Ok(Ok(charge)) = tokio::time::timeout(PATIENCE, asked).await {
                return charge;
            }
        }
        self.charge_here(principal, now, points)
    }

    fn charge_here(&self, principal: &str, now: u64, points: u64) -> Charge {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() >= MAX_BUCKETS && !own.contains_key(principal) {
            own.retain(|_, full_at| *full_at > now);
            if own.len() >= MAX_BUCKETS {
                // So many callers at once are not one that asks too much.
                own.clear();
            }
        }
        let full_at = own.get(principal).copied().unwrap_or(0);
        let charge = self.rate.charge(full_at, now, points);
        own.insert(principal.to_owned(), charge.full_at);
        charge
    }
}

fn micros(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(0)
        .saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::{
        model::QueueSettings,
        redis::redis_tests::{URL, place, url},
        test_support::START,
    };

    const RATE: Rate = Rate {
        limit: 100,
        per_second: 10,
    };

    /// What every backend has to show.
    async fn shows_the_rule(budgets: [Budget; 2], clock: &Clock) {
        let [one, other] = budgets;
        let charge = one.charge("ada", 70).await;
        assert_eq!((charge.is_allowed, charge.remaining), (true, 30));
        let refused = other.charge("ada", 40).await;
        assert_eq!(
            (refused.is_allowed, refused.remaining, refused.wait),
            (false, 30, 1_000_000)
        );
        assert_eq!(refused.full_at, micros(START) + 7_000_000);
        assert!(other.charge("bob", 100).await.is_allowed);
        clock.advance(Duration::from_secs(1));
        let charge = other.charge("ada", 40).await;
        assert_eq!((charge.is_allowed, charge.remaining), (true, 0));
        clock.advance(Duration::from_secs(3_600));
        let charge = one.charge("ada", 1_000).await;
        assert_eq!((charge.is_allowed, charge.remaining), (true, 0));
    }

    #[tokio::test]
    async fn buckets_of_one_process_follow_the_rule() {
        let clock = Clock::manual(START);
        let queue = Queue::memory(clock.clone(), QueueSettings::default());
        let budget = queue.budget(RATE);
        shows_the_rule([budget.clone(), budget], &clock).await;
    }

    #[tokio::test]
    async fn buckets_in_redis_are_shared_although_the_schedule_is_lost() {
        let Some(uri) = url(URL) else { return };
        let (clock, place) = (Clock::manual(START), place(&uri));
        let [one, other] = [(); 2].map(|()| {
            let (clock, tracker) = (clock.clone(), TaskTracker::new());
            Queue::redis(clock, QueueSettings::default(), &place, &tracker)
                .unwrap()
                .budget(RATE)
        });
        shows_the_rule([one, other], &clock).await;
    }

    #[tokio::test]
    async fn without_redis_each_process_counts_for_itself() {
        let clock = Clock::manual(START);
        // Nobody listens on port 1.
        let place = place("redis://127.0.0.1:1");
        let tracker = TaskTracker::new();
        let queue = Queue::redis(clock.clone(), QueueSettings::default(), &place, &tracker);
        let budget = queue.unwrap().budget(RATE);
        shows_the_rule([budget.clone(), budget], &clock).await;
    }

    #[tokio::test]
    async fn buckets_of_this_process_are_bounded() {
        let clock = Clock::manual(START);
        let budget = Queue::memory(clock, QueueSettings::default()).budget(RATE);
        for number in 0..=MAX_BUCKETS {
            budget.charge(&number.to_string(), 1).await;
        }
        assert!(budget.own.lock().unwrap().len() <= MAX_BUCKETS);
    }
}
