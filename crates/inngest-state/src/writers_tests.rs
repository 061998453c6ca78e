//! Several processes on one Postgres: whatever two of them do in the same moment, one outcome is recorded.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use inngest_core::{ids::DEFAULT_ENV, job::JobKind, wait::Wait};
use tokio_util::task::TaskTracker;

use crate::{
    Commit, Committed, NewRun, Refused, Store, StoreSettings, Writers,
    samples::*,
    testing::{TestDatabase, matcher},
};

/// Three stores on one database, as three processes have them; none where there is no Postgres.
async fn three() -> Option<(TestDatabase, Vec<Store>)> {
    let database = TestDatabase::postgres().await?;
    database.open().await;
    let settings = StoreSettings {
        writers: Writers::Several,
        ..database.settings().clone()
    };
    let tracker = TaskTracker::new();
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Store::open(&settings, matcher(), &tracker).await.unwrap());
    }
    Some((database, stores))
}

/// Commits by all stores at once.
async fn by_all(
    stores: &[Store],
    commit: impl Fn(usize) -> Commit,
) -> Vec<Result<Committed, Refused>> {
    let commits = stores.iter().enumerate();
    join_all(commits.map(|(number, store)| store.commit(commit(number)))).await
}

fn winners(outcomes: &[Result<Committed, Refused>]) -> usize {
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

const ROUNDS: u64 = 40;

#[tokio::test]
async fn processes_that_start_at_once_bring_the_schema_up_to_date_together() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let tracker = TaskTracker::new();
    let opening = (0..4).map(|_| Store::open(database.settings(), matcher(), &tracker));
    for store in join_all(opening).await {
        store.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn outcome_of_work_is_recorded_by_one() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    for round in 1..=ROUNDS {
        stores[0].must(start(round)).await;
        let outcomes = by_all(&stores, |_| Commit {
            fence: Some(fence(round, "discover", 1)),
            run: Some(end(round, 1)),
            ..Commit::default()
        })
        .await;
        assert_eq!(winners(&outcomes), 1, "{outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(verdict(outcome), "FenceLost");
        }
    }
    assert_eq!(stores[0].rows_of("work").await, 0);
}

#[tokio::test]
async fn run_that_three_end_at_once_ends_once_and_nothing_of_it_stays() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    for round in 1..=ROUNDS {
        let mut commit = start(round);
        let labels = ["a", "b", "c"];
        commit.events[0].runs[0]
            .work
            .extend(labels.map(|label| work(round, label)));
        stores[0].must(commit).await;
        stores[0]
            .must(wait_for(vec![event_wait(round, "shop/paid", None)]))
            .await;
        // Each by work of its own, while events use up the run's wait and put work in its place.
        let ends = by_all(&stores, |number| Commit {
            fence: Some(fence(round, labels[number], 1)),
            run: Some(end(round, 1)),
            ..Commit::default()
        });
        let paid = stores[1].commit(send(vec![new_event(10_000 + round, "shop/paid", "{}")]));
        let (ends, paid) = tokio::join!(ends, paid);
        assert_eq!((winners(&ends), verdict(&paid)), (1, "ok"), "{ends:?}");
    }
    assert_eq!(stores[0].rows_of("work").await, 0);
    assert_eq!(stores[0].rows_of("waits").await, 0);
}

#[tokio::test]
async fn event_that_three_store_at_once_starts_its_runs_once() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    let started = AtomicU64::new(0);
    for round in 1..=ROUNDS {
        // Two events in opposite orders, so that the processes would wait for each other in a circle.
        let events = |number: usize| {
            let mut both = [round * 2, round * 2 + 1].map(|event| {
                let mut new = new_event(event, "shop/order", "{}");
                new.may_exist = true;
                new.runs = vec![NewRun {
                    events: vec![new.event.id],
                    ..new_run(event * 10 + number as u64)
                }];
                new
            });
            if number.is_multiple_of(2) {
                both.reverse();
            }
            both.to_vec()
        };
        for outcome in by_all(&stores, |number| send(events(number))).await {
            let outcome = outcome.unwrap();
            assert_eq!(outcome.started.len() + outcome.known_events.len(), 2);
            started.fetch_add(outcome.started.len() as u64, Ordering::Relaxed);
        }
    }
    assert_eq!(started.load(Ordering::Relaxed), ROUNDS * 2);
    assert_eq!(stores[0].rows_of("runs").await, (ROUNDS * 2).cast_signed());
}

#[tokio::test]
async fn key_that_three_want_at_once_starts_one_run() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    for round in 1..=ROUNDS {
        let outcomes = by_all(&stores, |number| Commit {
            runs: vec![NewRun {
                keys: vec![(uuid::Uuid::from_u128(round.into()), at(86_400_000))],
                ..new_run(round * 10 + number as u64)
            }],
            ..Commit::default()
        })
        .await;
        let outcomes: Vec<Committed> = outcomes.into_iter().map(Result::unwrap).collect();
        let started: Vec<_> = outcomes.iter().flat_map(|one| &one.started).collect();
        assert_eq!(started.len(), 1);
        // The others are told whose key it is.
        let holders = outcomes.iter().flat_map(|one| &one.duplicates);
        assert!(holders.clone().all(|(_, holder)| holder == started[0]));
        assert_eq!(holders.count(), 2);
    }
    assert_eq!(stores[0].rows_of("runs").await, ROUNDS.cast_signed());
}

#[tokio::test]
async fn wait_that_three_events_satisfy_at_once_is_used_up_once() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    let mut resumed = 0;
    for round in 1..=ROUNDS {
        let name = format!("shop/paid{round}");
        let waits = (0..5).map(|wait| event_wait(round * 10 + wait, &name, None));
        stores[0].must(wait_for(waits.collect())).await;
        let outcomes = by_all(&stores, |number| {
            let event = 10_000 + round * 10 + number as u64;
            send(vec![new_event(event, &name, "{}")])
        })
        .await;
        let work = outcomes.into_iter().flat_map(|one| one.unwrap().work);
        resumed += work.filter(|work| work.kind == JobKind::Resume).count() as u64;
    }
    assert_eq!(resumed, ROUNDS * 5);
    assert_eq!(stores[0].rows_of("waits").await, 0);
    assert_eq!(stores[0].rows_of("work").await, (ROUNDS * 5).cast_signed());
}

#[tokio::test]
async fn signal_that_three_wait_for_at_once_has_one_waiter() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    for round in 1..=ROUNDS {
        let signal = format!("go{round}");
        let outcomes = by_all(&stores, |number| {
            wait_for(vec![signal_wait(
                round * 10 + number as u64,
                &signal,
                false,
            )])
        })
        .await;
        assert_eq!(winners(&outcomes), 1, "{outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(verdict(outcome), "SignalTaken");
        }
    }
    assert_eq!(stores[0].rows_of("waits").await, ROUNDS.cast_signed());
}

/// Waits of these commits that an event of another process may have missed.
fn fresh(outcomes: &[Result<Committed, Refused>]) -> Vec<Wait> {
    let committed = outcomes.iter().flatten();
    committed
        .flat_map(|outcome| outcome.fresh_waits.clone())
        .collect()
}

#[tokio::test]
async fn wait_and_event_of_two_processes_find_each_other_at_the_second_look() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    let (mut missed, mut round) = (0, 0);
    // How often both are under way at once is up to the machine.
    while round < 100 || (missed == 0 && round < 2_000) {
        round += 1;
        let name = format!("shop/race{round}");
        let wait = stores[0].commit(wait_for(vec![event_wait(round, &name, None)]));
        let event = stores[1].commit(send(vec![new_event(10_000 + round, &name, "{}")]));
        let (wait, event) = if round % 2 == 0 {
            tokio::join!(wait, event)
        } else {
            let (event, wait) = tokio::join!(event, wait);
            (wait, event)
        };
        let outcomes = [wait, event];
        let again = fresh(&outcomes);
        assert_eq!(again.len(), 1);
        let work = |outcomes: &[Result<Committed, Refused>]| -> usize {
            outcomes.iter().flatten().map(|one| one.work.len()).sum()
        };
        let at_once = work(&outcomes);
        // Both transactions have ended: nothing that was under way with the wait still is.
        let second = stores[2].must(Commit {
            look_again: again,
            ..Commit::default()
        });
        assert_eq!(at_once + second.await.work.len(), 1, "round {round}");
        missed += usize::from(at_once == 0);
    }
    assert!(missed > 0, "the race was not met once");
    assert_eq!(stores[0].rows_of("waits").await, 0);
    assert_eq!(stores[0].rows_of("work").await, round.cast_signed());
}

#[tokio::test]
async fn event_that_is_under_way_while_a_wait_is_stored_is_under_way_for_all_to_see() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    use sea_orm::{ConnectionTrait, TransactionTrait};
    let event = stores[1].writer().begin().await.unwrap();
    let insert = "INSERT INTO wait_paths VALUES (gen_random_uuid(), 'x', 'y')";
    event.execute_unprepared(insert).await.unwrap();
    stores[0]
        .must(wait_for(vec![event_wait(1, "shop/paid", None)]))
        .await;
    let (_, next) = stores[0].transactions_under_way().await.unwrap();
    let (oldest, _) = stores[0].transactions_under_way().await.unwrap();
    assert!(oldest < next, "{oldest} {next}");
    event.commit().await.unwrap();
    // Other tests on the same server have transactions under way as well, and end them.
    loop {
        let (oldest, _) = stores[0].transactions_under_way().await.unwrap();
        if oldest >= next {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_writer_looks_once() {
    crate::testing::on_each(async |store| {
        let outcome = store
            .must(wait_for(vec![event_wait(1, "shop/paid", None)]))
            .await;
        assert!(outcome.fresh_waits.is_empty());
    })
    .await;
}

#[tokio::test]
async fn unused_paths_go_while_waits_are_stored_and_no_wait_loses_its_path() {
    let Some((_database, stores)) = three().await else {
        return;
    };
    for round in 1..=ROUNDS {
        // A name of its own, or the wait would look back at the event of the round before.
        let name = format!("shop/paid{round}");
        let store_wait = stores[0].commit(wait_for(vec![event_wait(round, &name, None)]));
        let delete = stores[1].delete_unused_paths(100);
        let (stored, deleted) = tokio::join!(store_wait, delete);
        assert_eq!(verdict(&stored), "ok");
        deleted.unwrap();
        let paid = send(vec![new_event(10_000 + round, &name, "{}")]);
        assert_eq!(stores[2].must(paid).await.work.len(), 1, "round {round}");
    }
}

#[tokio::test]
async fn end_of_a_run_says_which_work_went_with_it() {
    crate::testing::on_each(async |store| {
        let mut commit = start(1);
        commit.events[0].runs[0].work.push(work(1, "timer"));
        store.must(commit).await;
        let outcome = store
            .must(Commit {
                fence: Some(fence(1, "discover", 1)),
                run: Some(end(1, 1)),
                ..Commit::default()
            })
            .await;
        assert_eq!(outcome.removed, [work(1, "timer").id]);
        let none = store.work_of_run(DEFAULT_ENV, run_id(1)).await.unwrap();
        assert!(none.is_empty());
    })
    .await;
}

#[tokio::test]
async fn epochs_of_work_are_read_in_one_statement() {
    crate::testing::on_each(async |store| {
        for number in 1..=3 {
            store.must(start(number)).await;
        }
        store.raise_epoch(work(2, "discover").id, 1).await.unwrap();
        let ids = [1, 2, 9].map(|number| work(number, "discover").id);
        let before = store.statements();
        let epochs = store.work_epochs(&ids).await.unwrap();
        assert_eq!(store.statements() - before, 1);
        assert_eq!(
            (epochs.get(&ids[0]), epochs.get(&ids[1])),
            (Some(&1), Some(&2))
        );
        assert_eq!(epochs.get(&ids[2]), None);
    })
    .await;
}

#[tokio::test]
async fn latest_events_matched_once_more_find_the_waits_that_missed_them() {
    crate::testing::on_each(async |store| {
        let wait = event_wait(1, "shop/paid", None);
        store.must(wait_for(vec![wait.clone()])).await;
        // As if the event had been under way with the wait: stored, and not matched.
        let sql = "UPDATE waits SET event_name = 'shop/hidden'";
        store.behind(sql).await;
        store
            .must(send(vec![new_event(10, "shop/paid", "{}")]))
            .await;
        store
            .behind("UPDATE waits SET event_name = 'shop/paid'")
            .await;
        let recent = store.recent_events(NOW, None, 10).await.unwrap();
        assert_eq!(recent.len(), 1);
        let again = || Commit {
            match_again: vec![new_event(10, "shop/paid", "{}")],
            ..Commit::default()
        };
        assert_eq!(store.must(again()).await.work.len(), 1);
        assert!(store.must(again()).await.work.is_empty());
        assert_eq!(store.rows_of("events").await, 1);
        let last = store.last_event_at().await.unwrap();
        assert_eq!(last, Some(at(10)));
    })
    .await;
}
