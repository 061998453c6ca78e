//! Fresh databases for tests: a SQLite file always, a Postgres schema of its own where `TEST_POSTGRES_URL` names a server.
//!
//! Each test gets a database that nobody else sees and that is gone afterwards, whether the test passed or not.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use inngest_core::{
    expr::Program,
    ids::{DEFAULT_ENV, DEFAULT_ORG},
    time::Timestamp,
    wait,
};
use sea_orm::{ConnectionTrait, Database};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{Matcher, Place, Store, StoreSettings};

/// Names the server on which tests make schemas, for example `postgres://postgres@127.0.0.1/test`.
pub const POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// An empty database of one test. It goes when this is dropped; stores that are still open then fail.
#[derive(Debug)]
pub struct TestDatabase {
    kind: &'static str,
    settings: StoreSettings,
    _directory: Option<tempfile::TempDir>,
    schema: Option<(String, String)>,
}

impl TestDatabase {
    /// A SQLite database in a directory of its own.
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("tests can write to the temporary directory");
        Self {
            kind: "sqlite",
            settings: settings(Place::Directory(directory.path().join("data"))),
            _directory: Some(directory),
            schema: None,
        }
    }

    /// A schema on the server that `TEST_POSTGRES_URL` names; none (and one line of output in this process) when it names none.
    pub async fn postgres() -> Option<Self> {
        static SKIPPED: Once = Once::new();
        let Some(server) = postgres_url() else {
            SKIPPED.call_once(|| eprintln!("{POSTGRES_URL} is not set: nothing runs on Postgres"));
            return None;
        };
        let schema = format!("test_{}", Uuid::new_v4().simple());
        execute(&server, &format!("CREATE SCHEMA {schema}"))
            .await
            .expect("the server of TEST_POSTGRES_URL lets us make a schema");
        let mark = if server.contains('?') { '&' } else { '?' };
        let url = format!(
            "{server}{mark}options=-c%20search_path%3D{schema}%20-c%20synchronous_commit%3Doff"
        );
        Some(Self {
            kind: "postgres",
            settings: settings(Place::Postgres(url)),
            _directory: None,
            schema: Some((server, schema)),
        })
    }

    /// `sqlite` or `postgres`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// How to open it: two readers, ten seconds.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Opens it with [`matcher`] on a tracker of its own, and makes sure of the default environment. A second call opens it again.
    pub async fn open(&self) -> Store {
        let tracker = TaskTracker::new();
        let store = Store::open(&self.settings, matcher(), &tracker)
            .await
            .expect("a fresh database can be opened");
        if self.kind == "sqlite" {
            // Tests do not cut the power.
            let sql = "PRAGMA synchronous = OFF";
            let changed = store.writer().execute_unprepared(sql).await;
            changed.expect("SQLite takes this in any state");
        }
        store
            .ensure_environment(
                DEFAULT_ORG,
                DEFAULT_ENV,
                "dev",
                Timestamp::from_millis(1_000),
            )
            .await
            .expect("a fresh database takes its first environment");
        store
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this happened on {}", self.kind);
        }
        let Some((server, schema)) = self.schema.take() else {
            return;
        };
        // A thread, because a test's own runtime cannot be waited for from inside.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                // Connections of a store that is still open end first, or their locks would be waited for.
                let sql = format!(
                    "SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT l.pid FROM pg_locks l \
                     JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = '{schema}' AND l.pid <> pg_backend_pid()) AS holders; \
                     DROP SCHEMA IF EXISTS {schema} CASCADE"
                );
                if let Err(error) = runtime.block_on(execute(&server, &sql)) {
                    eprintln!("a test schema was left behind: {error}");
                }
            }
        });
        let _ = dropping.join();
    }
}

/// Runs `body` on a fresh database of each kind, one after the other.
pub async fn on_each_database(body: impl AsyncFn(&TestDatabase)) {
    body(&TestDatabase::sqlite().await).await;
    if let Some(database) = TestDatabase::postgres().await {
        body(&database).await;
    }
}

/// Runs `body` on an open store over a fresh database of each kind, one after the other.
pub async fn on_each(body: impl AsyncFn(Store)) {
    on_each_database(async |database: &TestDatabase| body(database.open().await).await).await;
}

/// The product's judgement on waits, without a cache of expressions.
pub fn matcher() -> Matcher {
    Arc::new(|wait, event, body| {
        let program = wait
            .expression
            .as_deref()
            .and_then(|text| Program::parse(text).ok());
        wait::is_satisfied(wait, program.as_ref(), event, body, event.received_at)
    })
}

fn settings(place: Place) -> StoreSettings {
    StoreSettings {
        readers: 2,
        timeout: Duration::from_secs(10),
        ..StoreSettings::at(place)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only tests read it, and they have no settings"
)]
fn postgres_url() -> Option<String> {
    std::env::var(POSTGRES_URL)
        .ok()
        .filter(|url| !url.is_empty())
}

async fn execute(server: &str, sql: &str) -> Result<(), sea_orm::DbErr> {
    let mut options = sea_orm::ConnectOptions::new(server.to_owned());
    options.max_connections(1).sqlx_logging(false);
    let conn = Database::connect(options).await?;
    conn.execute_unprepared(sql).await?;
    conn.close().await
}
