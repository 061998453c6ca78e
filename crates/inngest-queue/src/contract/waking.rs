//! Who is woken, and by what.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use inngest_core::job::Work;

use crate::{
    contract::{Bench, SECOND, due_in, numbers, of_function, soon},
    model::{Lease, QueueSettings, Verdict},
    test_support::{item, number},
    worker::{WorkerSettings, work},
};

pub(super) async fn waiting_lease_is_woken_by_new_work(bench: Bench) {
    let work = [item(1), item(2)];
    let (leases, _) = soon(async { tokio::join!(bench.queue.lease(5), bench.add(&work)) }).await;
    assert_eq!(numbers(&leases.expect("the schedule answers")), [1, 2]);
}

pub(super) async fn waiting_lease_is_woken_by_a_free_slot(bench: Bench) {
    bench.limit(1, 1).await;
    bench.add(&[item(1), item(2)]).await;
    let lease = bench.lease_one().await;
    let (leases, _) =
        soon(async { tokio::join!(bench.queue.lease(5), bench.settle(lease, Verdict::done())) })
            .await;
    assert_eq!(numbers(&leases.expect("the schedule answers")), [2]);
}

pub(super) async fn waiting_lease_is_woken_by_time(bench: Bench) {
    let pass = async {
        bench.add(&[due_in(1, SECOND)]).await;
        tokio::task::yield_now().await;
        bench.advance(SECOND);
    };
    let (leases, ()) = soon(async { tokio::join!(bench.queue.lease(5), pass) }).await;
    assert_eq!(numbers(&leases.expect("the schedule answers")), [1]);
    let pass = async {
        tokio::task::yield_now().await;
        bench.advance(QueueSettings::default().lease);
    };
    let (leases, ()) = soon(async { tokio::join!(bench.queue.lease(5), pass) }).await;
    assert!(leases.expect("the schedule answers")[0].lost);
}

pub(super) async fn one_of_many_waiters_gets_each_item(bench: Bench) {
    let one = || async { number(&bench.queue.lease(1).await.expect("the schedule answers")[0]) };
    let work = [item(1), item(2), item(3)];
    let all = async { tokio::join!(one(), one(), one(), bench.add(&work)) };
    let (first, second, third, _) = soon(all).await;
    let mut got = [first, second, third];
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3]);
}

pub(super) async fn workers_do_everything_once(bench: Bench) {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let done_ids = Arc::new(Mutex::new(Vec::new()));
    let work_items: Vec<Work> = (0..200).map(|id| of_function(id, id % 7)).collect();
    bench.add(&work_items).await;
    let handler = {
        let (done_ids, stop) = (done_ids.clone(), stop.clone());
        move |lease: Lease| {
            let (done_ids, stop) = (done_ids.clone(), stop.clone());
            async move {
                tokio::task::yield_now().await;
                let mut ids = done_ids.lock().expect("no handler panics");
                ids.push(number(&lease));
                if ids.len() == 200 {
                    stop.cancel();
                }
                Verdict::done()
            }
        }
    };
    let settings = WorkerSettings::new(NonZeroUsize::new(8).expect("8 is not 0"));
    soon(work(bench.queue.clone(), settings, tracker, stop, handler)).await;
    let mut ids = done_ids.lock().expect("no handler panics").clone();
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<u128>>());
    assert_eq!(bench.stats().await.entries, 0);
}
