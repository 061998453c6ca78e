//! GraphQL by POST.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{SIGNING_KEY, Server};

const ANY_TIME: &str = "{time: {from: \"2020-01-01T00:00:00Z\"}}";

#[tokio::test]
async fn run_shows_its_function_events_and_state() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let query = "query ($id: ID!) { run(id: $id) { id runId status activity output error { message } revision startedAt attempt
        trigger { kind eventName } input function { slug app { externalId functionCount } } events { totalCountless: nodes { eventId name } }
        steps { totalCount { value isExact } nodes { name } } stepCounts { total } waits { kind } cancel { reason } rerunOf { id } } }";
    let query = query.replace("totalCountless: ", "");
    for id in [run.clone(), format!("run_{run}")] {
        let shown = &server.query(&query, json!({"id": id})).await["run"];
        assert_eq!(
            (&shown["id"], &shown["runId"]),
            (&json!(format!("run_{run}")), &json!(run))
        );
        assert_eq!(
            (&shown["status"], &shown["activity"]),
            (&json!("QUEUED"), &json!("QUEUED"))
        );
        assert_eq!(
            shown["trigger"],
            json!({"kind": "EVENT", "eventName": "shop/order.placed"})
        );
        assert_eq!(shown["input"], json!({"n": 1}));
        assert_eq!(
            shown["function"],
            json!({"slug": "shop-receipt", "app": {"externalId": "shop", "functionCount": 1}})
        );
        assert_eq!(
            shown["events"]["nodes"],
            json!([{"eventId": event, "name": "shop/order.placed"}])
        );
        assert_eq!(
            shown["steps"],
            json!({"totalCount": {"value": 0, "isExact": true}, "nodes": []})
        );
        for absent in ["output", "error", "startedAt", "cancel", "rerunOf"] {
            assert_eq!(shown[absent], Value::Null, "{absent}");
        }
    }
}

#[tokio::test]
async fn lists_of_the_environment_are_filtered_and_paged() {
    let server = Server::dev().await;
    server.register().await;
    for _ in 0..3 {
        server
            .post("/e/key", &json!({"name": "shop/order.placed"}))
            .await;
    }
    let query = format!(
        "query ($after: String) {{ environment {{ slug kind runs(first: 2, after: $after, filter: {ANY_TIME}) {{
            nodes {{ runId }} pageInfo {{ hasNextPage endCursor }} totalCount {{ value isExact }} feedCursor }} }} }}"
    );
    let first = server.query(&query, json!({})).await;
    assert_eq!(
        (&first["environment"]["slug"], &first["environment"]["kind"]),
        (&json!("dev"), &json!("DEVELOPMENT"))
    );
    let runs = &first["environment"]["runs"];
    assert_eq!(runs["totalCount"], json!({"value": 3, "isExact": true}));
    assert_eq!(runs["pageInfo"]["hasNextPage"], true);
    assert!(runs["feedCursor"].is_string());
    let second = server
        .query(&query, json!({"after": runs["pageInfo"]["endCursor"]}))
        .await;
    assert_eq!(
        second["environment"]["runs"]["nodes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        second["environment"]["runs"]["pageInfo"]["hasNextPage"],
        false
    );

    let count = async |filter: &str| {
        let query = format!(
            "{{ environment {{ runs(filter: {{time: {{from: \"2020-01-01T00:00:00Z\"}}, {filter}}}) {{ nodes {{ id }} }} }} }}"
        );
        server.query(&query, json!({})).await["environment"]["runs"]["nodes"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("statuses: [QUEUED]").await, 3);
    assert_eq!(count("statuses: [COMPLETED, FAILED]").await, 0);
    assert_eq!(count("statuses: []").await, 0);
    assert_eq!(count("functionSlugs: [\"shop-receipt\"]").await, 3);
    assert_eq!(count("functionSlugs: [\"nothing\"]").await, 0);

    let events = format!(
        "{{ environment {{ events(filter: {ANY_TIME}) {{ nodes {{ name data runs {{ nodes {{ status }} totalCount {{ value }} }} runCounts {{ queued }} }} }} }} }}"
    );
    let events = server.query(&events, json!({})).await;
    let event = &events["environment"]["events"]["nodes"][0];
    assert_eq!(
        (
            &event["runs"]["totalCount"]["value"],
            &event["runCounts"]["queued"]
        ),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn functions_show_triggers_and_configuration() {
    let server = Server::dev().await;
    server.register().await;
    let query = "{ environment { functions(filter: {nameContains: \"RECE\"}) { nodes { id slug name version: slug triggers { __typename ... on EventTrigger { eventName } }
        config { retries { attempts isDefault } concurrency { limit } raw } } totalCount { value } }
        function(slug: \"shop-receipt\") { name } apps { nodes { externalId url method } } app(externalId: \"none\") { id } } }";
    let shown = server.query(query, json!({})).await;
    let function = &shown["environment"]["functions"]["nodes"][0];
    assert_eq!(
        function["triggers"],
        json!([{"__typename": "EventTrigger", "eventName": "shop/order.placed"}])
    );
    assert_eq!(
        function["config"]["retries"],
        json!({"attempts": 3, "isDefault": false})
    );
    assert_eq!(function["config"]["raw"]["id"], "shop-receipt");
    assert_eq!(shown["environment"]["app"], Value::Null);
    let node = "query ($id: ID!) { node(id: $id) { __typename id ... on Function { slug } } }";
    let node = server.query(node, json!({"id": function["id"]})).await;
    assert_eq!(
        node["node"],
        json!({"__typename": "Function", "id": function["id"], "slug": "shop-receipt"})
    );
}

#[tokio::test]
async fn mutations_answer_with_objects_or_with_errors_that_name_the_field() {
    let server = Server::dev().await;
    server.register().await;
    let env = server.query("{ environment { id } }", json!({})).await["environment"]["id"].clone();
    let send = "mutation ($input: SendEventsInput!) { sendEvents(input: $input) { eventIds events { name data } errors { __typename code message path } } }";
    let sent = server.query(send, json!({"input": {"environmentId": env, "events": [{"name": "shop/order.placed", "data": {"n": 2}}]}})).await;
    assert_eq!(sent["sendEvents"]["errors"], json!([]));
    assert_eq!(
        sent["sendEvents"]["events"][0],
        json!({"name": "shop/order.placed", "data": {"n": 2}})
    );
    let refused = server.query(send, json!({"input": {"environmentId": env, "events": [{"name": "a"}, {"name": "inngest/x"}]}})).await;
    let error = &refused["sendEvents"]["errors"][0];
    assert_eq!(
        (&error["code"], &error["path"]),
        (&json!("INVALID_VALUE"), &json!(["input", "events", "1"]))
    );

    let event = &sent["sendEvents"]["eventIds"][0];
    let runs = server
        .query(
            "query ($id: ID!) { event(id: $id) { runs { nodes { id } } } }",
            json!({"id": event}),
        )
        .await;
    let run = &runs["event"]["runs"]["nodes"][0]["id"];
    let cancel = "mutation ($input: CancelRunInput!) { cancelRun(input: $input) { run { status cancel { reason } error { message } } errors { code path ... on NotFoundError { id } } } }";
    let cancelled = server.query(cancel, json!({"input": {"runId": run}})).await;
    assert_eq!(cancelled["cancelRun"]["run"]["status"], "CANCELLED");
    assert_eq!(
        cancelled["cancelRun"]["run"]["cancel"],
        json!({"reason": "MANUAL"})
    );
    let missing = server
        .query(
            cancel,
            json!({"input": {"runId": "01HZZZZZZZZZZZZZZZZZZZZZZZ"}}),
        )
        .await;
    let expected = json!([{"code": "NOT_FOUND", "path": ["input", "runId"], "id": "01HZZZZZZZZZZZZZZZZZZZZZZZ"}]);
    assert_eq!(
        missing["cancelRun"],
        json!({"run": null, "errors": expected})
    );

    let rerun = "mutation ($input: RerunRunInput!) { rerunRun(input: $input) { run { rerunOf { id } trigger { kind } } errors { code } } }";
    let again = server.query(rerun, json!({"input": {"runId": run}})).await;
    assert_eq!(
        again["rerunRun"]["run"],
        json!({"rerunOf": {"id": run}, "trigger": {"kind": "RERUN"}})
    );

    let function = server
        .query(
            "{ environment { function(slug: \"shop-receipt\") { id } } }",
            json!({}),
        )
        .await["environment"]["function"]["id"]
        .clone();
    let invoke = "mutation ($input: InvokeFunctionInput!) { invokeFunction(input: $input) { event { name } run { status } errors { code } } }";
    let invoked = server
        .query(
            invoke,
            json!({"input": {"functionId": function, "data": {"n": 3}}}),
        )
        .await;
    assert_eq!(
        invoked["invokeFunction"]["event"]["name"],
        "inngest/function.invoked"
    );
    let signal = "mutation ($input: SendSignalInput!) { sendSignal(input: $input) { delivered errors { code } } }";
    let sent = server
        .query(
            signal,
            json!({"input": {"environmentId": env, "signal": "s"}}),
        )
        .await;
    assert_eq!(
        sent["sendSignal"],
        json!({"delivered": false, "errors": []})
    );
}

#[tokio::test]
async fn refused_requests_have_no_data_and_a_code() {
    let server = Server::dev().await;
    for (query, status, code) in [
        ("{ nothing }", 422, "GRAPHQL_VALIDATION_FAILED"),
        ("{", 400, "GRAPHQL_PARSE_FAILED"),
        (
            "subscription { runUpdated(runId: \"x\") { kind } }",
            422,
            "BAD_USER_INPUT",
        ),
        (
            "query ($id: ID!) { run(id: $id) { id } }",
            422,
            "BAD_USER_INPUT",
        ),
        (
            "{ nodes(ids: 1) { __typename } run }",
            422,
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ] {
        let answer = server.post("/graphql", &json!({"query": query})).await;
        let body = answer.json();
        assert_eq!(
            (
                answer.status.as_u16(),
                &body["errors"][0]["extensions"]["code"]
            ),
            (status, &json!(code)),
            "{query}: {body}"
        );
        assert!(body.get("data").is_none(), "{query}");
        assert_eq!(
            body["extensions"]["requestId"],
            answer.header("x-request-id")
        );
    }
    let typed = json!({"query": "query ($n: Int) { environment { apps(first: $n) { nodes { id } } } }", "variables": {"n": "many"}});
    let answer = server.post("/graphql", &typed).await;
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.json());
    let deep = "steps { nodes { run { ".repeat(8) + "id" + &" } } }".repeat(8);
    let answer = server
        .post(
            "/graphql",
            &json!({"query": format!("{{ run(id: \"x\") {{ {deep} }} }}")}),
        )
        .await;
    assert_eq!(answer.status.as_u16(), 422);
    assert_eq!(
        answer.json()["errors"][0]["extensions"],
        json!({"code": "OPERATION_TOO_DEEP", "limit": 15, "actual": 26})
    );
    let wide = "{ environment { functions(first: 200) { nodes { runs(first: 200, filter: {time: {from: \"2020-01-01T00:00:00Z\"}}) { nodes { id } } } } } }";
    let answer = server.post("/graphql", &json!({"query": wide})).await;
    assert_eq!(answer.status.as_u16(), 422);
    let error = answer.json()["errors"][0].clone();
    assert_eq!(error["extensions"]["code"], "OPERATION_TOO_COMPLEX");
    assert_eq!(error["extensions"]["limit"], 20_000);
    let actual = error["extensions"]["actual"].as_u64().unwrap();
    assert!(actual > 40_000, "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&actual.to_string()) && message.contains("20000"),
        "{message}"
    );
    let aliases: String = (0..61)
        .map(|n| format!("a{n}: server {{ mode }} "))
        .collect();
    let answer = server
        .post("/graphql", &json!({"query": format!("{{ {aliases} }}")}))
        .await;
    assert_eq!(
        answer.json()["errors"][0]["extensions"]["code"],
        "OPERATION_TOO_LARGE"
    );
}

#[tokio::test]
async fn failing_field_leaves_its_siblings_alone() {
    let server = Server::dev().await;
    let answer = server.post("/graphql", &json!({"query": "{ server { mode } run(id: \"evt_x\") { id } missing: run(id: \"01HZZZZZZZZZZZZZZZZZZZZZZZ\") { id } }"})).await;
    let body = answer.json();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        body["data"],
        json!({"server": {"mode": "DEV"}, "run": null, "missing": null})
    );
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &body["errors"][0]["path"],
            &body["errors"][0]["extensions"]["code"]
        ),
        (&json!(["run"]), &json!("BAD_USER_INPUT"))
    );
}

#[tokio::test]
async fn only_json_posts_are_executed() {
    let server = Server::dev().await;
    let body = json!({"query": "{ server { mode } }"});
    for (headers, status) in [
        (vec![("content-type", "application/json")], 200),
        (vec![("content-type", "text/plain")], 415),
        (vec![], 415),
        (
            vec![
                ("content-type", "application/json"),
                ("accept", "text/html"),
            ],
            406,
        ),
    ] {
        assert_eq!(
            server
                .send(Method::POST, "/graphql", &body, &headers)
                .await
                .status
                .as_u16(),
            status,
            "{headers:?}"
        );
    }
    let answer = server.post("/graphql", &body).await;
    assert_eq!(
        answer.header("content-type"),
        "application/graphql-response+json; charset=utf-8"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn explorer_is_for_dev_and_the_schema_for_those_who_may_use_it() {
    let server = Server::dev().await;
    let page = server.get("/graphql").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(
        !text.contains("https://") && !text.contains("http://"),
        "the page loads something from elsewhere"
    );
    assert!(
        String::from_utf8(server.get("/graphql/schema.graphql").await.body)
            .unwrap()
            .contains("type Query {")
    );
    let start = Server::start().await;
    assert_eq!(start.get("/graphql").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        start.get("/graphql/schema.graphql").await.status,
        StatusCode::UNAUTHORIZED
    );
    let bearer = format!("Bearer {SIGNING_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = start
        .send(
            Method::POST,
            "/graphql",
            &json!({"query": "{ server { mode } environment { slug } }"}),
            &headers,
        )
        .await;
    assert_eq!(
        answer.json()["data"],
        json!({"server": {"mode": "PRODUCTION"}, "environment": {"slug": "production"}})
    );
}

#[tokio::test]
async fn app_that_answers_without_registering_is_no_success() {
    let server = Server::dev().await;
    let app = axum::Router::new().fallback(|| async {
        let headers = [("x-inngest-sdk", "inngest-js:v4.24.0")];
        (
            headers,
            axum::Json(json!({"message": "Successfully registered", "modified": true})),
        )
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/inngest", listener.local_addr().unwrap());
    server
        .tracker
        .spawn(async move { axum::serve(listener, app).await });
    let environment = server.query("{ environment { id } }", json!({})).await;
    let query = "mutation ($input: SyncAppInput!) { syncApp(input: $input) { app { id } errors { code message path } } }";
    let target = json!({"url": {"environmentId": environment["environment"]["id"], "url": url}});
    let synced = &server
        .query(query, json!({"input": {"target": target}}))
        .await["syncApp"];
    assert_eq!(synced["app"], Value::Null);
    assert_eq!(synced["errors"][0]["code"], "SYNC_INVALID");
    let message = synced["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("registered nothing"), "{message}");
}

#[tokio::test]
async fn variables_of_a_page_may_be_left_out() {
    let server = Server::dev().await;
    let query = format!(
        "query ($first: Int, $after: String) {{ environment {{ runs(first: $first, after: $after, filter: {ANY_TIME}) {{ nodes {{ id }} }} }} }}"
    );
    let shown = server.query(&query, json!({})).await;
    assert_eq!(shown["environment"]["runs"]["nodes"], json!([]));
}
