//! What became of an event with each function that listens to it.

use std::collections::HashMap;

use inngest_core::{
    access::Actor,
    ids::{EventId, FunctionId, RunId},
};
use inngest_services::{
    DispatchOutcome, PauseRequest, Rerun,
    testing::{App, Fixture},
};
use serde_json::{Value, json};

use crate::{HOUR, id_of, on};

/// A trigger with a condition.
fn when(condition: &str) -> Value {
    json!({"triggers": [{"event": "go", "expression": condition}]})
}

/// Functions that are started by `go`, each in its own way; their names by id.
async fn app(fixture: &Fixture) -> (App, HashMap<FunctionId, &'static str>) {
    let app = fixture.app("shop").await;
    let mut once = on("go");
    once["idempotency"] = json!("event.data.order");
    for (name, config) in [
        ("always", on("go")),
        ("big", when("event.data.n > 10")),
        ("broken", when("event.data.n + 1")),
        ("once", once),
        ("other", on("other")),
    ] {
        app.function(name, config, |_| Ok(json!(1)));
    }
    app.sync(&fixture.services()).await;
    let mut names = HashMap::new();
    for name in ["always", "big", "broken", "once", "other"] {
        names.insert(id_of(&fixture.services(), &app.slug(name)).await, name);
    }
    (app, names)
}

async fn told(
    fixture: &Fixture,
    names: &HashMap<FunctionId, &'static str>,
    event: EventId,
) -> Vec<(&'static str, DispatchOutcome, Option<RunId>)> {
    let services = fixture.services();
    let found = services.events().dispatches(&Actor::dev(), &[event]).await;
    let found = found.unwrap().remove(&event).unwrap_or_default();
    for dispatch in &found {
        let is_plain = dispatch.outcome == DispatchOutcome::Started;
        assert_eq!(dispatch.detail.is_none(), is_plain, "{dispatch:?}");
    }
    let told = found
        .iter()
        .map(|it| (names[&it.function], it.outcome, it.run));
    told.collect()
}

#[tokio::test]
async fn every_function_that_listens_says_what_it_made_of_an_event() {
    use DispatchOutcome::{Duplicate, ExpressionError, NotMatched, SkippedPaused, Started};
    let fixture = Fixture::start().await;
    let (_app, names) = app(&fixture).await;
    let first = fixture.send("go", json!({"n": 5, "order": "o-1"})).await;
    fixture.settle().await;
    let started = fixture.runs_of(first).await;
    let run = |name| {
        let run = started.iter().find(|run| names[&run.function] == name);
        run.map(|run| run.id)
    };
    assert_eq!(
        told(&fixture, &names, first).await,
        [
            ("always", Started, run("always")),
            ("big", NotMatched, None),
            ("broken", ExpressionError, None),
            ("once", Started, run("once")),
        ]
    );
    // The same order, while one function is paused.
    let services = fixture.services();
    let always = *names.iter().find(|(_, name)| **name == "always").unwrap().0;
    let functions = services.functions();
    let actor = Actor::dev();
    let pause = functions.pause(&actor, always, PauseRequest::default());
    pause.await.unwrap();
    let second = fixture.send("go", json!({"n": 50, "order": "o-1"})).await;
    fixture.settle().await;
    let own = fixture.runs_of(second).await;
    let own = |name| {
        let run = own.iter().find(|run| names[&run.function] == name);
        run.map(|run| run.id)
    };
    assert_eq!(
        told(&fixture, &names, second).await,
        [
            ("always", SkippedPaused, own("always")),
            ("big", Started, own("big")),
            ("broken", ExpressionError, None),
            ("once", Duplicate, run("once")),
        ]
    );
    // A rerun of the first run is no decision about its event.
    let runs = services.runs();
    let rerun = runs.rerun(&actor, run("once").unwrap(), Rerun::default(), None);
    rerun.await.unwrap();
    fixture.settle().await;
    assert_eq!(told(&fixture, &names, first).await.len(), 4);
    // When the key has expired nothing is known any more.
    fixture.advance(HOUR * 25).await;
    let later = told(&fixture, &names, second).await;
    assert!(later.iter().all(|(name, ..)| *name != "once"), "{later:?}");
}

#[tokio::test]
async fn functions_that_came_later_say_nothing_and_many_events_cost_what_one_does() {
    let fixture = Fixture::start().await;
    let before = fixture.send("go", json!({"n": 1})).await;
    fixture.advance(HOUR).await;
    let (_app, names) = app(&fixture).await;
    assert_eq!(told(&fixture, &names, before).await, []);
    let mut sent = Vec::new();
    for n in 0..50 {
        sent.push(fixture.send("go", json!({"n": n, "order": "one"})).await);
    }
    let services = fixture.services();
    let mut costs = Vec::new();
    for ids in [&sent[..5], &sent[..]] {
        let before = fixture.store().statements();
        let found = services.events().dispatches(&Actor::dev(), ids).await;
        assert_eq!(found.unwrap().len(), ids.len());
        costs.push(fixture.store().statements() - before);
    }
    assert_eq!(costs, [3, 3]);
    fixture.settle().await;
}
