//! Runs that start on time.

use std::time::Duration;

use inngest_core::{access::Actor, run::RunStatus};
use inngest_services::testing::{App, Fixture, Options};
use serde_json::{Value, json};

use crate::{DAY, HOUR, MINUTE, on};

fn every(schedule: &str) -> Value {
    json!({"triggers": [{"cron": schedule}]})
}

async fn with_schedule(schedule: &str) -> (Fixture, App) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("tick", every(schedule), |script| {
        Ok(script.event()["data"]["cron"].clone())
    })
    .sync(&fixture.services())
    .await;
    (fixture, app)
}

#[tokio::test]
async fn schedule_fires_at_each_tick() {
    let (fixture, app) = with_schedule("*/5 * * * *").await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
    for count in 1..=4 {
        assert!(fixture.advance_to_next().await);
        assert_eq!(app.calls().len(), count);
        assert_eq!(fixture.now().as_millis() % 300_000, 0);
    }
    let runs = fixture.runs().await;
    assert!(runs.iter().all(
        |run| run.status == RunStatus::Completed && run.cron.as_deref() == Some("*/5 * * * *")
    ));
}

#[tokio::test]
async fn only_the_latest_of_missed_ticks_is_made_up_for() {
    let (fixture, app) = with_schedule("0 * * * *").await;
    fixture.settle().await;
    fixture.advance(3 * DAY).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1, "one for all that were missed");
    assert!(fixture.advance_to_next().await);
    assert_eq!(app.calls().len(), 2);
    assert_eq!(fixture.now().as_millis() % 3_600_000, 0);
}

#[tokio::test]
async fn tick_that_is_delivered_twice_starts_one_run() {
    let fixture = Fixture::with(Options {
        twice: true,
        ..Options::default()
    })
    .await;
    let app = fixture.app("shop").await;
    app.function("tick", every("0 * * * *"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    for _ in 0..3 {
        assert!(fixture.advance_to_next().await);
    }
    assert_eq!(fixture.runs().await.len(), 3);
}

#[tokio::test]
async fn same_schedule_in_two_functions_fires_both() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("one", every("0 * * * *"), |_| Ok(json!(null)))
        .function("two", every("0 * * * *"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    assert!(fixture.advance_to_next().await);
    let mut called: Vec<_> = app.calls().into_iter().map(|call| call.function).collect();
    called.sort();
    assert_eq!(called, ["shop-one", "shop-two"]);
}

#[tokio::test]
async fn registering_the_same_again_neither_doubles_nor_loses_ticks() {
    let (fixture, app) = with_schedule("0 * * * *").await;
    for _ in 0..3 {
        app.sync(&fixture.services()).await;
        fixture.advance(10 * MINUTE).await;
        fixture.settle().await;
    }
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
}

#[tokio::test]
async fn changed_schedule_takes_the_place_of_the_old_one() {
    let (fixture, app) = with_schedule("0 * * * *").await;
    app.function("tick", every("30 * * * *"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    let mut minutes = Vec::new();
    while minutes.len() < 3 {
        let before = app.calls().len();
        assert!(fixture.advance_to_next().await);
        if app.calls().len() > before {
            minutes.push(fixture.now().as_millis() / 60_000 % 60);
        }
    }
    assert_eq!(minutes, [30, 30, 30]);
}

#[tokio::test]
async fn removed_schedule_stops_and_one_that_comes_back_goes_on() {
    let (fixture, app) = with_schedule("0 * * * *").await;
    app.forget("tick")
        .function("other", on("go"), |_| Ok(json!(null)));
    app.sync(&fixture.services()).await;
    fixture.advance(5 * HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
    assert!(!fixture.advance_to_next().await, "no tick is left behind");
    app.function("tick", every("0 * * * *"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    fixture.advance(HOUR + Duration::from_secs(1)).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
}

#[tokio::test]
async fn function_that_went_away_and_came_back_before_its_tick_fires_once() {
    let (fixture, app) = with_schedule("0 * * * *").await;
    let services = fixture.services();
    app.forget("tick")
        .function("other", on("go"), |_| Ok(json!(null)));
    app.sync(&services).await;
    app.function("tick", every("0 * * * *"), |_| Ok(json!(null)));
    app.sync(&services).await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
    assert!(fixture.advance_to_next().await);
    assert_eq!(app.calls().len(), 2);
}

#[tokio::test]
async fn app_that_is_restored_has_its_functions_and_their_schedules_again() {
    let (fixture, app) = with_schedule("0 * * * *").await;
    let services = fixture.services();
    let actor = Actor::dev();
    let id = services.apps().list(&actor).await.unwrap()[0].id;
    services.apps().restore(&actor, id).await.unwrap();
    let version = services.store().functions_version(actor.env).await.unwrap();
    let url = services.apps().list(&actor).await.unwrap()[0].url.clone();
    services.apps().remove(&actor, &url).await.unwrap();
    fixture.advance(2 * HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
    assert!(services.apps().list(&actor).await.unwrap().is_empty());

    services.apps().restore(&actor, id).await.unwrap();
    let functions = services.functions();
    let found = functions.list(&actor, Some(id), false).await.unwrap();
    assert_eq!((found.len(), found[0].version), (1, 2));
    let after = services.store().functions_version(actor.env).await.unwrap();
    assert_eq!(after, version + 2, "what is there is not restored");
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
    let unknown = inngest_core::ids::AppId::from_raw(uuid::Uuid::from_u128(7));
    let missing = services.apps().restore(&actor, unknown).await;
    assert_eq!(missing.unwrap_err().code(), "app_not_found");
}
