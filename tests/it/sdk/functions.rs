//! Functions without steps: results, errors and retries.

use inngest_tests::scenario::Scenario;
use serde_json::json;

scenarios! {
    all:
        a_result_is_the_output_of_the_run
        any_json_survives_the_way_to_the_function_and_back
        no_result_is_null
        a_thrown_error_is_retried_until_it_succeeds
        a_run_fails_after_its_last_attempt
        a_failure_handler_runs_once_with_the_error
        a_non_retriable_error_is_not_retried
        a_retry_waits_as_long_as_the_function_asks
        a_retry_waits_until_the_date_the_function_names
        a_streamed_result_is_unwrapped
        a_streamed_error_is_retried;
}

fn a_result_is_the_output_of_the_run(s: &Scenario) {
    let output = s.send("echo", json!({ "n": 1 })).completed();
    assert_eq!(output, json!({ "n": 1, "marker": s.marker }));
    assert_eq!(s.count("called"), 1);
}

fn any_json_survives_the_way_to_the_function_and_back(s: &Scenario) {
    let data = json!({
        "text": "grüße 🦀 \u{2028} \"quoted\" \\ \n",
        "numbers": [0, -1, 1.5, 9_007_199_254_740_991_i64, 1e21, 1e-7],
        "empty": [{}, [], "", null, false],
        "deep": { "a": { "b": { "c": [{ "d": null }] } } },
        "é": "key",
        "marker": s.marker,
    });
    assert_eq!(s.send("echo", data.clone()).completed(), data);
}

fn no_result_is_null(s: &Scenario) {
    assert_eq!(s.send("nothing", json!({})).completed(), json!(null));
    assert_eq!(s.count("called"), 1);
}

fn a_thrown_error_is_retried_until_it_succeeds(s: &Scenario) {
    let output = s.send("flaky", json!({ "failures": 2 })).completed();
    assert_eq!(output, json!({ "attempt": 2 }));
    let attempts: Vec<_> = s
        .journal()
        .iter()
        .map(|entry| entry["attempt"].clone())
        .collect();
    assert_eq!(attempts, [json!(0), json!(1), json!(2)]);
}

fn a_run_fails_after_its_last_attempt(s: &Scenario) {
    let error = s.send("hopeless", json!({})).failed();
    assert!(error.contains("boom"), "{error}");
    assert_eq!(s.count("called"), 2);
}

fn a_failure_handler_runs_once_with_the_error(s: &Scenario) {
    let failed = s.send("hopeless", json!({})).ended();
    let told = s.noted("failure handled");
    assert_eq!(told["data"]["message"], "boom");
    assert_eq!(told["data"]["run"], failed.id);
    assert_eq!(told["data"]["function"], s.slug("hopeless"));
    assert_ne!(told["runId"], failed.id);
    let handler = s
        .server()
        .ended(told["runId"].as_str().expect("the handler has a run"));
    assert_eq!(handler.status, "Completed");
    assert_eq!(s.count("failure handled"), 1);
}

fn a_non_retriable_error_is_not_retried(s: &Scenario) {
    let error = s.send("non-retriable", json!({})).failed();
    assert!(error.contains("stop"), "{error}");
    assert_eq!(s.count("called"), 1);
}

fn a_retry_waits_as_long_as_the_function_asks(s: &Scenario) {
    retry_comes_after_three_seconds(s, false);
}

fn a_retry_waits_until_the_date_the_function_names(s: &Scenario) {
    retry_comes_after_three_seconds(s, true);
}

/// The server's own interval is one second, so three seconds can only be the function's wish.
fn retry_comes_after_three_seconds(s: &Scenario, as_date: bool) {
    let output = s
        .send("retry-after", json!({ "asDate": as_date }))
        .completed();
    assert_eq!(output, json!("recovered"));
    let calls = s.noted_times("called", 2);
    let waited = elapsed_ms(&calls[0], &calls[1]);
    // Python rounds its date down to whole seconds of the way there; half a second is the slack for that.
    assert!(
        (2400..15_000).contains(&waited),
        "the retry came after {waited} ms"
    );
}

fn a_streamed_result_is_unwrapped(s: &Scenario) {
    let event = format!("{}-stream/echo", s.sdk.id());
    let output = s
        .send_event(json!({ "name": event, "data": { "n": 1 } }))
        .completed();
    assert_eq!(output, json!({ "n": 1, "marker": s.marker }));
    let event = format!("{}-stream/steps", s.sdk.id());
    let output = s
        .send_event(json!({ "name": event, "data": { "n": 1 } }))
        .completed();
    assert_eq!(
        output,
        json!({ "a": 2, "b": { "value": 4 }, "c": [4, null] })
    );
}

fn a_streamed_error_is_retried(s: &Scenario) {
    let event = format!("{}-stream/flaky", s.sdk.id());
    let output = s
        .send_event(json!({ "name": event, "data": { "failures": 1 } }))
        .completed();
    assert_eq!(output, json!({ "attempt": 1 }));
    assert_eq!(s.count("called"), 2);
}

/// Milliseconds between two journal entries.
pub(crate) fn elapsed_ms(earlier: &serde_json::Value, later: &serde_json::Value) -> i64 {
    let at = |entry: &serde_json::Value| entry["at"].as_i64().expect("every entry has a time");
    at(later) - at(earlier)
}
