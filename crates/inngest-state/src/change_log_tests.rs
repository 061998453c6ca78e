//! The log of changes: every commit leaves its entries, and whoever reads on from a position misses none, not even those of a transaction
//! that began earlier and commits later.

use futures_util::future::join_all;
use inngest_core::{
    ids::{DEFAULT_ENV, EnvId},
    run::RunStatus,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};

use crate::{
    Change, Commit, LogPlace, LogPosition, LogRead, LogRow, NewEvent, NewRun, Store,
    samples::*,
    testing::{TestDatabase, on_each, on_each_database},
};

/// All rows after a place, page by page, and where the log ended.
async fn rest(store: &Store, env: EnvId, after: LogPlace, limit: u32) -> (Vec<LogRow>, LogPlace) {
    let (mut all, mut place) = (Vec::new(), after);
    loop {
        match store.read_log(env, place, limit).await.unwrap() {
            LogRead::Page {
                rows,
                next,
                is_last,
            } => {
                assert!(rows.len() <= limit as usize);
                all.extend(rows);
                place = next;
                if is_last {
                    return (all, place);
                }
            }
            LogRead::Gone { .. } => panic!("the place is known"),
        }
    }
}

/// Waits until no transaction is under way that began before now, in whichever test: what is committed by then can be read.
pub(crate) async fn settled(store: &Store) {
    if store.kind() != "postgres" {
        return;
    }
    let number = async |sql: &str| {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = store.reader().query_one_raw(statement).await.unwrap();
        row.unwrap().try_get::<i64>("", "number").unwrap()
    };
    let mine = number("SELECT pg_current_xact_id()::text::bigint AS number").await;
    let oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS number";
    while number(oldest).await <= mine {
        tokio::task::yield_now().await;
    }
}

async fn changes(store: &Store, after: LogPlace) -> Vec<Vec<Change>> {
    settled(store).await;
    let (rows, _) = rest(store, DEFAULT_ENV, after, 100).await;
    rows.into_iter().map(|row| row.changes).collect()
}

fn run(number: u64, status: RunStatus, is_new: bool) -> Change {
    Change::Run {
        id: run_id(number),
        function: function_id(),
        status,
        is_new,
    }
}

fn step(number: u64, name: Option<&str>) -> Change {
    Change::Step {
        run: run_id(number),
        step: name.map(step_id),
    }
}

fn came(number: u64) -> Change {
    Change::Event {
        id: event_id(number),
        is_internal: false,
    }
}

#[tokio::test]
async fn commit_leaves_one_row_with_each_thing_once() {
    on_each(async |store| {
        let begin = store.log_end().await.unwrap();
        store.must(Commit::default()).await;
        store.must(start(1)).await;
        store
            .must(Commit {
                fence: Some(fence(1, "discover", 1)),
                run: Some(change(1, 1)),
                steps: vec![
                    open_step(1, "a"),
                    ended_step(1, "a", 0, "1"),
                    open_step(1, "b"),
                ],
                failed_attempts: vec![failed_attempt(1, Some("b"), 0), failed_attempt(1, None, 0)],
                work: vec![work(1, "again")],
                ..Commit::default()
            })
            .await;
        let finished = crate::Commit {
            fence: Some(fence(1, "again", 1)),
            run: Some(end(1, 2)),
            events: vec![new_event(7, "inngest/function.finished", "{}")],
            ..Commit::default()
        };
        store.must(finished).await;
        let ended = Change::Event {
            id: event_id(7),
            is_internal: true,
        };
        assert_eq!(
            changes(&store, begin).await,
            vec![
                vec![came(1), run(1, RunStatus::Queued, true)],
                vec![
                    run(1, RunStatus::Running, false),
                    step(1, None),
                    step(1, Some("a")),
                    step(1, Some("b")),
                ],
                vec![ended, run(1, RunStatus::Completed, false)],
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_or_known_already_leaves_nothing() {
    on_each(async |store| {
        store.must(start(1)).await;
        settled(&store).await;
        let begin = store.log_end().await.unwrap();
        let refused = Commit {
            run: Some(change(1, 9)),
            ..Commit::default()
        };
        assert_eq!(verdict(&store.commit(refused).await), "RunChanged");
        let mut again = start(1);
        again.events[0].may_exist = true;
        store.must(again).await;
        assert_eq!(changes(&store, begin).await, Vec::<Vec<Change>>::new());
    })
    .await;
}

#[tokio::test]
async fn environments_see_their_own_changes_and_pages_lose_none() {
    on_each(async |store| {
        let begin = store.log_end().await.unwrap();
        let other = || {
            let event = NewEvent {
                org: OTHER_ORG,
                env: OTHER_ENV,
                ..new_event(900, "x", "{}")
            };
            let run = NewRun {
                org: OTHER_ORG,
                env: OTHER_ENV,
                ..new_run(900)
            };
            send(vec![NewEvent {
                runs: vec![run],
                ..event
            }])
        };
        store.must(other()).await;
        let commits = (1..=40).map(|number| store.commit(start(number)));
        assert!(join_all(commits).await.iter().all(Result::is_ok));
        for number in 41..=47 {
            store.must(start(number)).await;
        }
        settled(&store).await;
        let (rows, end) = rest(&store, DEFAULT_ENV, begin, 3).await;
        assert!(rows.is_sorted_by_key(|row| row.position));
        let mut seen: Vec<Change> = rows.into_iter().flat_map(|row| row.changes).collect();
        assert_eq!(seen.len(), 94);
        seen.retain(|change| matches!(change, Change::Run { .. }));
        let expected: Vec<Change> = (1..=47)
            .map(|number| run(number, RunStatus::Queued, true))
            .collect();
        assert!(expected.iter().all(|change| seen.contains(change)));
        assert_eq!(rest(&store, DEFAULT_ENV, end, 3).await.0, Vec::new());
        let (theirs, _) = rest(&store, OTHER_ENV, begin, 3).await;
        assert_eq!(theirs.len(), 1);
        assert_eq!(theirs[0].changes.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn large_transaction_leaves_rows_of_bounded_size() {
    on_each(async |store| {
        let begin = store.log_end().await.unwrap();
        let events = (1..=2_500).map(|number| new_event(number, "x", "{}"));
        store.must(send(events.collect())).await;
        let sizes: Vec<usize> = changes(&store, begin).await.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
    })
    .await;
}

#[tokio::test]
async fn slow_transaction_that_commits_late_is_not_skipped() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = database.open().await;
    let begin = store.log_end().await.unwrap();
    // Somebody else's transaction, which has its number before ours and ends after it.
    let slow = store.reader().begin().await.unwrap();
    let other = format!(
        "INSERT INTO change_log (env_id, changes) VALUES ('{}', '\\x01')",
        DEFAULT_ENV.raw()
    );
    slow.execute_unprepared(&other).await.unwrap();
    store.must(start(1)).await;
    let (early, place) = rest(&store, DEFAULT_ENV, begin, 100).await;
    assert_eq!(early, Vec::new(), "an older transaction is under way");
    let end = store.log_end().await.unwrap();
    assert_eq!(rest(&store, DEFAULT_ENV, end, 100).await.0, Vec::new());
    slow.commit().await.unwrap();
    for place in [begin, place, end] {
        // Another test's transaction may still hold the end back.
        let mut found = Vec::new();
        while found.len() < 2 {
            found = rest(&store, DEFAULT_ENV, place, 100).await.0;
        }
        assert_eq!(found[0].changes, Vec::new());
        assert_eq!(found[1].changes.len(), 2);
    }
}

#[tokio::test]
async fn position_of_another_history_or_beyond_the_end_is_told() {
    on_each(async |store| {
        store.must(start(1)).await;
        let end = store.log_end().await.unwrap();
        let elsewhere = LogPlace {
            epoch: uuid::Uuid::from_u128(1),
            ..end
        };
        let ahead = LogPlace {
            position: LogPosition {
                txid: end.position.txid + 1_000_000,
                seq: end.position.seq + 1_000_000,
            },
            ..end
        };
        for place in [elsewhere, ahead] {
            let read = store.read_log(DEFAULT_ENV, place, 10).await.unwrap();
            assert!(matches!(read, LogRead::Gone { now } if now.epoch == end.epoch));
        }
    })
    .await;
}

#[tokio::test]
async fn epoch_outlives_a_reopening_but_not_a_change_of_origin() {
    on_each_database(async |database: &TestDatabase| {
        let store = database.open().await;
        let epoch = store.log_end().await.unwrap().epoch;
        drop(store);
        let store = database.open().await;
        assert_eq!(store.log_end().await.unwrap().epoch, epoch);
        store
            .behind("UPDATE change_log_state SET origin = 'elsewhere'")
            .await;
        drop(store);
        let store = database.open().await;
        let is_same = store.log_end().await.unwrap().epoch == epoch;
        assert_eq!(is_same, database.kind() == "sqlite");
    })
    .await;
}

#[tokio::test]
async fn old_rows_go_and_who_has_not_read_them_is_told() {
    on_each(async |store| {
        let begin = store.log_end().await.unwrap();
        store.must(start(1)).await;
        store.must(start(2)).await;
        store.trim_change_log().await.unwrap();
        assert_eq!(changes(&store, begin).await.len(), 2, "nothing is old yet");
        // On Postgres rows lie in the partition of their hour.
        store
            .behind("UPDATE change_log SET at = at - 7200000, slot = CASE WHEN txid = 0 THEN 0 ELSE (slot + 2) % 4 END")
            .await;
        settled(&store).await;
        let read = store.log_end().await.unwrap();
        store.must(start(3)).await;
        store.trim_change_log().await.unwrap();
        assert_eq!(store.rows_of("change_log").await, 1);
        settled(&store).await;
        let gone = store.read_log(DEFAULT_ENV, begin, 10).await.unwrap();
        assert!(matches!(gone, LogRead::Gone { .. }));
        let LogRead::Page { rows, .. } = store.read_log(DEFAULT_ENV, read, 10).await.unwrap()
        else {
            panic!("what came later is still there");
        };
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].changes, vec![came(3), run(3, RunStatus::Queued, true)]);
    })
    .await;
}

#[tokio::test]
async fn newest_row_stays_so_that_numbers_do_not_begin_anew() {
    let database = TestDatabase::sqlite().await;
    let store = database.open().await;
    store.must(start(1)).await;
    store.must(start(2)).await;
    let end = store.log_end().await.unwrap();
    store.behind("UPDATE change_log SET at = 0").await;
    store.trim_change_log().await.unwrap();
    assert_eq!(store.log_end().await.unwrap(), end);
    store.must(start(3)).await;
    assert_eq!(changes(&store, end).await.len(), 1);
}

#[tokio::test]
async fn reading_on_from_a_place_reads_nothing_before_it() {
    on_each_database(async |database| {
        let store = database.open().await;
        let backend = store.reader().get_database_backend();
        if backend != DbBackend::Sqlite {
            return;
        }
        let sql = format!(
            "EXPLAIN QUERY PLAN {}",
            crate::change_log::read_sql(backend, 16)
        );
        let values = [DEFAULT_ENV.raw().into(), 0.into(), 7.into()];
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let plan = store.reader().query_all_raw(statement).await.unwrap();
        let lines = plan
            .iter()
            .map(|row| row.try_get::<String>("", "detail").unwrap());
        let lines: Vec<String> = lines.collect();
        let by_place = "change_log_by_env (env_id=? AND txid=? AND seq>?)";
        assert!(
            lines.iter().any(|line| line.contains(by_place)),
            "{lines:?}"
        );
    })
    .await;
}
