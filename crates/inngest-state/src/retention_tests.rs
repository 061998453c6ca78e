//! What goes, what stays, and who does it.

use std::time::Duration;

use inngest_core::{ids::DEFAULT_ENV, time::Timestamp};
use uuid::Uuid;

use crate::{
    Commit, Expired, RunChange, Store, Turn,
    samples::*,
    testing::{TestDatabase, on_each, on_each_database},
};

const DAY: u64 = 86_400_000;

fn day(number: i64) -> Timestamp {
    at(number * DAY.cast_signed())
}

/// One pass, as the server does it.
async fn pass(store: &Store, by_default: u32, now: Timestamp) -> Expired {
    let mut gone = Expired::default();
    for keeping in store.list_keeping(by_default, now).await.unwrap() {
        let Some(cutoff) = keeping.cutoff else {
            continue;
        };
        let counted = store.count_expired(&keeping).await.unwrap();
        let mut of_env = Expired::default();
        let mut after = None;
        loop {
            let (deleted, next) = store
                .delete_expired_events(keeping.env, cutoff, after)
                .await
                .unwrap();
            of_env.add(deleted);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let (deleted, _) = store
            .delete_expired_late_events(keeping.env, cutoff, None)
            .await
            .unwrap();
        of_env.add(deleted);
        let (deleted, _) = store
            .delete_expired_runs(keeping.env, cutoff, None)
            .await
            .unwrap();
        of_env.add(deleted);
        assert_eq!(of_env, counted, "what was foretold");
        gone.add(of_env);
    }
    gone
}

async fn end_at(store: &Store, number: u64, time: Timestamp) {
    let ended = RunChange {
        ended: Some((time, json("1"))),
        ..end(number, 1)
    };
    store
        .must(Commit {
            run: Some(ended),
            steps: vec![ended_step(number, "a", 0, "1")],
            failed_attempts: vec![failed_attempt(number, Some("a"), 0)],
            ..Commit::default()
        })
        .await;
}

#[tokio::test]
async fn what_ended_long_ago_goes_and_nothing_else() {
    on_each(async |store| {
        for number in 1..=3 {
            store.must(start(number)).await;
        }
        store
            .must(send(vec![new_event(4, "shop/lonely", "{}")]))
            .await;
        store.must(start(35 * DAY)).await;
        end_at(&store, 1, day(0)).await;
        end_at(&store, 2, day(30)).await;
        // The third has not ended.
        end_at(&store, 35 * DAY, day(35)).await;
        // An event goes one pass after its last run.
        let first = Expired {
            runs: 1,
            steps: 1,
            failed_attempts: 1,
            events: 1,
        };
        assert_eq!(pass(&store, 30, day(40)).await, first);
        let second = Expired {
            events: 1,
            ..Expired::default()
        };
        assert_eq!(pass(&store, 30, day(40)).await, second);
        assert!(pass(&store, 30, day(40)).await.is_empty());
        for (table, rows) in [
            ("runs", 3),
            ("steps", 2),
            ("failed_attempts", 2),
            ("events", 3),
            ("work", 1),
        ] {
            assert_eq!(store.rows_of(table).await, rows, "{table}");
        }
        let left = store.find_run(DEFAULT_ENV, run_id(3)).await.unwrap();
        assert!(left.is_some_and(|run| run.ended.is_none()));
    })
    .await;
}

#[tokio::test]
async fn environment_says_how_long_and_zero_is_for_ever() {
    on_each(async |store| {
        store.must(start(1)).await;
        end_at(&store, 1, day(0)).await;
        assert!(pass(&store, 0, day(4_000)).await.is_empty());
        store
            .behind("UPDATE environments SET retention_days = 0")
            .await;
        assert!(pass(&store, 1, day(4_000)).await.is_empty());
        store
            .behind("UPDATE environments SET retention_days = 3")
            .await;
        assert!(pass(&store, 0, day(3)).await.is_empty());
        assert_eq!(pass(&store, 0, day(40)).await.runs, 1);
    })
    .await;
}

#[tokio::test]
async fn event_stays_as_long_as_a_run_of_several_events_refers_to_it() {
    on_each(async |store| {
        let mut commit = start(1);
        commit.events.push(new_event(2, "shop/order", "{}"));
        let run = &mut commit.events[0].runs[0];
        run.events.push(event_id(2));
        store.must(commit).await;
        let keeping = store.list_keeping(1, day(40)).await.unwrap();
        let cutoff = keeping[0].cutoff.unwrap();
        for _ in 0..2 {
            let deleting = store.delete_expired_events(DEFAULT_ENV, cutoff, None);
            assert!(deleting.await.unwrap().0.is_empty());
        }
        assert_eq!(store.rows_of("events").await, 2);
    })
    .await;
}

#[tokio::test]
async fn event_whose_id_lies_in_the_future_goes_by_the_time_of_its_acceptance() {
    on_each(async |store| {
        let mut late = new_event(4_000 * DAY, "shop/odd", "{}");
        late.event.received_at = day(0);
        let mut early = new_event(1, "shop/odd", "{}");
        early.event.received_at = day(39);
        store.must(send(vec![late, early])).await;
        store.behind("UPDATE events SET late = true").await;
        assert_eq!(pass(&store, 30, day(40)).await.events, 1);
        assert_eq!(store.rows_of("events").await, 1);
        let left = store.find_event(DEFAULT_ENV, event_id(1)).await.unwrap();
        assert!(left.is_some());
    })
    .await;
}

#[tokio::test]
async fn week_of_expired_rows_is_dropped_whole_and_a_live_run_keeps_it() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = database.open().await;
    store.make_partitions(NOW).await.unwrap();
    for number in [1, 2, 7 * DAY] {
        store.must(start(number)).await;
    }
    end_at(&store, 1, day(0)).await;
    end_at(&store, 7 * DAY, day(7)).await;
    let expired = async |now| {
        let found = store.expired_partitions(30, now).await.unwrap();
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    // The first week holds a run that has not ended, and the event of the second week has a run as yet.
    let groups = [
        "runs_20270118",
        "steps_20270118",
        "failed_attempts_20270118",
    ];
    assert_eq!(expired(day(44)).await, groups);
    assert_eq!(
        store.drop_expired_partitions(30, day(44)).await.unwrap(),
        groups
    );
    assert_eq!(store.rows_of("runs").await, 2);
    assert_eq!(store.rows_of("steps").await, 1);
    assert_eq!(store.rows_of("events").await, 3);
    assert_eq!(expired(day(44)).await, ["events_20270118"]);
    store.drop_expired_partitions(30, day(44)).await.unwrap();
    assert_eq!(store.rows_of("events").await, 2);
    // Nothing is deleted by batches before its week could have been dropped whole.
    assert!(pass(&store, 30, day(33)).await.is_empty());
    assert_eq!(pass(&store, 30, day(50)).await.runs, 1);
    end_at(&store, 2, day(50)).await;
    let of_first_week = |name: &String| name.ends_with("_20270111");
    assert!(!expired(day(60)).await.iter().any(of_first_week));
    store.drop_expired_partitions(30, day(100)).await.unwrap();
    store.drop_expired_partitions(30, day(100)).await.unwrap();
    assert_eq!(
        (store.rows_of("runs").await, store.rows_of("events").await),
        (0, 0)
    );
}

#[tokio::test]
async fn partition_that_is_in_use_is_left_and_nobody_waits_for_it() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = database.open().await;
    store.make_partitions(NOW).await.unwrap();
    store.must(start(1)).await;
    end_at(&store, 1, day(0)).await;
    let reading = sea_orm::TransactionTrait::begin(store.reader())
        .await
        .unwrap();
    // It would be given up otherwise before the last try.
    let sql = "SET LOCAL idle_in_transaction_session_timeout = 0; SELECT 1 FROM runs LIMIT 1";
    sea_orm::ConnectionTrait::execute_unprepared(&reading, sql)
        .await
        .unwrap();
    let dropping = store.drop_expired_partitions(30, day(44));
    let writing = async {
        // Statements come between the tries; none waits longer than one of them.
        for number in 51..70 {
            store.must(start(number * DAY)).await;
        }
    };
    let (dropped, ()) = tokio::join!(dropping, writing);
    let of_runs = |name: &String| !name.starts_with("events");
    assert!(!dropped.unwrap().iter().any(of_runs));
    reading.rollback().await.unwrap();
    let dropped = store.drop_expired_partitions(30, day(44)).await.unwrap();
    assert!(dropped.contains(&"runs_20270111".to_owned()), "{dropped:?}");
}

#[tokio::test]
async fn one_at_a_time_has_the_turn_and_a_dead_owner_loses_it() {
    on_each_database(async |database: &TestDatabase| {
        let (one, two) = (database.open().await, database.open().await);
        let turn = |owner: u128| Turn {
            name: "retention",
            owner: Uuid::from_u128(owner),
            length: Duration::from_secs(60),
            every: Duration::from_secs(3_600),
        };
        let minute = |minutes: i64| at(minutes * 60_000);
        let (first, second) =
            tokio::join!(one.claim_turn(turn(1), NOW), two.claim_turn(turn(2), NOW));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first != second);
        let (owner, other) = if first { (1, 2) } else { (2, 1) };
        // Who has it claims it on; the other waits until that counts no more.
        assert!(one.claim_turn(turn(owner), at(30_000)).await.unwrap());
        assert!(!two.claim_turn(turn(other), minute(1)).await.unwrap());
        assert!(two.claim_turn(turn(other), minute(2)).await.unwrap());
        assert!(!one.end_turn(turn(owner), minute(2)).await.unwrap());
        assert!(two.end_turn(turn(other), minute(2)).await.unwrap());
        // Done is done, for an hour.
        assert!(!one.claim_turn(turn(owner), minute(61)).await.unwrap());
        assert!(one.claim_turn(turn(owner), minute(62)).await.unwrap());
    })
    .await;
}
