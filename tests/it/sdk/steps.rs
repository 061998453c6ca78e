//! Steps that run code.

use inngest_tests::scenario::Scenario;
use serde_json::json;

use crate::functions::elapsed_ms;

scenarios! {
    all:
        a_step_runs_once_and_its_result_is_remembered
        a_step_without_a_result_is_remembered
        a_failing_step_is_retried_alone
        a_step_error_can_be_caught
        a_step_error_nobody_catches_fails_the_run
        a_failure_handler_hears_of_a_step_error
        a_repeated_step_id_gets_a_result_each_time
        thirty_steps_keep_their_order;
    js:
        a_non_retriable_step_error_is_tried_once_and_can_be_caught
        a_step_retry_waits_as_long_as_the_step_asks;
}

fn a_step_runs_once_and_its_result_is_remembered(s: &Scenario) {
    let output = s.send("steps", json!({ "n": 1 })).completed();
    assert_eq!(
        output,
        json!({ "a": 2, "b": { "value": 4 }, "c": [4, null] })
    );
    assert_eq!(s.notes(), ["a", "b", "c"]);
}

fn a_step_without_a_result_is_remembered(s: &Scenario) {
    assert_eq!(
        s.send("step-null", json!({})).completed(),
        json!({ "value": null })
    );
    assert_eq!(s.notes(), ["a"]);
}

fn a_failing_step_is_retried_alone(s: &Scenario) {
    let output = s.send("step-flaky", json!({ "failures": 2 })).completed();
    assert_eq!(output, json!({ "attempt": 2 }));
    assert_eq!(s.notes(), ["before", "flaky", "flaky", "flaky"]);
}

fn a_step_error_can_be_caught(s: &Scenario) {
    let output = s.send("step-caught", json!({})).completed();
    assert_eq!(output, json!({ "caught": "step boom", "after": 1 }));
    assert_eq!(s.notes(), ["bad", "bad", "after"]);
}

fn a_step_error_nobody_catches_fails_the_run(s: &Scenario) {
    let error = s.send("step-uncaught", json!({})).failed();
    assert!(error.contains("step boom"), "{error}");
    assert_eq!(s.count("bad"), 2);
}

fn a_failure_handler_hears_of_a_step_error(s: &Scenario) {
    let failed = s.send("step-uncaught", json!({})).ended();
    let told = s.noted("failure handled");
    assert_eq!(told["data"]["message"], "step boom");
    assert_eq!(told["data"]["run"], failed.id);
}

fn a_repeated_step_id_gets_a_result_each_time(s: &Scenario) {
    assert_eq!(
        s.send("step-loop", json!({ "n": 3 })).completed(),
        json!([0, 1, 2])
    );
}

fn thirty_steps_keep_their_order(s: &Scenario) {
    let expected: Vec<_> = (0..30).collect();
    assert_eq!(
        s.send("step-loop", json!({ "n": 30 })).completed(),
        json!(expected)
    );
}

fn a_non_retriable_step_error_is_tried_once_and_can_be_caught(s: &Scenario) {
    assert_eq!(
        s.send("step-non-retriable", json!({})).completed(),
        json!({ "caught": "never" })
    );
    assert_eq!(s.count("bad"), 1);
}

fn a_step_retry_waits_as_long_as_the_step_asks(s: &Scenario) {
    assert_eq!(
        s.send("step-retry-after", json!({})).completed(),
        json!("recovered")
    );
    let tries = s.noted_times("bad", 2);
    let waited = elapsed_ms(&tries[0], &tries[1]);
    assert!(
        (2900..15_000).contains(&waited),
        "the retry came after {waited} ms"
    );
}
