//! Syncs: all or nothing, one at a time, and functions that come and go.

use inngest_core::{
    app::App,
    ids::{DEFAULT_ENV, DEFAULT_ORG, FunctionId, SyncId, WorkId},
    job::{JobKind, Work},
    sync::{About, Sync, SyncFailure, SyncKind, SyncStatus},
};
use uuid::Uuid;

use crate::{AppSync, Commit, FunctionChange, Store, samples::*, testing::on_each};

pub(crate) const URL: &str = "http://127.0.0.1:3000/api/inngest";

pub(crate) fn function(slug: &str, version: u32, config: &str) -> FunctionChange {
    FunctionChange {
        id: FunctionId::derive(app_id(), slug),
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        version,
        config: json(config),
    }
}

pub(crate) fn sync(number: u128, expected_version: i64, functions: Vec<FunctionChange>) -> AppSync {
    let now = at(i64::try_from(number).unwrap());
    AppSync {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        expected_version,
        record: Some(record(number, SyncStatus::Succeeded)),
        app: App {
            id: app_id(),
            name: "shop".to_owned(),
            url: URL.to_owned(),
            version: None,
            sdk_language: "js".to_owned(),
            sdk_version: "4.0.0".to_owned(),
            framework: Some("express".to_owned()),
            platform: Some("vercel".to_owned()),
            checksum: format!("sum{number}"),
            failure: None,
            last_sync: SyncId::from_raw(Uuid::from_u128(number)),
            created_at: now,
            synced_at: now,
            seen_at: now,
            archived_at: None,
        },
        function_count: functions.len(),
        functions,
        archives: Vec::new(),
        work: Vec::new(),
        now,
    }
}

/// An attempt of the app with this number as its id and its time.
pub(crate) fn record(number: u128, status: SyncStatus) -> Sync {
    let now = at(i64::try_from(number).unwrap());
    let failure = || SyncFailure::new("unreachable", "no answer");
    Sync {
        id: SyncId::from_raw(Uuid::from_u128(number)),
        app: Some(app_id()),
        status,
        kind: SyncKind::InBand,
        about: About {
            app_name: None,
            url: Some(URL.to_owned()),
            app_version: Some("v1".to_owned()),
            sdk_language: Some("js".to_owned()),
            sdk_version: Some("4.0.0".to_owned()),
            framework: Some("express".to_owned()),
            platform: Some("vercel".to_owned()),
        },
        failure: (status == SyncStatus::Failed).then(failure),
        added: vec![function_id()],
        changed: Vec::new(),
        removed: vec![function_id(), function_id()],
        created_at: now,
        last_at: now,
    }
}

/// One app with the function of the other samples.
pub(crate) async fn sync_one(store: &Store) {
    assert!(
        store
            .save_sync(&sync(1, 0, vec![function("shop-hello", 1, "{}")]))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn sync_is_written_whole_and_read_back() {
    on_each(async |store| {
        let tick = Work {
            id: WorkId::derive_for_function(function_id(), "cron"),
            kind: JobKind::Cron,
            run: None,
            ..work(1, "x")
        };
        let mut change = sync(
            1,
            0,
            vec![
                function("shop-hello", 1, r#"{"a":1}"#),
                function("shop-b", 1, "{}"),
            ],
        );
        change.work = vec![tick.clone()];
        change.app.version = Some("v1".to_owned());
        change.app.failure = Some(SyncFailure::new("not_sdk", "odd"));
        assert!(store.save_sync(&change).await.unwrap());
        let (version, functions) = store.load_functions(DEFAULT_ENV).await.unwrap();
        let slugs: Vec<_> = functions
            .iter()
            .map(|function| function.slug.as_str())
            .collect();
        assert_eq!((version, slugs), (1, vec!["shop-b", "shop-hello"]));
        assert_eq!(
            (functions[1].config.clone(), functions[1].app),
            (json(r#"{"a":1}"#), app_id())
        );
        assert_eq!(
            store.find_app_by_url(DEFAULT_ENV, URL).await.unwrap(),
            Some(change.app.clone())
        );
        let record = change.record.clone().unwrap();
        assert_eq!(
            store.find_syncs(DEFAULT_ENV, &[record.id]).await.unwrap(),
            [record]
        );
        assert_eq!(store.rows_of("function_versions").await, 2);
        assert_eq!(
            store.list_due_work(None, at(99), 9).await.unwrap(),
            vec![tick]
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_syncs_of_the_same_version_one_is_told_to_compute_again() {
    on_each(async |store| {
        let (one, two) = (
            sync(1, 0, vec![function("one", 1, "{}")]),
            sync(2, 0, vec![function("two", 1, "{}")]),
        );
        let (first, second) = tokio::join!(store.save_sync(&one), store.save_sync(&two));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first ^ second, "{first} {second}");
        let (version, functions) = store.load_functions(DEFAULT_ENV).await.unwrap();
        assert_eq!((version, functions.len()), (1, 1));
        assert_eq!(
            (
                store.rows_of("syncs").await,
                store.rows_of("function_versions").await
            ),
            (1, 1)
        );
        let foreign = AppSync {
            env: OTHER_ENV,
            ..sync(3, 0, Vec::new())
        };
        assert!(!store.save_sync(&foreign).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn sync_between_routing_and_commit_makes_the_commit_route_again() {
    on_each(async |store| {
        let commit = |version| Commit {
            functions_version: Some((DEFAULT_ENV, version)),
            ..start(1)
        };
        sync_one(&store).await;
        assert_eq!(verdict(&store.commit(commit(0)).await), "FunctionsChanged");
        assert_eq!(verdict(&store.commit(commit(1)).await), "ok");
        assert_eq!(store.functions_version(OTHER_ENV).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn function_is_archived_and_comes_back_with_a_new_version() {
    on_each(async |store| {
        sync_one(&store).await;
        let mut change = sync(2, 1, Vec::new());
        change.archives = vec![function_id()];
        assert!(store.save_sync(&change).await.unwrap());
        assert!(
            store
                .load_functions(DEFAULT_ENV)
                .await
                .unwrap()
                .1
                .is_empty()
        );
        assert!(
            store
                .list_functions(DEFAULT_ENV, None, false)
                .await
                .unwrap()
                .is_empty()
        );
        let gone = store.functions_of_app(DEFAULT_ENV, app_id()).await.unwrap();
        assert_eq!(gone[0].archived_at, Some(at(2)));
        // Archiving again does not move the time.
        let mut change = sync(3, 2, Vec::new());
        change.archives = vec![function_id()];
        assert!(store.save_sync(&change).await.unwrap());
        let gone = store
            .find_functions(DEFAULT_ENV, &[function_id()])
            .await
            .unwrap();
        assert_eq!(gone[0].archived_at, Some(at(2)));

        let back = sync(4, 3, vec![function("shop-hello", 2, r#"{"new":true}"#)]);
        assert!(store.save_sync(&back).await.unwrap());
        let (_, functions) = store.load_functions(DEFAULT_ENV).await.unwrap();
        let back = &functions[0];
        assert_eq!(
            (
                back.version,
                back.archived_at,
                back.created_at,
                back.updated_at
            ),
            (2, None, at(1), at(4))
        );
        assert_eq!(back.config, json(r#"{"new":true}"#));
        assert_eq!(store.rows_of("function_versions").await, 2);
        assert_eq!(store.rows_of("syncs").await, 4);
    })
    .await;
}

#[tokio::test]
async fn app_is_archived_and_comes_back() {
    on_each(async |store| {
        sync_one(&store).await;
        let mut change = sync(2, 1, Vec::new());
        change.app.archived_at = Some(at(2));
        assert!(store.save_sync(&change).await.unwrap());
        assert!(store.list_apps(DEFAULT_ENV).await.unwrap().is_empty());
        assert!(
            store
                .find_app_by_url(DEFAULT_ENV, URL)
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            store
                .find_apps(DEFAULT_ENV, &[app_id()])
                .await
                .unwrap()
                .len(),
            1
        );
        assert!(store.save_sync(&sync(3, 2, Vec::new())).await.unwrap());
        let apps = store.list_apps(DEFAULT_ENV).await.unwrap();
        assert_eq!(
            (apps[0].created_at, apps[0].checksum.as_str()),
            (at(1), "sum3")
        );
    })
    .await;
}

#[tokio::test]
async fn environments_are_made_once() {
    on_each(async |store| {
        for _ in 0..2 {
            store
                .ensure_environment(OTHER_ORG, OTHER_ENV, "other", NOW)
                .await
                .unwrap();
        }
        let environments = store.list_environments().await.unwrap();
        assert_eq!(
            environments,
            [(OTHER_ORG, OTHER_ENV), (DEFAULT_ORG, DEFAULT_ENV)]
        );
    })
    .await;
}

#[tokio::test]
async fn sync_of_many_functions_is_written_whole() {
    on_each(async |store| {
        let functions = (0..500)
            .map(|number| function(&format!("f{number:03}"), 1, "{}"))
            .collect();
        assert!(store.save_sync(&sync(1, 0, functions)).await.unwrap());
        assert_eq!(
            store.load_functions(DEFAULT_ENV).await.unwrap().1.len(),
            500
        );
    })
    .await;
}
