//! What is kept of the answers of apps.

use inngest_core::run::{RunStatus, SdkResponse, attempt::attempts};
use inngest_services::testing::{Answer, Fixture, Flow, Gate, step_run};
use serde_json::{Value, json};

use crate::{checkpoints::report, end_of, on, on_with};

fn twice(event: &str) -> Value {
    on_with(event, json!({"retries": {"attempts": 1}}))
}

fn headers(response: &SdkResponse) -> Vec<(&str, &str)> {
    response.headers().collect()
}

#[tokio::test]
async fn failed_attempt_keeps_who_answered_and_nothing_secret() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.answer("proxied", twice("go"), |_| {
        let headers = vec![
            ("server", "nginx/1.27".to_owned()),
            ("Via", "1.1 edge".to_owned()),
            ("set-cookie", "session=secret".to_owned()),
            ("cf-ray", "8f".to_owned()),
        ];
        Answer::Http(500, headers, b"upstream is down".to_vec())
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    while fixture.advance_to_next().await {}
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Failed);
    let failed = fixture.failed_attempts(run.id).await;
    assert_eq!(failed.len(), 2);
    for attempt in failed {
        let response = attempt.response.unwrap();
        assert_eq!((response.status, response.size_bytes), (500, 16));
        assert_eq!(response.sdk_language(), None);
        assert_eq!(
            headers(&response),
            [
                ("server", "nginx/1.27"),
                ("via", "1.1 edge"),
                ("cf-ray", "8f")
            ]
        );
    }
}

#[tokio::test]
async fn app_that_cannot_be_reached_has_no_answer() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.answer("gone", twice("go"), |_| Answer::Reset)
        .sync(&fixture.services())
        .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    // From here on nobody listens.
    drop(app);
    while fixture.advance_to_next().await {}
    let run = fixture.run_of(event).await;
    assert_eq!(end_of(&run).0, RunStatus::Failed);
    let failed = fixture.failed_attempts(run.id).await;
    let codes: Vec<&str> = failed.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["http_unreachable", "http_unreachable"]);
    assert!(failed.iter().all(|attempt| attempt.response.is_none()));
}

#[tokio::test]
async fn result_of_a_step_keeps_status_size_and_sdk_of_its_answer_but_no_headers() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("flaky", on("go"), |script| {
        let result = script.step("work", |attempt| match attempt {
            0 => Err(Flow::error("not yet")),
            _ => Ok(json!("x".repeat(1_000))),
        })?;
        script.sleep("nap", "1s")?;
        Ok(result)
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    while fixture.advance_to_next().await {}
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Completed);
    let steps = fixture.steps(run.id).await;
    let tries = attempts(&steps[0], &fixture.failed_attempts(run.id).await);
    let answers: Vec<&SdkResponse> = tries
        .iter()
        .map(|attempt| attempt.response.as_ref().unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    for response in &answers {
        assert_eq!(response.status, 206);
        assert_eq!(response.sdk_language().as_deref(), Some("js"));
        assert_eq!(response.sdk_version().as_deref(), Some("4.24.0"));
    }
    assert!(answers[0].size_bytes < 1_000 && answers[1].size_bytes > 1_000);
    assert_eq!(
        headers(answers[0]),
        [
            ("content-type", "application/json"),
            ("x-inngest-req-version", "2")
        ]
    );
    assert_eq!(headers(answers[1]), []);
    assert!(answers[1].to_bytes().len() <= 60);
    assert_eq!((steps[1].name.as_str(), &steps[1].response), ("nap", &None));
}

#[tokio::test]
async fn step_that_the_app_reported_by_itself_has_no_answer_and_the_one_it_answered_with_has() {
    let (fixture, gate) = (Fixture::start().await, Gate::closed());
    let app = fixture.app("shop").await;
    let held = gate.clone();
    app.answer("long", on("go"), move |call| {
        match call.body["steps"].get("two") {
            Some(_) => Answer::Returned(json!("done")),
            None => Answer::After(
                held.clone(),
                Box::new(Answer::Ops(vec![step_run("two", json!(2))])),
            ),
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let reporting = async {
        gate.reached().await;
        let call = app.calls().remove(0);
        let steps = [step_run("one", json!(1))];
        report(&fixture, &call, &steps).await.unwrap();
        gate.open();
    };
    tokio::join!(fixture.settle(), reporting);
    let run = fixture.run_of(event).await;
    assert_eq!(run.status, RunStatus::Completed);
    let steps = fixture.steps(run.id).await;
    let statuses: Vec<(&str, Option<u16>)> = steps
        .iter()
        .map(|step| {
            (
                step.name.as_str(),
                step.response.as_ref().map(|it| it.status),
            )
        })
        .collect();
    assert_eq!(statuses, [("one", None), ("two", Some(206))]);
}
