//! The schedule in a real Redis: the behaviour of every backend, and what is Redis's own.

use std::{
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use inngest_core::{
    job::Work,
    time::{Clock, Timestamp},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{
    Change, Queue,
    contract::every_rule,
    error::Error,
    limits::PartitionLimits,
    model::{Lease, QueueSettings, RebuildProgress, ScheduleState, Verdict},
    redis::RedisSettings,
    test_support::{START, function_id, item, number},
};

/// Names a Redis for tests.
pub(crate) const URL: &str = "TEST_REDIS_URL";
/// Names a cluster for tests, as the URI of a schedule does.
const CLUSTER_URL: &str = "TEST_REDIS_CLUSTER_URL";

#[expect(
    clippy::disallowed_methods,
    reason = "only tests read it, and they have no settings"
)]
pub(crate) fn url(variable: &'static str) -> Option<String> {
    static SKIPPED: Once = Once::new();
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        SKIPPED.call_once(|| eprintln!("{variable} is not set: nothing runs on it"));
    }
    url
}

/// A place that no other test uses.
pub(crate) fn place(uri: &str) -> RedisSettings {
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
pub(super) async fn whole(clock: Clock, settings: QueueSettings, place: &RedisSettings) -> Queue {
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
    until_known_to_each_other(&[&one, &two]).await;

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

fn of_redis(queue: &Queue) -> &super::RedisQueue {
    match &queue.0 {
        crate::Backend::Redis(redis) => redis,
        crate::Backend::Memory(_) => panic!("the schedule is in Redis"),
    }
}

async fn until_known_to_each_other(queues: &[&Queue]) {
    for queue in queues {
        while super::lock(&of_redis(queue).0.memory).others.len() + 1 < queues.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Queue {
    /// A look that leases nothing but notices what has become of the schedule.
    async fn queue_look(&self) -> Result<(), Error> {
        self.stats().await.map(drop)
    }
}

#[tokio::test]
async fn rebuild_is_not_taken_for_one_whose_builder_died() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = whole(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock, QueueSettings::default(), &place).await;
    until_known_to_each_other(&[&one, &two]).await;
    wipe(&mut beside(&uri).await, &place).await;
    // The other's word comes before the builder's next.
    let beating = async { while of_redis(&two).say_present(false).await == Err(Error::Lost) {} };
    let (rebuild, ()) = tokio::join!(one.begin_rebuild(), beating);
    let rebuild = rebuild.unwrap().unwrap();
    of_redis(&two).say_present(false).await.unwrap();
    assert!(rebuild.open().await.unwrap() && rebuild.finish().await.unwrap());
}

#[tokio::test]
async fn rebuild_that_was_broken_off_can_be_begun_by_anybody() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = open(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock, QueueSettings::default(), &place).await;
    let broken_off = one.begin_rebuild().await.unwrap().unwrap();
    assert!(broken_off.open().await.unwrap());
    assert!(two.begin_rebuild().await.unwrap().is_none());
    drop(broken_off);
    let rebuild = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(rebuild) = two.begin_rebuild().await.unwrap() {
                return rebuild;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let rebuild = rebuild.await.expect("it is given up");
    assert!(rebuild.open().await.unwrap() && rebuild.finish().await.unwrap());
    assert!(two.enqueue(&[item(1)]).await.is_ok());
}

#[tokio::test]
async fn holder_is_not_told_that_its_lease_is_lost_before_the_schedule_knows_of_it() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = whole(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock, QueueSettings::default(), &place).await;
    one.enqueue(&[item(1)]).await.unwrap();
    let lease = two.try_lease(1).await.unwrap().leases.remove(0);
    until_known_to_each_other(&[&one, &two]).await;
    for _ in 0..20 {
        wipe(&mut beside(&uri).await, &place).await;
        let extending = async {
            loop {
                match two.extend(&lease).await {
                    Ok(_) => return,
                    Err(error) => assert_eq!(error, Error::Lost),
                }
            }
        };
        let (rebuild, ()) = tokio::join!(one.begin_rebuild(), extending);
        assert!(rebuild.unwrap().unwrap().finish().await.unwrap());
    }
}

#[tokio::test]
async fn lease_that_ran_out_unnoticed_is_forgotten_by_its_holder() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let settings = QueueSettings::default();
    let queue = whole(clock.clone(), settings, &place).await;
    queue.enqueue(&[item(1)]).await.unwrap();
    assert_eq!(lease_all(&queue).await.len(), 1);
    let held = || super::lock(&of_redis(&queue).0.held).len();
    clock.advance(settings.lease + Duration::from_millis(1));
    of_redis(&queue).forget_ended();
    assert_eq!(held(), 1, "its handler may still be at it");
    clock.advance(settings.lease);
    of_redis(&queue).forget_ended();
    assert_eq!(held(), 0);
}

#[tokio::test]
async fn every_process_sees_how_far_a_rebuild_is() {
    let Some(uri) = url(URL) else { return };
    let (place, clock) = (place(&uri), Clock::manual(START));
    let one = open(clock.clone(), QueueSettings::default(), &place).await;
    let two = open(clock, QueueSettings::default(), &place).await;
    let of = async |queue: &Queue| queue.stats().await.unwrap().rebuild;
    let seen = async || (of(&one).await, of(&two).await);
    let rebuild = one.begin_rebuild().await.unwrap().unwrap();
    assert_eq!(seen().await, (None, None));
    for added in [0, 2_000] {
        let progress = RebuildProgress {
            added,
            total: 5_000,
        };
        assert!(rebuild.tell(progress).await.unwrap());
        assert_eq!(seen().await, (Some(progress), Some(progress)));
        assert!(rebuild.open().await.unwrap());
        assert_eq!(seen().await, (Some(progress), Some(progress)));
    }
    assert!(rebuild.finish().await.unwrap());
    assert_eq!(seen().await, (None, None));
    // Of a rebuild that is over nothing more is told.
    let late = RebuildProgress { added: 1, total: 1 };
    assert!(!rebuild.tell(late).await.unwrap());
    assert_eq!(seen().await, (None, None));
}

/// Warnings as they would be written to a log.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn redis_that_may_throw_keys_away_is_warned_of() {
    let Some(uri) = url(URL) else { return };
    let mut operator = beside(&uri).await;
    let policy = async |conn: &mut _, policy| {
        command(conn, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
    };
    // Without a limit of its memory it throws nothing away, so other tests are safe.
    for (set, is_warned_of) in [
        ("allkeys-lru", true),
        ("volatile-ttl", true),
        ("noeviction", false),
    ] {
        policy(&mut operator, set).await;
        let warnings = Warnings::default();
        let written = warnings.clone();
        let log = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish();
        // Tasks of this test run on this thread.
        let _log = tracing::subscriber::set_default(log);
        let tracker = TaskTracker::new();
        let settings = QueueSettings::default();
        let queue = Queue::redis(Clock::manual(START), settings, &place(&uri), &tracker).unwrap();
        assert_eq!(queue.stats().await, Err(Error::Lost));
        // The connecting task ends when it has asked.
        drop(queue);
        tracker.close();
        tracker.wait().await;
        let text = warnings.text();
        assert_eq!(
            text.contains("maxmemory-policy") && text.contains(&format!("policy=\"{set}\"")),
            is_warned_of,
            "{set}: {text}"
        );
        assert_eq!(text.is_empty(), !is_warned_of, "{set}: {text}");
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
