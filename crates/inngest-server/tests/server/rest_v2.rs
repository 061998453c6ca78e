//! REST under `/v2`, in the words of its clients.

use std::{collections::BTreeMap, fmt::Write as _};

use http::Method;
use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn runs_are_told_in_the_words_of_v2_under_both_prefixes() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    for prefix in ["/v2", "/api/v2"] {
        let body = server.get(&format!("{prefix}/runs/{run}")).await.json();
        let shown = &body["data"];
        assert_eq!(
            (
                &shown["id"],
                &shown["status"],
                &shown["trigger"]["eventIds"]
            ),
            (&json!(run), &json!("QUEUED"), &json!([event]))
        );
        assert_eq!(
            shown["function"],
            json!({"id": "receipt", "name": "Receipt"})
        );
        assert_eq!(shown["app"], json!({"id": "shop"}));
        assert!(body["metadata"]["fetchedAt"].is_string());
    }
    let trace = server.get(&format!("/v2/runs/{run}/trace")).await.json();
    assert_eq!(trace["data"]["name"], "Receipt");
    assert_eq!(
        trace["data"]["children"].as_array().map(Vec::len),
        Some(1),
        "{trace}"
    );
}

#[tokio::test]
async fn runs_are_listed_by_names_in_code() {
    let server = Server::dev().await;
    server.register().await;
    let mut runs = vec![server.start_run().await.1];
    let invoke = "/v2/apps/shop/functions/receipt/invoke";
    let first = json!({"data": {"n": 1}, "idempotencyKey": "k"});
    let invoked = server.post(invoke, &first).await.json();
    runs.push(invoked["data"]["runId"].as_str().unwrap().to_owned());
    // The other spelling of the same key is the same request.
    let again = json!({"data": {"n": 1}, "idempotency_key": "k"});
    assert_eq!(
        server.post(invoke, &again).await.json()["data"],
        invoked["data"]
    );
    for (query, count) in [
        ("/runs", 2),
        ("/runs?appId=shop", 2),
        ("/runs?appId=other", 0),
        ("/runs?appId=shop&functionId=receipt", 2),
        ("/runs?appId=shop&functionId=shop-receipt&status=queued", 2),
        ("/runs?appId=shop&functionId=other", 0),
        ("/runs?status=COMPLETED&status=failed", 0),
        (
            "/runs?timeField=queuedAt&from=2020-01-01T00:00:00Z&order=ASC",
            2,
        ),
        ("/apps/shop/functions/receipt/runs?limit=1", 1),
    ] {
        let body = server.get(&format!("/v2{query}")).await.json();
        let ids: Vec<&str> = body["data"]
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {body}"))
            .iter()
            .map(|run| run["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), count, "{query}");
        assert!(
            ids.iter().all(|id| runs.iter().any(|run| run == id)),
            "{query}"
        );
    }
    let first = server.get("/v2/runs?limit=1").await;
    let page = &first.json()["page"];
    assert_eq!(
        (&page["hasMore"], &page["limit"]),
        (&json!(true), &json!(1))
    );
    let cursor = page["cursor"].as_str().unwrap();
    assert_eq!(
        first.header("link"),
        format!("</v2/runs?limit=1&cursor={cursor}>; rel=\"next\"")
    );
}

#[tokio::test]
async fn apps_and_functions_are_told_in_the_words_of_v2() {
    let server = Server::dev().await;
    server.register().await;
    let app = server.get("/v2/apps/shop").await.json();
    assert_eq!(app["data"]["id"], "shop");
    assert_eq!(app["data"]["latestSync"]["sdkLanguage"], "js");
    assert_eq!(
        server.get("/v2/apps").await.json()["data"],
        json!([app["data"]])
    );
    let function = server.get("/v2/apps/shop/functions/receipt").await.json();
    assert_eq!(
        function["data"]["triggers"],
        json!([{"type": "EVENT", "value": "shop/order.placed"}])
    );
    assert_eq!(
        function["data"]["configuration"]["retries"],
        json!({"value": 3, "isDefault": false})
    );
    let listed = server.get("/v2/apps/shop/functions").await.json();
    assert_eq!(listed["data"], json!([function["data"]]));
    let health = server.get("/v2/health").await.json();
    assert_eq!(health["data"], json!({"status": "ok"}));
}

#[tokio::test]
async fn errors_are_a_list() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let rerun = format!("/v2/runs/{run}/rerun");
    let post = Method::POST;
    for (method, path, body, status, code) in [
        (Method::GET, "/v2/nothing", Value::Null, 404, "not_found"),
        (
            Method::PUT,
            "/v2/runs",
            Value::Null,
            405,
            "method_not_allowed",
        ),
        (
            Method::GET,
            "/v2/runs/01HZZZZZZZZZZZZZZZZZZZZZZZ",
            Value::Null,
            404,
            "not_found",
        ),
        (Method::GET, "/v2/runs/x", Value::Null, 400, "invalid_id"),
        (
            Method::GET,
            "/v2/apps/none/functions",
            Value::Null,
            404,
            "not_found",
        ),
        (
            Method::GET,
            "/v2/runs?functionId=receipt",
            Value::Null,
            422,
            "app_needed",
        ),
        (
            Method::GET,
            "/v2/runs?pageSize=1",
            Value::Null,
            400,
            "unknown_parameter",
        ),
        (
            post.clone(),
            rerun.as_str(),
            json!({"step": 1}),
            400,
            "invalid_body",
        ),
        (
            post.clone(),
            rerun.as_str(),
            json!({"fromStep": {"stepId": "none"}}),
            409,
            "run_not_rerunnable",
        ),
        (
            post.clone(),
            "/v2/events",
            json!([{"name": "a"}]),
            400,
            "invalid_body",
        ),
        (
            post.clone(),
            "/v2/events",
            json!({"name": ""}),
            422,
            "invalid_event",
        ),
        (
            post,
            "/v2/apps/shop/functions/receipt/invoke",
            json!({}),
            400,
            "invalid_body",
        ),
    ] {
        let answer = server.send(method, path, &body, &[]).await;
        let told = answer.json();
        let found = (answer.status.as_u16(), &told["errors"][0]["code"]);
        assert_eq!(found, (status, &json!(code)), "{path} {body}: {told}");
        assert!(told["errors"][0]["message"].is_string());
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn run_is_cancelled_and_started_again() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let path = format!("/v2/runs/{run}");
    let cancelled = server.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(cancelled.json()["data"], json!({"runId": run}));
    let new = server
        .post(&format!("{path}/rerun"), &json!({}))
        .await
        .json();
    let new = new["data"]["runId"].as_str().unwrap();
    let runs = server.get(&format!("/v2/events/{event}/runs")).await.json();
    // Both may be of the same millisecond.
    let told: BTreeMap<&str, &Value> = runs["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["id"].as_str().unwrap(), &run["status"]))
        .collect();
    let (ended, queued) = (json!("CANCELLED"), json!("QUEUED"));
    let expected = BTreeMap::from([(run.as_str(), &ended), (new, &queued)]);
    assert_eq!(told, expected);
    let sent = server
        .post("/v2/events", &json!({"name": "a"}))
        .await
        .json();
    let id = sent["data"]["eventId"].as_str().unwrap();
    assert_eq!(
        server.get(&format!("/v1/events/{id}")).await.json()["data"]["name"],
        "a"
    );
}

#[tokio::test]
async fn key_in_the_body_of_an_invocation_is_409_with_the_first_run_when_it_was_used() {
    let server = Server::dev().await;
    server.register().await;
    let path = "/v2/apps/shop/functions/receipt/invoke";
    let body = json!({"data": {"n": 1}, "idempotencyKey": "once"});
    let first = server.post(path, &body).await;
    assert_eq!(first.status.as_u16(), 200);
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = server.post(path, &body).await;
    assert_eq!(again.status.as_u16(), 409);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json()["data"], first.json()["data"]);
    let other = json!({"data": {"n": 2}, "idempotencyKey": "once"});
    let refused = server.post(path, &other).await;
    assert_eq!(refused.status.as_u16(), 409);
    assert_eq!(
        refused.json()["errors"][0]["code"],
        "idempotency_key_reused"
    );
    assert_eq!(refused.header("idempotent-replayed"), "");
}

#[tokio::test]
async fn too_many_pairs_of_apps_and_functions_are_told_as_pairs() {
    let server = Server::dev().await;
    let mut query = String::from("/v2/runs?limit=1");
    for number in 0..30 {
        write!(query, "&appId=a{number}&functionId=f{number}").unwrap();
    }
    let refused = server.get(&query).await.json();
    let message = refused["errors"][0]["message"].as_str().unwrap();
    assert_eq!(refused["errors"][0]["code"], "filter_too_long");
    assert!(message.contains("30 apps and 30 functions"), "{message}");
}
