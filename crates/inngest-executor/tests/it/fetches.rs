use axum::{http::StatusCode, response::IntoResponse};
use inngest_core::{
    json::Json, limits, op::FetchRequest, run::reply::FailureClass, wire::reply::code,
};
use inngest_executor::FetchOutcome;
use serde_json::{Value, json};

use crate::app::{TestApp, client, redirect, strict};

fn plain(opts: Value) -> FetchRequest {
    FetchRequest {
        is_inference: false,
        opts: Json::from_value(&opts),
    }
}

fn inference(opts: Value) -> FetchRequest {
    FetchRequest {
        is_inference: true,
        opts: Json::from_value(&opts),
    }
}

fn done(outcome: FetchOutcome) -> Value {
    match outcome {
        FetchOutcome::Done { data } => data.to_value(),
        FetchOutcome::Failed(failure) => panic!("{failure:?}"),
    }
}

fn failed(outcome: FetchOutcome) -> inngest_core::run::reply::Failure {
    match outcome {
        FetchOutcome::Done { data } => panic!("{}", data.as_str()),
        FetchOutcome::Failed(failure) => *failure,
    }
}

#[tokio::test]
async fn requests_are_made_as_the_app_says() {
    let app = TestApp::start(|seen| {
        let status = if seen.uri.path() == "/teapot" {
            StatusCode::IM_A_TEAPOT
        } else {
            StatusCode::OK
        };
        (
            status,
            [("x-reply", "yes")],
            format!("{} {}", seen.method, String::from_utf8_lossy(&seen.body)),
        )
            .into_response()
    })
    .await;
    let opts = json!({"url": app.url("/data?x=1"), "method": "put", "headers": {"x-a": "b", "Host": "evil", "x-n": 5, "x-l": ["1", "2"]}, "body": "hello"});
    let data = done(client().fetch(&plain(opts)).await);
    assert_eq!(
        (
            &data["status_code"],
            &data["body"],
            &data["headers"]["x-reply"]
        ),
        (&json!(200), &json!("PUT hello"), &json!("yes"))
    );
    assert_eq!(data["url"], json!(app.url("/data?x=1")));
    let seen = app.seen().remove(0);
    assert_eq!(
        (
            seen.header("x-a"),
            seen.header("x-n"),
            seen.uri.to_string().as_str()
        ),
        (Some("b"), Some("5"), "/data?x=1")
    );
    assert_eq!(seen.headers.get_all("x-l").iter().count(), 2);
    assert_ne!(seen.header("host"), Some("evil"));

    let data = done(
        client()
            .fetch(&plain(json!({"url": app.url("/teapot")})))
            .await,
    );
    assert_eq!(
        (&data["status_code"], &data["body"]),
        (&json!(418), &json!("POST "))
    );
}

#[tokio::test]
async fn key_stands_where_its_provider_looks() {
    let app = TestApp::start(|_| r#"{"ok":true}"#.into_response()).await;
    for (format, header, expected, query) in [
        ("openai-chat", "authorization", Some("Bearer k&1"), None),
        ("", "authorization", Some("Bearer k&1"), None),
        ("anthropic", "x-api-key", Some("k&1"), None),
        ("bedrock", "authorization", Some("k&1"), None),
        ("gemini", "authorization", None, Some("key=k%261")),
    ] {
        let opts = json!({"url": app.url("/v1"), "auth_key": "k&1", "format": format, "headers": {"x-own": "1"}, "body": {"model": "m"}});
        assert_eq!(
            done(client().fetch(&inference(opts)).await),
            json!({"ok": true}),
            "{format}"
        );
        let seen = app.seen().pop().unwrap();
        assert_eq!(
            (seen.header(header), seen.uri.query(), seen.header("x-own")),
            (expected, query, Some("1")),
            "{format}"
        );
        assert_eq!(
            (seen.method.as_str(), seen.header("content-type")),
            ("POST", Some("application/json"))
        );
        assert_eq!(seen.body.as_ref(), br#"{"model":"m"}"#);
    }
}

#[tokio::test]
async fn inference_that_is_refused_fails_with_what_the_provider_says() {
    let app = TestApp::start(|_| {
        (
            StatusCode::TOO_MANY_REQUESTS,
            [("retry-after", "7")],
            r#"{"error":"slow down"}"#,
        )
            .into_response()
    })
    .await;
    let failure = failed(
        client()
            .fetch(&inference(json!({"url": app.url("/")})))
            .await,
    );
    assert_eq!(
        (failure.error.name.as_str(), failure.retry.after.as_deref()),
        ("AIGatewayError", Some("7"))
    );
    assert_eq!(
        failure.error.data.unwrap().as_str(),
        r#"{"error":"slow down"}"#
    );
}

#[tokio::test]
async fn secrets_stay_with_the_server_that_they_are_for() {
    let other = TestApp::start(|_| "{}".into_response()).await;
    let target = other.url("/end");
    let app = TestApp::start(move |_| redirect(307, &target)).await;
    for format in ["openai-chat", "anthropic", "gemini"] {
        let opts = json!({"url": app.url("/"), "auth_key": "secret", "format": format, "headers": {"x-token": "secret"}, "body": {}});
        done(client().fetch(&inference(opts)).await);
        let seen = other.seen().pop().unwrap();
        let told = format!("{:?} {}", seen.headers, seen.uri);
        assert!(!told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn failures_have_the_name_that_sdks_expect() {
    let app = TestApp::start(|_| vec![b' '; limits::STEP_BYTES + 1].into_response()).await;
    for (request, name, expected, class) in [
        (
            plain(json!({"url": "http://127.0.0.1:1/"})),
            "GatewayError",
            code::UNREACHABLE,
            FailureClass::Network,
        ),
        (
            inference(json!({"url": "http://127.0.0.1:1/"})),
            "AIGatewayError",
            code::UNREACHABLE,
            FailureClass::Network,
        ),
        (
            plain(json!({"url": app.url("/")})),
            "GatewayError",
            code::OUTPUT_TOO_LARGE,
            FailureClass::Limit,
        ),
        (
            plain(json!({"url": "file:///etc/passwd"})),
            "GatewayError",
            code::REFUSED_URL,
            FailureClass::Config,
        ),
        (
            plain(json!({"url": app.url("/"), "method": "a b"})),
            "GatewayError",
            code::REFUSED_URL,
            FailureClass::Config,
        ),
        (
            plain(json!({"url": app.url("/"), "headers": {"a b": "c"}})),
            "GatewayError",
            code::REFUSED_URL,
            FailureClass::Config,
        ),
        (
            inference(json!({"url": app.url("/"), "auth_key": "a\nb"})),
            "AIGatewayError",
            code::REFUSED_URL,
            FailureClass::Config,
        ),
    ] {
        let failure = failed(client().fetch(&request).await);
        assert_eq!(
            (failure.error.name.as_str(), failure.code, failure.class),
            (name, expected, class),
            "{}",
            failure.reason
        );
    }
    assert_eq!(
        failed(strict().fetch(&plain(json!({"url": app.url("/")}))).await).code,
        code::REFUSED_URL
    );
}
