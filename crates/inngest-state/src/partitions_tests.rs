//! Partitions on Postgres: made ahead and once, found by id, and what was there before is in one of them.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{
    Migrate, Store,
    migrate::{MIGRATIONS, migrate},
    samples::*,
    testing::TestDatabase,
};

const WEEK_MS: u64 = 7 * 86_400_000;

async fn postgres() -> Option<(TestDatabase, Store)> {
    let database = TestDatabase::postgres().await?;
    let store = database.open().await;
    Some((database, store))
}

/// The partitions into which the plan of a statement looks.
async fn looked_into(store: &Store, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(DbBackend::Postgres, format!("EXPLAIN {sql}"));
    let rows = store.reader().query_all_raw(statement).await.unwrap();
    let mut found: Vec<String> = rows
        .iter()
        .map(|row| row.try_get::<String>("", "QUERY PLAN").unwrap())
        .filter_map(|line| Some(line.split_once(" on ")?.1.split(' ').next()?.to_owned()))
        .collect();
    // A scan by way of a bitmap names the index as well.
    found.retain(|name| !name.contains("_pkey"));
    found.sort_unstable();
    found.dedup();
    found
}

#[tokio::test]
async fn many_make_the_coming_weeks_once() {
    let Some((database, store)) = postgres().await else {
        return;
    };
    let other = database.open().await;
    let stores = [&store, &other, &store, &other];
    let made = futures_util::future::join_all(stores.map(|store| store.make_partitions(NOW))).await;
    // Who could not get a lock in time makes nothing, and says so; the work is done all the same.
    let made: u64 = made.into_iter().filter_map(Result::ok).sum();
    let rest = store.make_partitions(NOW).await.unwrap();
    assert_eq!(made + rest, 3 * 4);
    assert_eq!(store.make_partitions(NOW).await.unwrap(), 0);
    // A week later there is one more week to make.
    let later = at(WEEK_MS.cast_signed());
    assert_eq!(store.make_partitions(later).await.unwrap(), 4);
}

#[tokio::test]
async fn rows_that_came_before_their_partition_are_moved_into_it() {
    let Some((_database, store)) = postgres().await else {
        return;
    };
    store.must(start(1)).await;
    store.must(start(10 * WEEK_MS)).await;
    assert_eq!(store.rows_of("runs_default").await, 2);
    store.make_partitions(NOW).await.unwrap();
    assert_eq!(store.rows_of("runs_default").await, 1);
    assert_eq!(store.rows_of("runs_20270111").await, 1);
    assert_eq!(store.rows_of("events_20270111").await, 1);
    assert_eq!(store.rows_of("runs").await, 2);
}

#[tokio::test]
async fn rows_lie_in_their_week_and_are_looked_for_nowhere_else() {
    let Some((_database, store)) = postgres().await else {
        return;
    };
    store.make_partitions(NOW).await.unwrap();
    store.must(start(1)).await;
    store.must(start(WEEK_MS)).await;
    assert_eq!(store.rows_of("runs_20270111").await, 1);
    assert_eq!(store.rows_of("runs_20270118").await, 1);
    let id = crate::rows::run_uuid(run_id(1));
    for sql in [
        format!("SELECT * FROM runs WHERE id IN ('{id}') AND ended_at IS NULL FOR UPDATE"),
        format!("UPDATE runs SET status = 2 WHERE id IN ('{id}')"),
    ] {
        assert_eq!(
            looked_into(&store, &sql).await,
            ["runs", "runs_20270111"]
                .into_iter()
                .filter(|name| sql.starts_with("UPDATE") || *name != "runs")
                .collect::<Vec<_>>(),
            "{sql}"
        );
    }
    let steps = format!("SELECT * FROM steps WHERE run_id = '{id}'");
    assert_eq!(looked_into(&store, &steps).await, ["steps_20270111"]);
}

#[tokio::test]
async fn id_is_unique_over_all_weeks_that_it_can_be_in() {
    let Some((_database, store)) = postgres().await else {
        return;
    };
    store.make_partitions(NOW).await.unwrap();
    let mut event = new_event(1, "shop/order", "{}");
    event.may_exist = true;
    store.must(send(vec![event.clone()])).await;
    let second = store.must(send(vec![event])).await;
    assert_eq!(second.known_events, [event_id(1)]);
    assert_eq!(store.rows_of("events").await, 1);
}

#[tokio::test]
async fn rows_of_the_version_before_become_the_first_partition() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let conn = {
        let crate::Place::Postgres(url) = &database.settings().place else {
            panic!("not Postgres")
        };
        let mut options = sea_orm::ConnectOptions::new(url.clone());
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.unwrap()
    };
    migrate(&conn, &MIGRATIONS[..2], Migrate::AtOpening)
        .await
        .unwrap();
    let zero = "'00000000-0000-0000-0000-000000000000'";
    let run = crate::rows::run_uuid(run_id(1));
    let sql = format!(
        "INSERT INTO events VALUES ('{run}', {zero}, {zero}, 'a', 'k', false, false, 1, 1, ''); \
         INSERT INTO steps VALUES ('{run}', 's', {zero}, {zero}, 's', 1, 1, 1, NULL, NULL, 1, NULL, NULL)"
    );
    conn.execute_unprepared(&sql).await.unwrap();
    conn.close().await.unwrap();
    let store = database.open().await;
    assert_eq!(store.rows_of("events_first").await, 1);
    assert_eq!(store.rows_of("steps_first").await, 1);
    // Weeks begin where the first one ends: a fortnight of grace for processes of the version before.
    assert_eq!(store.make_partitions(NOW).await.unwrap(), 4);
    store.must(start(2)).await;
    assert_eq!(store.rows_of("events").await, 2);
    assert!(store.make_partitions(at(1)).await.unwrap() == 0);
}
