//! Failure at the door, and later for want of room: clear, quick, and told apart from a bad statement.

use std::{path::Path, time::Duration};

use tokio_util::task::TaskTracker;

use crate::{
    Error, Place, Refused, Store, StoreSettings,
    samples::*,
    testing::{TestDatabase, matcher, on_each},
};

const TIMEOUT: Duration = Duration::from_secs(20);

async fn open(place: Place) -> Result<Store, Error> {
    let settings = StoreSettings {
        timeout: TIMEOUT,
        ..StoreSettings::at(place)
    };
    // Far less than the time that a statement may take.
    tokio::time::timeout(
        Duration::from_secs(8),
        Store::open(&settings, matcher(), &TaskTracker::new()),
    )
    .await
    .expect("the answer is quick")
}

/// The failure, with all of its causes.
fn told(outcome: Result<Store, Error>) -> (Error, String) {
    let Err(error) = outcome else {
        panic!("opened")
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    (error, text)
}

fn in_directory(directory: &Path, below: &str) -> Place {
    Place::Directory(directory.join(below))
}

#[tokio::test]
async fn file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("main.db"),
        "this is a letter".repeat(500),
    )
    .unwrap();
    let (error, text) = told(open(in_directory(directory.path(), ".")).await);
    assert!(matches!(error, Error::Open { .. }), "{text}");
    assert!(
        text.contains("main.db") && text.contains("not a database"),
        "{text}"
    );
}

#[tokio::test]
async fn damaged_database_is_refused() {
    let database = TestDatabase::sqlite().await;
    let Place::Directory(directory) = &database.settings().place else {
        panic!("not a directory")
    };
    let store = database.open().await;
    store.must(start(1)).await;
    store.behind("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let mut content = std::fs::read(directory.join("main.db")).unwrap();
    // The header stays; the list of tables after it does not.
    content[100..].fill(0xa5);
    let copy = tempfile::tempdir().unwrap();
    std::fs::write(copy.path().join("main.db"), content).unwrap();
    let (error, text) = told(open(in_directory(copy.path(), ".")).await);
    assert!(matches!(error, Error::Open { .. }), "{text}");
}

#[tokio::test]
async fn directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let (error, text) = told(open(in_directory(directory.path(), "file/data")).await);
    assert!(matches!(error, Error::Directory { .. }), "{text}");
    assert!(
        text.contains("file/data") && error.is_unavailable(),
        "{text}"
    );
}

#[tokio::test]
async fn database_that_is_a_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("main.db")).unwrap();
    let (error, text) = told(open(in_directory(directory.path(), ".")).await);
    assert!(
        matches!(error, Error::Open { .. }) && error.is_unavailable(),
        "{text}"
    );
}

#[tokio::test]
async fn directory_may_have_any_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a b", "50%25 off?mode=ro#x", "ümläut", "'; --"] {
        let store = open(in_directory(directory.path(), name)).await.unwrap();
        store.must(start(1)).await;
        assert!(
            directory.path().join(name).join("main.db").is_file(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn postgres_that_refuses_or_is_none_is_told_at_once_and_without_the_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for url in [
        format!("postgres://me:hunter2@127.0.0.1:{port}/test"),
        "postgres://me:hunter2@127.0.0.1:notaport/test".to_owned(),
        "mysql://me:hunter2@127.0.0.1/test".to_owned(),
        "hunter2".to_owned(),
    ] {
        let (error, text) = told(open(Place::Postgres(url)).await);
        assert!(
            matches!(error, Error::Open { .. }) && error.is_unavailable(),
            "{text}"
        );
        assert!(
            text.contains("Postgres") && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn postgres_that_never_answers_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = StoreSettings {
        timeout: Duration::from_millis(300),
        ..StoreSettings::at(Place::Postgres(format!(
            "postgres://me@127.0.0.1:{port}/test"
        )))
    };
    let tracker = TaskTracker::new();
    let opening = Store::open(&settings, matcher(), &tracker);
    let outcome = tokio::time::timeout(Duration::from_secs(5), opening).await;
    let (error, text) = told(outcome.expect("it gives up"));
    assert!(
        matches!(error, Error::Open { .. }) && error.is_unavailable(),
        "{text}"
    );
}

#[tokio::test]
async fn postgres_without_that_database_says_so() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let Place::Postgres(url) = &database.settings().place else {
        panic!("not Postgres")
    };
    let (server, _) = url.rsplit_once('/').unwrap();
    let (error, text) = told(open(Place::Postgres(format!("{server}/no_such_database"))).await);
    assert!(matches!(error, Error::Open { .. }), "{text}");
    assert!(text.contains("no_such_database"), "{text}");
}

#[tokio::test]
async fn full_disk_refuses_commits_and_goes_on_when_there_is_room() {
    let database = TestDatabase::sqlite().await;
    let store = database.open().await;
    let pages = store
        .number("SELECT page_count AS n FROM pragma_page_count")
        .await;
    store
        .behind(&format!("PRAGMA max_page_count = {}", pages + 2))
        .await;
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let commit = |number| send(vec![new_event(number, "shop/large", &large)]);
    let (one, two) = tokio::join!(store.commit(commit(1)), store.commit(commit(2)));
    for outcome in [one, two] {
        let Err(Refused::Store(error)) = outcome else {
            panic!("written")
        };
        assert!(error.is_unavailable(), "{error:?}");
    }
    assert_eq!(store.rows_of("events").await, 0);
    store.behind("PRAGMA max_page_count = 1000000").await;
    store.must(commit(3)).await;
}

#[tokio::test]
async fn broken_statement_is_not_taken_for_an_outage() {
    on_each(async |store| {
        store.must(start(1)).await;
        store.behind("DROP TABLE work").await;
        let Err(Refused::Store(error)) = store.commit(start(2)).await else {
            panic!("written")
        };
        assert!(!error.is_unavailable(), "{error:?}");
        assert_eq!(store.rows_of("runs").await, 1);
    })
    .await;
}

#[tokio::test]
async fn scratch_database_is_gone_with_its_last_handle() {
    let settings = StoreSettings::at(Place::Scratch);
    let store = Store::open(&settings, matcher(), &TaskTracker::new())
        .await
        .unwrap();
    assert_eq!(store.kind(), "sqlite");
    store.ping().await.unwrap();
    let second = store.clone();
    let path = store._scratch.as_ref().unwrap().path().to_owned();
    drop(store);
    assert!(path.exists());
    second.must(start(1)).await;
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn time_of_the_database_is_that_of_this_machine() {
    on_each(async |store| {
        let (one, two) = (store.now().await.unwrap(), store.now().await.unwrap());
        assert!(one.as_millis() > 1_700_000_000_000 && two.since(one) < Duration::from_secs(60));
    })
    .await;
}
