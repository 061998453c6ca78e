//! REST under `/v1` and `/api/v1`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn events_are_listed_newest_first_and_paged() {
    let server = Server::dev().await;
    for n in 0..3 {
        server
            .post("/e/key", &json!({"name": format!("list/{n}"), "user": {}}))
            .await;
    }
    let first = server.get("/v1/events?limit=2").await.json();
    let names = |page: &Value| {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(first["data"].as_array().unwrap().len(), 2);
    assert_eq!(first["page"]["has_more"], true);
    let second = server
        .get(&format!(
            "/v1/events?limit=2&cursor={}",
            first["page"]["cursor"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(second["page"]["has_more"], false);
    let mut all = [names(&first), names(&second)].concat();
    all.sort_by_key(ToString::to_string);
    assert_eq!(all, [json!("list/0"), json!("list/1"), json!("list/2")]);
    let old_cursor = first["data"][1]["internal_id"].as_str().unwrap();
    assert_eq!(
        names(
            &server
                .get(&format!("/v1/events?cursor={old_cursor}"))
                .await
                .json()
        ),
        names(&second)
    );
    assert_eq!(
        names(&server.get("/api/v1/events?name=list/1").await.json()),
        [json!("list/1")]
    );
    assert!(first["data"][0].get("user").is_none());
}

#[tokio::test]
async fn unknown_or_unreadable_parameters_are_refused() {
    let server = Server::dev().await;
    for (query, code) in [
        ("limits=3", "unknown_parameter"),
        ("cursor=%21", "invalid_cursor"),
        ("received_after=yesterday", "invalid_time"),
    ] {
        let answer = server.get(&format!("/v1/events?{query}")).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{query}"
        );
    }
    for query in ["status=done", "function=x", "app=x"] {
        assert_eq!(
            server.get(&format!("/api/v1/runs?{query}")).await.status,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
}

#[tokio::test]
async fn run_is_shown_in_the_words_of_the_older_api() {
    let server = Server::dev().await;
    let registered = server.register().await;
    let (event, run) = server.start_run().await;
    let body = server.get(&format!("/v1/runs/{run}")).await.json();
    assert_eq!(body["data"]["status"], "Scheduled");
    assert_eq!(
        (&body["data"]["event_id"], &body["data"]["ended_at"]),
        (&json!(event), &Value::Null)
    );
    assert!(body["metadata"]["fetched_at"].is_string());
    let listed = server
        .get("/api/v1/runs?status=queued&limit=1")
        .await
        .json();
    assert_eq!(listed["data"][0]["run_id"], json!(run));
    let by_app = format!(
        "/api/v1/runs?app={}",
        registered["app_id"].as_str().unwrap()
    );
    assert_eq!(
        server.get(&by_app).await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        server.get("/api/v1/runs?status=failed").await.json()["data"],
        json!([])
    );
}

#[tokio::test]
async fn cancelling_answers_as_each_prefix_promises() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let delete = async |path: String| server.send(Method::DELETE, &path, &Value::Null, &[]).await;
    let first = delete(format!("/v1/runs/{run}")).await;
    assert_eq!((first.status, first.body.len()), (StatusCode::OK, 0));
    assert_eq!(
        delete(format!("/api/v1/runs/{run}")).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        delete("/v1/runs/01HZZZZZZZZZZZZZZZZZZZZZZZ".into())
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    let body = server.get(&format!("/v1/runs/{run}")).await.json();
    assert_eq!(body["data"]["status"], "Cancelled");
    assert!(
        body["data"]["ended_at"].is_string() && body["data"].get("output").is_none(),
        "{body}"
    );
}

#[tokio::test]
async fn missing_things_are_404_with_a_code_and_bad_ids_400() {
    let server = Server::dev().await;
    for (path, status, code) in [
        ("/v1/runs/01HZZZZZZZZZZZZZZZZZZZZZZZ", 404, "run_not_found"),
        (
            "/v1/events/01HZZZZZZZZZZZZZZZZZZZZZZZ",
            404,
            "event_not_found",
        ),
        ("/v1/runs/x", 400, "invalid_id"),
        ("/api/v1/events/x/runs", 400, "invalid_id"),
        ("/api/v1/apps/none/functions", 404, "app_not_found"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    assert_eq!(
        server.get("/v1/apps/none/functions").await.json(),
        json!([])
    );
}

#[tokio::test]
async fn functions_of_an_app_are_bare_under_v1_and_wrapped_under_api() {
    let server = Server::dev().await;
    server.register().await;
    let bare = server.get("/v1/apps/shop/functions").await.json();
    assert_eq!(
        (&bare[0]["id"], &bare[0]["archived_at"]),
        (&json!("shop-receipt"), &json!("0001-01-01T00:00:00Z"))
    );
    assert_eq!(bare[0]["config"]["id"], "shop-receipt");
    let wrapped = server.get("/api/v1/apps/shop/functions").await.json();
    assert_eq!(wrapped["data"][0]["archived_at"], Value::Null);
}

#[tokio::test]
async fn events_sent_over_rest_are_told_where_their_runs_are() {
    let server = Server::dev().await;
    let body = server
        .post("/api/v1/events", &json!([{"name": "a", "id": "mine"}]))
        .await
        .json();
    let id = body["ids"][0].as_str().unwrap();
    assert_eq!(body["data"][0]["external_id"], "mine");
    assert_eq!(
        body["data"][0]["runs_url"],
        format!("/api/v1/events/{id}/runs")
    );
    assert_eq!(
        server
            .post("/api/v1/events", &json!([{"name": ""}]))
            .await
            .status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn paths_without_parameters_take_any_as_they_always_did() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    for path in [
        format!("/v1/runs/{run}?x=1"),
        format!("/v1/events/{event}?t=2"),
        format!("/v1/events/{event}/runs?t=3"),
        "/v1/cancellations?t=4".to_owned(),
    ] {
        assert_eq!(server.get(&path).await.status, StatusCode::OK, "{path}");
        let strict = server.get(&format!("/api{path}")).await;
        assert_eq!(strict.status, StatusCode::BAD_REQUEST, "/api{path}");
    }
}
