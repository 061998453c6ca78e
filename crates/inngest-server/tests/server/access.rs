//! Who may use which door: one row for each, and a check that none is missing.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use inngest_services::Mode;
use serde_json::{Value, json};

use crate::{
    harness::{EVENT_KEY, SIGNING_KEY, Server},
    permissions::ROOTS,
};

/// The least that a door asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    EventKey,
    SigningKey,
}

const RUN: &str = "01HZZZZZZZZZZZZZZZZZZZZZZZ";

/// Every path besides GraphQL, as in `router.rs`.
const ROUTES: &[(&str, &str, Needs)] = &[
    ("GET", "/health", Needs::Nothing),
    ("GET", "/live", Needs::Nothing),
    ("GET", "/ready", Needs::Nothing),
    ("POST", "/e", Needs::EventKey),
    ("POST", "/e/", Needs::EventKey),
    ("POST", "/e/{key}", Needs::EventKey),
    ("POST", "/invoke/a", Needs::SigningKey),
    ("POST", "/fn/register", Needs::SigningKey),
    ("DELETE", "/fn/remove?url=x", Needs::SigningKey),
    ("GET", "/v0/runs/{run}/actions", Needs::SigningKey),
    ("GET", "/v0/runs/{run}/batch", Needs::SigningKey),
    ("DELETE", "/v0/runs/{run}", Needs::SigningKey),
    ("POST", "/v0/telemetry", Needs::Nothing),
    ("POST", "/v1/checkpoint/{run}/async", Needs::SigningKey),
    ("POST", "/v1/http/runs/{run}/async", Needs::SigningKey),
    ("POST", "/v1/signals", Needs::SigningKey),
    ("POST", "/api/v1/signals", Needs::SigningKey),
    ("GET", "/v1/events", Needs::SigningKey),
    ("GET", "/v1/events/{run}", Needs::SigningKey),
    ("GET", "/v1/events/{run}/runs", Needs::SigningKey),
    ("GET", "/v1/runs/{run}", Needs::SigningKey),
    ("DELETE", "/v1/runs/{run}", Needs::SigningKey),
    ("GET", "/v1/apps/a/functions", Needs::SigningKey),
    ("GET", "/api/v1/events", Needs::SigningKey),
    ("POST", "/api/v1/events", Needs::SigningKey),
    ("GET", "/api/v1/events/{run}", Needs::SigningKey),
    ("GET", "/api/v1/events/{run}/runs", Needs::SigningKey),
    ("GET", "/api/v1/runs", Needs::SigningKey),
    ("GET", "/api/v1/runs/{run}", Needs::SigningKey),
    ("DELETE", "/api/v1/runs/{run}", Needs::SigningKey),
    ("GET", "/api/v1/apps/a/functions", Needs::SigningKey),
    ("POST", "/v0/gql", Needs::SigningKey),
    ("GET", "/graphql/schema.graphql", Needs::SigningKey),
];

#[tokio::test]
async fn each_door_opens_for_its_key_and_for_nothing_less() {
    let server = Server::with(Mode::Start, |settings| settings.v0_gql = true).await;
    let bearer = format!("Bearer {SIGNING_KEY}");
    for (method, path, needs) in ROUTES {
        let method: Method = method.parse().unwrap();
        let body = if method == Method::POST {
            json!({})
        } else {
            Value::Null
        };
        let path = path.replace("{run}", RUN);
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
        if *needs == Needs::SigningKey || path.contains("{key}") {
            let known = ask(EVENT_KEY, &[("authorization", &bearer)]).await;
            assert!(
                known != StatusCode::UNAUTHORIZED && known != StatusCode::FORBIDDEN,
                "{method} {path}: {known}"
            );
        }
    }
}

#[test]
fn every_route_of_the_router_has_a_row() {
    let router = include_str!("../../src/router.rs");
    let listed: BTreeSet<String> = ROUTES.iter().map(|(_, path, _)| shape(path)).collect();
    let mut missing = Vec::new();
    for line in router
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".route(\""))
    {
        let path = shape(line.split('"').next().unwrap());
        let known = ["", "/v1", "/api/v1"]
            .iter()
            .any(|prefix| listed.contains(&format!("{prefix}{path}")));
        // Websocket and POST of GraphQL have tests of their own; `/dev` and `/` exist in dev only.
        if !known && !["/graphql", "/dev", "/"].contains(&path.as_str()) {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
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
