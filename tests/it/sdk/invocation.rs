//! Functions that call functions, and direct invocation.

use inngest_tests::{
    scenario::Scenario,
    wait::{DEADLINE, wait_until},
};
use serde_json::json;

scenarios! {
    all:
        an_invoked_function_returns_its_result
        an_invoked_function_that_fails_raises_its_error
        an_invocation_that_takes_too_long_raises_a_timeout
        invoking_an_unknown_function_raises_an_error
        cancelling_an_invoked_run_raises_an_error
        a_function_can_be_invoked_over_http;
}

fn an_invoked_function_returns_its_result(s: &Scenario) {
    let output = s.send("invoke", json!({ "n": 21 })).completed();
    assert_eq!(output, json!({ "result": { "doubled": 42 } }));
    assert_eq!(
        s.noted("called")["data"]["event"],
        "inngest/function.invoked"
    );
    assert_eq!(s.count("called"), 1);
}

fn an_invoked_function_that_fails_raises_its_error(s: &Scenario) {
    let output = s.send("invoke-failing", json!({})).completed();
    assert!(
        output["caught"]
            .as_str()
            .is_some_and(|text| text.contains("callee failed")),
        "{output}"
    );
}

fn an_invocation_that_takes_too_long_raises_a_timeout(s: &Scenario) {
    let output = s.send("invoke-timeout", json!({})).completed();
    assert!(
        output["caught"]
            .as_str()
            .is_some_and(|text| text.contains("Timed out")),
        "{output}"
    );
}

fn invoking_an_unknown_function_raises_an_error(s: &Scenario) {
    let output = s.send("invoke-unknown", json!({})).completed();
    assert!(
        output["caught"]
            .as_str()
            .is_some_and(|text| text.contains("could not find function")),
        "{output}"
    );
}

fn cancelling_an_invoked_run_raises_an_error(s: &Scenario) {
    let parent = s.send("invoke-slow", json!({}));
    let child = s.noted("slow started")["runId"]
        .as_str()
        .expect("the callee has a run")
        .to_owned();
    assert_eq!(s.server().delete(&format!("/v1/runs/{child}")).status, 200);
    assert_eq!(s.server().ended(&child).status, "Cancelled");
    let output = parent.completed();
    assert!(output["caught"].is_string(), "{output}");
}

fn a_function_can_be_invoked_over_http(s: &Scenario) {
    let body = json!({ "data": { "marker": s.marker, "n": 4 } });
    let answer = s
        .server()
        .post(&format!("/invoke/{}", s.slug("callee")), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let event_id = answer.body["id"]
        .as_str()
        .expect("the answer names the event")
        .to_owned();
    let run = wait_until("the run", DEADLINE, || {
        s.server().runs_of(&event_id).into_iter().next()
    });
    assert_eq!(s.server().ended(&run.id).output, json!({ "doubled": 8 }));
}
