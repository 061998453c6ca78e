//! What is too old goes; what still goes on does not.

use inngest_core::run::RunStatus;
use inngest_services::{Retention, testing::Fixture};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{DAY, HOUR, assert_completed, on};

#[tokio::test]
async fn run_that_sleeps_for_months_outlives_what_has_ended_and_finds_its_event() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("short", on("go"), |script| {
        script.step("a", |_| Ok(json!(1)))?;
        Ok(json!("short"))
    })
    .function("long", on("go/long"), |script| {
        script.sleep("nap", "80d")?;
        let data = script.call().body["event"]["data"].clone();
        Ok(data)
    })
    .sync(&fixture.services())
    .await;
    let short = fixture.send("go", json!({})).await;
    let long = fixture.send("go/long", json!({"kept": true})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(short).await, json!("short"));
    fixture.advance(DAY * 50).await;
    let recent = fixture.send("go", json!({})).await;
    fixture.settle().await;

    let clock = fixture.services().clock().clone();
    let retention = Retention::new(fixture.store(), clock.clone(), 30);
    let stop = CancellationToken::new();
    let foretold = retention.foretell().await.unwrap();
    let first = retention.pass(HOUR, &stop).await.unwrap().unwrap();
    assert_eq!(first.environments, foretold.environments);
    let rows = first.environments[0].rows;
    assert_eq!((rows.runs, rows.steps), (1, 1));
    assert!(fixture.runs_of(short).await.is_empty());

    // An hour has to pass, for others as well.
    let other = Retention::new(fixture.store(), clock, 30);
    assert!(other.pass(HOUR, &stop).await.unwrap().is_none());
    fixture.advance(HOUR).await;
    let second = other.pass(HOUR, &stop).await.unwrap().unwrap();
    assert_eq!(second.environments[0].rows.events, 1);

    assert_completed(&fixture.run_of(recent).await, json!("short"));
    assert_eq!(fixture.run_of(long).await.status, RunStatus::Running);
    fixture.advance(DAY * 30).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(long).await, json!({"kept": true}));
}
