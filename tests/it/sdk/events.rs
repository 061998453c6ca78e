//! Waiting for events and signals, and sending them from steps.

use std::time::Duration;

use inngest_tests::{
    scenario::Scenario,
    wait::{DEADLINE, holds_for, wait_until},
};
use serde_json::{Value, json};

scenarios! {
    all:
        a_wait_returns_the_event_that_satisfies_its_condition
        a_wait_that_times_out_returns_null
        a_wait_belongs_to_its_own_run
        events_sent_from_a_step_start_other_functions
        a_finished_function_is_an_event;
    js:
        a_wait_matches_by_an_equal_field
        a_signal_resumes_the_run_that_waits_for_it
        a_signal_sent_from_a_step_resumes_another_run
        a_signal_nobody_waits_for_is_not_found
        a_wait_for_a_signal_times_out_with_null
        a_second_wait_for_a_signal_fails_its_run
        a_second_wait_may_replace_the_first;
    ts4:
        a_wait_finds_an_event_that_a_step_of_the_same_call_sent;
}

fn a_wait_returns_the_event_that_satisfies_its_condition(s: &Scenario) {
    let run = s.send("wait", json!({}));
    s.noted("before");
    wait_for_step_count(s, &run.run().id, 2);
    let answer = |to: &str, ok: bool| json!({ "to": to, "ok": ok, "marker": s.marker });
    s.send("answer", answer("somebody else", true));
    s.send("answer", answer(&s.marker, false));
    s.send("answer", answer(&s.marker, true));
    let output = run.completed();
    assert_eq!(
        output,
        json!({ "answer": answer(&s.marker, true), "name": s.event("answer"), "to": s.marker })
    );
    assert_eq!(s.notes(), ["before"]);
}

fn a_wait_that_times_out_returns_null(s: &Scenario) {
    assert_eq!(
        s.send("wait-timeout", json!({})).completed(),
        json!({ "answer": null })
    );
    s.noted("gave up");
}

/// SDKs that checkpoint report the wait in the call that sent the event. The others report it in a later call, and waits do not look
/// back further than the call that reports them.
fn a_wait_finds_an_event_that_a_step_of_the_same_call_sent(s: &Scenario) {
    assert_eq!(
        s.send("wait-lookback", json!({})).completed(),
        json!({ "answer": 1 })
    );
}

fn a_wait_belongs_to_its_own_run(s: &Scenario) {
    let first = s
        .send("wait", json!({ "marker": format!("{}-other", s.marker) }))
        .run();
    let second = s.send("wait", json!({}));
    let second_run = second.run();
    wait_for_step_count(s, &first.id, 2);
    wait_for_step_count(s, &second_run.id, 2);
    s.send("answer", json!({ "to": s.marker, "ok": true }));
    second.completed();
    assert_eq!(s.server().run(&first.id).status, "Running");
    s.server().delete(&format!("/v1/runs/{}", first.id));
}

fn events_sent_from_a_step_start_other_functions(s: &Scenario) {
    let output = s.send("send-event", json!({})).completed();
    let ids = output["ids"]
        .as_array()
        .expect("the step returns the ids")
        .clone();
    assert_eq!(ids.len(), 2);
    let received = s.noted_times("received", 2);
    let mut numbers: Vec<_> = received
        .iter()
        .map(|entry| entry["data"]["n"].as_i64())
        .collect();
    numbers.sort();
    assert_eq!(numbers, [Some(1), Some(2)]);
    for id in ids {
        let runs = s.server().runs_of(id.as_str().expect("an id is text"));
        assert_eq!(runs.len(), 1);
    }
}

fn a_finished_function_is_an_event(s: &Scenario) {
    let run = s.send("watched", json!({})).ended();
    let told = s.noted("finished");
    assert_eq!(
        told["data"],
        json!({ "result": { "of": s.marker }, "run": run.id, "status": "Completed" })
    );
}

fn a_wait_matches_by_an_equal_field(s: &Scenario) {
    let run = s.send("wait-match", json!({}));
    wait_for_step_count(s, &run.run().id, 2);
    s.send("match", json!({ "marker": "somebody else", "value": 1 }));
    s.send("match", json!({ "value": 2 }));
    assert_eq!(run.completed(), json!({ "answer": 2 }));
}

fn a_signal_resumes_the_run_that_waits_for_it(s: &Scenario) {
    let run = s.send("signal", json!({ "signal": s.marker }));
    let run_id = run.run().id;
    let answer = deliver(s, &s.marker, &json!({ "answer": [1, null] }));
    assert_eq!(answer["data"]["run_id"], run_id);
    assert_eq!(
        run.completed(),
        json!({ "signal": { "signal": s.marker, "data": { "answer": [1, null] } } })
    );
    let again = s
        .server()
        .post("/v1/signals", &json!({ "signal": s.marker, "data": null }));
    assert_eq!(again.status, 404);
}

fn a_signal_sent_from_a_step_resumes_another_run(s: &Scenario) {
    let waiting = s.send("signal", json!({ "signal": s.marker }));
    wait_for_step_count(s, &waiting.run().id, 2);
    assert_eq!(
        s.send("send-signal", json!({ "signal": s.marker }))
            .completed(),
        json!("sent")
    );
    assert_eq!(
        waiting.completed(),
        json!({ "signal": { "signal": s.marker, "data": { "from": s.marker } } })
    );
}

fn a_signal_nobody_waits_for_is_not_found(s: &Scenario) {
    let answer = s
        .server()
        .post("/v1/signals", &json!({ "signal": s.marker, "data": {} }));
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(
        s.send("send-signal", json!({ "signal": s.marker }))
            .completed(),
        json!("sent")
    );
}

fn a_wait_for_a_signal_times_out_with_null(s: &Scenario) {
    let run = s.send("signal", json!({ "signal": s.marker, "timeout": "1s" }));
    assert_eq!(run.completed(), json!({ "signal": null }));
}

fn a_second_wait_for_a_signal_fails_its_run(s: &Scenario) {
    let first = s.send("signal", json!({ "signal": s.marker }));
    wait_for_step_count(s, &first.run().id, 2);
    let error = s.send("signal", json!({ "signal": s.marker })).failed();
    assert!(error.to_lowercase().contains("signal"), "{error}");
    deliver(s, &s.marker, &json!(1));
    assert_eq!(first.completed()["signal"]["data"], json!(1));
}

fn a_second_wait_may_replace_the_first(s: &Scenario) {
    let first = s.send("signal", json!({ "signal": s.marker, "timeout": "4s" }));
    wait_for_step_count(s, &first.run().id, 2);
    let second = s.send(
        "signal",
        json!({ "signal": s.marker, "conflict": "replace" }),
    );
    wait_for_step_count(s, &second.run().id, 2);
    deliver(s, &s.marker, &json!(2));
    assert_eq!(second.completed()["signal"]["data"], json!(2));
    holds_for(
        "the first run still waits",
        Duration::from_millis(300),
        || {
            let run = first.run();
            !run.is_ended() || run.output["signal"].is_null()
        },
    );
    assert_eq!(first.completed(), json!({ "signal": null }));
}

/// Sends a signal as soon as somebody waits for it.
fn deliver(s: &Scenario, signal: &str, data: &Value) -> Value {
    wait_until("somebody to wait for the signal", DEADLINE, || {
        let answer = s
            .server()
            .post("/v1/signals", &json!({ "signal": signal, "data": data }));
        (answer.status == 200).then_some(answer.body)
    })
}

/// Waits until the server knows `count` steps of a run, by GraphQL: the journal cannot tell that a wait is in place.
pub(crate) fn wait_for_step_count(s: &Scenario, run_id: &str, count: u64) {
    let query = "query ($id: ID!) { run(id: $id) { stepCounts { total } } }";
    wait_until(&format!("{count} steps of run {run_id}"), DEADLINE, || {
        let data = s.server().graphql(query, &json!({ "id": run_id }));
        (data["run"]["stepCounts"]["total"].as_u64() >= Some(count)).then_some(())
    });
}
