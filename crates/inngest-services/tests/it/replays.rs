//! Runs that are started again together: each that matches once, whatever happens meanwhile.

use std::{collections::BTreeMap, time::Duration};

use inngest_core::{
    access::Actor,
    bulk::{BulkKind, BulkOperation, BulkProgress, BulkStatus},
    ids::{BulkId, FunctionId, RunId},
    page::{Direction, MAX_PAGE, PageRequest},
    run::{Run, RunStatus, TriggerKind},
};
use inngest_services::{
    BulkRequest, PauseRequest, RunFilter,
    testing::{App, Fixture, Flow, Options},
};
use serde_json::json;

use crate::{assert_completed, bulk::all_of, bulk::send, id_of, on, on_with};

/// An app with a function that fails once for good unless it repeats another run, and tells which number it was given.
async fn failing(options: Options) -> (Fixture, App) {
    let fixture = Fixture::with(options).await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"retries": {"attempts": 0}}));
    let mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    app.function("job", config, move |script| {
        let number = script.event()["data"]["n"].clone();
        // It is mended by an event that says so.
        if number == json!(-1) {
            mended.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        match mended.load(std::sync::atomic::Ordering::Relaxed) {
            true => Ok(number),
            false => Err(Flow::fatal("broken")),
        }
    })
    .function("fine", on("fine"), |_| Ok(json!("fine")))
    .sync(&fixture.services())
    .await;
    (fixture, app)
}

async fn mend(fixture: &Fixture) {
    fixture
        .send_events(vec![json!({"name": "go", "data": {"n": -1}})])
        .await;
    fixture.settle().await;
}

async fn replay(fixture: &Fixture, request: BulkRequest) -> BulkOperation {
    let services = fixture.services();
    let begun = services.bulk().replay(&Actor::dev(), request, None).await;
    begun.unwrap()
}

async fn now(fixture: &Fixture, id: BulkId) -> BulkOperation {
    let services = fixture.services();
    let bulk = services.bulk();
    bulk.get(&Actor::dev(), BulkKind::Replay, id).await.unwrap()
}

/// The runs that a replay has started, oldest first.
async fn started_by(fixture: &Fixture, id: BulkId) -> Vec<Run> {
    let filter = RunFilter {
        replay: Some(id),
        ..RunFilter::default()
    };
    let mut runs = Vec::new();
    let mut from = None;
    loop {
        let services = fixture.services();
        let request = PageRequest::new(MAX_PAGE, from);
        let runs_of = services.runs();
        let actor = Actor::dev();
        let page = runs_of.list(&actor, &filter, Direction::Ascending, &request);
        let page = page.await.unwrap();
        from = page.cursors.last().cloned();
        runs.extend(page.items);
        if !page.has_next {
            return runs;
        }
    }
}

/// Each run of a list once, by the run that it repeats.
fn by_original(runs: &[Run]) -> BTreeMap<RunId, usize> {
    let mut counts = BTreeMap::new();
    for run in runs {
        *counts.entry(run.original.unwrap()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn failed_runs_are_started_again_and_no_others() {
    let (fixture, _app) = failing(Options::default()).await;
    send(&fixture, "go", 3).await;
    send(&fixture, "fine", 1).await;
    fixture.settle().await;
    let failed: Vec<RunId> = fixture
        .runs()
        .await
        .iter()
        .filter(|run| run.status == RunStatus::Failed)
        .map(|run| run.id)
        .collect();
    assert_eq!(failed.len(), 3);
    let mut request = all_of(&fixture, "shop-job").await;
    request
        .functions
        .push(id_of(&fixture.services(), "shop-fine").await);
    request.name = Some("after the outage".to_owned());
    mend(&fixture).await;
    let begun = replay(&fixture, request).await;
    assert_eq!(begun.selection.statuses, [RunStatus::Failed]);
    fixture.settle().await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    let expected = BulkProgress {
        total: Some(3),
        succeeded: 3,
        ..BulkProgress::default()
    };
    assert_eq!(done.progress, expected);
    let again = started_by(&fixture, begun.id).await;
    let expected: BTreeMap<RunId, usize> = failed.iter().map(|run| (*run, 1)).collect();
    assert_eq!(by_original(&again), expected);
    for run in &again {
        assert_eq!(run.trigger_kind(), TriggerKind::Replay);
        let old = fixture.run(run.original.unwrap()).await;
        assert_eq!((&run.events, old.status), (&old.events, RunStatus::Failed));
        assert_eq!(run.status, RunStatus::Completed);
    }

    // A replay of what a replay has started leads to the first runs, and is found by its kind.
    let services = fixture.services();
    let filter = RunFilter {
        triggers: Some(vec![TriggerKind::Replay]),
        ..RunFilter::default()
    };
    let found = services.runs().count(&Actor::dev(), &filter).await;
    assert_eq!(found.unwrap().value, 3);
    let filter = RunFilter {
        triggers: Some(vec![TriggerKind::Rerun]),
        ..filter
    };
    let found = services.runs().count(&Actor::dev(), &filter).await;
    assert_eq!(found.unwrap().value, 0);
    let second = BulkRequest {
        statuses: Some(vec![RunStatus::Completed]),
        from: begun.created_at,
        ..all_of(&fixture, "shop-job").await
    };
    let second = replay(&fixture, second).await;
    fixture.settle().await;
    let thrice = by_original(&started_by(&fixture, second.id).await);
    // Besides, that which said that it is mended.
    assert_eq!(thrice.len(), 4);
    assert!(failed.iter().all(|run| thrice[run] == 1));
}

#[tokio::test]
async fn skipped_runs_can_be_started_after_the_pause() {
    let (fixture, _app) = failing(Options::default()).await;
    mend(&fixture).await;
    let services = fixture.services();
    let job = id_of(&services, "shop-job").await;
    let functions = services.functions();
    let actor = Actor::dev();
    let paused = functions.pause(&actor, job, PauseRequest::default());
    paused.await.unwrap();
    send(&fixture, "go", 2).await;
    let request = BulkRequest {
        statuses: Some(vec![RunStatus::Skipped]),
        ..all_of(&fixture, "shop-job").await
    };
    let begun = replay(&fixture, request).await;
    fixture.settle().await;
    let again = started_by(&fixture, begun.id).await;
    // Somebody has asked for them, so they wait.
    let statuses: Vec<RunStatus> = again.iter().map(|run| run.status).collect();
    assert_eq!(statuses, [RunStatus::Queued; 2]);
    services
        .functions()
        .resume(&Actor::dev(), job)
        .await
        .unwrap();
    fixture.settle().await;
    for (number, run) in started_by(&fixture, begun.id).await.iter().enumerate() {
        assert_completed(run, json!(number));
    }
}

#[tokio::test]
async fn whoever_goes_on_with_a_replay_after_a_kill_starts_each_run_once() {
    for forgetful in [false, true] {
        let (fixture, _app) = failing(Options {
            forgetful,
            ..Options::default()
        })
        .await;
        send(&fixture, "go", 330).await;
        fixture.settle().await;
        let request = all_of(&fixture, "shop-job").await;
        mend(&fixture).await;
        let begun = replay(&fixture, request).await;
        for portions in 1..=2_u64 {
            let lease = fixture.lease(1).await.remove(0);
            let handling = fixture.handle(lease);
            let begun_with = async {
                loop {
                    let progress = now(&fixture, begun.id).await.progress;
                    if progress.succeeded >= portions * 50 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = handling => panic!("it was not cut off"),
                () = begun_with => {}
            }
            fixture.forget().await;
            assert_eq!(now(&fixture, begun.id).await.status, BulkStatus::Running);
        }
        fixture.settle().await;
        let done = now(&fixture, begun.id).await;
        assert_eq!(done.status, BulkStatus::Completed);
        assert_eq!(done.progress.succeeded, 330);
        let again = by_original(&started_by(&fixture, begun.id).await);
        assert_eq!(again.len(), 330);
        assert!(again.values().all(|count| *count == 1));
    }
}

#[tokio::test]
async fn replay_keeps_to_its_pace_and_can_be_stopped() {
    let (fixture, _app) = failing(Options::default()).await;
    send(&fixture, "go", 10).await;
    fixture.settle().await;
    let request = BulkRequest {
        rate: Some(2),
        ..all_of(&fixture, "shop-job").await
    };
    mend(&fixture).await;
    let begun = replay(&fixture, request).await;
    for seconds in 1..=3 {
        fixture.settle().await;
        let so_far = started_by(&fixture, begun.id).await.len();
        assert_eq!(so_far, seconds * 2);
        fixture.advance(Duration::from_secs(1)).await;
    }
    let services = fixture.services();
    let bulk = services.bulk();
    let stopped = bulk.stop(&Actor::dev(), BulkKind::Replay, begun.id).await;
    assert_eq!(stopped.unwrap().status, BulkStatus::Stopped);
    fixture.settle().await;
    fixture.advance(Duration::from_secs(9)).await;
    fixture.settle().await;
    let again = started_by(&fixture, begun.id).await;
    assert_eq!(again.len(), 6);
    assert!(again.iter().all(|run| run.status == RunStatus::Completed));
    let done = now(&fixture, begun.id).await;
    assert_eq!(
        (done.progress.total, done.progress.succeeded),
        (Some(10), 6)
    );
}

#[tokio::test]
async fn runs_are_chosen_by_a_search_for_a_replay() {
    let (fixture, _app) = failing(Options::default()).await;
    send(&fixture, "go", 6).await;
    fixture.settle().await;
    let request = BulkRequest {
        search: Some("event.data.n >= 4 && error.message == 'broken'".to_owned()),
        ..all_of(&fixture, "shop-job").await
    };
    mend(&fixture).await;
    let begun = replay(&fixture, request).await;
    fixture.settle().await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    assert_eq!((done.progress.total, done.progress.succeeded), (Some(2), 2));
    let outputs: Vec<_> = started_by(&fixture, begun.id)
        .await
        .iter()
        .map(|run| run.ended.as_ref().unwrap().output.to_value())
        .collect();
    assert_eq!(outputs, [json!(4), json!(5)]);
}

#[tokio::test]
async fn run_whose_function_is_gone_counts_as_failed() {
    let (fixture, app) = failing(Options::default()).await;
    send(&fixture, "go", 2).await;
    fixture.settle().await;
    let request = all_of(&fixture, "shop-job").await;
    let begun = replay(&fixture, request).await;
    app.forget("job").sync(&fixture.services()).await;
    fixture.settle().await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    let expected = BulkProgress {
        total: Some(2),
        failed: 2,
        ..BulkProgress::default()
    };
    assert_eq!(done.progress, expected);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let (fixture, _app) = failing(Options::default()).await;
    let good = all_of(&fixture, "shop-job").await;
    let services = fixture.services();
    type Spoil = fn(&mut BulkRequest);
    let cases: [(&str, Spoil); 4] = [
        ("status_not_possible", |it| {
            it.statuses = Some(vec![RunStatus::Running]);
        }),
        ("replay_rate_invalid", |it| it.rate = Some(0)),
        ("replay_rate_invalid", |it| it.rate = Some(10_001)),
        ("function_not_found", |it| {
            it.functions = vec![FunctionId::from_raw(uuid::Uuid::from_u128(7))];
        }),
    ];
    for (code, change) in cases {
        let mut request = good.clone();
        change(&mut request);
        let refused = services.bulk().replay(&Actor::dev(), request, None).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn two_processes_that_have_the_same_replay_start_each_run_once() {
    let (fixture, _app) = failing(Options::default()).await;
    let mut processes = Vec::new();
    for _ in 0..2 {
        let Some(services) = fixture.another_process().await else {
            return;
        };
        processes.push(services);
    }
    send(&fixture, "go", 120).await;
    fixture.settle().await;
    let request = all_of(&fixture, "shop-job").await;
    mend(&fixture).await;
    let bulk = processes[0].bulk();
    let begun = bulk.replay(&Actor::dev(), request, None).await.unwrap();
    fixture.settle_together(&processes).await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    let again = by_original(&started_by(&fixture, begun.id).await);
    assert_eq!(again.len(), 120);
    assert!(again.values().all(|count| *count == 1));
}
