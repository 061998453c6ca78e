//! Operations on many runs over GraphQL. There are no workers here, so nothing is carried out.

use serde_json::{Value, json};

use crate::{harness::Server, socket::Client};

const CANCEL: &str = "mutation ($input: CancelRunsInput!) { cancelRuns(input: $input) { cancellation { id name status endedAt createdAt
    createdBy { kind } function { slug } progress { total processed succeeded skipped failed }
    selection { functions { slug } queuedFrom queuedUntil statuses search } } errors { code path } } }";

async fn ids(server: &Server) -> (Value, Value) {
    let query = "{ environment { id function(slug: \"shop-receipt\") { id } } }";
    let mut found = server.query(query, json!({})).await["environment"].take();
    (found["id"].take(), found["function"]["id"].take())
}

fn input(env: &Value, function: &Value) -> Value {
    json!({"environmentId": env, "name": "all", "filter": {"functionIds": [function],
        "queued": {"from": "2020-01-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}, "search": "event.data.n == 1"}})
}

#[tokio::test]
async fn cancellation_is_previewed_begun_shown_and_ended() {
    let server = Server::dev().await;
    server.register().await;
    let (env, function) = ids(&server).await;
    server.start_run().await;
    let input = input(&env, &function);
    let preview = "query ($filter: BulkRunFilter!) { environment { bulkPreview(filter: $filter) { total { value isExact } counts { total queued failed }
        sample { status } } } }";
    let preview = server
        .query(preview, json!({"filter": input["filter"]}))
        .await;
    assert_eq!(
        preview["environment"]["bulkPreview"],
        json!({"total": {"value": 1, "isExact": true}, "counts": {"total": 1, "queued": 1, "failed": 0}, "sample": [{"status": "QUEUED"}]})
    );

    let begun = server.query(CANCEL, json!({"input": input})).await["cancelRuns"].take();
    assert_eq!(begun["errors"], json!([]));
    let id = begun["cancellation"]["id"].clone();
    assert!(id.as_str().unwrap().starts_with("cxl_"));
    assert_eq!(
        begun["cancellation"],
        json!({"id": id, "name": "all", "status": "PENDING", "endedAt": null, "createdAt": "2026-09-21T14:13:20.000Z",
            "createdBy": {"kind": "ANONYMOUS"}, "function": {"slug": "shop-receipt"},
            "progress": {"total": null, "processed": 0, "succeeded": 0, "skipped": 0, "failed": 0},
            "selection": {"functions": [{"slug": "shop-receipt"}], "queuedFrom": "2020-01-01T00:00:00.000Z",
                "queuedUntil": "2026-12-01T00:00:00.000Z", "statuses": ["QUEUED", "RUNNING"], "search": "event.data.n == 1"}})
    );

    let lists = "query ($id: ID!, $function: ID!) { of: environment { cancellations(filter: {functionIds: [$function]}) { nodes { id } } } node(id: $id) { ... on BulkOperation { status } ... on Cancellation { name } }
        environment { cancellations(filter: {statuses: [PENDING]}) { nodes { id } totalCount { value } }
            ended: cancellations(filter: {statuses: [COMPLETED]}) { nodes { id } } } }";
    let variables = json!({"id": id, "function": function});
    let shown = server.query(lists, variables).await;
    assert_eq!(shown["node"], json!({"status": "PENDING", "name": "all"}));
    assert_eq!(shown["of"]["cancellations"]["nodes"], json!([{"id": id}]));
    let shown = &shown["environment"];
    assert_eq!(
        shown["cancellations"],
        json!({"nodes": [{"id": id}], "totalCount": {"value": 1}})
    );
    assert_eq!(shown["ended"]["nodes"], json!([]));

    let end = "mutation ($id: ID!) { deleteCancellation(input: {cancellationId: $id}) { cancellation { status endedAt } errors { code path } } }";
    for _ in 0..2 {
        let ended = server.query(end, json!({"id": id})).await;
        assert_eq!(
            ended["deleteCancellation"],
            json!({"cancellation": {"status": "STOPPED", "endedAt": "2026-09-21T14:13:20.000Z"}, "errors": []})
        );
    }
    let nobody = "cxl_01M8042M3T9P7KCFEAD2V1QVZ9";
    let missing = server.query(end, json!({"id": nobody})).await;
    assert_eq!(
        missing["deleteCancellation"],
        json!({"cancellation": null, "errors": [{"code": "NOT_FOUND", "path": ["input", "cancellationId"]}]})
    );
}

#[tokio::test]
async fn refusals_of_a_cancellation_name_the_field_that_is_to_blame() {
    let server = Server::dev().await;
    server.register().await;
    let (env, function) = ids(&server).await;
    let good = input(&env, &function);
    let with = |change: fn(&mut Value)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    for (input, code, path) in [
        (
            with(|it| it["filter"]["functionIds"] = json!([])),
            "INVALID_VALUE",
            json!(["input", "filter", "functionIds"]),
        ),
        (
            with(|it| it["filter"]["statuses"] = json!(["FAILED"])),
            "INVALID_VALUE",
            json!(["input", "filter", "statuses"]),
        ),
        (
            with(|it| it["filter"]["search"] = json!("event.data.n ==")),
            "INVALID_EXPRESSION",
            json!(["input", "filter", "search"]),
        ),
        (
            with(|it| it["filter"]["queued"]["until"] = json!("2019-01-01T00:00:00Z")),
            "INVALID_VALUE",
            json!(["input", "filter", "queued"]),
        ),
        (
            with(|it| it["name"] = json!("x".repeat(257))),
            "INVALID_VALUE",
            json!(["input", "name"]),
        ),
        (
            with(|it| {
                it["filter"]["functionIds"] = json!(["fn_00000000-0000-4000-8000-000000000009"])
            }),
            "NOT_FOUND",
            json!(["input", "filter"]),
        ),
    ] {
        let refused = server.query(CANCEL, json!({"input": input})).await;
        assert_eq!(
            refused["cancelRuns"],
            json!({"cancellation": null, "errors": [{"code": code, "path": path}]})
        );
    }
}

#[tokio::test]
async fn same_key_with_other_input_is_refused() {
    let server = Server::dev().await;
    server.register().await;
    let (env, function) = ids(&server).await;
    let mut input = input(&env, &function);
    input["idempotencyKey"] = json!("once");
    let ask = async |input: &Value| {
        let done = server.query(CANCEL, json!({"input": input})).await["cancelRuns"].take();
        (done["cancellation"]["id"].clone(), done["errors"].clone())
    };
    let first = ask(&input).await;
    assert_eq!(ask(&input).await, first);
    input["name"] = json!("other");
    let expected = json!([{"code": "IDEMPOTENCY_MISMATCH", "path": ["input", "idempotencyKey"]}]);
    assert_eq!(ask(&input).await, (Value::Null, expected));
}

#[tokio::test]
async fn progress_is_told_until_the_operation_has_ended() {
    let server = Server::dev().await;
    server.register().await;
    let (env, function) = ids(&server).await;
    let begun = server
        .query(CANCEL, json!({"input": input(&env, &function)}))
        .await;
    let id = begun["cancelRuns"]["cancellation"]["id"].as_str().unwrap();
    let mut client = Client::open(&server).await;
    client.say(json!({"type": "connection_init"})).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    let query = "subscription ($id: ID!) { bulkOperationUpdated(id: $id) { at operation { __typename id status } } }";
    let payload = json!({"query": query, "variables": {"id": id}});
    client
        .say(json!({"type": "subscribe", "id": "1", "payload": payload}))
        .await;
    let told = |heard: Value| heard["payload"]["data"]["bulkOperationUpdated"]["operation"].clone();
    let expected = |status: &str| json!({"__typename": "Cancellation", "id": id, "status": status});
    assert_eq!(told(client.hear().await), expected("PENDING"));
    let end = "mutation ($id: ID!) { deleteCancellation(input: {cancellationId: $id}) { errors { code } } }";
    server.query(end, json!({"id": id})).await;
    assert_eq!(told(client.hear().await), expected("STOPPED"));
    assert_eq!(client.hear().await["type"], "complete");
}

#[tokio::test]
async fn replay_is_begun_shown_and_stopped() {
    let server = Server::dev().await;
    server.register().await;
    let (env, function) = ids(&server).await;
    let mut input = input(&env, &function);
    input["ratePerSecond"] = json!(50);
    let begin = "mutation ($input: CreateReplayInput!) { createReplay(input: $input) { replay { id name status ratePerSecond function { slug }
        selection { statuses queuedUntil } } errors { code path } } }";
    let begun = server.query(begin, json!({"input": input})).await["createReplay"].take();
    assert_eq!(begun["errors"], json!([]));
    let id = begun["replay"]["id"].clone();
    assert!(id.as_str().unwrap().starts_with("rpl_"));
    // A replay looks back, so its window ends now.
    assert_eq!(
        begun["replay"],
        json!({"id": id, "name": "all", "status": "PENDING", "ratePerSecond": 50, "function": {"slug": "shop-receipt"},
            "selection": {"statuses": ["FAILED"], "queuedUntil": "2026-09-21T14:13:20.000Z"}})
    );
    let lists = "query ($id: ID!) { node(id: $id) { ... on Replay { name } } environment { replays { nodes { id } } cancellations { nodes { id } }
        runs(filter: {time: {from: \"2020-01-01T00:00:00Z\"}, replayId: $id}) { nodes { id replay { id } } } } }";
    let shown = server.query(lists, json!({"id": id})).await;
    let only = json!({"nodes": [{"id": id}]});
    assert_eq!(shown["node"], json!({"name": "all"}));
    assert_eq!(
        shown["environment"],
        json!({"replays": only, "cancellations": {"nodes": []}, "runs": {"nodes": []}})
    );
    let stop = "mutation ($id: ID!) { stopReplay(input: {replayId: $id}) { replay { status } errors { code path } } }";
    let stopped = server.query(stop, json!({"id": id})).await;
    assert_eq!(
        stopped["stopReplay"],
        json!({"replay": {"status": "STOPPED"}, "errors": []})
    );
    let missing = server
        .query(stop, json!({"id": "rpl_01M8042M3T9P7KCFEAD2V1QVZ9"}))
        .await;
    assert_eq!(
        missing["stopReplay"]["errors"],
        json!([{"code": "NOT_FOUND", "path": ["input", "replayId"]}])
    );
    input["ratePerSecond"] = json!(-1);
    let refused = server.query(begin, json!({"input": input})).await;
    assert_eq!(
        refused["createReplay"]["errors"],
        json!([{"code": "INVALID_VALUE", "path": ["input", "ratePerSecond"]}])
    );
}
