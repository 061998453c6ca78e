//! The objects of the API that are reached from others, over HTTP.

use http::Method;
use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG, RunId, StepId},
    json::Json,
    run::{StepDetails, StepKind, StepStatus, StepTold},
    time::Timestamp,
};
use inngest_state::{Commit, FailedAttemptRow, StepChange};
use serde_json::{Value, json};

use crate::harness::{NOW, SIGNING_KEY, Server, registration};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOW + ms)
}

/// A step that has ended, as the engine stores it.
fn step(
    run: RunId,
    id: &str,
    kind: StepKind,
    memo: &str,
    details: Option<StepDetails>,
) -> StepChange {
    StepChange {
        run,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: StepId::parse(id).unwrap(),
        name: format!("the {id}"),
        kind,
        status: StepStatus::Completed,
        group: None,
        position: Some(0),
        memo: Some(Json::parse(memo.as_bytes()).unwrap()),
        details,
        told: StepTold::default(),
        ended_by: None,
        response: None,
        queued_at: at(10),
        started_at: Some(at(20)),
        ended_at: Some(at(30)),
    }
}

/// A run with a step of each kind that says what it asked for, and a step that failed once.
async fn run_with_steps(server: &Server) -> String {
    server.register().await;
    let (event, run) = server.start_run().await;
    let id: RunId = run.parse().unwrap();
    let (until, name) = (at(99), "a".to_owned());
    let details = [
        (StepKind::Sleep, "null", StepDetails::Sleep { until }),
        (
            StepKind::WaitForEvent,
            "null",
            StepDetails::Event {
                name: name.clone(),
                expression: Some("true".to_owned()),
                until,
            },
        ),
        (
            StepKind::WaitForSignal,
            "null",
            StepDetails::Signal { name, until },
        ),
        (
            StepKind::Invoke,
            r#"{"data":1}"#,
            StepDetails::Invoke {
                function: "shop-receipt".to_owned(),
                until,
            },
        ),
        (
            StepKind::Fetch,
            r#"{"data":{"status_code":204}}"#,
            StepDetails::Fetch {
                url: "https://api.test/x".to_owned(),
                method: "PUT".to_owned(),
            },
        ),
    ];
    let mut steps: Vec<StepChange> = details
        .into_iter()
        .enumerate()
        .map(|(index, (kind, memo, details))| {
            step(id, &format!("s{index}"), kind, memo, Some(details))
        })
        .collect();
    steps[1].ended_by = Some(event.parse().unwrap());
    steps.push(step(id, "work", StepKind::Run, r#"{"data":{"n":1}}"#, None));
    let failed = FailedAttemptRow {
        run: id,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: Some(StepId::parse("work").unwrap()),
        attempt: 0,
        class: "app".to_owned(),
        code: "step_error".to_owned(),
        error: Json::parse(br#"{"message":"no"}"#).unwrap(),
        at: at(12),
        next_at: Some(at(15)),
        response: None,
    };
    let commit = Commit {
        steps,
        failed_attempts: vec![failed],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    run
}

#[tokio::test]
async fn steps_tell_what_they_asked_for() {
    let server = Server::dev().await;
    let run = run_with_steps(&server).await;
    let query = "query ($id: ID!) { run(id: $id) { steps { nodes { stepId details { __typename
        ... on SleepStepDetails { until }
        ... on WaitForEventStepDetails { eventName expression timedOut matchedEvent { name } }
        ... on WaitForSignalStepDetails { signal timeoutAt }
        ... on InvokeStepDetails { functionSlug function { slug } run { id } returnEvent { id } triggeringEvent { id } }
        ... on GatewayStepDetails { url method statusCode } } } } } }";
    let shown = server.query(query, json!({"id": run})).await;
    let mut details: Vec<(String, Value)> = shown["run"]["steps"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            (
                step["stepId"].as_str().unwrap().to_owned(),
                step["details"].clone(),
            )
        })
        .collect();
    details.sort_by(|a, b| a.0.cmp(&b.0));
    let until = at(99).to_rfc3339();
    let details: Vec<Value> = details.into_iter().map(|(_, details)| details).collect();
    assert_eq!(
        Value::Array(details),
        json!([
            {"__typename": "SleepStepDetails", "until": until},
            {"__typename": "WaitForEventStepDetails", "eventName": "a", "expression": "true", "timedOut": false,
             "matchedEvent": {"name": "shop/order.placed"}},
            {"__typename": "WaitForSignalStepDetails", "signal": "a", "timeoutAt": until},
            {"__typename": "InvokeStepDetails", "functionSlug": "shop-receipt", "function": {"slug": "shop-receipt"},
             "run": null, "returnEvent": null, "triggeringEvent": null},
            {"__typename": "GatewayStepDetails", "url": "https://api.test/x", "method": "PUT", "statusCode": 204},
            null,
        ])
    );
}

#[tokio::test]
async fn trace_is_filtered_and_paged_and_each_of_its_spans_is_found_again() {
    let server = Server::dev().await;
    let run = run_with_steps(&server).await;
    let query = "query ($id: ID!, $filter: TraceSpanFilter, $after: String) { run(id: $id) { trace { traceId rootSpanId
        spans(first: 3, after: $after, filter: $filter) { totalCount { value } pageInfo { hasNextPage endCursor }
            nodes { id spanId parentSpanId name kind status startedAt endedAt durationMs attempt step { stepId } run { runId } error { name message } links { traceId } } } } } }";
    let filter = json!({"stepId": "work"});
    let first = server
        .query(query, json!({"id": run, "filter": filter}))
        .await;
    let trace = &first["run"]["trace"];
    assert_eq!(trace["spans"]["totalCount"]["value"], 4);
    let nodes = trace["spans"]["nodes"].as_array().unwrap();
    assert_eq!(
        (&nodes[0]["kind"], &nodes[0]["name"]),
        (&json!("STEP"), &json!("the work"))
    );
    assert_eq!(nodes[0]["parentSpanId"], trace["rootSpanId"]);
    assert_eq!(nodes[1]["parentSpanId"], nodes[0]["spanId"]);
    assert_eq!(nodes[1]["error"], json!({"name": "Error", "message": "no"}));
    // The start of an attempt that failed and was followed by another is not stored.
    assert_eq!(
        (&nodes[1]["startedAt"], &nodes[1]["attempt"]),
        (&Value::Null, &json!(0))
    );
    assert_eq!(nodes[0]["step"]["stepId"], "work");
    assert_eq!(nodes[0]["run"]["runId"], json!(run));
    let after = &trace["spans"]["pageInfo"]["endCursor"];
    let rest = server
        .query(query, json!({"id": run, "filter": filter, "after": after}))
        .await;
    let rest = &rest["run"]["trace"]["spans"];
    assert_eq!(rest["nodes"][0]["durationMs"], 10);
    assert_eq!(rest["pageInfo"]["hasNextPage"], false);

    let again = "query ($ids: [ID!]!) { nodes(ids: $ids) { id __typename ... on TraceSpan { name } ... on StepAttempt { number status output error { message } step { stepId } } } }";
    let attempts = [
        format!("att_{run}.work.0"),
        format!("att_{run}.work.1"),
        format!("att_{run}.work.2"),
    ];
    let mut ids: Vec<Value> = nodes.iter().map(|span| span["id"].clone()).collect();
    ids.extend(attempts.iter().map(|id| json!(id)));
    let found = server.query(again, json!({"ids": ids})).await;
    for (index, span) in nodes.iter().enumerate() {
        assert_eq!(
            found["nodes"][index],
            json!({"id": span["id"], "__typename": "TraceSpan", "name": span["name"]})
        );
    }
    let attempts = &found["nodes"].as_array().unwrap()[nodes.len()..];
    assert_eq!(
        (&attempts[0]["status"], &attempts[0]["error"]["message"]),
        (&json!("FAILED"), &json!("no"))
    );
    assert_eq!(
        (&attempts[1]["status"], &attempts[1]["output"]),
        (&json!("COMPLETED"), &json!({"n": 1}))
    );
    assert_eq!(attempts[2], Value::Null);

    let answer = server
        .post(
            "/graphql",
            &json!({"query": query, "variables": {"id": run, "filter": {"attempt": 0}}}),
        )
        .await;
    assert_eq!(
        answer.json()["errors"][0]["extensions"]["code"],
        "BAD_USER_INPUT"
    );
}

#[tokio::test]
async fn function_shows_its_versions_and_a_run_the_one_it_began_with() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let mut changed = registration();
    changed["functions"][0]["steps"]["step"]["retries"]["attempts"] = json!(7);
    let answer = server.post("/fn/register", &changed).await;
    assert_eq!(answer.json()["modified"], true);
    let query = "query ($id: ID!) { run(id: $id) { functionVersion { id number isCurrent checksum config { retries { attempts } }
        triggers { ... on EventTrigger { eventName } } function { slug version { number isCurrent }
        versions(first: 1) { totalCount { value } nodes { number checksum } pageInfo { hasNextPage } } } } } }";
    let shown = server.query(query, json!({"id": run})).await;
    let version = &shown["run"]["functionVersion"];
    assert_eq!(
        (&version["number"], &version["isCurrent"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(version["config"]["retries"]["attempts"], 3);
    assert_eq!(
        version["triggers"],
        json!([{"eventName": "shop/order.placed"}])
    );
    assert_eq!(
        version["function"]["version"],
        json!({"number": 2, "isCurrent": true})
    );
    let newest = version["function"]["versions"]["nodes"][0]["checksum"].clone();
    assert_eq!(
        version["function"]["versions"],
        json!({"totalCount": {"value": 2}, "nodes": [{"number": 2, "checksum": newest}], "pageInfo": {"hasNextPage": true}})
    );
    for checksum in [&newest, &version["checksum"]] {
        let digits = checksum.as_str().unwrap().chars();
        assert_eq!(digits.filter(char::is_ascii_hexdigit).count(), 64);
    }
    assert_ne!(newest, version["checksum"]);
}

#[tokio::test]
async fn trace_says_from_where_its_feed_goes_on() {
    let server = Server::dev().await;
    server.register().await;
    let before =
        "{ environment { runs(filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { feedCursor } } }";
    let before = server.query(before, json!({})).await;
    let (_, run) = server.start_run().await;
    let query =
        "query ($id: ID!) { run(id: $id) { trace { feedCursor spans { nodes { kind } } } } }";
    let trace = server.query(query, json!({"id": run})).await["run"]["trace"].take();
    assert!(trace["feedCursor"].is_string(), "{trace}");
    let before = &before["environment"]["runs"]["feedCursor"];
    assert_ne!(trace["feedCursor"], *before, "the run came between");
    let node = format!("node(id: \"run_{run}\")");
    let without = format!("{{ {node} {{ ... on Run {{ trace {{ traceId }} }} }} }}");
    let store = server.services.store();
    let statements = async |query: &str| {
        let before = store.statements();
        server.query(query, json!({})).await;
        store.statements() - before
    };
    let few = statements(&without).await;
    let with = without.replace("traceId", "traceId feedCursor");
    assert_eq!(statements(&with).await, few + 1);
}

#[tokio::test]
async fn server_says_how_it_may_be_asked() {
    let query = json!({"query": "{ server { authMethods limits { maxBodyBytes maxDepth } } }"});
    let dev = Server::dev().await.post("/graphql", &query).await.json();
    let expected =
        json!({"authMethods": ["NONE"], "limits": {"maxBodyBytes": 10_485_760, "maxDepth": 15}});
    assert_eq!(dev["data"]["server"], expected);
    let bearer = format!("Bearer {SIGNING_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let start = Server::start().await;
    let start = start.send(Method::POST, "/graphql", &query, &headers).await;
    let methods = &start.json()["data"]["server"]["authMethods"];
    assert_eq!(*methods, json!(["JWT", "SIGNING_KEY"]));
}

#[tokio::test]
async fn event_names_are_those_that_came_and_those_that_functions_listen_to() {
    let server = Server::dev().await;
    server.register().await;
    server.post("/e/key", &json!({"name": "shop/other"})).await;
    let query = "query ($part: String) { environment { eventTypes(nameContains: $part) { nodes { name isInternal firstSeenAt lastSeenAt functions { slug } } } } }";
    let listed = async |part: Value| {
        server.query(query, json!({"part": part})).await["environment"]["eventTypes"]["nodes"]
            .clone()
    };
    let (now, listener) = (at(0).to_rfc3339(), json!([{"slug": "shop-receipt"}]));
    assert_eq!(
        listed(Value::Null).await,
        json!([
            {"name": "shop/order.placed", "isInternal": false, "firstSeenAt": null, "lastSeenAt": null, "functions": listener},
            {"name": "shop/other", "isInternal": false, "firstSeenAt": now, "lastSeenAt": now, "functions": []},
        ])
    );
    assert_eq!(listed(json!("ORDER")).await.as_array().unwrap().len(), 1);
    let one = "query ($name: String!) { environment { eventType(name: $name) { name } } }";
    for (name, found) in [
        ("shop/other", true),
        ("shop/order.placed", true),
        ("shop", false),
    ] {
        let shown = server.query(one, json!({"name": name})).await;
        assert_eq!(
            shown["environment"]["eventType"].is_object(),
            found,
            "{name}"
        );
    }
}

#[tokio::test]
async fn queue_tells_what_is_due_and_under_way_of_each_function() {
    let server = Server::dev().await;
    server.register().await;
    server.start_run().await;
    let again = json!({"name": "shop/order.placed"});
    server.post("/e/key", &again).await;
    let query = "{ environment { queue { at ready executing oldestReadyAgeMs partitions { totalCount { value } nodes {
        id ready executing oldestReadyAgeMs function { slug backlog { ready executing } } } } } } }";
    let figures = async || server.query(query, json!({})).await["environment"]["queue"].clone();
    let queue = figures().await;
    assert_eq!(queue["at"], at(0).to_rfc3339());
    assert_eq!(
        (&queue["ready"], &queue["executing"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(queue["oldestReadyAgeMs"], 0);
    let leases = server.services.queue().try_lease(1).await.unwrap().leases;
    assert_eq!(leases.len(), 1);
    let queue = figures().await;
    assert_eq!(
        (&queue["ready"], &queue["executing"]),
        (&json!(1), &json!(1))
    );
    let partitions = queue["partitions"]["nodes"].as_array().unwrap();
    assert_eq!(queue["partitions"]["totalCount"]["value"], partitions.len());
    let own = json!({"slug": "shop-receipt", "backlog": {"ready": 1, "executing": 1}});
    assert_eq!(partitions[0]["function"], own);
    let bad = server
        .query("{ environment { queue { partitions(orderBy: {field: OLDEST_READY_AGE, direction: ASC}) { nodes { ready } } } } }", json!({}))
        .await;
    let last = bad["environment"]["queue"]["partitions"]["nodes"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["ready"], 1, "the one with an age is the oldest");
}

#[tokio::test]
async fn run_tells_what_holds_it_back() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let query =
        "query ($id: ID!) { run(id: $id) { activity reasons { activity text until stepId } } }";
    let shown = async || server.query(query, json!({"id": run})).await["run"].clone();
    let queued = "it waits for a free worker (of its function: 1 due, 0 under way)";
    let reason = json!([{"activity": "QUEUED", "text": queued, "until": null, "stepId": null}]);
    assert_eq!(
        shown().await,
        json!({"activity": "QUEUED", "reasons": reason})
    );
    // Another process has taken it: this one does not make the call.
    let leases = server.services.queue().try_lease(1).await.unwrap().leases;
    assert_eq!(leases.len(), 1);
    let called = shown().await;
    assert_eq!(called["activity"], "EXECUTING");
    assert_eq!(
        called["reasons"][0]["text"],
        "the app is being called, attempt 1"
    );
}
