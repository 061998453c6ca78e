use std::sync::Mutex;

use futures_util::FutureExt;
use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    Queue, contract,
    test_support::{START, function_id, item, number},
};

const SECOND: Duration = Duration::from_secs(1);

fn due_in(id: u128, delay: Duration) -> Work {
    Work {
        due_at: START.plus(delay),
        ..item(id)
    }
}

fn running() -> Queue {
    Queue::memory(Clock::starting_at(START), QueueSettings::default())
}

fn manual() -> (Queue, Clock) {
    let clock = Clock::manual(START);
    (
        Queue::memory(clock.clone(), QueueSettings::default()),
        clock,
    )
}

#[tokio::test]
async fn memory_backend_shows_every_rule() {
    contract::every_rule(async |clock, settings| Queue::memory(clock, settings)).await;
}

#[tokio::test(start_paused = true)]
async fn idle_schedule_wakes_nobody() {
    let queue = running();
    queue.enqueue(&[due_in(1, 300 * SECOND)]).await.unwrap();
    let mut waiting = std::pin::pin!(queue.lease(1));
    assert!(waiting.as_mut().now_or_never().is_none());
    for _ in 0..290 {
        tokio::time::advance(SECOND).await;
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    assert_eq!(queue.stats_in_memory().wakeups, 0);
}

#[tokio::test]
async fn timer_wakes_one_look_when_the_work_is_due() {
    let queue = running();
    queue
        .enqueue(&[due_in(1, Duration::from_millis(30))])
        .await
        .unwrap();
    let leases = queue.lease(1).await.unwrap();
    assert_eq!(number(&leases[0]), 1);
    assert!(
        queue.stats_in_memory().wakeups <= 2,
        "the timer's grain may cost one more look"
    );
}

#[tokio::test]
async fn earlier_timer_replaces_the_one_that_is_slept_for() {
    let queue = running();
    queue.enqueue(&[due_in(1, 60 * SECOND)]).await.unwrap();
    let sooner = [due_in(2, Duration::from_millis(20))];
    let (leases, _) = tokio::join!(queue.lease(1), queue.enqueue(&sooner));
    assert_eq!(number(&leases.unwrap()[0]), 2);
}

#[tokio::test]
async fn dropped_waiter_hands_its_wake_up_on() {
    let (queue, _clock) = manual();
    let mut first = Box::pin(queue.lease(1));
    let mut second = Box::pin(queue.lease(1));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    queue.enqueue(&[item(1)]).await.unwrap();
    drop(first);
    let leases = second
        .as_mut()
        .now_or_never()
        .expect("it was woken")
        .unwrap();
    assert_eq!(number(&leases[0]), 1);
}

#[tokio::test]
async fn waiter_dropped_in_the_middle_of_a_big_catch_up_hands_it_on() {
    let (queue, clock) = manual();
    let sleepers: Vec<Work> = (0..5_000).map(|id| due_in(id, SECOND)).collect();
    queue.enqueue(&sleepers).await.unwrap();
    let mut first = Box::pin(queue.lease(1));
    assert!(first.as_mut().now_or_never().is_none());
    clock.advance(SECOND);
    queue.kick();
    assert!(
        first.as_mut().now_or_never().is_none(),
        "it yields between pages"
    );
    let mut second = Box::pin(queue.lease(9_000));
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(second.await.unwrap().len(), 5_000);
}

#[tokio::test]
async fn alarm_of_a_dropped_waiter_is_taken_over() {
    let (queue, _clock) = manual();
    let Queue(crate::Backend::Memory(memory)) = &queue else {
        panic!("the schedule is in memory")
    };
    let mut first = Box::pin(queue.lease(1));
    let mut second = Box::pin(queue.lease(1));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    queue.enqueue(&[due_in(1, SECOND)]).await.unwrap();
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(memory.lock().alarms.len(), 1);
    drop(first);
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(
        memory.lock().alarms.first().map(|&(at, _)| at),
        Some(START.plus(SECOND))
    );
    drop(second);
    let shared = memory.lock();
    assert_eq!((shared.waiters, shared.alarms.len()), (0, 0));
}

#[tokio::test]
async fn leaving_with_work_hands_the_next_alarm_on() {
    let (queue, _clock) = manual();
    let Queue(crate::Backend::Memory(memory)) = &queue else {
        panic!("the schedule is in memory")
    };
    let mut first = Box::pin(queue.lease(1));
    let mut second = Box::pin(queue.lease(1));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    queue.enqueue(&[item(1)]).await.unwrap();
    let lease = first.await.unwrap().remove(0);
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(
        memory.lock().alarms.first().map(|&(at, _)| at),
        Some(lease.expires_at),
        "somebody minds the lease"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_lease_every_item_once() {
    const ITEMS: u128 = 8_000;
    let queue = Queue::memory(Clock::starting_at(START), QueueSettings::default());
    for function in 0..3 {
        let limits = PartitionLimits {
            concurrency: Some(2),
        };
        queue
            .set_limits(function_id(function), limits)
            .await
            .unwrap();
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tracker = TaskTracker::new();
    for _ in 0..6 {
        let (queue, seen) = (queue.clone(), seen.clone());
        tracker.spawn(async move {
            while seen.lock().unwrap().len() < ITEMS as usize {
                let waiting = tokio::time::timeout(Duration::from_millis(200), queue.lease(3));
                let Ok(leases) = waiting.await else { continue };
                for lease in leases.unwrap() {
                    let id = number(&lease);
                    seen.lock().unwrap().push(id);
                    let child = (id < ITEMS / 2).then(|| Work {
                        function: function_id(id % 3),
                        ..item(id + ITEMS / 2)
                    });
                    let verdict = Verdict::Done {
                        next: child.into_iter().collect(),
                        remove: Vec::new(),
                        continue_with: None,
                    };
                    queue.settle(lease, verdict).await.unwrap();
                }
            }
        });
    }
    for first in (0..ITEMS / 2).step_by(100) {
        let page: Vec<Work> = (first..first + 100)
            .map(|id| Work {
                function: function_id(id % 3),
                ..item(id)
            })
            .collect();
        queue.enqueue(&page).await.unwrap();
        tokio::task::yield_now().await;
    }
    tracker.close();
    tracker.wait().await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..ITEMS).collect::<Vec<_>>());
    let stats = queue.stats_in_memory();
    assert_eq!((stats.entries, stats.leased, stats.backlog), (0, 0, 0));
}
