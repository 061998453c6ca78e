//! Figures of events by name, and what an organization has used, by GraphQL.

use inngest_core::{
    event::Event,
    ids::{DEFAULT_ENV, DEFAULT_ORG, EventId},
    json::Json,
    time::Timestamp,
};
use inngest_state::{Commit, NewEvent};
use serde_json::{Value, json};

use crate::{
    charts::{HOUR, ago, keys, last, metrics, roll, six_runs, totals},
    harness::NOW,
    permissions::{ask, of_other, own, two_tenants},
};

#[tokio::test]
async fn events_are_told_by_name_and_with_the_rest() {
    let server = six_runs().await;
    server.post("/e/key", &json!({"name": "other"})).await;
    roll(&server).await;
    let hour = last(HOUR);
    let found = metrics(
        &server,
        &format!(
            "all: events({hour}) {{ key total }}
             top: events({hour}, top: 1) {{ key label total node {{ id ... on EventType {{ name }} }} }}
             named: events({hour}, bucket: FIVE_MINUTES, names: [\"other\", \"none\", \"go/1\"]) {{ key label bucket total node {{ id }} points {{ value }} }}"
        ),
    )
    .await;
    assert_eq!(found["all"], json!([{"key": "total", "total": 7.0}]));
    let top = &found["top"];
    assert_eq!(keys(top), ["go/0", "Other"]);
    assert_eq!(totals(top), [3.0, 4.0]);
    let node = json!({"id": top[0]["key"], "name": "go/0"});
    assert_eq!((&top[0]["node"], &top[1]["node"]), (&node, &Value::Null));
    // An event may be called what a series is.
    assert_ne!(found["named"][0]["key"], top[1]["key"]);
    let named = &found["named"];
    assert_eq!(keys(named), ["other", "none", "go/1"]);
    assert_eq!(totals(named), [1.0, 0.0, 2.0]);
    assert_eq!(named[1]["node"], Value::Null);
    assert_eq!(named[2]["node"]["id"], named[2]["key"]);
    assert_eq!(named[2]["bucket"], "FIVE_MINUTES");
    let points = named[2]["points"].as_array().unwrap();
    assert_eq!(points[0]["value"], json!(0.0));
    assert_eq!(points.last().unwrap()["value"], json!(2.0));
}

#[tokio::test]
async fn name_of_events_has_its_volume_and_one_of_the_server_has_none() {
    let server = six_runs().await;
    let hour = last(HOUR);
    let query = format!(
        "{{ environment {{ eventTypes(nameContains: \"go/\") {{ nodes {{ name id volume({hour}) {{ key label total }} }} }}
            unheard: eventType(name: \"inngest/function.finished\") {{ volume({hour}) {{ total }} }} }} }}"
    );
    let finished = NewEvent {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        event: Event {
            door: None,
            id: EventId::from_raw(ulid::Ulid(7)),
            key: "finished".to_owned(),
            name: "inngest/function.finished".to_owned(),
            ts: Timestamp::from_millis(NOW),
            received_at: Timestamp::from_millis(NOW),
            body: Json::empty_object(),
        },
        may_exist: false,
        runs: Vec::new(),
    };
    let commit = Commit {
        events: vec![finished],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    roll(&server).await;
    let found = server.query(&query, json!({})).await;
    let nodes = &found["environment"]["eventTypes"]["nodes"];
    for (place, total) in [(0, 3.0), (1, 2.0), (2, 1.0)] {
        let (node, name) = (&nodes[place], format!("go/{place}"));
        assert_eq!(node["name"], name);
        let volume = json!({"key": node["id"], "label": name, "total": total});
        assert_eq!(node["volume"], volume);
    }
    assert_eq!(found["environment"]["unheard"], json!({"volume": null}));

    // Each is refused by itself.
    let (empty, own) = (
        format!("range: {{from: \"{}\", until: \"{}\"}}", ago(0), ago(HOUR)),
        "eventType(name: \"go/0\")",
    );
    let query = format!(
        "{{ environment {{ bad: {own} {{ name volume({empty}) {{ total }} }} good: {own} {{ volume({hour}) {{ total }} }} }} }}"
    );
    let answer = server
        .post("/graphql", &json!({"query": query}))
        .await
        .json();
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{answer}");
    assert_eq!(errors[0]["extensions"]["reason"], "empty_range");
    let environment = &answer["data"]["environment"];
    assert_eq!(environment["bad"], json!({"name": "go/0", "volume": null}));
    assert_eq!(environment["good"], json!({"volume": {"total": 3.0}}));
}

#[tokio::test]
async fn tenants_are_told_of_their_own_events_and_usage() {
    let (server, _) = two_tenants().await;
    let day = "range: {from: \"2026-06-01T00:00:00Z\"}";
    let query = format!(
        "{{ organization {{ usage({day}) {{ events runs steps peakConcurrency }} }} environment {{ metrics {{
            top: events({day}, top: 5) {{ label total }} named: events({day}, names: [\"shop/order.placed\"]) {{ total }} }} }} }}"
    );
    for (token, events) in [(own("viewer"), 1), (of_other(), 0)] {
        let found = ask(&server, &token, &query, json!({})).await;
        assert!(found.get("errors").is_none(), "{found}");
        let found = &found["data"];
        let used = json!({"events": events, "runs": 0, "steps": 0, "peakConcurrency": 0});
        assert_eq!(found["organization"]["usage"], used);
        let metrics = &found["environment"]["metrics"];
        let top = match events {
            0 => json!([]),
            _ => json!([{"label": "shop/order.placed", "total": 1.0}]),
        };
        assert_eq!(metrics["top"], top);
        assert_eq!(metrics["named"], json!([{"total": f64::from(events)}]));
    }
}

#[tokio::test]
async fn usage_is_told_of_all_functions_together() {
    let server = six_runs().await;
    let query = format!(
        "{{ organization {{ usage({}) {{ events runs steps peakConcurrency }} }} }}",
        last(HOUR)
    );
    let found = server.query(&query, json!({})).await;
    let used = json!({"events": 6, "runs": 5, "steps": 0, "peakConcurrency": 0});
    assert_eq!(found["organization"]["usage"], used);
}
