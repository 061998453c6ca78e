//! What holds for every request.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use inngest_core::time::{Clock, Timestamp};
use inngest_queue::model::RebuildProgress;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::task::TaskTracker;

use crate::harness::{NOW, Server, redis, shared};

#[tokio::test]
async fn health_names_the_stores_and_needs_no_credential() {
    let server = Server::start().await;
    let health = server.get("/health").await;
    assert_eq!(health.status, StatusCode::OK);
    let body = health.json();
    assert_eq!(
        (&body["status"], &body["sqlite"], &body["redis"]),
        (&"ok".into(), &"connected".into(), &"embedded".into())
    );
    assert!(body["memory_mb"].as_f64().is_some_and(|mb| mb > 0.0));
    assert_eq!(server.get("/live").await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_tells_how_far_another_server_is_with_a_rebuild() {
    let Some(redis) = redis() else { return };
    let clock = Clock::manual(Timestamp::from_millis(NOW));
    let other = shared(clock, &redis, &TaskTracker::new());
    let rebuild = other.begin_rebuild().await.unwrap().unwrap();
    let server = Server::on_redis(&redis).await;
    let told = async || {
        let health = server.get("/health").await;
        assert_eq!(health.status, StatusCode::OK);
        health.json()["rebuild"].clone()
    };
    assert_eq!(told().await, Value::Null);
    for added in [0, 2_000] {
        let total = 5_000;
        assert!(
            rebuild
                .tell(RebuildProgress { added, total })
                .await
                .unwrap()
        );
        assert_eq!(told().await, json!({"added": added, "total": total}));
    }
    assert!(rebuild.open().await.unwrap() && rebuild.finish().await.unwrap());
    assert_eq!(told().await, Value::Null);
}

#[tokio::test]
async fn stopping_server_is_not_ready() {
    let server = Server::dev().await;
    server.stop.cancel();
    assert_eq!(
        server.get("/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn every_answer_has_kind_request_id_and_vary() {
    let dev = Server::dev().await;
    for path in ["/health", "/nothing", "/v1/runs/x", "/e/"] {
        let answer = dev.get(path).await;
        assert_eq!(answer.header("x-inngest-server-kind"), "dev", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 26, "{path}");
        assert!(
            answer
                .headers
                .get_all("vary")
                .iter()
                .any(|vary| vary == "Origin"),
            "{path}"
        );
    }
    let named = dev
        .send(
            Method::GET,
            "/health",
            &Value::Null,
            &[("x-request-id", "mine-1")],
        )
        .await;
    assert_eq!(named.header("x-request-id"), "mine-1");
    assert_eq!(
        Server::start()
            .await
            .get("/health")
            .await
            .header("x-inngest-server-kind"),
        "cloud"
    );
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_in_json() {
    let server = Server::dev().await;
    for (method, path, status, code) in [
        (Method::GET, "/api/v1/nothing", 404, "not_found"),
        (Method::GET, "/nothing", 404, "not_found"),
        (Method::GET, "/v0/nothing", 404, "not_found"),
        (Method::GET, "/e/key", 405, "method_not_allowed"),
        (Method::DELETE, "/graphql", 405, "method_not_allowed"),
        (Method::PUT, "/v1/runs/x", 405, "method_not_allowed"),
    ] {
        let answer = server.send(method, path, &Value::Null, &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}"
        );
        let body = answer.json();
        assert_eq!(
            (&body["code"], &body["status"]),
            (&code.into(), &status.into()),
            "{path}"
        );
        assert_eq!(body["request_id"], answer.header("x-request-id"), "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_send_events_and_nothing_else() {
    let server = Server::dev().await;
    let event = serde_json::json!({"name": "a"});
    for (path, origin, status, echoed) in [
        ("/e/key", "https://evil.example", 200, true),
        ("/graphql", "https://evil.example", 403, false),
        ("/fn/register", "https://evil.example", 403, false),
        ("/invoke/a", "http://localhost:8288", 404, true),
        ("/invoke/a", "http://127.0.0.1:5173", 404, true),
    ] {
        let answer = server
            .send(Method::POST, path, &event, &[("origin", origin)])
            .await;
        assert_eq!(answer.status.as_u16(), status, "{path} {origin}");
        assert_eq!(
            answer.header("access-control-allow-origin") == origin,
            echoed,
            "{path} {origin}"
        );
    }
    let asked = &[
        ("origin", "http://localhost:5173"),
        ("access-control-request-headers", "content-type"),
    ];
    let preflight = server
        .send(Method::OPTIONS, "/graphql", &Value::Null, asked)
        .await;
    assert!(
        preflight
            .header("access-control-allow-methods")
            .contains("PATCH")
    );
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        "content-type"
    );
}

#[tokio::test]
async fn too_large_a_body_is_refused_before_it_is_read() {
    let server = Server::with(inngest_services::Mode::Dev, |settings| {
        settings.ingest_body_bytes = 10
    })
    .await;
    let request = Request::post("/e/key")
        .header("content-length", "1000")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        server.ask(request).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let streamed = Body::from("x".repeat(1_000));
    assert_eq!(
        server
            .ask(Request::post("/e/key").body(streamed).unwrap())
            .await
            .status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn connection_is_kept_and_request_in_flight_finishes_while_stopping() {
    let server = Server::dev().await;
    let mut stream = TcpStream::connect(server.listen().await).await.unwrap();
    let mut seen = String::new();
    for _ in 0..2 {
        stream
            .write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        seen = read_until(&mut stream, "{\"status\":\"ok\"}").await;
    }
    assert!(seen.contains("200 OK"), "{seen}");
    // The head of a request has arrived; its body comes after the stop.
    stream.write_all(b"POST /e/key HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12\r\nexpect: 100-continue\r\n\r\n").await.unwrap();
    read_until(&mut stream, "100 Continue").await;
    server.stop.cancel();
    stream.write_all(b"{\"name\":\"a\"}").await.unwrap();
    let answer = read_until(&mut stream, "\"status\":200").await;
    assert!(answer.contains("200 OK"), "{answer}");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains(end) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "closed after: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    text
}
