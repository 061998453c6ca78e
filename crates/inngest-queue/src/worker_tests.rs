use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use inngest_core::{job::Work, time::Clock};

use super::*;
use crate::{
    limits::PartitionLimits,
    model::QueueSettings,
    test_support::{START, function_id, item, number},
};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    queue: Queue,
    clock: Clock,
    tracker: TaskTracker,
    stop: CancellationToken,
    settings: WorkerSettings,
}

impl Bench {
    fn new(concurrency: usize) -> Self {
        let clock = Clock::manual(START);
        Self {
            queue: Queue::memory(clock.clone(), QueueSettings::default()),
            clock,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            settings: WorkerSettings::new(NonZeroUsize::new(concurrency).unwrap()),
        }
    }

    async fn add(&self, ids: impl IntoIterator<Item = u128>) {
        let work: Vec<Work> = ids.into_iter().map(item).collect();
        self.queue.enqueue(&work).await.unwrap();
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.queue.kick();
    }

    /// Runs the pool beside `script`, and stops it when that is through.
    async fn run<H, Fut>(&self, handler: H, script: impl Future<Output = ()>)
    where
        H: Fn(Lease) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        let pool = work(
            self.queue.clone(),
            self.settings,
            self.tracker.clone(),
            self.stop.clone(),
            handler,
        );
        let script = async {
            script.await;
            self.stop.cancel();
        };
        let both = async { tokio::join!(pool, script) };
        tokio::time::timeout(10 * SECOND, both)
            .await
            .expect("the pool goes on and ends");
        assert!(self.tracker.is_empty(), "no handler is left behind");
    }
}

/// Gives every other task its turn, until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the condition never holds");
}

struct OnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[tokio::test]
async fn no_more_handlers_run_at_once_than_allowed() {
    let bench = Bench::new(3);
    bench.add(0..40).await;
    let (active, most, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let handler = {
        let (active, most, done) = (active.clone(), most.clone(), done.clone());
        move |_| {
            let (active, most, done) = (active.clone(), most.clone(), done.clone());
            async move {
                most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                active.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                Verdict::done()
            }
        }
    };
    bench
        .run(handler, until(|| done.load(Ordering::SeqCst) == 40))
        .await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(bench.queue.stats_in_memory().entries, 0);
}

#[tokio::test]
async fn panicking_item_is_tried_again_later_and_poisoned_after_five_panics() {
    let bench = Bench::new(2);
    bench.add([1, 2]).await;
    let (calls, seen) = mpsc::unbounded_channel();
    let handler = move |lease: Lease| {
        let calls = calls.clone();
        async move {
            if number(&lease) == 2 {
                return Verdict::done();
            }
            calls.send((lease.crashes, lease.poisoned)).unwrap();
            assert!(lease.poisoned, "this handler panics on purpose");
            Verdict::done()
        }
    };
    let script = async {
        for crashes in 1..=5 {
            until(|| bench.queue.stats_in_memory().crashes == crashes).await;
            assert_eq!(bench.queue.stats_in_memory().leased, 0);
            bench.advance(SECOND * 2_u32.pow(crashes as u32 - 1) - Duration::from_millis(1));
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(
                bench.queue.stats_in_memory().delayed,
                1,
                "the pause doubles each time"
            );
            bench.advance(Duration::from_millis(1));
        }
        until(|| bench.queue.stats_in_memory().entries == 0).await;
    };
    bench.run(handler, script).await;
    let mut seen = seen;
    let mut calls = Vec::new();
    while let Ok(call) = seen.try_recv() {
        calls.push(call);
    }
    assert_eq!(
        calls,
        [
            (0, false),
            (1, false),
            (2, false),
            (3, false),
            (4, false),
            (5, true)
        ]
    );
}

#[tokio::test]
async fn panic_before_the_first_await_is_caught_too() {
    let bench = Bench::new(1);
    bench.add([1]).await;
    let handler = |lease: Lease| {
        assert!(lease.crashes > 0, "this handler panics on purpose");
        async { Verdict::done() }
    };
    let script = async {
        until(|| bench.queue.stats_in_memory().crashes == 1).await;
        bench.advance(SECOND);
        until(|| bench.queue.stats_in_memory().entries == 0).await;
    };
    bench.run(handler, script).await;
}

#[tokio::test]
async fn lease_is_kept_while_the_handler_works_even_when_the_process_was_held_up() {
    let bench = Bench::new(1);
    bench.add([1]).await;
    let finish = CancellationToken::new();
    let handler = {
        let finish = finish.clone();
        move |lease: Lease| {
            let finish = finish.clone();
            async move {
                assert!(!lease.lost);
                finish.cancelled().await;
                Verdict::done()
            }
        }
    };
    let script = async {
        until(|| bench.queue.stats_in_memory().leased == 1).await;
        for by in [10, 20, 29, 3_600, 86_400] {
            bench.advance(by * SECOND);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        assert!(bench.queue.try_lease(1).await.unwrap().leases.is_empty());
        finish.cancel();
        until(|| bench.queue.stats_in_memory().entries == 0).await;
    };
    bench.run(handler, script).await;
    let stats = bench.queue.stats_in_memory();
    assert_eq!((stats.expired, stats.crashes), (0, 0));
}

#[tokio::test]
async fn handler_of_a_lost_lease_is_dropped_and_its_place_is_free() {
    let bench = Bench::new(1);
    bench.add([1]).await;
    let (told, mut hears) = mpsc::unbounded_channel();
    let handler = move |lease: Lease| {
        let told = told.clone();
        async move {
            if number(&lease) == 1 {
                let _on_drop = OnDrop(told);
                std::future::pending::<()>().await;
            }
            Verdict::done()
        }
    };
    let script = async {
        until(|| bench.queue.stats_in_memory().leased == 1).await;
        bench.clock.advance(30 * SECOND);
        let taken = bench.queue.try_lease(1).await.unwrap().leases.remove(0);
        assert!(taken.lost);
        bench.queue.kick();
        assert_eq!(hears.recv().await, Some("dropped"));
        bench.add([2]).await;
        until(|| bench.queue.stats_in_memory().entries == 1).await;
        bench.queue.settle(taken, Verdict::done()).await.unwrap();
    };
    bench.run(handler, script).await;
    assert_eq!(bench.queue.stats_in_memory().entries, 0);
}

#[tokio::test]
async fn worker_goes_on_in_place_under_a_limit_of_one() {
    let bench = Bench::new(1);
    bench
        .queue
        .set_limits(
            function_id(1),
            PartitionLimits {
                concurrency: Some(1),
            },
        )
        .await
        .unwrap();
    bench.add([1, 50]).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let order = order.clone();
        move |lease: Lease| {
            order.lock().unwrap().push(number(&lease));
            let next = (number(&lease) < 4).then(|| item(number(&lease) + 1));
            async move {
                Verdict::Done {
                    next: Vec::new(),
                    remove: Vec::new(),
                    continue_with: next,
                }
            }
        }
    };
    bench
        .run(
            handler,
            until(|| bench.queue.stats_in_memory().entries == 0),
        )
        .await;
    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4, 50]);
}

#[tokio::test]
async fn stop_waits_for_handlers_and_does_not_go_on_in_place() {
    let bench = Bench::new(1);
    bench.add([1, 9]).await;
    let stop = bench.stop.clone();
    let handler = move |lease: Lease| {
        assert_eq!(number(&lease), 1, "nothing is begun after the stop");
        let stop = stop.clone();
        async move {
            stop.cancel();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            Verdict::Done {
                next: Vec::new(),
                remove: Vec::new(),
                continue_with: Some(item(2)),
            }
        }
    };
    bench.run(handler, bench.stop.cancelled()).await;
    let stats = bench.queue.stats_in_memory();
    assert_eq!(
        (stats.entries, stats.leased, stats.ready, stats.crashes),
        (2, 0, 2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn handlers_that_outlast_the_grace_are_dropped_and_their_work_given_back() {
    let bench = Bench::new(2);
    bench.add([1, 2, 3]).await;
    let (told, mut hears) = mpsc::unbounded_channel();
    let handler = move |_| {
        let told = told.clone();
        async move {
            let _on_drop = OnDrop(told);
            std::future::pending().await
        }
    };
    let pool = work(
        bench.queue.clone(),
        bench.settings,
        bench.tracker.clone(),
        bench.stop.clone(),
        handler,
    );
    let script = async {
        until(|| bench.queue.stats_in_memory().leased == 2).await;
        bench.stop.cancel();
    };
    tokio::join!(pool, script);
    assert_eq!(
        (hears.try_recv(), hears.try_recv()),
        (Ok("dropped"), Ok("dropped"))
    );
    let stats = bench.queue.stats_in_memory();
    assert_eq!((stats.ready, stats.leased), (3, 0));
    assert!(!bench.queue.try_lease(1).await.unwrap().leases[0].lost);
}

#[tokio::test]
async fn idle_pool_wakes_once_for_its_last_lease_and_then_never() {
    let settings = QueueSettings {
        lease: Duration::from_millis(30),
        ..QueueSettings::default()
    };
    let queue = Queue::memory(Clock::starting_at(START), settings);
    queue.enqueue(&[item(1)]).await.unwrap();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let settings = WorkerSettings::new(NonZeroUsize::new(4).unwrap());
    let pool = work(queue.clone(), settings, tracker, stop.clone(), |_| async {
        Verdict::done()
    });
    let script = async {
        until(|| queue.stats_in_memory().entries == 0).await;
        // Real time, many times the length of a lease: the absence of a wake-up can only be waited for.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let wakeups = queue.stats_in_memory().wakeups;
        assert!(wakeups <= 3, "{wakeups} wake-ups of an idle pool");
        stop.cancel();
    };
    tokio::join!(pool, script);
}
