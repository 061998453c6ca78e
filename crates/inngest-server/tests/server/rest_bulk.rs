//! REST for many runs at once, for pauses, and for what is outstanding. There are no workers here, so nothing is carried out.

use std::time::Duration;

use http::{Method, StatusCode};
use inngest_core::{ids::DEFAULT_ENV, job::HELD_MS};
use inngest_state::{Commit, Fence};
use serde_json::{Value, json};

use crate::harness::{Answer, Server, registration};

const AT: &str = "2026-09-21T14:13:20.000Z";

async fn delete(server: &Server, path: &str) -> Answer {
    server.send(Method::DELETE, path, &Value::Null, &[]).await
}

fn told(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["code"].clone())
}

/// The function that is registered, as a list of functions has it.
async fn function(server: &Server) -> Value {
    let shown = server.get("/api/v1/functions/shop-receipt").await.json();
    let shown = &shown["data"];
    json!({"internal_id": shown["internal_id"], "app_id": shown["app_id"], "id": "shop-receipt"})
}

fn ids(list: &Value) -> Vec<&Value> {
    let data = list["data"].as_array();
    let data = data.unwrap_or_else(|| panic!("{list}"));
    data.iter().map(|entry| &entry["id"]).collect()
}

#[tokio::test]
async fn replay_is_begun_listed_shown_and_stopped() {
    let server = Server::dev().await;
    server.register().await;
    let function = function(&server).await;
    let body = json!({"functions": ["shop-receipt"], "from": "2026-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z",
        "search": "event.data.n == 1", "name": "again", "rate_per_second": 50});
    let begun = server.post("/api/v1/replays", &body).await.json();
    let id = begun["data"]["id"].clone();
    let path = format!("/api/v1/replays/{}", id.as_str().unwrap());
    let mut expected = json!({"id": id, "name": "again", "environment_id": DEFAULT_ENV.to_string(), "functions": [function],
        "from": "2026-01-01T00:00:00.000Z", "until": AT, "statuses": ["Failed"], "search": "event.data.n == 1", "rate_per_second": 50,
        "status": "Pending", "progress": {"total": null, "processed": 0, "succeeded": 0, "skipped": 0, "failed": 0},
        "created_by": {"kind": "Anonymous", "subject": null}, "created_at": AT, "ended_at": null});
    assert_eq!(begun["data"], expected);
    assert_eq!(server.get(&path).await.json()["data"], expected);

    server.services.clock().advance(Duration::from_secs(1));
    let other = json!({"functions": [function["internal_id"]], "from": "2026-01-01T00:00:00Z", "statuses": ["cancelled", "SKIPPED"]});
    let other = server.post("/api/v1/replays", &other).await.json();
    assert_eq!(
        other["data"]["statuses"],
        json!(["Cancelled", "Skipped"]),
        "{other}"
    );
    let other = &other["data"]["id"];
    for _ in 0..2 {
        let stopped = delete(&server, &path).await;
        expected["status"] = json!("Stopped");
        expected["ended_at"] = json!("2026-09-21T14:13:21.000Z");
        assert_eq!(stopped.json()["data"], expected);
    }
    let uuid = function["internal_id"].as_str().unwrap();
    for (query, found) in [
        (String::new(), vec![other, &id]),
        ("?status=stopped".to_owned(), vec![&id]),
        ("?status=pending&status=running".to_owned(), vec![other]),
        (format!("?function={uuid}&limit=1"), vec![other]),
        ("?until=2026-01-01T00:00:00Z".to_owned(), vec![]),
        (
            "?from=2026-01-01T00:00:00Z&limit=5".to_owned(),
            vec![other, &id],
        ),
    ] {
        let list = server.get(&format!("/api/v1/replays{query}")).await.json();
        assert_eq!(ids(&list), found, "{query}");
    }
    let first = server.get("/api/v1/replays?limit=1").await;
    let next = first.header("link").split(['<', '>']).nth(1).unwrap();
    assert_eq!(ids(&server.get(next).await.json()), [&id]);
    // An operation of the other kind is none of these.
    assert_eq!(
        told(&server.get(&path.replace("replays", "cancellations")).await),
        (404, json!("cancellation_not_found"))
    );
}

#[tokio::test]
async fn cancellation_is_told_in_the_words_of_the_older_api_under_both_prefixes() {
    let server = Server::dev().await;
    server.register().await;
    let function = function(&server).await;
    let mut seen = Vec::new();
    for prefix in ["/v1", "/api/v1"] {
        let body = json!({"app_id": "shop", "function_id": "receipt", "started_before": AT, "if": "event.data.n == 1"});
        let path = format!("{prefix}/cancellations");
        let begun = server.post(&path, &body).await.json();
        let id = begun["data"]["id"].as_str().unwrap().to_owned();
        let expected = json!({"id": id, "name": null, "account_id": "00000000-0000-4000-a000-000000000000",
            "environment_id": DEFAULT_ENV.to_string(), "app_id": function["app_id"], "function_internal_id": function["internal_id"],
            "function_id": "shop-receipt", "functions": [function], "started_after": "1970-01-01T00:00:00.000Z", "started_before": AT,
            "statuses": ["Scheduled", "Running"], "if": "event.data.n == 1", "kind": "bulk_run", "cause": "API",
            "target_id": function["internal_id"], "queue_name": null, "status": "Pending",
            "progress": {"total": null, "processed": 0, "succeeded": 0, "skipped": 0, "failed": 0},
            "created_by": {"kind": "Anonymous", "subject": null}, "created_at": AT, "ended_at": null});
        assert_eq!(begun["data"], expected, "{prefix}");
        let list = server.get(&path).await.json();
        let list = list["data"].as_array().unwrap();
        assert!(list.contains(&expected), "{prefix}: {list:?}");
        seen.push(id);
    }
    let one = format!("/api/v1/cancellations/{}", seen[0]);
    let one = server.get(&one).await.json();
    assert_eq!(one["data"]["id"], json!(seen[0]));
    // The older API deletes them, here they are ended.
    for _ in 0..2 {
        let deleted = delete(&server, &format!("/v1/cancellations/{}", seen[0])).await;
        assert_eq!(deleted.json()["data"], json!({"ok": true}));
    }
    assert_eq!(
        ids(&server.get("/v1/cancellations").await.json()),
        [&json!(seen[1])]
    );
    let ended = server.get("/api/v1/cancellations?status=Stopped").await;
    assert_eq!(ids(&ended.json()), [&json!(seen[0])]);
    let ended = delete(&server, &format!("/api/v1/cancellations/{}", seen[1])).await;
    assert_eq!(ended.json()["data"]["status"], "Stopped");
    let unknown = "01HZZZZZZZZZZZZZZZZZZZZZZZ";
    for prefix in ["/v1", "/api/v1"] {
        let answer = delete(&server, &format!("{prefix}/cancellations/{unknown}")).await;
        assert_eq!(told(&answer), (404, json!("cancellation_not_found")));
    }
}

#[tokio::test]
async fn functions_of_many_runs_are_named_in_every_way_that_names_them() {
    let server = Server::dev().await;
    server.register().await;
    let mut other = registration();
    other["appName"] = json!("shop-a");
    other["url"] = json!("http://localhost:3001/api/inngest");
    other["functions"][0]["id"] = json!("shop-a-b");
    server.post("/fn/register", &other).await;
    // Two apps with a function of one slug: the name of the app decides.
    let mut twin = other.clone();
    twin["appName"] = json!("shop");
    twin["url"] = json!("http://localhost:3002/api/inngest");
    let answer = server.post("/fn/register", &twin).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let uuid = function(&server).await["internal_id"].clone();
    for (body, apps) in [
        (
            json!({"app_id": "shop", "functions": ["a-b", "shop-a-b"]}),
            vec!["shop"],
        ),
        (
            json!({"app_id": "shop-a", "function_id": "b"}),
            vec!["shop-a"],
        ),
        (
            json!({"functions": [uuid, "shop-a-b"]}),
            vec!["shop", "shop-a"],
        ),
    ] {
        let begun = server.post("/api/v1/cancellations", &body).await.json();
        let found = begun["data"]["functions"].as_array();
        let found = found.unwrap_or_else(|| panic!("{body}: {begun}"));
        let mut named = Vec::new();
        for function in found {
            let app = function["app_id"].as_str().unwrap();
            let app = server.get(&format!("/api/v1/apps/{app}")).await.json();
            named.push(app["data"]["name"].as_str().unwrap().to_owned());
        }
        named.sort();
        if found.len() == 1 {
            assert_eq!(named, apps, "{body}: {begun}");
        } else {
            assert_eq!(begun["data"]["function_id"], Value::Null);
            assert_eq!(begun["data"]["target_id"], Value::Null);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_of_many_runs_is_refused_by_name() {
    let server = Server::dev().await;
    server.register().await;
    let (replays, cancellations) = ("/api/v1/replays", "/v1/cancellations");
    let from = "2026-01-01T00:00:00Z";
    let many: Vec<&str> = std::iter::repeat_n("shop-receipt", 101).collect();
    for (path, body, status, code) in [
        (
            replays,
            json!({"functions": ["shop-receipt"]}),
            422,
            "invalid_body",
        ),
        (
            replays,
            json!({"functions": ["shop-receipt"], "from": "yesterday"}),
            422,
            "invalid_body",
        ),
        (
            replays,
            json!({"functions": ["shop-receipt"], "from": from, "statuses": ["done"]}),
            422,
            "invalid_body",
        ),
        (
            replays,
            json!({"functions": ["shop-receipt"], "from": from, "statuses": []}),
            422,
            "statuses_needed",
        ),
        (
            replays,
            json!({"functions": ["shop-receipt"], "from": from, "statuses": ["Running"]}),
            422,
            "status_not_possible",
        ),
        (
            replays,
            json!({"functions": ["shop-receipt"], "from": from, "rate_per_second": 0}),
            422,
            "replay_rate_invalid",
        ),
        (
            replays,
            json!({"functions": ["shop-receipt"], "from": from, "search": "event."}),
            422,
            "invalid_expression",
        ),
        (
            replays,
            json!({"functions": ["unknown"], "from": from}),
            404,
            "function_not_found",
        ),
        (
            replays,
            json!({"functions": [], "from": from}),
            422,
            "functions_needed",
        ),
        (
            cancellations,
            json!({"functions": many}),
            422,
            "functions_needed",
        ),
        (cancellations, json!({}), 422, "functions_needed"),
        (
            cancellations,
            json!({"functions": ["00000000-0000-4000-8000-000000000009"]}),
            404,
            "function_not_found",
        ),
        (
            cancellations,
            json!({"app_id": "unknown", "function_id": "receipt"}),
            404,
            "app_not_found",
        ),
        (
            cancellations,
            json!({"app_id": "shop", "function_id": "unknown"}),
            404,
            "function_not_found",
        ),
        (
            cancellations,
            json!({"function_id": "shop-receipt", "functions": []}),
            422,
            "functions_ambiguous",
        ),
        (
            cancellations,
            json!({"function_id": "shop-receipt", "started_after": "2030-01-01T00:00:00Z"}),
            422,
            "bulk_window_invalid",
        ),
        (
            cancellations,
            json!({"function_id": "shop-receipt", "name": "x".repeat(257)}),
            422,
            "bulk_name_too_long",
        ),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(told(&answer), (status, json!(code)), "{path} {body}");
    }
    let wrong = json!({"functions": ["shop-receipt"], "from": "yesterday"});
    let answer = server.post(replays, &wrong).await.json();
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("2026-08-22T10:15:30Z") && !detail.contains("yesterday"),
        "{detail}"
    );
}

#[tokio::test]
async fn preview_tells_what_would_be_touched_and_touches_nothing() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    server.services.clock().advance(Duration::from_secs(1));
    let from = "2020-01-01T00:00:00Z";
    for (path, body, expected) in [
        (
            "/api/v1/cancellations/preview",
            json!({"functions": ["shop-receipt"]}),
            json!({"total": 1, "is_exact": true, "statuses": {"Scheduled": 1}, "run_ids": [run]}),
        ),
        (
            "/api/v1/cancellations/preview",
            json!({"functions": ["shop-receipt"], "if": "event.data.n == 99"}),
            json!({"total": 0, "is_exact": true, "statuses": {}, "run_ids": []}),
        ),
        (
            "/api/v1/replays/preview",
            json!({"functions": ["shop-receipt"], "from": from}),
            json!({"total": 0, "is_exact": true, "statuses": {}, "run_ids": []}),
        ),
    ] {
        let told = server.post(path, &body).await.json();
        assert_eq!(told["data"], expected, "{path} {body}: {told}");
    }
    for (path, body, status, code) in [
        (
            "/api/v1/replays/preview",
            json!({"functions": ["shop-receipt"], "from": from, "statuses": ["Running"]}),
            422,
            "status_not_possible",
        ),
        (
            "/api/v1/cancellations/preview",
            json!({"functions": ["shop-unknown"]}),
            404,
            "function_not_found",
        ),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(told(&answer), (status, json!(code)), "{path} {body}");
    }
    for path in ["/api/v1/cancellations", "/api/v1/replays"] {
        let list = server.get(path).await.json();
        assert_eq!(list["data"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn second_request_for_many_runs_with_one_key_begins_nothing() {
    let server = Server::dev().await;
    server.register().await;
    let from = "2026-01-01T00:00:00Z";
    for (path, body) in [
        (
            "/api/v1/replays",
            json!({"functions": ["shop-receipt"], "from": from}),
        ),
        (
            "/api/v1/cancellations",
            json!({"functions": ["shop-receipt"]}),
        ),
        (
            "/v1/cancellations",
            json!({"app_id": "shop", "function_id": "receipt"}),
        ),
    ] {
        let headers = [
            ("idempotency-key", path),
            ("content-type", "application/json"),
        ];
        let ask = async |body: &Value| server.send(Method::POST, path, body, &headers).await;
        let first = ask(&body).await.json();
        assert!(first["data"]["id"].is_string(), "{path}: {first}");
        assert_eq!(ask(&body).await.json()["data"], first["data"], "{path}");
        let mut other = body.clone();
        other["name"] = json!("other");
        assert_eq!(
            told(&ask(&other).await),
            (409, json!("idempotency_key_reused")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn function_is_paused_and_resumed_and_says_so_under_every_prefix() {
    let server = Server::dev().await;
    server.register().await;
    let path = "/api/v1/functions/shop-receipt";
    let shown = async || {
        let own = server.get(path).await.json();
        let older = server.get("/v1/apps/shop/functions").await.json();
        let newer = server.get("/v2/apps/shop/functions/receipt").await.json();
        assert_eq!(older[0]["pause"], own["data"]["pause"]);
        (
            own["data"]["is_paused"].clone(),
            older[0]["is_paused"].clone(),
            newer["data"]["isPaused"].clone(),
        )
    };
    let all = |is_paused: bool| (json!(is_paused), json!(is_paused), json!(is_paused));
    assert_eq!(shown().await, all(false));
    let pause = json!({"in_flight": "hold", "new_events": "hold", "reason": "stock-taking", "resumes_at": "2027-01-01T00:00:00Z"});
    let paused = server.post(&format!("{path}/pause"), &pause).await.json();
    assert_eq!(
        paused["data"]["pause"],
        json!({"paused_at": AT, "paused_by": {"kind": "Anonymous", "subject": null}, "reason": "stock-taking", "in_flight": "hold",
            "new_events": "hold", "resumes_at": "2027-01-01T00:00:00.000Z"}),
        "{paused}"
    );
    assert_eq!(shown().await, all(true));
    // Without a body it is paused as it is by default.
    let paused = server
        .post(&format!("{path}/pause"), &Value::Null)
        .await
        .json();
    let pause = &paused["data"]["pause"];
    assert_eq!(
        (
            &pause["in_flight"],
            &pause["new_events"],
            &pause["reason"],
            &pause["resumes_at"]
        ),
        (
            &json!("continue"),
            &json!("skip"),
            &Value::Null,
            &Value::Null
        )
    );
    let (_, run) = server.start_run().await;
    let run = server.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!(run["data"]["status"], "Skipped");
    for _ in 0..2 {
        let resumed = server
            .post(&format!("{path}/resume"), &Value::Null)
            .await
            .json();
        assert_eq!(
            (&resumed["data"]["is_paused"], &resumed["data"]["pause"]),
            (&json!(false), &Value::Null)
        );
    }
    assert_eq!(shown().await, all(false));
    for (name, body, expected) in [
        ("unknown", json!({}), (404, "function_not_found")),
        (
            "shop-receipt",
            json!({"in_flight": "HOLD"}),
            (422, "invalid_body"),
        ),
        (
            "shop-receipt",
            json!({"reason": "x".repeat(1_025)}),
            (422, "pause_reason_too_long"),
        ),
        (
            "shop-receipt",
            json!({"resumes_at": "2020-01-01T00:00:00Z"}),
            (422, "pause_end_past"),
        ),
    ] {
        let answer = server
            .post(&format!("/api/v1/functions/{name}/pause"), &body)
            .await;
        assert_eq!(told(&answer), (expected.0, json!(expected.1)), "{body}");
    }
}

#[tokio::test]
async fn jobs_of_a_run_are_what_is_outstanding_for_it() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let job = |jobs: &Value| jobs["data"][0].clone();
    let path = format!("/v1/runs/{run}/jobs");
    let jobs = server.get(&path).await.json();
    let id = jobs["data"][0]["JobID"].clone();
    let mut expected = json!({"JobID": id, "at": AT, "position": 0, "kind": "start", "attempt": 0, "step_id": null, "is_held": false});
    assert_eq!(jobs["data"], json!([expected]));
    assert_eq!(
        server.get(&format!("/api{path}")).await.json()["data"],
        jobs["data"]
    );
    // What a pause holds back is beyond all times in its row, and has its own time here.
    let hold = Commit {
        fence: Some(Fence {
            id: id.as_str().unwrap().parse().unwrap(),
            epoch: 1,
            ends: false,
        }),
        hold: true,
        ..Commit::default()
    };
    let store = server.services.store();
    store.commit(hold).await.unwrap();
    let work = store.work_of_run(DEFAULT_ENV, run.parse().unwrap()).await;
    assert!(work.unwrap()[0].due_at.as_millis() >= HELD_MS);
    expected["is_held"] = json!(true);
    assert_eq!(job(&server.get(&path).await.json()), expected);

    delete(&server, &format!("/api/v1/runs/{run}")).await;
    assert_eq!(server.get(&path).await.json()["data"], json!([]));
    let unknown = server.get("/v1/runs/01HZZZZZZZZZZZZZZZZZZZZZZZ/jobs").await;
    assert_eq!(told(&unknown), (404, json!("run_not_found")));
}
