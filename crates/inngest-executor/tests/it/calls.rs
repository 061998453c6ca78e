use std::{io::Write, time::Duration};

use async_compression::tokio::write::GzipEncoder;
use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use inngest_core::{
    ids::StepId,
    json::Json,
    limits,
    run::reply::{FailureClass, Reply},
    wire::reply::code,
};
use inngest_executor::{AllowedAddress, AppClient, EgressPolicy};
use tokio::io::AsyncWriteExt;

use crate::app::{TestApp, client, client_with, failed, key, redirect, request, sdk, strict};

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

fn encoded(encoding: &'static str, body: Vec<u8>) -> Response {
    let mut response = sdk(200, body);
    response
        .headers_mut()
        .insert("content-encoding", encoding.parse().unwrap());
    response
}

async fn call(client: &AppClient, url: &str) -> Reply {
    client.call(request(url)).await.reply
}

#[tokio::test]
async fn call_carries_what_sdks_read() {
    let app = TestApp::start(|_| sdk(206, "[]")).await;
    let (url, key, step) = (
        app.url("/api/inngest?fnId=shop-f&stepId=step&x=1"),
        key(),
        StepId::parse("86f7e4").unwrap(),
    );
    let mut call = request(&url);
    call.signing_key = Some(&key);
    call.generation = 3;
    call.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert!(matches!(
        client().call(call.clone()).await.reply,
        Reply::Ops {
            version: Some(2),
            ..
        }
    ));
    call.target = Some(&step);
    call.signing_key = None;
    call.generation = 0;
    client().call(call).await;

    let seen = app.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].uri.to_string().as_str()),
        ("POST", "/api/inngest?fnId=shop-f&x=1&stepId=step")
    );
    assert_eq!(seen[0].body, Bytes::from_static(br#"{"a":1}"#));
    for (name, expected) in [
        ("content-type", Some("application/json")),
        ("user-agent", Some("Inngest")),
        ("x-inngest-server-kind", Some("dev")),
        ("x-run-id", Some("01K3ZC6WQ5M3J6V9Y1Z8T3B2XA")),
        ("x-inngest-step-id", Some("step")),
        ("x-inngest-req-version", Some("-1")),
        ("x-inngest-job-id", Some("job")),
        ("x-request-id", Some("request")),
        ("x-inngest-generation-id", Some("3")),
        (
            "traceparent",
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ),
        (
            "x-inngest-signature",
            Some("t=1700000000&s=67a82077baa52522b1f612a154a25275c00a0338efc32be5ee396bd2391ba5e0"),
        ),
    ] {
        assert_eq!(seen[0].header(name), expected, "{name}");
    }
    assert_eq!(seen[1].uri.query(), Some("fnId=shop-f&x=1&stepId=86f7e4"));
    assert_eq!(
        (
            seen[1].header("x-inngest-step-id"),
            seen[1].header("x-inngest-signature")
        ),
        (Some("86f7e4"), None)
    );
    assert_eq!(seen[1].header("x-inngest-generation-id"), None);
}

#[tokio::test]
async fn replies_of_every_status_are_read() {
    let app = TestApp::start(|seen| match seen.uri.path() {
        "/returned" => sdk(200, r#"{"b":1,"a":2}"#),
        "/streamed" => {
            let chunks = [
                "  ",
                "\n ",
                r#"{"status":206,"body":"[{\"op\":\"StepRun\",\"id\":\"a\",\"data\":1}]"}"#,
            ];
            sdk(
                201,
                Body::from_stream(stream::iter(chunks.map(Ok::<_, std::io::Error>))),
            )
        }
        "/thrown" => sdk(500, r#"{"name":"TypeError","message":"boom"}"#),
        "/foreign" => (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        _ => (StatusCode::OK, "hello").into_response(),
    })
    .await;
    let client = client();
    let call = async |path: &str| call(&client, &app.url(path)).await;
    assert_eq!(
        call("/returned").await,
        Reply::Returned {
            output: Json::parse(br#"{"a":2,"b":1}"#).unwrap()
        }
    );
    assert!(matches!(call("/streamed").await, Reply::Ops { ops, .. } if ops.len() == 1));
    assert_eq!(failed(call("/thrown").await).error.message, "boom");
    assert_eq!(failed(call("/foreign").await).class, FailureClass::Network);
    assert_eq!(failed(call("/plain").await).code, code::NOT_SDK);
}

#[tokio::test]
async fn one_connection_serves_many_calls() {
    let app = TestApp::start(|_| sdk(200, "1")).await;
    let client = client();
    for _ in 0..20 {
        assert!(matches!(
            call(&client, &app.url("/")).await,
            Reply::Returned { .. }
        ));
    }
    assert_eq!(app.seen().len(), 20);
}

#[tokio::test]
async fn bodies_are_limited_by_their_decompressed_size() {
    let bomb = gzip(&vec![b' '; limits::REPLY_BYTES + 1]).await;
    let (fits, broken) = (gzip(br#"{"a":1}"#).await, b"this is no gzip".to_vec());
    assert!(bomb.len() < 100_000);
    let app = TestApp::start(move |seen| match seen.uri.path() {
        "/bomb" => encoded("gzip", bomb.clone()),
        "/fits" => encoded("gzip", fits.clone()),
        "/broken" => encoded("gzip", broken.clone()),
        "/large" => sdk(200, vec![b' '; 9 * 1024 * 1024]),
        "/exact" => sdk(200, format!("{}1", " ".repeat(limits::REPLY_BYTES - 1))),
        _ => {
            let chunk = Bytes::from(vec![b' '; 65_536]);
            sdk(
                200,
                Body::from_stream(stream::repeat_with(move || {
                    Ok::<_, std::io::Error>(chunk.clone())
                })),
            )
        }
    })
    .await;
    let client = client();
    for path in ["/bomb", "/large", "/endless"] {
        let failure = failed(call(&client, &app.url(path)).await);
        assert_eq!(
            (failure.class, failure.code, failure.retry.no_retry),
            (FailureClass::Limit, code::OUTPUT_TOO_LARGE, false),
            "{path}"
        );
    }
    assert_eq!(
        call(&client, &app.url("/fits")).await,
        Reply::Returned {
            output: Json::parse(br#"{"a":1}"#).unwrap()
        }
    );
    assert_eq!(
        call(&client, &app.url("/exact")).await,
        Reply::Returned {
            output: Json::integer(1)
        }
    );
    let failure = failed(call(&client, &app.url("/broken")).await);
    assert_eq!(
        (failure.class, failure.code),
        (FailureClass::App, code::BAD_REPLY)
    );
}

#[tokio::test]
async fn broken_connections_are_failures_of_the_network() {
    let half = TestApp::raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nx-inngest-sdk: x\r\n\r\n{\"a\":".to_vec(),
    )
    .await;
    let chunked = TestApp::raw(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n".to_vec(),
    )
    .await;
    let silent = TestApp::raw(Vec::new()).await;
    let reset = TestApp::connections(|stream| async move {
        let stream = stream.into_std().unwrap();
        // Closing with unread bytes makes the kernel send a reset.
        std::thread::sleep(Duration::from_millis(20));
        let _ = (&stream).flush();
        drop(stream);
    })
    .await;
    let closed = TestApp::raw(Vec::new()).await.url("/");
    let reading = "Your server reset the connection while we were reading the reply: Unexpected ending response";
    let client = client();
    for (url, reasons) in [
        (half.url("/"), &[reading][..]),
        (chunked.url("/"), &[reading]),
        (
            silent.url("/"),
            &["Your server closed the request before finishing."],
        ),
        (
            reset.url("/"),
            &[
                "Your server reset the connection while we were sending the request.",
                "Your server closed the request before finishing.",
            ],
        ),
        (
            "http://127.0.0.1:1/".to_owned(),
            &["Unable to reach SDK URL"],
        ),
        (
            "http://no-such-host.invalid/".to_owned(),
            &["Unable to reach SDK URL"],
        ),
    ] {
        let failure = failed(call(&client, &url).await);
        assert_eq!(
            (failure.class, failure.code, failure.retry.no_retry),
            (FailureClass::Network, code::UNREACHABLE, false),
            "{url}"
        );
        assert!(
            reasons.contains(&failure.reason.as_str()),
            "{url}: {}",
            failure.reason
        );
    }
    drop(closed);
}

#[tokio::test]
async fn garbage_is_a_failure() {
    let app = TestApp::raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()).await;
    let failure = failed(call(&client(), &app.url("/")).await);
    assert_eq!(
        (failure.class, failure.reason.as_str()),
        (FailureClass::Network, "Error performing request to SDK URL")
    );
}

#[tokio::test]
async fn call_that_hangs_is_given_up() {
    let app = TestApp::start(|seen| match seen.uri.path() {
        // The head at once, then nothing.
        "/body" => sdk(
            200,
            Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()),
        ),
        _ => sdk(200, "1"),
    })
    .await;
    let hanging = TestApp::connections(|stream| async move {
        std::mem::forget(stream);
    })
    .await;
    let client = client_with(|settings| settings.call_timeout = Duration::from_millis(200));
    for url in [app.url("/body"), hanging.url("/")] {
        let failure = failed(call(&client, &url).await);
        assert_eq!(
            (failure.class, failure.code, failure.retry.no_retry),
            (FailureClass::Limit, code::TOO_SLOW, false),
            "{url}"
        );
    }
    assert!(matches!(
        call(&client, &app.url("/")).await,
        Reply::Returned { .. }
    ));
}

#[tokio::test]
async fn redirects_keep_method_body_signature_and_query_on_the_same_server() {
    let app = TestApp::start(|seen| match seen.uri.path() {
        "/301" => redirect(301, "/302/?y=2"),
        "/302/" => redirect(302, "307#part"),
        "/302/307" => redirect(307, "../308"),
        "/308" => redirect(308, "/end"),
        "/303" => redirect(303, "/end"),
        "/304" => redirect(304, "/end"),
        "/no-location" => StatusCode::FOUND.into_response(),
        "/loop" => redirect(302, "/loop"),
        _ => sdk(200, "1"),
    })
    .await;
    let (url, key) = (app.url("/301?fnId=f%20g"), key());
    let mut signed = request(&url);
    signed.signing_key = Some(&key);
    assert!(matches!(
        client().call(signed).await.reply,
        Reply::Returned { .. }
    ));
    let end = app.seen().pop().unwrap();
    assert_eq!(
        (end.method.as_str(), end.body.as_ref()),
        ("POST", br#"{"a":1}"#.as_slice())
    );
    assert_eq!(end.uri.to_string(), "/end?y=2&fnId=f+g&stepId=step");
    assert!(end.header("x-inngest-signature").is_some());

    assert!(matches!(
        call(&client(), &app.url("/303")).await,
        Reply::Returned { .. }
    ));
    let end = app.seen().pop().unwrap();
    assert_eq!((end.method.as_str(), end.body.len()), ("GET", 0));

    assert_eq!(
        failed(call(&client(), &app.url("/304")).await).code,
        code::NOT_OK
    );
    assert_eq!(
        failed(call(&client(), &app.url("/no-location")).await).code,
        code::NOT_OK
    );
    let before = app.seen().len();
    let failure = failed(call(&client(), &app.url("/loop")).await);
    assert_eq!(failure.reason, "The call was redirected too many times");
    assert_eq!(app.seen().len() - before, limits::REDIRECTS + 1);
}

#[tokio::test]
async fn redirect_to_another_server_carries_no_signature() {
    let other = TestApp::start(|_| sdk(200, "1")).await;
    let target = other.url("/end");
    let app = TestApp::start(move |_| redirect(307, &target)).await;
    let (url, key) = (app.url("/?secret=1"), key());
    let mut signed = request(&url);
    signed.signing_key = Some(&key);
    assert!(matches!(
        client().call(signed).await.reply,
        Reply::Returned { .. }
    ));
    assert!(app.seen()[0].header("x-inngest-signature").is_some());
    let end = &other.seen()[0];
    assert_eq!(
        (
            end.header("x-inngest-signature"),
            end.uri.query(),
            end.body.len()
        ),
        (None, None, 7)
    );
}

#[tokio::test]
async fn strict_policy_refuses_this_machine_by_address_name_and_redirect() {
    let app = TestApp::start(|_| sdk(200, "1")).await;
    let by_name = app.url("/").replace("127.0.0.1", "localhost");
    for url in [
        app.url("/"),
        by_name.clone(),
        "http://[::1]:1/".to_owned(),
        "ftp://shop.test/".to_owned(),
        "nonsense".to_owned(),
    ] {
        let failure = failed(call(&strict(), &url).await);
        assert_eq!(
            (failure.class, failure.code, failure.retry.no_retry),
            (FailureClass::Config, code::REFUSED_URL, true),
            "{url}: {}",
            failure.reason
        );
    }
    assert!(app.seen().is_empty());

    // Only the first of the two servers is allowed, by its name.
    let target = app.url("/");
    let first = TestApp::start(move |_| redirect(307, &target)).await;
    let client = client_with(|settings| {
        settings.egress = EgressPolicy {
            allow_private: false,
            allowed: vec!["localhost".parse::<AllowedAddress>().unwrap()],
        };
    });
    assert!(matches!(
        call(&client, &by_name).await,
        Reply::Returned { .. }
    ));
    let failure = failed(call(&client, &first.url("/").replace("127.0.0.1", "localhost")).await);
    assert_eq!(failure.code, code::REFUSED_URL);
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn ids_that_cannot_stand_in_a_header_fail_the_call() {
    let mut call = request("http://127.0.0.1:1/");
    call.job_id = "a\nb";
    assert_eq!(
        failed(client().call(call).await.reply).class,
        FailureClass::Engine
    );
}
