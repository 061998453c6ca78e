//! Databases and binaries of different versions: which fit, who brings the schema up to date, and what a failure leaves.

use sea_orm::{Database, DatabaseConnection};
use tokio_util::task::TaskTracker;

use crate::{
    Error, Migrate, Place, Store, StoreSettings,
    migrate::{MIGRATIONS, Migration, Script, migrate, pending},
    open,
    samples::*,
    testing::{TestDatabase, matcher, on_each_database},
};

const fn step(name: &'static str, floor: &'static str, up: &'static str) -> Migration {
    Migration {
        name,
        floor,
        postgres: Script { up, down: "" },
        sqlite: Script { up, down: "" },
    }
}

const A: Migration = step("1_a", "1_a", "CREATE TABLE a (id integer)");
const B: Migration = step("2_b", "1_a", "CREATE TABLE b (id integer)");
const C: Migration = step("3_c", "2_b", "DROP TABLE a");

/// A connection to the database, as migrations have it.
async fn connection(database: &TestDatabase) -> DatabaseConnection {
    let url = match &database.settings().place {
        Place::Postgres(url) => url.clone(),
        Place::Directory(directory) => {
            std::fs::create_dir_all(directory).unwrap();
            let file = directory.join("rule.db");
            format!("sqlite://{}?mode=rwc", file.display())
        }
        Place::Scratch => panic!("nobody shares it"),
    };
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

fn names(list: &[Migration]) -> Vec<&'static str> {
    list.iter().map(|migration| migration.name).collect()
}

#[test]
fn migrations_are_in_order_and_floors_are_migrations() {
    let all = names(MIGRATIONS);
    assert!(all.is_sorted_by(|one, two| one < two), "{all:?}");
    for migration in MIGRATIONS {
        assert!(all.contains(&migration.floor), "{}", migration.floor);
        assert!(migration.floor <= migration.name, "{}", migration.name);
    }
}

#[tokio::test]
async fn older_binary_runs_on_what_it_can_bear_and_refuses_the_rest() {
    on_each_database(async |database: &TestDatabase| {
        let conn = connection(database).await;
        let applied = migrate(&conn, &[A], Migrate::AtOpening).await.unwrap();
        assert_eq!(applied, ["1_a"]);
        // The next version adds something: the one before goes on, at opening as well.
        let applied = migrate(&conn, &[A, B], Migrate::AtOpening).await.unwrap();
        assert_eq!(applied, ["2_b"]);
        assert!(pending(&conn, &[A]).await.unwrap().is_empty());
        let applied = migrate(&conn, &[A], Migrate::AtOpening).await.unwrap();
        assert!(applied.is_empty());
        // The one after that removes what the first needs: only the second goes on.
        migrate(&conn, &[A, B, C], Migrate::AtOpening)
            .await
            .unwrap();
        assert!(pending(&conn, &[A, B]).await.unwrap().is_empty());
        let refused = migrate(&conn, &[A], Migrate::AtOpening).await.unwrap_err();
        let Error::SchemaAhead {
            unknown,
            floor,
            newest,
        } = &refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!(
            (unknown.as_str(), floor.as_str(), newest.as_str()),
            ("3_c", "2_b", "1_a")
        );
        assert!(!refused.is_unavailable());
    })
    .await;
}

#[tokio::test]
async fn schema_that_is_behind_is_refused_where_migrations_are_separate() {
    on_each_database(async |database: &TestDatabase| {
        let settings = StoreSettings {
            migrate: Migrate::Separately,
            ..database.settings().clone()
        };
        let tracker = TaskTracker::new();
        let outcome = Store::open(&settings, matcher(), &tracker).await;
        let Err(error @ Error::SchemaBehind { .. }) = outcome else {
            panic!("opened, or failed otherwise")
        };
        let text = error.to_string();
        assert!(
            text.contains("inngest migrate") && text.contains(MIGRATIONS[0].name),
            "{text}"
        );
        assert_eq!(
            open::pending_migrations(&settings).await.unwrap(),
            names(MIGRATIONS)
        );
        assert_eq!(open::migrate(&settings).await.unwrap(), names(MIGRATIONS));
        assert!(
            open::pending_migrations(&settings)
                .await
                .unwrap()
                .is_empty()
        );
        let store = Store::open(&settings, matcher(), &tracker).await.unwrap();
        store.must(start(1)).await;
    })
    .await;
}

#[tokio::test]
async fn of_many_that_start_at_once_one_migrates() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let settings = database.settings();
    let outcomes = futures_util::future::join_all((0..6).map(|_| open::migrate(settings))).await;
    let mut applied: Vec<&str> = outcomes.into_iter().flat_map(Result::unwrap).collect();
    applied.sort_unstable();
    assert_eq!(applied, names(MIGRATIONS));
}

#[tokio::test]
async fn migration_that_fails_leaves_nothing_and_is_tried_again() {
    on_each_database(async |database: &TestDatabase| {
        let broken = step(
            "2_b",
            "2_b",
            "CREATE TABLE b (id integer); DROP TABLE nothing",
        );
        let conn = connection(database).await;
        let error = migrate(&conn, &[A, broken], Migrate::AtOpening)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Migrate(_)) && !error.is_unavailable(),
            "{error:?}"
        );
        let applied = migrate(&conn, &[A, B], Migrate::AtOpening).await.unwrap();
        assert_eq!(applied, ["2_b"]);
    })
    .await;
}

#[tokio::test]
async fn notes_of_the_first_versions_are_taken_over() {
    on_each_database(async |database: &TestDatabase| {
        let conn = connection(database).await;
        let sql = "CREATE TABLE seaql_migrations (version text PRIMARY KEY, applied_at bigint NOT NULL); \
                   CREATE TABLE a (id integer); INSERT INTO seaql_migrations VALUES ('1_a', 7)";
        sea_orm::ConnectionTrait::execute_unprepared(&conn, sql)
            .await
            .unwrap();
        assert_eq!(pending(&conn, &[A, B]).await.unwrap().len(), 1);
        let applied = migrate(&conn, &[A, B], Migrate::AtOpening).await.unwrap();
        assert_eq!(applied, ["2_b"]);
        assert!(pending(&conn, &[A, B]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn store_refuses_a_database_of_a_newer_version() {
    on_each_database(async |database: &TestDatabase| {
        let store = database.open().await;
        store
            .behind("INSERT INTO schema_migrations (name, floor, applied_at) VALUES ('29990101000000_later', '29990101000000_later', 1)")
            .await;
        drop(store);
        let outcome = Store::open(database.settings(), matcher(), &TaskTracker::new()).await;
        let Err(error) = outcome else { panic!("opened") };
        assert!(matches!(error, Error::SchemaAhead { .. }), "{error:?}");
    })
    .await;
}
