//! What becomes of a lease.

use std::time::Duration;

use inngest_core::job::{JobKind, Work};

use crate::{
    contract::{Bench, SECOND, done, due_in, numbers},
    error::Error,
    model::{QueueSettings, Verdict},
    test_support::{item, number},
};

pub(super) async fn expired_lease_is_taken_over_once(bench: Bench) {
    bench.limit(1, 1).await;
    bench.add(&[item(1)]).await;
    let first = bench.lease_one().await;
    assert!(!first.lost);
    bench.advance(QueueSettings::default().lease - Duration::from_millis(1));
    assert!(bench.is_empty_now().await);
    bench.advance(Duration::from_millis(1));
    let second = bench.lease_one().await;
    assert!(second.lost && second.token != first.token && second.work == first.work);
    assert!(bench.is_empty_now().await);
    assert_eq!(
        bench.queue.extend(&first).await,
        Err(Error::LeaseLost { id: first.work.id })
    );
    assert!(bench.settle(first, Verdict::done()).await.lease_lost);
    assert!(
        bench.queue.extend(&second).await.is_ok(),
        "a late settle does not touch the taker"
    );
    bench.settle(second, Verdict::Release).await;
    assert!(
        bench.lease_one().await.lost,
        "until somebody settles it, the first holder may still write"
    );
    assert_eq!(bench.stats().await.expired, 1);
}

pub(super) async fn extended_lease_is_kept(bench: Bench) {
    bench.add(&[item(1)]).await;
    let lease = bench.lease_one().await;
    for _ in 0..5 {
        bench.advance(QueueSettings::default().lease / 2);
        let until = bench.queue.extend(&lease).await.expect("the lease is held");
        assert_eq!(
            until,
            bench.clock.now().plus(QueueSettings::default().lease)
        );
        assert!(bench.is_empty_now().await);
    }
    assert!(!bench.settle(lease, Verdict::done()).await.lease_lost);
}

pub(super) async fn settling_a_lost_lease_still_adds_what_follows(bench: Bench) {
    bench.add(&[item(1)]).await;
    let first = bench.lease_one().await;
    bench.advance(QueueSettings::default().lease);
    let _second = bench.lease_one().await;
    let verdict = Verdict::Done {
        next: vec![item(2)],
        remove: Vec::new(),
        continue_with: Some(item(3)),
    };
    let settled = bench.settle(first, verdict).await;
    assert!(settled.lease_lost && settled.continued.is_none());
    assert_eq!(numbers(&bench.lease_all().await), [2, 3]);
}

pub(super) async fn released_work_comes_back_in_its_place(bench: Bench) {
    bench.add(&[item(1), item(2)]).await;
    let lease = bench.lease_one().await;
    bench.settle(lease, Verdict::Release).await;
    let leases = bench.lease_all().await;
    assert_eq!(numbers(&leases), [1, 2]);
    assert!(!leases[0].lost);
}

pub(super) async fn retry_comes_at_its_time_with_its_epoch(bench: Bench) {
    bench.add(&[item(1)]).await;
    let lease = bench.lease_one().await;
    let work = Work {
        attempt: 1,
        epoch: 2,
        ..due_in(1, SECOND)
    };
    bench
        .settle(lease, Verdict::RetryAt { work: work.clone() })
        .await;
    assert!(bench.is_empty_now().await);
    bench.advance(SECOND);
    let lease = bench.lease_one().await;
    assert_eq!(lease.work, work);
    let far = Work {
        epoch: 3,
        ..due_in(1, 3_600 * SECOND)
    };
    assert_eq!(
        bench
            .settle(lease, Verdict::RetryAt { work: far })
            .await
            .beyond,
        1
    );
    assert_eq!(bench.stats().await.entries, 0);
}

pub(super) async fn outcome_adds_what_follows(bench: Bench) {
    bench.add(&[item(1)]).await;
    let lease = bench.lease_one().await;
    let settled = bench
        .settle(
            lease,
            done(vec![item(2), due_in(3, SECOND), due_in(4, 3_600 * SECOND)]),
        )
        .await;
    assert_eq!(
        (settled.beyond, settled.left_out, settled.lease_lost),
        (1, 0, false)
    );
    assert_eq!(numbers(&bench.lease_all().await), [2]);
    bench.advance(SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [3]);
}

pub(super) async fn worker_goes_on_in_place(bench: Bench) {
    bench.limit(1, 1).await;
    bench.add(&[item(1), item(2)]).await;
    let mut lease = bench.lease_one().await;
    for id in 11..14 {
        let verdict = Verdict::Done {
            next: vec![item(id + 100)],
            remove: Vec::new(),
            continue_with: Some(item(id)),
        };
        lease = bench
            .settle(lease, verdict)
            .await
            .continued
            .expect("its own slot is free");
        assert_eq!(number(&lease), id);
        assert!(bench.is_empty_now().await, "the slot was kept");
    }
    let wake = Work {
        kind: JobKind::Wake,
        ..item(20)
    };
    let verdict = Verdict::Done {
        next: Vec::new(),
        remove: Vec::new(),
        continue_with: Some(wake),
    };
    lease = bench
        .settle(lease, verdict)
        .await
        .continued
        .expect("it needs no slot");
    assert_eq!(
        numbers(&bench.lease_all().await),
        [2],
        "the slot went to somebody else"
    );
    let verdict = Verdict::Done {
        next: Vec::new(),
        remove: Vec::new(),
        continue_with: Some(item(21)),
    };
    assert_eq!(
        bench.settle(lease, verdict).await.continued,
        None,
        "there is no slot to go on in"
    );
    assert_eq!(bench.stats().await.backlog, 4, "it waits like any other");
}

pub(super) async fn going_on_in_place_respects_a_lowered_limit(bench: Bench) {
    bench.limit(1, 2).await;
    bench.add(&[item(1), item(2)]).await;
    let mut leases = bench.lease_all().await;
    bench.limit(1, 1).await;
    let go_on = |id| Verdict::Done {
        next: Vec::new(),
        remove: Vec::new(),
        continue_with: Some(item(id)),
    };
    assert_eq!(
        bench.settle(leases.remove(0), go_on(3)).await.continued,
        None
    );
    let last = bench
        .settle(leases.remove(0), go_on(4))
        .await
        .continued
        .expect("one slot is left");
    assert!(bench.is_empty_now().await);
    bench.settle(last, Verdict::done()).await;
    assert_eq!(numbers(&bench.lease_all().await), [3]);
}

pub(super) async fn known_work_is_not_continued_twice(bench: Bench) {
    bench.add(&[item(1), item(2)]).await;
    let lease = bench.lease_one().await;
    let verdict = |work| Verdict::Done {
        next: Vec::new(),
        remove: Vec::new(),
        continue_with: Some(work),
    };
    assert_eq!(bench.settle(lease, verdict(item(2))).await.continued, None);
    let lease = bench.lease_one().await;
    assert_eq!(number(&lease), 2);
    assert_eq!(
        bench
            .settle(lease, verdict(due_in(3, SECOND)))
            .await
            .continued,
        None,
        "it is not due"
    );
    bench.advance(SECOND);
    assert_eq!(numbers(&bench.lease_all().await), [3]);
}
