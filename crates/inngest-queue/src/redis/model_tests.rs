//! The schedule in Redis and the one in memory, told the same things, do the same.

use std::time::Duration;

use inngest_core::{
    job::{JobKind, Work},
    time::{Clock, Timestamp},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    Queue,
    limits::PartitionLimits,
    model::{Lease, QueueSettings, Verdict},
    redis::redis_tests::{URL, place, url, whole},
    test_support::{START, function_id, item},
};

/// One thing that happens to a schedule.
#[derive(Clone, Debug)]
enum Step {
    Offer {
        id: u128,
        epoch: i64,
        delay: u64,
        rank: i64,
        is_internal: bool,
    },
    Remove(u128),
    Lease(usize),
    Advance(u64),
    Done {
        which: usize,
        next: Option<u128>,
        remove: Option<u128>,
        goes_on: Option<u128>,
    },
    Retry {
        which: usize,
        delay: u64,
    },
    Release(usize),
    Crash {
        which: usize,
        delay: u64,
    },
    Extend(usize),
    Limit(Option<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u128..12;
    prop_oneof![
        6 => (id.clone(), 1_i64..4, prop_oneof![Just(0_u64), 1_u64..40], -2_i64..3, proptest::bool::weighted(0.2))
            .prop_map(|(id, epoch, delay, rank, is_internal)| Step::Offer { id, epoch, delay, rank, is_internal }),
        1 => id.clone().prop_map(Step::Remove),
        5 => (1_usize..4).prop_map(Step::Lease),
        3 => (0_u64..25).prop_map(Step::Advance),
        3 => (0_usize..9, proptest::option::of(id.clone()), proptest::option::of(id.clone()), proptest::option::of(id))
            .prop_map(|(which, next, remove, goes_on)| Step::Done { which, next, remove, goes_on }),
        2 => (0_usize..9, 0_u64..30).prop_map(|(which, delay)| Step::Retry { which, delay }),
        1 => (0_usize..9).prop_map(Step::Release),
        1 => (0_usize..9, 0_u64..30).prop_map(|(which, delay)| Step::Crash { which, delay }),
        1 => (0_usize..9).prop_map(Step::Extend),
        1 => proptest::option::of(0_u32..4).prop_map(Step::Limit),
    ]
}

/// The schedules that are compared, and what both have leased.
struct Both {
    clock: Clock,
    memory: Queue,
    redis: Queue,
    leases: Vec<(Lease, Lease)>,
}

/// What two leases must agree in: all but their tokens and what only Redis is unsure of.
fn seen(lease: &Lease) -> (Work, Timestamp, bool, u32) {
    (
        lease.work.clone(),
        lease.expires_at,
        lease.lost,
        lease.crashes,
    )
}

impl Both {
    fn work(&self, id: u128) -> Work {
        Work {
            due_at: self.clock.now(),
            ..item(id)
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Offer {
                id,
                epoch,
                delay,
                rank,
                is_internal,
            } => {
                let work = Work {
                    epoch,
                    rank,
                    due_at: self.clock.now().plus(Duration::from_secs(delay)),
                    kind: if is_internal {
                        JobKind::Wake
                    } else {
                        JobKind::Discover
                    },
                    ..item(id)
                };
                let rows = [work];
                assert_eq!(
                    self.memory.enqueue(&rows).await,
                    self.redis.enqueue(&rows).await
                );
            }
            Step::Remove(id) => {
                let ids = [item(id).id];
                self.memory.remove(&ids).await.unwrap();
                self.redis.remove(&ids).await.unwrap();
            }
            Step::Lease(max) => {
                let memory = self.memory.try_lease(max).await.unwrap().leases;
                let redis = self.redis.try_lease(max).await.unwrap().leases;
                let all = |leases: &[Lease]| leases.iter().map(seen).collect::<Vec<_>>();
                assert_eq!(all(&memory), all(&redis));
                self.leases.extend(memory.into_iter().zip(redis));
            }
            Step::Advance(secs) => self.clock.advance(Duration::from_secs(secs)),
            Step::Done {
                which,
                next,
                remove,
                goes_on,
            } => {
                let verdict = Verdict::Done {
                    next: next.map(|id| self.work(id)).into_iter().collect(),
                    remove: remove.map(|id| item(id).id).into_iter().collect(),
                    continue_with: goes_on.map(|id| self.work(id)),
                };
                self.settle(which, |_| verdict.clone()).await;
            }
            Step::Retry { which, delay } => {
                let due_at = self.clock.now().plus(Duration::from_secs(delay));
                self.settle(which, |lease| Verdict::RetryAt {
                    work: Work {
                        epoch: lease.work.epoch + 1,
                        due_at,
                        ..lease.work.clone()
                    },
                })
                .await;
            }
            Step::Release(which) => self.settle(which, |_| Verdict::Release).await,
            Step::Crash { which, delay } => {
                if let Some((memory, redis)) = self.pick(which) {
                    let at = self.clock.now().plus(Duration::from_secs(delay));
                    self.memory.settle_crashed(&memory, at).await.unwrap();
                    self.redis.settle_crashed(&redis, at).await.unwrap();
                }
            }
            Step::Extend(which) => {
                if let Some((memory, redis)) = self.pick(which) {
                    assert_eq!(
                        self.memory.extend(&memory).await,
                        self.redis.extend(&redis).await
                    );
                    self.leases.push((memory, redis));
                }
            }
            Step::Limit(concurrency) => {
                let limits = PartitionLimits { concurrency };
                self.memory
                    .set_limits(function_id(1), limits)
                    .await
                    .unwrap();
                self.redis.set_limits(function_id(1), limits).await.unwrap();
            }
        }
    }

    fn pick(&mut self, which: usize) -> Option<(Lease, Lease)> {
        let count = self.leases.len();
        (count > 0).then(|| self.leases.remove(which % count))
    }

    async fn settle(&mut self, which: usize, verdict: impl Fn(&Lease) -> Verdict) {
        let Some((memory, redis)) = self.pick(which) else {
            return;
        };
        let verdict = verdict(&memory);
        let mut one = self.memory.settle(memory, verdict.clone()).await.unwrap();
        let mut other = self.redis.settle(redis, verdict).await.unwrap();
        let continued = (one.continued.take(), other.continued.take());
        assert_eq!(one, other);
        match continued {
            (Some(memory), Some(redis)) => {
                assert_eq!(seen(&memory), seen(&redis));
                self.leases.push((memory, redis));
            }
            (None, None) => {}
            other => panic!("only one goes on: {other:?}"),
        }
    }

    async fn compare_figures(&self) {
        let (memory, redis) = (
            self.memory.stats().await.unwrap(),
            self.redis.stats().await.unwrap(),
        );
        let figures = |stats: &crate::model::QueueStats| {
            // Memory counts a look's catching up at once, and so does Redis: after a look both agree.
            (stats.entries, stats.leased, stats.expired, stats.crashes)
        };
        assert_eq!(figures(&memory), figures(&redis));
    }
}

#[test]
fn every_interleaving_agrees_with_the_schedule_in_memory() {
    let Some(uri) = url(URL) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = proptest::collection::vec(step(), 1..60);
    TestRunner::new(config)
        .run(&steps, |steps| {
            runtime.block_on(async {
                let (place, clock) = (place(&uri), Clock::manual(START));
                let settings = QueueSettings {
                    max_entries: 10,
                    ..QueueSettings::default()
                };
                let mut both = Both {
                    memory: Queue::memory(clock.clone(), settings),
                    redis: whole(clock.clone(), settings, &place).await,
                    clock,
                    leases: Vec::new(),
                };
                for step in steps {
                    both.take(step).await;
                }
                both.take(Step::Lease(20)).await;
                both.compare_figures().await;
            });
            Ok(())
        })
        .unwrap();
}
