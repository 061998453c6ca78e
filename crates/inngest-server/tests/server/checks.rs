//! Looking at an app without syncing it.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, response::IntoResponse};
use http::StatusCode;
use inngest_core::wire::signature::{MAX_SKEW, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{EVENT_KEY, NOW, SIGNING_KEY, Server};

const CHECK: &str =
    "query ($environment: ID!, $url: URL!) { checkApp(environmentId: $environment, url: $url) {
    isReachable isSdk statusCode error appExternalId sdkLanguage sdkVersion framework mode
    eventKeyStatus signingKeyStatus signingKeyFallbackStatus } }";

async fn check(server: &Server, url: &str) -> Value {
    let environment = server.query("{ environment { id } }", json!({})).await;
    let variables = json!({"environment": environment["environment"]["id"], "url": url});
    server.query(CHECK, variables).await["checkApp"].take()
}

/// What an app has answered with, and the requests that it got: method and signature.
type Told = Arc<Mutex<(StatusCode, bool, Value)>>;
type Seen = Arc<Mutex<Vec<(String, String)>>>;

async fn app(server: &Server) -> (String, Told, Seen) {
    let told: Told = Arc::new(Mutex::new((StatusCode::OK, true, json!({}))));
    let (answers, seen) = (told.clone(), Seen::default());
    let noted = seen.clone();
    let app = Router::new().fallback(move |request: Request| {
        let signature = request.headers().get("x-inngest-signature");
        let signature = signature.map_or("", |value| value.to_str().unwrap());
        let method = request.method().to_string();
        noted.lock().unwrap().push((method, signature.to_owned()));
        let (status, is_sdk, body) = answers.lock().unwrap().clone();
        let mut response = (status, axum::Json(body)).into_response();
        if is_sdk {
            let headers = response.headers_mut();
            headers.insert("x-inngest-sdk", "inngest-js:v4.24.0".parse().unwrap());
            headers.insert("x-inngest-framework", "nodejs".parse().unwrap());
        }
        std::future::ready(response)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/inngest", listener.local_addr().unwrap());
    server
        .tracker
        .spawn(async move { axum::serve(listener, app).await });
    (url, told, seen)
}

#[tokio::test]
async fn app_that_trusts_the_server_tells_all_and_nothing_is_kept() {
    let server = Server::dev().await;
    let (url, told, seen) = app(&server).await;
    let key = SigningKey::parse(SIGNING_KEY).unwrap();
    told.lock().unwrap().2 = json!({
        "app_id": "shop", "mode": "cloud", "sdk_language": "js", "sdk_version": "4.24.0", "framework": "express",
        "has_event_key": true, "has_signing_key": true, "has_signing_key_fallback": true,
        "event_key_hash": hex::encode(Sha256::digest(EVENT_KEY)),
        "signing_key_hash": &key.hash()[..12], "signing_key_fallback_hash": "signkey-test-000000000000",
    });
    assert_eq!(
        check(&server, &url).await,
        json!({
            "isReachable": true, "isSdk": true, "statusCode": 200, "error": null, "appExternalId": "shop", "sdkLanguage": "js",
            "sdkVersion": "4.24.0", "framework": "express", "mode": "cloud", "eventKeyStatus": "CORRECT", "signingKeyStatus": "CORRECT",
            "signingKeyFallbackStatus": "INCORRECT",
        })
    );
    let asked = seen.lock().unwrap().clone();
    let [(method, signature)] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(method, "GET");
    key.verify(signature, b"", NOW / 1_000, MAX_SKEW).unwrap();
    let kept = "{ environment { syncs { totalCount { value } } apps { nodes { id } } } }";
    let kept = server.query(kept, json!({})).await;
    let nothing = json!({"syncs": {"totalCount": {"value": 0}}, "apps": {"nodes": []}});
    assert_eq!(kept["environment"], nothing);
}

#[tokio::test]
async fn what_is_wrong_with_an_app_is_told() {
    let server = Server::dev().await;
    let (url, told, _) = app(&server).await;
    let short = json!({"has_event_key": false, "has_signing_key": true, "mode": "dev"});
    for (status, is_sdk, body, expected) in [
        (200, true, short, (true, 200, "", "MISSING", "UNKNOWN")),
        (
            401,
            true,
            json!({"message": "Unauthorized"}),
            (true, 401, "signing keys differ", "UNKNOWN", "INCORRECT"),
        ),
        (
            500,
            true,
            json!({}),
            (true, 500, "status 500", "UNKNOWN", "UNKNOWN"),
        ),
        (
            200,
            false,
            json!({}),
            (false, 200, "no Inngest SDK", "UNKNOWN", "UNKNOWN"),
        ),
    ] {
        *told.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), is_sdk, body);
        let found = check(&server, &url).await;
        let (sdk, code, error, event_key, signing_key) = expected;
        assert_eq!(found["isReachable"], true);
        assert_eq!(
            (&found["isSdk"], &found["statusCode"]),
            (&json!(sdk), &json!(code))
        );
        let said = found["error"].as_str().unwrap_or_default();
        assert!(
            said.contains(error) && said.is_empty() == error.is_empty(),
            "{said}"
        );
        assert_eq!(found["eventKeyStatus"], event_key, "{found}");
        assert_eq!(found["signingKeyStatus"], signing_key, "{found}");
    }
    for url in ["http://127.0.0.1:1/", "ftp://a/", "nonsense"] {
        let found = check(&server, url).await;
        assert_eq!(
            (&found["isReachable"], &found["statusCode"]),
            (&json!(false), &Value::Null)
        );
        assert!(
            found["error"].as_str().is_some_and(|it| !it.is_empty()),
            "{found}"
        );
    }
}
