//! What is kept of a run for people to see: what its steps asked for, what ended them, and its spans.

use inngest_core::{
    access::Actor,
    ids::{EnvId, OrgId, RunId},
    json::Json,
    run::{
        StepDetails, StepKind,
        trace::{SpanId, SpanKind, SpanStatus},
    },
    wire::finish::invocation_id,
};
use inngest_services::{
    Kind,
    testing::{Fixture, Flow},
};
use serde_json::json;

use crate::{HOUR, on};

#[tokio::test]
async fn what_steps_asked_for_outlives_their_waits() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        script.sleep("nap", "1h")?;
        script.wait("paid", "order.paid", "2h", "async.data.n == event.data.n")?;
        script.wait("late", "order.late", "1h", "")?;
        script.signal("sign", "go-on", "1h")?;
        script.invoke("child", "shop-child", json!({}), "3h")
    })
    .function("child", json!({"triggers": [{"event": "never"}]}), |_| {
        Ok(json!(1))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({"n": 1})).await;
    let began = fixture.now();
    fixture.settle().await;
    let run = fixture.run_of(event).await.id;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    let services = fixture.services();
    let actor = Actor::dev();
    let waits = services.runs().waits_of(&actor, run).await.unwrap();
    assert_eq!(waits.len(), 1);

    let paid = fixture.send("order.paid", json!({"n": 1})).await;
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    let signalled = services
        .signals()
        .send(&actor, "go-on", Json::null(), None)
        .await;
    assert_eq!(signalled.unwrap(), run);
    fixture.settle().await;

    let steps = fixture.steps(run).await;
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["nap", "paid", "late", "sign", "child"]);
    let hours = |count| began.plus(HOUR * count);
    let details: Vec<_> = steps
        .iter()
        .map(|step| step.details.clone().unwrap())
        .collect();
    assert_eq!(
        details,
        [
            StepDetails::Sleep { until: hours(1) },
            StepDetails::Event {
                name: "order.paid".into(),
                expression: Some("async.data.n == event.data.n".into()),
                until: hours(3),
            },
            StepDetails::Event {
                name: "order.late".into(),
                expression: None,
                until: hours(2),
            },
            StepDetails::Signal {
                name: "go-on".into(),
                until: hours(3),
            },
            StepDetails::Invoke {
                function: "shop-child".into(),
                until: hours(5),
            },
        ]
    );
    let ended_by: Vec<_> = steps.iter().map(|step| step.ended_by.is_some()).collect();
    assert_eq!(ended_by, [false, true, false, false, true]);
    assert_eq!(steps[1].ended_by, Some(paid));
}

#[tokio::test]
async fn trace_has_the_steps_and_attempts_of_a_run_and_leads_to_the_runs_it_invoked() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        let first = script.call().attempt() == 0;
        script.step("one", move |_| {
            if first {
                Err(Flow::error("no"))
            } else {
                Ok(json!(1))
            }
        })?;
        script.invoke("child", "shop-child", json!({}), "1h")
    })
    .function("child", json!({"triggers": [{"event": "never"}]}), |_| {
        Ok(json!(1))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    let services = fixture.services();
    let trace = services.runs().trace(&Actor::dev(), run.id).await.unwrap();
    let kinds: Vec<_> = trace
        .spans
        .iter()
        .filter(|span| span.kind != SpanKind::Queue)
        .map(|span| (span.kind, span.name.as_str(), span.status))
        .collect();
    assert_eq!(
        kinds,
        [
            (SpanKind::Run, "parent", SpanStatus::Completed),
            (SpanKind::Step, "one", SpanStatus::Completed),
            (SpanKind::Attempt, "attempt 1", SpanStatus::Failed),
            (SpanKind::Attempt, "attempt 2", SpanStatus::Completed),
            (SpanKind::Step, "child", SpanStatus::Completed),
        ]
    );
    let invoke = trace.spans.last().unwrap();
    let steps = fixture.steps(run.id).await;
    let step = steps
        .iter()
        .find(|step| step.kind == StepKind::Invoke)
        .unwrap();
    let child = fixture.run_of(invocation_id(run.id, &step.step)).await;
    assert_eq!(invoke.links[0].run, child.id);
    let back = services
        .runs()
        .trace(&Actor::dev(), child.id)
        .await
        .unwrap();
    assert_eq!(
        (back.spans[0].links[0].run, back.spans[0].links[0].span),
        (run.id, SpanId::of_step(run.id, &step.step))
    );
}

#[tokio::test]
async fn nothing_of_a_run_is_found_from_another_environment() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        script.wait("w", "never", "1h", "")
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run: RunId = fixture.run_of(event).await.id;
    let other = Actor::system(
        OrgId::from_raw(uuid::Uuid::from_u128(7)),
        EnvId::from_raw(uuid::Uuid::from_u128(8)),
    );
    let services = fixture.services();
    assert_eq!(
        services.runs().trace(&other, run).await.unwrap_err().kind(),
        Kind::NotFound
    );
    assert!(
        services
            .runs()
            .waits_of(&other, run)
            .await
            .unwrap()
            .is_empty()
    );
}
