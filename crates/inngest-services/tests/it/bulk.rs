//! Operations on many runs: exactly those that match, each once, whatever happens meanwhile.

use std::time::Duration;

use futures_util::StreamExt;
use inngest_core::{
    access::Actor,
    bulk::{BulkKind, BulkOperation, BulkProgress, BulkStatus},
    ids::{BulkId, FunctionId},
    json::Json,
    page::PageRequest,
    pause::PauseInFlight,
    run::RunStatus,
    time::Timestamp,
};
use inngest_services::{
    BulkFilter, BulkRequest, Kind, PauseRequest, RequestKey,
    testing::{App, Fixture, Options},
};
use serde_json::json;

use crate::{HOUR, id_of, on};

const MOMENT: Duration = Duration::from_millis(10);

/// An app with a function that sleeps for an hour, one that says hi, and one like the first.
pub(crate) async fn three_functions(options: Options) -> (Fixture, App) {
    let fixture = Fixture::with(options).await;
    let app = fixture.app("shop").await;
    let nap = |script: &mut inngest_services::testing::Script<'_>| {
        script.sleep("sleep", "1h")?;
        Ok(json!("awake"))
    };
    app.function("nap", on("nap"), nap)
        .function("hi", on("go"), |_| Ok(json!("hi")))
        .function("other", on("other"), nap)
        .sync(&fixture.services())
        .await;
    (fixture, app)
}

/// All runs of a function that were queued until now.
pub(crate) async fn all_of(fixture: &Fixture, slug: &str) -> BulkRequest {
    fixture.advance(MOMENT).await;
    BulkRequest {
        functions: vec![id_of(&fixture.services(), slug).await],
        ..BulkRequest::default()
    }
}

pub(crate) async fn send(fixture: &Fixture, name: &str, count: usize) {
    let event = |number| json!({"name": name, "data": {"n": number}});
    fixture.send_events((0..count).map(event).collect()).await;
}

async fn cancel(fixture: &Fixture, request: BulkRequest) -> BulkOperation {
    let services = fixture.services();
    let begun = services.bulk().cancel(&Actor::dev(), request, None).await;
    begun.unwrap()
}

async fn now(fixture: &Fixture, id: BulkId) -> BulkOperation {
    let services = fixture.services();
    let bulk = services.bulk();
    let found = bulk.get(&Actor::dev(), BulkKind::Cancellation, id).await;
    found.unwrap()
}

async fn count(fixture: &Fixture, status: RunStatus) -> i64 {
    let code = status.code();
    let sql = format!("SELECT count(*) AS n FROM runs WHERE status = {code}");
    fixture.store().count(&sql).await.unwrap()
}

#[tokio::test]
async fn exactly_the_runs_that_match_are_cancelled() {
    for forgetful in [false, true] {
        let (fixture, app) = three_functions(Options {
            forgetful,
            ..Options::default()
        })
        .await;
        send(&fixture, "nap", 3).await;
        send(&fixture, "other", 2).await;
        send(&fixture, "go", 1).await;
        fixture.settle().await;
        let mut request = all_of(&fixture, "shop-nap").await;
        request
            .functions
            .push(id_of(&fixture.services(), "shop-hi").await);
        request.name = Some("spring cleaning".to_owned());
        send(&fixture, "nap", 1).await;
        let calls = app.calls().len();
        let begun = cancel(&fixture, request).await;
        assert_eq!(begun.status, BulkStatus::Pending);
        fixture.settle().await;

        let done = now(&fixture, begun.id).await;
        assert_eq!(done.status, BulkStatus::Completed);
        assert_eq!(done.name.as_deref(), Some("spring cleaning"));
        let expected = BulkProgress {
            total: Some(3),
            succeeded: 3,
            ..BulkProgress::default()
        };
        assert_eq!(done.progress, expected);
        let runs = fixture.runs().await;
        let reason = format!("it was cancelled by bulk cancellation {}", begun.id);
        let of_it = runs.iter().filter(|run| {
            let output = run.ended.as_ref().map(|ended| ended.output.to_value());
            output.is_some_and(|output| output["reason"] == reason)
        });
        assert_eq!(of_it.count(), 3);
        // What came later, what belongs to another function, and what had ended is as it was.
        assert_eq!(count(&fixture, RunStatus::Cancelled).await, 3);
        assert_eq!(count(&fixture, RunStatus::Running).await, 3);
        assert_eq!(count(&fixture, RunStatus::Completed).await, 1);
        assert_eq!(app.calls().len(), calls + 1, "the later run was called");
    }
}

#[tokio::test]
async fn runs_are_chosen_by_a_search_and_by_state() {
    let (fixture, _app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 6).await;
    fixture.settle().await;
    let request = BulkRequest {
        search: Some("event.data.n >= 4".to_owned()),
        ..all_of(&fixture, "shop-nap").await
    };
    let queued = BulkRequest {
        statuses: Some(vec![RunStatus::Queued]),
        ..request.clone()
    };
    let services = fixture.services();
    let preview = services.bulk().preview(&Actor::dev(), &request).await;
    let preview = preview.unwrap();
    assert_eq!((preview.total.value, preview.total.is_exact), (2, true));
    assert_eq!(preview.statuses, [RunStatus::Running; 2]);
    assert_eq!(preview.sample.len(), 2);
    for (request, cancelled) in [(queued, 0), (request, 2)] {
        let begun = cancel(&fixture, request).await;
        fixture.settle().await;
        assert_eq!(now(&fixture, begun.id).await.status, BulkStatus::Completed);
        assert_eq!(count(&fixture, RunStatus::Cancelled).await, cancelled);
    }
}

#[tokio::test]
async fn many_runs_are_cancelled_in_portions() {
    let (fixture, app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 450).await;
    let request = all_of(&fixture, "shop-nap").await;
    let services = fixture.services();
    let preview = services.bulk().preview(&Actor::dev(), &request).await;
    let preview = preview.unwrap();
    assert_eq!((preview.total.value, preview.sample.len()), (450, 10));
    let begun = cancel(&fixture, request).await;
    fixture.settle().await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    assert_eq!(done.progress.total, Some(450));
    assert_eq!(done.progress.processed(), 450);
    assert_eq!(count(&fixture, RunStatus::Cancelled).await, 450);
    // Work that does not call apps goes first.
    assert_eq!(app.calls().len(), 0);
}

#[tokio::test]
async fn whoever_goes_on_after_a_kill_loses_none_and_counts_none_twice() {
    let (fixture, app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 450).await;
    let begun = cancel(&fixture, all_of(&fixture, "shop-nap").await).await;
    for portion in 1..=2 {
        let lease = fixture.lease(1).await.remove(0);
        let handling = fixture.handle(lease);
        let half_done = async {
            while count(&fixture, RunStatus::Cancelled).await < portion * 100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = handling => panic!("it was not cut off"),
            () = half_done => {}
        }
        fixture.forget().await;
        let now = now(&fixture, begun.id).await;
        assert_eq!(now.status, BulkStatus::Running);
    }
    fixture.settle().await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    let expected = BulkProgress {
        total: Some(450),
        succeeded: 450,
        ..BulkProgress::default()
    };
    assert_eq!(done.progress, expected);
    assert_eq!(count(&fixture, RunStatus::Cancelled).await, 450);
    assert_eq!(app.calls().len(), 0);
}

#[tokio::test]
async fn run_that_ends_by_itself_needs_nothing() {
    let (fixture, _app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 2).await;
    fixture.settle().await;
    let request = all_of(&fixture, "shop-nap").await;
    let begun = cancel(&fixture, request).await;
    // It is counted, and then one of the runs is cancelled by hand before its turn.
    let store = fixture.store();
    let step = inngest_state::BulkStep {
        total: Some(2),
        ..inngest_state::BulkStep::new(Actor::dev().env, begun.id)
    };
    let commit = inngest_state::Commit {
        bulk: Some(inngest_state::BulkChange::Step(step)),
        ..Default::default()
    };
    store.commit(commit).await.unwrap();
    let run = fixture.runs().await[0].id;
    let services = fixture.services();
    services.runs().cancel(&Actor::dev(), run).await.unwrap();
    fixture.settle().await;
    let expected = BulkProgress {
        total: Some(2),
        succeeded: 1,
        skipped: 1,
        failed: 0,
    };
    assert_eq!(now(&fixture, begun.id).await.progress, expected);
}

#[tokio::test]
async fn cancellation_is_in_force_until_its_window_closes_or_somebody_ends_it() {
    let (fixture, _app) = three_functions(Options::default()).await;
    let window = async || BulkRequest {
        until: Some(fixture.now().plus(HOUR)),
        ..all_of(&fixture, "shop-nap").await
    };
    let begun = cancel(&fixture, window().await).await;
    fixture.settle().await;
    for round in 1..=2 {
        fixture.advance(Duration::from_secs(60)).await;
        send(&fixture, "nap", 1).await;
        fixture.settle().await;
        fixture.advance(Duration::from_secs(1)).await;
        fixture.settle().await;
        assert_eq!(count(&fixture, RunStatus::Cancelled).await, round);
    }
    let now_in_force = now(&fixture, begun.id).await;
    assert_eq!(now_in_force.status, BulkStatus::Running);
    assert_eq!(now_in_force.progress.succeeded, 2);
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(now(&fixture, begun.id).await.status, BulkStatus::Completed);

    let begun = cancel(&fixture, window().await).await;
    fixture.settle().await;
    let services = fixture.services();
    for _ in 0..2 {
        let kind = BulkKind::Cancellation;
        let stopped = services.bulk().stop(&Actor::dev(), kind, begun.id).await;
        assert_eq!(stopped.unwrap().status, BulkStatus::Stopped);
    }
    send(&fixture, "nap", 1).await;
    fixture.advance(Duration::from_secs(2)).await;
    fixture.settle().await;
    assert_eq!(count(&fixture, RunStatus::Cancelled).await, 2);
    assert_eq!(count(&fixture, RunStatus::Running).await, 1);
}

#[tokio::test]
async fn operation_that_is_stopped_before_its_turn_touches_nothing() {
    let (fixture, _app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 3).await;
    let begun = cancel(&fixture, all_of(&fixture, "shop-nap").await).await;
    let services = fixture.services();
    let kind = BulkKind::Cancellation;
    let stopped = services.bulk().stop(&Actor::dev(), kind, begun.id).await;
    assert_eq!(stopped.unwrap().status, BulkStatus::Stopped);
    fixture.settle().await;
    assert_eq!(count(&fixture, RunStatus::Running).await, 3);
}

#[tokio::test]
async fn second_request_with_the_same_key_gets_the_operation_of_the_first() {
    let (fixture, _app) = three_functions(Options::default()).await;
    let request = all_of(&fixture, "shop-nap").await;
    let services = fixture.services();
    let input = Json::integer(1);
    let key = RequestKey::new("k", "cancelRuns", &input).unwrap();
    let bulk = services.bulk();
    let first = bulk
        .cancel(&Actor::dev(), request.clone(), Some(key.clone()))
        .await;
    let second = bulk.cancel(&Actor::dev(), request.clone(), Some(key)).await;
    assert_eq!(first.unwrap().id, second.unwrap().id);
    let other = RequestKey::new("k", "cancelRuns", &Json::integer(2)).unwrap();
    let refused = bulk.cancel(&Actor::dev(), request, Some(other)).await;
    assert_eq!(refused.unwrap_err().code(), "idempotency_key_reused");
    let filter = BulkFilter::of(BulkKind::Cancellation);
    let page = PageRequest::new(9, None);
    let listed = bulk.list(&Actor::dev(), &filter, &page).await;
    assert_eq!(listed.unwrap().items.len(), 1);
    fixture.settle().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let (fixture, _app) = three_functions(Options::default()).await;
    let good = all_of(&fixture, "shop-nap").await;
    let nobody = FunctionId::from_raw(uuid::Uuid::from_u128(7));
    type Spoil = Box<dyn Fn(&mut BulkRequest)>;
    let changes: [(&str, Spoil); 8] = [
        ("functions_needed", Box::new(|it| it.functions.clear())),
        (
            "function_not_found",
            Box::new(move |it| it.functions.push(nobody)),
        ),
        (
            "bulk_window_invalid",
            Box::new(|it| it.from = Timestamp::MAX),
        ),
        (
            "bulk_window_invalid",
            Box::new(|it| it.until = Some(Timestamp::MAX)),
        ),
        (
            "status_not_possible",
            Box::new(|it| it.statuses = Some(vec![RunStatus::Completed])),
        ),
        (
            "statuses_needed",
            Box::new(|it| it.statuses = Some(Vec::new())),
        ),
        (
            "invalid_expression",
            Box::new(|it| it.search = Some("event.".to_owned())),
        ),
        (
            "bulk_name_too_long",
            Box::new(|it| it.name = Some("x".repeat(257))),
        ),
    ];
    let services = fixture.services();
    for (code, change) in changes {
        let mut request = good.clone();
        change(&mut request);
        let refused = services.bulk().cancel(&Actor::dev(), request, None).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    let until = Some(fixture.now().plus(HOUR));
    for _ in 0..100 {
        cancel(
            &fixture,
            BulkRequest {
                until,
                ..good.clone()
            },
        )
        .await;
    }
    let one_more = services.bulk().cancel(&Actor::dev(), good, None).await;
    let refused = one_more.unwrap_err();
    assert_eq!(refused.code(), "too_many_bulk_operations");
    assert_eq!(refused.kind(), Kind::TooLarge);
    fixture.leave_unchecked();
}

#[tokio::test]
async fn pause_that_cancels_ends_what_was_there_and_nothing_else() {
    let (fixture, app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 2).await;
    send(&fixture, "other", 1).await;
    fixture.settle().await;
    send(&fixture, "nap", 1).await;
    let services = fixture.services();
    let nap = id_of(&services, "shop-nap").await;
    let request = PauseRequest {
        in_flight: PauseInFlight::Cancel,
        new_events: inngest_core::pause::PauseNewEvents::Hold,
        ..PauseRequest::default()
    };
    let functions = services.functions();
    let paused = functions.pause(&Actor::dev(), nap, request).await;
    assert!(paused.is_ok());
    fixture.advance(MOMENT).await;
    send(&fixture, "nap", 1).await;
    fixture.settle().await;
    fixture.advance(Duration::from_secs(1)).await;
    fixture.settle().await;
    assert_eq!(count(&fixture, RunStatus::Cancelled).await, 3);
    assert_eq!(count(&fixture, RunStatus::Queued).await, 1);
    assert_eq!(app.calls().len(), 3);
    services
        .functions()
        .resume(&Actor::dev(), nap)
        .await
        .unwrap();
    fixture.settle().await;
    assert_eq!(count(&fixture, RunStatus::Running).await, 2);
}

#[tokio::test]
async fn whoever_watches_sees_the_operation_begin_and_end() {
    let (fixture, _app) = three_functions(Options::default()).await;
    send(&fixture, "nap", 3).await;
    let begun = cancel(&fixture, all_of(&fixture, "shop-nap").await).await;
    let services = fixture.services();
    let kind = BulkKind::Cancellation;
    let bulk = services.bulk();
    let watched = bulk.watch(Actor::dev().into(), kind, begun.id);
    let mut watched = std::pin::pin!(watched.await.unwrap());
    let first = watched.next().await.unwrap().unwrap();
    assert_eq!(first, begun);
    fixture.settle().await;
    let mut last = first;
    while let Some(next) = watched.next().await {
        last = next.unwrap();
    }
    assert_eq!(last, now(&fixture, begun.id).await);
    assert_eq!(last.status, BulkStatus::Completed);
    let unknown = BulkId::from_raw(ulid::Ulid(7));
    let missing = bulk.watch(Actor::dev().into(), kind, unknown).await;
    let missing = missing.err().unwrap();
    assert_eq!(missing.code(), "cancellation_not_found");
}

#[tokio::test]
async fn two_processes_that_have_the_same_job_cancel_each_run_once() {
    let (fixture, _app) = three_functions(Options::default()).await;
    let mut processes = Vec::new();
    for _ in 0..2 {
        let Some(services) = fixture.another_process().await else {
            return;
        };
        processes.push(services);
    }
    for number in 0..60 {
        let event = json!({"name": "nap", "data": {"n": number}});
        fixture.send_by(&processes[number % 2], event).await;
    }
    let request = all_of(&fixture, "shop-nap").await;
    let bulk = processes[0].bulk();
    let begun = bulk.cancel(&Actor::dev(), request, None).await.unwrap();
    for _ in 0..8 {
        fixture.settle_together(&processes).await;
        fixture.advance(Duration::from_secs(1)).await;
    }
    fixture.settle_together(&processes).await;
    let done = now(&fixture, begun.id).await;
    assert_eq!(done.status, BulkStatus::Completed);
    assert_eq!(done.progress.succeeded, 60);
    assert_eq!(count(&fixture, RunStatus::Cancelled).await, 60);
}
