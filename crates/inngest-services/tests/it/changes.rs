//! Functions that change, move or go away while their runs are under way.

use inngest_core::{access::Actor, run::RunStatus};
use inngest_services::testing::{Fixture, Flow};
use serde_json::json;

use crate::{HOUR, assert_completed, end_of, on, on_with};

#[tokio::test]
async fn run_of_a_function_that_was_removed_goes_on_and_new_events_start_nothing() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("nap", on("go"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .function("other", on("other"), |_| Ok(json!(null)))
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let services = fixture.services();
    let functions = services
        .functions()
        .list(&Actor::dev(), None, false)
        .await
        .unwrap();
    assert_eq!(functions.len(), 2);

    // The code is still there, only not registered any more.
    let app_url = services.apps().list(&Actor::dev()).await.unwrap()[0]
        .url
        .clone();
    services
        .apps()
        .remove(&Actor::dev(), &app_url)
        .await
        .unwrap();
    let none = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert!(fixture.runs_of(none).await.is_empty());
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!("awake"));
}

#[tokio::test]
async fn run_whose_code_is_gone_fails_with_what_the_app_says() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function(
        "nap",
        on_with("go", json!({"retries": {"attempts": 1}})),
        |script| {
            script.sleep("nap", "1h")?;
            Ok(json!("awake"))
        },
    )
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    app.forget("nap");
    while fixture.advance_to_next().await {}
    let (status, output) = end_of(&fixture.run_of(event).await);
    assert_eq!(status, RunStatus::Failed);
    assert_eq!(output["message"], "Could not find function");
}

#[tokio::test]
async fn changed_code_gets_the_results_of_the_steps_that_it_still_has() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("job", on("go"), |script| {
        let kept = script.step("kept", |_| Ok(json!("old")))?;
        script.step("dropped", |_| Ok(json!("gone")))?;
        script.sleep("nap", "1h")?;
        Ok(kept)
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    app.function("job", on("go"), |script| {
        let kept = script.step("kept", |_| Ok(json!("new")))?;
        let added = script.step("added", |_| Ok(json!("added")))?;
        script.sleep("nap", "1h")?;
        Ok(json!([kept, added]))
    })
    .sync(&fixture.services())
    .await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!(["old", "added"]));
}

#[tokio::test]
async fn planned_step_that_the_code_lost_fails_the_run_with_a_reason_in_words() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function(
        "job",
        on_with("go", json!({"retries": {"attempts": 1}})),
        |script| {
            let flaky = script.step("flaky", |_| Err(Flow::error("no")));
            let good = script.step("good", |_| Ok(json!(1)));
            flaky.and(good)
        },
    )
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    app.function(
        "job",
        on_with("go", json!({"retries": {"attempts": 1}})),
        |script| script.step("good", |_| Ok(json!(1))),
    );
    while fixture.advance_to_next().await {}
    let (status, output) = end_of(&fixture.run_of(event).await);
    assert_eq!(status, RunStatus::Failed);
    let message = output["message"].as_str().unwrap();
    assert!(
        message.contains("`flaky`") && message.contains("code may have changed"),
        "{message}"
    );
}

#[tokio::test]
async fn app_that_moved_is_called_at_its_new_address() {
    let fixture = Fixture::start().await;
    let old = fixture.app("shop").await;
    old.function("nap", on("go"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("from the old place"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let new = fixture.app("shop").await;
    new.function("nap", on("go"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("from the new place"))
    })
    .sync(&fixture.services())
    .await;
    drop(old);
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!("from the new place"));
}

#[tokio::test]
async fn function_registered_by_another_server_a_moment_ago_is_not_missed() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("one", on("go"), |_| Ok(json!(1)))
        .sync(&fixture.services())
        .await;
    // Its cache is filled here and outdated by what follows.
    let before = fixture.services();
    fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.forget().await;
    app.function("two", on("go"), |_| Ok(json!(2)))
        .sync(&fixture.services())
        .await;
    let event = inngest_core::wire::event::parse_events(
        b"{\"name\":\"go\"}",
        None,
        None,
        fixture.now(),
        before.ids(),
    )
    .unwrap();
    let id = event[0].id;
    before.events().ingest(&Actor::dev(), event).await.unwrap();
    assert_eq!(fixture.runs_of(id).await.len(), 2);
    fixture.forget().await;
    fixture.settle().await;
    assert!(
        fixture
            .runs_of(id)
            .await
            .iter()
            .all(|run| run.status == RunStatus::Completed)
    );
}
