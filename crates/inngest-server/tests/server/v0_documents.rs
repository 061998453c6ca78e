//! What the test suites of the SDK projects ask, one row for each shape: every document is valid here, and its answer is the one that they
//! go on with. Variables are those that their clients send, null for what they leave open.

use inngest_core::{
    access::Actor,
    ids::{DEFAULT_ENV, DEFAULT_ORG, RunId, StepId},
    json::Json,
    run::{RunStatus, StepDetails, StepKind, StepStatus, StepTold},
    time::Timestamp,
};
use inngest_state::{Commit, RunChange, StepChange};
use serde_json::{Value, json};

use crate::harness::{NOW, Server};

/// One shape of question. `{run}`, `{event}`, `{output}` and `{function}` stand for ids.
struct Row {
    /// Who asks.
    suite: &'static str,
    /// The name of the operation that is sent beside the document, if one is.
    name: Option<&'static str>,
    document: &'static str,
    variables: fn() -> Value,
    /// What the answer has at least. `"*"` is anything but null, and `"json:…"` a text that is this JSON.
    expected: fn() -> Value,
}

const TRACE: &str = "query ($runID: String!) { run(runID: $runID) { status traceID isBatch batchCreatedAt cronSchedule endedAt
    trace { ...D childrenSpans { ...D childrenSpans { ...D } } } } }
    fragment D on RunTraceSpan { name runID status attempts isRoot parentSpanID spanID startedAt endedAt duration outputID stepOp
        stepInfo { __typename ... on InvokeStepInfo { triggeringEventID functionID timeout returnEventID runID timedOut }
            ... on SleepStepInfo { sleepUntil } ... on WaitForEventStepInfo { eventName expression timeout foundEventID timedOut }
            ... on RunStepInfo { type } } }";

const RUNS: &str = "query ($startTime: Time!, $endTime: Time!, $timeField: RunsV2OrderByField = QUEUED_AT, $status: [FunctionRunStatus!],
        $first: Int = 40, $query: String, $functionIDs: [UUID!]) {
    runs(first: $first, after: null, filter: {from: $startTime, until: $endTime, status: $status, timeField: $timeField, query: $query,
            functionIDs: $functionIDs}, orderBy: [ { field: ENDED_AT, direction: DESC } ]) {
        edges { cursor node { id status traceID startedAt queuedAt endedAt } } pageInfo { startCursor endCursor hasNextPage } totalCount } }";

const EVENTS: &str = "query ($pageSize: Int!, $cursor: String, $startTime: Time!, $endTime: Time, $celQuery: String = null,
        $eventNames: [String!] = null, $includeInternalEvents: Boolean = true) {
    eventsV2(first: $pageSize after: $cursor filter: {from: $startTime, until: $endTime, query: $celQuery, eventNames: $eventNames,
            includeInternalEvents: $includeInternalEvents}) {
        edges { node { name id occurredAt receivedAt raw runs { status id startedAt endedAt function { name slug } } } }
        totalCount pageInfo { hasNextPage endCursor hasPreviousPage startCursor } } }";

const ROWS: &[Row] = &[
    Row {
        suite: "go",
        name: None,
        document: "query { functions { id name app { id externalID name } } }",
        variables: || Value::Null,
        expected: || json!({"functions": [{"id": "{function}", "name": "Receipt", "app": {"id": "*", "externalID": "shop", "name": "shop"}}]}),
    },
    Row {
        suite: "go",
        name: None,
        document: EVENTS,
        variables: || {
            json!({"pageSize": 10, "cursor": null, "startTime": "2026-09-21T16:12:20.000000001+02:00", "endTime": null, "celQuery": null,
                "eventNames": ["shop/order.placed"], "includeInternalEvents": false})
        },
        expected: || {
            json!({"eventsV2": {"totalCount": 1, "pageInfo": {"hasNextPage": false, "hasPreviousPage": false, "endCursor": "*", "startCursor": "*"},
                "edges": [{"node": {"id": "{event}", "name": "shop/order.placed", "occurredAt": "*", "receivedAt": "*",
                    "raw": "json:{\"data\":{\"n\":1},\"id\":\"order-1\",\"name\":\"shop/order.placed\",\"ts\":1790000000000,\"v\":null}",
                    "runs": [{"id": "{run}", "status": "COMPLETED", "startedAt": "*", "endedAt": "*", "function": {"name": "Receipt", "slug": "shop-receipt"}}]}}]}})
        },
    },
    Row {
        suite: "go, an hour that is over",
        name: None,
        document: EVENTS,
        variables: || {
            json!({"pageSize": 10, "cursor": null, "startTime": "0001-01-01T00:00:00Z", "endTime": "2026-09-21T13:13:20Z", "celQuery": null,
                "eventNames": null, "includeInternalEvents": false})
        },
        expected: || json!({"eventsV2": {"totalCount": 0, "edges": [], "pageInfo": {"hasNextPage": false, "endCursor": null, "startCursor": null}}}),
    },
    Row {
        suite: "go",
        name: None,
        document: "query ($id: ULID!) { eventV2(id: $id) { id idempotencyKey name occurredAt raw receivedAt runs { id function { name } status } version } }",
        variables: || json!({"id": "{event}"}),
        expected: || {
            json!({"eventV2": {"id": "{event}", "idempotencyKey": "order-1", "name": "shop/order.placed", "version": null,
                "runs": [{"id": "{run}", "function": {"name": "Receipt"}, "status": "COMPLETED"}]}})
        },
    },
    Row {
        suite: "go",
        name: None,
        document: RUNS,
        variables: || {
            json!({"startTime": "2026-09-21T14:13:20Z", "endTime": "2026-09-21T14:13:30.123456789Z", "timeField": "ENDED_AT", "status": null,
                "first": 40, "query": null, "functionIDs": ["{function}"]})
        },
        expected: || {
            json!({"runs": {"totalCount": 1, "pageInfo": {"hasNextPage": false, "endCursor": "*"},
                "edges": [{"cursor": "*", "node": {"id": "{run}", "status": "COMPLETED", "traceID": "*", "startedAt": "*", "queuedAt": "*", "endedAt": "*"}}]}})
        },
    },
    Row {
        suite: "go, by conditions",
        name: None,
        document: RUNS,
        variables: || {
            json!({"startTime": "2026-09-21T14:13:20Z", "endTime": "2026-09-21T15:13:20Z", "timeField": "QUEUED_AT", "status": ["FAILED", "COMPLETED"],
                "first": 3, "query": "event.name == 'shop/order.placed'\nevent.data.n > 0\noutput.ok == true", "functionIDs": null})
        },
        expected: || json!({"runs": {"totalCount": 1, "edges": [{"node": {"id": "{run}"}}]}}),
    },
    Row {
        suite: "go",
        name: None,
        document: "query ($runID: ID!) { functionRun(query: { functionRunId: $runID }) { output status } }",
        variables: || json!({"runID": "{run}"}),
        expected: || json!({"functionRun": {"output": "json:{\"ok\":true}", "status": "COMPLETED"}}),
    },
    Row {
        suite: "go",
        name: None,
        document: TRACE,
        variables: || json!({"runID": "{run}"}),
        expected: || {
            json!({"run": {"status": "COMPLETED", "isBatch": false, "batchCreatedAt": null, "cronSchedule": null, "endedAt": "*",
                "trace": {"name": "Receipt", "runID": "{run}", "isRoot": true, "status": "COMPLETED", "outputID": "*", "parentSpanID": null,
                    "childrenSpans": [
                        {"name": "charge", "status": "COMPLETED", "attempts": 0, "isRoot": false, "parentSpanID": "*", "outputID": "{output}", "stepOp": "RUN",
                            "stepInfo": {"__typename": "RunStepInfo", "type": "step.ai.wrap"}, "childrenSpans": []},
                        {"name": "note", "stepOp": "RUN", "stepInfo": {"__typename": "RunStepInfo", "type": null}},
                        {"name": "function success", "status": "COMPLETED", "outputID": "*", "stepOp": null, "childrenSpans": []}]}}})
        },
    },
    Row {
        suite: "go",
        name: None,
        document: "query ($outputID: String!) { output: runTraceSpanOutputByID(outputID: $outputID) { data error { name message stack } } }",
        variables: || json!({"outputID": "{output}"}),
        expected: || json!({"output": {"data": "json:{\"paid\":1}", "error": null}}),
    },
    Row {
        suite: "go",
        name: None,
        document: "query ($runID: String!) { runTrigger(runID: $runID) { eventName IDs timestamp payloads isBatch batchID cron } }",
        variables: || json!({"runID": "{run}"}),
        expected: || {
            json!({"runTrigger": {"eventName": "shop/order.placed", "IDs": ["{event}"], "timestamp": "*", "payloads": ["*"], "isBatch": false,
                "batchID": null, "cron": null}})
        },
    },
    Row {
        suite: "go, py",
        name: None,
        document: "query ($eventID: ID!) { event(query: { eventId: $eventID }) { functionRuns { id } } }",
        variables: || json!({"eventID": "{event}"}),
        expected: || json!({"event": {"functionRuns": [{"id": "{run}"}]}}),
    },
    Row {
        suite: "py",
        name: None,
        document: "query ($run_id: String!) { run(runID: $run_id) { trace { childrenSpans { name outputID } } } }",
        variables: || json!({"run_id": "{run}"}),
        expected: || {
            json!({"run": {"trace": {"childrenSpans": [{"name": "charge", "outputID": "{output}"}, {"name": "note"}, {"name": "function success", "outputID": "*"}]}}})
        },
    },
    Row {
        suite: "py",
        name: None,
        document: "query ($output_id: String!) { runTraceSpanOutputByID(outputID: $output_id) { data error { message name stack } } }",
        variables: || json!({"output_id": "{output}"}),
        expected: || json!({"runTraceSpanOutputByID": {"data": "json:{\"paid\":1}", "error": null}}),
    },
    Row {
        suite: "py",
        name: None,
        document: "query ($run_id: String!) { run(runID: $run_id) { output status } runTrigger(runID: $run_id) { payloads } }",
        variables: || json!({"run_id": "{run}"}),
        expected: || {
            json!({"run": {"output": "json:{\"ok\":true}", "status": "COMPLETED"}, "runTrigger": {"payloads":
                ["json:{\"data\":{\"n\":1},\"id\":\"order-1\",\"name\":\"shop/order.placed\",\"ts\":1790000000000,\"v\":null}"]}})
        },
    },
    Row {
        suite: "py",
        name: None,
        document: "query($id: String!) { run(runID: $id) { trace { metadata { kind scope values } childrenSpans { name metadata { kind scope values } } } } }",
        variables: || json!({"id": "{run}"}),
        expected: || json!({"run": {"trace": {"metadata": [], "childrenSpans": [{"name": "charge", "metadata": []}, {"metadata": []}, {"metadata": []}]}}}),
    },
    Row {
        suite: "js",
        name: Some("Events"),
        document: "query Events($query: EventsQuery!) { events(query: $query) { id name payload } }",
        variables: || json!({"query": {}}),
        expected: || json!({"events": [{"id": "{event}", "name": "shop/order.placed", "payload": "json:{\"n\":1}"}]}),
    },
    Row {
        suite: "js",
        name: Some("GetEventStream"),
        document: "query GetEventStream { stream(query: {limit: 999, includeInternalEvents: false}) { id trigger runs { id function { name } } } }",
        variables: || json!({}),
        expected: || json!({"stream": [{"id": "{event}", "trigger": "shop/order.placed", "runs": [{"id": "{run}", "function": {"name": "Receipt"}}]}]}),
    },
    Row {
        suite: "js",
        name: Some("GetRunTimeline"),
        document: "query GetRunTimeline($runId: String!) { run(runID: $runId) { trace(preview: true) { name stepType attempts outputID status
            childrenSpans { name stepType attempts outputID status childrenSpans { name stepType attempts outputID status } } } } }",
        variables: || json!({"runId": "{run}"}),
        expected: || {
            json!({"run": {"trace": {"name": "Run", "stepType": "", "status": "COMPLETED", "childrenSpans": [
                {"name": "charge", "stepType": "step.ai.wrap", "attempts": 0, "outputID": "{output}", "status": "COMPLETED", "childrenSpans": []},
                {"name": "note", "stepType": "RUN", "attempts": 0, "outputID": "*", "status": "COMPLETED", "childrenSpans": []},
                {"name": "Finalization", "stepType": "FINALIZATION", "outputID": "*", "status": "COMPLETED", "childrenSpans": []}]}}})
        },
    },
    Row {
        suite: "js",
        name: Some("GetRunTimelineOutput"),
        document: "query GetRunTimelineOutput($outputId: String!) { runTraceSpanOutputByID(outputID: $outputId) { data error { name message stack cause } } }",
        variables: || json!({"outputId": "{output}"}),
        expected: || json!({"runTraceSpanOutputByID": {"data": "json:{\"paid\":1}", "error": null}}),
    },
    Row {
        suite: "js",
        name: Some("Event"),
        document: "query Event($id: ULID!) { eventV2(id: $id) { idempotencyKey name raw } }",
        variables: || json!({"id": "{event}"}),
        expected: || json!({"eventV2": {"idempotencyKey": "order-1", "name": "shop/order.placed", "raw": "*"}}),
    },
    Row {
        suite: "js",
        name: None,
        document: "query ($runId: String!) { run(runID: $runId) { status trace(preview: true) { status outputID } } }",
        variables: || json!({"runId": "{run}"}),
        expected: || json!({"run": {"status": "COMPLETED", "trace": {"status": "COMPLETED", "outputID": "*"}}}),
    },
    Row {
        suite: "js",
        name: None,
        document: "fragment F on RunTraceSpan { name stepID spanID metadata { scope kind values updatedAt } }
            query ($runId: String!) { run(runID: $runId) { trace(preview: true) { ...F childrenSpans { ...F childrenSpans { ...F } } } } }",
        variables: || json!({"runId": "{run}"}),
        expected: || {
            json!({"run": {"trace": {"name": "Run", "stepID": null, "spanID": "*", "metadata": [], "childrenSpans": [
                {"name": "charge", "stepID": "charge", "metadata": [], "childrenSpans": []}, {"stepID": "note"}, {"metadata": [], "childrenSpans": []}]}}})
        },
    },
];

/// A server with one run that has ended, and what the placeholders of the rows stand for.
async fn after_one_run() -> (Server, [(&'static str, String); 4]) {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let id: RunId = run.parse().unwrap();
    let known = server.services.runs().get(&Actor::dev(), id).await.unwrap();
    let at = |ms: i64| Timestamp::from_millis(NOW + ms);
    let step = |name: &str, position, memo: &str, details| StepChange {
        run: id,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: StepId::parse(name).unwrap(),
        name: name.to_owned(),
        kind: StepKind::Run,
        status: StepStatus::Completed,
        group: None,
        position: Some(position),
        memo: Some(Json::parse(memo.as_bytes()).unwrap()),
        details,
        told: StepTold::default(),
        ended_by: None,
        response: None,
        queued_at: at(2),
        started_at: Some(at(2)),
        ended_at: Some(at(3)),
    };
    let wrapped = StepDetails::Code {
        sort: "step.ai.wrap".to_owned(),
    };
    let charge = step("charge", 0, r#"{"data":{"paid":1}}"#, Some(wrapped));
    let note = step("note", 1, r#"{"data":null}"#, None);
    let end = RunChange {
        id,
        env: DEFAULT_ENV,
        expected: known.revision,
        status: RunStatus::Completed,
        request_version: 2,
        force_plan: false,
        started_at: Some(at(1)),
        ended: Some((at(4), Json::parse(br#"{"ok":true}"#).unwrap())),
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(end),
        steps: vec![charge, note],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let ids = [
        ("{output}", format!("{run}.s.charge")),
        ("{run}", run),
        ("{event}", event),
        ("{function}", known.function.to_string()),
    ];
    (server, ids)
}

fn filled(value: &Value, ids: &[(&str, String)]) -> Value {
    let text = ids
        .iter()
        .fold(value.to_string(), |text, (name, id)| text.replace(name, id));
    serde_json::from_str(&text).unwrap()
}

/// Whether an answer has what is expected of it.
fn has(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (found, Value::String(text)) if text == "*" => !found.is_null(),
        (Value::String(found), Value::String(text)) if text.starts_with("json:") => {
            let found: Option<Value> = serde_json::from_str(found).ok();
            found == serde_json::from_str(&text["json:".len()..]).ok() && found.is_some()
        }
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|found| has(found, value))),
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, value)| has(found, value))
        }
        (found, expected) => found == expected,
    }
}

#[tokio::test]
async fn every_document_of_the_suites_is_answered_as_they_expect() {
    let (server, ids) = after_one_run().await;
    for row in ROWS {
        let Row {
            suite, document, ..
        } = row;
        let variables = filled(&(row.variables)(), &ids);
        let mut body = json!({"query": document, "variables": variables});
        if let Some(name) = row.name {
            body["operationName"] = json!(name);
        }
        let answer = server.post("/v0/gql", &body).await;
        assert_eq!(answer.status, 200, "{suite}: {document}");
        let answer = answer.json();
        // One client takes an empty list of errors for a failure.
        assert!(
            answer.get("errors").is_none(),
            "{suite}: {document}: {answer:#}"
        );
        let expected = filled(&(row.expected)(), &ids);
        assert!(
            has(&answer["data"], &expected),
            "{suite}: {document}: {answer:#} has not {expected:#}"
        );
    }
}

#[tokio::test]
async fn every_list_of_the_suites_is_within_the_limits_when_it_is_as_long_as_it_can_be() {
    let server = Server::dev().await;
    for (document, variables) in [
        (
            EVENTS,
            json!({"pageSize": 51, "startTime": "0001-01-01T00:00:00Z", "includeInternalEvents": true}),
        ),
        (
            RUNS,
            json!({"first": 399, "startTime": "0001-01-01T00:00:00Z", "endTime": "2100-01-01T00:00:00Z"}),
        ),
        (
            "{ stream(query: {limit: 1000}) { __typename id trigger runs { __typename id status function { id name slug app { id name } } } } }",
            json!({}),
        ),
        (
            "{ events(query: {}) { id name payload functionRuns { id status output function { id name slug app { id name } } } } }",
            json!({}),
        ),
    ] {
        let body = json!({"query": document, "variables": variables});
        let answer = server.post("/v0/gql", &body).await.json();
        assert!(answer.get("errors").is_none(), "{document}: {answer:#}");
    }
}
