//! Looking things up by id, and that foreign ids find nothing.

use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG},
    run::StepDetails,
    sync::SyncStatus,
};

use crate::{
    AppFilter, Commit, FunctionFilter, SyncFilter, WaitSource,
    apps_tests::record,
    lists_tests::{NEWEST, all_events, all_runs, fill, rows},
    samples::*,
    testing::on_each,
};

#[tokio::test]
async fn runs_are_found_by_the_events_that_started_them() {
    on_each(async |store| {
        let mut second = new_run(2);
        second.events = vec![event_id(1)];
        store.must(start(1)).await;
        store
            .must(Commit {
                runs: vec![second, new_run(3)],
                ..Commit::default()
            })
            .await;
        let found = store
            .runs_of_events(DEFAULT_ENV, &[event_id(1)], 10)
            .await
            .unwrap();
        let ids: Vec<_> = found.iter().map(|run| run.id).collect();
        assert_eq!(ids, [run_id(1), run_id(2)]);
        let found = store
            .runs_of_events(DEFAULT_ENV, &[event_id(1)], 1)
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert!(
            store
                .runs_of_events(DEFAULT_ENV, &[], 10)
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn foreign_ids_find_nothing() {
    on_each(async |store| {
        let nap = StepDetails::Sleep { until: at(9) };
        let (asleep, wake) = waiting_step(2, "nap", nap);
        let commit = Commit {
            steps: vec![ended_step(1, "a", 0, "1"), asleep],
            work: vec![wake],
            failed_attempts: vec![failed_attempt(1, None, 0)],
            waits: vec![event_wait(1, "x", None), signal_wait(1, "go", false)],
            ..start(1)
        };
        store.must(commit).await;
        crate::apps_tests::sync_one(&store).await;
        let (run, event, app, function) = (run_id(1), event_id(1), app_id(), function_id());
        let succeeded = SyncFilter {
            statuses: Some(vec![SyncStatus::Succeeded]),
            ..SyncFilter::default()
        };
        let sync = record(1, SyncStatus::Succeeded).id;
        let mut lost = record(2, SyncStatus::Failed);
        (lost.app, lost.about.url) = (None, None);
        let done = store.record_sync_without_app(DEFAULT_ORG, DEFAULT_ENV, &lost);
        done.await.unwrap();
        // Each reader, first as the owner and then as a stranger.
        for (env, expected) in [(DEFAULT_ENV, 1), (OTHER_ENV, 0)] {
            let syncs = store.list_syncs(env, &succeeded, &rows(9)).await.unwrap();
            let of_apps = store
                .list_syncs_of_apps(env, &[app], &rows(9))
                .await
                .unwrap();
            let without = store.last_sync_without_app(env, None).await.unwrap();
            let synced_at = store.last_synced_at(env).await.unwrap();
            let counts = [
                (
                    "find_run",
                    usize::from(store.find_run(env, run).await.unwrap().is_some()),
                ),
                (
                    "find_runs",
                    store.find_runs(env, &[run]).await.unwrap().len(),
                ),
                (
                    "load_run",
                    usize::from(store.load_run(env, run).await.unwrap().is_some()),
                ),
                (
                    "list_runs",
                    store
                        .list_runs(env, &all_runs(), NEWEST, &rows(9))
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "count_runs",
                    store.count_runs(env, &all_runs()).await.unwrap().value as usize,
                ),
                (
                    "runs_of_events",
                    store.runs_of_events(env, &[event], 9).await.unwrap().len(),
                ),
                (
                    "steps_of_runs",
                    store.steps_of_runs(env, &[run]).await.unwrap().len(),
                ),
                (
                    "failed_attempts_of_runs",
                    store
                        .failed_attempts_of_runs(env, &[run])
                        .await
                        .unwrap()
                        .len(),
                ),
                (
                    "waits_of_runs",
                    store.waits_of_runs(env, &[run_id(2)]).await.unwrap().len(),
                ),
                (
                    "list_waits, open",
                    store
                        .list_waits(env, &WaitSource::Open, &rows(9))
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "list_waits, all",
                    store
                        .list_waits(env, &WaitSource::All, &rows(9))
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "count_waits",
                    store
                        .count_waits(env, &WaitSource::Open)
                        .await
                        .unwrap()
                        .value as usize,
                ),
                (
                    "functions_of_runs",
                    store.functions_of_runs(env, &[run]).await.unwrap().len(),
                ),
                (
                    "find_signal_wait",
                    usize::from(store.find_signal_wait(env, "go").await.unwrap().is_some()),
                ),
                (
                    "work_of_run",
                    store.work_of_run(env, run).await.unwrap().len(),
                ),
                (
                    "work_heads_of_run",
                    store.work_heads_of_run(env, run, 9).await.unwrap().len(),
                ),
                (
                    "page_runs_of_event",
                    store
                        .page_runs_of_event(env, event, &rows(9), 9)
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "page_steps_of_run",
                    store
                        .page_steps_of_run(env, run, &rows(9), 9)
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "function_heads",
                    store.function_heads(env, &[function]).await.unwrap().len(),
                ),
                (
                    "find_event",
                    usize::from(store.find_event(env, event).await.unwrap().is_some()),
                ),
                (
                    "find_events",
                    store.find_events(env, &[event]).await.unwrap().len(),
                ),
                (
                    "list_events",
                    store
                        .list_events(env, &all_events(), NEWEST, &rows(9))
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "load_functions",
                    store.load_functions(env).await.unwrap().1.len(),
                ),
                (
                    "functions_of_app",
                    store.functions_of_app(env, app).await.unwrap().len(),
                ),
                (
                    "list_functions",
                    store
                        .list_functions(env, Some(app), true)
                        .await
                        .unwrap()
                        .len(),
                ),
                (
                    "find_functions",
                    store.find_functions(env, &[function]).await.unwrap().len(),
                ),
                (
                    "count_events",
                    store.count_events(env, &all_events()).await.unwrap().value as usize,
                ),
                (
                    "page_functions",
                    store
                        .page_functions(env, &FunctionFilter::default(), &rows(9))
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "count_functions",
                    store
                        .count_functions(env, &FunctionFilter::default())
                        .await
                        .unwrap()
                        .value as usize,
                ),
                (
                    "page_apps",
                    store
                        .page_apps(env, &AppFilter::default(), &rows(9))
                        .await
                        .unwrap()
                        .items
                        .len(),
                ),
                (
                    "count_apps",
                    store
                        .count_apps(env, &AppFilter::default())
                        .await
                        .unwrap()
                        .value as usize,
                ),
                ("list_apps", store.list_apps(env).await.unwrap().len()),
                (
                    "find_apps",
                    store.find_apps(env, &[app]).await.unwrap().len(),
                ),
                (
                    "find_app_by_url",
                    usize::from(
                        store
                            .find_app_by_url(env, crate::apps_tests::URL)
                            .await
                            .unwrap()
                            .is_some(),
                    ),
                ),
                (
                    "find_syncs",
                    store.find_syncs(env, &[sync]).await.unwrap().len(),
                ),
                ("list_syncs", syncs.items.len()),
                ("list_syncs_of_apps", of_apps.len()),
                ("last_sync_without_app", usize::from(without.is_some())),
                ("last_synced_at", usize::from(synced_at.is_some())),
            ];
            for (reader, count) in counts {
                assert_eq!(count, expected, "{reader}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn readers_take_more_ids_than_fit_into_one_list_of_a_page() {
    on_each(async |store| {
        fill(&store).await;
        let runs: Vec<_> = (1..=3_000).map(run_id).collect();
        let events: Vec<_> = (1..=3_000).map(event_id).collect();
        assert_eq!(store.find_runs(DEFAULT_ENV, &runs).await.unwrap().len(), 60);
        assert_eq!(
            store.find_events(DEFAULT_ENV, &events).await.unwrap().len(),
            60
        );
        assert!(store.find_runs(DEFAULT_ENV, &[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn text_that_no_row_can_hold_finds_nothing_or_is_refused_by_name() {
    on_each(
        async |store| match store.find_environment(DEFAULT_ORG, "dev\0").await {
            Ok(found) => assert_eq!((store.kind(), found), ("sqlite", None)),
            Err(error) => assert!(error.is_text_refused(), "{error:?}"),
        },
    )
    .await;
}
