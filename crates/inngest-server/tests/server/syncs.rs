//! Attempts to register apps: what is kept of them, and how apps say that they are.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, response::IntoResponse};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{SIGNING_KEY, Server, registration},
    permissions::{ask, of_other, own, two_tenants},
};

const SYNCS: &str = "{ environment { lastSyncedAt syncs { totalCount { value } nodes {
    status kind url error errorCode sdkLanguage sdkVersion framework platform appVersion createdAt lastAt
    app { externalId } functionsAdded { slug } functionsChanged { slug } functionsRemoved { slug } } }
    apps { nodes { status lastError platform latestSync { status errorCode } syncs { totalCount { value } nodes { status } } } } } }";

async fn environment(server: &Server) -> Value {
    server.query(SYNCS, json!({})).await["environment"].take()
}

/// The states of all attempts that are kept, newest first.
fn states(environment: &Value) -> Vec<&str> {
    let nodes = environment["syncs"]["nodes"].as_array().unwrap();
    let states = nodes.iter().map(|node| node["status"].as_str().unwrap());
    states.collect()
}

fn later(server: &Server, by: Duration) {
    server.services.clock().advance(by);
}

/// What the app on loopback answers when it is asked to register.
type Reply = Arc<Mutex<(StatusCode, bool, Value)>>;

/// An app that answers as it is told; its URL.
async fn app(server: &Server) -> (String, Reply) {
    let reply: Reply = Arc::new(Mutex::new((StatusCode::OK, true, json!({}))));
    let told = reply.clone();
    let app = Router::new().fallback(move || {
        let (status, is_in_band, body) = told.lock().unwrap().clone();
        let kind = if is_in_band { "in_band" } else { "out_of_band" };
        let headers = [
            ("x-inngest-sdk", "inngest-js:v4.24.0"),
            ("x-inngest-sync-kind", kind),
        ];
        std::future::ready((status, headers, Json(body)).into_response())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/inngest", listener.local_addr().unwrap());
    server
        .tracker
        .spawn(async move { axum::serve(listener, app).await });
    (url, reply)
}

/// The answer of an app that registers in its reply.
fn in_band(url: &str, functions: &[&str]) -> Value {
    let function = |id: &&str| {
        let call = format!("{url}?fnId=shop-{id}&stepId=step");
        json!({"id": format!("shop-{id}"), "name": id, "triggers": [{"event": "a"}],
            "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": call}}}})
    };
    let functions: Vec<Value> = functions.iter().map(function).collect();
    json!({"app_id": "shop", "appVersion": "v7", "framework": "express", "platform": "vercel", "sdk_language": "js",
        "sdk_version": "4.24.0", "url": url, "functions": functions})
}

async fn sync(server: &Server, target: Value) -> Value {
    let query = "mutation ($input: SyncAppInput!) { syncApp(input: $input) {
        app { externalId } sync { id status errorCode } errors { code } } }";
    let input = json!({"input": {"target": target}});
    server.query(query, input).await["syncApp"].take()
}

async fn target(server: &Server, url: &str) -> Value {
    let environment = server.query("{ environment { id } }", json!({})).await;
    json!({"url": {"environmentId": environment["environment"]["id"], "url": url}})
}

#[tokio::test]
async fn registrations_that_change_something_are_kept_and_identical_ones_only_noted() {
    let server = Server::dev().await;
    let (url, reply) = app(&server).await;
    let at = target(&server, &url).await;
    reply.lock().unwrap().2 = in_band(&url, &["a", "b"]);
    let first = sync(&server, at.clone()).await;
    assert_eq!(first["errors"], json!([]));
    assert_eq!(first["sync"]["status"], "SUCCESS");
    later(&server, Duration::from_secs(30));
    assert_eq!(sync(&server, at.clone()).await["sync"], first["sync"]);
    let found = environment(&server).await;
    assert_eq!(states(&found), ["SUCCESS"]);
    let newest = &found["syncs"]["nodes"][0];
    assert_eq!(newest["kind"], "IN_BAND");
    assert_eq!(newest["url"], url);
    assert_eq!(
        newest["functionsAdded"],
        json!([{"slug": "shop-a"}, {"slug": "shop-b"}])
    );
    for (key, value) in [
        ("sdkLanguage", "js"),
        ("sdkVersion", "4.24.0"),
        ("framework", "express"),
        ("platform", "vercel"),
        ("appVersion", "v7"),
    ] {
        assert_eq!(newest[key], value, "{key}");
    }
    assert_eq!(
        found["lastSyncedAt"], newest["createdAt"],
        "noted each minute"
    );

    later(&server, Duration::from_secs(31));
    let before = server.services.store().statements();
    sync(&server, at.clone()).await;
    let noted = server.services.store().statements() - before;
    let before = server.services.store().statements();
    sync(&server, at.clone()).await;
    assert_eq!(server.services.store().statements() - before + 1, noted);
    let found = environment(&server).await;
    assert_eq!(states(&found), ["SUCCESS"]);
    assert_ne!(
        found["lastSyncedAt"],
        found["syncs"]["nodes"][0]["createdAt"]
    );

    let mut changed = in_band(&url, &["b", "c"]);
    changed["functions"][0]["name"] = json!("another name");
    reply.lock().unwrap().2 = changed;
    later(&server, Duration::from_secs(1));
    sync(&server, at.clone()).await;
    let found = environment(&server).await;
    let newest = &found["syncs"]["nodes"][0];
    assert_eq!(states(&found), ["SUCCESS", "SUCCESS"]);
    assert_eq!(newest["functionsAdded"], json!([{"slug": "shop-c"}]));
    assert_eq!(newest["functionsChanged"], json!([{"slug": "shop-b"}]));
    assert_eq!(newest["functionsRemoved"], json!([{"slug": "shop-a"}]));
    assert_eq!(found["apps"]["nodes"][0]["syncs"]["totalCount"]["value"], 2);
}

#[tokio::test]
async fn app_that_is_down_is_one_failure_until_it_is_back() {
    let server = Server::dev().await;
    let (url, reply) = app(&server).await;
    let at = target(&server, &url).await;
    reply.lock().unwrap().2 = in_band(&url, &["a"]);
    sync(&server, at.clone()).await;
    let shown = server
        .query(
            "{ environment { apps { nodes { id status } } } }",
            json!({}),
        )
        .await;
    let app = &shown["environment"]["apps"]["nodes"][0];
    assert_eq!(app["status"], "CONNECTED");
    let again = json!({"appId": app["id"]});

    reply.lock().unwrap().0 = StatusCode::NOT_FOUND;
    later(&server, Duration::from_secs(1));
    let first = sync(&server, again.clone()).await;
    assert_eq!(
        (&first["app"], &first["errors"][0]["code"]),
        (&Value::Null, &json!("SYNC_INVALID"))
    );
    assert_eq!(first["sync"]["errorCode"], "url_not_found");
    for _ in 0..3 {
        later(&server, Duration::from_secs(25));
        assert_eq!(sync(&server, again.clone()).await["sync"], first["sync"]);
    }
    let found = environment(&server).await;
    assert_eq!(states(&found), ["FAILED", "SUCCESS"]);
    let app = &found["apps"]["nodes"][0];
    assert_eq!(app["status"], "UNREACHABLE");
    assert_eq!(
        app["latestSync"],
        json!({"status": "FAILED", "errorCode": "url_not_found"})
    );
    let newest = &found["syncs"]["nodes"][0];
    assert_eq!(newest["error"], app["lastError"]);
    assert_eq!(newest["app"]["externalId"], "shop");
    assert_ne!(newest["lastAt"], newest["createdAt"]);

    *reply.lock().unwrap() = (StatusCode::OK, true, in_band(&url, &["a"]));
    later(&server, Duration::from_secs(1));
    let back = sync(&server, again).await;
    assert_eq!(back["sync"]["status"], "UNCHANGED");
    let found = environment(&server).await;
    assert_eq!(states(&found), ["UNCHANGED", "FAILED", "SUCCESS"]);
    let app = &found["apps"]["nodes"][0];
    assert_eq!(
        (&app["status"], &app["lastError"]),
        (&json!("CONNECTED"), &Value::Null)
    );
    assert_eq!(
        found["lastSyncedAt"],
        found["syncs"]["nodes"][0]["createdAt"]
    );
}

#[tokio::test]
async fn failure_without_an_app_is_kept_without_one() {
    let server = Server::dev().await;
    let (url, reply) = app(&server).await;
    let secret = url.replace("http://", "http://user:pass@") + "?token=secret";
    let at = target(&server, &secret).await;
    reply.lock().unwrap().0 = StatusCode::UNAUTHORIZED;
    let first = sync(&server, at.clone()).await;
    assert_eq!(first["errors"][0]["code"], "SYNC_UNAUTHORIZED");
    later(&server, Duration::from_secs(3_599));
    assert_eq!(
        sync(&server, at.clone()).await["sync"]["id"],
        first["sync"]["id"]
    );
    later(&server, Duration::from_secs(3_600));
    assert_ne!(sync(&server, at).await["sync"]["id"], first["sync"]["id"]);
    let query = "{ environment { apps { nodes { id } } syncs(filter: {withoutApp: true, statuses: [FAILED]}) { totalCount { value } nodes { url error app { id } } } } }";
    let found = &server.query(query, json!({})).await["environment"];
    assert_eq!(found["apps"]["nodes"], json!([]));
    assert_eq!(found["syncs"]["totalCount"]["value"], 2);
    let newest = &found["syncs"]["nodes"][0];
    assert_eq!(newest["app"], Value::Null);
    assert_eq!(newest["url"], url);
    assert!(!found.to_string().contains("secret"), "{found}");
    assert!(!found.to_string().contains("user"), "{found}");
}

#[tokio::test]
async fn refused_registration_is_kept_and_said_better_than_the_app_can() {
    let server = Server::dev().await;
    let (url, reply) = app(&server).await;
    let mut good = registration();
    good["url"] = json!(url);
    let headers = [
        ("content-type", "application/json"),
        ("x-inngest-platform", "cloudflare"),
    ];
    let register = async |body: &Value| {
        let sent = server.send(Method::POST, "/fn/register", body, &headers);
        sent.await
    };
    assert_eq!(register(&good).await.status, StatusCode::OK);
    let mut bad = good.clone();
    bad["functions"][0]["triggers"] = json!([{"cron": "whenever"}]);
    later(&server, Duration::from_secs(1));
    let refused = register(&bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["code"], "config_invalid");

    // The app tells whoever has asked it that its registration failed, and nothing more.
    *reply.lock().unwrap() = (
        StatusCode::INTERNAL_SERVER_ERROR,
        false,
        json!({"message": "Failed to register"}),
    );
    later(&server, Duration::from_secs(61));
    let at = target(&server, &url).await;
    let asked = sync(&server, at).await;
    assert_eq!(asked["sync"]["errorCode"], "config_invalid");
    let found = environment(&server).await;
    assert_eq!(states(&found), ["FAILED", "SUCCESS"]);
    let (newest, app) = (&found["syncs"]["nodes"][0], &found["apps"]["nodes"][0]);
    assert_eq!(
        (&newest["kind"], &newest["platform"]),
        (&json!("OUT_OF_BAND"), &json!("cloudflare"))
    );
    assert_eq!(
        (&app["status"], &app["platform"]),
        (&json!("INVALID"), &json!("cloudflare"))
    );
    let told = app["lastError"].as_str().unwrap();
    assert!(
        told.starts_with("At least one function is invalid: shop-receipt: "),
        "{told}"
    );
    assert_ne!(newest["lastAt"], newest["createdAt"]);

    let kind = [("x-inngest-expected-server-kind", "cloud")];
    let other = server
        .send(Method::POST, "/fn/register", &good, &kind)
        .await;
    assert_eq!(other.json()["error"], "Expected server kind cloud, got dev");
    let nameless = register(&json!("x")).await;
    assert_eq!(nameless.status, StatusCode::BAD_REQUEST);
    let found = environment(&server).await;
    let lost = found["syncs"]["nodes"].as_array().unwrap().iter();
    let lost = lost.filter(|node| node["app"].is_null());
    let mut codes: Vec<&str> = lost.map(|it| it["errorCode"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["invalid_request", "server_kind_mismatch"]);
}

#[tokio::test]
async fn removing_and_restoring_an_app_is_no_sync() {
    let server = Server::dev().await;
    server.register().await;
    let shown = server
        .query("{ environment { apps { nodes { id } } } }", json!({}))
        .await;
    let input = json!({"input": {"appId": shown["environment"]["apps"]["nodes"][0]["id"]}});
    let remove =
        "mutation ($input: RemoveAppInput!) { removeApp(input: $input) { errors { code } } }";
    let restore =
        "mutation ($input: RestoreAppInput!) { restoreApp(input: $input) { errors { code } } }";
    server.query(remove, input.clone()).await;
    server.query(restore, input).await;
    let found = environment(&server).await;
    assert_eq!(states(&found), ["SUCCESS"]);
    let query = "{ environment { functions(first: 2) { nodes { versions(first: 2) { nodes { number sync { status functionsAdded { slug } } } } } } } }";
    let found = server.query(query, json!({})).await;
    let versions = &found["environment"]["functions"]["nodes"][0]["versions"]["nodes"];
    let added = json!({"status": "SUCCESS", "functionsAdded": [{"slug": "shop-receipt"}]});
    assert_eq!(
        versions,
        &json!([{"number": 2, "sync": added}, {"number": 1, "sync": added}])
    );
}

#[tokio::test]
async fn nothing_is_kept_of_strangers_and_nothing_shown_to_them() {
    let (server, _) = two_tenants().await;
    let count = async |token: &str| {
        let query = "{ environment { lastSyncedAt syncs { totalCount { value } nodes { id } } } }";
        ask(&server, token, query, json!({})).await["data"]["environment"].take()
    };
    let before = count(&own("viewer")).await;
    assert_eq!(before["syncs"]["totalCount"]["value"], 1);
    let nothing = json!({"lastSyncedAt": null, "syncs": {"totalCount": {"value": 0}, "nodes": []}});
    assert_eq!(count(&of_other()).await, nothing);

    let nothing_of_use = json!("x");
    let member = format!("Bearer {}", own("member"));
    for key in ["Bearer signkey-test-00", "", member.as_str()] {
        for kind in ["cloud", "other"] {
            let headers = [
                ("authorization", key),
                ("x-inngest-expected-server-kind", kind),
            ];
            let refused = server.send(Method::POST, "/fn/register", &nothing_of_use, &headers);
            let status = refused.await.status;
            assert!(status.is_client_error(), "{key} {kind}: {status}");
        }
    }
    assert_eq!(count(&own("viewer")).await, before);

    let key = format!("Bearer {SIGNING_KEY}");
    let headers = [("authorization", key.as_str())];
    let refused = server.send(Method::POST, "/fn/register", &nothing_of_use, &headers);
    assert_eq!(refused.await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        count(&own("viewer")).await["syncs"]["totalCount"]["value"],
        2
    );
    assert_eq!(count(&of_other()).await, nothing);
}
