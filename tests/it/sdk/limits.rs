//! What is too large, and what only looks too large.

use inngest_tests::scenario::Scenario;
use serde_json::json;

scenarios! {
    all:
        a_step_result_over_four_mebibytes_fails_the_run
        a_result_over_eight_mebibytes_fails_the_run
        state_over_four_mebibytes_is_fetched_by_the_app
        an_event_over_three_mebibytes_is_refused;
    js: more_than_a_thousand_steps_at_once_fail_the_run;
}

fn a_step_result_over_four_mebibytes_fails_the_run(s: &Scenario) {
    let error = s.send("large-step", json!({})).failed();
    assert!(
        error.contains("step output size is greater than the limit"),
        "{}",
        start(&error)
    );
}

fn a_result_over_eight_mebibytes_fails_the_run(s: &Scenario) {
    let error = s.send("large-result", json!({})).failed();
    assert!(
        error.contains("exceeds the maximum size limit"),
        "{}",
        start(&error)
    );
}

fn state_over_four_mebibytes_is_fetched_by_the_app(s: &Scenario) {
    let length = 1_572_864;
    assert_eq!(
        s.send("large-state", json!({})).completed(),
        json!([length, length, length, length])
    );
    assert_eq!(s.notes(), ["part 0", "part 1", "part 2", "part 3"]);
}

fn an_event_over_three_mebibytes_is_refused(s: &Scenario) {
    let filler = "x".repeat(3 * 1024 * 1024);
    let answer = s.server().post(
        "/e/test",
        &json!({ "name": s.event("echo"), "data": { "filler": filler } }),
    );
    assert_eq!(answer.status, 400);
    let error = answer.body["error"].as_str().unwrap_or_default();
    assert!(error.contains("3145728"), "{}", start(error));
}

fn more_than_a_thousand_steps_at_once_fail_the_run(s: &Scenario) {
    let error = s.send("parallel-wide", json!({ "n": 1001 })).failed();
    assert!(
        error.contains("InngestErrFunctionOverflowed"),
        "{}",
        start(&error)
    );
}

fn start(text: &str) -> String {
    text.chars().take(300).collect()
}
