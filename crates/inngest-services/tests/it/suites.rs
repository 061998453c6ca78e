//! What only test suites ask for: other limits for one function, the work that is left, and an end of everything.

use inngest_core::{access::Actor, ids::FunctionId, run::RunStatus};
use inngest_services::{
    Error, RunLimit,
    testing::{App, Fixture, Options},
};
use serde_json::json;

use crate::{HOUR, assert_completed, end_of, id_of, on};

async fn for_suites() -> Fixture {
    Fixture::with(Options {
        test_routes: true,
        ..Options::default()
    })
    .await
}

async fn limit(
    fixture: &Fixture,
    function: FunctionId,
    limit: RunLimit,
    most: Option<usize>,
) -> Result<(), Error> {
    let services = fixture.services();
    let suites = services.suites()?;
    suites.limit(&Actor::dev(), function, limit, most).await
}

/// Two functions of two steps without results, `limited` and `other`, started by `go`; the id of the first.
async fn two_functions(fixture: &Fixture) -> (App, FunctionId) {
    let app = fixture.app("shop").await;
    for name in ["limited", "other"] {
        app.function(name, on("go"), |flow| {
            flow.step("one", |_| Ok(json!(null)))?;
            flow.step("two", |_| Ok(json!(null)))?;
            Ok(json!("both"))
        });
    }
    app.sync(&fixture.services()).await;
    let limited = id_of(&fixture.services(), &app.slug("limited")).await;
    (app, limited)
}

#[tokio::test]
async fn limits_of_one_function_end_its_runs_and_no_others() {
    let fixture = for_suites().await;
    let (_app, limited) = two_functions(&fixture).await;
    for (of, name, message) in [
        (
            RunLimit::Steps,
            "InngestErrFunctionOverflowed",
            "The function run exceeded the step limit of 1 steps.",
        ),
        (
            RunLimit::StateBytes,
            "InngestErrStateOverflowed",
            "The function run exceeded the state size limit of 1 bytes.",
        ),
    ] {
        limit(&fixture, limited, of, Some(1)).await.unwrap();
        let event = fixture.send("go", json!({})).await;
        fixture.settle().await;
        for run in fixture.runs_of(event).await {
            if run.function == limited {
                let (status, output) = end_of(&run);
                assert_eq!(status, RunStatus::Failed);
                assert_eq!(
                    (&output["name"], &output["message"]),
                    (&json!(name), &json!(message))
                );
            } else {
                assert_completed(&run, json!("both"));
            }
        }
        limit(&fixture, limited, of, None).await.unwrap();
        let event = fixture.send("go", json!({})).await;
        fixture.settle().await;
        for run in fixture.runs_of(event).await {
            assert_completed(&run, json!("both"));
        }
    }
}

#[tokio::test]
async fn limits_are_bounded_and_of_functions_that_exist() {
    let fixture = for_suites().await;
    let (_app, limited) = two_functions(&fixture).await;
    for (of, most) in [
        (RunLimit::Steps, 10_000),
        (RunLimit::StateBytes, 33_554_432),
    ] {
        for (most, code) in [
            (0, Some("invalid_limit")),
            (1, None),
            (most, None),
            (most + 1, Some("invalid_limit")),
            (usize::MAX, Some("invalid_limit")),
        ] {
            let found = limit(&fixture, limited, of, Some(most)).await;
            assert_eq!(found.err().map(|error| error.code()), code, "{of:?} {most}");
        }
        let nobody = "00000000-0000-4000-8000-000000000009".parse().unwrap();
        let found = limit(&fixture, nobody, of, Some(1)).await;
        assert_eq!(found.unwrap_err().code(), "function_not_found");
    }
    let fixture = Fixture::start().await;
    let refused = limit(&fixture, limited, RunLimit::Steps, Some(1)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "test_routes_off");
    assert!(refused.to_string().contains("--test-routes"), "{refused}");
}

#[tokio::test]
async fn reset_ends_every_run_and_leaves_no_work() {
    let fixture = for_suites().await;
    let app = fixture.app("shop").await;
    app.function("sleeper", on("go"), |flow| {
        flow.sleep("nap", "1h")?;
        flow.wait("more", "never", "1h", "")?;
        Ok(json!(null))
    })
    .function("other", on("go"), |_| Ok(json!("done")))
    .sync(&fixture.services())
    .await;
    let (sleeper, other) = (app.slug("sleeper"), app.slug("other"));
    let (sleeper, other) = (
        id_of(&fixture.services(), &sleeper).await,
        id_of(&fixture.services(), &other).await,
    );
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(fixture.send("go", json!({})).await);
    }
    fixture.settle().await;
    fixture.advance(HOUR).await;
    let services = fixture.services();
    let (suites, actor) = (services.suites().unwrap(), Actor::dev());
    let left = async |function| suites.work_left(&actor, function).await.unwrap();
    // Of each waiting run the end of its wait.
    assert_eq!((left(sleeper).await, left(other).await), (3, 0));

    let runs = fixture.runs_of(events[0]).await;
    let run = runs.iter().find(|run| run.function == sleeper).unwrap();
    let foreign = suites.cancel(&actor, other, run.id).await;
    assert_eq!(foreign.unwrap_err().code(), "run_not_found");
    let cancelled = suites.cancel(&actor, sleeper, run.id).await.unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    assert_eq!(left(sleeper).await, 2);

    suites
        .limit(&actor, other, RunLimit::Steps, Some(1))
        .await
        .unwrap();
    assert_eq!(suites.reset(&actor).await.unwrap(), 2);
    assert_eq!(suites.reset(&actor).await.unwrap(), 0);
    assert_eq!(left(sleeper).await, 0);
    for event in events {
        for run in fixture.runs_of(event).await {
            let expected = match run.function == sleeper {
                true => RunStatus::Cancelled,
                false => RunStatus::Completed,
            };
            assert_eq!(run.status, expected);
        }
    }
    fixture.settle().await;
}
