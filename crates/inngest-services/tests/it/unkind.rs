//! The same run with every job delivered twice, and with everything forgotten after each job: nobody can tell the difference.

use inngest_core::{access::Actor, json::Json, run::RunStatus};
use inngest_services::testing::{App, Fixture, Flow, Options};
use serde_json::{Value, json};

use crate::{HOUR, end_of, on, on_with};

async fn everything(fixture: &Fixture) -> App {
    let app = fixture.app("shop").await;
    app.function(
        "all",
        on_with(
            "go",
            json!({"timeouts": {"finish": "30d"}, "cancel": [{"event": "stop"}]}),
        ),
        |script| {
            let one = script.step("one", |_| Ok(json!(1)))?;
            script.sleep("nap", "1h")?;
            let left = script.step("left", |_| Ok(json!("l")));
            let right = script.step("right", |attempt| {
                if attempt == 0 {
                    Err(Flow::error("no"))
                } else {
                    Ok(json!("r"))
                }
            });
            let paid = script.wait("paid", "paid", "2h", "async.data.id == event.data.id");
            let never = script.wait("never", "never", "3h", "");
            let (left, right, paid, never) = (left?, right?, paid?, never?);
            let child = script.invoke("child", "shop-child", json!({"n": 1}), "1d")?;
            let bad = match script.invoke("bad", "shop-bad", json!({}), "1d") {
                Err(Flow::Threw(error, _)) => error["message"].clone(),
                other => other?,
            };
            let signal = script.signal("signal", "approval", "1d")?;
            Ok(json!([
                one,
                left,
                right,
                paid["data"]["n"],
                never,
                child,
                bad,
                signal["data"]
            ]))
        },
    )
    .function("child", on("never-sent"), |script| {
        script.sleep("nap", "10m")?;
        script.step("work", |_| Ok(json!("child")))
    })
    .function("bad", on("never-sent"), |_| Err(Flow::fatal("bad luck")))
    .sync(&fixture.services())
    .await;
    app
}

fn expected() -> Value {
    json!([1, "l", "r", 5, null, "child", "bad luck", {"by": "Ada"}])
}

async fn check(options: Options) {
    let twice = options.twice;
    let fixture = Fixture::with(options).await;
    let app = everything(&fixture).await;
    let event = fixture.send("go", json!({"id": "x"})).await;
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    fixture.send("paid", json!({"id": "x", "n": 5})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    let services = fixture.services();
    drop(services);
    for _ in 0..40 {
        let approval = Json::parse(b"{\"by\":\"Ada\"}").unwrap();
        let services = fixture.services();
        if services
            .signals()
            .send(&Actor::dev(), "approval", approval, None)
            .await
            .is_ok()
        {
            break;
        }
        assert!(fixture.advance_to_next().await);
    }
    fixture.settle().await;
    assert_eq!(
        end_of(&fixture.run(run.id).await),
        (RunStatus::Completed, expected())
    );
    let runs = fixture.runs().await;
    assert_eq!(runs.len(), 3);
    if !twice {
        let executions = app.executions(run.id);
        assert_eq!(
            executions,
            [
                ("left".to_owned(), 1),
                ("one".to_owned(), 1),
                ("right".to_owned(), 2)
            ]
            .into()
        );
    }
    let steps = fixture.steps(run.id).await;
    let failed: u32 = steps.iter().map(|step| step.failed_attempts).sum();
    assert_eq!(
        failed, 1,
        "one attempt failed, however often it was delivered"
    );
}

#[tokio::test]
async fn kind_server_completes_the_run() {
    check(Options::default()).await;
}

#[tokio::test]
async fn every_job_delivered_twice_changes_nothing() {
    check(Options {
        twice: true,
        ..Options::default()
    })
    .await;
}

#[tokio::test]
async fn everything_forgotten_after_every_job_changes_nothing() {
    check(Options {
        forgetful: true,
        ..Options::default()
    })
    .await;
}

#[tokio::test]
async fn twice_and_forgetful_together_change_nothing() {
    check(Options {
        twice: true,
        forgetful: true,
        ..Options::default()
    })
    .await;
}

#[tokio::test]
async fn many_at_once_change_nothing() {
    check(Options {
        at_once: 8,
        ..Options::default()
    })
    .await;
}
