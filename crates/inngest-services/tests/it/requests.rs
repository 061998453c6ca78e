//! Requests that are made twice.

use inngest_core::{access::Actor, ids::EventId, json::Json, wire::event::parse_events};
use inngest_services::{Error, Kind, RequestKey, testing::Fixture};
use serde_json::{Value, json};

use crate::{HOUR, on};

async fn send(fixture: &Fixture, events: Value, key: Option<&str>) -> Result<Vec<EventId>, Error> {
    let services = fixture.services();
    let input = Json::from_value(&events);
    let key = key.map(|key| RequestKey::new(key, "sendEvents", &input).unwrap());
    let body = events.to_string();
    let events = parse_events(body.as_bytes(), None, None, fixture.now(), services.ids()).unwrap();
    services.events().send(&Actor::dev(), events, key).await
}

async fn fixture() -> (Fixture, inngest_services::testing::App) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("f", on("go"), |_| Ok(json!(null)))
        .function("signalled", on("wait"), |script| {
            script.signal("s", "ready", "1h")
        })
        .sync(&fixture.services())
        .await;
    (fixture, app)
}

#[tokio::test]
async fn events_sent_twice_with_a_key_are_stored_once() {
    let (fixture, _app) = fixture().await;
    let events = json!([{"name": "go"}, {"name": "nobody"}]);
    let first = send(&fixture, events.clone(), Some("k")).await.unwrap();
    assert_eq!(
        send(&fixture, events.clone(), Some("k")).await.unwrap(),
        first
    );
    fixture.settle().await;
    assert_eq!(fixture.runs().await.len(), 1);
    let other = send(&fixture, json!([{"name": "go"}]), Some("k"))
        .await
        .unwrap_err();
    assert_eq!(other.kind(), Kind::Conflict);
    assert_ne!(send(&fixture, events, None).await.unwrap(), first);
    fixture.settle().await;
}

#[tokio::test]
async fn event_with_a_known_id_is_answered_with_the_first_one() {
    let (fixture, _app) = fixture().await;
    // The first came by another door.
    let first = fixture
        .send_event(json!({"name": "go", "id": "order-1"}))
        .await;
    let event = json!([{"name": "go", "id": "order-1"}, {"name": "go"}]);
    let again = send(&fixture, event.clone(), None).await.unwrap();
    assert_eq!(again[0], first);
    assert_ne!(again[1], first);
    // Also in one request, and through the key of a request.
    let pair = json!([{"name": "go", "id": "x"}, {"name": "go", "id": "x"}]);
    let ids = send(&fixture, pair, None).await.unwrap();
    assert_eq!(ids[0], ids[1]);
    let keyed = send(&fixture, event.clone(), Some("k")).await.unwrap();
    assert_eq!(keyed[0], first);
    assert_eq!(
        send(&fixture, event.clone(), Some("k")).await.unwrap(),
        keyed
    );
    fixture.settle().await;
    fixture.advance(24 * HOUR).await;
    assert_ne!(send(&fixture, event, None).await.unwrap()[0], first);
    fixture.settle().await;
}

#[tokio::test]
async fn signal_and_invoke_with_a_key_have_one_effect() {
    let (fixture, _app) = fixture().await;
    let services = fixture.services();
    let key = |key: &str| Some(RequestKey::new(key, "x", &Json::null()).unwrap());
    let signal = async |with| {
        services
            .signals()
            .send(&Actor::dev(), "ready", Json::null(), with)
            .await
    };
    // Nobody waits, and that stays so for this request.
    assert_eq!(
        signal(key("early")).await.unwrap_err().kind(),
        Kind::NotFound
    );
    let event = fixture.send("wait", json!({})).await;
    fixture.settle().await;
    assert_eq!(
        signal(key("early")).await.unwrap_err().kind(),
        Kind::NotFound
    );
    let run = fixture.run_of(event).await.id;
    assert_eq!(signal(key("k")).await.unwrap(), run);
    assert_eq!(signal(key("k")).await.unwrap(), run);
    assert_eq!(signal(None).await.unwrap_err().kind(), Kind::NotFound);

    let invoke = async |with| {
        let event = inngest_core::wire::event::parse_invoke(
            b"{}",
            "shop-f",
            None,
            fixture.now(),
            services.ids(),
        )
        .unwrap();
        services
            .events()
            .invoke(&Actor::dev(), "shop-f", event, with)
            .await
            .unwrap()
    };
    let first = invoke(key("i")).await;
    assert_eq!(invoke(key("i")).await, first);
    assert_eq!(fixture.runs_of(first).await.len(), 1);
    assert_ne!(invoke(None).await, first);
    fixture.settle().await;
}
