//! Who may use which door: one row for each, and a check that none is missing.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use inngest_services::Mode;
use serde_json::{Value, json};

use crate::{
    harness::{EVENT_KEY, SIGNING_KEY, Server, registration},
    permissions::{ROLES, ROOTS},
    tokens::{token, with_secret},
};

/// The least that a door asks for. A signing key opens every door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    EventKey,
    /// A token of this role or of one above it.
    Role(&'static str),
    /// A signing key, and no token whatever its role.
    App,
}

const VIEWER: Needs = Needs::Role("viewer");
const MEMBER: Needs = Needs::Role("member");
const ADMIN: Needs = Needs::Role("admin");

const RUN: &str = "01HZZZZZZZZZZZZZZZZZZZZZZZ";
const APP: &str = "00000000-0000-4000-8000-000000000009";

/// Every path besides GraphQL, as in `router.rs` and in the document of REST.
const ROUTES: &[(&str, &str, Needs)] = &[
    ("GET", "/health", Needs::Nothing),
    ("GET", "/live", Needs::Nothing),
    ("GET", "/ready", Needs::Nothing),
    ("POST", "/e", Needs::EventKey),
    ("POST", "/e/", Needs::EventKey),
    ("POST", "/e/{key}", Needs::EventKey),
    ("POST", "/invoke/a", MEMBER),
    ("POST", "/fn/register", ADMIN),
    ("DELETE", "/fn/remove?url=x", ADMIN),
    ("GET", "/v0/runs/{run}/actions", Needs::App),
    ("GET", "/v0/runs/{run}/batch", Needs::App),
    ("DELETE", "/v0/runs/{run}", MEMBER),
    ("POST", "/v0/telemetry", Needs::Nothing),
    ("POST", "/v1/checkpoint/{run}/async", Needs::App),
    ("POST", "/v1/http/runs/{run}/async", Needs::App),
    ("POST", "/v1/signals", MEMBER),
    ("GET", "/v1/events", VIEWER),
    ("GET", "/v1/events/{run}", VIEWER),
    ("GET", "/v1/events/{run}/runs", VIEWER),
    ("GET", "/v1/runs/{run}", VIEWER),
    ("DELETE", "/v1/runs/{run}", MEMBER),
    ("GET", "/v1/apps/a/functions", VIEWER),
    ("GET", "/v1/runs/{run}/jobs", VIEWER),
    ("GET", "/v1/cancellations", VIEWER),
    ("POST", "/v1/cancellations", MEMBER),
    ("DELETE", "/v1/cancellations/{run}", MEMBER),
    ("GET", "/api/v1/health", Needs::Nothing),
    ("GET", "/api/v1/openapi.json", VIEWER),
    ("GET", "/api/v1/apps", VIEWER),
    ("POST", "/api/v1/apps", ADMIN),
    ("GET", "/api/v1/apps/a", VIEWER),
    ("DELETE", "/api/v1/apps/a", ADMIN),
    ("POST", "/api/v1/apps/a/syncs", ADMIN),
    ("GET", "/api/v1/apps/a/functions", VIEWER),
    ("GET", "/api/v1/functions", VIEWER),
    ("POST", "/api/v1/functions", ADMIN),
    ("GET", "/api/v1/functions/a", VIEWER),
    ("POST", "/api/v1/functions/a/invoke", MEMBER),
    ("POST", "/api/v1/functions/a/pause", MEMBER),
    ("POST", "/api/v1/functions/a/resume", MEMBER),
    ("GET", "/api/v1/events", VIEWER),
    ("POST", "/api/v1/events", MEMBER),
    ("GET", "/api/v1/events/{run}", VIEWER),
    ("GET", "/api/v1/events/{run}/runs", VIEWER),
    ("GET", "/api/v1/runs", VIEWER),
    ("GET", "/api/v1/runs/{run}", VIEWER),
    ("DELETE", "/api/v1/runs/{run}", MEMBER),
    ("POST", "/api/v1/runs/{run}/cancel", MEMBER),
    ("POST", "/api/v1/runs/{run}/rerun", MEMBER),
    ("GET", "/api/v1/runs/{run}/steps", VIEWER),
    ("GET", "/api/v1/runs/{run}/trace", VIEWER),
    ("GET", "/api/v1/runs/{run}/jobs", VIEWER),
    ("GET", "/api/v1/replays", VIEWER),
    ("POST", "/api/v1/replays", MEMBER),
    ("POST", "/api/v1/replays/preview", VIEWER),
    ("GET", "/api/v1/replays/{run}", VIEWER),
    ("DELETE", "/api/v1/replays/{run}", MEMBER),
    ("GET", "/api/v1/cancellations", VIEWER),
    ("POST", "/api/v1/cancellations", MEMBER),
    ("POST", "/api/v1/cancellations/preview", VIEWER),
    ("GET", "/api/v1/cancellations/{run}", VIEWER),
    ("DELETE", "/api/v1/cancellations/{run}", MEMBER),
    ("POST", "/api/v1/signals", MEMBER),
    ("GET", "/v2/health", VIEWER),
    ("GET", "/v2/apps", VIEWER),
    ("GET", "/v2/apps/a", VIEWER),
    ("GET", "/v2/apps/a/functions", VIEWER),
    ("GET", "/v2/apps/a/functions/a", VIEWER),
    ("POST", "/v2/apps/a/functions/a/invoke", MEMBER),
    ("GET", "/v2/apps/a/functions/a/runs", VIEWER),
    ("POST", "/v2/events", MEMBER),
    ("GET", "/v2/events/{run}/runs", VIEWER),
    ("GET", "/v2/runs", VIEWER),
    ("GET", "/v2/runs/{run}", VIEWER),
    ("GET", "/v2/runs/{run}/trace", VIEWER),
    ("POST", "/v2/runs/{run}/cancel", MEMBER),
    ("POST", "/v2/runs/{run}/rerun", MEMBER),
    ("POST", "/v0/gql", VIEWER),
    ("GET", "/graphql/schema.graphql", VIEWER),
    ("POST", "/fn/step-limit?functionId={app}&limit=1", ADMIN),
    ("DELETE", "/fn/step-limit?functionId={app}", ADMIN),
    (
        "POST",
        "/fn/state-size-limit?functionId={app}&limit=1",
        ADMIN,
    ),
    ("DELETE", "/fn/state-size-limit?functionId={app}", ADMIN),
    ("GET", "/test/", VIEWER),
    ("POST", "/test/reset", ADMIN),
    (
        "POST",
        "/test/function/runs/cancel?accountId=x&fnId={app}&runId={run}",
        MEMBER,
    ),
    ("POST", "/test/function/pause?fnId={app}", MEMBER),
    ("GET", "/test/queue/function-queue-size?fnId={app}", VIEWER),
];

#[tokio::test]
async fn each_door_opens_for_its_key_and_for_nothing_less() {
    let server = Server::with(Mode::Start, |settings| settings.v0_gql = true).await;
    let bearer = format!("Bearer {SIGNING_KEY}");
    for (method, path, needs) in ROUTES {
        let method: Method = method.parse().unwrap();
        let body = body_for(&method, path);
        let path = path.replace("{run}", RUN).replace("{app}", APP);
        let ask = async |key: &str, headers: &[(&str, &str)]| {
            server
                .send(method.clone(), &path.replace("{key}", key), &body, headers)
                .await
                .status
        };
        let nobody = ask("wrong", &[]).await;
        assert_eq!(
            nobody == StatusCode::UNAUTHORIZED,
            *needs != Needs::Nothing,
            "{method} {path}: {nobody}"
        );
        let wrong = ask("wrong", &[("authorization", "Bearer signkey-test-00")]).await;
        assert_eq!(
            wrong == StatusCode::UNAUTHORIZED,
            *needs != Needs::Nothing,
            "{method} {path}: {wrong}"
        );
        if matches!(needs, Needs::Role(_) | Needs::App) || path.contains("{key}") {
            let known = ask(EVENT_KEY, &[("authorization", &bearer)]).await;
            assert!(
                known != StatusCode::UNAUTHORIZED && known != StatusCode::FORBIDDEN,
                "{method} {path}: {known}"
            );
        }
    }
}

/// A body that the door understands, so that it is the credential that decides.
fn body_for(method: &Method, path: &str) -> Value {
    match path {
        _ if method != Method::POST => Value::Null,
        "/fn/register" => registration(),
        "/v0/gql" => json!({"query": "{ functions { id } }"}),
        "/api/v1/events" | "/v2/events" => json!({"name": "a", "data": {}}),
        "/api/v1/apps" => json!({"url": "http://127.0.0.1:1/"}),
        "/api/v1/functions" => {
            json!({"app": "own", "id": "a", "url": "http://127.0.0.1:1/", "triggers": [{"event": "a"}]})
        }
        path if path.ends_with("/signals") => json!({"signal": "a"}),
        path if path.ends_with("/async") => json!({"run_id": RUN, "steps": []}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn each_door_opens_for_its_role_and_for_none_below() {
    let server = with_secret().await;
    for (method, path, needs) in ROUTES {
        let method: Method = method.parse().unwrap();
        let body = body_for(&method, path);
        for (place, role) in ROLES.iter().enumerate() {
            let bearer = format!("Bearer {}", token(&json!({"role": role})));
            let headers = [("authorization", bearer.as_str())];
            let path = path.replace("{run}", RUN).replace("{app}", APP);
            let path = path.replace("{key}", "wrong");
            let answer = server.send(method.clone(), &path, &body, &headers).await;
            let expected = match needs {
                Needs::Nothing => None,
                Needs::EventKey => Some(StatusCode::UNAUTHORIZED),
                Needs::App => Some(StatusCode::FORBIDDEN),
                Needs::Role(least) => {
                    let least = ROLES.iter().position(|role| role == least).unwrap();
                    (place < least).then_some(StatusCode::FORBIDDEN)
                }
            };
            let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
            let refused = Some(answer.status).filter(|status| refusals.contains(status));
            let text = String::from_utf8_lossy(&answer.body);
            assert_eq!(refused, expected, "{method} {path} as {role}: {text}");
        }
    }
}

#[test]
fn every_route_of_the_router_has_a_row() {
    let router = include_str!("../../src/router.rs");
    let listed: BTreeSet<String> = ROUTES.iter().map(|(_, path, _)| shape(path)).collect();
    let mut missing = Vec::new();
    // A route may stand on one line or on several.
    for rest in router.split(".route(").skip(1) {
        let path = shape(rest.split('"').nth(1).unwrap());
        let known = listed.contains(&path);
        // Websocket and POST of GraphQL have tests of their own; `/dev` and `/` exist in dev only; metrics have a listener of their own.
        if !known && !["/graphql", "/dev", "/", "/v0/gql", "/metrics"].contains(&path.as_str()) {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn every_operation_of_the_document_has_a_row_that_says_the_same() {
    let server = Server::dev().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let needs = match operation["x-permission"].as_str() {
                None if operation["security"] == json!([]) => Needs::Nothing,
                None | Some("APPS_READ" | "EVENTS_READ" | "RUNS_READ") => VIEWER,
                Some("EVENTS_SEND" | "RUNS_MANAGE" | "FUNCTIONS_MANAGE") => MEMBER,
                Some("APPS_MANAGE") => ADMIN,
                Some(other) => panic!("{method} {path} needs {other}"),
            };
            let method = method.to_uppercase();
            let row = ROUTES
                .iter()
                .find(|(verb, row, _)| *verb == method && shape(row) == shape(path));
            assert_eq!(row.map(|row| row.2), Some(needs), "{method} {path}");
            checked += 1;
        }
    }
    let rest = ["/api/v1/", "/v2/"];
    let rows = ROUTES
        .iter()
        .filter(|(_, path, _)| rest.iter().any(|prefix| path.starts_with(prefix)));
    let older = document["paths"].as_object().unwrap().iter();
    let older = older.filter(|(path, _)| path.starts_with("/v1/"));
    let older: usize = older.map(|(_, it)| it.as_object().unwrap().len()).sum();
    assert_eq!(checked, rows.count() + older, "a row without an operation");
}

/// A path with its variable parts and its query left out.
fn shape(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| {
            if part.starts_with('{') || part == "a" {
                "*"
            } else {
                part
            }
        })
        .collect();
    parts.join("/")
}

#[tokio::test]
async fn every_root_field_has_a_row_and_the_endpoint_needs_a_key() {
    let dev = Server::dev().await;
    let roots = "{ __schema { queryType { name fields { name } } mutationType { name fields { name } } subscriptionType { name fields { name } } } }";
    let schema = dev.query(roots, json!({})).await;
    let mut found = BTreeSet::new();
    for root in ["queryType", "mutationType", "subscriptionType"] {
        let root = &schema["__schema"][root];
        for field in root["fields"].as_array().unwrap() {
            found.insert(format!(
                "{}.{}",
                root["name"].as_str().unwrap(),
                field["name"].as_str().unwrap()
            ));
        }
    }
    let listed: BTreeSet<String> = ROOTS.iter().map(|row| row.field.to_owned()).collect();
    assert_eq!(found, listed);

    let start = Server::start().await;
    let answer = start
        .post("/v0/gql", &json!({"query": "{ functions { id } }"}))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = start
        .post("/graphql", &json!({"query": "{ server { mode } }"}))
        .await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Bearer")
    );
    let body = answer.json();
    assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert!(body.get("data").is_none());
}
