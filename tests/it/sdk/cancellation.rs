//! Runs that end before their time.

use std::time::Duration;

use inngest_tests::{scenario::Scenario, wait::holds_for};
use serde_json::json;

scenarios! {
    all:
        a_run_is_cancelled_by_an_event_that_satisfies_the_condition
        a_run_is_cancelled_by_the_api
        cancelling_an_ended_run_changes_nothing
        a_run_that_takes_too_long_is_cancelled
        a_run_that_starts_too_late_is_cancelled;
    js: a_run_is_cancelled_by_an_event_with_an_equal_field;
}

fn a_run_is_cancelled_by_an_event_that_satisfies_the_condition(s: &Scenario) {
    let run = s.send("cancellable", json!({}));
    s.noted("before");
    s.send("cancel", json!({ "marker": "somebody else" }));
    holds_for("the run goes on", Duration::from_millis(400), || {
        !run.run().is_ended()
    });
    s.send("cancel", json!({}));
    assert_eq!(run.ended().status, "Cancelled");
    assert_eq!(s.notes(), ["before"]);
}

fn a_run_is_cancelled_by_an_event_with_an_equal_field(s: &Scenario) {
    let run = s.send("cancellable-match", json!({}));
    s.noted("before");
    s.send("cancel-match", json!({ "marker": "somebody else" }));
    s.send("cancel-match", json!({}));
    assert_eq!(run.ended().status, "Cancelled");
}

fn a_run_is_cancelled_by_the_api(s: &Scenario) {
    let run = s.send("sleep-long", json!({})).run();
    s.noted("before");
    let answer = s.server().delete(&format!("/v1/runs/{}", run.id));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(s.server().ended(&run.id).status, "Cancelled");
    assert_eq!(s.notes(), ["before"]);
}

fn cancelling_an_ended_run_changes_nothing(s: &Scenario) {
    let run = s.send("echo", json!({})).ended();
    s.server().delete(&format!("/v1/runs/{}", run.id));
    assert_eq!(s.server().run(&run.id).status, "Completed");
}

fn a_run_that_takes_too_long_is_cancelled(s: &Scenario) {
    let run = s.send("finish-timeout", json!({})).ended();
    assert_eq!(run.status, "Cancelled");
    assert_eq!(s.notes(), ["before"]);
}

fn a_run_that_starts_too_late_is_cancelled(s: &Scenario) {
    s.send("echo", json!({}));
    let now = s.noted("called")["at"]
        .as_i64()
        .expect("every entry has a time");
    // It may start in a minute, but must start within a second.
    let late =
        s.send_event(json!({ "name": s.event("start-timeout"), "ts": now + 60_000, "data": {} }));
    assert_eq!(late.ended().status, "Cancelled");
    assert_eq!(s.count("held"), 0);
}
