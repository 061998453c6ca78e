//! That a tenant sees and changes nothing of another over REST. The table is compared with the document: an operation without a row fails.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Server},
    permissions::{Ids, of_other, own, two_tenants},
};

/// An operation with ids of the first tenant, and a text that its answer has for the first tenant; none where there is nothing to see.
struct Row {
    method: Method,
    /// As in the document.
    path: &'static str,
    /// The parts of the path and the query with the names of ids.
    asked: &'static str,
    /// With names of ids too.
    body: Value,
    shows: Option<&'static str>,
}

fn row(
    method: Method,
    path: &'static str,
    asked: &'static str,
    shows: Option<&'static str>,
) -> Row {
    Row {
        method,
        path,
        asked,
        body: Value::Null,
        shows,
    }
}

fn post(path: &'static str, asked: &'static str, body: Value, shows: Option<&'static str>) -> Row {
    Row {
        body,
        ..row(Method::POST, path, asked, shows)
    }
}

fn get(path: &'static str, asked: &'static str, shows: Option<&'static str>) -> Row {
    row(Method::GET, path, asked, shows)
}

/// Those that destroy what the others need come last.
fn rows() -> Vec<Row> {
    vec![
        get("/api/v1/health", "/api/v1/health", None),
        get("/api/v1/openapi.json", "/api/v1/openapi.json", None),
        get("/api/v1/apps", "/api/v1/apps", Some("\"shop\"")),
        get("/api/v1/apps/{app}", "/api/v1/apps/{app}", Some("\"shop\"")),
        get(
            "/api/v1/apps/{app}/functions",
            "/api/v1/apps/{app}/functions",
            Some("shop-receipt"),
        ),
        get(
            "/v1/apps/{app}/functions",
            "/v1/apps/{app}/functions",
            Some("shop-receipt"),
        ),
        get(
            "/api/v1/functions",
            "/api/v1/functions",
            Some("shop-receipt"),
        ),
        get(
            "/api/v1/functions/{function}",
            "/api/v1/functions/{function}",
            Some("shop-receipt"),
        ),
        get(
            "/api/v1/events",
            "/api/v1/events?received_after=2020-01-01T00:00:00Z",
            Some("tenant-one"),
        ),
        get(
            "/v1/events",
            "/v1/events?received_after=2020-01-01T00:00:00Z",
            Some("tenant-one"),
        ),
        get(
            "/api/v1/events/{event}",
            "/api/v1/events/{event}",
            Some("tenant-one"),
        ),
        get(
            "/v1/events/{event}",
            "/v1/events/{event}",
            Some("tenant-one"),
        ),
        get(
            "/api/v1/events/{event}/runs",
            "/api/v1/events/{event}/runs",
            Some("shop-receipt"),
        ),
        get(
            "/v1/events/{event}/runs",
            "/v1/events/{event}/runs",
            Some("shop-receipt"),
        ),
        get(
            "/api/v1/runs",
            "/api/v1/runs?search=event.data.of%20!=%20%22x%22",
            Some("shop-receipt"),
        ),
        get(
            "/api/v1/runs/{run}",
            "/api/v1/runs/{run}",
            Some("shop-receipt"),
        ),
        get("/v1/runs/{run}", "/v1/runs/{run}", Some("shop-receipt")),
        get(
            "/api/v1/runs/{run}/steps",
            "/api/v1/runs/{run}/steps",
            Some("\"work\""),
        ),
        get(
            "/api/v1/runs/{run}/trace",
            "/api/v1/runs/{run}/trace",
            Some("\"work\""),
        ),
        get(
            "/api/v1/runs/{run}/jobs",
            "/api/v1/runs/{run}/jobs",
            Some("\"start\""),
        ),
        get("/v1/runs/{run}/jobs", "/v1/runs/{run}/jobs", Some("JobID")),
        get("/api/v1/replays", "/api/v1/replays", Some("tenant-one")),
        get(
            "/api/v1/replays/{replay}",
            "/api/v1/replays/{replay}",
            Some("shop-receipt"),
        ),
        get(
            "/api/v1/cancellations",
            "/api/v1/cancellations",
            Some("tenant-one"),
        ),
        get("/v1/cancellations", "/v1/cancellations", Some("tenant-one")),
        get(
            "/api/v1/cancellations/{cancellation}",
            "/api/v1/cancellations/{cancellation}",
            Some("shop-receipt"),
        ),
        get("/v2/health", "/v2/health", None),
        get("/v2/apps", "/v2/apps", Some("\"shop\"")),
        get("/v2/apps/{app_id}", "/v2/apps/{app}", Some("\"shop\"")),
        get(
            "/v2/apps/{app_id}/functions",
            "/api/v2/apps/{app}/functions",
            Some("\"receipt\""),
        ),
        get(
            "/v2/apps/{app_id}/functions/{function_id}",
            "/v2/apps/{app}/functions/receipt",
            Some("\"Receipt\""),
        ),
        get(
            "/v2/apps/{app_id}/functions/{function_id}/runs",
            "/v2/apps/{app}/functions/{function}/runs",
            Some("QUEUED"),
        ),
        get(
            "/v2/events/{event_id}/runs",
            "/v2/events/{event}/runs",
            Some("\"receipt\""),
        ),
        get("/v2/runs", "/v2/runs", Some("\"receipt\"")),
        get("/v2/runs/{run_id}", "/v2/runs/{run}", Some("\"receipt\"")),
        get(
            "/v2/runs/{run_id}/trace",
            "/v2/runs/{run}/trace",
            Some("\"work\""),
        ),
        post(
            "/v2/events",
            "/v2/events",
            json!({"name": "unheard"}),
            Some("eventId"),
        ),
        post(
            "/v2/apps/{app_id}/functions/{function_id}/invoke",
            "/v2/apps/{app}/functions/receipt/invoke",
            json!({"data": {}}),
            Some("runId"),
        ),
        post(
            "/v2/runs/{run_id}/rerun",
            "/v2/runs/{run}/rerun",
            json!({}),
            Some("runId"),
        ),
        post(
            "/api/v1/events",
            "/api/v1/events",
            json!({"name": "unheard"}),
            Some("runs_url"),
        ),
        post(
            "/api/v1/functions/{function}/invoke",
            "/api/v1/functions/{function}/invoke",
            json!({}),
            Some("run_id"),
        ),
        post(
            "/api/v1/signals",
            "/api/v1/signals",
            json!({"signal": "unheard"}),
            None,
        ),
        post(
            "/api/v1/runs/{run}/rerun",
            "/api/v1/runs/{run}/rerun",
            json!({}),
            Some("shop-receipt"),
        ),
        post(
            "/api/v1/replays",
            "/api/v1/replays",
            json!({"functions": ["{function}"], "from": "2020-01-01T00:00:00Z"}),
            Some("shop-receipt"),
        ),
        post(
            "/api/v1/replays/preview",
            "/api/v1/replays/preview",
            json!({"functions": ["{function}"], "from": "2020-01-01T00:00:00Z"}),
            Some("is_exact"),
        ),
        post(
            "/api/v1/cancellations/preview",
            "/api/v1/cancellations/preview",
            json!({"functions": ["{function}"]}),
            Some("is_exact"),
        ),
        post(
            "/api/v1/cancellations",
            "/api/v1/cancellations",
            json!({"functions": ["{function}"]}),
            Some("shop-receipt"),
        ),
        post(
            "/v1/cancellations",
            "/v1/cancellations",
            json!({"app_id": "{app}", "function_id": "{function}"}),
            Some("shop-receipt"),
        ),
        row(
            Method::DELETE,
            "/api/v1/replays/{replay}",
            "/api/v1/replays/{replay}",
            Some("Stopped"),
        ),
        row(
            Method::DELETE,
            "/api/v1/cancellations/{cancellation}",
            "/api/v1/cancellations/{cancellation}",
            Some("Stopped"),
        ),
        row(
            Method::DELETE,
            "/v1/cancellations/{cancellation}",
            "/v1/cancellations/{cancellation}",
            Some("\"ok\":true"),
        ),
        post(
            "/api/v1/functions/{function}/pause",
            "/api/v1/functions/{function}/pause",
            json!({"new_events": "hold"}),
            Some("\"is_paused\":true"),
        ),
        post(
            "/api/v1/functions/{function}/resume",
            "/api/v1/functions/{function}/resume",
            Value::Null,
            Some("\"is_paused\":false"),
        ),
        post(
            "/v2/runs/{run_id}/cancel",
            "/v2/runs/{run}/cancel",
            Value::Null,
            Some("runId"),
        ),
        post(
            "/api/v1/runs/{run}/cancel",
            "/api/v1/runs/{run}/cancel",
            Value::Null,
            Some("Cancelled"),
        ),
        row(
            Method::DELETE,
            "/api/v1/runs/{run}",
            "/api/v1/runs/{run}",
            None,
        ),
        row(Method::DELETE, "/v1/runs/{run}", "/v1/runs/{run}", None),
        post(
            "/api/v1/apps",
            "/api/v1/apps",
            json!({"url": "http://127.0.0.1:1/"}),
            None,
        ),
        post(
            "/api/v1/functions",
            "/api/v1/functions",
            json!({"app": "mine", "id": "own", "url": "http://127.0.0.1:1/", "triggers": [{"event": "unheard"}]}),
            Some("mine-own"),
        ),
        post(
            "/api/v1/apps/{app}/syncs",
            "/api/v1/apps/{app}/syncs",
            Value::Null,
            None,
        ),
        row(
            Method::DELETE,
            "/api/v1/apps/{app}",
            "/api/v1/apps/{app}",
            None,
        ),
    ]
}

async fn ask(server: &Server, token: &str, ids: &Ids, row: &Row) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let path = ids.fill(row.asked);
    let body: Value = ids.fill(&row.body.to_string()).parse().unwrap();
    server
        .send(row.method.clone(), &path, &body, &headers)
        .await
}

#[tokio::test]
async fn no_operation_shows_or_changes_anything_of_another_tenant() {
    let (server, ids) = two_tenants().await;
    for row in rows() {
        let answer = ask(&server, &of_other(), &ids, &row).await;
        let text = String::from_utf8_lossy(&answer.body);
        let what = format!("{} {}: {text}", row.method, row.path);
        for secret in ["tenant-one", "receipt", "Receipt", "\"shop\"", "\"work\""] {
            assert!(!text.contains(secret), "{what}");
        }
        // Two lists of what hangs on a name are empty for one that does not exist.
        let is_list =
            row.asked.ends_with("/events/{event}/runs") || row.path == "/v1/apps/{app}/functions";
        if row.path.contains('{') {
            let expected = if is_list { 200 } else { 404 };
            assert_eq!(answer.status.as_u16(), expected, "{what}");
        }
    }
    // What they tried has changed nothing, and what is asked shows what it is to hide.
    let (app, run) = (
        ids.fill("/api/v1/apps/{app}"),
        ids.fill("/api/v1/runs/{run}"),
    );
    let bearer = format!("Bearer {}", own("owner"));
    let headers = [("authorization", bearer.as_str())];
    let seen = async |path: &str| {
        server
            .send(Method::GET, path, &Value::Null, &headers)
            .await
            .json()
    };
    let replay = seen(&ids.fill("/api/v1/replays/{replay}")).await;
    assert_eq!(replay["data"]["status"], "Pending");
    let cancellation = ids.fill("/api/v1/cancellations/{cancellation}");
    assert_eq!(seen(&cancellation).await["data"]["status"], "Pending");
    let function = ids.fill("/api/v1/functions/{function}");
    assert_eq!(seen(&function).await["data"]["is_paused"], false);
    assert_eq!(seen(&app).await["data"]["archived_at"], Value::Null);
    assert_eq!(seen(&run).await["data"]["status"], "Scheduled");
    for row in rows() {
        let answer = ask(&server, &own("owner"), &ids, &row).await;
        let text = String::from_utf8_lossy(&answer.body);
        let is_shown = row.shows.is_none_or(|shows| text.contains(shows));
        assert!(is_shown, "{} {}: {text}", row.method, row.path);
    }
    assert!(seen(&app).await["data"]["archived_at"].is_string());
    assert_eq!(seen(&run).await["data"]["status"], "Cancelled");
}

#[tokio::test]
async fn every_operation_of_the_document_has_a_row() {
    let server = Server::dev().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed: BTreeSet<_> = rows()
        .iter()
        .map(|row| (row.method.to_string(), row.path.to_owned()))
        .collect();
    assert_eq!(described, listed);
}
