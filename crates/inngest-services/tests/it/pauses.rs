//! Functions that are paused: what is skipped, what is held back, and how it goes on.

use std::time::Duration;

use inngest_core::{
    access::Actor,
    ids::{FunctionId, RunId},
    pause::{PauseInFlight, PauseNewEvents},
    run::{Run, RunStatus, SkipReason},
};
use inngest_services::{
    Kind, PauseRequest, Rerun,
    testing::{App, Fixture, Flow, Options},
};
use serde_json::json;

use crate::{DAY, HOUR, MINUTE, assert_completed, id_of, on, on_with};

const HOLD: PauseRequest = PauseRequest {
    in_flight: PauseInFlight::Hold,
    new_events: PauseNewEvents::Hold,
    reason: None,
    resumes_at: None,
};

async fn pause(fixture: &Fixture, slug: &str, request: PauseRequest) {
    let services = fixture.services();
    let id = id_of(&services, slug).await;
    let paused = services.functions().pause(&Actor::dev(), id, request).await;
    assert!(paused.unwrap().pause.is_some());
}

async fn resume(fixture: &Fixture, slug: &str) {
    let services = fixture.services();
    let id = id_of(&services, slug).await;
    let resumed = services.functions().resume(&Actor::dev(), id).await;
    assert_eq!(resumed.unwrap().pause, None);
}

async fn codes(fixture: &Fixture, run: RunId) -> Vec<&'static str> {
    let services = fixture.services();
    let reasons = services.runs().explain(&Actor::dev(), run).await.unwrap();
    reasons.into_iter().map(|reason| reason.code).collect()
}

/// An app with a function that says hi, and one that sleeps for an hour between two steps.
async fn two_functions(options: Options) -> (Fixture, App) {
    let fixture = Fixture::with(options).await;
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |_| Ok(json!("hi")))
        .function("nap", on("nap"), |script| {
            let before = script.step("before", |_| Ok(json!(1)))?;
            script.sleep("sleep", "1h")?;
            let after = script.step("after", |_| Ok(json!(2)))?;
            Ok(json!([before, after]))
        })
        .sync(&fixture.services())
        .await;
    (fixture, app)
}

fn forgetful() -> Options {
    Options {
        forgetful: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn paused_function_records_what_it_skips_and_starts_none_of_it_later() {
    let (fixture, app) = two_functions(Options::default()).await;
    pause(&fixture, "shop-hi", PauseRequest::default()).await;
    let order = json!({"name": "go", "data": {}, "id": "order-1"});
    let skipped = fixture.send_event(order.clone()).await;
    let other = fixture.send("nap", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(skipped).await;
    assert_eq!(run.status, RunStatus::Skipped);
    assert_eq!(run.skip_reason, Some(SkipReason::FunctionPaused));
    assert!(fixture.work(run.id).await.is_empty());
    assert_eq!(fixture.run_of(other).await.status, RunStatus::Running);

    resume(&fixture, "shop-hi").await;
    fixture.settle().await;
    assert_eq!(fixture.run(run.id).await.status, RunStatus::Skipped);
    assert_eq!(app.executions(run.id).len(), 0);
    // What was skipped did not take the key of its event.
    let again = fixture.send_event(order).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(again).await, json!("hi"));
}

#[tokio::test]
async fn run_that_was_queued_before_the_pause_waits_for_its_end() {
    for options in [Options::default(), forgetful()] {
        let (fixture, app) = two_functions(options).await;
        let event = fixture.send("go", json!({})).await;
        pause(&fixture, "shop-hi", PauseRequest::default()).await;
        fixture.settle().await;
        fixture.advance(DAY).await;
        fixture.settle().await;
        let run = fixture.run_of(event).await;
        assert_eq!((run.status, app.calls().len()), (RunStatus::Queued, 0));
        assert_eq!(codes(&fixture, run.id).await, ["paused"]);
        resume(&fixture, "shop-hi").await;
        fixture.settle().await;
        assert_completed(&fixture.run(run.id).await, json!("hi"));
        assert_eq!(app.calls().len(), 1);
    }
}

#[tokio::test]
async fn held_events_run_once_each_when_the_function_is_resumed() {
    for twice in [false, true] {
        let (fixture, app) = two_functions(Options {
            twice,
            ..forgetful()
        })
        .await;
        pause(&fixture, "shop-hi", HOLD).await;
        let mut events = Vec::new();
        for number in 0..5 {
            events.push(fixture.send("go", json!({"n": number})).await);
            fixture.settle().await;
        }
        assert_eq!(app.calls().len(), 0);
        // A schedule that is built again from the rows holds none of it.
        fixture.forget().await;
        assert!(fixture.lease(10).await.is_empty());
        resume(&fixture, "shop-hi").await;
        fixture.settle().await;
        for event in events {
            assert_completed(&fixture.run_of(event).await, json!("hi"));
        }
        assert_eq!(app.calls().len(), 5);
    }
}

/// A run that sleeps when its function is paused like this, an hour later.
async fn paused_while_it_sleeps(in_flight: PauseInFlight) -> (Fixture, App, Run) {
    let (fixture, app) = two_functions(Options::default()).await;
    let event = fixture.send("nap", json!({})).await;
    fixture.settle().await;
    let request = PauseRequest {
        in_flight,
        ..PauseRequest::default()
    };
    pause(&fixture, "shop-nap", request).await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    (fixture, app, run)
}

#[tokio::test]
async fn runs_that_have_started_go_on_unless_the_pause_holds_them() {
    let (_fixture, _app, run) = paused_while_it_sleeps(PauseInFlight::Continue).await;
    assert_completed(&run, json!([1, 2]));

    let (fixture, app, run) = paused_while_it_sleeps(PauseInFlight::Hold).await;
    assert_eq!(run.status, RunStatus::Running);
    assert_eq!(codes(&fixture, run.id).await, ["paused"]);
    // The sleep was over in time; only the call waits.
    assert_eq!(fixture.steps(run.id).await.len(), 2);
    let before = app.calls().len();
    fixture.advance(DAY).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), before);
    resume(&fixture, "shop-nap").await;
    fixture.settle().await;
    assert_completed(&fixture.run(run.id).await, json!([1, 2]));
}

#[tokio::test]
async fn change_of_a_pause_gives_free_what_the_new_one_does_not_hold() {
    let (fixture, _app, run) = paused_while_it_sleeps(PauseInFlight::Hold).await;
    let waiting = fixture.send("nap", json!({})).await;
    assert_eq!(fixture.run_of(waiting).await.status, RunStatus::Skipped);
    let held = PauseRequest {
        new_events: PauseNewEvents::Hold,
        ..PauseRequest::default()
    };
    pause(&fixture, "shop-nap", held).await;
    let waiting = fixture.send("nap", json!({})).await;
    fixture.settle().await;
    assert_completed(&fixture.run(run.id).await, json!([1, 2]));
    let waiting = fixture.run_of(waiting).await;
    assert_eq!(waiting.status, RunStatus::Queued);
    assert_eq!(codes(&fixture, waiting.id).await, ["paused"]);
    resume(&fixture, "shop-nap").await;
    fixture.settle().await;
    assert_eq!(fixture.run(waiting.id).await.status, RunStatus::Running);
}

#[tokio::test]
async fn attempt_that_is_due_during_a_pause_is_made_after_it() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("flaky", on("go"), |script| {
        script.step("a", |attempt| match attempt {
            0 => Err(Flow::error("not yet")),
            number => Ok(json!(number)),
        })
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    pause(&fixture, "shop-flaky", HOLD).await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_eq!(codes(&fixture, run.id).await, ["paused"]);
    resume(&fixture, "shop-flaky").await;
    fixture.settle().await;
    assert_completed(&fixture.run(run.id).await, json!(1));
}

#[tokio::test]
async fn pause_ends_by_itself_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (fixture, app) = two_functions(Options {
        directory: Some(directory.path().to_owned()),
        ..Options::default()
    })
    .await;
    let until = fixture.now().plus(HOUR);
    let request = PauseRequest {
        resumes_at: Some(until),
        ..HOLD
    };
    pause(&fixture, "shop-hi", request).await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await.id;
    let services = fixture.services();
    let reasons = services.runs().explain(&Actor::dev(), run).await.unwrap();
    assert_eq!(reasons[0].until, Some(until));
    fixture.restart().await;
    fixture.advance(59 * MINUTE).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
    fixture.advance(MINUTE).await;
    fixture.settle().await;
    assert_completed(&fixture.run(run).await, json!("hi"));
    let services = fixture.services();
    let hi = id_of(&services, "shop-hi").await;
    let found = services.functions().get_many(&Actor::dev(), &[hi]).await;
    assert_eq!(found.unwrap()[&hi].pause, None);
}

#[tokio::test]
async fn end_of_a_pause_that_was_replaced_ends_nothing() {
    let (fixture, app) = two_functions(Options::default()).await;
    let in_an_hour = PauseRequest {
        resumes_at: Some(fixture.now().plus(HOUR)),
        ..HOLD
    };
    // The first is replaced by one without an end, and nothing is left of its end.
    pause(&fixture, "shop-hi", in_an_hour.clone()).await;
    pause(&fixture, "shop-hi", HOLD).await;
    fixture.send("go", json!({})).await;
    fixture.settle().await;
    let timers = "SELECT count(*) AS n FROM work WHERE kind = 12";
    assert_eq!(fixture.store().count(timers).await.unwrap(), 0);
    // Resumed before its time, and paused again within the same millisecond.
    pause(&fixture, "shop-hi", in_an_hour).await;
    resume(&fixture, "shop-hi").await;
    pause(&fixture, "shop-hi", HOLD).await;
    fixture.advance(2 * HOUR).await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
    resume(&fixture, "shop-hi").await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 1);
}

#[tokio::test]
async fn whoever_invokes_a_paused_function_is_told_at_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("parent", on("go"), |script| {
        match script.invoke("child", "shop-child", json!({}), "1d") {
            Err(Flow::Threw(error, _)) => Ok(error["message"].clone()),
            other => other,
        }
    })
    .function("child", on("never"), |_| Ok(json!("done")))
    .sync(&fixture.services())
    .await;
    pause(&fixture, "shop-child", PauseRequest::default()).await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let message = "`shop-child` is paused, so it was not started";
    assert_completed(&fixture.run_of(event).await, json!(message));
    let child = fixture.runs().await.remove(1);
    assert_eq!(child.status, RunStatus::Skipped);

    // One that waits for its turn is waited for.
    pause(&fixture, "shop-child", HOLD).await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(event).await.status, RunStatus::Running);
    resume(&fixture, "shop-child").await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!("done"));
}

#[tokio::test]
async fn rerun_of_a_paused_function_waits_instead_of_being_skipped() {
    let (fixture, _app) = two_functions(Options::default()).await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    pause(&fixture, "shop-hi", PauseRequest::default()).await;
    let services = fixture.services();
    let first = fixture.run_of(event).await.id;
    let runs = services.runs();
    let rerun = runs
        .rerun(&Actor::dev(), first, Rerun::default(), None)
        .await;
    let again = rerun.unwrap();
    fixture.settle().await;
    assert_eq!(fixture.run(again.id).await.status, RunStatus::Queued);
    resume(&fixture, "shop-hi").await;
    fixture.settle().await;
    assert_completed(&fixture.run(again.id).await, json!("hi"));
}

#[tokio::test]
async fn ticks_of_a_paused_function_are_skipped_and_those_after_it_run() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("tick", json!({"triggers": [{"cron": "0 * * * *"}]}), |_| {
        Ok(json!("tick"))
    })
    .sync(&fixture.services())
    .await;
    pause(&fixture, "shop-tick", PauseRequest::default()).await;
    for _ in 0..3 {
        fixture.advance(HOUR).await;
        fixture.settle().await;
    }
    let runs = fixture.runs().await;
    assert_eq!(runs.len(), 3);
    assert!(runs.iter().all(|run| run.status == RunStatus::Skipped));
    resume(&fixture, "shop-tick").await;
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!((fixture.runs().await.len(), app.calls().len()), (4, 1));
}

#[tokio::test]
async fn held_run_can_be_cancelled_and_ends_by_its_own_timeouts() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"timeouts": {"start": "1h"}}));
    app.function("hi", config, |_| Ok(json!("hi")))
        .sync(&fixture.services())
        .await;
    pause(&fixture, "shop-hi", HOLD).await;
    let one = fixture.send("go", json!({})).await;
    let two = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let services = fixture.services();
    let run = fixture.run_of(one).await.id;
    services.runs().cancel(&Actor::dev(), run).await.unwrap();
    assert!(fixture.work(run).await.is_empty());
    fixture.advance(HOUR).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(two).await.status, RunStatus::Cancelled);
    resume(&fixture, "shop-hi").await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 0);
}

#[tokio::test]
async fn release_that_is_cut_off_is_done_again_by_whoever_comes_next() {
    let (fixture, app) = two_functions(Options::default()).await;
    pause(&fixture, "shop-hi", HOLD).await;
    for number in 0..3 {
        fixture.send("go", json!({"n": number})).await;
    }
    fixture.settle().await;
    resume(&fixture, "shop-hi").await;
    // The job is taken and nothing is heard of it any more; what it has done before it ended is there.
    let lease = fixture.lease(1).await.remove(0);
    let services = fixture.services();
    let hi = id_of(&services, "shop-hi").await;
    let env = Actor::dev().env;
    let freed = fixture.store().release_work(env, hi, None, 2).await;
    assert_eq!((freed.unwrap().len(), lease.work.function), (2, hi));
    fixture.forget().await;
    fixture.settle().await;
    assert_eq!(app.calls().len(), 3);
}

#[tokio::test]
async fn pauses_are_checked_and_resuming_twice_is_fine() {
    let (fixture, _app) = two_functions(Options::default()).await;
    let services = fixture.services();
    let hi = id_of(&services, "shop-hi").await;
    let functions = services.functions();
    for (request, code) in [
        (
            PauseRequest {
                reason: Some("x".repeat(1_025)),
                ..PauseRequest::default()
            },
            "pause_reason_too_long",
        ),
        (
            PauseRequest {
                resumes_at: Some(fixture.now()),
                ..PauseRequest::default()
            },
            "pause_end_past",
        ),
    ] {
        let refused = functions.pause(&Actor::dev(), hi, request).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.kind()), (code, Kind::Invalid));
    }
    let nobody = FunctionId::from_raw(uuid::Uuid::from_u128(7));
    let missing = functions
        .pause(&Actor::dev(), nobody, PauseRequest::default())
        .await;
    assert_eq!(missing.unwrap_err().code(), "function_not_found");
    for _ in 0..2 {
        let resumed = functions.resume(&Actor::dev(), hi).await.unwrap();
        assert_eq!(resumed.pause, None);
    }
}

#[tokio::test]
async fn other_processes_learn_of_a_pause_within_a_second_and_of_its_end() {
    let fixture = Fixture::start().await;
    let mut processes = Vec::new();
    for _ in 0..2 {
        let Some(services) = fixture.another_process().await else {
            return;
        };
        processes.push(services);
    }
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |_| Ok(json!("hi")))
        .sync(&processes[0])
        .await;
    let send = async || {
        let event = json!({"name": "go", "data": {}});
        fixture.send_by(&processes[0], event).await;
    };
    send().await;
    fixture.settle_together(&processes[1..]).await;
    assert_eq!(
        app.calls().len(),
        1,
        "the second process knows the function"
    );

    let hi = id_of(&processes[0], "shop-hi").await;
    let paused = processes[0].functions();
    paused.pause(&Actor::dev(), hi, HOLD).await.unwrap();
    send().await;
    fixture.advance(Duration::from_secs(1)).await;
    fixture.settle_together(&processes[1..]).await;
    assert_eq!(app.calls().len(), 1);

    // The second still takes the function for paused; it is refused when it wants to hold the new run back.
    let resumed = processes[0].functions();
    resumed.resume(&Actor::dev(), hi).await.unwrap();
    send().await;
    fixture.settle_together(&processes[1..]).await;
    assert_eq!(app.calls().len(), 3);
    fixture.settle_together(&processes).await;
    let runs = fixture.runs().await;
    assert!(runs.iter().all(|run| run.status == RunStatus::Completed));
    assert_eq!(runs.len(), 3);
}
