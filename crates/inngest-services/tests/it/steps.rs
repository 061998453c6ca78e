//! Each kind of step, from its call to its result.

use std::time::Duration;

use inngest_core::{
    access::Actor,
    json::Json,
    run::{RunStatus, StepKind, StepStatus},
};
use inngest_services::testing::{Fixture, Flow};
use serde_json::json;

use crate::{DAY, HOUR, assert_completed, end_of, on};

#[tokio::test]
async fn function_without_steps_completes_in_one_call() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |script| {
        Ok(script.event()["data"]["name"].clone())
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({"name": "Ada"})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!("Ada"));
    assert_eq!(app.calls().len(), 1);
    let call = &app.calls()[0];
    assert_eq!(call.body["event"], call.body["events"][0]);
    assert_eq!(call.body["ctx"]["max_attempts"], 5);
}

#[tokio::test]
async fn step_results_are_handed_to_later_calls_and_code_runs_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("sum", on("go"), |script| {
        let one = script.step("one", |_| Ok(json!(1)))?;
        let two = script.step("two", move |_| Ok(json!(one.as_i64().unwrap() + 1)))?;
        script.step("three", move |_| {
            Ok(json!({"sum": two.as_i64().unwrap() + 1}))
        })
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let settled = fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!({"sum": 3}));
    assert_eq!(
        app.executions(run.id),
        [("one", 1), ("three", 1), ("two", 1)]
            .map(|(step, count)| (step.to_owned(), count))
            .into()
    );
    let steps = fixture.steps(run.id).await;
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert!(
        steps
            .iter()
            .all(|step| step.kind == StepKind::Run && step.status == StepStatus::Completed)
    );
    assert_eq!(app.calls().len(), 4);
    assert_eq!(settled.continued, 3, "the run goes on in place");
}

#[tokio::test]
async fn sleep_ends_at_its_time_and_not_before() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("nap", on("go"), |script| {
        script.sleep("nap", "1h")?;
        Ok(json!("awake"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Running);

    fixture.advance(HOUR - Duration::from_millis(1)).await;
    assert_eq!(fixture.settle().await.jobs, 0);
    fixture.advance(Duration::from_millis(1)).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!("awake"));
    assert_eq!(run.ended.unwrap().at, fixture.now());
    assert_eq!(app.calls().len(), 2);
}

#[tokio::test]
async fn sleep_of_no_time_and_sleep_until_a_past_date_end_at_once() {
    for text in ["0s", "2020-01-01T00:00:00.000Z"] {
        let fixture = Fixture::start().await;
        let app = fixture.app("shop").await;
        app.function("nap", on("go"), move |script| {
            script.sleep("nap", text)?;
            Ok(json!("awake"))
        })
        .sync(&fixture.services())
        .await;
        let event = fixture.send("go", json!({})).await;
        fixture.settle().await;
        let run = fixture.run_of(event).await;
        assert_eq!(
            run.status,
            RunStatus::Completed,
            "{text}: {:?}",
            fixture.work(run.id).await
        );
    }
}

#[tokio::test]
async fn wait_gets_the_event_that_its_condition_names() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("order", on("order"), |script| {
        let paid = script.wait("paid", "paid", "7d", "async.data.id == event.data.id")?;
        Ok(paid["data"].clone())
    })
    .sync(&fixture.services())
    .await;
    let first = fixture.send("order", json!({"id": "a"})).await;
    let second = fixture.send("order", json!({"id": "b"})).await;
    fixture.settle().await;
    fixture.send("paid", json!({"id": "b", "sum": 2})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(first).await.status, RunStatus::Running);
    assert_completed(&fixture.run_of(second).await, json!({"id": "b", "sum": 2}));
    fixture.send("paid", json!({"id": "a", "sum": 1})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(first).await, json!({"id": "a", "sum": 1}));
}

#[tokio::test]
async fn wait_that_lasts_too_long_yields_null() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("order", on("order"), |script| {
        let paid = script.wait("paid", "paid", "7d", "")?;
        Ok(json!({"paid": paid}))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("order", json!({})).await;
    fixture.settle().await;
    fixture.advance(7 * DAY - Duration::from_millis(1)).await;
    assert_eq!(fixture.settle().await.jobs, 0);
    fixture.advance(Duration::from_millis(1)).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!({"paid": null}));
    assert_eq!(fixture.steps(run.id).await[0].status, StepStatus::TimedOut);
    // Too late: nobody waits any more.
    fixture.send("paid", json!({})).await;
    assert_eq!(fixture.settle().await.jobs, 0);
}

#[tokio::test]
async fn invoke_gets_the_result_of_the_other_function() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        script.invoke("child", "shop-child", json!({"n": 20}), "1h")
    })
    .function(
        "child",
        json!({"triggers": [{"event": "never"}]}),
        |script| {
            let n = script.event()["data"]["n"].as_i64().unwrap();
            script.step("add", move |_| Ok(json!(n + 1)))
        },
    )
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!(21));
    let runs = fixture.runs().await;
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run.status == RunStatus::Completed));
}

#[tokio::test]
async fn failed_invoke_fails_the_step_with_the_error_of_the_other_function() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        match script.invoke("child", "shop-child", json!({}), "1h") {
            Err(Flow::Threw(error, _)) => Ok(json!({"caught": error["message"]})),
            other => other,
        }
    })
    .function("child", json!({"triggers": [{"event": "never"}]}), |_| {
        Err(Flow::fatal("no more tea"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_completed(
        &fixture.run_of(event).await,
        json!({"caught": "no more tea"}),
    );
}

#[tokio::test]
async fn invoke_that_lasts_too_long_fails_the_step_and_leaves_the_other_run_alone() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        match script.invoke("child", "shop-child", json!({}), "1h") {
            Err(Flow::Threw(error, _)) => Ok(error["name"].clone()),
            other => other,
        }
    })
    .function(
        "child",
        json!({"triggers": [{"event": "never"}]}),
        |script| {
            script.sleep("long", "2h")?;
            Ok(json!("done"))
        },
    )
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(
        &fixture.run_of(event).await,
        json!("InngestInvokeTimeoutError"),
    );
    let child = fixture.runs().await.remove(1);
    assert_eq!(child.status, RunStatus::Running);
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run(child.id).await, json!("done"));
}

#[tokio::test]
async fn invoke_of_an_unknown_function_fails_the_step() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        match script.invoke("child", "shop-nobody", json!({}), "1h") {
            Err(Flow::Threw(error, _)) => Ok(error["message"].clone()),
            other => other,
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let (status, output) = end_of(&fixture.run_of(event).await);
    assert_eq!(status, RunStatus::Completed);
    assert!(output.as_str().unwrap().contains("shop-nobody"), "{output}");
}

#[tokio::test]
async fn signal_goes_to_the_run_that_waits_for_it_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("approve", on("go"), |script| {
        script.signal("yes", "approval", "1h")
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let services = fixture.services();
    let data = Json::parse(b"{\"by\":\"Ada\"}").unwrap();
    let send = || async {
        services
            .signals()
            .send(&Actor::dev(), "approval", data.clone(), None)
            .await
    };
    let run = fixture.run_of(event).await;
    assert_eq!(send().await.unwrap(), run.id);
    assert_eq!(send().await.unwrap_err().code(), "signal_not_found");
    fixture.settle().await;
    assert_completed(
        &fixture.run(run.id).await,
        json!({"signal": "approval", "data": {"by": "Ada"}}),
    );
}

#[tokio::test]
async fn signal_wait_that_lasts_too_long_yields_null_and_a_second_waiter_is_refused() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("approve", on("go"), |script| {
        let signal = script.signal("yes", "approval", "1h")?;
        Ok(json!({"signal": signal}))
    })
    .sync(&fixture.services())
    .await;
    let first = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let second = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let (status, output) = end_of(&fixture.run_of(second).await);
    assert_eq!(status, RunStatus::Failed);
    assert!(
        output["message"]
            .as_str()
            .unwrap()
            .contains("Signal conflict")
    );
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(first).await, json!({"signal": null}));
}

#[tokio::test]
async fn fetch_step_gets_the_response() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let other = fixture.app("other").await;
    other
        .answer("page", on("never"), |_| unreachable!())
        .sync(&fixture.services())
        .await;
    let url = fixture
        .services()
        .apps()
        .list(&Actor::dev())
        .await
        .unwrap()
        .remove(0)
        .url;
    app.function("get", on("go"), move |script| {
        let got = script.fetch("get", &url)?;
        Ok(json!([got["status_code"], got["status"], got["body"]]))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let (status, output) = end_of(&fixture.run_of(event).await);
    assert_eq!(status, RunStatus::Completed, "{output}");
    assert!(output.as_array().unwrap().contains(&json!(200)), "{output}");
    assert!(
        output.as_array().unwrap().contains(&json!("{}")),
        "{output}"
    );
}

#[tokio::test]
async fn parallel_steps_are_planned_run_once_each_and_joined_by_one_discovery() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("fan", on("go"), |script| {
        let parts: Vec<_> = (0..8)
            .map(|n| script.step(&format!("part-{n}"), move |_| Ok(json!(n))))
            .collect();
        let mut sum = 0;
        for part in parts {
            sum += part?.as_i64().unwrap();
        }
        script.step("sum", move |_| Ok(json!(sum)))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_completed(&run, json!(28));
    let executions = app.executions(run.id);
    assert_eq!(executions.len(), 9);
    assert!(
        executions.values().all(|count| *count == 1),
        "{executions:?}"
    );
    // Plan, eight parts, the join (which runs `sum` or plans it), and the return.
    let discoveries = app
        .calls()
        .iter()
        .filter(|call| call.target.is_none())
        .count();
    assert!(discoveries <= 4, "{discoveries} discoveries");
}

#[tokio::test]
async fn parallel_sleep_wait_and_step_join_when_the_last_has_ended() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("fan", on("go"), |script| {
        let step = script.step("work", |_| Ok(json!(1)));
        let sleep = script.sleep("sleep", "1h");
        let wait = script.wait("wait", "late", "2h", "");
        let (step, (), wait) = (step?, sleep?, wait?);
        Ok(json!([step, wait["data"]["at"]]))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Running);
    fixture.send("late", json!({"at": "now"})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!([1, "now"]));
}
