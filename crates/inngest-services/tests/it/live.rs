//! Live views: nothing is lost between a list and its feed, over a disconnect, a restart, or from process to process; who is slow gets the
//! newest state; and who may no longer see is cut off.

use std::{collections::HashMap, pin::Pin, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use inngest_core::{
    access::Actor,
    ids::{DEFAULT_ENV, DEFAULT_ORG, EventId, RunId},
    run::RunStatus,
};
use inngest_services::{
    AppNews, Error, EventFeedFilter, EventNews, FeedCursor, PartNews, PauseRequest, QueueTick,
    RunFeedFilter, RunNews, Services, Standing, Update,
    testing::{App, Fixture, Flow, Options},
};
use serde_json::json;

use crate::on;

type News<T> = Pin<Box<dyn Stream<Item = Result<Update<T>, Error>> + Send>>;

fn dev() -> Standing {
    Standing::of(Actor::dev())
}

async fn runs(
    services: &Services,
    filter: RunFeedFilter,
    after: Option<FeedCursor>,
) -> News<RunNews> {
    let live = services.live();
    Box::pin(live.watch_runs(dev(), filter, after).await.unwrap())
}

async fn all_runs(services: &Services, after: Option<FeedCursor>) -> News<RunNews> {
    runs(services, RunFeedFilter::default(), after).await
}

async fn next<T>(stream: &mut News<T>) -> Update<T> {
    tokio::time::timeout(Duration::from_secs(20), stream.next())
        .await
        .expect("news within 20 s")
        .expect("the stream goes on")
        .unwrap()
}

/// An app with the function `job`, started by `go`, of one step.
async fn app(fixture: &Fixture) -> App {
    let app = fixture.app("shop").await;
    app.function("job", on("go"), |script| {
        script.step("first", |_| Ok(json!(1)))?;
        Ok(json!("done"))
    })
    .sync(&fixture.services())
    .await;
    app
}

/// The newest state of each run as the messages tell it, until `count` runs have ended; and the last cursor.
async fn until_ended(
    stream: &mut News<RunNews>,
    known: &mut HashMap<RunId, (u64, RunStatus)>,
    count: usize,
) -> FeedCursor {
    loop {
        let update = next(stream).await;
        if let RunNews::Created(run) | RunNews::Updated(run) = update.news {
            let told = known.insert(run.id, (run.revision, run.status));
            assert!(told.is_none_or(|(revision, _)| revision <= run.revision));
        }
        if known
            .values()
            .filter(|(_, status)| status.is_ended())
            .count()
            == count
        {
            return update.cursor;
        }
    }
}

#[tokio::test]
async fn feed_tells_of_every_run_and_its_end() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let mut stream = all_runs(&fixture.services(), None).await;
    assert_eq!(next(&mut stream).await.news, RunNews::Ready);
    fixture.send("go", json!({})).await;
    assert!(matches!(next(&mut stream).await.news, RunNews::Created(_)));
    fixture.settle().await;
    let mut known = HashMap::new();
    until_ended(&mut stream, &mut known, 1).await;
    for run in fixture.runs().await {
        assert_eq!(known[&run.id], (run.revision, run.status));
    }
}

#[tokio::test]
async fn feed_goes_on_from_its_cursor_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::with(Options {
        directory: Some(directory.path().to_owned()),
        ..Options::default()
    })
    .await;
    let _app = app(&fixture).await;
    // As a page does it: the position first, then the list, then the feed.
    let begin = fixture
        .services()
        .live()
        .position(&Actor::dev())
        .await
        .unwrap();
    fixture.send("go", json!({})).await;
    let mut known = HashMap::new();
    let mut stream = all_runs(&fixture.services(), Some(begin)).await;
    let created = next(&mut stream).await;
    assert!(matches!(created.news, RunNews::Created(_)));
    drop(stream);
    fixture.settle().await;
    fixture.send("go", json!({})).await;
    fixture.restart().await;
    fixture.settle().await;
    let mut stream = all_runs(&fixture.services(), Some(created.cursor)).await;
    let end = until_ended(&mut stream, &mut known, 2).await;
    for run in fixture.runs().await {
        assert_eq!(known[&run.id], (run.revision, run.status));
    }
    // Everything is told: from there on the stream has nothing to catch up with.
    let mut stream = all_runs(&fixture.services(), Some(end)).await;
    assert_eq!(next(&mut stream).await.news, RunNews::Ready);
}

#[tokio::test]
async fn slow_subscriber_gets_the_newest_state_only() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let mut stream = all_runs(&fixture.services(), None).await;
    assert_eq!(next(&mut stream).await.news, RunNews::Ready);
    fixture.send("go", json!({})).await;
    fixture.settle().await;
    // It was not asked meanwhile, so of all states the last one is told.
    let RunNews::Created(run) = next(&mut stream).await.news else {
        panic!("the run is new to it");
    };
    assert_eq!(run.status, RunStatus::Completed);
}

#[tokio::test]
async fn cursor_of_no_use_begins_with_a_reset_and_the_stream_goes_on() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let elsewhere = Fixture::start().await;
    let theirs = elsewhere.services().live().position(&Actor::dev()).await;
    let mut stream = all_runs(&fixture.services(), Some(theirs.unwrap())).await;
    let reset = next(&mut stream).await;
    assert_eq!(reset.news, RunNews::Reset);
    fixture.send("go", json!({})).await;
    assert!(matches!(next(&mut stream).await.news, RunNews::Created(_)));
    let mut stream = all_runs(&fixture.services(), Some(reset.cursor)).await;
    assert!(matches!(next(&mut stream).await.news, RunNews::Created(_)));
    fixture.settle().await;
}

#[tokio::test]
async fn run_is_watched_to_its_end() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let event = fixture.send("go", json!({})).await;
    let id = fixture.run_of(event).await.id;
    let services = fixture.services();
    let mut stream: News<RunNews> = Box::pin(services.live().watch_run(dev(), id).await.unwrap());
    let RunNews::Updated(first) = next(&mut stream).await.news else {
        panic!("the present state comes first");
    };
    assert!(!first.status.is_ended());
    fixture.settle().await;
    let last = loop {
        match next(&mut stream).await.news {
            RunNews::Updated(_) => {}
            RunNews::Ended(run) => break run,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(last.status, RunStatus::Completed);
    assert!(stream.next().await.is_none());
    let mut again: News<RunNews> = Box::pin(services.live().watch_run(dev(), id).await.unwrap());
    assert!(matches!(next(&mut again).await.news, RunNews::Updated(_)));
    assert!(matches!(next(&mut again).await.news, RunNews::Ended(_)));
    assert!(again.next().await.is_none());
    let unknown = RunId::from_raw(ulid::Ulid(1));
    assert!(matches!(
        services.live().watch_run(dev(), unknown).await.err(),
        Some(Error::NotFound { what: "run", .. })
    ));
}

#[tokio::test]
async fn steps_are_told_as_they_change() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let event = fixture.send("go", json!({})).await;
    let id = fixture.run_of(event).await.id;
    let services = fixture.services();
    let live = services.live();
    let watch = live.watch_steps(dev(), id, false, None);
    let mut stream: News<PartNews> = Box::pin(watch.await.unwrap());
    assert_eq!(next(&mut stream).await.news, PartNews::Ready);
    fixture.settle().await;
    let (mut status, mut names) = (RunStatus::Queued, Vec::new());
    while !status.is_ended() {
        let PartNews::Updated { run, steps, trace } = next(&mut stream).await.news else {
            panic!("there is something to tell");
        };
        assert_eq!(trace, None, "nobody asked for it");
        status = run.map_or(status, |run| run.status);
        names.extend(steps.into_iter().map(|step| step.name));
    }
    assert!(names.contains(&"first".to_owned()), "{names:?}");
}

#[tokio::test]
async fn spans_are_told_with_what_has_changed() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("job", on("go"), |script| {
        script.step("shaky", |attempt| match attempt {
            0 => Err(Flow::error("not yet")),
            _ => Ok(json!(1)),
        })?;
        Ok(json!("done"))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let id = fixture.run_of(event).await.id;
    let services = fixture.services();
    let live = services.live();
    let watch = live.watch_steps(dev(), id, true, None);
    let mut stream: News<PartNews> = Box::pin(watch.await.unwrap());
    assert_eq!(next(&mut stream).await.news, PartNews::Ready);
    let mut told = HashMap::new();
    let mut status = RunStatus::Queued;
    while !status.is_ended() {
        fixture.settle().await;
        let PartNews::Updated { run, trace, .. } = next(&mut stream).await.news else {
            panic!("there is something to tell");
        };
        status = run.map_or(status, |run| run.status);
        let spans = trace.expect("it was asked for").spans;
        told.extend(spans.into_iter().map(|span| (span.id, span)));
        fixture.advance(Duration::from_secs(600)).await;
    }
    let trace = services.runs().trace(&Actor::dev(), id).await.unwrap();
    assert!(trace.spans.len() > 3, "{trace:?}");
    for span in trace.spans {
        assert_eq!(told.remove(&span.id), Some(span));
    }
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn search_tells_only_of_what_it_finds() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let services = fixture.services();
    let live = services.live();
    let searched = |text: &str| RunFeedFilter {
        search: Some(text.to_owned()),
        ..RunFeedFilter::default()
    };
    let events = EventFeedFilter {
        search: Some("event.data.n > 1".to_owned()),
        ..EventFeedFilter::default()
    };
    let mut by_event = runs(&services, searched("event.data.n > 1"), None).await;
    let mut by_output = runs(&services, searched("output == 'done'"), None).await;
    let watch = live.watch_events(dev(), events, None);
    let mut of_events: News<EventNews> = Box::pin(watch.await.unwrap());
    assert_eq!(next(&mut by_event).await.news, RunNews::Ready);
    assert_eq!(next(&mut by_output).await.news, RunNews::Ready);
    assert_eq!(next(&mut of_events).await.news, EventNews::Ready);
    fixture.send("go", json!({"n": 1})).await;
    let second = fixture.send("go", json!({"n": 2})).await;
    let id = fixture.run_of(second).await.id;
    let RunNews::Created(run) = next(&mut by_event).await.news else {
        panic!("the second run is new");
    };
    assert_eq!(run.id, id);
    let EventNews::Created(event) = next(&mut of_events).await.news else {
        panic!("the second event is new");
    };
    assert_eq!(event.id, second);
    fixture.settle().await;
    let mut known = HashMap::new();
    until_ended(&mut by_event, &mut known, 1).await;
    assert_eq!(known.keys().collect::<Vec<_>>(), [&id]);
    // Found as soon as it has an output, and not before.
    for _ in 0..2 {
        let (RunNews::Created(run) | RunNews::Updated(run)) = next(&mut by_output).await.news
        else {
            panic!("both have ended");
        };
        assert_eq!(run.status, RunStatus::Completed);
    }

    let refused = live.watch_runs(dev(), searched("event.data.n >"), None);
    assert!(matches!(refused.await.err(), Some(Error::Expression(_))));
}

#[tokio::test]
async fn queue_is_told_at_once_and_then_so_often() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    fixture.send("go", json!({})).await;
    let services = fixture.services();
    let live = services.live();
    let every = Duration::from_millis(600);
    let ready = |tick: Option<Result<QueueTick, Error>>| {
        let backlogs = tick.unwrap().unwrap().backlogs;
        backlogs.iter().map(|one| one.ready).sum::<u64>()
    };
    let mut ticks = Box::pin(live.watch_queue(dev(), every).await.unwrap());
    assert_eq!(ready(ticks.next().await), 1);
    fixture.settle().await;
    assert_eq!(ready(ticks.next().await), 0);
    let sees_nothing = Standing::of(Actor::event_key(DEFAULT_ORG, DEFAULT_ENV));
    let refused = live.watch_queue(sees_nothing, every).await;
    assert!(matches!(refused.err(), Some(Error::Denied(_))));
}

#[tokio::test]
async fn events_are_told_by_name_and_go_on_from_a_cursor() {
    let fixture = Fixture::start().await;
    let filter = || EventFeedFilter {
        names: Some(vec!["shop/*".to_owned()]),
        with_internal: false,
        search: None,
    };
    let services = fixture.services();
    let begin = services.live().position(&Actor::dev()).await.unwrap();
    let mut sent: Vec<EventId> = Vec::new();
    for name in ["shop/one", "other", "shop/two"] {
        sent.push(fixture.send(name, json!({})).await);
    }
    let live = services.live();
    let watch = live.watch_events(dev(), filter(), Some(begin));
    let mut stream: News<EventNews> = Box::pin(watch.await.unwrap());
    let mut told = Vec::new();
    let mut cursor = begin;
    while told.len() < 2 {
        let update = next(&mut stream).await;
        match update.news {
            EventNews::Created(event) => told.push(event.id),
            // Where other databases of the server hold old transactions open, what was stored is told a moment later.
            EventNews::Ready => {}
            other => panic!("{other:?}"),
        }
        cursor = update.cursor;
    }
    assert_eq!(told, [sent[0], sent[2]]);
    let watch = live.watch_events(dev(), filter(), Some(cursor));
    let mut stream: News<EventNews> = Box::pin(watch.await.unwrap());
    assert_eq!(next(&mut stream).await.news, EventNews::Ready);
}

#[tokio::test]
async fn apps_and_functions_are_told_as_they_come_change_and_go() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let live = services.live();
    let watch = live.watch_apps(dev(), None);
    let mut stream: News<AppNews> = Box::pin(watch.await.unwrap());
    let ready = next(&mut stream).await;
    assert_eq!(ready.news, AppNews::Ready);
    let _app = app(&fixture).await;
    // In whatever order: one transaction has made both.
    let (mut app, mut function) = (None, None);
    for _ in 0..2 {
        match next(&mut stream).await.news {
            AppNews::App(found, is_new) => app = Some((found, is_new)),
            AppNews::Function(found, is_new) => function = Some((found, is_new)),
            other => panic!("{other:?}"),
        }
    }
    let (app, is_new_app) = app.expect("the app is told");
    let (function, is_new_function) = function.expect("the function is told");
    assert!(is_new_app && is_new_function);
    assert_eq!((app.name.as_str(), function.app), ("shop", app.id));
    let actor = Actor::dev();
    let functions = services.functions();
    let pause = functions.pause(&actor, function.id, PauseRequest::default());
    pause.await.unwrap();
    let paused = next(&mut stream).await;
    let AppNews::Function(told, false) = paused.news else {
        panic!("{:?}", paused.news);
    };
    assert!(told.pause.is_some());
    fixture.settle().await;
    services.apps().remove_app(&actor, app.id).await.unwrap();
    let expected = [
        AppNews::AppRemoved(app.id),
        AppNews::FunctionRemoved(function.id),
    ];
    for _ in 0..2 {
        let news = next(&mut stream).await.news;
        assert!(expected.contains(&news), "{news:?}");
    }
    // Who went away before the pause hears of it and of the end as one.
    let watch = live.watch_apps(dev(), Some(ready.cursor));
    let mut again: News<AppNews> = Box::pin(watch.await.unwrap());
    for _ in 0..2 {
        let news = next(&mut again).await.news;
        assert!(expected.contains(&news), "{news:?}");
    }
    let sees_nothing = Standing::of(Actor::event_key(DEFAULT_ORG, DEFAULT_ENV));
    let refused = live.watch_apps(sees_nothing, None).await;
    assert!(matches!(refused.err(), Some(Error::Denied(_))));
}

#[tokio::test]
async fn functions_of_one_sync_are_read_together() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let live = services.live();
    let watch = live.watch_apps(dev(), None);
    let mut stream: News<AppNews> = Box::pin(watch.await.unwrap());
    assert_eq!(next(&mut stream).await.news, AppNews::Ready);
    let app = fixture.app("shop").await;
    for n in 0..40 {
        app.function(&format!("job-{n}"), on("go"), |_| Ok(json!(1)));
    }
    app.sync(&services).await;
    let before = fixture.store().statements();
    for _ in 0..41 {
        next(&mut stream).await;
    }
    let read = fixture.store().statements() - before;
    assert!(read <= 6, "{read} statements");
}

#[tokio::test]
async fn stream_ends_with_the_right_to_see() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let reads_nothing = Actor::event_key(DEFAULT_ORG, DEFAULT_ENV);
    let refused = services
        .live()
        .watch_runs(
            Standing::of(reads_nothing.clone()),
            RunFeedFilter::default(),
            None,
        )
        .await;
    assert!(matches!(refused.err(), Some(Error::Denied(_))));
    let (renew, standing) = Standing::renewable(Actor::dev());
    let live = services.live();
    let watch = live.watch_runs(standing, RunFeedFilter::default(), None);
    let mut stream: News<RunNews> = Box::pin(watch.await.unwrap());
    assert_eq!(next(&mut stream).await.news, RunNews::Ready);
    renew.send(Actor::dev()).unwrap();
    assert!(stream.next().now_or_never().is_none());
    renew.send(reads_nothing).unwrap();
    assert!(matches!(stream.next().await, Some(Err(Error::Denied(_)))));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn nobody_reads_the_log_when_nobody_watches() {
    let fixture = Fixture::start().await;
    let stream = all_runs(&fixture.services(), None).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = fixture.store().statements();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(fixture.store().statements(), before);
}

#[tokio::test]
async fn many_who_watch_the_same_share_what_is_read() {
    let fixture = Fixture::start().await;
    let _app = app(&fixture).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = all_runs(&fixture.services(), None).await;
        assert_eq!(next(&mut stream).await.news, RunNews::Ready);
        streams.push(stream);
    }
    let before = fixture.store().statements();
    fixture.send("go", json!({})).await;
    let sent = fixture.store().statements() - before;
    let before = fixture.store().statements();
    for stream in &mut streams {
        assert!(matches!(next(stream).await.news, RunNews::Created(_)));
    }
    let read = fixture.store().statements() - before;
    assert!(read <= 6, "{read} statements after {sent} of the event");
    fixture.settle().await;
}
