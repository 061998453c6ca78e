//! What one caller may ask: points over time.

use std::{fmt::Write as _, time::Duration};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use inngest_services::ServiceSettings;

use crate::harness::{Answer, SIGNING_KEY, Server};

/// An operation of 30 points: each alias is two fields.
fn thirty_points() -> String {
    let mut query = String::from("{");
    for number in 0..15 {
        write!(query, " a{number}: server {{ time }}").unwrap();
    }
    query + " }"
}

async fn ask(server: &Server, query: &str) -> Answer {
    let bearer = format!("Bearer {SIGNING_KEY}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let body = json!({ "query": query });
    server.send(Method::POST, "/graphql", &body, &headers).await
}

/// 50 points, of which one comes back in a second.
async fn small_budget() -> Server {
    Server::with_services(|settings| settings.api_rate = ServiceSettings::api_rate(1)).await
}

#[tokio::test]
async fn caller_without_points_is_told_to_wait_and_served_after_that() {
    let server = small_budget().await;
    let answer = ask(&server, &thirty_points()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let cost = &answer.json()["extensions"]["cost"];
    assert_eq!(
        (&cost["requested"], &cost["remaining"], &cost["limit"]),
        (&json!(30), &json!(20), &json!(50))
    );
    assert_eq!(cost["resetAt"], "2026-09-21T14:13:50.000Z");

    let refused = ask(&server, &thirty_points()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let body = refused.json();
    assert_eq!(body.get("data"), None);
    let extensions = &body["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED");
    assert_eq!(extensions["retryAfterMs"], 10_001);
    assert_eq!(refused.header("retry-after"), "11");
    assert_eq!(body["extensions"]["cost"]["remaining"], 20);

    server.services.clock().advance(Duration::from_secs(10));
    let answer = ask(&server, &thirty_points()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(answer.json()["extensions"]["cost"]["remaining"], 0);
}

#[tokio::test]
async fn operations_that_are_refused_before_they_run_cost_nothing() {
    let server = small_budget().await;
    for wrong in ["{ unknown }", "{", "query A { a } query B { b }"] {
        let answer = ask(&server, wrong).await;
        assert!(answer.status.is_client_error());
        assert_eq!(answer.json()["extensions"].get("cost"), None, "{wrong}");
    }
    let answer = ask(&server, "{ server { time } }").await;
    assert_eq!(answer.json()["extensions"]["cost"]["remaining"], 48);
}

#[tokio::test]
async fn nobody_counts_in_dev() {
    let server = Server::dev().await;
    let answer = server
        .post("/graphql", &json!({"query": thirty_points()}))
        .await;
    let cost = &answer.json()["extensions"]["cost"];
    assert_eq!(
        (&cost["requested"], &cost["remaining"]),
        (&json!(30), &Value::Null)
    );
}

#[tokio::test]
async fn rest_and_graphql_are_paid_for_from_one_budget() {
    let server = small_budget().await;
    let bearer = format!("Bearer {SIGNING_KEY}");
    let headers = [("authorization", bearer.as_str())];
    let get = async |path: &str| server.send(Method::GET, path, &Value::Null, &headers).await;

    // One for the request, and one for each entry of the page.
    let answer = get("/api/v1/runs?limit=19").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(answer.header("ratelimit"), "\"points\";r=30;t=0");
    assert_eq!(answer.header("ratelimit-policy"), "\"points\";q=50;w=50");
    assert_eq!(ask(&server, &thirty_points()).await.status, StatusCode::OK);

    for path in [
        "/api/v1/runs?limit=9",
        "/v1/events?limit=9",
        "/v2/runs?limit=9",
    ] {
        let refused = get(path).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(refused.header("retry-after"), "10", "{path}");
        assert_eq!(refused.header("ratelimit"), "\"points\";r=0;t=10", "{path}");
        let body = refused.json();
        let code = body.get("code").or(body.pointer("/errors/0/code"));
        assert_eq!(code, Some(&json!("rate_limited")), "{path}");
    }
    server.services.clock().advance(Duration::from_secs(10));
    let answer = get("/api/v1/runs?limit=9").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
}

#[tokio::test]
async fn events_are_sent_and_health_is_told_also_to_who_has_no_points_left() {
    let server = small_budget().await;
    let bearer = format!("Bearer {SIGNING_KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let send = async |method, path: &str, body: &Value| {
        server.send(method, path, body, &headers).await.status
    };
    let preview = json!({"functions": ["shop-receipt"], "from": "2020-01-01T00:00:00Z"});
    let path = "/api/v1/replays/preview";
    // More than a bucket holds costs what a full one has.
    let first = send(Method::POST, path, &preview).await;
    assert_eq!(first, StatusCode::NOT_FOUND);
    let second = send(Method::POST, path, &preview).await;
    assert_eq!(second, StatusCode::TOO_MANY_REQUESTS);
    let event = json!({"name": "shop/order.placed"});
    let sent = send(Method::POST, "/api/v1/events", &event).await;
    assert_eq!(sent, StatusCode::OK);
    let health = send(Method::GET, "/api/v1/health", &Value::Null).await;
    assert_eq!(health, StatusCode::OK);
}
