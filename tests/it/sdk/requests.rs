//! Requests that the server makes for a step.

use inngest_tests::scenario::Scenario;
use serde_json::json;

scenarios! {
    all: an_inference_step_returns_the_providers_answer;
    js:
        a_fetch_step_returns_the_answer
        a_fetch_step_returns_error_statuses_as_answers;
}

fn an_inference_step_returns_the_providers_answer(s: &Scenario) {
    assert_eq!(
        s.send("infer", json!({})).completed(),
        json!("test-model: hi; Bearer test-key")
    );
}

fn a_fetch_step_returns_the_answer(s: &Scenario) {
    let output = s.send("fetch", json!({})).completed();
    let expected = json!({ "status": 202, "method": "PUT", "header": "yes", "body": "hello", "query": "?q=1" });
    assert_eq!(output, expected);
}

fn a_fetch_step_returns_error_statuses_as_answers(s: &Scenario) {
    assert_eq!(
        s.send("fetch-missing", json!({})).completed(),
        json!({ "status": 404 })
    );
}
