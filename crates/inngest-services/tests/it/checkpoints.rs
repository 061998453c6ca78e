//! Steps that an app reports while it is being called.

use std::sync::{Arc, Mutex};

use inngest_core::{access::Actor, run::RunStatus, wire::checkpoint::parse_checkpoint};
use inngest_services::{
    Error,
    testing::{Answer, App, Call, Fixture, Gate, step_run},
};
use serde_json::{Value, json};

use crate::{HOUR, assert_completed, on};

/// An app whose function runs two steps in one call, reporting the first by itself, and then stands at the gate.
async fn reporting(fixture: &Fixture, gate: &Gate) -> (App, Arc<Mutex<Vec<Call>>>) {
    let app = fixture.app("shop").await;
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let (seen, held) = (calls.clone(), gate.clone());
    app.answer("long", on("go"), move |call| {
        seen.lock().unwrap().push(call.clone());
        let steps = &call.body["steps"];
        if steps.get("one").is_some() && steps.get("two").is_some() {
            return Answer::Returned(json!([steps["one"]["data"], steps["two"]["data"]]));
        }
        Answer::After(
            held.clone(),
            Box::new(Answer::Ops(vec![step_run("two", json!(2))])),
        )
    })
    .sync(&fixture.services())
    .await;
    (app, calls)
}

pub(crate) async fn report(fixture: &Fixture, call: &Call, steps: &[Value]) -> Result<(), Error> {
    let body = call.checkpoint(steps).to_string();
    let checkpoint = parse_checkpoint(body.as_bytes(), call.run()).unwrap();
    let services = fixture.services();
    services
        .checkpoints()
        .report(&Actor::dev(), call.run(), checkpoint)
        .await
}

#[tokio::test]
async fn reported_steps_count_once_and_the_call_goes_on() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let (_app, calls) = reporting(&fixture, &gate).await;
    let event = fixture.send("go", json!({})).await;
    let app = async {
        gate.reached().await;
        let call = calls.lock().unwrap()[0].clone();
        for _ in 0..2 {
            report(&fixture, &call, &[step_run("one", json!(1))])
                .await
                .unwrap();
        }
        gate.open();
    };
    tokio::join!(fixture.settle(), app);
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!([1, 2]));
    let names: Vec<_> = fixture
        .steps(run.id)
        .await
        .into_iter()
        .map(|step| step.name)
        .collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(calls.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn first_result_of_a_step_stands() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let (_app, calls) = reporting(&fixture, &gate).await;
    let event = fixture.send("go", json!({})).await;
    let app = async {
        gate.reached().await;
        let call = calls.lock().unwrap()[0].clone();
        let twins = [
            step_run("one", json!("first")),
            step_run("one", json!("second")),
        ];
        report(&fixture, &call, &twins).await.unwrap();
        report(&fixture, &call, &[step_run("one", json!("third"))])
            .await
            .unwrap();
        gate.open();
    };
    tokio::join!(fixture.settle(), app);
    assert_completed(&fixture.run_of(event).await, json!(["first", 2]));
}

#[tokio::test]
async fn report_of_a_call_that_was_replaced_is_refused() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let (_app, calls) = reporting(&fixture, &gate).await;
    let event = fixture.send("go", json!({})).await;
    // The first holder hangs at the gate until its lease is lost, and somebody else takes over.
    let first = fixture.lease(1).await.remove(0);
    let slow = fixture.handle(first);
    let rest = async {
        gate.reached().await;
        let call = calls.lock().unwrap()[0].clone();
        fixture.advance(std::time::Duration::from_secs(31)).await;
        let second = fixture.lease(1).await.remove(0);
        assert!(second.lost);
        let (verdict, ()) = tokio::join!(fixture.handle(second.clone()), async {
            while calls.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
            let refused = report(&fixture, &call, &[step_run("one", json!("stale"))]).await;
            assert_eq!(refused.unwrap_err().code(), "stale_dispatch");
            let current = calls.lock().unwrap()[1].clone();
            report(&fixture, &current, &[step_run("one", json!(1))])
                .await
                .unwrap();
            gate.open();
        });
        fixture.settle_lease(second, verdict).await;
    };
    tokio::join!(slow, rest);
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!([1, 2]));
    assert!(fixture.stale_writes() >= 1);
}

#[tokio::test]
async fn report_after_a_cancel_is_refused() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let (_app, calls) = reporting(&fixture, &gate).await;
    let event = fixture.send("go", json!({})).await;
    let app = async {
        gate.reached().await;
        let call = calls.lock().unwrap()[0].clone();
        let services = fixture.services();
        services
            .runs()
            .cancel(&Actor::dev(), call.run())
            .await
            .unwrap();
        let refused = report(&fixture, &call, &[step_run("one", json!(1))]).await;
        assert_eq!(refused.unwrap_err().code(), "stale_dispatch");
        gate.open();
    };
    tokio::join!(fixture.settle(), app);
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Cancelled);
    assert!(fixture.steps(run.id).await.is_empty());
}

#[tokio::test]
async fn report_survives_a_restart_of_the_server_during_the_call() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let (_app, calls) = reporting(&fixture, &gate).await;
    let event = fixture.send("go", json!({})).await;
    let lease = fixture.lease(1).await.remove(0);
    let old = fixture.services();
    let rest = async {
        gate.reached().await;
        let call = calls.lock().unwrap()[0].clone();
        report(&fixture, &call, &[step_run("one", json!(1))])
            .await
            .unwrap();
        fixture.forget().await;
        gate.open();
        fixture.settle().await;
    };
    tokio::join!(
        async {
            // The old process is gone; nobody hears what it learns.
            let _ = tokio::time::timeout(std::time::Duration::ZERO, fixture.handle(lease)).await;
        },
        async {
            drop(old);
        }
    );
    // The call was cut off before it reached the app or while it was there; either way somebody makes it again.
    fixture.forget().await;
    tokio::join!(fixture.settle(), rest);
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!([1, 2]));
}

#[tokio::test]
async fn report_that_names_no_work_of_the_run_is_refused() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let (_app, calls) = reporting(&fixture, &gate).await;
    let event = fixture.send("go", json!({})).await;
    let app = async {
        gate.reached().await;
        let mut call = calls.lock().unwrap()[0].clone();
        for (qi_id, code) in [
            ("nonsense", "invalid_checkpoint"),
            ("00000000-0000-4000-a000-000000000001", "stale_dispatch"),
        ] {
            call.body["ctx"]["qi_id"] = qi_id.into();
            let refused = report(&fixture, &call, &[step_run("one", json!(1))]).await;
            assert_eq!(refused.unwrap_err().code(), code, "{qi_id}");
        }
        call.body["ctx"]["run_id"] = "01M0MFFSJB0000000000009999".into();
        let refused = report(&fixture, &call, &[]).await;
        assert_eq!(refused.unwrap_err().code(), "run_not_found");
        gate.open();
    };
    tokio::join!(fixture.settle(), app);
    // The first step was never reported, so the function finds it missing again and again.
    let run = fixture.run_of(event).await;
    assert!(
        !run.status.is_ended() || run.status == RunStatus::Failed,
        "{run:?}"
    );
    fixture.leave_unchecked();
}
