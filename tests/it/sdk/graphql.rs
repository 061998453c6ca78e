//! The same runs, seen and changed through GraphQL.

use inngest_tests::scenario::Scenario;
use serde_json::{Value, json};

use crate::events::wait_for_step_count;

scenarios! {
    all:
        a_run_shows_its_steps_in_order
        a_run_shows_why_it_failed
        a_rerun_from_the_start_is_a_new_run;
    js:
        a_rerun_from_a_step_keeps_what_came_before;
    ts3:
        a_rerun_from_a_step_takes_other_arguments;
    ts4:
        an_event_shows_its_runs
        a_waiting_run_shows_what_it_waits_for
        a_run_is_cancelled
        runs_are_listed_by_function_and_status
        events_are_sent
        a_function_shows_its_configuration;
}

const RERUN: &str = "mutation ($input: RerunRunInput!) { rerunRun(input: $input) { run { runId } errors { message } } }";

fn a_run_shows_its_steps_in_order(s: &Scenario) {
    let run = s.send("steps", json!({ "n": 1 })).ended();
    let query = "query ($id: ID!) { run(id: $id) { runId status output function { slug }
        steps { nodes { name kind status output } } } }";
    let shown = s.server().graphql(query, &json!({ "id": run.id }));
    let run = &shown["run"];
    assert_eq!(run["status"], "COMPLETED");
    assert_eq!(
        run["output"],
        json!({ "a": 2, "b": { "value": 4 }, "c": [4, null] })
    );
    assert_eq!(run["function"]["slug"], s.slug("steps"));
    let step = |name: &str, output: Value| json!({ "name": name, "kind": "RUN", "status": "COMPLETED", "output": output });
    assert_eq!(
        run["steps"]["nodes"],
        json!([
            step("a", json!(2)),
            step("b", json!({ "value": 4 })),
            step("c", json!([4, null]))
        ])
    );
}

fn a_run_shows_why_it_failed(s: &Scenario) {
    let run = s.send("step-uncaught", json!({})).ended();
    let query = "query ($id: ID!) { run(id: $id) { status output error { message }
        steps { nodes { name status attemptCount error { name message } } } } }";
    let shown = s.server().graphql(query, &json!({ "id": run.id }));
    assert_eq!(shown["run"]["status"], "FAILED");
    assert_eq!(shown["run"]["error"]["message"], "step boom");
    let step = &shown["run"]["steps"]["nodes"][0];
    assert_eq!(step["status"], "FAILED");
    assert_eq!(step["attemptCount"], 2);
    assert_eq!(step["error"]["message"], "step boom");
}

/// A finished run of three steps, and the id of its second one.
fn run_of_three_steps(s: &Scenario) -> (String, Value) {
    let first = s.send("step-inputs", json!({ "n": 1 })).ended();
    assert_eq!(first.output, json!({ "a": 2, "b": 20, "c": 21 }));
    let query = "query ($id: ID!) { run(id: $id) { steps { nodes { name stepId } } } }";
    let shown = s.server().graphql(query, &json!({ "id": first.id }));
    let b = &shown["run"]["steps"]["nodes"][1];
    assert_eq!(b["name"], "b");
    (first.id.clone(), b["stepId"].clone())
}

fn a_rerun_from_a_step_keeps_what_came_before(s: &Scenario) {
    let (first, step) = run_of_three_steps(s);
    let from = json!({ "step": { "stepId": step } });
    let input = json!({ "runId": first, "from": from, "idempotencyKey": s.marker() });
    let rerun = || s.server().graphql(RERUN, &json!({ "input": input }));
    let answer = rerun();
    assert_eq!(answer["rerunRun"]["errors"], json!([]));
    assert_eq!(rerun(), answer, "the same request starts no second run");
    let id = answer["rerunRun"]["run"]["runId"].as_str();
    let again = s.server().ended(id.unwrap_or_default());
    assert_eq!(again.output, json!({ "a": 2, "b": 20, "c": 21 }));
    assert_eq!(s.notes(), ["a", "b", "b"], "step a ran once");
}

/// Only with npm `inngest` 3: version 4, when it goes on in the same call, takes the result of such a step for null.
fn a_rerun_from_a_step_takes_other_arguments(s: &Scenario) {
    let (first, step) = run_of_three_steps(s);
    let from = json!({ "step": { "stepId": step, "input": [7, 3] } });
    let input = json!({ "runId": first, "from": from });
    let answer = s.server().graphql(RERUN, &json!({ "input": input }));
    assert_eq!(answer["rerunRun"]["errors"], json!([]));
    let id = answer["rerunRun"]["run"]["runId"].as_str();
    let again = s.server().ended(id.unwrap_or_default());
    assert_eq!(again.output, json!({ "a": 2, "b": 21, "c": 22 }));
    assert_eq!(s.notes(), ["a", "b", "b"], "step a ran once");
    assert_eq!(s.journal()[2]["data"], json!({ "x": 7, "factor": 3 }));
}

fn a_rerun_from_the_start_is_a_new_run(s: &Scenario) {
    let first = s.send("steps", json!({ "n": 1 })).ended();
    let second = rerun(s, &json!({ "runId": first.id }));
    assert_ne!(second, first.id);
    assert_eq!(s.server().ended(&second).output, first.output);
    assert_eq!(s.notes(), ["a", "b", "c", "a", "b", "c"]);
    let query = "query ($id: ID!) { run(id: $id) { rerunOf { runId } } }";
    let shown = s.server().graphql(query, &json!({ "id": second }));
    assert_eq!(shown["run"]["rerunOf"]["runId"], first.id);
}

fn an_event_shows_its_runs(s: &Scenario) {
    let started = s.send("echo", json!({ "n": 1 }));
    let run = started.ended();
    let query =
        "query ($id: ID!) { event(id: $id) { eventId name data runs { nodes { runId status } } } }";
    let shown = s
        .server()
        .graphql(query, &json!({ "id": started.event_id }));
    let expected = json!({
        "eventId": started.event_id,
        "name": s.event("echo"),
        "data": { "n": 1, "marker": s.marker },
        "runs": { "nodes": [{ "runId": run.id, "status": "COMPLETED" }] },
    });
    assert_eq!(shown["event"], expected);
}

fn a_waiting_run_shows_what_it_waits_for(s: &Scenario) {
    let run = s.send("wait", json!({})).run();
    wait_for_step_count(s, &run.id, 2);
    let query = "query ($id: ID!) { run(id: $id) { status waits { kind status eventName } } }";
    let shown = s.server().graphql(query, &json!({ "id": run.id }));
    assert_eq!(shown["run"]["status"], "RUNNING");
    assert_eq!(
        shown["run"]["waits"],
        json!([{ "kind": "EVENT", "status": "OPEN", "eventName": s.event("answer") }])
    );
    s.server().delete(&format!("/v1/runs/{}", run.id));
}

fn a_run_is_cancelled(s: &Scenario) {
    let run = s.send("sleep-long", json!({})).run();
    s.noted("before");
    let mutation = "mutation ($input: CancelRunInput!) { cancelRun(input: $input) {
        run { status } errors { message } } }";
    let answer = s
        .server()
        .graphql(mutation, &json!({ "input": { "runId": run.id } }));
    let expected = json!({ "run": { "status": "CANCELLED" }, "errors": [] });
    assert_eq!(answer["cancelRun"], expected);
    assert_eq!(s.server().run(&run.id).status, "Cancelled");
}

fn runs_are_listed_by_function_and_status(s: &Scenario) {
    let failed = s.send("non-retriable", json!({})).ended();
    s.send("echo", json!({})).ended();
    let query = "query ($slugs: [String!]) { environment { runs(first: 50, filter: {
        time: { from: \"2020-01-01T00:00:00Z\" }, functionSlugs: $slugs, statuses: [FAILED] }) {
        nodes { runId status function { slug } } } } }";
    let slug = s.slug("non-retriable");
    let shown = s.server().graphql(query, &json!({ "slugs": [slug] }));
    let runs = shown["environment"]["runs"]["nodes"]
        .as_array()
        .expect("a page of runs")
        .clone();
    assert!(runs.iter().any(|run| run["runId"] == failed.id));
    assert!(
        runs.iter()
            .all(|run| run["status"] == "FAILED" && run["function"]["slug"] == slug),
        "{runs:?}"
    );
}

fn events_are_sent(s: &Scenario) {
    let shown = s.server().graphql("{ environment { id } }", &json!({}));
    let mutation = "mutation ($input: SendEventsInput!) { sendEvents(input: $input) {
        events { eventId } errors { message } } }";
    let event = json!({ "name": s.event("echo"), "data": { "marker": s.marker } });
    let input = json!({ "environmentId": shown["environment"]["id"], "events": [event] });
    let answer = s.server().graphql(mutation, &json!({ "input": input }));
    assert_eq!(answer["sendEvents"]["errors"], json!([]));
    assert!(
        answer["sendEvents"]["events"][0]["eventId"].is_string(),
        "{answer}"
    );
    s.noted("called");
}

fn a_function_shows_its_configuration(s: &Scenario) {
    let query = "query ($slug: String!) { environment { function(slug: $slug) { slug name isArchived
        triggers { ... on EventTrigger { eventName } } config { retries { attempts isDefault } } app { externalId } } } }";
    let shown = s
        .server()
        .graphql(query, &json!({ "slug": s.slug("flaky") }));
    let expected = json!({
        "slug": s.slug("flaky"),
        "name": "flaky",
        "isArchived": false,
        "triggers": [{ "eventName": s.event("flaky") }],
        "config": { "retries": { "attempts": 3, "isDefault": false } },
        "app": { "externalId": s.sdk.id() },
    });
    assert_eq!(shown["environment"]["function"], expected);
}

/// Reruns a run and returns the id of the new one.
fn rerun(s: &Scenario, input: &Value) -> String {
    let answer = s.server().graphql(RERUN, &json!({ "input": input }));
    assert_eq!(answer["rerunRun"]["errors"], json!([]), "{answer}");
    answer["rerunRun"]["run"]["runId"]
        .as_str()
        .expect("the new run has an id")
        .to_owned()
}
