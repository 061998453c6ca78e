//! The routes that only test suites ask for.

use http::{Method, StatusCode};
use inngest_core::ids::{DEFAULT_ORG, EnvId};
use inngest_core::time::Timestamp;
use inngest_services::Mode;
use serde_json::{Value, json};

use crate::{
    harness::{EVENT_KEY, NOW, SIGNING_KEY, Server, registration},
    tokens::{token, with_secret},
};

/// The routes, each with what it says when it has done what it does. `{fn}` and `{run}` stand for ids.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/test/", "OK"),
    ("POST", "/fn/step-limit?functionId={fn}&limit=1", ""),
    ("DELETE", "/fn/step-limit?functionId={fn}", ""),
    ("POST", "/fn/state-size-limit?functionId={fn}&limit=1", ""),
    ("DELETE", "/fn/state-size-limit?functionId={fn}", ""),
    (
        "GET",
        "/test/queue/function-queue-size?accountId=00000000-0000-4000-a000-000000000000&fnId={fn}",
        "{\"count\":1}",
    ),
    (
        "POST",
        "/test/function/runs/cancel?accountId=00000000-0000-4000-a000-000000000000&fnId={fn}&runId={run}",
        "OK",
    ),
    (
        "GET",
        "/test/queue/function-queue-size?fnId={fn}",
        "{\"count\":0}",
    ),
    ("POST", "/test/function/pause?fnId={fn}", "OK"),
    ("POST", "/test/reset", "ok"),
];

async fn dev(test_routes: bool) -> Server {
    Server::with_mode(Mode::Dev, |settings| settings.test_routes = test_routes).await
}

/// The ids of `receipt` and of a run of it.
async fn one_run(server: &Server) -> (String, String) {
    server.register().await;
    let (_, run) = server.start_run().await;
    let found = server.get("/dev").await.json();
    let function = found["functions"][0]["id"].as_str().unwrap().to_owned();
    (function, run)
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let method: Method = method.parse().unwrap();
    let answer = server.send(method, path, &Value::Null, headers).await;
    (
        answer.status.as_u16(),
        String::from_utf8(answer.body).unwrap(),
    )
}

#[tokio::test]
async fn suites_are_answered_as_they_expect_where_that_is_allowed() {
    let server = dev(true).await;
    let (function, run) = one_run(&server).await;
    for (method, path, expected) in ROUTES {
        let path = path.replace("{fn}", &function).replace("{run}", &run);
        let found = ask(&server, method, &path, &[]).await;
        assert_eq!(found, (200, (*expected).to_owned()), "{method} {path}");
        if path.ends_with("/test/reset") || path.contains("/pause") {
            let found = server.get("/api/v1/functions/shop-receipt").await.json();
            let is_paused = path.contains("/pause");
            assert_eq!(found["data"]["is_paused"], is_paused, "{found}");
        }
    }
    let shown = server.get(&format!("/v1/runs/{run}")).await.json();
    assert_eq!(shown["data"]["status"], "Cancelled");
}

#[tokio::test]
async fn everywhere_else_they_hear_how_to_allow_it() {
    let server = dev(false).await;
    let (function, run) = one_run(&server).await;
    let start = Server::start().await;
    let bearer = format!("Bearer {SIGNING_KEY}");
    for (method, path, _) in ROUTES {
        let path = path.replace("{fn}", &function).replace("{run}", &run);
        let key = [("authorization", bearer.as_str())];
        for (server, headers) in [(&server, &[][..]), (&start, key.as_slice())] {
            let (status, body) = ask(server, method, &path, headers).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (status, &body["code"]),
                (409, &json!("test_routes_off")),
                "{method} {path}"
            );
            assert!(body["error"].as_str().unwrap().contains("--test-routes"));
        }
    }
    let shown = server.get(&format!("/v1/runs/{run}")).await.json();
    assert_eq!(shown["data"]["status"], "Scheduled");
}

#[tokio::test]
async fn forms_are_read_from_query_and_body_and_checked() {
    let server = dev(true).await;
    let (function, run) = one_run(&server).await;
    let path = "/fn/step-limit";
    let form = |fields: &str| {
        let request = http::Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(fields.to_owned()));
        server.ask(request.unwrap())
    };
    assert_eq!(
        form(&format!("limit=3&functionId={function}")).await.status,
        200
    );
    for (fields, code) in [
        (format!("functionId={function}&limit=0"), "invalid_limit"),
        (
            format!("functionId={function}&limit=10001"),
            "invalid_limit",
        ),
        (format!("functionId={function}&limit=-1"), "invalid_form"),
        (format!("functionId={function}"), "invalid_form"),
        ("limit=3".to_owned(), "invalid_form"),
        ("functionId=shop-receipt&limit=3".to_owned(), "invalid_form"),
        ("\u{0}".to_owned(), "invalid_form"),
        ("x".repeat(5_000), "body_too_large"),
    ] {
        let answer = form(&fields).await.json();
        assert_eq!(answer["code"], code, "{fields:.80}");
    }
    let nobody = "00000000-0000-4000-8000-000000000009";
    for (method, path, status) in [
        (
            "POST",
            format!("/fn/step-limit?functionId={nobody}&limit=1"),
            404,
        ),
        (
            "DELETE",
            format!("/fn/state-size-limit?functionId={nobody}"),
            404,
        ),
        (
            "GET",
            format!("/test/queue/function-queue-size?fnId={nobody}"),
            404,
        ),
        ("GET", "/test/queue/function-queue-size".to_owned(), 400),
        (
            "POST",
            format!("/test/function/runs/cancel?fnId={nobody}&runId={run}"),
            404,
        ),
        (
            "POST",
            format!("/test/function/runs/cancel?fnId={function}&runId=x"),
            400,
        ),
        ("GET", "/test/reset".to_owned(), 405),
    ] {
        assert_eq!(
            ask(&server, method, &path, &[]).await.0,
            status,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn nobody_limits_counts_or_ends_what_belongs_to_another_environment() {
    let server = with_secret().await;
    let other: EnvId = "00000000-0000-4000-c000-000000000000".parse().unwrap();
    let store = server.services.store();
    let at = Timestamp::from_millis(NOW);
    store
        .ensure_environment(DEFAULT_ORG, other, "other", at)
        .await
        .unwrap();
    let key = format!("Bearer {SIGNING_KEY}");
    let own = [("authorization", key.as_str())];
    let registered = server
        .send(Method::POST, "/fn/register", &registration(), &own)
        .await;
    assert_eq!(registered.status, StatusCode::OK);
    let event = json!({"name": "shop/order.placed"});
    let sent = server.post(&format!("/e/{EVENT_KEY}"), &event).await.json();
    let path = format!("/v1/events/{}/runs", sent["ids"][0].as_str().unwrap());
    let runs = server
        .send(Method::GET, &path, &Value::Null, &own)
        .await
        .json();
    let run = &runs["data"][0];
    let function = run["function_id"].as_str().unwrap();
    let run = run["run_id"].as_str().unwrap();

    let token = token(&json!({"role": "owner", "envs": ["dev", "other"]}));
    let token = format!("Bearer {token}");
    let foreign = [
        ("authorization", token.as_str()),
        ("x-inngest-env", "other"),
    ];
    for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| path.contains('{')) {
        let path = path.replace("{fn}", function).replace("{run}", run);
        let (status, body) = ask(&server, method, &path, &foreign).await;
        assert_eq!(status, 404, "{method} {path}: {body}");
    }
    assert_eq!(ask(&server, "POST", "/test/reset", &foreign).await.0, 200);
    let count = format!("/test/queue/function-queue-size?fnId={function}");
    let left = ask(&server, "GET", &count, &own).await;
    assert_eq!(left, (200, "{\"count\":1}".to_owned()));
}
