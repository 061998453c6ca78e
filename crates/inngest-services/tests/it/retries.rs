//! Attempts that fail, and when they are made again.

use std::time::Duration;

use inngest_core::run::RunStatus;
use inngest_services::testing::{Answer, Fixture, Flow};
use serde_json::{Value, json};

use crate::{assert_completed, end_of, on, on_with};

/// What the table says after attempt 0, 1, 2, …, in seconds, before jitter of up to 30.
const BACKOFF: [u64; 10] = [15, 30, 60, 120, 300, 600, 1_200, 2_400, 3_600, 7_200];

fn attempts(count: u64) -> Value {
    json!({"retries": {"attempts": count}})
}

#[tokio::test]
async fn failing_function_is_tried_over_the_whole_table_and_then_fails() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("bad", on_with("go", attempts(10)), |_| {
        Err(Flow::error("boom"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    for (number, seconds) in BACKOFF.into_iter().enumerate() {
        assert_eq!(app.calls().len(), number + 1);
        let failed = fixture.failed_attempts(run.id).await;
        let last = failed.last().unwrap();
        let delay = last.next_at.unwrap().since(last.at);
        let expected = Duration::from_secs(seconds)..=Duration::from_secs(seconds + 30);
        assert!(expected.contains(&delay), "attempt {number}: {delay:?}");
        assert!(fixture.advance_to_next().await);
        assert_eq!(fixture.now(), last.next_at.unwrap());
    }
    let (status, output) = end_of(&fixture.run(run.id).await);
    assert_eq!(
        (status, &output["message"]),
        (RunStatus::Failed, &json!("boom"))
    );
    assert_eq!(app.calls().len(), 11);
    let numbers: Vec<_> = app.calls().iter().map(|call| call.attempt()).collect();
    assert_eq!(numbers, (0..=10).collect::<Vec<_>>());
    assert!(!fixture.advance_to_next().await, "nothing is left to do");
}

#[tokio::test]
async fn step_that_fails_twice_succeeds_at_the_third_attempt_and_the_next_step_starts_afresh() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("flaky", on("go"), |script| {
        let fails = |attempt| {
            if attempt < 2 {
                Err(Flow::error("not yet"))
            } else {
                Ok(json!(attempt))
            }
        };
        let first = script.step("first", fails)?;
        let second = script.step("second", fails)?;
        Ok(json!([first, second]))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    while fixture.advance_to_next().await {}
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!([2, 2]));
    assert_eq!(
        app.executions(run.id),
        [("first".to_owned(), 3), ("second".to_owned(), 3)].into()
    );
    assert_eq!(fixture.failed_attempts(run.id).await.len(), 4);
}

#[tokio::test]
async fn step_that_fails_for_good_can_be_caught() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("brave", on_with("go", attempts(1)), |script| {
        match script.step("bad", |_| Err(Flow::error("boom"))) {
            Err(Flow::Threw(error, _)) => {
                script.step("after", move |_| Ok(json!({"caught": error["message"]})))
            }
            other => other,
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    while fixture.advance_to_next().await {}
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!({"caught": "boom"}));
    assert_eq!(app.executions(run.id)["bad"], 2);
}

#[tokio::test]
async fn parallel_step_retries_alone() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("fan", on("go"), |script| {
        let good = script.step("good", |_| Ok(json!("good")));
        let bad = script.step("bad", |attempt| {
            if attempt < 3 {
                Err(Flow::error("no"))
            } else {
                Ok(json!("at last"))
            }
        });
        Ok(json!([good?, bad?]))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    while fixture.advance_to_next().await {}
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!(["good", "at last"]));
    assert_eq!(
        app.executions(run.id),
        [("bad".to_owned(), 4), ("good".to_owned(), 1)].into()
    );
}

#[tokio::test]
async fn app_says_when_to_try_again() {
    for (after, seconds) in [("90", 90), ("0", 1), ("999999999", 86_400)] {
        let fixture = Fixture::start().await;
        let app = fixture.app("shop").await;
        app.answer("later", on("go"), move |call| {
            if call.attempt() == 0 {
                Answer::Threw(json!({"message": "busy"}), false, Some(after))
            } else {
                Answer::Returned(json!("done"))
            }
        })
        .sync(&fixture.services())
        .await;
        let event = fixture.send("go", json!({})).await;
        fixture.settle().await;
        let begun = fixture.now();
        assert!(fixture.advance_to_next().await);
        assert_eq!(
            fixture.now().since(begun),
            Duration::from_secs(seconds),
            "{after}"
        );
        assert_completed(&fixture.run_of(event).await, json!("done"));
    }
}

#[tokio::test]
async fn error_that_forbids_another_attempt_ends_the_run_at_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("final", on("go"), |_| Err(Flow::fatal("never")))
        .sync(&fixture.services())
        .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Failed);
    assert_eq!(app.calls().len(), 1);
}
