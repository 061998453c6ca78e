//! The doors of SDKs.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{EVENT_KEY, SIGNING_KEY, Server, registration};

#[tokio::test]
async fn events_are_answered_with_their_ids_in_order() {
    let server = Server::dev().await;
    let one = server.post("/e/any", &json!({"name": "a"})).await;
    assert_eq!(
        (one.status, one.header("content-type")),
        (StatusCode::OK, "application/json")
    );
    assert_eq!(one.json()["status"], 200);
    let two = server
        .post(
            "/e/any",
            &json!([{"name": "a"}, {"name": "b", "id": "mine"}]),
        )
        .await
        .json();
    assert_eq!(two["ids"].as_array().unwrap().len(), 2);
    assert_eq!(
        server.post("/e/any", &json!([])).await.json(),
        json!({"ids": [], "status": 200})
    );
    let name = server
        .get(&format!("/v1/events/{}", two["ids"][1].as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        (&name["data"]["name"], &name["data"]["id"]),
        (&json!("b"), &json!("mine"))
    );
}

#[tokio::test]
async fn same_seed_gives_the_same_ids() {
    let server = Server::dev().await;
    let seed = [("x-inngest-event-id-seed", "1790000000000,AAECAwQFBgcICQ==")];
    let body = json!([{"name": "a"}, {"name": "a"}]);
    let first = server
        .send(Method::POST, "/e/any", &body, &seed)
        .await
        .json();
    assert_eq!(
        server
            .send(Method::POST, "/e/any", &body, &seed)
            .await
            .json(),
        first
    );
    assert_ne!(first["ids"][0], first["ids"][1]);
}

#[tokio::test]
async fn bad_events_are_refused_as_a_whole_with_the_body_that_sdks_read() {
    let server = Server::start().await;
    let path = format!("/e/{EVENT_KEY}");
    for (path, body, status) in [
        (path.as_str(), json!([{"name": "good"}, {"name": ""}]), 400),
        (&path, json!({"name": "inngest/x"}), 400),
        (&path, json!("text"), 400),
        (&path, Value::Null, 400),
        ("/e/wrong", json!({"name": "a"}), 401),
        ("/e/", json!({"name": "a"}), 401),
    ] {
        let answer = server.post(path, &body).await;
        let read = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{read}");
        assert_eq!(
            (&read["status"], &read["ids"]),
            (&json!(status), &json!([])),
            "{body}"
        );
        assert!(
            read["error"]
                .as_str()
                .is_some_and(|error| !error.is_empty()),
            "{body}"
        );
    }
    assert_eq!(
        server.post("/e/wrong", &json!({"name": "a"})).await.json()["error"],
        "Event key not found"
    );
}

#[tokio::test]
async fn registration_is_taken_once_and_repeated_without_change() {
    let server = Server::dev().await;
    let first = server.register().await;
    assert_eq!(
        (&first["ok"], &first["modified"]),
        (&json!(true), &json!(true))
    );
    let second = server.register().await;
    assert_eq!(
        (&second["modified"], &second["app_id"]),
        (&json!(false), &first["app_id"])
    );
}

#[tokio::test]
async fn registration_for_another_kind_of_server_is_refused() {
    let server = Server::dev().await;
    let headers = [("x-inngest-expected-server-kind", "cloud")];
    let answer = server
        .send(Method::POST, "/fn/register", &registration(), &headers)
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let body = answer.json();
    assert_eq!(body["error"], "Expected server kind cloud, got dev");
    assert_eq!(body["status"], 400);
}

#[tokio::test]
async fn bad_registration_says_why() {
    let server = Server::dev().await;
    let mut nameless = registration();
    nameless["appName"] = json!("");
    for body in [json!("x"), nameless] {
        let answer = server.post("/fn/register", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json()["error"].is_string());
    }
}

#[tokio::test]
async fn app_is_removed_by_its_url() {
    let server = Server::dev().await;
    server.register().await;
    let path = "/fn/remove?url=http%3A%2F%2Flocalhost%3A3000%2Fapi%2Finngest";
    assert_eq!(
        server
            .send(Method::DELETE, path, &Value::Null, &[])
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        server
            .send(
                Method::DELETE,
                "/fn/remove?url=http%3A%2F%2Fx",
                &Value::Null,
                &[]
            )
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        server
            .send(Method::DELETE, "/fn/remove", &Value::Null, &[])
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn state_of_a_run_is_given_to_its_app() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    assert_eq!(
        server.get(&format!("/v0/runs/{run}/actions")).await.json(),
        json!({})
    );
    let batch = server.get(&format!("/v0/runs/{run}/batch")).await.json();
    assert_eq!(batch[0]["name"], "shop/order.placed");
    assert_eq!(batch.as_array().unwrap().len(), 1);
    let bad = server.get("/v0/runs/x/actions").await;
    assert_eq!(
        (bad.status, &bad.json()["error"]),
        (
            StatusCode::BAD_REQUEST,
            &json!("The run ID specified is invalid")
        )
    );
}

#[tokio::test]
async fn run_is_cancelled_twice_without_complaint() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let path = format!("/v0/runs/{run}");
    for _ in 0..2 {
        assert_eq!(
            server
                .send(Method::DELETE, &path, &Value::Null, &[])
                .await
                .status,
            StatusCode::NO_CONTENT
        );
    }
    let unknown = server
        .send(
            Method::DELETE,
            "/v0/runs/01HZZZZZZZZZZZZZZZZZZZZZZZ",
            &Value::Null,
            &[],
        )
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn function_is_invoked_by_slug() {
    let server = Server::dev().await;
    server.register().await;
    let answer = server
        .post("/invoke/shop-receipt", &json!({"data": {"n": 2}}))
        .await;
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["status"]),
        (StatusCode::OK, &json!(200)),
        "{body}"
    );
    let runs = server
        .get(&format!("/v1/events/{}/runs", body["id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(runs["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.post("/invoke/shop-other", &json!({})).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn signal_that_nobody_waits_for_is_not_found() {
    let server = Server::dev().await;
    let answer = server
        .post("/v1/signals", &json!({"signal": "s", "data": 1}))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (StatusCode::NOT_FOUND, &json!("No signal found"))
    );
    assert_eq!(
        server.post("/v1/signals", &json!({"data": 1})).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn checkpoint_that_cannot_be_taken_names_its_run() {
    let server = Server::dev().await;
    let run = "01HZZZZZZZZZZZZZZZZZZZZZZZ";
    let unknown = json!({"qi_id": "6f4cd8b4-5a1c-4f5f-9d53-0a7c4f7c0f6e", "steps": []});
    for (prefix, body, statuses) in [
        ("/v1/checkpoint", &unknown, [404, 409]),
        ("/v1/http/runs", &unknown, [404, 409]),
        ("/v1/checkpoint", &json!({"steps": []}), [400, 400]),
        ("/v1/checkpoint", &json!("x"), [400, 400]),
    ] {
        let answer = server.post(&format!("{prefix}/{run}/async"), body).await;
        assert!(
            statuses.contains(&answer.status.as_u16()),
            "{}",
            answer.json()
        );
        assert_eq!(answer.json()["data"]["run_id"], run);
    }
}

#[tokio::test]
async fn dev_page_lists_functions_and_exists_in_dev_only() {
    let server = Server::dev().await;
    server.register().await;
    let body = server.get("/dev").await.json();
    let function = &body["functions"][0];
    assert_eq!(function["slug"], "shop-receipt");
    assert_eq!(
        function["triggers"],
        json!([{"event": "shop/order.placed"}])
    );
    let uri = "http://localhost:3000/api/inngest?fnId=shop-receipt&stepId=step";
    let steps = json!([{"id": "step", "name": "step", "uri": uri}]);
    assert_eq!(function["steps"], steps);
    assert!(body["features"].is_object());
    let bearer = format!("Bearer {SIGNING_KEY}");
    let answer = Server::start()
        .await
        .send(
            Method::GET,
            "/dev",
            &Value::Null,
            &[("authorization", &bearer)],
        )
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(
        server.post("/v0/telemetry", &json!({})).await.status,
        StatusCode::OK
    );
}
