//! Runs that repeat others: as a whole, from a step, with other data.

use inngest_core::{
    access::Actor,
    ids::{RunId, StepId},
    json::Json,
    run::{RerunFrom, Run, RunStatus},
};
use inngest_services::{
    Beginning, Error, Kind, RequestKey, Rerun, RerunVersion,
    testing::{App, Fixture, Flow},
};
use serde_json::{Value, json};

use crate::{HOUR, assert_completed, on, on_with};

fn json(value: &Value) -> Json {
    Json::from_value(value)
}

fn from_step(step: &str, input: Option<Value>) -> Rerun {
    Rerun {
        from: Beginning::Step(RerunFrom {
            step: StepId::parse(step).unwrap(),
            input: input.as_ref().map(json),
        }),
        ..Rerun::default()
    }
}

async fn rerun(fixture: &Fixture, run: RunId, how: Rerun) -> Result<Run, Error> {
    let services = fixture.services();
    services.runs().rerun(&Actor::dev(), run, how, None).await
}

/// Three steps; the second tells which arguments it got.
async fn three_steps() -> (Fixture, App) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("three", on("go"), |script| {
        let a = script.step("a", |_| Ok(json!("first")))?;
        let given = script.call().body["steps"]["b"]["input"].clone();
        let b = script.step("b", move |_| Ok(json!({"given": given})))?;
        script.sleep("nap", "1h")?;
        let c = script.step("c", |_| Ok(json!("third")))?;
        Ok(json!([a, b, c]))
    })
    .sync(&fixture.services())
    .await;
    (fixture, app)
}

async fn finish(fixture: &Fixture) {
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
}

#[tokio::test]
async fn rerun_from_a_step_keeps_what_came_before_and_runs_the_rest_again() {
    let (fixture, app) = three_steps().await;
    let event = fixture.send("go", json!({})).await;
    finish(&fixture).await;
    let first = fixture.run_of(event).await;
    assert_completed(&first, json!(["first", {"given": null}, "third"]));

    let again = rerun(&fixture, first.id, from_step("b", Some(json!([7, "x"]))))
        .await
        .unwrap();
    assert_eq!(again.original, Some(first.id));
    finish(&fixture).await;
    let again = fixture.run(again.id).await;
    assert_completed(&again, json!(["first", {"given": [7, "x"]}, "third"]));
    assert_eq!(
        again.rerun.map(|from| from.step.to_string()),
        Some("b".into())
    );
    let executed = app.executions(again.id);
    assert_eq!(
        executed.into_iter().collect::<Vec<_>>(),
        [("b".into(), 1), ("c".into(), 1)]
    );
    let kept = &fixture.steps(again.id).await[0];
    assert_eq!((kept.step.as_str(), kept.position), ("a", Some(0)));
    assert_eq!(kept.ended_at, fixture.steps(first.id).await[0].ended_at);

    // The chain leads to the first run, and without arguments the step gets its own.
    let last = rerun(&fixture, again.id, from_step("c", None))
        .await
        .unwrap();
    assert_eq!(last.original, Some(first.id));
    finish(&fixture).await;
    assert_eq!(app.executions(last.id).len(), 1);
    assert_completed(
        &fixture.run(last.id).await,
        json!(["first", {"given": [7, "x"]}, "third"]),
    );
}

#[tokio::test]
async fn edited_arguments_survive_a_restart_and_come_with_every_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let options = inngest_services::testing::Options {
        directory: Some(directory.path().to_owned()),
        forgetful: true,
        ..Default::default()
    };
    let fixture = Fixture::with(options).await;
    let app = fixture.app("shop").await;
    app.function("flaky", on("go"), |script| {
        script.step("a", |_| Ok(json!(1)))?;
        let given = script.call().body["steps"]["b"]["input"].clone();
        script.step("b", move |attempt| match attempt {
            0 => Err(Flow::error("not yet")),
            _ => Ok(given),
        })
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    while fixture.advance_to_next().await {}
    let first = fixture.run_of(event).await;
    assert_completed(&first, json!(null));
    let again = rerun(&fixture, first.id, from_step("b", Some(json!(["edited"]))))
        .await
        .unwrap();
    fixture.restart().await;
    while fixture.advance_to_next().await {}
    assert_completed(&fixture.run(again.id).await, json!(["edited"]));
    assert_eq!(app.executions(again.id).get("a"), None);
}

#[tokio::test]
async fn rerun_from_an_unknown_step_or_with_what_is_no_list_is_refused() {
    let (fixture, _app) = three_steps().await;
    let event = fixture.send("go", json!({})).await;
    finish(&fixture).await;
    let run = fixture.run_of(event).await.id;
    let unknown = rerun(&fixture, run, from_step("z", None))
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.kind(), unknown.code()),
        (Kind::Conflict, "run_not_rerunnable")
    );
    let no_list = rerun(&fixture, run, from_step("b", Some(json!({}))))
        .await
        .unwrap_err();
    assert_eq!(
        (no_list.kind(), no_list.code()),
        (Kind::Invalid, "step_input_invalid")
    );
    let strange = Rerun {
        from: Beginning::Data(json(&json!(1))),
        ..Rerun::default()
    };
    let strange = rerun(&fixture, run, strange).await.unwrap_err();
    assert_eq!(strange.code(), "event_data_invalid");
    assert_eq!(fixture.runs().await.len(), 1);
}

#[tokio::test]
async fn rerun_with_other_data_is_seen_by_no_other_function_and_no_wait() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("echo", on("go"), |script| {
        Ok(json!([
            script.event()["name"],
            script.event()["data"],
            script.event()["ts"]
        ]))
    })
    .function("other", on("go"), |_| Ok(json!("other")))
    .function("waiter", on("wait"), |script| {
        script.wait("w", "go", "1h", "")
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({"n": 1})).await;
    fixture.settle().await;
    let runs = fixture.runs_of(event).await;
    let first = runs
        .iter()
        .find(|run| matches!(&run.ended, Some(end) if end.output.is_array()))
        .unwrap();
    let ts = first.ended.as_ref().unwrap().output.to_value()[2].clone();
    // A wait sees what comes at the same instant; the first event is to lie before it.
    fixture.advance(HOUR).await;
    let waiter = fixture.send("wait", json!({})).await;
    fixture.settle().await;
    let how = Rerun {
        from: Beginning::Data(json(&json!({"n": 2}))),
        ..Rerun::default()
    };
    let again = rerun(&fixture, first.id, how).await.unwrap();
    fixture.settle().await;
    let again = fixture.run(again.id).await;
    assert_completed(&again, json!(["go", {"n": 2}, ts]));
    assert_ne!(again.events, first.events);
    assert_eq!(fixture.run_of(waiter).await.status, RunStatus::Running);
    assert_eq!(fixture.runs_of(again.events[0]).await.len(), 1);
    // A wait that begins later does not find it either.
    let late = fixture.send("wait", json!({})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(late).await.status, RunStatus::Running);
    fixture.advance(2 * HOUR).await;
    fixture.settle().await;
}

#[tokio::test]
async fn original_version_decides_how_a_rerun_is_scheduled() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = |timeout: &str| on_with("go", json!({"timeouts": {"start": timeout}}));
    app.function("f", config("1h"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    app.function("f", config("2h"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    let run = fixture.run_of(event).await;
    for (version, number, hours) in [(RerunVersion::Original, 1, 1), (RerunVersion::Latest, 2, 2)] {
        let how = Rerun {
            version,
            ..Rerun::default()
        };
        let again = rerun(&fixture, run.id, how).await.unwrap();
        assert_eq!(again.function_version, number);
        let work = fixture.work(again.id).await;
        let last = work.iter().map(|work| work.due_at).max().unwrap();
        assert_eq!(last.since(fixture.now()), hours * HOUR);
        fixture.settle().await;
    }
}

#[tokio::test]
async fn rerun_with_the_same_key_gets_the_first_run() {
    let (fixture, _app) = three_steps().await;
    let event = fixture.send("go", json!({})).await;
    finish(&fixture).await;
    let run = fixture.run_of(event).await.id;
    let services = fixture.services();
    let ask = async |input: i64, key: &str| {
        let key = RequestKey::new(key, "rerunRun", &Json::integer(input)).unwrap();
        services
            .runs()
            .rerun(&Actor::dev(), run, Rerun::default(), Some(key))
            .await
    };
    let first = ask(1, "k").await.unwrap();
    assert_eq!(ask(1, "k").await.unwrap().id, first.id);
    assert_ne!(ask(1, "other").await.unwrap().id, first.id);
    let reused = ask(2, "k").await.unwrap_err();
    assert_eq!(
        (reused.kind(), reused.code()),
        (Kind::Conflict, "idempotency_key_reused")
    );
    finish(&fixture).await;
    fixture.advance(24 * HOUR).await;
    assert_ne!(ask(2, "k").await.unwrap().id, first.id);
    finish(&fixture).await;
}

#[tokio::test]
async fn rerun_repeats_a_run_with_the_same_event() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |script| Ok(script.event()["data"].clone()))
        .sync(&fixture.services())
        .await;
    let event = fixture
        .send_event(json!({"name": "go", "id": "same", "data": {"n": 7}}))
        .await;
    fixture.settle().await;
    let first = fixture.run_of(event).await;
    let services = fixture.services();
    let again = services
        .runs()
        .rerun(&Actor::dev(), first.id, Rerun::default(), None)
        .await
        .unwrap();
    fixture.settle().await;
    assert_eq!(again.original, Some(first.id));
    assert_completed(&fixture.run(again.id).await, json!({"n": 7}));
    assert_eq!(app.calls().len(), 2);
}
