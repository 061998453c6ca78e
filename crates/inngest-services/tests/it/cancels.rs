//! Runs that are ended from outside: by hand, by an event, by a limit on time.

use std::time::Duration;

use inngest_core::{
    access::Actor,
    run::{RunStatus, StepStatus},
};
use inngest_services::testing::{Answer, Fixture, Gate, Options};
use serde_json::json;

use crate::{HOUR, MINUTE, assert_completed, end_of, on, on_with};

#[tokio::test]
async fn cancelled_run_is_not_called_again_and_cancelling_twice_is_fine() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("nap", on("go"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    let services = fixture.services();
    for _ in 0..2 {
        let cancelled = services.runs().cancel(&Actor::dev(), run.id).await.unwrap();
        assert_eq!(cancelled.status, RunStatus::Cancelled);
    }
    assert!(fixture.work(run.id).await.is_empty());
    fixture.advance(2 * HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
    assert_eq!(fixture.steps(run.id).await[0].status, StepStatus::Cancelled);
    assert_eq!(fixture.run(run.id).await.status, RunStatus::Cancelled);
}

#[tokio::test]
async fn completed_run_cannot_be_cancelled() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |_| Ok(json!("hi")))
        .sync(&fixture.services())
        .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    let services = fixture.services();
    let refused = services.runs().cancel(&Actor::dev(), run.id).await;
    assert_eq!(refused.unwrap_err().code(), "run_already_ended");
    assert_completed(&fixture.run(run.id).await, json!("hi"));
}

#[tokio::test]
async fn result_of_a_call_that_was_on_its_way_during_a_cancel_changes_nothing() {
    let gate = Gate::closed();
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let held = gate.clone();
    app.answer("slow", on("go"), move |_| {
        Answer::After(held.clone(), Box::new(Answer::Returned(json!("too late"))))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let cancel = async {
        gate.reached().await;
        let run = fixture.run_of(event).await;
        let services = fixture.services();
        services.runs().cancel(&Actor::dev(), run.id).await.unwrap();
        gate.open();
    };
    tokio::join!(fixture.settle(), cancel);
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Cancelled);
}

#[tokio::test]
async fn event_cancels_the_runs_that_its_rule_names_and_no_others() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let rule = json!({"cancel": [{"event": "stop", "if": "async.data.id == event.data.id"}]});
    app.function("nap", on_with("go", rule), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let one = fixture.send("go", json!({"id": 1})).await;
    let two = fixture.send("go", json!({"id": 2})).await;
    fixture.settle().await;
    fixture.send("stop", json!({"id": 1})).await;
    fixture.settle().await;
    let (status, output) = end_of(&fixture.run_of(one).await);
    assert_eq!(status, RunStatus::Cancelled, "{output}");
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(two).await, json!("awake"));
}

#[tokio::test]
async fn cancel_event_before_the_first_call_prevents_the_call() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function(
        "hi",
        on_with("go", json!({"cancel": [{"event": "stop"}]})),
        |_| Ok(json!("hi")),
    )
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.send("stop", json!({})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Cancelled);
    assert_eq!(app.calls().len(), 0, "work that cancels goes first");
}

#[tokio::test]
async fn cancel_rule_ends_with_its_timeout() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let rule = json!({"cancel": [{"event": "stop", "timeout": "30m"}]});
    app.function("nap", on_with("go", rule), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.advance(31 * MINUTE).await;
    fixture.send("stop", json!({})).await;
    fixture.settle().await;
    fixture.advance(29 * MINUTE).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!("awake"));
}

#[tokio::test]
async fn run_that_is_not_called_in_time_is_cancelled() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"timeouts": {"start": "10s"}}));
    app.function("hi", config, |_| Ok(json!("hi")))
        .sync(&fixture.services())
        .await;
    let late = fixture.send("go", json!({})).await;
    fixture.advance(Duration::from_secs(11)).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(late).await.status, RunStatus::Cancelled);
    assert_eq!(app.calls().len(), 0);
    let in_time = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(in_time).await, json!("hi"));
}

#[tokio::test]
async fn run_that_started_in_time_is_not_cancelled_by_the_start_timeout() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"timeouts": {"start": "10s"}}));
    app.function("nap", config, |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    while fixture.advance_to_next().await {}
    assert_completed(&fixture.run_of(event).await, json!("awake"));
}

#[tokio::test]
async fn run_that_works_too_long_is_cancelled_even_while_its_app_is_being_called() {
    let gate = Gate::closed();
    let fixture = Fixture::with(Options {
        at_once: 2,
        ..Options::default()
    })
    .await;
    let app = fixture.app("shop").await;
    let held = gate.clone();
    let config = on_with("go", json!({"timeouts": {"finish": "1m"}}));
    app.answer("slow", config, move |_| {
        Answer::After(held.clone(), Box::new(Answer::Returned(json!("too late"))))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let pass_time = async {
        gate.reached().await;
        fixture.advance(MINUTE).await;
        loop {
            if fixture.run_of(event).await.status == RunStatus::Cancelled {
                break;
            }
            tokio::task::yield_now().await;
        }
        gate.open();
    };
    tokio::join!(fixture.settle(), pass_time);
    let (status, output) = end_of(&fixture.run_of(event).await);
    assert_eq!(status, RunStatus::Cancelled);
    assert!(output.to_string().contains("timeouts.finish"), "{output}");
}

#[tokio::test]
async fn sleeping_run_is_cancelled_when_its_time_is_over() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"timeouts": {"finish": "30m"}}));
    app.function("nap", config, |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.advance(30 * MINUTE).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Cancelled);
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
}

#[tokio::test]
async fn parent_of_a_cancelled_child_is_told() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        match script.invoke("child", "shop-child", json!({}), "1d") {
            Err(inngest_services::testing::Flow::Threw(error, _)) => Ok(error["name"].clone()),
            other => other,
        }
    })
    .function("child", on("never"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let child = fixture.runs().await.remove(1);
    let services = fixture.services();
    services
        .runs()
        .cancel(&Actor::dev(), child.id)
        .await
        .unwrap();
    fixture.settle().await;
    assert_completed(
        &fixture.run_of(event).await,
        json!("InngestInvokeCancelledError"),
    );
}
