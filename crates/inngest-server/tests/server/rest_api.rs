//! REST under `/api/v1`: what it has beyond the paths that users of the SDKs know.

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use inngest_services::Mode;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, registration};

async fn post_with_key(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [
        ("idempotency-key", key),
        ("content-type", "application/json"),
    ];
    server.send(Method::POST, path, body, &headers).await
}

fn told(answer: &Answer) -> (u16, Value) {
    let body = answer.json();
    let code = body.get("code").or_else(|| body.pointer("/errors/0/code"));
    (answer.status.as_u16(), code.cloned().unwrap_or(Value::Null))
}

#[tokio::test]
async fn link_of_a_page_leads_to_the_next_one_of_the_same_list() {
    let server = Server::dev().await;
    server.register().await;
    for n in 0..3 {
        let event = json!({"name": "shop/order.placed", "data": {"n": n}});
        server.post("/e/key", &event).await;
    }
    let mut path = "/api/v1/runs?limit=2&status=scheduled&order=asc".to_owned();
    let mut seen = Vec::new();
    for expected in [2, 1] {
        let page = server.get(&path).await;
        let body = page.json();
        let runs = body["data"].as_array().unwrap();
        assert_eq!(runs.len(), expected);
        seen.extend(runs.iter().map(|run| run["run_id"].to_string()));
        let link = page.header("link");
        assert_eq!(body["page"]["has_more"], !link.is_empty());
        if let Some(link) = link.strip_prefix('<') {
            let (next, relation) = link.split_once('>').unwrap();
            assert_eq!(relation, "; rel=\"next\"");
            path = next.to_owned();
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, seen, "oldest first, each once");
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn runs_are_filtered_by_all_that_graphql_filters_by() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let other = server
        .post(
            "/api/v1/functions/shop-receipt/invoke",
            &json!({"data": {"n": 7}}),
        )
        .await
        .json();
    let invoked = other["data"]["run_id"].as_str().unwrap().to_owned();
    let function = server.get("/api/v1/functions/shop-receipt").await.json();
    let function = function["data"]["internal_id"].as_str().unwrap().to_owned();
    let (one, other) = ([run.as_str()], [invoked.as_str()]);
    let (first, second) = (one.as_slice(), other.as_slice());
    let both = [invoked.as_str(), run.as_str()];
    let both = both.as_slice();
    let none: &[&str] = &[];
    for (query, expected) in [
        (format!("event={event}"), first),
        (format!("run={invoked}&run={run}"), both),
        (format!("function={function}&function_version=1"), both),
        (format!("function={function}&function_version=2"), none),
        ("function_slug=shop-receipt".to_owned(), both),
        ("function_slug=shop-other".to_owned(), none),
        ("event_name=shop/order.placed".to_owned(), first),
        ("trigger=invoke".to_owned(), second),
        ("trigger=EVENT&trigger=cron".to_owned(), first),
        ("has_error=true".to_owned(), none),
        ("has_error=false".to_owned(), both),
        ("min_duration_ms=1".to_owned(), none),
        ("until=2026-01-01T00:00:00Z".to_owned(), none),
        ("search=event.data.n==7".to_owned(), second),
        ("search=event.data.n%3E0".to_owned(), both),
    ] {
        let body = server.get(&format!("/api/v1/runs?{query}")).await.json();
        let data = body["data"].as_array();
        let data = data.unwrap_or_else(|| panic!("{query}: {body}"));
        let mut found: Vec<&str> = data
            .iter()
            .map(|run| run["run_id"].as_str().unwrap())
            .collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{query}");
        let scanned = body["page"].get("scanned").is_some();
        assert_eq!(scanned, query.starts_with("search"), "{query}");
    }
    let refused = server.get("/api/v1/runs?search=event.").await;
    assert_eq!(told(&refused), (422, json!("invalid_expression")));
    let refused = server.get("/api/v1/runs?function_version=1").await;
    assert_eq!(told(&refused), (422, json!("one_function_needed")));
}

#[tokio::test]
async fn events_are_filtered_and_searched() {
    let server = Server::dev().await;
    for n in 0..3 {
        let event = json!({"name": format!("list/{n}"), "data": {"n": n}, "id": format!("id-{n}")});
        server.post("/e/key", &event).await;
    }
    for (query, expected) in [
        ("limit=100", vec!["list/0", "list/1", "list/2"]),
        ("name=list/1&name=list/2", vec!["list/1", "list/2"]),
        ("id=id-2", vec!["list/2"]),
        ("search=event.data.n==1", vec!["list/1"]),
        ("has_runs=true", vec![]),
        ("name=list/*&search=event.data.n%3C1", vec!["list/0"]),
    ] {
        let body = server.get(&format!("/api/v1/events?{query}")).await.json();
        let mut names: Vec<&str> = body["data"]
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {body}"))
            .iter()
            .map(|event| event["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{query}");
    }
    let newest = server.get("/api/v1/events").await.json();
    let oldest = server.get("/api/v1/events?order=asc").await.json();
    let (newest, oldest) = (newest["data"].as_array(), oldest["data"].as_array());
    assert!(newest.unwrap().iter().rev().eq(oldest.unwrap()));
}

#[tokio::test]
async fn requests_with_a_key_are_made_once() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let rerun = format!("/api/v1/runs/{run}/rerun");
    let rerun_v2 = format!("/v2/runs/{run}/rerun");
    for (path, body, other, id) in [
        (
            "/api/v1/events",
            json!({"name": "a"}),
            json!({"name": "b"}),
            "/ids/0",
        ),
        (
            "/api/v1/functions/shop-receipt/invoke",
            json!({"data": {}}),
            json!({"data": {"n": 1}}),
            "/data/run_id",
        ),
        (
            rerun.as_str(),
            json!({}),
            json!({"data": {"n": 1}}),
            "/data/run_id",
        ),
        (
            "/v2/events",
            json!({"name": "a"}),
            json!({"name": "b"}),
            "/data/eventId",
        ),
        (
            "/v2/apps/shop/functions/receipt/invoke",
            json!({"data": {}}),
            json!({"data": {"n": 1}}),
            "/data/runId",
        ),
        (
            rerun_v2.as_str(),
            json!({}),
            json!({"fromStep": {"stepId": "a"}}),
            "/data/runId",
        ),
    ] {
        // A key is one of its caller, whatever it is used for.
        let (first_key, other_key) = (format!("one of {path}"), format!("other of {path}"));
        let first = post_with_key(&server, path, &first_key, &body).await;
        assert_eq!(first.header("idempotent-replayed"), "", "{path}");
        let first = first.json();
        let named = first.pointer(id);
        assert!(named.is_some_and(Value::is_string), "{path}: {first}");
        let second = post_with_key(&server, path, &first_key, &body).await;
        assert_eq!(second.status, StatusCode::OK, "{path}");
        assert_eq!(second.header("idempotent-replayed"), "true", "{path}");
        assert_eq!(second.json().pointer(id), named, "{path}");
        let third = post_with_key(&server, path, &other_key, &body).await.json();
        assert_ne!(third.pointer(id), named, "{path}");
        let refused = post_with_key(&server, path, &other_key, &other).await;
        assert_eq!(
            told(&refused),
            (409, json!("idempotency_key_reused")),
            "{path}"
        );
        assert_eq!(refused.header("idempotent-replayed"), "", "{path}");
        let refused = post_with_key(&server, path, "", &body).await;
        assert_eq!(
            told(&refused),
            (422, json!("idempotency_key_invalid")),
            "{path}"
        );
    }
    let signal = json!({"signal": "unheard"});
    let first = post_with_key(&server, "/api/v1/signals", "s", &signal).await;
    assert_eq!(told(&first), (404, json!("signal_not_found")));
    let second = post_with_key(&server, "/api/v1/signals", "s", &signal).await;
    assert_eq!(told(&second), (404, json!("signal_not_found")));
    assert_eq!(second.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn run_is_cancelled_shown_and_started_again() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let path = format!("/api/v1/runs/{run}");
    let cancelled = server.post(&format!("{path}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.json()["data"]["status"], "Cancelled");
    let again = server.post(&format!("{path}/cancel"), &Value::Null).await;
    assert_eq!(again.status, StatusCode::OK);

    let new = server.post(&format!("{path}/rerun"), &Value::Null).await;
    let new = new.json()["data"].clone();
    assert_eq!(
        (&new["original_run_id"], &new["trigger"], &new["event_id"]),
        (&json!(run), &json!("rerun"), &json!(event))
    );
    assert_eq!(new["function_slug"], "shop-receipt");
    assert_eq!(new["app_name"], "shop");
    let edited = json!({"data": {"n": 2}});
    let edited = server.post(&format!("{path}/rerun"), &edited).await.json();
    assert_ne!(edited["data"]["event_id"], json!(event));
    for (body, status, code) in [
        (
            json!({"from_step": {"step_id": "none"}}),
            409,
            "run_not_rerunnable",
        ),
        (json!({"from_step": {}}), 422, "invalid_body"),
        (
            json!({"from_step": {"step_id": "a", "input": 1}}),
            422,
            "step_input_invalid",
        ),
        (
            json!({"from_step": {"step_id": "a"}, "data": {}}),
            422,
            "rerun_ambiguous",
        ),
        (json!({"data": 1}), 422, "event_data_invalid"),
        (json!({"function_version": "newest"}), 422, "invalid_body"),
        (json!([]), 422, "invalid_body"),
    ] {
        let refused = server.post(&format!("{path}/rerun"), &body).await;
        assert_eq!(told(&refused), (status, json!(code)), "{body}");
    }
    let trace = server.get(&format!("{path}/trace")).await.json();
    assert_eq!(trace["data"]["spans"][0]["kind"], "Run");
    assert_eq!(trace["data"]["spans"][0]["status"], "Cancelled");
    let steps = server.get(&format!("{path}/steps")).await.json();
    assert_eq!(
        (&steps["data"], &steps["page"]["has_more"]),
        (&json!([]), &json!(false))
    );
}

#[tokio::test]
async fn apps_and_functions_are_found_by_id_and_by_name() {
    let server = Server::dev().await;
    let registered = server.register().await;
    let id = registered["app_id"].as_str().unwrap();
    for name in [id, "shop"] {
        let app = server.get(&format!("/api/v1/apps/{name}")).await.json();
        assert_eq!(
            (&app["data"]["id"], &app["data"]["name"]),
            (&json!(id), &json!("shop"))
        );
        let list = server
            .get(&format!("/api/v1/apps/{name}/functions?limit=1"))
            .await;
        assert_eq!(list.json()["data"][0]["id"], "shop-receipt");
    }
    let listed = server.get("/api/v1/apps?name_contains=HO").await.json();
    assert_eq!(listed["data"][0]["id"], json!(id));
    for (query, count) in [
        (String::new(), 1),
        (format!("?app={id}&trigger=event"), 1),
        ("?trigger=cron".to_owned(), 0),
        ("?trigger_event=shop/order.placed".to_owned(), 1),
        ("?name_contains=unknown".to_owned(), 0),
    ] {
        let list = server
            .get(&format!("/api/v1/functions{query}"))
            .await
            .json();
        assert_eq!(
            list["data"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
    let removed = server
        .send(Method::DELETE, "/api/v1/apps/shop", &Value::Null, &[])
        .await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    let app = server.get("/api/v1/apps/shop").await.json();
    assert!(app["data"]["archived_at"].is_string());
    assert_eq!(server.get("/api/v1/apps").await.json()["data"], json!([]));
    let gone = server
        .send(Method::DELETE, "/api/v1/apps/shop", &Value::Null, &[])
        .await;
    assert_eq!(told(&gone), (404, json!("app_not_found")));
    let refused = server
        .post("/api/v1/functions/shop-receipt/invoke", &json!({}))
        .await;
    assert_eq!(told(&refused), (404, json!("function_not_found")));
}

#[tokio::test]
async fn what_an_operation_does_not_take_is_refused_before_it_is_carried_out() {
    let server = Server::with(Mode::Dev, |settings| settings.request_body_bytes = 100).await;
    let send = async |method: Method, path: &str, content_type: &str, body: &Value| {
        let headers = [("content-type", content_type)];
        server.send(method, path, body, &headers).await
    };
    let signal = json!({"signal": "s"});
    for (content_type, status) in [
        ("application/json; charset=utf-8", 404),
        ("application/vnd.x+json", 404),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ] {
        let answer = send(Method::POST, "/api/v1/signals", content_type, &signal).await;
        assert_eq!(answer.status.as_u16(), status, "{content_type}");
    }
    let large = json!({"signal": "s".repeat(200)});
    let answer = server.post("/api/v1/signals", &large).await;
    assert_eq!(told(&answer), (413, json!("body_too_large")));
    let answer = send(Method::PUT, "/api/v1/runs", "application/json", &signal).await;
    assert_eq!(told(&answer), (405, json!("method_not_allowed")));
    assert_eq!(answer.header("allow"), "GET,HEAD");
    for path in ["/api/v1/runs/%FF", "/api/v1/runs/x"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}"
        );
    }
    let answer = server.get("/api/v1/runs?limit=0").await;
    assert_eq!(told(&answer), (400, json!("invalid_parameter")));
    let request = http::Request::post("/api/v1/signals")
        .body("{".into())
        .unwrap();
    assert_eq!(
        told(&server.ask(request).await),
        (400, json!("invalid_json"))
    );
}

#[tokio::test]
async fn health_of_the_api_needs_no_credential_and_its_document_does() {
    let server = Server::start().await;
    assert_eq!(server.get("/api/v1/health").await.json()["status"], "ok");
    let wrong = [("authorization", "Bearer signkey-test-00")];
    let failures = || {
        let failures = server.services.sign_in_failures();
        failures.bearers.load(Ordering::Relaxed)
    };
    let before = failures();
    let ask = async |path: &str| {
        let answer = server.send(Method::GET, path, &Value::Null, &wrong);
        answer.await.status
    };
    assert_eq!(ask("/api/v1/health").await, StatusCode::OK);
    assert_eq!(failures(), before, "it was not looked at");
    assert_eq!(ask("/api/v1/openapi.json").await, StatusCode::UNAUTHORIZED);
    assert_eq!(failures(), before + 1);
}

/// Registers an app with one function, at the URL of all of them.
async fn register(server: &Server, app: &str, slug: &str) {
    let mut body = registration();
    body["appName"] = json!(app);
    body["functions"][0]["id"] = json!(slug);
    let answer = server.post("/fn/register", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
}

#[tokio::test]
async fn app_that_is_removed_is_the_one_that_was_named() {
    let server = Server::dev().await;
    register(&server, "shop", "shop-receipt").await;
    register(&server, "shop2", "shop2-receipt").await;
    let remove = async |app: &str| {
        let path = format!("/api/v1/apps/{app}");
        server.send(Method::DELETE, &path, &Value::Null, &[]).await
    };
    assert_eq!(remove("shop").await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        told(&remove("shop").await),
        (404, json!("app_not_found")),
        "it was removed before"
    );
    let apps = server.get("/api/v1/apps").await.json();
    let names: Vec<&Value> = apps["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| &app["name"])
        .collect();
    assert_eq!(names, ["shop2"], "another app at the same URL stays");
}

#[tokio::test]
async fn function_that_is_invoked_is_the_one_that_was_named() {
    let server = Server::dev().await;
    // Both slugs are `shop-a-b`.
    register(&server, "shop", "shop-a-b").await;
    register(&server, "shop-a", "shop-a-b").await;
    for (app, function) in [("shop", "a-b"), ("shop-a", "b")] {
        let path = format!("/v2/apps/{app}/functions/{function}/invoke");
        let answer = server.post(&path, &json!({"data": {}})).await.json();
        let run = answer["data"]["runId"].as_str();
        let run = run.unwrap_or_else(|| panic!("{answer}"));
        let query = "query ($id: ID!) { run(id: $id) { function { app { externalId } } } }";
        let shown = server.query(query, json!({"id": run})).await;
        assert_eq!(
            shown["run"]["function"]["app"]["externalId"], app,
            "{shown}"
        );
    }
}

#[tokio::test]
async fn invocation_is_no_larger_than_an_event() {
    let server = Server::dev().await;
    server.register().await;
    let body = json!({"data": {"ballast": "x".repeat(3 * 1024 * 1024)}});
    let answer = server
        .post("/api/v1/functions/shop-receipt/invoke", &body)
        .await;
    assert_eq!(told(&answer), (413, json!("event_too_large")));
}
