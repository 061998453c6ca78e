//! Two things at once, in both orders.

use inngest_core::{
    access::Actor,
    run::{RunStatus, StepStatus},
};
use inngest_queue::model::Verdict;
use inngest_services::testing::{Answer, Fixture, Gate, Options};
use serde_json::json;

use crate::{HOUR, assert_completed, on};

async fn waiting() -> (
    Fixture,
    inngest_services::testing::App,
    inngest_core::ids::EventId,
) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("order", on("order"), |script| {
        script
            .wait("paid", "paid", "1h", "")
            .map(|paid| json!({"paid": paid["data"]["n"]}))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("order", json!({})).await;
    fixture.settle().await;
    (fixture, app, event)
}

#[tokio::test]
async fn event_that_comes_while_the_timeout_is_in_work_wins_when_it_is_stored_first() {
    let (fixture, _app, event) = waiting().await;
    fixture.advance(HOUR).await;
    let lease = fixture.lease(1).await.remove(0);
    fixture.send("paid", json!({"n": 1})).await;
    let verdict = fixture.handle(lease.clone()).await;
    fixture.settle_lease(lease, verdict).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!({"paid": 1}));
    assert_eq!(fixture.steps(run.id).await[0].status, StepStatus::Completed);
}

#[tokio::test]
async fn event_that_comes_after_the_timeout_was_recorded_is_not_seen() {
    let (fixture, _app, event) = waiting().await;
    fixture.advance(HOUR).await;
    let lease = fixture.lease(1).await.remove(0);
    let verdict = fixture.handle(lease.clone()).await;
    fixture.send("paid", json!({"n": 1})).await;
    fixture.settle_lease(lease, verdict).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!({"paid": null}));
}

#[tokio::test]
async fn event_between_the_call_and_the_record_of_its_wait_is_not_missed() {
    let gate = Gate::closed();
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let held = gate.clone();
    app.answer("order", on("order"), move |call| {
        if let Some(memo) = call.body["steps"].get("paid") {
            return Answer::Returned(memo["data"].clone());
        }
        let op = json!({"id": "paid", "op": "WaitForEvent", "name": "paid", "displayName": "paid",
            "opts": {"event": "paid", "timeout": "1h", "if": "async.data.id == event.data.id"}});
        Answer::After(held.clone(), Box::new(Answer::Ops(vec![op])))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("order", json!({"id": "x"})).await;
    let pay = async {
        gate.reached().await;
        fixture.send("paid", json!({"id": "y"})).await;
        fixture.send("paid", json!({"id": "x"})).await;
        gate.open();
    };
    tokio::join!(fixture.settle(), pay);
    assert_completed(&fixture.run_of(event).await, json!({"id": "x"}));
}

#[tokio::test]
async fn two_events_wake_a_wait_once_with_the_first() {
    let (fixture, app, event) = waiting().await;
    fixture
        .send_events(vec![
            json!({"name": "paid", "data": {"n": 1}}),
            json!({"name": "paid", "data": {"n": 2}}),
        ])
        .await;
    fixture.send("paid", json!({"n": 3})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!({"paid": 1}));
    assert_eq!(app.calls().len(), 2);
}

#[tokio::test]
async fn loser_of_a_race_does_not_keep_the_run_open() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.answer("race", on("go"), |call| {
        let steps = &call.body["steps"];
        if let Some(won) = steps.get("fast") {
            return Answer::Returned(won["data"]["w"].clone());
        }
        let op = |id: &str, event: &str| {
            json!({"id": id, "op": "WaitForEvent", "name": id, "displayName": id,
                "opts": {"event": event, "timeout": "7d", "parallelMode": "race"}})
        };
        Answer::Ops(vec![op("fast", "fast"), op("slow", "slow")])
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.send("fast", json!({"w": "won"})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!("won"));
    assert!(fixture.work(run.id).await.is_empty());
}

#[tokio::test]
async fn cancel_and_completion_at_once_leave_one_end() {
    for cancel_first in [true, false] {
        let fixture = Fixture::start().await;
        let app = fixture.app("shop").await;
        app.function("hi", on("go"), |_| Ok(json!("hi")))
            .sync(&fixture.services())
            .await;
        let event = fixture.send("go", json!({})).await;
        let run = fixture.run_of(event).await;
        let lease = fixture.lease(1).await.remove(0);
        let services = fixture.services();
        let cancel = async || services.runs().cancel(&Actor::dev(), run.id).await;
        let expected = if cancel_first {
            cancel().await.unwrap();
            drop(fixture.handle(lease.clone()).await);
            RunStatus::Cancelled
        } else {
            drop(fixture.handle(lease.clone()).await);
            cancel().await.unwrap_err();
            RunStatus::Completed
        };
        fixture.settle_lease(lease, Verdict::done()).await;
        fixture.settle().await;
        assert_eq!(fixture.run(run.id).await.status, expected);
    }
}

#[tokio::test]
async fn many_parallel_results_at_once_are_all_recorded_and_joined_once() {
    let fixture = Fixture::with(Options {
        at_once: 32,
        ..Options::default()
    })
    .await;
    let app = fixture.app("shop").await;
    app.function("fan", on("go"), |script| {
        let parts: Vec<_> = (0..32)
            .map(|n| script.step(&format!("part-{n}"), move |_| Ok(json!(n))))
            .collect();
        let parts: Result<Vec<_>, _> = parts.into_iter().collect();
        let sum: i64 = parts?.iter().map(|part| part.as_i64().unwrap()).sum();
        script.step("after", move |_| Ok(json!(sum)))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!(496));
    let executions = app.executions(run.id);
    assert_eq!(executions.len(), 33);
    assert!(
        executions.values().all(|count| *count == 1),
        "{executions:?}"
    );
    let discoveries = app
        .calls()
        .iter()
        .filter(|call| call.target.is_none())
        .count();
    assert!(discoveries <= 4, "{discoveries} discoveries");
}
