//! Holders of leases that were taken over, and everything being forgotten at the worst moment.

use std::time::Duration;

use inngest_core::run::RunStatus;
use inngest_queue::model::Verdict;
use inngest_services::testing::{Answer, Fixture, Gate, Options};
use serde_json::json;

use crate::{HOUR, assert_completed, on};

const LEASE: Duration = Duration::from_secs(31);

#[tokio::test]
async fn result_of_the_first_holder_is_refused_and_counted_once_somebody_took_over() {
    let gate = Gate::closed();
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let held = gate.clone();
    app.answer("slow", on("go"), move |call| {
        if call.body["ctx"]["generation_id"] == 1 {
            Answer::After(held.clone(), Box::new(Answer::Returned(json!("first"))))
        } else {
            Answer::Returned(json!("second"))
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let first = fixture.lease(1).await.remove(0);
    let slow = async {
        let verdict = fixture.handle(first.clone()).await;
        fixture.settle_lease(first.clone(), verdict).await;
    };
    let take_over = async {
        gate.reached().await;
        fixture.advance(LEASE).await;
        fixture.settle().await;
        gate.open();
    };
    tokio::join!(slow, take_over);
    assert_completed(&fixture.run_of(event).await, json!("second"));
    assert_eq!(
        fixture.stale_writes(),
        0,
        "the run had ended: nothing was even tried"
    );
    assert_eq!(app.calls().len(), 2);
}

#[tokio::test]
async fn result_of_a_first_holder_is_refused_while_the_second_one_works() {
    let (first_gate, second_gate) = (Gate::closed(), Gate::closed());
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let gates = (first_gate.clone(), second_gate.clone());
    app.answer("slow", on("go"), move |call| {
        let (gate, answer) = if call.body["ctx"]["generation_id"] == 1 {
            (&gates.0, "first")
        } else {
            (&gates.1, "second")
        };
        Answer::After(gate.clone(), Box::new(Answer::Returned(json!(answer))))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let first = fixture.lease(1).await.remove(0);
    let slow = async {
        drop(fixture.handle(first.clone()).await);
        assert_eq!(fixture.stale_writes(), 1);
        assert_eq!(fixture.run_of(event).await.status, RunStatus::Running);
        second_gate.open();
    };
    let take_over = async {
        first_gate.reached().await;
        fixture.advance(LEASE).await;
        let second = fixture.lease(1).await.remove(0);
        let (verdict, ()) = tokio::join!(fixture.handle(second.clone()), async {
            second_gate.reached().await;
            first_gate.open();
        });
        fixture.settle_lease(second, verdict).await;
    };
    tokio::join!(slow, take_over);
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!("second"));
    assert_eq!(fixture.stale_writes(), 1);
}

#[tokio::test]
async fn lease_that_is_lost_after_the_commit_costs_nothing() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("two", on("go"), |script| {
        let one = script.step("one", |_| Ok(json!(1)))?;
        let two = script.step("two", |_| Ok(json!(2)))?;
        Ok(json!([one, two]))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let mut losses = 0;
    loop {
        fixture.advance(Duration::ZERO).await;
        let Some(lease) = fixture.lease(1).await.pop() else {
            fixture.advance(LEASE).await;
            losses += 1;
            if losses > 10 {
                break;
            }
            continue;
        };
        // Recorded, but the schedule never hears of it, except from who took over.
        let verdict = fixture.handle(lease.clone()).await;
        if lease.lost {
            fixture.settle_lease(lease, verdict).await;
        }
    }
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!([1, 2]));
    assert!(
        app.executions(run.id).values().all(|count| *count == 1),
        "{:?}",
        app.executions(run.id)
    );
}

#[tokio::test]
async fn restart_on_the_same_directory_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::with(Options {
        directory: Some(directory.path().to_owned()),
        ..Options::default()
    })
    .await;
    let app = fixture.app("shop").await;
    app.function("long", on("go"), |script| {
        let one = script.step("one", |_| Ok(json!(1)))?;
        script.sleep("nap", "1h")?;
        let paid = script.wait("paid", "paid", "1d", "")?;
        let child = script.invoke("child", "shop-child", json!({}), "1d")?;
        Ok(json!([one, paid["data"]["n"], child]))
    })
    .function("child", on("never"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("child"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.restart().await;
    fixture.settle().await;
    fixture.restart().await;
    fixture.advance(HOUR).await;
    fixture.restart().await;
    fixture.settle().await;
    fixture.restart().await;
    fixture.send("paid", json!({"n": 5})).await;
    fixture.restart().await;
    fixture.settle().await;
    fixture.restart().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!([1, 5, "child"]));
    assert_eq!(app.executions(run.id)["one"], 1);
}

#[tokio::test]
async fn work_whose_handling_panics_again_and_again_fails_its_run() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |_| Ok(json!("hi")))
        .sync(&fixture.services())
        .await;
    let event = fixture.send("go", json!({})).await;
    let mut lease = fixture.lease(1).await.remove(0);
    lease.poisoned = true;
    let verdict = fixture.handle(lease.clone()).await;
    assert_eq!(verdict, Verdict::done());
    fixture.settle_lease(lease, verdict).await;
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Failed);
    let output = run.ended.unwrap().output.to_value();
    assert_eq!(output["name"], "InngestErrWorkerCrashed");
    assert_eq!(app.calls().len(), 0);
}
