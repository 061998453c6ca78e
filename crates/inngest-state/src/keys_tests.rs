//! What makes a second start the same start.

use futures_util::future::join_all;
use inngest_core::{
    ids::{DEFAULT_ENV, FunctionId},
    job::Work,
    time::Timestamp,
};
use uuid::Uuid;

use crate::{Commit, NewRun, samples::*, testing::on_each};

const KEY: Uuid = Uuid::from_u128(0xbeef);
const OTHER: Uuid = Uuid::from_u128(0xcafe);

fn keyed(number: u64, keys: &[Uuid], until: Timestamp) -> NewRun {
    NewRun {
        keys: keys.iter().map(|key| (*key, until)).collect(),
        ..new_run(number)
    }
}

fn run(run: NewRun) -> Commit {
    Commit {
        runs: vec![run],
        ..Commit::default()
    }
}

#[tokio::test]
async fn first_start_with_a_key_wins_until_the_key_expires() {
    on_each(async |store| {
        let otherwise = Work {
            run: Some(run_id(90)),
            ..work(90, "resume:caller")
        };
        let first = store.must(run(keyed(1, &[KEY], at(100)))).await;
        assert_eq!(first.started, [run_id(1)]);
        let mut second = keyed(2, &[OTHER, KEY], at(100));
        second.otherwise = Some(otherwise.clone());
        second.waits = vec![event_wait(2, "x", None)];
        let before = store.rows_of("idempotency").await;
        let second = store.must(run(second)).await;
        assert_eq!(
            (second.started.len(), second.duplicates),
            (0, vec![(run_id(2), run_id(1))])
        );
        assert_eq!(second.work, vec![otherwise]);
        assert_eq!(
            (store.rows_of("runs").await, store.rows_of("waits").await),
            (1, 0)
        );
        assert_eq!(store.rows_of("idempotency").await, before);
        // The key of a run that was not started is free.
        assert_eq!(
            store.must(run(keyed(3, &[OTHER], at(100)))).await.started,
            [run_id(3)]
        );
        // At its end the key is free again, and belongs to the next.
        let later = store.must(run(keyed(100, &[KEY], at(300)))).await;
        assert_eq!(later.started, [run_id(100)]);
        let last = store.must(run(keyed(101, &[KEY], at(300)))).await;
        assert_eq!(last.duplicates, [(run_id(101), run_id(100))]);
        assert!(
            store
                .find_run(DEFAULT_ENV, run_id(101))
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn key_belongs_to_one_function() {
    on_each(async |store| {
        store.must(run(keyed(1, &[KEY], at(100)))).await;
        let other = NewRun {
            function: FunctionId::derive(app_id(), "shop-other"),
            ..keyed(2, &[KEY], at(100))
        };
        assert_eq!(store.must(run(other)).await.started, [run_id(2)]);
    })
    .await;
}

#[tokio::test]
async fn first_start_wins_within_one_transaction_and_within_one_commit() {
    on_each(async |store| {
        let occupy = store.commit(Commit::default());
        let rest =
            join_all((1..=8).map(|number| store.commit(run(keyed(number, &[KEY], at(1_000))))));
        let (_, outcomes) = tokio::join!(occupy, rest);
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes[0].started, [run_id(1)]);
        for (outcome, number) in outcomes.iter().zip(1..).skip(1) {
            assert_eq!(outcome.duplicates, [(run_id(number), run_id(1))]);
        }
        let both = Commit {
            runs: vec![
                keyed(20, &[OTHER], at(1_000)),
                keyed(21, &[OTHER], at(1_000)),
            ],
            ..Commit::default()
        };
        let both = store.must(both).await;
        assert_eq!(
            (both.started, both.duplicates),
            (vec![run_id(20)], vec![(run_id(21), run_id(20))])
        );
    })
    .await;
}

#[tokio::test]
async fn key_named_twice_by_one_run_is_one_key() {
    on_each(async |store| {
        assert_eq!(
            store
                .must(run(keyed(1, &[KEY, KEY], at(100))))
                .await
                .started,
            [run_id(1)]
        );
        assert_eq!(store.rows_of("idempotency").await, 1);
    })
    .await;
}

#[tokio::test]
async fn key_that_expires_between_two_starts_of_one_transaction_is_judged_by_each_start() {
    on_each(async |store| {
        store.must(run(keyed(1, &[KEY], at(50)))).await;
        let occupy = store.commit(Commit::default());
        let before = store.commit(run(keyed(40, &[KEY], at(500))));
        let after = store.commit(run(keyed(60, &[KEY], at(500))));
        let (_, before, after) = tokio::join!(occupy, before, after);
        assert_eq!(before.unwrap().duplicates, [(run_id(40), run_id(1))]);
        assert_eq!(after.unwrap().started, [run_id(60)]);
    })
    .await;
}

#[tokio::test]
async fn expired_keys_are_deleted_a_part_at_a_time_and_others_stay() {
    on_each(async |store| {
        for number in 1..=5 {
            let key = Uuid::from_u128(number.into());
            let until = at(i64::try_from(number).unwrap() * 100);
            store.must(run(keyed(number, &[key], until))).await;
        }
        assert_eq!(store.delete_expired_keys(at(300), 2).await.unwrap(), 2);
        assert_eq!(store.delete_expired_keys(at(300), 2).await.unwrap(), 1);
        assert_eq!(store.delete_expired_keys(at(300), 2).await.unwrap(), 0);
        assert_eq!(store.rows_of("idempotency").await, 2);
    })
    .await;
}
