//! Functions that are stored one by one over REST.

use serde_json::{Value, json};

use crate::harness::Server;

fn invoice() -> Value {
    json!({
        "app": "billing", "id": "send-invoice", "name": "Send invoice", "url": "http://127.0.0.1:9/api/inngest",
        "triggers": [{"event": "order/paid", "expression": "event.data.total > 0"}, {"cron": "0 6 * * 1"}],
        "retries": 3, "concurrency": [{"limit": 5, "key": "event.data.customer"}]
    })
}

async fn put(server: &Server, function: &Value) -> Value {
    let answer = server.post("/api/v1/functions", function).await;
    let body = answer.json();
    assert_eq!(answer.status.as_u16(), 200, "{body}");
    body["data"].clone()
}

#[tokio::test]
async fn function_is_stored_with_its_app_and_beside_the_others() {
    let server = Server::dev().await;
    let stored = put(&server, &invoice()).await;
    assert_eq!(stored["id"], "billing-send-invoice", "{stored}");
    assert_eq!(stored["version"], 1, "{stored}");
    // The same again is the same.
    assert_eq!(put(&server, &invoice()).await, stored);

    let mut other = invoice();
    other["id"] = json!("remind");
    other["triggers"] = json!([{"event": "order/late"}]);
    put(&server, &other).await;
    let mut changed = invoice();
    changed["retries"] = json!(0);
    assert_eq!(put(&server, &changed).await["version"], 2);
    let list = server.get("/api/v1/functions").await.json();
    let listed = list["data"].as_array().unwrap().iter();
    let listed: Vec<_> = listed.map(|it| (&it["id"], &it["version"])).collect();
    let expected = [
        (json!("billing-remind"), json!(1)),
        (json!("billing-send-invoice"), json!(2)),
    ];
    assert_eq!(
        listed,
        expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>()
    );
    let apps = server.get("/api/v1/apps").await.json();
    assert_eq!(apps["data"].as_array().unwrap().len(), 1, "{apps}");
    assert_eq!(apps["data"][0]["name"], "billing");

    // It is started as any other.
    let event = json!({"name": "order/paid", "data": {"total": 5}});
    let sent = server.post("/api/v1/events", &event).await.json();
    let runs = format!("/api/v1/events/{}/runs", sent["ids"][0].as_str().unwrap());
    let runs = server.get(&runs).await.json();
    assert_eq!(
        runs["data"][0]["function_slug"], "billing-send-invoice",
        "{runs}"
    );
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_changes_nothing() {
    let server = Server::dev().await;
    put(&server, &invoice()).await;
    for (change, status, code) in [
        (
            json!({"triggers": [{"cron": "whenever"}]}),
            422,
            "config_invalid",
        ),
        (
            json!({"triggers": [{"event": "a", "expression": "event.data.n >"}]}),
            422,
            "config_invalid",
        ),
        (json!({"url": "billing.internal"}), 422, "invalid_request"),
        (json!({"retries": 21}), 422, "retries_invalid"),
        (json!({"retries": "many"}), 422, "invalid_body"),
        (json!({"app": ""}), 422, "invalid_request"),
    ] {
        let mut wrong = invoice();
        wrong["id"] = json!("other");
        for (member, value) in change.as_object().unwrap() {
            wrong[member] = value.clone();
        }
        let answer = server.post("/api/v1/functions", &wrong).await;
        let body = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &body["code"]),
            (status, &json!(code)),
            "{change}: {body}"
        );
    }
    let list = server.get("/api/v1/functions").await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
}
