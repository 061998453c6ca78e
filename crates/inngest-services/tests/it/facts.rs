//! Who asked for what, and what guarded it: facts that people ask for and nothing is decided by.

use inngest_core::{
    access::{Actor, Author, Role},
    event::{Door, FUNCTION_FINISHED, SourceKind},
    ids::{DEFAULT_ENV, DEFAULT_ORG, EventId, RunId},
    json::Json,
    page::{Direction, MAX_PAGE, PageRequest},
    run::{Run, RunStatus},
    time::Timestamp,
    wire::event::{parse_events, parse_invoke},
};
use inngest_services::{
    Beginning, BulkRequest, EventFilter, Rerun,
    testing::{App, Fixture, Options},
};
use serde_json::{Value, json};

use crate::{
    bulk::{all_of, three_functions},
    on, on_with,
};

fn ann() -> Actor {
    let token = Actor::token(DEFAULT_ORG, DEFAULT_ENV, Role::Member, Timestamp::MAX);
    token.named("ann")
}

fn by_ann() -> Option<Author> {
    Some(ann().author())
}

async fn keyed() -> (Fixture, App) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let config = on_with("go", json!({"idempotency": "event.data.order"}));
    app.function("keyed", config, |_| Ok(json!(null)))
        .function("free", on("free"), |_| Ok(json!(null)))
        .sync(&fixture.services())
        .await;
    (fixture, app)
}

async fn invoke(fixture: &Fixture, actor: &Actor, slug: &str) -> EventId {
    let services = fixture.services();
    let now = fixture.now();
    let event = parse_invoke(b"{\"data\":{}}", slug, None, now, services.ids()).unwrap();
    let events = services.events();
    let invoked = events.invoke(actor, slug, event, None).await;
    invoked.unwrap()
}

async fn rerun(fixture: &Fixture, run: RunId) -> Run {
    let services = fixture.services();
    let (runs, actor) = (services.runs(), ann());
    let again = runs.rerun(&actor, run, Rerun::default(), None).await;
    again.unwrap()
}

#[tokio::test]
async fn run_tells_the_value_that_guards_it_cut_to_its_bound() {
    let (fixture, _app) = keyed().await;
    let (long, cut) = ("é".repeat(300), "é".repeat(128));
    for (order, shown) in [
        (json!("o-1"), Some("o-1")),
        (json!(42), Some("42")),
        (json!(["a", {"b": 1}]), Some(r#"["a",{"b":1}]"#)),
        (
            json!(format!("x{long}")),
            Some(&*format!("x{}", "é".repeat(127))),
        ),
        (json!(long), Some(&*cut)),
        (json!("a\0b"), Some("a\u{fffd}b")),
        (Value::Null, None),
    ] {
        let event = fixture.send("go", json!({"order": order})).await;
        let run = fixture.run_of(event).await;
        assert_eq!(run.idempotency_key.as_deref(), shown, "{order}");
    }
    // What differs only beyond the bound is still another key.
    let event = fixture.send("go", json!({"order": format!("{long}!")}));
    let run = fixture.run_of(event.await).await;
    assert_eq!(run.idempotency_key, Some(cut));
    let event = fixture.send("free", json!({"order": "o-1"})).await;
    let run = fixture.run_of(event).await;
    assert_eq!((run.idempotency_key, run.started_by), (None, None));
    fixture.settle().await;
}

#[tokio::test]
async fn repetition_tells_who_asked_for_it_and_no_key() {
    let (fixture, _app) = keyed().await;
    let event = fixture.send("go", json!({"order": "o-1"})).await;
    fixture.settle().await;
    let first = fixture.run_of(event).await;
    let again = rerun(&fixture, first.id).await;
    assert_eq!((again.idempotency_key, again.started_by), (None, by_ann()));
    fixture.settle().await;
    let request = BulkRequest {
        statuses: Some(vec![RunStatus::Completed]),
        ..all_of(&fixture, "shop-keyed").await
    };
    let services = fixture.services();
    let replay = services.bulk().replay(&ann(), request, None).await.unwrap();
    fixture.settle().await;
    let runs = fixture.runs().await;
    let replayed: Vec<&Run> = runs
        .iter()
        .filter(|run| run.replay == Some(replay.id))
        .collect();
    assert!(!replayed.is_empty());
    assert!(replayed.iter().all(|run| run.started_by == by_ann()));
}

#[tokio::test]
async fn run_that_was_invoked_through_an_api_tells_by_whom() {
    let (fixture, app) = keyed().await;
    app.function("parent", on("parent"), |script| {
        script.invoke("child", "shop-free", json!({}), "1h")
    })
    .sync(&fixture.services())
    .await;
    let event = invoke(&fixture, &ann(), "shop-free").await;
    assert_eq!(fixture.run_of(event).await.started_by, by_ann());
    fixture.settle().await;
    fixture.send("parent", json!({})).await;
    fixture.settle().await;
    let runs = fixture.runs().await;
    let child = runs.iter().find(|run| run.correlation.is_some()).unwrap();
    assert_eq!(child.started_by, None);
}

#[tokio::test]
async fn event_tells_through_which_door_it_came_and_who_sent_it() {
    let (fixture, _app) = keyed().await;
    let services = fixture.services();
    let door_of = async |id: EventId| {
        let found = services.events().get(&Actor::dev(), id).await.unwrap();
        (found.source_kind(), found.door)
    };
    let sent = fixture.send("free", json!({})).await;
    let ingested = (Some(SourceKind::EventApi), Some(Door::Ingest));
    assert_eq!(door_of(sent).await, ingested);
    let asked = (Some(SourceKind::Api), Some(Door::Api(ann().author())));
    let body = json!([{"name": "free"}]).to_string();
    let events = parse_events(body.as_bytes(), None, None, fixture.now(), services.ids()).unwrap();
    let posted = services.events().send(&ann(), events, None).await.unwrap();
    assert_eq!(door_of(posted[0]).await, asked);
    let invoked = invoke(&fixture, &ann(), "shop-free").await;
    assert_eq!(door_of(invoked).await, asked);
    fixture.settle().await;
    let run = fixture.run_of(sent).await;
    let edited = Rerun {
        from: Beginning::Data(Json::empty_object()),
        ..Rerun::default()
    };
    let again = services.runs().rerun(&ann(), run.id, edited, None).await;
    assert_eq!(door_of(again.unwrap().events[0]).await, asked);
    fixture.settle().await;
    let filter = EventFilter {
        with_internal: true,
        sources: Some(vec![SourceKind::System]),
        ..EventFilter::default()
    };
    let request = PageRequest::new(MAX_PAGE, None);
    let (events, dev) = (services.events(), Actor::dev());
    let listed = events.list(&dev, &filter, Direction::Ascending, &request);
    let names: Vec<String> = listed
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, [FUNCTION_FINISHED; 4]);
}

#[tokio::test]
async fn cancelled_run_tells_who_cancelled_it() {
    let (fixture, _app) = three_functions(Options::default()).await;
    let alone = fixture.send("nap", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(alone).await;
    let services = fixture.services();
    let run = services.runs().cancel(&ann(), run.id).await.unwrap();
    assert_eq!(run.ended.unwrap().cancelled_by, by_ann());
    let of_many = fixture.send("nap", json!({})).await;
    fixture.settle().await;
    let request = all_of(&fixture, "shop-nap").await;
    services.bulk().cancel(&ann(), request, None).await.unwrap();
    fixture.settle().await;
    let run = fixture.run_of(of_many).await;
    assert_eq!(run.status, RunStatus::Cancelled);
    assert_eq!(run.ended.unwrap().cancelled_by, by_ann());
    let done = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_eq!(fixture.run_of(done).await.ended.unwrap().cancelled_by, None);
}
