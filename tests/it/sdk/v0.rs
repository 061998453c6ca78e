//! What the test suites of the SDK projects ask of the older GraphQL API about the runs of their functions.

use inngest_tests::{
    scenario::Scenario,
    wait::{DEADLINE, wait_until},
};
use serde_json::{Value, json};

scenarios! {
    all:
        a_suite_follows_a_run_from_its_event_to_its_output
        a_suite_sees_why_a_run_failed
        a_suite_reads_outputs_through_the_trace
        a_suite_sees_what_a_step_invoked
        a_suite_lowers_the_limits_of_a_function;
    js: a_suite_sees_what_the_sdk_calls_a_step;
}

fn ask(s: &Scenario, query: &str, variables: &Value) -> Value {
    let body = json!({ "query": query, "variables": variables });
    let mut answer = s.server().post("/v0/gql", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.get("errors").is_none(), "{}", answer.body);
    answer.body["data"].take()
}

/// The one run of an event, once `functionRun` says that it has ended; asked in the way of the suites, which take the first final word.
fn ended(s: &Scenario, event: &str) -> Value {
    let of_event = "query ($id: ID!) { event(query: {eventId: $id}) { functionRuns { id } } }";
    let run = wait_until("the event's run", DEADLINE, || {
        let shown = ask(s, of_event, &json!({ "id": event }));
        let run = &shown["event"]["functionRuns"][0]["id"];
        run.as_str().map(str::to_owned)
    });
    let query =
        "query ($id: ID!) { functionRun(query: {functionRunId: $id}) { id status output } }";
    wait_until("the end of the run", DEADLINE, || {
        let run = ask(s, query, &json!({ "id": run }))["functionRun"].take();
        (run["status"] != "RUNNING").then_some(run)
    })
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().expect("JSON text")).expect("JSON text")
}

fn a_suite_follows_a_run_from_its_event_to_its_output(s: &Scenario) {
    let started = s.send("steps", json!({ "n": 1 }));
    let run = ended(s, &started.event_id);
    assert_eq!(run["status"], "COMPLETED");
    let output = json!({ "a": 2, "b": { "value": 4 }, "c": [4, null] });
    assert_eq!(parsed(&run["output"]), output);

    let query = "query ($run: String!, $event: ULID!) {
        run(runID: $run) { status output isBatch cronSchedule function { slug } }
        runTrigger(runID: $run) { eventName IDs payloads isBatch cron }
        eventV2(id: $event) { name raw runs { id status function { slug } } } }";
    let variables = json!({ "run": run["id"], "event": started.event_id });
    let shown = ask(s, query, &variables);
    let function = json!({ "slug": s.slug("steps") });
    assert_eq!(parsed(&shown["run"]["output"]), output);
    assert_eq!(shown["run"]["function"], function);
    assert_eq!(shown["runTrigger"]["eventName"], s.event("steps"));
    assert_eq!(shown["runTrigger"]["IDs"], json!([started.event_id]));
    assert_eq!(
        shown["runTrigger"]["payloads"],
        json!([shown["eventV2"]["raw"]])
    );
    let raw = parsed(&shown["eventV2"]["raw"]);
    assert_eq!(raw["data"], json!({ "n": 1, "marker": s.marker }));
    assert_eq!(
        shown["eventV2"]["runs"],
        json!([{ "id": run["id"], "status": "COMPLETED", "function": function }])
    );
}

fn a_suite_sees_why_a_run_failed(s: &Scenario) {
    let run = ended(s, &s.send("step-uncaught", json!({})).event_id);
    assert_eq!(run["status"], "FAILED");
    assert_eq!(parsed(&run["output"])["message"], "step boom");
}

/// What a span brought, by the id that the trace gives for it.
fn output(s: &Scenario, span: &Value) -> Value {
    let query = "query ($id: String!) { output: runTraceSpanOutputByID(outputID: $id) { data error { name message stack cause } } }";
    ask(s, query, &json!({ "id": span["outputID"] }))["output"].take()
}

fn a_suite_reads_outputs_through_the_trace(s: &Scenario) {
    let run = ended(s, &s.send("step-flaky", json!({ "failures": 1 })).event_id);
    assert_eq!(run["status"], "COMPLETED");
    let query = "query ($id: String!, $preview: Boolean) { run(runID: $id) { trace(preview: $preview) { name isRoot spanID status outputID childrenSpans {
        name status attempts parentSpanID stepOp stepType outputID childrenSpans { name status outputID } } } } }";
    let trace = |preview: bool| {
        let variables = json!({ "id": run["id"], "preview": preview });
        ask(s, query, &variables)["run"]["trace"].take()
    };
    let (old, preview) = (trace(false), trace(true));
    assert_eq!(output(s, &old)["data"], run["output"]);
    let names = |trace: &Value| -> Vec<Value> {
        let children = trace["childrenSpans"].as_array().expect("a list");
        children.iter().map(|span| span["name"].clone()).collect()
    };
    assert_eq!(names(&old), ["before", "flaky", "function success"]);
    assert_eq!(names(&preview), ["before", "flaky", "Finalization"]);
    let flaky = &old["childrenSpans"][1];
    assert_eq!(flaky["parentSpanID"], old["spanID"]);
    assert_eq!(
        (&flaky["status"], &flaky["attempts"], &flaky["stepOp"]),
        (&json!("COMPLETED"), &json!(1), &json!("RUN"))
    );
    assert_eq!(names(flaky), ["Attempt 0", "Attempt 1"]);
    assert_eq!(
        output(s, &flaky["childrenSpans"][0])["error"]["message"],
        "not yet"
    );
    assert_eq!(parsed(&output(s, flaky)["data"]), json!({ "attempt": 1 }));
    assert_eq!(preview["childrenSpans"][2]["stepType"], "FINALIZATION");
}

fn a_suite_sees_what_a_step_invoked(s: &Scenario) {
    let run = ended(s, &s.send("invoke", json!({ "n": 1 })).event_id);
    let query = "query ($id: String!) { run(runID: $id) { trace { childrenSpans { name status stepOp outputID
        stepInfo { ... on InvokeStepInfo { triggeringEventID functionID runID returnEventID timedOut } } } } } }";
    let shown = ask(s, query, &json!({ "id": run["id"] }));
    let step = &shown["run"]["trace"]["childrenSpans"][0];
    assert_eq!(
        (&step["name"], &step["status"], &step["stepOp"]),
        (&json!("call"), &json!("COMPLETED"), &json!("INVOKE"))
    );
    let info = &step["stepInfo"];
    assert_eq!(info["functionID"], s.slug("callee"));
    assert_eq!(info["timedOut"], false);
    assert!(info["returnEventID"].is_string(), "{info}");
    let query = "query ($id: ULID!) { eventV2(id: $id) { name runs { id status } } }";
    let event = ask(s, query, &json!({ "id": info["triggeringEventID"] }));
    assert_eq!(
        event["eventV2"],
        json!({
            "name": "inngest/function.invoked",
            "runs": [{ "id": info["runID"], "status": "COMPLETED" }],
        })
    );
}

fn a_suite_lowers_the_limits_of_a_function(s: &Scenario) {
    let found = ask(s, "{ functions { id slug } }", &Value::Null);
    let functions = found["functions"].as_array().expect("a list");
    let slug = s.slug("limited");
    let id = functions.iter().find(|function| function["slug"] == slug);
    let id = id.expect("it is registered")["id"].as_str().expect("text");
    for (path, output) in [
        (
            "step-limit",
            r#"{"error":{"error":"function has too many steps","name":"InngestErrFunctionOverflowed","message":"The function run exceeded the step limit of 1 steps."}}"#,
        ),
        (
            "state-size-limit",
            r#"{"error":{"error":"InngestErrStateOverflowed: The function run exceeded the state size limit of 1 bytes.","name":"InngestErrStateOverflowed","message":"The function run exceeded the state size limit of 1 bytes."}}"#,
        ),
    ] {
        let path = format!("/fn/{path}?functionId={id}");
        let set = s.server().post(&format!("{path}&limit=1"), &json!({}));
        assert_eq!(set.status, 200, "{}", set.body);
        let run = ended(s, &s.send("limited", json!({})).event_id);
        assert_eq!(run["status"], "FAILED");
        assert_eq!(run["output"], output);
        assert_eq!(s.server().delete(&path).status, 200);
        let run = ended(s, &s.send("limited", json!({})).event_id);
        assert_eq!(run["status"], "COMPLETED");
    }
}

fn a_suite_sees_what_the_sdk_calls_a_step(s: &Scenario) {
    let run = ended(s, &s.send("send-event", json!({})).event_id);
    let query = "query ($id: String!) { run(runID: $id) { trace(preview: true) { childrenSpans { name stepOp stepType stepInfo { ... on RunStepInfo { type } } } } } }";
    let shown = ask(s, query, &json!({ "id": run["id"] }));
    assert_eq!(
        shown["run"]["trace"]["childrenSpans"][0],
        json!({ "name": "emit", "stepOp": "RUN", "stepType": "step.sendEvent", "stepInfo": { "type": "step.sendEvent" } })
    );
}
