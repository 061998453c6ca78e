//! Both dialects have the same tables and columns, every entity can be read, and migrations go both ways.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, EntityTrait, Statement};

use crate::{
    Migrate, Store, entity,
    migrate::{MIGRATIONS, migrate, take_down},
    samples::*,
    testing::{TestDatabase, on_each, on_each_database},
};

async fn texts(store: &Store, sql: &str, column: &str) -> Vec<String> {
    let conn = store.writer();
    let statement = Statement::from_string(conn.get_database_backend(), sql);
    let rows = conn.query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| row.try_get("", column).unwrap())
        .collect()
}

/// Each table with its columns and whether each may be null.
async fn schema(store: &Store) -> BTreeMap<String, Vec<String>> {
    let mut tables = BTreeMap::new();
    let is_postgres = store.kind() == "postgres";
    let names = if is_postgres {
        "SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') \
         AND NOT relispartition"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    };
    for name in texts(store, names, "name").await {
        if name == "schema_migrations" {
            continue;
        }
        let columns = if is_postgres {
            format!(
                "SELECT column_name || ' ' || (is_nullable = 'NO')::int::text AS name FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = '{name}' ORDER BY ordinal_position"
            )
        } else {
            // SQLite's primary keys may be null unless they say otherwise; ours never are.
            format!(
                "SELECT name || ' ' || CASE WHEN \"notnull\" = 1 OR pk > 0 THEN 1 ELSE 0 END AS name FROM pragma_table_info('{name}')"
            )
        };
        tables.insert(name, texts(store, &columns, "name").await);
    }
    tables
}

async fn indexes(store: &Store) -> Vec<String> {
    let sql = if store.kind() == "postgres" {
        "SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('i', 'I') \
         AND NOT relispartition AND relname LIKE '%\\_by\\_%' ORDER BY 1"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE '%\\_by\\_%' ESCAPE '\\' ORDER BY 1"
    };
    texts(store, sql, "name").await
}

#[tokio::test]
async fn both_dialects_have_the_same_tables_columns_and_indexes() {
    let sqlite = TestDatabase::sqlite().await;
    let sqlite = sqlite.open().await;
    let expected = (schema(&sqlite).await, indexes(&sqlite).await);
    assert_eq!(expected.0.len(), 24);
    let Some(postgres) = TestDatabase::postgres().await else {
        return;
    };
    let postgres = postgres.open().await;
    assert_eq!(
        (schema(&postgres).await, indexes(&postgres).await),
        expected
    );
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again_to_the_same_schema() {
    on_each(async |store| {
        let before = (schema(&store).await, indexes(&store).await);
        let conn = store.writer();
        take_down(conn).await.unwrap();
        assert_eq!(schema(&store).await.len(), 0);
        let applied = migrate(conn, MIGRATIONS, Migrate::AtOpening).await.unwrap();
        assert_eq!(applied.len(), MIGRATIONS.len());
        assert_eq!((schema(&store).await, indexes(&store).await), before);
        let applied = migrate(conn, MIGRATIONS, Migrate::AtOpening).await.unwrap();
        assert!(applied.is_empty(), "{applied:?}");
        store.must(start(1)).await;
    })
    .await;
}

#[tokio::test]
async fn every_entity_reads_from_its_table() {
    on_each(async |store| {
        let conn = store.reader();
        macro_rules! read {
            ($($name:ident),+) => {$(
                let rows = entity::$name::Entity::find().all(conn).await;
                assert!(rows.is_ok(), "{}: {rows:?}", stringify!($name));
            )+};
        }
        read!(
            app,
            bulk_function,
            bulk_operation,
            environment,
            event,
            failed_attempt,
            function,
            function_version,
            run,
            step,
            sync,
            wait,
            work
        );
    })
    .await;
}

#[tokio::test]
async fn second_opening_finds_what_the_first_left() {
    on_each_database(async |database: &TestDatabase| {
        let store = database.open().await;
        store.must(start(1)).await;
        drop(store);
        assert_eq!(database.open().await.rows_of("runs").await, 1);
    })
    .await;
}
