//! What only shows when work is handled out of turn, or a call reports more than it should.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use inngest_core::{access::Actor, limits, run::RunStatus, wire::checkpoint::parse_checkpoint};
use inngest_queue::model::Verdict;
use serde_json::{Value, json};

use crate::{
    Error,
    testing::{Answer, Call, Fixture, Gate, step_run},
};

fn on(event: &str) -> Value {
    json!({"triggers": [{"event": event}]})
}

async fn report(fixture: &Fixture, call: &Call, steps: &[Value]) -> Result<(), Error> {
    let body = call.checkpoint(steps).to_string();
    let checkpoint = parse_checkpoint(body.as_bytes(), call.run()).unwrap();
    let services = fixture.services();
    services
        .checkpoints()
        .report(&Actor::dev(), call.run(), checkpoint)
        .await
}

#[tokio::test]
async fn work_that_the_schedule_still_has_but_the_table_no_longer_calls_nobody() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("naps", on("go"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!(1))
    })
    .sync(&fixture.services())
    .await;
    fixture.send("go", json!({})).await;
    let lease = fixture.lease(1).await.remove(0);
    let verdict = fixture.handle(lease.clone()).await;
    fixture.settle_lease(lease.clone(), verdict).await;
    assert_eq!(app.calls().len(), 1);
    assert_eq!(fixture.handle(lease).await, Verdict::done());
    assert_eq!(app.calls().len(), 1);
    assert_eq!(fixture.stale_writes(), 0);
}

#[tokio::test]
async fn wait_for_the_end_of_a_run_that_somebody_invoked_gets_the_event_itself() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("watch", on("go"), |script| {
        let end = script.wait("end", "inngest/function.finished", "1d", "")?;
        Ok(json!([end["name"], end["data"]["result"]]))
    })
    .function("parent", on("other"), |script| {
        script.invoke("child", "shop-child", json!({}), "1d")
    })
    .function("child", on("never"), |_| Ok(json!("child")))
    .sync(&fixture.services())
    .await;
    let watched = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let invoked = fixture.send("other", json!({})).await;
    fixture.settle().await;
    for (event, expected) in [
        (watched, json!(["inngest/function.finished", "child"])),
        (invoked, json!("child")),
    ] {
        let run = fixture.run_of(event).await;
        assert_eq!(run.ended.unwrap().output.to_value(), expected);
    }
}

#[tokio::test]
async fn reported_progress_begins_the_count_of_attempts_anew() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let app = fixture.app("shop").await;
    let (calls, number): (Arc<Mutex<Vec<Call>>>, AtomicUsize) = Default::default();
    let (seen, held) = (calls.clone(), gate.clone());
    let mut config = on("go");
    config["retries"] = json!({"attempts": 1});
    app.answer("long", config, move |call| {
        seen.lock().unwrap().push(call.clone());
        let failed = || Answer::Threw(json!({"name": "Error", "message": "no"}), false, None);
        match number.fetch_add(1, Ordering::Relaxed) {
            0 => failed(),
            // The last attempt; but it gets further than the first.
            1 => Answer::After(held.clone(), Box::new(failed())),
            _ => Answer::Returned(call.body["steps"]["one"].clone()),
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let app = async {
        gate.reached().await;
        let call = calls.lock().unwrap()[1].clone();
        assert_eq!(call.attempt(), 1);
        report(&fixture, &call, &[step_run("one", json!(1))])
            .await
            .unwrap();
        gate.open();
    };
    tokio::join!(
        async {
            assert!(fixture.advance_to_next().await);
            fixture.settle().await;
        },
        app
    );
    assert!(fixture.advance_to_next().await);
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Completed, "{run:?}");
    assert_eq!(calls.lock().unwrap()[2].attempt(), 1);
}

#[tokio::test]
async fn report_that_would_exceed_a_limit_is_refused_and_leaves_nothing() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let app = fixture.app("shop").await;
    let held = gate.clone();
    app.answer("long", on("go"), move |_| {
        Answer::After(held.clone(), Box::new(Answer::Returned(json!(1))))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let reports = async {
        gate.reached().await;
        let call = app.calls()[0].clone();
        let steps = |from: usize, to: usize| -> Vec<Value> {
            (from..to)
                .map(|number| step_run(&format!("s{number}"), json!(1)))
                .collect()
        };
        let most = limits::STEPS_PER_RUN.min(limits::OPS_PER_REPLY);
        for from in (0..limits::STEPS_PER_RUN).step_by(most) {
            let to = (from + most).min(limits::STEPS_PER_RUN);
            report(&fixture, &call, &steps(from, to)).await.unwrap();
        }
        let refused = report(&fixture, &call, &steps(5_000, 5_001)).await;
        assert_eq!(refused.unwrap_err().code(), "checkpoint_too_large");
        gate.open();
    };
    tokio::join!(fixture.settle(), reports);
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(fixture.steps(run.id).await.len(), limits::STEPS_PER_RUN);
}
