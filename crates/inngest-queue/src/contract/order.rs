//! What is leased, and in which order.

use std::time::Duration;

use inngest_core::job::{JobKind, Work};

use crate::{
    contract::{Bench, SECOND, due_in, numbers, of_function},
    limits::PartitionLimits,
    model::Verdict,
    test_support::{function_id, item, number},
};

pub(super) async fn nothing_is_leased_before_it_is_due(bench: Bench) {
    bench
        .add(&[
            due_in(2, 2 * SECOND),
            due_in(1, SECOND),
            due_in(3, 2 * SECOND),
        ])
        .await;
    assert!(bench.is_empty_now().await);
    bench.advance(SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [1]);
    bench.advance(SECOND - Duration::from_millis(1));
    assert!(bench.is_empty_now().await);
    bench.advance(Duration::from_millis(1));
    assert_eq!(numbers(&bench.lease_all().await), [2, 3]);
}

pub(super) async fn order_is_rank_then_due_then_arrival(bench: Bench) {
    let ranked = |id, rank, delay| Work {
        rank,
        ..due_in(id, delay)
    };
    bench
        .add(&[
            ranked(5, 2, SECOND),
            ranked(3, 1, SECOND),
            ranked(4, 1, SECOND),
            ranked(2, 1, Duration::ZERO),
        ])
        .await;
    bench.add(&[ranked(1, -1, SECOND)]).await;
    bench.advance(SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [1, 2, 3, 4, 5]);
}

pub(super) async fn kinds_that_do_not_call_the_app_go_first_and_take_no_slot(bench: Bench) {
    bench.limit(1, 1).await;
    bench
        .add(&[
            item(1),
            item(2),
            Work {
                kind: JobKind::Wake,
                rank: 9,
                ..item(3)
            },
        ])
        .await;
    bench
        .add(&[Work {
            kind: JobKind::Cancel,
            rank: 10,
            ..item(4)
        }])
        .await;
    assert_eq!(numbers(&bench.lease_all().await), [3, 4, 1]);
    bench
        .add(&[Work {
            kind: JobKind::Resume,
            ..item(5)
        }])
        .await;
    assert_eq!(
        numbers(&bench.lease_all().await),
        [5],
        "a full partition still serves them"
    );
}

pub(super) async fn partition_served_longest_ago_goes_first(bench: Bench) {
    bench
        .add(&(0..6).map(|id| of_function(10 + id, 1)).collect::<Vec<_>>())
        .await;
    bench
        .add(&[of_function(20, 2), of_function(21, 2), of_function(30, 3)])
        .await;
    assert_eq!(
        numbers(&bench.lease_all().await),
        [10, 20, 30, 11, 21, 12, 13, 14, 15]
    );
    bench
        .add(&[of_function(16, 1), of_function(22, 2), of_function(31, 3)])
        .await;
    assert_eq!(
        numbers(&bench.lease_all().await),
        [31, 22, 16],
        "an empty partition's last turn is not forgotten"
    );
}

pub(super) async fn concurrency_is_never_exceeded_and_slots_come_back(bench: Bench) {
    bench.limit(1, 2).await;
    bench.add(&(1..=5).map(item).collect::<Vec<_>>()).await;
    bench.add(&[of_function(9, 2)]).await;
    let mut leases = bench.lease_all().await;
    assert_eq!(numbers(&leases), [1, 9, 2]);
    let stats = bench.stats().await;
    assert_eq!(
        (stats.backlog, stats.ready, stats.leased, stats.partitions),
        (3, 0, 3, 2)
    );
    let verdicts = [
        Verdict::done(),
        Verdict::Release,
        Verdict::RetryAt {
            work: Work {
                epoch: 2,
                ..item(1)
            },
        },
    ];
    for verdict in verdicts {
        let lease = leases.remove(
            leases
                .iter()
                .position(|lease| number(lease) != 9)
                .expect("one is leased"),
        );
        let verdict = match verdict {
            Verdict::RetryAt { work } => Verdict::RetryAt {
                work: Work {
                    id: lease.work.id,
                    ..work
                },
            },
            other => other,
        };
        bench.settle(lease, verdict).await;
        let more = bench.lease_all().await;
        assert_eq!(more.len(), 1, "each settled lease frees one slot");
        leases.extend(more);
    }
}

pub(super) async fn raised_limit_admits_at_once(bench: Bench) {
    bench.limit(1, 0).await;
    bench.add(&(1..=5).map(item).collect::<Vec<_>>()).await;
    assert!(bench.is_empty_now().await);
    bench.limit(1, 3).await;
    assert_eq!(numbers(&bench.lease_all().await), [1, 2, 3]);
    bench
        .queue
        .set_limits(function_id(1), PartitionLimits::default())
        .await
        .expect("the schedule answers");
    assert_eq!(numbers(&bench.lease_all().await), [4, 5]);
}
