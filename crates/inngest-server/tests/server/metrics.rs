//! Figures: each has a name, a meaning and few labels, and moves when its cause happens.

use http::{Method, StatusCode};
use inngest_server::metrics_router;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{EVENT_KEY, Server};

async fn scrape(server: &Server, handle: &metrics_exporter_prometheus::PrometheusHandle) -> String {
    let handle = handle.clone();
    let router = metrics_router(server.services.clone(), move || handle.render());
    let request = http::Request::get("/metrics")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    String::from_utf8(body.unwrap().to_vec()).unwrap()
}

/// The value of the series that begins with `series`.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn figures_move_with_their_causes_and_hold_nothing_of_the_data() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Server::start().await;
    let before = scrape(&server, &handle).await;
    assert_eq!(value(&before, "inngest_events_accepted_total"), 0.0);
    assert_eq!(value(&before, "inngest_schedule_up"), 1.0);

    let event = json!({"name": "shop/secret-name", "data": {"card": "4111"}});
    let path = format!("/e/{EVENT_KEY}");
    let sent = server.send(Method::POST, &path, &event, &[]).await;
    assert_eq!(sent.status, StatusCode::OK);
    let wrong = server.send(Method::POST, "/e/wrong", &event, &[]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let bearer = [("authorization", "Bearer nothing")];
    let refused = server
        .send(Method::GET, "/api/v1/runs", &Value::Null, &bearer)
        .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

    let after = scrape(&server, &handle).await;
    for (series, least) in [
        ("inngest_events_accepted_total", 1.0),
        ("inngest_commits_total", 1.0),
        ("inngest_sql_statements_total", 3.0),
        (
            "inngest_http_requests_total{route=\"/e/{key}\",status=\"2xx\"}",
            1.0,
        ),
        (
            "inngest_http_requests_total{route=\"/e/{key}\",status=\"4xx\"}",
            1.0,
        ),
        (
            "inngest_sign_in_failures_total{credential=\"event_key\"}",
            1.0,
        ),
        ("inngest_sign_in_failures_total{credential=\"bearer\"}", 1.0),
    ] {
        assert!(value(&after, series) >= least, "{series}\n{after}");
    }
    for secret in ["secret-name", "4111", EVENT_KEY, "nothing"] {
        assert!(!after.contains(secret), "{secret}");
    }
    // The page is one that Prometheus reads: each series is a name, labels and a number.
    for line in after.lines().filter(|line| !line.is_empty()) {
        let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
        let is_series = line
            .rsplit_once(' ')
            .is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(is_comment || is_series, "{line}");
    }
}

#[tokio::test]
async fn metrics_are_not_on_the_servers_own_port() {
    let server = Server::dev().await;
    let answer = server
        .send(Method::GET, "/metrics", &Value::Null, &[])
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
