//! Figures over time: those of the rows, whoever adds them up, whoever is killed. That they are is also asked by every other test of this
//! crate when it ends (`Store::complaints`).

use std::{pin::pin, time::Duration};

use futures_util::StreamExt;
use inngest_core::{
    access::{Actor, Scope},
    ids::{DEFAULT_ENV, DEFAULT_ORG, FunctionId},
    rollup::{Latency, Level},
    time::Timestamp,
};
use inngest_services::{
    Counts, Error, Flow, GroupBy, MetricRange, MetricScope, RunTotals, SeriesKey, Services,
    Standing, Usage,
    testing::{App, Fixture, Flow as Thrown, Options, START},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{DAY, HOUR, MINUTE, on, on_with};

/// The day before the tests and two after it.
fn range() -> MetricRange {
    MetricRange {
        from: START.minus(DAY),
        until: None,
        width: None,
    }
}

async fn totals(services: &Services) -> RunTotals {
    let (metrics, actor) = (services.metrics(), Actor::dev());
    let totals = metrics.run_totals(&actor, range(), MetricScope::default());
    totals.await.unwrap()
}

/// How many there were in all.
async fn sum(services: &Services, flow: Flow) -> u64 {
    let counts = services
        .metrics()
        .counts(
            &Actor::dev(),
            flow,
            range(),
            GroupBy::Nothing,
            MetricScope::default(),
            None,
        )
        .await
        .unwrap();
    counts.series[0].points.iter().sum()
}

/// Adds up until this has come true: on Postgres a row can be read once every older transaction of the server has ended.
async fn roll_until(services: &Services, mut is_so: impl AsyncFnMut() -> bool) {
    let rolling = async {
        loop {
            services.store().roll_up().await.unwrap();
            if is_so().await {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rolling)
        .await
        .expect("everything is added up within 20 s");
}

/// An app with a function of two steps of which the first fails once, one that fails for good, and one that only waits.
async fn app(fixture: &Fixture, services: &Services) -> App {
    let app = fixture.app("shop").await;
    app.function("good", on("go"), |script| {
        script.step("first", |attempt| match attempt {
            0 => Err(Thrown::error("not yet")),
            _ => Ok(json!(1)),
        })?;
        script.step("second", |_| Ok(json!(2)))
    })
    .function("bad", on_with("go/bad", json!({"retries": 0})), |_| {
        Err(Thrown::error("no"))
    })
    .function("slow", on("go/slow"), |script| {
        script.wait("paid", "paid", "1d", "")
    })
    .sync(services)
    .await;
    app
}

#[tokio::test]
async fn runs_steps_attempts_and_requests_are_counted_as_they_were() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let app = app(&fixture, &services).await;
    for name in ["go", "go", "go/bad", "unheard"] {
        fixture.send(name, json!({})).await;
    }
    let slow = fixture.send("go/slow", json!({})).await;
    fixture.settle().await;
    let slow = fixture.run_of(slow).await;
    services
        .runs()
        .cancel(&Actor::dev(), slow.id)
        .await
        .unwrap();
    while fixture.advance_to_next().await {}

    let expected = RunTotals {
        queued: 4,
        skipped: 0,
        started: 4,
        completed: 2,
        failed: 1,
        cancelled: 1,
    };
    roll_until(&services, async || totals(&services).await == expected).await;
    assert_eq!(sum(&services, Flow::Events).await, 5);
    assert_eq!(sum(&services, Flow::AttemptsRetried).await, 2);
    // Two steps of each of two runs, and the wait that was cancelled.
    assert_eq!(sum(&services, Flow::StepsEnded).await, 5);
    assert_eq!(
        sum(&services, Flow::Requests).await,
        app.calls().len() as u64
    );
    for (latency, count) in [
        (Latency::QueueDelay, 4),
        (Latency::RunDuration, 4),
        (Latency::EndToEnd, 4),
        (Latency::StepDuration, 4),
        (Latency::SdkRequest, app.calls().len() as u64),
    ] {
        let found = services
            .metrics()
            .latencies(
                &Actor::dev(),
                latency,
                range(),
                GroupBy::Nothing,
                MetricScope::default(),
                None,
            )
            .await
            .unwrap();
        assert_eq!(found.series[0].overall.count(), count, "{latency:?}");
    }
    // All of this once, however often it is added up.
    services.store().roll_up().await.unwrap();
    assert_eq!(totals(&services).await, expected);
}

#[tokio::test]
async fn processes_that_add_up_at_once_and_one_that_forgets_count_everything_once() {
    let fixture = Fixture::with(Options {
        twice: true,
        forgetful: true,
        ..Options::default()
    })
    .await;
    let mut processes = vec![fixture.services()];
    for _ in 0..2 {
        processes.extend(fixture.another_process().await);
    }
    let _app = app(&fixture, &processes[0]).await;
    for services in &processes {
        for _ in 0..6 {
            fixture
                .send_by(services, json!({"name": "go", "data": {}}))
                .await;
        }
    }
    let runs = 6 * processes.len() as u64;
    let stop = CancellationToken::new();
    let settle = async {
        match processes.len() {
            1 => drop(fixture.settle().await),
            _ => drop(fixture.settle_together(&processes).await),
        }
        fixture.advance(HOUR).await;
        match processes.len() {
            1 => drop(fixture.settle().await),
            _ => drop(fixture.settle_together(&processes).await),
        }
        stop.cancel();
    };
    let rolling = processes.iter().map(|services| {
        let stop = stop.clone();
        async move {
            while !stop.is_cancelled() {
                services.store().roll_up().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    tokio::join!(settle, futures_util::future::join_all(rolling));
    let services = processes[0].clone();
    roll_until(&services, async || {
        totals(&services).await.completed == runs
    })
    .await;
    for services in &processes {
        services.store().roll_up().await.unwrap();
    }
    let totals = totals(&services).await;
    assert_eq!(
        (totals.queued, totals.started, totals.completed),
        (runs, runs, runs)
    );
    assert_eq!(sum(&services, Flow::StepsEnded).await, 2 * runs);
}

#[tokio::test]
async fn figures_need_their_scope() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let sender = Actor::event_key(DEFAULT_ORG, DEFAULT_ENV);
    let metrics = services.metrics();
    let totals = metrics.run_totals(&sender, range(), MetricScope::default());
    assert!(matches!(totals.await, Err(Error::Denied(denied)) if denied.0 == Scope::MetricsRead));
    let many = (0..501).map(|number| FunctionId::from_raw(uuid::Uuid::from_u128(number)));
    let scope = MetricScope {
        functions: Some(many.collect()),
        apps: None,
    };
    let totals = metrics.run_totals(&Actor::dev(), range(), scope).await;
    assert_eq!(totals.unwrap_err().code(), "filter_too_long");
}

#[tokio::test]
async fn ticks_end_with_the_right_to_see_and_leave_nothing_out_between_them() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let _app = app(&fixture, &services).await;
    let functions = services
        .functions()
        .list(&Actor::dev(), None, false)
        .await
        .unwrap();
    let bad = functions
        .iter()
        .find(|function| function.slug == "shop-bad")
        .unwrap();
    fixture.send("go/bad", json!({})).await;
    fixture.settle().await;
    roll_until(&services, async || totals(&services).await.failed == 1).await;

    let soon = Timestamp::from_millis(START.as_millis() + 600_000);
    let actor = Actor::token(
        DEFAULT_ORG,
        DEFAULT_ENV,
        inngest_core::access::Role::Viewer,
        soon,
    );
    let live = services.live();
    let every = Duration::from_millis(600);
    let stream = live
        .watch_function(Standing::of(actor), bad.id, every)
        .await;
    let mut stream = pin!(stream.unwrap());
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(
        (first.interval, first.runs),
        (Duration::ZERO, RunTotals::default())
    );
    for _ in 0..3 {
        fixture.send("go/bad", json!({})).await;
    }
    fixture.settle().await;
    roll_until(&services, async || totals(&services).await.failed == 4).await;
    let mut told = 0;
    while told < 3 {
        let tick = stream.next().await.unwrap().unwrap();
        assert!(tick.interval >= every);
        assert_eq!(tick.runs.queued, tick.runs.failed);
        told += tick.runs.failed;
    }
    assert_eq!(told, 3);
    fixture.advance(MINUTE * 20).await;
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), "credential_expired");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn schedule_is_sampled_while_it_has_something() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let _app = app(&fixture, &services).await;
    let before = services.store().statements();
    fixture.sample().await;
    assert_eq!(services.store().statements(), before);
    let level = async |level| {
        let actor = Actor::dev();
        let metrics = services.metrics();
        let levels = metrics.levels(&actor, level, range(), GroupBy::Function, None, None);
        let levels = levels.await.unwrap().series;
        levels
            .iter()
            .map(|series| series.points.iter().flatten().copied().max())
            .collect::<Vec<_>>()
    };
    for name in ["go/bad", "go/bad", "go/slow"] {
        fixture.send(name, json!({})).await;
    }
    fixture.sample().await;
    assert_eq!(level(Level::Backlog).await, [Some(2), Some(1)]);
    let leases = fixture.lease(3).await;
    // Another process has just done it.
    fixture.sample().await;
    assert_eq!(level(Level::Executing).await, Vec::new());
    fixture.advance(Duration::from_secs(10)).await;
    fixture.sample().await;
    assert_eq!(level(Level::Executing).await, [Some(2), Some(1)]);
    for lease in leases {
        let verdict = fixture.handle(lease.clone()).await;
        fixture.settle_lease(lease, verdict).await;
    }
    fixture.settle().await;
    let by_app = services
        .metrics()
        .levels(
            &Actor::dev(),
            Level::Backlog,
            range(),
            GroupBy::App,
            None,
            None,
        )
        .await;
    assert_eq!(by_app.unwrap_err().code(), "levels_are_by_function");
}

/// Key and total of each series.
fn totals_of(counts: &Counts) -> Vec<(SeriesKey, u64)> {
    let series = counts.series.iter();
    series
        .map(|own| (own.key.clone(), own.points.iter().sum()))
        .collect()
}

#[tokio::test]
async fn events_are_counted_by_name_and_the_rest_is_what_others_have() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let app = app(&fixture, &services).await;
    for name in ["go", "b", "a", "b", "b", "a", "c"] {
        fixture.send(name, json!({})).await;
    }
    fixture.settle().await;
    assert!(!app.calls().is_empty());
    roll_until(&services, async || sum(&services, Flow::Events).await == 7).await;

    let actor = Actor::dev();
    let events = async |names: Option<&[&str]>, top| {
        let names: Option<Vec<String>> =
            names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let metrics = services.metrics();
        let found = metrics.events(&actor, range(), names.as_deref(), top).await;
        found.map(|counts| totals_of(&counts))
    };
    let named = |name: &str, count| (SeriesKey::EventName(name.to_owned()), count);
    assert_eq!(events(None, None).await.unwrap(), [(SeriesKey::Total, 7)]);
    assert_eq!(
        events(None, Some(2)).await.unwrap(),
        [named("b", 3), named("a", 2), (SeriesKey::Other, 2)]
    );
    assert_eq!(
        events(None, Some(9)).await.unwrap(),
        [named("b", 3), named("a", 2), named("c", 1), named("go", 1)]
    );
    let finished = "inngest/function.finished";
    assert_eq!(
        events(Some(&["c", "none", "a", "c", finished]), None)
            .await
            .unwrap(),
        [
            named("c", 1),
            named("none", 0),
            named("a", 2),
            named(finished, 0)
        ]
    );
    assert_eq!(events(Some(&[]), None).await.unwrap(), []);
    for (names, top, code) in [
        (None, Some(0), "invalid_number_of_series"),
        (None, Some(51), "invalid_number_of_series"),
        (Some(&["a"; 51][..]), None, "invalid_number_of_series"),
        (Some(&["a"][..]), Some(1), "names_or_top"),
    ] {
        let error = events(names, top).await.unwrap_err();
        assert_eq!(error.code(), code, "{names:?} {top:?}");
    }
    // Who may see figures and no events is told of no names.
    let sender = Actor::event_key(DEFAULT_ORG, DEFAULT_ENV);
    let metrics = services.metrics();
    let found = metrics.events(&sender, range(), None, Some(1)).await;
    assert!(matches!(found, Err(Error::Denied(denied)) if denied.0 == Scope::EventsRead));
}

#[tokio::test]
async fn usage_is_what_was_counted_and_the_most_that_was_under_way() {
    let fixture = Fixture::start().await;
    let services = fixture.services();
    let _app = app(&fixture, &services).await;
    for name in ["go", "go/bad", "unheard"] {
        fixture.send(name, json!({})).await;
    }
    let leases = fixture.lease(2).await;
    fixture.sample().await;
    for lease in leases {
        let verdict = fixture.handle(lease.clone()).await;
        fixture.settle_lease(lease, verdict).await;
    }
    while fixture.advance_to_next().await {}
    roll_until(&services, async || totals(&services).await.ended() == 2).await;
    let usage = services.metrics().usage(&Actor::dev(), range()).await;
    let expected = Usage {
        events: 3,
        runs: 2,
        steps: 2,
        peak: 2,
    };
    assert_eq!(usage.unwrap(), expected);
}
