use axum::{http::StatusCode, response::IntoResponse};
use inngest_core::{sync::SyncKind, time::Timestamp, wire::sync::SyncReply};
use inngest_executor::{Probe, SyncRequest};

use crate::app::{TestApp, client, key, redirect, sdk, strict};

fn code(reply: SyncReply) -> String {
    match reply {
        SyncReply::Registered => "registered".to_owned(),
        SyncReply::InBand(registration) => format!("in band {}", registration.app_name),
        SyncReply::Invalid(error) => error.code.to_owned(),
        SyncReply::Failed { code, .. } => code,
    }
}

fn ask(url: &str, kind: SyncKind) -> SyncRequest<'_> {
    SyncRequest {
        url,
        kind,
        signing_key: None,
        now: Timestamp::from_millis(1_700_000_000_000),
    }
}

#[tokio::test]
async fn apps_are_asked_to_register() {
    let app = TestApp::start(|seen| match seen.uri.path() {
        "/in-band" => {
            let mut reply = sdk(200, r#"{"app_id":"shop","url":"http://a","sdk_language":"js","sdk_version":"4.24.0","functions":[]}"#);
            reply.headers_mut().insert("x-inngest-sync-kind", "in_band".parse().unwrap());
            reply
        }
        "/moved" => redirect(301, "/api"),
        "/missing" => StatusCode::NOT_FOUND.into_response(),
        _ => sdk(200, r#"{"message":"Successfully registered","modified":true}"#),
    })
    .await;
    let (url, key) = (app.url("/api"), key());
    let mut signed = ask(&url, SyncKind::OutOfBand);
    signed.signing_key = Some(&key);
    assert_eq!(code(client().sync(signed).await), "registered");
    let seen = app.seen().remove(0);
    assert_eq!(
        (
            seen.method.as_str(),
            seen.header("x-inngest-server-kind"),
            seen.header("x-inngest-sync-kind")
        ),
        ("PUT", Some("dev"), None)
    );
    assert_eq!(
        seen.body.as_ref(),
        format!(r#"{{"url":"{url}"}}"#).as_bytes()
    );
    assert_eq!(
        seen.header("x-inngest-signature"),
        Some(key.sign(&seen.body, 1_700_000_000).as_str())
    );

    for (path, expected) in [
        ("/in-band", "in band shop"),
        ("/moved", "registered"),
        ("/missing", "url_not_found"),
    ] {
        assert_eq!(
            code(client().sync(ask(&app.url(path), SyncKind::InBand)).await),
            expected,
            "{path}"
        );
    }
    assert_eq!(app.seen()[1].header("x-inngest-sync-kind"), Some("in_band"));
    assert_eq!(app.seen()[3].method.as_str(), "PUT");
    for (url, expected) in [
        ("http://127.0.0.1:1/", "unreachable"),
        ("ws://127.0.0.1/", "unsupported_protocol"),
        ("nonsense", "url_not_allowed"),
    ] {
        assert_eq!(
            code(client().sync(ask(url, SyncKind::OutOfBand)).await),
            expected,
            "{url}"
        );
    }
    assert_eq!(
        code(strict().sync(ask(&url, SyncKind::OutOfBand)).await),
        "url_not_allowed"
    );
    let refused = strict()
        .inspect(&url, Some(&key), Timestamp::default())
        .await;
    assert_eq!(refused.unwrap_err().code, "url_not_allowed");
}

#[tokio::test]
async fn apps_are_found_by_their_headers() {
    let app = TestApp::start(|seen| match seen.uri.path() {
        "/api/inngest" => sdk(200, "{}"),
        "/hidden" => (
            StatusCode::UNAUTHORIZED,
            [("x-inngest-sdk-handled", "true")],
        )
            .into_response(),
        "/moved" => redirect(302, "/api/inngest"),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    for (path, expected) in [
        (
            "/api/inngest",
            Probe::App {
                sdk: Some("inngest-js:v4.24.0".to_owned()),
            },
        ),
        ("/hidden", Probe::App { sdk: None }),
        ("/moved", Probe::Foreign),
        ("/", Probe::Foreign),
    ] {
        assert_eq!(client().probe(&app.url(path)).await, expected, "{path}");
    }
    assert_eq!(
        client().probe("http://127.0.0.1:1/").await,
        Probe::Unreachable
    );
    assert!(client().dial(app.port()).await);
    assert!(!client().dial(1).await);
}
