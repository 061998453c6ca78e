//! What starts a run, and what starts none.

use inngest_core::run::RunStatus;
use inngest_services::testing::{Fixture, Flow};
use serde_json::json;

use crate::{DAY, HOUR, assert_completed, on, on_with};

async fn with_function(config: serde_json::Value) -> (Fixture, inngest_services::testing::App) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("hi", config, |script| Ok(script.event()["data"].clone()))
        .sync(&fixture.services())
        .await;
    (fixture, app)
}

#[tokio::test]
async fn same_event_id_starts_one_run_for_a_day_and_another_one_after_it() {
    let (fixture, _app) = with_function(on("go")).await;
    let send = || fixture.send_event(json!({"name": "go", "id": "order-1", "data": {}}));
    for _ in 0..3 {
        send().await;
        fixture.settle().await;
        fixture.advance(7 * HOUR).await;
    }
    assert_eq!(fixture.runs().await.len(), 1);
    fixture.advance(3 * HOUR).await;
    send().await;
    fixture.settle().await;
    assert_eq!(fixture.runs().await.len(), 2);
    assert!(
        fixture
            .runs()
            .await
            .iter()
            .all(|run| run.status == RunStatus::Completed)
    );
}

#[tokio::test]
async fn same_event_id_twice_in_one_request_starts_one_run() {
    let (fixture, _app) = with_function(on("go")).await;
    let event = json!({"name": "go", "id": "order-1", "data": {}});
    let ids = fixture.send_events(vec![event.clone(), event]).await;
    fixture.settle().await;
    assert_eq!(ids.len(), 2);
    assert_eq!(fixture.runs().await.len(), 1);
}

#[tokio::test]
async fn idempotency_expression_starts_one_run_per_value_and_day() {
    let config = on_with("go", json!({"idempotency": "event.data.customer"}));
    let (fixture, _app) = with_function(config).await;
    for customer in ["a", "b", "a", "a"] {
        fixture.send("go", json!({"customer": customer})).await;
        fixture.settle().await;
    }
    assert_eq!(fixture.runs().await.len(), 2);
    fixture.advance(DAY).await;
    fixture.send("go", json!({"customer": "a"})).await;
    fixture.settle().await;
    assert_eq!(fixture.runs().await.len(), 3);
}

#[tokio::test]
async fn invoke_of_what_has_run_already_tells_its_parent_at_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        match script.invoke("child", "shop-child", json!({"key": 1}), "1d") {
            Err(Flow::Threw(error, _)) => Ok(json!({"refused": error["name"]})),
            other => other,
        }
    })
    .function(
        "child",
        on_with("never", json!({"idempotency": "event.data.key"})),
        |_| Ok(json!("fresh")),
    )
    .sync(&fixture.services())
    .await;
    let first = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(first).await, json!("fresh"));
    let second = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(second).await, json!({"refused": "Error"}));
}

#[tokio::test]
async fn event_starts_every_function_whose_trigger_fits_and_each_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    for (id, config) in [
        ("plain", on("user.created")),
        ("wild", on("user.*")),
        ("other", on("user.deleted")),
        (
            "yes",
            json!({"triggers": [{"event": "user.created", "expression": "event.data.age > 17"}]}),
        ),
        (
            "no",
            json!({"triggers": [{"event": "user.created", "expression": "event.data.age > 18"}]}),
        ),
        (
            "twice",
            json!({"triggers": [{"event": "user.created"}, {"event": "user.*"}]}),
        ),
    ] {
        app.function(id, config, |_| Ok(json!(null)));
    }
    app.sync(&fixture.services()).await;
    fixture.send("user.created", json!({"age": 18})).await;
    fixture.settle().await;
    let mut called: Vec<_> = app.calls().into_iter().map(|call| call.function).collect();
    called.sort();
    assert_eq!(
        called,
        ["shop-plain", "shop-twice", "shop-wild", "shop-yes"]
    );
}

#[tokio::test]
async fn event_dated_ahead_starts_its_run_then() {
    let (fixture, app) = with_function(on("go")).await;
    let ts = fixture.now().as_millis() + 3_600_000;
    let event = fixture
        .send_event(json!({"name": "go", "ts": ts, "data": {"n": 1}}))
        .await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!({"n": 1}));
}

#[tokio::test]
async fn failed_run_starts_what_listens_for_failures_and_that_does_not_echo() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("bad", on("go"), |_| Err(Flow::fatal("boom")))
        .function("listener", on("inngest/function.failed"), |script| {
            assert_eq!(script.event()["data"]["function_id"], json!("shop-bad"));
            Err(Flow::fatal("boom too"))
        })
        .sync(&fixture.services())
        .await;
    fixture.send("go", json!({})).await;
    fixture.settle().await;
    let statuses: Vec<_> = fixture.runs().await.iter().map(|run| run.status).collect();
    assert_eq!(statuses, [RunStatus::Failed, RunStatus::Failed]);
}
