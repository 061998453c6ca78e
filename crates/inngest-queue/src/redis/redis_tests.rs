//! The schedule in a real Redis: the behaviour of every backend, and what is Redis's own.

use std::{sync::Once, time::Duration};

use inngest_core::{
    job::{JobKind, Work},
    time::{Clock, Timestamp},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{
    Change, Queue,
    contract::every_rule,
    error::Error,
    limits::PartitionLimits,
    model::{Lease, QueueSettings, ScheduleState, Verdict},
    redis::RedisSettings,
    test_support::{START, function_id, item, number},
};

/// Names a Redis for tests.
const URL: &str = "TEST_REDIS_URL";
/// Names a cluster for tests, as the URI of a schedule does.
const CLUSTER_URL: &str = "TEST_REDIS_CLUSTER_URL";

#[expect(
    clippy::disallowed_methods,
    reason = "only tests read it, and they have no settings"
)]
fn url(variable: &'static str) -> Option<String> {
    static SKIPPED: Once = Once::new();
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        SKIPPED.call_once(|| eprintln!("{variable} is not set: nothing runs on it"));
    }
    url
}

/// A place that no other test uses.
fn place(uri: &str) -> RedisSettings {
    RedisSettings {
        prefix: format!("test:{}", Uuid::new_v4().simple()),
        ..RedisSettings::at(uri)
    }
}

async fn open(clock: Clock, settings: QueueSettings, place: &RedisSettings) -> Queue {
    Queue::redis(clock, settings, place, &TaskTracker::new())
        .expect("the URI of the tests is right")
}

/// An empty schedule that is whole.
async fn whole(clock: Clock, settings: QueueSettings, place: &RedisSettings) -> Queue {
    let queue = open(clock, settings, place).await;
    rebuild(&queue).await;
    queue
}

async fn rebuild(queue: &Queue) {
    let rebuild = queue.begin_rebuild().await.expect("Redis answers");
    let rebuild = rebuild.expect("nobody else rebuilds it");
    assert!(rebuild.open().await.unwrap() && rebuild.finish().await.unwrap());
}

#[tokio::test]
async fn redis_backend_shows_every_rule() {
    let Some(uri) = url(URL) else { return };
    every_rule(async |clock, settings| whole(clock, settings, &place(&uri)).await).await;
}

#[tokio::test]
async fn redis_cluster_shows_every_rule() {
    let Some(uri) = url(CLUSTER_URL) else { return };
    every_rule(async |clock, settings| whole(clock, settings, &place(&uri)).await).await;
}

/// A plain connection, for what an operator or an accident does.
async fn beside(uri: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(uri).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn command(conn: &mut redis::aio::MultiplexedConnection, words: &[&str]) -> redis::Value {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    command.query_async(conn).await.unwrap()
}

/// What FLUSHALL does, to one schedule only: other tests use the same Redis.
async fn wipe(conn: &mut redis::aio::MultiplexedConnection, place: &RedisSettings) {
    let pattern = format!("{{{}}}:*", place.prefix);
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(conn)
        .await
        .unwrap();
    for key in keys {
        let _: () = redis::cmd("DEL").arg(key).query_async(conn).await.unwrap();
    }
}

async fn lease_all(queue: &Queue) -> Vec<Lease> {
    queue.try_lease(1_000).await.unwrap().leases
}

fn numbers(leases: &[Lease]) -> Vec<u128> {
    leases.iter().map(number).collect()
}

#[tokio::test]
async fn schedule_that_nobody_has_built_is_lost() {
    let Some(uri) = url(URL) else { return };
    let place = place(&uri);
    let queue = open(Clock::manual(START), QueueSettings::default(), &place).await;
    assert_eq!(queue.enqueue(&[item(1)]).await, Err(Error::Lost));
    assert_eq!(queue.state(), ScheduleState::Lost);
    rebuild(&queue).await;
    assert_eq!(queue.state(), ScheduleState::Whole);
    assert!(queue.begin_rebuild().await.unwrap().is_none());
    queue.enqueue(&[item(1)]).await.unwrap();
    assert_eq!(numbers(&lease_all(&queue).await), [1]);
}

#[tokio::test]
async fn two_processes_share_the_work_and_each_item_goes_to_one() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = whole(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock, QueueSettings::default(), &place).await;
    one.enqueue(&(0..50).map(item).collect::<Vec<_>>())
        .await
        .unwrap();
    let (first, second) = tokio::join!(one.try_lease(30), two.try_lease(30));
    let (first, second) = (first.unwrap().leases, second.unwrap().leases);
    let mut all = [numbers(&first), numbers(&second)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<u128>>());
    // Each settles the other's neighbours only: a token is good for one lease.
    let foreign = Lease {
        token: second[0].token,
        ..first[0].clone()
    };
    let settled = two.settle(foreign, Verdict::done()).await.unwrap();
    assert!(settled.lease_lost);
    assert_eq!(one.stats().await.unwrap().leased, 50);
}

#[tokio::test]
async fn waiting_process_is_woken_by_another_ones_work() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = whole(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock, QueueSettings::default(), &place).await;
    for id in 0..20 {
        let waiting = two.lease(5);
        let adding = async {
            tokio::task::yield_now().await;
            one.enqueue(&[item(id)]).await
        };
        let (leases, added) = tokio::join!(waiting, adding);
        added.unwrap();
        let lease = leases.unwrap().remove(0);
        two.settle(lease, Verdict::done()).await.unwrap();
    }
}

#[tokio::test]
async fn lost_schedule_is_rebuilt_and_holders_keep_their_work() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = whole(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock.clone(), QueueSettings::default(), &place).await;
    let limits = PartitionLimits {
        concurrency: Some(3),
    };
    one.set_limits(function_id(1), limits).await.unwrap();
    let rows: Vec<Work> = (0..10).map(item).collect();
    one.enqueue(&rows).await.unwrap();
    let held_by_one = one.try_lease(1).await.unwrap().leases;
    let held_by_two = two.try_lease(1).await.unwrap().leases;
    // Both have said that they are there.
    while lock_others(&one) != 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let mut conn = beside(&uri).await;
    wipe(&mut conn, &place).await;
    assert_eq!(two.try_lease(5).await, Err(Error::Lost));
    // The second process notices by itself; the first one waits for it.
    let noticing = async {
        while two.state() != ScheduleState::Whole {
            let _ = two.try_lease(0).await;
            let _ = two.queue_look().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let rebuilding = async {
        let rebuild = one.begin_rebuild().await.unwrap().unwrap();
        one.refill(&rows).await.unwrap();
        assert!(rebuild.open().await.unwrap());
        assert!(rebuild.finish().await.unwrap());
    };
    tokio::join!(noticing, rebuilding);

    // What is held is not given out again, and takes its slots: one of three is left.
    let more = lease_all(&one).await;
    assert_eq!(more.len(), 1);
    for lease in held_by_one.iter().chain(&more) {
        assert!(one.extend(lease).await.is_ok());
    }
    assert!(two.extend(&held_by_two[0]).await.is_ok());
    let settled = two.settle(held_by_two[0].clone(), Verdict::done()).await;
    assert!(!settled.unwrap().lease_lost);
    assert_eq!(lease_all(&two).await.len(), 1);
    let ids = numbers(&[held_by_one, held_by_two, more].concat());
    assert!(ids.iter().all(|id| *id < 10));
}

fn lock_others(queue: &Queue) -> usize {
    let crate::Backend::Redis(redis) = &queue.0 else {
        panic!("the schedule is in Redis")
    };
    super::lock(&redis.0.memory).others.len()
}

impl Queue {
    /// A look that leases nothing but notices what has become of the schedule.
    async fn queue_look(&self) -> Result<(), Error> {
        self.stats().await.map(drop)
    }
}

#[tokio::test]
async fn rebuild_whose_builder_died_begins_anew() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = open(clock.clone(), QueueSettings::default(), &place).await;
    let rebuild_of_one = one.begin_rebuild().await.unwrap();
    assert!(rebuild_of_one.is_some());
    let two = open(clock.clone(), QueueSettings::default(), &place).await;
    assert!(
        two.begin_rebuild().await.unwrap().is_none(),
        "it is being rebuilt"
    );
    assert!(lease_all(&two).await.is_empty(), "it is closed");
    // The first one is heard of no more.
    one.leave().await;
    assert_eq!(two.enqueue(&[item(1)]).await, Err(Error::Lost));
    rebuild(&two).await;
    let rebuild_of_one = rebuild_of_one.unwrap();
    assert!(
        !rebuild_of_one.finish().await.unwrap(),
        "it is not its any more"
    );
}

#[tokio::test]
async fn work_of_a_process_that_died_is_offered_at_once_and_its_death_is_told_once() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = whole(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock.clone(), QueueSettings::default(), &place).await;
    one.enqueue(&[item(1)]).await.unwrap();
    let lease = two.try_lease(1).await.unwrap().leases.remove(0);
    let mut watch = one.watch();
    // It says that it is there by its own clock; the second one's stands still from here on.
    let later = START.plus(Duration::from_secs(16));
    drop(two);
    clock.advance(later.since(START));
    let death = async {
        loop {
            if watch.next().await == Change::Death {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), death)
        .await
        .expect("the first process is told");
    let taken = lease_all(&one).await;
    assert_eq!(numbers(&taken), [1]);
    assert!(taken[0].lost && taken[0].token != lease.token);
}

#[tokio::test]
async fn forgotten_scripts_and_cut_connections_are_not_noticed() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let queue = whole(clock, QueueSettings::default(), &place).await;
    let mut conn = beside(&uri).await;
    for id in 0..10 {
        command(&mut conn, &["SCRIPT", "FLUSH"]).await;
        queue.enqueue(&[item(id)]).await.unwrap();
        command(&mut conn, &["SCRIPT", "FLUSH"]).await;
        let lease = queue.try_lease(1).await.unwrap().leases.remove(0);
        assert_eq!(number(&lease), id);
        queue.settle(lease, Verdict::done()).await.unwrap();
    }
    assert_eq!(queue.stats().await.unwrap().entries, 0);
}

#[tokio::test]
async fn idle_process_sends_few_commands() {
    let Some(uri) = url(URL) else { return };
    let place = place(&uri);
    let now = Timestamp::from_millis(START.as_millis());
    let queue = whole(Clock::starting_at(now), QueueSettings::default(), &place).await;
    let before = queue.commands();
    let waiting = tokio::time::timeout(Duration::from_secs(4), queue.lease(10)).await;
    assert!(waiting.is_err(), "there is nothing to do");
    let commands = queue.commands() - before;
    assert!(commands <= 4 * 5, "{commands} commands in four seconds");
}

#[tokio::test]
async fn run_without_steps_takes_three_commands_and_a_crowd_fewer() {
    let Some(uri) = url(URL) else { return };
    let place = place(&uri);
    let queue = whole(Clock::manual(START), QueueSettings::default(), &place).await;
    let before = queue.commands();
    queue.enqueue(&[item(1)]).await.unwrap();
    let lease = queue.try_lease(10).await.unwrap().leases.remove(0);
    queue.settle(lease, Verdict::done()).await.unwrap();
    assert_eq!(queue.commands() - before, 3);
    let before = queue.commands();
    queue
        .enqueue(&(10..110).map(item).collect::<Vec<_>>())
        .await
        .unwrap();
    for lease in queue.try_lease(100).await.unwrap().leases {
        queue.settle(lease, Verdict::done()).await.unwrap();
    }
    assert_eq!(queue.commands() - before, 102);
    assert_eq!(queue.stats().await.unwrap().entries, 0);
}

#[tokio::test]
async fn entry_takes_few_bytes() {
    let Some(uri) = url(URL) else { return };
    let place = place(&uri);
    let queue = whole(Clock::manual(START), QueueSettings::default(), &place).await;
    const ENTRIES: u128 = 2_000;
    let rows: Vec<Work> = (0..ENTRIES).map(item).collect();
    queue.enqueue(&rows).await.unwrap();
    let mut conn = beside(&uri).await;
    let base = format!("{{{}}}:", place.prefix).into_bytes();
    let mut total: u64 = 0;
    let mut keys = vec![[base.as_slice(), b"q:", function_id(1).raw().as_bytes()].concat()];
    keys.extend(
        rows.iter()
            .map(|row| [base.as_slice(), b"e:", row.id.raw().as_bytes()].concat()),
    );
    for key in keys {
        let used: Option<u64> = redis::cmd("MEMORY")
            .arg("USAGE")
            .arg(key)
            .arg("SAMPLES")
            .arg(0)
            .query_async(&mut conn)
            .await
            .unwrap();
        total += used.expect("the key is there");
    }
    let each = total / ENTRIES as u64;
    eprintln!("{each} bytes for each entry");
    assert!(each < 800, "{each}");
}

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
