//! What feeds tell of, and what is read for it, as a client asks for it.

use inngest_core::{ids::DEFAULT_ENV, run::RunStatus, time::Timestamp};
use inngest_state::{Commit, RunChange};
use serde_json::{Value, json};

use crate::{harness::Server, socket::Client};

const ENVIRONMENT: &str = "env_00000000-0000-4000-b000-000000000000";

async fn client(server: &Server) -> Client {
    let mut client = Client::open(server).await;
    client.say(json!({"type": "connection_init"})).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    client
}

/// What a feed tells next.
async fn told(client: &mut Client, id: &str, field: &str) -> Value {
    let message = client.hear_of(id).await;
    let told = message["payload"]["data"][field].clone();
    assert!(told.is_object(), "{message}");
    told
}

/// Begins a run, as if its app had been called.
async fn begin(server: &Server, run: &str) {
    let change = RunChange {
        id: run.parse().unwrap(),
        env: DEFAULT_ENV,
        expected: 1,
        status: RunStatus::Running,
        request_version: 2,
        force_plan: false,
        started_at: Some(Timestamp::from_millis(1)),
        ended: None,
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(change),
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
}

#[tokio::test]
async fn spans_are_told_to_who_selects_them() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let mut client = client(&server).await;
    for (id, fields) in [
        ("with", "kind run { id } spans { kind status }"),
        ("without", "kind run { id }"),
    ] {
        let query = format!("subscription {{ runTraceFeed(runId: \"run_{run}\") {{ {fields} }} }}");
        client.subscribe(id, &query).await;
        assert_eq!(told(&mut client, id, "runTraceFeed").await["kind"], "READY");
    }
    begin(&server, &run).await;
    // In whatever order.
    for _ in 0..2 {
        let message = client.hear().await;
        let told = &message["payload"]["data"]["runTraceFeed"];
        assert_eq!(told["kind"], "UPDATED", "{message}");
        let expected = match message["id"].as_str() {
            Some("with") => json!({"kind": "RUN", "status": "RUNNING"}),
            _ => Value::Null,
        };
        assert_eq!(told["spans"][0], expected, "{message}");
    }
}

#[tokio::test]
async fn searches_and_kinds_of_triggers_decide_what_feeds_tell() {
    let server = Server::dev().await;
    server.register().await;
    let mut client = client(&server).await;
    for (id, feed) in [
        (
            "runs",
            "runFeed(environmentId: \"ENV\", filter: {search: \"event.data.n == 2\"}) { kind run { input } }",
        ),
        (
            "cron",
            "runFeed(environmentId: \"ENV\", filter: {triggerKinds: [CRON]}) { kind }",
        ),
        (
            "sent",
            "runFeed(environmentId: \"ENV\", filter: {triggerKinds: [EVENT]}) { kind run { input } }",
        ),
        (
            "events",
            "eventFeed(environmentId: \"ENV\", filter: {search: \"event.data.n == 2\"}) { kind event { data } }",
        ),
    ] {
        let query = format!(
            "subscription {{ feed: {} }}",
            feed.replace("ENV", ENVIRONMENT)
        );
        client.subscribe(id, &query).await;
        assert_eq!(told(&mut client, id, "feed").await["kind"], "READY");
    }
    for n in [1, 2] {
        let event = json!({"name": "shop/order.placed", "data": {"n": n}});
        server.post("/e/key", &event).await;
    }
    // Each feed tells in its own time: what they have told is gathered until nothing is missing.
    let mut heard: Vec<(String, Value)> = Vec::new();
    while heard.len() < 4 {
        let message = client.hear().await;
        let id = message["id"].as_str().unwrap_or_default().to_owned();
        let feed = &message["payload"]["data"]["feed"];
        if feed["kind"] == "CREATED" {
            let data = [&feed["run"]["input"], &feed["event"]["data"]];
            let data = data.into_iter().find(|it| it.is_object()).cloned();
            heard.push((id, data.unwrap_or_default()));
        }
    }
    heard.sort_by_key(|(id, data)| (id.clone(), data["n"].as_i64()));
    let expected = [("events", 2), ("runs", 2), ("sent", 1), ("sent", 2)];
    let expected = expected.map(|(id, n)| (id.to_owned(), json!({"n": n})));
    assert_eq!(heard, expected);
    let wrong = format!(
        "subscription {{ runFeed(environmentId: \"{ENVIRONMENT}\", filter: {{search: \"event.data.n >\"}}) {{ kind }} }}"
    );
    client.subscribe("wrong", &wrong).await;
    let message = client.hear_of("wrong").await.to_string();
    assert!(message.contains("INVALID_EXPRESSION"), "{message}");
}

#[tokio::test]
async fn apps_and_functions_are_told_as_they_are_registered_and_removed() {
    let server = Server::dev().await;
    let mut client = client(&server).await;
    let feed = format!(
        "subscription {{ appFeed(environmentId: \"{ENVIRONMENT}\") {{ kind cursor app {{ externalId functions {{ nodes {{ slug }} }} }} \
         function {{ slug app {{ externalId }} }} removedId }} }}"
    );
    client.subscribe("apps", &feed).await;
    let ready = told(&mut client, "apps", "appFeed").await;
    assert_eq!(ready["kind"], "READY");
    server.register().await;
    let (mut apps, mut functions) = (Vec::new(), Vec::new());
    while apps.is_empty() || functions.is_empty() {
        let news = told(&mut client, "apps", "appFeed").await;
        assert_eq!(news["kind"], "CREATED", "{news}");
        apps.extend(news["app"].as_object().cloned());
        functions.extend(news["function"].as_object().cloned());
    }
    assert_eq!(apps[0]["externalId"], functions[0]["app"]["externalId"]);
    let other = format!(
        "subscription {{ appFeed(environmentId: \"env_00000000-0000-4000-b000-000000000009\", after: {}) {{ kind }} }}",
        ready["cursor"]
    );
    client.subscribe("other", &other).await;
    let refused = client.hear_of("other").await.to_string();
    assert!(
        refused.contains("there is no such environment"),
        "{refused}"
    );
}
