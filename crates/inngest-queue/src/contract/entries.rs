//! What is in the schedule, and what is not.

use inngest_core::{ids::WorkId, job::Work};

use crate::{
    contract::{Bench, SECOND, done, due_in, numbers, of_function},
    error::Error,
    model::{Enqueued, EntryPlace, QueueSettings, Verdict},
    test_support::{START, function_id, item, number},
};

pub(super) async fn same_id_is_one_entry(bench: Bench) {
    assert_eq!(
        bench.add(&[item(1), item(1)]).await,
        Enqueued {
            added: 1,
            known: 1,
            ..Enqueued::default()
        }
    );
    let lower = Work {
        epoch: 0,
        due_at: START.plus(SECOND),
        ..item(1)
    };
    assert_eq!(
        bench.add(&[lower]).await,
        Enqueued {
            known: 1,
            ..Enqueued::default()
        }
    );
    assert_eq!(numbers(&bench.lease_all().await), [1]);
    assert_eq!(
        bench.add(&[item(1)]).await,
        Enqueued {
            known: 1,
            ..Enqueued::default()
        }
    );
    assert!(bench.is_empty_now().await);
}

pub(super) async fn higher_epoch_replaces_and_retimes(bench: Bench) {
    bench.add(&[item(1)]).await;
    let later = Work {
        epoch: 2,
        ..due_in(1, SECOND)
    };
    assert_eq!(
        bench.add(&[later]).await,
        Enqueued {
            replaced: 1,
            ..Enqueued::default()
        }
    );
    assert!(bench.is_empty_now().await);
    let sooner = Work {
        epoch: 3,
        ..item(1)
    };
    bench.add(&[sooner]).await;
    assert_eq!(bench.lease_one().await.work.epoch, 3);
    let beyond = Work {
        epoch: 4,
        ..due_in(2, 3_600 * SECOND)
    };
    bench.add(&[item(2)]).await;
    assert_eq!(
        bench.add(&[beyond]).await,
        Enqueued {
            beyond: 1,
            ..Enqueued::default()
        }
    );
    assert!(
        bench.is_empty_now().await,
        "a newer time beyond the horizon takes the old entry away"
    );
}

pub(super) async fn higher_epoch_of_leased_work_comes_after_the_lease(bench: Bench) {
    bench.add(&[item(1)]).await;
    let lease = bench.lease_one().await;
    let newer = Work {
        epoch: 2,
        ..item(1)
    };
    assert_eq!(
        bench.add(std::slice::from_ref(&newer)).await,
        Enqueued {
            replaced: 1,
            ..Enqueued::default()
        }
    );
    assert_eq!(
        bench.add(&[newer]).await,
        Enqueued {
            known: 1,
            ..Enqueued::default()
        }
    );
    assert!(bench.is_empty_now().await, "it is still leased");
    bench.settle(lease, Verdict::done()).await;
    let lease = bench.lease_one().await;
    assert_eq!((lease.work.epoch, lease.lost), (2, false));

    bench
        .add(&[Work {
            epoch: 3,
            ..item(1)
        }])
        .await;
    bench
        .settle(
            lease,
            Verdict::RetryAt {
                work: Work {
                    epoch: 4,
                    ..item(1)
                },
            },
        )
        .await;
    assert_eq!(
        bench.lease_one().await.work.epoch,
        4,
        "the highest epoch stays"
    );
}

pub(super) async fn work_beyond_the_horizon_is_not_kept(bench: Bench) {
    let horizon = QueueSettings::default().horizon;
    let counts = bench
        .add(&[due_in(1, horizon), due_in(2, horizon + SECOND)])
        .await;
    assert_eq!(
        counts,
        Enqueued {
            added: 1,
            beyond: 1,
            ..Enqueued::default()
        }
    );
    bench.advance(horizon + SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [1]);
}

pub(super) async fn full_schedule_says_what_it_left_out(bench: Bench) {
    let work: Vec<Work> = (1..=6).map(item).collect();
    assert_eq!(
        bench.queue.enqueue(&work).await,
        Err(Error::Full { left_out: 2 })
    );
    assert_eq!(
        bench
            .queue
            .enqueue(&work[..4])
            .await
            .map(|counts| counts.known),
        Ok(4)
    );
    let lease = bench.lease_one().await;
    let settled = bench.settle(lease, done(work[4..].to_vec())).await;
    assert_eq!(settled.left_out, 1, "one place was freed");
    assert_eq!(bench.lease_all().await.len(), 4);
}

pub(super) async fn timers_do_not_keep_out_what_is_due(bench: Bench) {
    let timers: Vec<Work> = (1..=4).map(|id| due_in(id, SECOND)).collect();
    assert_eq!(
        bench.queue.enqueue(&timers).await,
        Err(Error::Full { left_out: 1 })
    );
    bench.add(&[item(9)]).await;
    assert_eq!(number(&bench.lease_one().await), 9);
}

pub(super) async fn removed_work_is_not_leased(bench: Bench) {
    bench.add(&[item(1), due_in(2, SECOND), item(3)]).await;
    let ids: Vec<WorkId> = [1, 2, 8].into_iter().map(|id| item(id).id).collect();
    bench
        .queue
        .remove(&ids)
        .await
        .expect("unknown ids are fine");
    bench.advance(SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [3]);
    assert_eq!(bench.stats().await.entries, 1);
}

pub(super) async fn outcome_removes_what_it_made_needless(bench: Bench) {
    bench
        .add(&[item(1), item(2), due_in(3, SECOND), item(4)])
        .await;
    let mut leases = bench.lease_all().await;
    let verdict = Verdict::Done {
        next: vec![item(5)],
        remove: [2, 3, 9].map(|id| item(id).id).to_vec(),
        continue_with: None,
    };
    bench.settle(leases.remove(0), verdict).await;
    // What is leased is removed when its lease ends.
    bench.settle(leases.remove(0), Verdict::Release).await;
    bench.advance(SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [5]);
    assert_eq!(bench.stats().await.entries, 2);
}

pub(super) async fn refill_marks_what_it_adds(bench: Bench) {
    bench.add(&[item(1)]).await;
    let refilled = bench.queue.refill(&[item(1), item(2)]).await;
    let refilled = refilled.expect("there is room");
    assert_eq!((refilled.added, refilled.known), (1, 1));
    let leases = bench.lease_all().await;
    assert_eq!(numbers(&leases), [1, 2]);
    assert!(leases[1].unsure, "the row was read some time ago");
}

pub(super) async fn partitions_tell_their_depth(bench: Bench) {
    bench.limit(2, 1).await;
    bench
        .add(&[
            item(1),
            of_function(2, 2),
            of_function(3, 2),
            of_function(4, 2),
            due_in(5, SECOND),
        ])
        .await;
    // Neither partition has been served, so either may go first.
    let mut leased = numbers(&bench.lease_all().await);
    leased.sort_unstable();
    assert_eq!(leased, [1, 2]);
    let all = bench.queue.partitions(10).await;
    let all = all.expect("the schedule answers");
    let figures = all.iter().map(|one| {
        (
            one.function,
            one.ready,
            one.backlog,
            one.leased,
            one.oldest_due,
        )
    });
    assert_eq!(
        figures.collect::<Vec<_>>(),
        [
            (function_id(2), 0, 2, 1, Some(START)),
            (function_id(1), 0, 0, 1, None)
        ]
    );
    let ids = [1, 3, 5, 6].map(|id| item(id).id);
    let places = bench.queue.places(&ids).await;
    let places = places.expect("the schedule answers");
    let place = |id| places.get(&item(id).id).copied();
    assert_eq!(
        [1, 3, 5, 6].map(place),
        [
            Some(EntryPlace::Leased),
            Some(EntryPlace::Waiting),
            Some(EntryPlace::Delayed),
            None
        ]
    );
    let one = bench.queue.partitions(1).await;
    assert_eq!(one.expect("the schedule answers").len(), 1);
    let wanted = [function_id(1), function_id(3)];
    let some = bench.queue.partitions_of(&wanted).await;
    assert_eq!(some.expect("the schedule answers"), all[1..]);
    let none = bench.queue.partitions_of(&[]).await;
    assert_eq!(none.expect("the schedule answers"), []);
}

pub(super) async fn leased_work_that_is_removed_goes_when_settled(bench: Bench) {
    let retry = |id| Verdict::RetryAt {
        work: Work {
            epoch: 2,
            ..item(id)
        },
    };
    for (id, verdict) in [(1, Verdict::done()), (2, Verdict::Release), (3, retry(3))] {
        bench.add(&[item(id)]).await;
        let lease = bench.lease_one().await;
        bench
            .queue
            .remove(&[lease.work.id])
            .await
            .expect("the schedule answers");
        assert!(
            bench.queue.extend(&lease).await.is_ok(),
            "the holder may finish"
        );
        bench.settle(lease, verdict).await;
        assert_eq!(bench.stats().await.entries, 0);
    }
    bench.add(&[item(4)]).await;
    let lease = bench.lease_one().await;
    bench
        .queue
        .remove(&[lease.work.id])
        .await
        .expect("the schedule answers");
    bench.add(&[item(4)]).await;
    bench.settle(lease, Verdict::done()).await;
    assert_eq!(
        number(&bench.lease_one().await),
        4,
        "what is added after the removal is not lost"
    );
}
