//! The older GraphQL API, as test suites of SDKs ask it.

use http::{Method, StatusCode};
use inngest_core::{
    ids::{AppId, DEFAULT_ORG, EnvId, FunctionId},
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    harness::{NOW, SIGNING_KEY, Server},
    tokens,
};

/// The data of an operation that must succeed.
pub(crate) async fn ask(server: &Server, query: &str, variables: Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    let answer = server.post("/v0/gql", &body).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, "application/json; charset=utf-8")
    );
    let mut body = answer.json();
    assert!(body.get("errors").is_none(), "{body:#}");
    body["data"].take()
}

#[tokio::test]
async fn event_is_told_with_its_runs() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let query = "query ($id: ULID!) { eventV2(id: $id) { id idempotencyKey name occurredAt raw receivedAt version
        runs { id status function { name } } } }";
    let at = Timestamp::from_millis(NOW).to_rfc3339();
    assert_eq!(
        ask(&server, query, json!({"id": event})).await["eventV2"],
        json!({
            "id": event, "idempotencyKey": "order-1", "name": "shop/order.placed", "occurredAt": at, "receivedAt": at, "version": null,
            "raw": format!(r#"{{"data":{{"n":1}},"id":"order-1","name":"shop/order.placed","ts":{NOW},"v":null}}"#),
            "runs": [{"id": run, "status": "QUEUED", "function": {"name": "Receipt"}}],
        })
    );
    let query =
        "query ($id: ID!) { event(query: {eventId: $id}) { id name payload functionRuns { id } } }";
    assert_eq!(
        ask(&server, query, json!({"id": event})).await["event"],
        json!({"id": event, "name": "shop/order.placed", "payload": "{\"n\":1}", "functionRuns": [{"id": run}]})
    );
}

#[tokio::test]
async fn run_is_told_in_both_shapes_and_names_its_trigger() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let query = "query ($id: ID!) { functionRun(query: {functionRunId: $id}) { id output status function { slug } } }";
    assert_eq!(
        ask(&server, query, json!({"id": run})).await["functionRun"],
        json!({"id": run, "output": null, "status": "RUNNING", "function": {"slug": "shop-receipt"}})
    );
    let query = "query ($id: String!) { run(runID: $id) { id status output isBatch batchCreatedAt cronSchedule queuedAt startedAt endedAt } }";
    let at = Timestamp::from_millis(NOW).to_rfc3339();
    let shown = json!({
        "id": run, "status": "QUEUED", "output": null, "isBatch": false, "batchCreatedAt": null, "cronSchedule": null, "queuedAt": at,
        "startedAt": null, "endedAt": null,
    });
    assert_eq!(ask(&server, query, json!({"id": run})).await["run"], shown);

    server
        .send(
            Method::DELETE,
            &format!("/v1/runs/{run}"),
            &Value::Null,
            &[],
        )
        .await;
    let ended = &ask(&server, query, json!({"id": run})).await["run"];
    assert_eq!(
        (&ended["status"], &ended["output"], &ended["endedAt"]),
        (&json!("CANCELLED"), &Value::Null, &json!(at))
    );

    let query = "query ($id: String!) { runTrigger(runID: $id) { eventName IDs timestamp payloads isBatch batchID cron } }";
    let trigger = &ask(&server, query, json!({"id": run})).await["runTrigger"];
    assert_eq!(
        *trigger,
        json!({
            "eventName": "shop/order.placed", "IDs": [event], "timestamp": at, "isBatch": false, "batchID": null, "cron": null,
            "payloads": [format!(r#"{{"data":{{"n":1}},"id":"order-1","name":"shop/order.placed","ts":{NOW},"v":null}}"#)],
        })
    );
    let id: ulid::Ulid = run.parse().unwrap();
    assert!(i64::try_from(id.timestamp_ms()).unwrap() > NOW);
}

#[tokio::test]
async fn trace_of_a_run_has_a_root_in_both_views() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let query = "query ($id: String!, $preview: Boolean) { run(runID: $id) { traceID trace(preview: $preview) { name runID status attempts isRoot parentSpanID
        startedAt endedAt duration outputID stepOp stepID stepType metadata { scope kind values updatedAt }
        stepInfo { __typename ... on InvokeStepInfo { triggeringEventID functionID timeout returnEventID runID timedOut } ... on SleepStepInfo { sleepUntil }
            ... on WaitForEventStepInfo { eventName expression timeout foundEventID timedOut } ... on RunStepInfo { type } }
        childrenSpans { name childrenSpans { name outputID } } } } }";
    for (preview, name) in [
        (Value::Null, "Receipt"),
        (json!(false), "Receipt"),
        (json!(true), "Run"),
    ] {
        let shown = &ask(&server, query, json!({"id": run, "preview": preview})).await["run"];
        assert_eq!(shown["traceID"].as_str().unwrap().len(), 32);
        assert_eq!(
            shown["trace"],
            json!({
                "name": name, "runID": run, "status": "RUNNING", "attempts": 0, "isRoot": true, "parentSpanID": null, "startedAt": null,
                "endedAt": null, "duration": null, "outputID": null, "stepOp": null, "stepID": null, "stepType": "", "metadata": [],
                "stepInfo": null, "childrenSpans": [],
            })
        );
    }
}

#[tokio::test]
async fn functions_name_their_apps() {
    let server = Server::dev().await;
    server.register().await;
    let app = AppId::derive(inngest_core::ids::DEFAULT_ENV, "shop");
    assert_eq!(
        ask(
            &server,
            "{ functions { id name app { id externalID name } } }",
            json!({})
        )
        .await["functions"],
        json!([{
            "id": FunctionId::derive(app, "shop-receipt").to_string(), "name": "Receipt",
            "app": {"id": app.to_string(), "externalID": "shop", "name": "shop"},
        }])
    );
}

#[tokio::test]
async fn what_is_unknown_or_wrong_is_an_error_with_status_200() {
    let server = Server::dev().await;
    for (query, code) in [
        (
            "{ run(runID: \"01HZZZZZZZZZZZZZZZZZZZZZZZ\") { id } }",
            "BAD_USER_INPUT",
        ),
        ("{ run(runID: \"x\") { id } }", "BAD_USER_INPUT"),
        (
            "{ runTrigger(runID: \"01HZZZZZZZZZZZZZZZZZZZZZZZ\") { IDs } }",
            "BAD_USER_INPUT",
        ),
        (
            "{ eventV2(id: \"01HZZZZZZZZZZZZZZZZZZZZZZZ\") { id } }",
            "BAD_USER_INPUT",
        ),
        (
            "{ functionRun(query: {functionRunId: \"x\"}) { id } }",
            "BAD_USER_INPUT",
        ),
        (
            "{ runTraceSpanOutputByID(outputID: \"x\") { data } }",
            "BAD_USER_INPUT",
        ),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ run(", "GRAPHQL_PARSE_FAILED"),
        ("", "BAD_USER_INPUT"),
    ] {
        let answer = server.post("/v0/gql", &json!({"query": query})).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        assert_eq!(
            answer.json()["errors"][0]["extensions"]["code"],
            code,
            "{query}"
        );
    }
    let plain = server
        .send(
            Method::POST,
            "/v0/gql",
            &json!({}),
            &[("content-type", "text/plain")],
        )
        .await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn nobody_sees_what_belongs_to_another_environment() {
    let server = tokens::with_secret().await;
    let other = "00000000-0000-4000-c000-000000000000"
        .parse::<EnvId>()
        .unwrap();
    let store = server.services.store();
    store
        .ensure_environment(DEFAULT_ORG, other, "other", Timestamp::from_millis(NOW))
        .await
        .unwrap();
    let key = format!("Bearer {SIGNING_KEY}");
    let token = format!(
        "Bearer {}",
        tokens::token(&json!({"envs": ["dev", "other"]}))
    );
    let send = async |path: &str, body: Value, headers: &[(&str, &str)]| {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        server
            .send(Method::POST, path, &body, &headers)
            .await
            .json()
    };
    send(
        "/fn/register",
        crate::harness::registration(),
        &[("authorization", &key)],
    )
    .await;
    let sent = send(
        &format!("/e/{}", crate::harness::EVENT_KEY),
        json!({"name": "shop/order.placed"}),
        &[],
    )
    .await;
    let event = sent["ids"][0].as_str().unwrap().to_owned();
    let query = json!({
        "query": "query ($id: ULID!) { eventV2(id: $id) { runs { id } } functions { id } }",
        "variables": {"id": event},
    });
    let own = send(
        "/v0/gql",
        query.clone(),
        &[("authorization", &token), ("x-inngest-env", "dev")],
    )
    .await;
    let run = own["data"]["eventV2"]["runs"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(own["data"]["functions"].as_array().unwrap().len(), 1);

    let foreign = [
        ("authorization", token.as_str()),
        ("x-inngest-env", "other"),
    ];
    let answer = send(
        "/v0/gql",
        json!({"query": "{ functions { id } events(query: {}) { id } stream(query: {}) { id }
            eventsV2(filter: {from: \"0001-01-01T00:00:00Z\"}) { totalCount edges { cursor } }
            runs(orderBy: [], filter: {from: \"0001-01-01T00:00:00Z\"}) { totalCount edges { cursor } } }"}),
        &foreign,
    )
    .await;
    let nothing = json!({"totalCount": 0, "edges": []});
    assert_eq!(
        answer["data"],
        json!({"functions": [], "events": [], "stream": [], "eventsV2": nothing, "runs": nothing})
    );
    for (field, known, unknown) in [
        (
            "eventV2(id: \"@\") { id }",
            &event,
            "01HZZZZZZZZZZZZZZZZZZZZZZZ",
        ),
        (
            "event(query: {eventId: \"@\"}) { id }",
            &event,
            "01HZZZZZZZZZZZZZZZZZZZZZZZ",
        ),
        (
            "run(runID: \"@\") { id }",
            &run,
            "01HZZZZZZZZZZZZZZZZZZZZZZZ",
        ),
        (
            "functionRun(query: {functionRunId: \"@\"}) { id }",
            &run,
            "01HZZZZZZZZZZZZZZZZZZZZZZZ",
        ),
        (
            "runTraceSpanOutputByID(outputID: \"@\") { data }",
            &run,
            "01HZZZZZZZZZZZZZZZZZZZZZZZ",
        ),
        (
            "runTrigger(runID: \"@\") { IDs }",
            &run,
            "01HZZZZZZZZZZZZZZZZZZZZZZZ",
        ),
    ] {
        let ask = async |id: &str| {
            let query = json!({"query": format!("{{ {} }}", field.replace('@', id))});
            let mut answer = send("/v0/gql", query, &foreign).await;
            let message = answer["errors"][0]["message"]
                .as_str()
                .unwrap()
                .replace(id, "@");
            (answer["data"].take(), message)
        };
        let known = ask(known).await;
        assert!(known.1.contains('@'), "{field}: {}", known.1);
        assert_eq!(known, ask(unknown).await, "{field}");
    }
}
