//! Attempts to register apps: what is kept of them, and that apps say how the last one went.

use inngest_core::{
    app::App,
    ids::{DEFAULT_ENV, DEFAULT_ORG, SyncId},
    sync::{KEPT, Sync, SyncStatus},
};
use uuid::Uuid;

use crate::{
    Store, SyncFilter,
    apps_tests::{record, sync_one},
    lists_tests::rows,
    samples::*,
    testing::on_each,
};

async fn app(store: &Store) -> App {
    let found = store.find_apps(DEFAULT_ENV, &[app_id()]).await.unwrap();
    found.into_iter().next().unwrap()
}

/// One that failed before an app was known.
fn lost(number: u128, url: Option<&str>) -> Sync {
    let mut lost = record(number, SyncStatus::Failed);
    lost.app = None;
    lost.about.url = url.map(str::to_owned);
    lost
}

async fn numbers(store: &Store, filter: &SyncFilter) -> Vec<u128> {
    let page = store.list_syncs(DEFAULT_ENV, filter, &rows(200)).await;
    let ids = page.unwrap().items.into_iter().map(|it| it.id.raw());
    ids.map(|id| id.as_u128()).collect()
}

#[tokio::test]
async fn app_says_how_its_last_sync_went() {
    on_each(async |store| {
        sync_one(&store).await;
        let before = app(&store).await;
        let failed = record(2, SyncStatus::Failed);
        let record_on = async |app: &App, it: &Sync| {
            let done = store.record_sync(DEFAULT_ORG, DEFAULT_ENV, app, it).await;
            done.unwrap()
        };
        assert!(record_on(&before, &failed).await);
        let after = app(&store).await;
        assert_eq!(
            after,
            App {
                failure: failed.failure.clone(),
                last_sync: failed.id,
                ..before.clone()
            }
        );

        let late = record(3, SyncStatus::Unchanged);
        assert!(!record_on(&before, &late).await, "another was there before");
        assert_eq!(numbers(&store, &SyncFilter::default()).await, [2, 1]);

        assert!(record_on(&after, &late).await);
        let back = app(&store).await;
        assert_eq!((back.failure, back.last_sync), (None, late.id));
        assert_eq!(back.seen_at, late.created_at);
        let seen = store.last_synced_at(DEFAULT_ENV).await.unwrap();
        assert_eq!(seen, Some(late.created_at));
        store.note_seen(DEFAULT_ENV, app_id(), at(9)).await.unwrap();
        assert_eq!(app(&store).await.seen_at, at(9));
        store.note_seen(OTHER_ENV, app_id(), at(10)).await.unwrap();
        assert_eq!(app(&store).await.seen_at, at(9));
    })
    .await;
}

#[tokio::test]
async fn repeated_failure_stays_one_row() {
    on_each(async |store| {
        sync_one(&store).await;
        let failed = record(2, SyncStatus::Failed);
        let before = app(&store).await;
        store
            .record_sync(DEFAULT_ORG, DEFAULT_ENV, &before, &failed)
            .await
            .unwrap();
        let (env, id) = (DEFAULT_ENV, failed.id);
        store.repeat_sync(env, id, "still", at(7)).await.unwrap();
        store.repeat_sync(OTHER_ENV, id, "no", at(8)).await.unwrap();
        let found = store.find_syncs(env, &[id]).await.unwrap().remove(0);
        let failure = found.failure.unwrap();
        assert_eq!((found.created_at, found.last_at), (at(2), at(7)));
        assert_eq!(
            (failure.code.as_str(), failure.message.as_str()),
            ("unreachable", "still")
        );
        assert_eq!(app(&store).await.failure, Some(failure));

        // What is in sync again is not said to fail by a repetition that comes late.
        let (back, now) = (record(8, SyncStatus::Unchanged), app(&store).await);
        store
            .record_sync(DEFAULT_ORG, DEFAULT_ENV, &now, &back)
            .await
            .unwrap();
        store.repeat_sync(env, id, "late", at(9)).await.unwrap();
        assert_eq!(app(&store).await.failure, None);
    })
    .await;
}

#[tokio::test]
async fn failures_without_an_app_are_told_apart_by_url() {
    on_each(async |store| {
        for it in [
            lost(1, Some("http://a")),
            lost(2, None),
            lost(3, Some("http://a")),
        ] {
            let done = store.record_sync_without_app(DEFAULT_ORG, DEFAULT_ENV, &it);
            done.await.unwrap();
        }
        for (url, expected) in [
            (Some("http://a"), Some(lost(3, Some("http://a")))),
            (None, Some(lost(2, None))),
            (Some("http://b"), None),
        ] {
            let last = store.last_sync_without_app(DEFAULT_ENV, url).await.unwrap();
            assert_eq!(last, expected, "{url:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn lists_filter_and_turn_pages() {
    on_each(async |store| {
        sync_one(&store).await;
        for (number, status) in [
            (2, SyncStatus::Failed),
            (3, SyncStatus::Unchanged),
            (4, SyncStatus::Failed),
        ] {
            let (before, it) = (app(&store).await, record(number, status));
            let done = store.record_sync(DEFAULT_ORG, DEFAULT_ENV, &before, &it);
            assert!(done.await.unwrap());
        }
        let it = lost(5, None);
        let done = store.record_sync_without_app(DEFAULT_ORG, DEFAULT_ENV, &it);
        done.await.unwrap();
        let all = SyncFilter::default();
        let of = |statuses: &[SyncStatus]| SyncFilter {
            statuses: Some(statuses.to_vec()),
            ..all.clone()
        };
        let without_app = SyncFilter {
            without_app: true,
            ..all.clone()
        };
        let of_time = SyncFilter {
            from: Some(at(2)),
            until: Some(at(4)),
            ..all.clone()
        };
        let cases: [(SyncFilter, &[u128]); 6] = [
            (all.clone(), &[5, 4, 3, 2, 1]),
            (of(&[SyncStatus::Failed]), &[5, 4, 2]),
            (of(&[SyncStatus::Unchanged, SyncStatus::Succeeded]), &[3, 1]),
            (of(&[]), &[]),
            (without_app, &[5]),
            (of_time, &[3, 2]),
        ];
        for (filter, expected) in cases {
            assert_eq!(numbers(&store, &filter).await, expected, "{filter:?}");
            let count = store.count_syncs(DEFAULT_ENV, &filter).await.unwrap();
            assert_eq!(count.value, expected.len() as u64, "{filter:?}");
        }
        let first = store.list_syncs(DEFAULT_ENV, &all, &rows(2)).await.unwrap();
        let mut next = rows(2);
        next.from = first.cursors.last().cloned();
        let second = store.list_syncs(DEFAULT_ENV, &all, &next).await.unwrap();
        assert!(first.has_next && second.has_next);
        assert_eq!(second.items[0], record(3, SyncStatus::Unchanged));
        let apps = [app_id()];
        let of_app = store.list_syncs_of_apps(DEFAULT_ENV, &apps, &rows(9)).await;
        assert_eq!(of_app.unwrap()[&app_id()].items.len(), 4);
        let counts = store.count_syncs_of_apps(DEFAULT_ENV, &apps).await.unwrap();
        assert_eq!(counts[&app_id()].value, 4);
    })
    .await;
}

#[tokio::test]
async fn oldest_go_when_there_are_too_many_and_those_of_others_stay() {
    on_each(async |store| {
        sync_one(&store).await;
        let kept = u128::from(KEPT);
        for number in 2..kept + 3 {
            let it = lost(number, None);
            let done = store.record_sync_without_app(DEFAULT_ORG, DEFAULT_ENV, &it);
            done.await.unwrap();
        }
        let all = SyncFilter::default();
        let count = store.count_syncs(DEFAULT_ENV, &all).await.unwrap();
        assert_eq!(count.value, u64::from(KEPT) + 1);
        let oldest: Vec<SyncId> = [1, 2, 3]
            .map(|n| SyncId::from_raw(Uuid::from_u128(n)))
            .into();
        let found = store.find_syncs(DEFAULT_ENV, &oldest).await.unwrap();
        let mut found: Vec<u128> = found.iter().map(|it| it.id.raw().as_u128()).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [1, 3],
            "that of the app, and all but the oldest of the others"
        );

        let mut last = app(&store).await;
        for number in 1_000..1_000 + kept {
            let it = record(number, SyncStatus::Failed);
            let done = store.record_sync(DEFAULT_ORG, DEFAULT_ENV, &last, &it);
            assert!(done.await.unwrap());
            last.last_sync = it.id;
        }
        let counts = store.count_syncs_of_apps(DEFAULT_ENV, &[app_id()]).await;
        assert_eq!(counts.unwrap()[&app_id()].value, u64::from(KEPT));
    })
    .await;
}
