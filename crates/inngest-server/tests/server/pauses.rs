//! Pausing functions over GraphQL.

use serde_json::{Value, json};

use crate::harness::Server;

const PAUSE: &str = "mutation ($input: PauseFunctionInput!) { pauseFunction(input: $input) {
    function { isPaused pause { pausedAt pausedBy { kind subject } reason inFlight newEvents resumesAt } }
    errors { code path } } }";
const RESUME: &str = "mutation ($input: ResumeFunctionInput!) { resumeFunction(input: $input) {
    function { slug isPaused pause { reason } } errors { code path } } }";

async fn function(server: &Server) -> Value {
    let query = "{ environment { function(slug: \"shop-receipt\") { id } } }";
    server.query(query, json!({})).await["environment"]["function"]["id"].take()
}

#[tokio::test]
async fn pause_is_shown_with_its_function_and_found_by_filter() {
    let server = Server::dev().await;
    server.register().await;
    let id = function(&server).await;
    let input = json!({"functionId": id, "inFlight": "HOLD", "newEvents": "HOLD", "reason": "stock-taking",
        "resumesAt": "2027-01-01T00:00:00Z"});
    let paused = server.query(PAUSE, json!({"input": input})).await;
    let paused = &paused["pauseFunction"];
    assert_eq!(paused["errors"], json!([]));
    assert_eq!(paused["function"]["isPaused"], true);
    assert_eq!(
        paused["function"]["pause"],
        json!({"pausedAt": "2026-09-21T14:13:20.000Z", "pausedBy": {"kind": "ANONYMOUS", "subject": null}, "reason": "stock-taking",
            "inFlight": "HOLD", "newEvents": "HOLD", "resumesAt": "2027-01-01T00:00:00.000Z"})
    );
    let query = "{ environment { paused: functions(filter: {isPaused: true}) { nodes { slug } totalCount { value } }
        others: functions(filter: {isPaused: false}) { nodes { slug } } } }";
    let shown = server.query(query, json!({})).await;
    let shown = &shown["environment"];
    assert_eq!(
        shown["paused"],
        json!({"nodes": [{"slug": "shop-receipt"}], "totalCount": {"value": 1}})
    );
    assert_eq!(shown["others"]["nodes"], json!([]));

    for _ in 0..2 {
        let resumed = server.query(RESUME, json!({"input": {"functionId": id}}));
        let resumed = resumed.await["resumeFunction"].take();
        assert_eq!(
            resumed,
            json!({"function": {"slug": "shop-receipt", "isPaused": false, "pause": null}, "errors": []})
        );
    }
}

#[tokio::test]
async fn run_of_an_event_that_was_skipped_says_so() {
    let server = Server::dev().await;
    server.register().await;
    let id = function(&server).await;
    server
        .query(PAUSE, json!({"input": {"functionId": id}}))
        .await;
    let (_, run) = server.start_run().await;
    let query =
        "query ($id: ID!) { run(id: $id) { status activity skip { reason } endedAt startedAt } }";
    let shown = server.query(query, json!({"id": run})).await;
    assert_eq!(
        shown["run"],
        json!({"status": "SKIPPED", "activity": null, "skip": {"reason": "FUNCTION_PAUSED"},
            "endedAt": "2026-09-21T14:13:20.000Z", "startedAt": null})
    );
}

#[tokio::test]
async fn refusals_name_the_field_that_is_to_blame() {
    let server = Server::dev().await;
    server.register().await;
    let id = function(&server).await;
    let nobody = "fn_00000000-0000-4000-8000-000000000009";
    for (input, code, path) in [
        (
            json!({"functionId": nobody}),
            "NOT_FOUND",
            json!(["input", "functionId"]),
        ),
        (
            json!({"functionId": id, "reason": "x".repeat(1_025)}),
            "INVALID_VALUE",
            json!(["input", "reason"]),
        ),
        (
            json!({"functionId": id, "resumesAt": "2020-01-01T00:00:00Z"}),
            "INVALID_VALUE",
            json!(["input", "resumesAt"]),
        ),
    ] {
        let refused = server.query(PAUSE, json!({"input": input})).await;
        assert_eq!(
            refused["pauseFunction"],
            json!({"function": null, "errors": [{"code": code, "path": path}]})
        );
    }
}
