//! The behaviour that every backend must show, as one suite. A backend's tests call [`every_rule`] with a way to make an empty
//! schedule; each rule gets its own, with a manual clock.

mod entries;
mod leases;
mod order;
mod waking;

use std::time::Duration;

use inngest_core::{job::Work, time::Clock};

use crate::{
    Queue,
    limits::PartitionLimits,
    model::{Enqueued, Lease, QueueSettings, QueueStats, Settled, Verdict},
    test_support::{START, function_id, item, number},
};

/// Real time after which something that must happen counts as not happening.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs all rules, one after the other. `make` gives an empty schedule that nobody else uses.
///
/// # Panics
/// When a rule is broken.
pub async fn every_rule(make: impl AsyncFn(Clock, QueueSettings) -> Queue) {
    let bench = async |settings: QueueSettings| {
        let clock = Clock::manual(START);
        Bench {
            queue: make(clock.clone(), settings).await,
            clock,
        }
    };
    let usual = QueueSettings::default();
    entries::same_id_is_one_entry(bench(usual).await).await;
    entries::higher_epoch_replaces_and_retimes(bench(usual).await).await;
    entries::higher_epoch_of_leased_work_comes_after_the_lease(bench(usual).await).await;
    entries::work_beyond_the_horizon_is_not_kept(bench(usual).await).await;
    entries::full_schedule_says_what_it_left_out(
        bench(QueueSettings {
            max_entries: 4,
            ..usual
        })
        .await,
    )
    .await;
    entries::timers_do_not_keep_out_what_is_due(
        bench(QueueSettings {
            max_entries: 4,
            ..usual
        })
        .await,
    )
    .await;
    order::nothing_is_leased_before_it_is_due(bench(usual).await).await;
    order::order_is_rank_then_due_then_arrival(bench(usual).await).await;
    order::kinds_that_do_not_call_the_app_go_first_and_take_no_slot(bench(usual).await).await;
    order::partition_served_longest_ago_goes_first(bench(usual).await).await;
    order::concurrency_is_never_exceeded_and_slots_come_back(bench(usual).await).await;
    order::raised_limit_admits_at_once(bench(usual).await).await;
    entries::removed_work_is_not_leased(bench(usual).await).await;
    entries::outcome_removes_what_it_made_needless(bench(usual).await).await;
    entries::refill_marks_what_it_adds(bench(usual).await).await;
    entries::partitions_tell_their_depth(bench(usual).await).await;
    entries::leased_work_that_is_removed_goes_when_settled(bench(usual).await).await;
    leases::expired_lease_is_taken_over_once(bench(usual).await).await;
    leases::extended_lease_is_kept(bench(usual).await).await;
    leases::settling_a_lost_lease_still_adds_what_follows(bench(usual).await).await;
    leases::released_work_comes_back_in_its_place(bench(usual).await).await;
    leases::retry_comes_at_its_time_with_its_epoch(bench(usual).await).await;
    leases::outcome_adds_what_follows(bench(usual).await).await;
    leases::worker_goes_on_in_place(bench(usual).await).await;
    leases::going_on_in_place_respects_a_lowered_limit(bench(usual).await).await;
    leases::known_work_is_not_continued_twice(bench(usual).await).await;
    waking::waiting_lease_is_woken_by_new_work(bench(usual).await).await;
    waking::waiting_lease_is_woken_by_a_free_slot(bench(usual).await).await;
    waking::waiting_lease_is_woken_by_time(bench(usual).await).await;
    waking::one_of_many_waiters_gets_each_item(bench(usual).await).await;
    waking::workers_do_everything_once(bench(usual).await).await;
}

struct Bench {
    queue: Queue,
    clock: Clock,
}

impl Bench {
    async fn add(&self, work: &[Work]) -> Enqueued {
        self.queue.enqueue(work).await.expect("there is room")
    }

    /// Ids of what can be leased now; the leases stay open.
    async fn lease_all(&self) -> Vec<Lease> {
        self.queue
            .try_lease(1_000)
            .await
            .expect("the schedule answers")
            .leases
    }

    async fn lease_one(&self) -> Lease {
        let mut leases = self
            .queue
            .try_lease(1)
            .await
            .expect("the schedule answers")
            .leases;
        assert_eq!(leases.len(), 1, "something is due");
        leases.remove(0)
    }

    async fn is_empty_now(&self) -> bool {
        self.queue
            .try_lease(1_000)
            .await
            .expect("the schedule answers")
            .leases
            .is_empty()
    }

    async fn stats(&self) -> QueueStats {
        let stats = self.queue.stats().await;
        stats.expect("the schedule answers")
    }

    async fn settle(&self, lease: Lease, verdict: Verdict) -> Settled {
        self.queue
            .settle(lease, verdict)
            .await
            .expect("the schedule answers")
    }

    async fn limit(&self, function: u128, concurrency: u32) {
        let limits = PartitionLimits {
            concurrency: Some(concurrency),
        };
        self.queue
            .set_limits(function_id(function), limits)
            .await
            .expect("the schedule answers");
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.queue.kick();
    }
}

fn of_function(id: u128, function: u128) -> Work {
    Work {
        function: function_id(function),
        ..item(id)
    }
}

fn due_in(id: u128, delay: Duration) -> Work {
    Work {
        due_at: START.plus(delay),
        ..item(id)
    }
}

fn numbers(leases: &[Lease]) -> Vec<u128> {
    leases.iter().map(number).collect()
}

fn done(next: Vec<Work>) -> Verdict {
    Verdict::Done {
        next,
        remove: Vec::new(),
        continue_with: None,
    }
}

const SECOND: Duration = Duration::from_secs(1);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens without being asked twice")
}
