//! Lists of large events and results: pages end early, searches go on in smaller slices, and what is asked for together is refused when it
//! is too much.

use inngest_core::{
    access::Actor,
    ids::{EventId, RunId},
    page::{Direction, PageRequest},
    run::RunStatus,
};
use inngest_services::{Error, EventFilter, RunFilter, testing::Fixture};
use serde_json::{Value, json};

use crate::on;

/// Nearly as much as an event may have.
fn large() -> String {
    "x".repeat(2_900_000)
}

fn assert_too_large<T>(refused: Result<T, Error>) {
    match refused {
        Err(Error::TooLarge { code, .. }) => assert_eq!(code, "payloads_too_large"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("all of it was read"),
    }
}

/// Ten events of 2.9 MB each, `n` from 0 to 9, whose runs have ended with as much.
async fn fixture() -> (Fixture, Vec<EventId>) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("echo", on("go"), |script| {
        Ok(json!(script.event()["data"]["text"]))
    })
    .sync(&fixture.services())
    .await;
    let mut events = Vec::new();
    for n in 0..10 {
        let data = json!({"n": n, "text": large()});
        events.push(fixture.send("go", data).await);
    }
    fixture.settle().await;
    (fixture, events)
}

/// How many entries the pages of a list have, and the entries.
async fn pages<T>(
    backward: bool,
    mut read: impl AsyncFnMut(&PageRequest) -> (Vec<T>, Option<String>),
) -> (Vec<usize>, Vec<T>) {
    let mut request = PageRequest {
        backward,
        ..PageRequest::new(100, None)
    };
    let (mut sizes, mut all) = (Vec::new(), Vec::new());
    loop {
        let (mut page, next) = read(&request).await;
        if backward {
            page.reverse();
        }
        sizes.push(page.len());
        all.extend(page);
        match next {
            Some(next) => request.from = Some(next),
            None => return (sizes, all),
        }
    }
}

#[tokio::test]
async fn pages_of_large_events_end_early_and_leave_none_out() {
    let (fixture, mut sent) = fixture().await;
    let services = fixture.services();
    let filter = EventFilter::default();
    for backward in [false, true] {
        let read = async |request: &PageRequest| {
            let (actor, events) = (Actor::dev(), services.events());
            let found = events.page(&actor, &filter, None, Direction::Ascending, request);
            let page = found.await.unwrap().page;
            let (next, goes_on) = match backward {
                false => (page.cursors.last(), page.has_next),
                true => (page.cursors.first(), page.has_previous),
            };
            let next = next.cloned().filter(|_| goes_on);
            (page.items, next)
        };
        let (sizes, events) = pages(backward, read).await;
        assert_eq!(sizes, [2, 2, 2, 2, 2]);
        let found: Vec<EventId> = events.iter().map(|event| event.id).collect();
        assert_eq!(found, sent);
        sent.reverse();
    }
}

#[tokio::test]
async fn searches_find_what_stands_among_large_events_and_results() {
    let (fixture, sent) = fixture().await;
    let services = fixture.services();
    let actor = Actor::dev();
    let request = PageRequest::new(100, None);
    for (text, expected) in [
        ("event.data.n == 9", vec![9]),
        // No part of it is asked of the database.
        (
            "event.data.n * 2 == 18 || event.data.n * 3 == 3",
            vec![9, 1],
        ),
    ] {
        let events = services.events();
        let filter = EventFilter::default();
        let found = events.page(&actor, &filter, Some(text), Direction::Descending, &request);
        let found = found.await.unwrap();
        let ids: Vec<EventId> = found.page.items.iter().map(|event| event.id).collect();
        let wanted: Vec<EventId> = expected.iter().map(|n| sent[*n]).collect();
        assert_eq!(
            (ids, found.page.has_next),
            (wanted.clone(), false),
            "{text}"
        );

        let runs = services.runs();
        let filter = RunFilter {
            now: fixture.now(),
            ..RunFilter::default()
        };
        let found = runs.page(&actor, &filter, Some(text), Direction::Descending, &request);
        let found = found.await.unwrap();
        let ids: Vec<EventId> = found.page.items.iter().map(|run| run.events[0]).collect();
        assert_eq!((ids, found.page.has_next), (wanted, false), "{text}");
    }
}

#[tokio::test]
async fn what_is_too_much_together_is_refused_by_name() {
    let (fixture, sent) = fixture().await;
    let services = fixture.services();
    let actor = Actor::dev();
    // Ten of them are less than 64 MiB.
    let found = services.events().get_many(&actor, &sent).await.unwrap();
    assert_eq!(found.len(), 10);
    let mut more = sent.clone();
    for n in 10..24 {
        let data = json!({"n": n, "text": large()});
        more.push(fixture.send("other", data).await);
    }
    let refused = services.events().get_many(&actor, &more).await;
    assert_too_large(refused);

    let runs: Vec<RunId> = fixture.runs().await.iter().map(|run| run.id).collect();
    let found = services.runs().get_many(&actor, &runs).await.unwrap();
    assert_eq!(found.len(), 10);
    for run in found.values() {
        assert_eq!(run.status, RunStatus::Completed);
        let output = run.ended.as_ref().unwrap().output.to_value();
        assert!(matches!(output, Value::String(text) if text.len() == 2_900_000));
    }
}

#[tokio::test]
async fn lists_of_many_parents_are_bounded_together() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("ends", on("ends"), |_| Ok(json!(large())))
        .function("keeps", on("keeps"), |script| {
            script.step("keep", |_| Ok(json!(large())))?;
            Ok(json!(null))
        })
        .sync(&fixture.services())
        .await;
    let (mut ends, mut keeps) = (Vec::new(), Vec::new());
    for n in 0..24 {
        ends.push(fixture.send("ends", json!({"n": n})).await);
        keeps.push(fixture.send("keeps", json!({"n": n})).await);
    }
    fixture.settle().await;
    let (services, actor) = (fixture.services(), Actor::dev());
    let (runs, request) = (services.runs(), PageRequest::new(50, None));
    // 20 of them have 58 MB, which is less than 64 MiB; 24 have more.
    let few = runs.page_of_events(&actor, &ends[..20], &request).await;
    let few = few.unwrap();
    let ended = few.values().filter(|page| page.items[0].ended.is_some());
    assert_eq!(ended.count(), 20);
    assert_too_large(runs.page_of_events(&actor, &ends, &request).await);
    let mut ids: Vec<RunId> = Vec::new();
    for event in &keeps {
        ids.push(fixture.run_of(*event).await.id);
    }
    let few = runs.steps_of(&actor, &ids[..20]).await.unwrap();
    assert!(few.values().all(|steps| steps[0].memo.is_some()));
    assert_too_large(runs.steps_of(&actor, &ids).await);
}
