//! Connections: cut, refused, bounded, counted, and by which plans they find rows.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;

use crate::{
    Place, Refused, Store, StoreSettings,
    samples::*,
    testing::{TestDatabase, matcher, on_each},
};

/// The number that a statement answers on the writer's connection.
async fn of_writer(store: &Store, sql: &str) -> i64 {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = store.writer().query_one_raw(statement).await.unwrap();
    row.unwrap().try_get("", "n").unwrap()
}

#[tokio::test]
async fn connection_that_was_cut_is_replaced_before_a_commit_notices() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    // One connection for writing, so that it is the one that is cut.
    let settings = StoreSettings {
        writing: 1,
        ..database.settings().clone()
    };
    let store = Store::open(&settings, matcher(), &TaskTracker::new())
        .await
        .unwrap();
    for number in 1..=3 {
        let pid = of_writer(&store, "SELECT pg_backend_pid()::bigint AS n").await;
        let gone = format!(
            "SELECT CASE WHEN pg_terminate_backend({pid}, 5000) THEN 1 ELSE 0 END::bigint AS n"
        );
        assert_eq!(store.number(&gone).await, 1);
        store.must(start(number)).await;
    }
    assert_eq!(
        store
            .commit_counters()
            .unknown
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn plans_of_the_writer_use_keys_though_nothing_is_known_of_the_tables() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = database.open().await;
    let id = crate::rows::run_uuid(run_id(1));
    for sql in [
        format!("SELECT id, epoch FROM work WHERE id IN ('{id}') ORDER BY id FOR UPDATE"),
        format!("DELETE FROM waits WHERE run_id IN ('{id}')"),
        format!(
            "WITH v (id, status) AS (VALUES ('{id}'::uuid, 2)) UPDATE runs SET status = v.status FROM v WHERE runs.id = v.id"
        ),
        format!("DELETE FROM steps WHERE run_id IN ('{id}')"),
    ] {
        let statement = Statement::from_string(DbBackend::Postgres, format!("EXPLAIN {sql}"));
        let rows = store.writer().query_all_raw(statement).await.unwrap();
        let lines: Vec<String> = rows
            .iter()
            .map(|row| row.try_get("", "QUERY PLAN").unwrap())
            .collect();
        let plan = lines.join("\n");
        assert!(
            plan.contains("Index") && !plan.contains("Seq Scan"),
            "{plan}"
        );
    }
}

#[tokio::test]
async fn sessions_have_their_limits() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = database.open().await;
    for (name, limit) in [
        ("statement_timeout", 10_000),
        ("lock_timeout", 10_000),
        ("idle_in_transaction_session_timeout", 10_000),
    ] {
        let sql = format!("SELECT setting::bigint AS n FROM pg_settings WHERE name = '{name}'");
        assert_eq!(of_writer(&store, &sql).await, limit, "{name}");
        assert_eq!(store.number(&sql).await, limit, "{name}");
    }
}

#[tokio::test]
async fn stats_tell_who_had_to_wait() {
    on_each(async |store| {
        let fresh = store.pool_stats().reader;
        assert_eq!((fresh.max, fresh.waits), (2, 0));
        let one = store.reader().begin().await.unwrap();
        let two = store.reader().begin().await.unwrap();
        assert_eq!(store.pool_stats().reader.idle, 0);
        let waiting = store.ping();
        let releasing = async {
            tokio::task::yield_now().await;
            one.rollback().await.unwrap();
        };
        let (pinged, ()) = tokio::join!(waiting, releasing);
        pinged.unwrap();
        two.rollback().await.unwrap();
        let used = store.pool_stats().reader;
        assert_eq!((used.open, used.waits), (2, 1));
    })
    .await;
}

/// A way to a server that can be closed.
struct Door {
    url: String,
    closing: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Door {
    async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (_, rest) = url.split_once("://").unwrap();
        let place = rest.split(['/', '?']).next().unwrap();
        let server = place.rsplit('@').next().unwrap().to_owned();
        let url = url.replacen(&server, &own, 1);
        let closing = Arc::new(Notify::new());
        let closed = closing.clone();
        let task = TaskTracker::new().spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    () = closed.notified() => return,
                    Ok((mut here, _)) = listener.accept() => {
                        let server = server.clone();
                        ways.spawn(async move {
                            let mut there = TcpStream::connect(server).await.unwrap();
                            let _ = copy_bidirectional(&mut here, &mut there).await;
                        });
                    }
                }
            }
        });
        Self { url, closing, task }
    }

    async fn close(self) {
        self.closing.notify_one();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn commits_are_refused_soon_while_the_server_is_away() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    database.open().await;
    let Place::Postgres(url) = &database.settings().place else {
        panic!("not Postgres")
    };
    let door = Door::to(url).await;
    let settings = StoreSettings {
        timeout: Duration::from_secs(30),
        ..StoreSettings::at(Place::Postgres(door.url.clone()))
    };
    let store = Store::open(&settings, matcher(), &TaskTracker::new())
        .await
        .unwrap();
    store.must(start(1)).await;
    door.close().await;
    // Far less than the 30 s that a statement may take; the exact time is a constant that the compiler checks.
    let all = futures_util::future::join_all((2..10).map(|number| store.commit(start(number))));
    let outcomes = tokio::time::timeout(Duration::from_secs(10), all).await;
    for outcome in outcomes.expect("they are answered soon") {
        let Err(Refused::Store(error)) = outcome else {
            panic!("written")
        };
        assert!(error.is_unavailable(), "{error:?}");
    }
}
